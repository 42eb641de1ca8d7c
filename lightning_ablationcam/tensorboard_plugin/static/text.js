/**
 * How numbers and names are written, wherever on the page they stand.
 */

const LONGEST_OPTION = 80;

const ORDINALS = ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"];

/**
 * That a probe has nothing under a role, such as "no second label" for "label 2".
 *
 * @param {string} role
 */
export function noneOf(role) {
  const place = /^label ([2-9])$/.exec(role);
  return `no ${place ? `${ORDINALS[Number(place[1]) - 2]} label` : role || "label"}`;
}

/** Stands for a number that is not known. */
export const UNKNOWN = "–";

/**
 * The beginning of a text that is longer than `most` characters, otherwise all of it.
 *
 * @param {string} text
 * @param {number} [most]
 */
export function shorten(text, most = LONGEST_OPTION) {
  return text.length > most ? [...text.slice(0, 2 * most)].slice(0, most - 1).join("") + "…" : text;
}

const WHOLE_NUMBERS = new Intl.NumberFormat("en-US");

/** @param {number} value */
export function whole(value) {
  return WHOLE_NUMBERS.format(value);
}

/** @param {number|null} share */
export function percent(share) {
  return share === null ? UNKNOWN : `${(100 * share).toFixed(1)} %`;
}

/**
 * How exact a map is that may be off by a share of its maximum, which is a bound: rounded up.
 * Nothing where that is not known, as of a picture of which nothing is explained.
 *
 * @param {number|null} error
 */
export function exactness(error) {
  if (error === null || !Number.isFinite(error)) return "";
  if (error <= 0) return "exact";
  const unit = 10 ** (Math.floor(Math.log10(100 * error)) - 1);
  const bound = Math.ceil((100 * error) / unit - 1e-6) * unit;
  return `within ${Number(bound.toPrecision(2))} % (99 %)`;
}

/**
 * A value between 0 and 1: a fixed number of decimals keeps columns still.
 *
 * @param {number|null} value
 */
export function decimals(value) {
  return value === null ? UNKNOWN : value.toFixed(3);
}

/**
 * A number of any size, in three digits or so.
 *
 * @param {number|null} value
 */
export function number(value) {
  if (value === null || !Number.isFinite(value)) return UNKNOWN;
  const size = Math.abs(value);
  const text =
    size && (size < 1e-3 || size >= 1e5)
      ? size.toExponential(1)
      : size < 1000
        ? String(Number(size.toPrecision(3)))
        : whole(Math.round(size));
  return (value < 0 ? "−" : "") + text;
}
