/**
 * What there is of every step of a run: the numbers of all probes, which come as packed columns or as
 * lists, and their maps, which come piece by piece.
 */

import { shorten, whole } from "./text.js";

/**
 * One number for each probe.
 *
 * @typedef {(number|null)[]} Values
 */

/**
 * The same as it came from the server; NaN stands for null.
 *
 * @typedef {Float32Array|Float64Array|Int32Array|Int16Array|Int8Array} Column
 */

/**
 * How a column is stored: the type of its numbers, how many each probe has, and where it belongs in a
 * step, such as ["also", "rival", "scores"].
 *
 * @typedef {[kind: string, width: number, path: string[]]} ColumnLayout
 */

/** Something the user has to know about, in words. */
export class Problem extends Error {}

const TYPES = {
  d: Float64Array,
  f: Float32Array,
  i: Int32Array,
  h: Int16Array,
  b: Int8Array,
};

/** The numbers of a step fill a multiple of so many bytes. */
const ALIGNED = 8;

/** @param {string} kind */
function typeOf(kind) {
  if (Object.hasOwn(TYPES, kind)) return TYPES[/** @type {keyof TYPES} */ (kind)];
  throw new Problem("The numbers of this run have a form that this page does not know. Reload it.");
}

/**
 * How many bytes the numbers of a step take.
 *
 * @param {ColumnLayout[]} layout
 * @param {number} probes
 */
export function bytesOf(layout, probes) {
  const bytes = layout.reduce(
    (sum, [kind, width]) => sum + probes * width * typeOf(kind).BYTES_PER_ELEMENT,
    0,
  );
  return Math.ceil(bytes / ALIGNED) * ALIGNED;
}

/**
 * A step with its numbers: those that come apart from the rest are views of a buffer.
 *
 * @param {Record<string, unknown>} rest What else there is of it.
 * @param {ColumnLayout[]} layout
 * @param {number} probes
 * @param {ArrayBuffer} buffer
 * @param {number} offset Where its numbers begin.
 */
export function withNumbers(rest, layout, probes, buffer, offset) {
  const also = /** @type {Record<string, Record<string, unknown>>} */ (rest.also);
  /** @type {Record<string, unknown>} */
  const step = { ...rest, also: Object.fromEntries(Object.entries(also).map(([k, v]) => [k, { ...v }])) };
  for (const [kind, width, path] of layout) {
    const type = typeOf(kind);
    const column = new type(buffer, offset, probes * width);
    offset += column.byteLength;
    const [first, second, third] = path;
    if (first === "top") step.top = { ...(step.top ?? {}), width, [second]: column };
    else if (first === "also") /** @type {typeof also} */ (step.also)[second][third] = column;
    else step[first] = column;
  }
  return step;
}

/**
 * A number of a probe, null where it is not known.
 *
 * @param {unknown} numbers Values or a Column, if there are any.
 * @param {number} probe
 * @returns {number|null}
 */
export function numberAt(numbers, probe) {
  const value = /** @type {Values|Column|null|undefined} */ (numbers)?.[probe] ?? null;
  return Number.isNaN(value) ? null : value;
}

/**
 * The numbers of all probes, null where none is known.
 *
 * @param {unknown} numbers Values or a Column, if there are any.
 * @returns {Values|null}
 */
export function valuesIn(numbers) {
  if (!ArrayBuffer.isView(numbers)) return /** @type {Values|null} */ (numbers ?? null);
  return Array.from(/** @type {Column} */ (numbers), (value) => (Number.isNaN(value) ? null : value));
}

/**
 * Whether a number is known of any probe.
 *
 * @param {unknown} numbers Values or a Column, if there are any.
 */
export function anyKnown(numbers) {
  const all = /** @type {Values|null|undefined} */ (numbers);
  return all?.some((value) => value !== null && !Number.isNaN(value)) ?? false;
}

/**
 * The likeliest classes of a probe, the likeliest first.
 *
 * @typedef {{classes: number[], probabilities: Values}} Likeliest
 */

/**
 * @param {unknown} top What a step says of them, if it does.
 * @param {number} probe
 * @returns {Likeliest|null}
 */
