/**
 * The further runs that stand beside A and B, as a text that an address can hold.
 */

import { seriesKey } from "./data.js";

/** @import { SeriesName } from "./data.js" */

/** How many runs stand beside each other at most, A and B among them. */
export const MOST_RUNS = 6;

/**
 * A name without the characters that separate names; a slash, which many have, stays readable.
 *
 * @param {string} name
 */
function escaped(name) {
  return encodeURIComponent(name).replaceAll("%2F", "/");
}

/**
 * @param {SeriesName[]} runs
 * @param {string} usual The tag that need not be said.
 */
export function runsToText(runs, usual) {
  const pieces = runs.map(({ run, tag }) => {
    // A run without a name would leave nothing.
    return escaped(run) + (tag === usual && run ? "" : `:${escaped(tag)}`);
  });
  return pieces.join(",");
}

/**
 * The runs that a text stands for; what it cannot mean is left out.
 *
 * @param {string} text
 * @param {string} usual The tag of those that say none.
 * @returns {SeriesName[]}
 */
export function textToRuns(text, usual) {
  /** @type {Map<string, SeriesName>} */
  const runs = new Map();
  for (const piece of text.split(",").filter(Boolean)) {
    try {
      const [run, tag] = piece.split(":").map(decodeURIComponent);
      const name = { run, tag: tag ?? usual };
      runs.set(seriesKey(name), name);
    } catch {
      continue; // a cut or mistyped link
    }
  }
  return [...runs.values()].slice(0, MOST_RUNS - 1);
}
