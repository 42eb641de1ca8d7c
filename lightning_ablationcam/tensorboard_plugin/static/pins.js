/**
 * The probes that the user keeps at hand, as the state names them: places, and ranges of them.
 */

/** @import { State } from "./state.js" */

/**
 * What a state may say of them, such as "2,5-7".
 */
export const PINS = /^(\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?){0,999})?$/;

/**
 * The places of those that are pinned, ascending.
 *
 * @param {Pick<State, "pins">} state
 * @param {number} count How many probes there are.
 */
export function pinsOf({ pins }, count) {
  /** @type {Set<number>} */
  const found = new Set();
  for (const part of pins ? pins.split(",") : []) {
    const [first, last = first] = part.split("-").map(Number);
    // An address may name any number of places: no more of them than there are.
    for (let probe = first; probe <= Math.min(last, count - 1); probe++) found.add(probe);
  }
  return [...found].sort((x, y) => x - y);
}

/**
 * The same as text, in as few characters as can be read.
 *
 * @param {number[]} probes Ascending.
 */
function pinsToText(probes) {
  /** @type {[first: number, last: number][]} */
  const ranges = [];
  for (const probe of probes) {
    const range = ranges.at(-1);
    if (range?.[1] === probe - 1) range[1] = probe;
    else ranges.push([probe, probe]);
  }
  return ranges.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(",");
}

/**
 * The state's pins with a probe pinned, or no longer.
 *
 * @param {Pick<State, "pins">} state
 * @param {number} count How many probes there are.
 * @param {number} probe
 */
export function withPinTurned(state, count, probe) {
  const pins = pinsOf(state, count);
  const others = pins.filter((one) => one !== probe);
  if (others.length === pins.length) others.push(probe);
  return pinsToText(others.sort((x, y) => x - y));
}
