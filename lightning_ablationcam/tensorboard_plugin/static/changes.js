/**
 * What changed over the whole training: where predictions flipped, maps jumped, and alarms began.
 */

import { beginningsOf } from "./alarms.js";
import { finite, largest, median } from "./numbers.js";

/** @import { Ring } from "./alarms.js" */
/** @import { Evolution } from "./data.js" */
/** @import { Values } from "./steps.js" */

/**
 * Another class was predicted than the last time one was known.
 *
 * @typedef {{kind: "flip", index: number, probe: number, from: number, to: number}} Flipped
 */

/**
 * The map of a probe moved far more than it usually does.
 *
 * @typedef {{kind: "jump", index: number, probe: number, drift: number}} Jumped
 */

/**
 * An alarm began to ring, of a probe or, where that is null, of the mean of all.
 *
 * @typedef {{kind: "alarm", index: number, probe: number|null, ring: Ring}} Began
 */

/**
 * @typedef {Flipped|Jumped|Began} Change
 */

/** A drift stands out only above this: as far apart as maps with an angle of 26 degrees. */
const LEAST_JUMP = 0.1;

/** How many median absolute deviations above its median a probe's drift has to be. */
const DEVIATIONS = 6;

/** Of fewer drifts nobody can say what is usual. */
const FEWEST_DRIFTS = 5;

/** The rule, in words, as the list states it. */
export const JUMP_RULE =
  `A jump is a drift of at least ${LEAST_JUMP} that lies ${DEVIATIONS} median absolute deviations ` +
  `above the median of that probe's drifts, of which there must be ${FEWEST_DRIFTS}`;

/** @type {WeakMap<Evolution, Flipped[]>} */
const flipsFound = new WeakMap();

/**
 * The flips of all probes, step by step.
 *
 * @param {Evolution} evolution
 */
export function flipsIn(evolution) {
  let flips = flipsFound.get(evolution);
  if (!flips) flipsFound.set(evolution, (flips = findFlips(evolution)));
  return flips;
}

/** @param {Evolution} evolution */
function findFlips(evolution) {
  /** @type {Flipped[]} */
  const flips = [];
  if (!evolution.hasClasses) return flips;
  /** @type {Values} */
  const before = evolution.probes.map(() => null);
  evolution.steps.forEach((_, index) =>
    evolution.values("predicted", index)?.forEach((to, probe) => {
      if (to === null) return;
      const from = before[probe];
      if (from !== null && from !== to) flips.push({ kind: "flip", index, probe, from, to });
      before[probe] = to;
    }),
  );
  return flips;
}

/**
 * From which drift on a map has jumped, by the drifts of its probe; null where it has nowhere.
 *
 * @param {Values} drifts
 */
function jumpLimit(drifts) {
  const known = finite(drifts);
  // Most probes have none: the rest is only worked out for those that may.
  if (known.length < FEWEST_DRIFTS || largest(known) < LEAST_JUMP) return null;
  const middle = median(known);
  const deviation = median(known.map((drift) => Math.abs(drift - middle)));
  return Math.max(LEAST_JUMP, middle + DEVIATIONS * deviation);
}

/**
 * The jumps of all probes.
 *
 * @param {Evolution} evolution
 */
function findJumps(evolution) {
  return evolution.probes.flatMap((_, probe) => {
    const drifts = evolution.curve("drift", probe);
    const limit = jumpLimit(drifts);
    /** @type {Jumped[]} */
    const jumps = [];
    if (limit === null) return jumps;
    drifts.forEach((drift, index) => {
      if (drift !== null && drift >= limit) jumps.push({ kind: "jump", index, probe, drift });
    });
    return jumps;
  });
}

/**
 * The beginnings of alarms: one for each probe that is beyond, or one where the mean is.
 *
 * @param {Evolution} evolution
 */
function findAlarms(evolution) {
  return beginningsOf(evolution).flatMap(({ index, rings }) =>
    rings.flatMap((ring) => {
      const probes = ring.rule.of === "mean" ? [null] : ring.probes;
      return probes.map((probe) => /** @type {Began} */ ({ kind: "alarm", index, probe, ring }));
    }),
  );
}

/** @type {WeakMap<Evolution, Change[]>} */
const changesFound = new WeakMap();

/**
 * All that changed.
 *
 * @param {Evolution} evolution
 */
export function changesIn(evolution) {
  let changes = changesFound.get(evolution);
  if (!changes) {
    changes = [...findAlarms(evolution), ...flipsIn(evolution), ...findJumps(evolution)];
    changesFound.set(evolution, changes);
  }
  return changes;
}

/**
 * What changed at a step.
 *
 * @typedef {{index: number, changes: Change[]}} StepOfChanges
 */

/** @param {Change[]} changes */
function largestDrift(changes) {
  return changes.reduce((most, one) => Math.max(most, one.kind === "jump" ? one.drift : 0), 0);
}

/**
 * Changes by their steps: the newest first, or those first at which the most changed; of as many, and
 * where there are jumps alone, those with the largest. In each, alarms come before flips, and the
 * largest of the jumps before others.
 *
 * @param {Change[]} changes
 * @param {boolean} largestFirst
 * @returns {StepOfChanges[]}
 */
export function changesByStep(changes, largestFirst) {
  /** @type {Map<number, Change[]>} */
  const found = new Map();
  for (const change of changes) {
    const here = found.get(change.index);
    if (here) here.push(change);
    else found.set(change.index, [change]);
  }
  const kinds = ["alarm", "flip", "jump"];
  const driftOf = (/** @type {Change} */ one) => (one.kind === "jump" ? one.drift : 0);
  for (const here of found.values())
    here.sort((x, y) => kinds.indexOf(x.kind) - kinds.indexOf(y.kind) || driftOf(y) - driftOf(x));
  const steps = [...found].map(([index, here]) => ({ index, changes: here }));
  steps.sort((x, y) => y.index - x.index);
  if (!largestFirst) return steps;
  const jumpsAlone = changes.every(({ kind }) => kind === "jump");
  const sized = steps.map((step) => ({
    step,
    count: jumpsAlone ? 0 : step.changes.length,
    drift: largestDrift(step.changes),
  }));
  sized.sort((x, y) => y.count - x.count || y.drift - x.drift);
  return sized.map(({ step }) => step);
}
