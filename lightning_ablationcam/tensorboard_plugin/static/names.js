/**
 * What probes are called: as they were logged, or after their class where their name is only a number
 * and that.
 */

/** @import { Evolution, SeriesData } from "./data.js" */

/**
 * The class that an automatic name is made of, such as "cat" of "03_cat"; null of any other name.
 *
 * @param {Pick<SeriesData, "probes"|"class_names">} data
 * @param {number} probe
 */
function classInName({ probes, class_names }, probe) {
  const { name, label } = probes[probe];
  const known = label === null ? undefined : class_names?.[label];
  const digits = Math.max(2, String(probes.length - 1).length);
  const automatic = `${String(probe).padStart(digits, "0")}_${known}`;
  return known !== undefined && name === automatic ? known : null;
}

/**
 * The names that the page shows: "cat 1" and "cat 2" for "00_cat" and "03_cat", where all are such.
 *
 * @param {Pick<SeriesData, "probes"|"class_names">} data
 * @returns {string[]}
 */
export function shownNames(data) {
  const logged = data.probes.map(({ name }) => name);
  const classes = logged.map((_, probe) => classInName(data, probe));
  /** @type {Map<string, number>} */
  const counts = new Map();
  const names = classes.map((one) => {
    if (one === null) return null;
    const count = (counts.get(one) ?? 0) + 1;
    counts.set(one, count);
    // A number behind a number would be one.
    const before = /^\d+$/.test(one) ? `class ${one}` : one;
    return /\d$/.test(before) ? `${before} #${count}` : `${before} ${count}`;
  });
  const distinct = names.every((name) => name !== null) && new Set(names).size === names.length;
  return distinct ? /** @type {string[]} */ (names) : logged;
}

/**
 * The name of a probe with the one it was logged under, which TensorBoard's other tabs show.
 *
 * @param {Evolution} evolution
 * @param {number} probe
 */
export function fullName({ names, probes }, probe) {
  const { name } = probes[probe];
  return names[probe] === name ? name : `${names[probe]}, logged as ${name}`;
}
