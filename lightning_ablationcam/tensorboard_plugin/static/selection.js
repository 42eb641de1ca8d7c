/**
 * Which probes are shown, and in which order.
 */

import { ringsOf } from "./alarms.js";
import { inSentence, scoreLabel } from "./fields.js";
import { largest } from "./numbers.js";
import { pinsOf } from "./pins.js";
import { driftFrom } from "./scene.js";

/** @import { Evolution } from "./data.js" */
/** @import { Side } from "./scene.js" */
/** @import { State } from "./state.js" */

/**
 * A probe's predicted class now and before, and its label.
 *
 * @typedef {{predicted: number|null, before: number|null, label: number|null}} Prediction
 */

/** @type {Record<string, (prediction: Prediction) => boolean>} */
const FILTERS = {
  changed: ({ predicted, before }) => predicted !== before,
  wrong: ({ predicted, label }) => label !== null && predicted !== label,
  right: ({ predicted, label }) => predicted === label,
};

/** What can be asked of a prediction. */
export const PREDICTIONS = Object.keys(FILTERS);

/**
 * The class a probe is filed under, as the state names it: its label, in words after a "=", or what
 * is explained at the newest step.
 *
 * @param {Evolution} evolution
 * @param {number} probe
 */
export function classOf({ probes, explained, length }, probe) {
  const { label, text } = probes[probe];
  return text === null ? String(label ?? explained.at("classes", length - 1, probe)) : `=${text}`;
}

/**
 * The orders to choose from.
 *
 * @param {Evolution} evolution
 * @param {boolean} compares Whether there is a B.
 * @returns {[value: string, text: string][]}
 */
export function sortChoices(evolution, compares) {
  const measures = evolution.measures.filter(({ name }) => name !== "drift" && evolution.knows(name));
  /** @type {[value: string, text: string][]} */
  const ofMeasures = measures.flatMap((axis) => {
    // Those to worry about, or both ends.
    const ends = ["highest", "lowest"].filter((end) => !axis.worse || end.startsWith(axis.worse));
    return ends.map((one) => {
      const words = `${one === "lowest" ? "Lowest" : "Highest"} ${inSentence(axis)} at this step`;
      return /** @type {[value: string, text: string]} */ ([`${one}:${axis.name}`, words]);
    });
  });
  return [
    ["logged", "As logged"],
    ["name", "Name"],
    ["drift", "Largest drift at any step"],
    ["now", compares ? "Largest drift from A to B" : "Largest drift at this step"],
    ["score", `Lowest ${scoreLabel(evolution).toLowerCase()} at this step`],
    ...ofMeasures,
  ];
}

/**
 * The measure that an order is of; none of another order.
 *
 * @param {string} sort
 */
export function measureOf(sort) {
  return sort.split(":")[1] ?? "";
}

/**
 * Whether any side has the alarm that a state names, "any" being any.
 *
 * @param {State} state
 * @param {Side[]} sides
 */
export function hasAlarm({ alarm }, sides) {
  const alarms = sides.flatMap(({ evolution }) => evolution.explained.alarms);
  return alarms.some(({ name }) => alarm === "any" || alarm === `=${name}`);
}

/**
 * Whether the alarm that the state names rings on any side, and the probe is beyond.
 *
 * @param {State} state
 * @param {Side[]} sides
 * @param {number} probe
 */
function isInAlarm({ alarm }, sides, probe) {
  const names = sides.flatMap((side) => ringsOf(side, probe).map(({ rule }) => rule.name));
  return alarm === "any" ? names.length > 0 : names.includes(alarm.slice(1));
}

/**
 * Whether the state's search and filters let a probe through.
 *
 * @param {State} state
 * @param {Side} a
 * @param {Side|null} b
 * @param {number} first A's first step that has predictions, or -1.
 * @param {number} probe
 */