export function likeliestIn(top, probe) {
  if (!top) return null;
  const { classes, probabilities, width } =
    /** @type {{classes: number[][]|Column, probabilities: Values[]|Column, width?: number}} */ (top);
  if (width === undefined) {
    return {
      classes: /** @type {number[][]} */ (classes)[probe],
      probabilities: /** @type {Values[]} */ (probabilities)[probe],
    };
  }
  const part = (/** @type {unknown} */ column) =>
    valuesIn(/** @type {Column} */ (column).subarray(probe * width, (probe + 1) * width)) ?? [];
  return { classes: /** @type {number[]} */ (part(classes)), probabilities: part(probabilities) };
}

/** About how many bytes of maps are asked for at once. */
const PIECE = 2 ** 19;

/**
 * Some of the steps, one after the other.
 *
 * @typedef {{from: number, to: number}} Piece
 */

/** The maps of all steps of one layer, as far as they are here. */
export class StepMaps {
  /**
   * @param {number} size Bytes of a step.
   * @param {(Uint8Array<ArrayBuffer>|null)[]} steps
   */
  constructor(size, steps) {
    this.size = size;
    this.steps = steps;
    /** @type {Set<number>} The steps that somebody wants to see and that are not here. */
    this.wished = new Set();
    /** The step that was looked at last. */
    this.looked = steps.length - 1;
    this.left = steps.filter((step) => !step).length;
    /** @type {Uint8Array<ArrayBuffer>|null} Stands for what is not here. */
    this.nothing = null;
  }

  /**
   * All of them at once.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @param {number} size Bytes of a step.
   * @param {number} count How many steps there are.
   * @param {string} run Its name.
   */
  static whole(bytes, size, count, run) {
    const maps = new StepMaps(size, Array(count).fill(null));
    maps.take({ from: 0, to: count }, bytes, run);
    return maps;
  }

  get complete() {
    return this.left === 0;
  }

  /** @param {number} step */
  has(step) {
    return this.steps[step] !== null;
  }

  /**
   * The bytes of a step; zeros, and a wish, while they are not here.
   *
   * @param {number} step
   */
  at(step) {
    this.looked = step;
    const found = this.steps[step];
    if (found) return found;
    if (step >= 0 && step < this.steps.length) this.wished.add(step);
    return (this.nothing ??= new Uint8Array(this.size));
  }

  /** Wish for all steps that are not here. */
  wishAll() {
    this.steps.forEach((step, i) => step ?? this.wished.add(i));
  }

  /**
   * Put a piece in its place.
   *
   * @param {Piece} piece
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @param {string} run Its name.
   * @returns {boolean} Whether anybody has waited for it.
   */
  take({ from, to }, bytes, run) {
    const expected = (to - from) * this.size;
    if (bytes.length !== expected) {
      throw new Problem(
        `The heatmaps of “${shorten(run)}” came incomplete: ` +
          `${whole(bytes.length)} bytes of ${whole(expected)}.`,
      );
    }
    let waited = false;
    for (let step = from; step < to; step++) {
      if (!this.steps[step]) this.left--;
      const start = (step - from) * this.size;
      this.steps[step] = bytes.subarray(start, start + this.size);
      waited = this.wished.delete(step) || waited;
    }
    return waited;
  }

  /**
   * What is to be asked for next: what somebody waits for, then what comes after the step looked at,
   * as it will be played, then the rest.
   *
   * @returns {Piece|null}
   */
  next() {
    const { steps, looked } = this;
    if (this.complete) return null;
    // The last wish is what is on show; the earlier ones may have been passed by.
    const wish = [...this.wished].pop();
    const after = steps.indexOf(null, Math.max(0, looked));
    const step = wish ?? (after >= 0 ? after : steps.lastIndexOf(null));
    return this.pieceAt(step);
  }

  /**
   * The steps around one that are not here either, no more than a piece.
   *
   * @param {number} step
   * @returns {Piece}
   */
  pieceAt(step) {
    const { steps } = this;
    const most = Math.max(1, Math.floor(PIECE / this.size));
    let [from, to] = [step, step + 1];
    while (to < steps.length && !steps[to] && to - from < most) to++;
    while (from > 0 && !steps[from - 1] && to - from < most) from--;
    return { from, to };
  }
}