function passes(state, a, b, first, probe) {
  const { evolution } = a;
  const { name, label } = evolution.probes[probe];
  const sought = state.search.trim().toLowerCase();
  const names = [evolution.names[probe], name].map((one) => one.toLowerCase());
  if (sought && !names.some((one) => one.includes(sought))) return false;
  const sides = b ? [a, b] : [a];
  if (hasAlarm(state, sides) && !isInAlarm(state, sides, probe)) return false;
  if (!evolution.hasClasses) return true;
  if (state.class && classOf(evolution, probe) !== state.class) return false;
  const predicted = a.at("predicted", probe);
  if (!state.prediction || predicted === null) return true;
  const before = b ? b.at("predicted", probe) : evolution.at("predicted", first, probe);
  return FILTERS[state.prediction]({ predicted, before, label });
}

/**
 * @param {string} sort
 * @param {Side} side
 * @returns {((probe: number) => number)|null}
 */
function keyOfMeasure(sort, side) {
  const [end, name] = sort.split(":");
  if (!side.evolution.measures.some((axis) => axis.name === name)) return null;
  const sign = end === "highest" ? -1 : 1;
  // Where nothing is known, at the end.
  return (probe) => {
    const { value } = side.newest(name, probe);
    return value === null ? Infinity : sign * value;
  };
}

/**
 * What a probe is sorted by, ascending; null where the order is not one of numbers.
 *
 * @param {State} state
 * @param {Side} a
 * @param {Side|null} b
 * @returns {((probe: number) => number)|null}
 */
function sortKey({ sort }, a, b) {
  switch (sort) {
    case "drift":
      return (probe) => -largest(a.evolution.curve("drift", probe));
    case "now":
      return (probe) => -((b ? driftFrom(a, b, probe) : a.at("drift", probe)) ?? 0);
    case "score":
      return (probe) => a.at("scores", probe) ?? Infinity;
    default:
      return keyOfMeasure(sort, a);
  }
}

/**
 * Probes in the chosen order.
 *
 * @param {number[]} probes Ascending.
 * @param {State} state
 * @param {Side} a
 * @param {Side|null} b
 */
function ordered(probes, state, a, b) {
  if (state.sort === "name") {
    const name = (/** @type {number} */ probe) => a.evolution.names[probe];
    return probes.sort((x, y) => name(x).localeCompare(name(y), undefined, { numeric: true }));
  }
  const key = sortKey(state, a, b);
  if (!key) return probes;
  const keyed = probes.map((probe) => ({ probe, value: key(probe) }));
  keyed.sort((x, y) => x.value - y.value || x.probe - y.probe);
  return keyed.map(({ probe }) => probe);
}

/**
 * The first step that has predictions, or -1.
 *
 * @param {Side} side
 */
function firstPredicted({ evolution }) {
  return evolution.steps.findIndex(({ predicted }) => predicted);
}

/**
 * Probes that are pinned or pass the filters, in the chosen order, those that are pinned first.
 *
 * @param {State} state
 * @param {Side} a
 * @param {Side|null} b
 * @returns {number[]}
 */
export function selectProbes(state, a, b) {
  const all = [...a.evolution.probes.keys()];
  const first = firstPredicted(a);
  const pins = new Set(pinsOf(state, all.length));
  const chosen = all.filter((probe) => pins.has(probe) || passes(state, a, b, first, probe));
  const order = ordered(chosen, state, a, b);
  const isPinned = (/** @type {number} */ probe) => pins.has(probe);
  return [...order.filter(isPinned), ...order.filter((probe) => !isPinned(probe))];
}

/**
 * Those that are pinned, and how many of them the filters alone would hide.
 *
 * @param {State} state
 * @param {Side} a
 * @param {Side|null} b
 */
export function pinnedProbes(state, a, b) {
  const pins = pinsOf(state, a.evolution.probes.length);
  const first = firstPredicted(a);
  return { pins, held: pins.filter((probe) => !passes(state, a, b, first, probe)).length };
}
