/**
 * How large differences between A and B are, so that their colours can be read.
 */

import { largest, nearestIndex } from "./numbers.js";
import { UNKNOWN } from "./text.js";

/** @import { Evolution } from "./data.js" */
/** @import { Scene, Side } from "./scene.js" */

/** Cells that are compared at most; in more than that, steps are left out. */
const MOST_CELLS = 4e6;

/** Maps are known to 1/255 of their maximum: less than a few of those must not look like much. */
const LEAST = 0.02;

/** @type {WeakMap<Evolution, WeakMap<Evolution, Map<string, number>>>} */
const largestFound = new WeakMap();

/** @type {WeakMap<Scene, number>} That of all cards. */
const fullOfAll = new WeakMap();

/**
 * The numbers found of a pair of evolutions so far.
 *
 * @param {Evolution} a
 * @param {Evolution} b
 */
function knownOf(a, b) {
  let ofA = largestFound.get(a);
  if (!ofA) largestFound.set(a, (ofA = new WeakMap()));
  let ofBoth = ofA.get(b);
  if (!ofBoth) ofA.set(b, (ofBoth = new Map()));
  return ofBoth;
}

/**
 * The largest difference of a probe's cells between two sides, in shares of the colour scale.
 *
 * @param {Scene} scene
 * @param {Side} a
 * @param {Side} b
 * @param {number} probe
 */
function largestNow(scene, a, b, probe) {
  const least = scene.signed ? -1 : 0;
  const [ofA, ofB] = [a, b].map((side) => scene.cells(side, probe));
  // Of other cells, there is none that both have.
  const [h, w] = a.evolution.shape;
  const same = h === b.evolution.shape[0] && w === b.evolution.shape[1];
  const other = same ? ofB : scene.shares(b, probe, h, w);
  let most = 0;
  for (let i = 0; i < ofA.length; i++) {
    const [x, y] = [ofA[i], other[i]];
    const held = (x < least ? least : x > 1 ? 1 : x) - (y < least ? least : y > 1 ? 1 : y);
    if (held > most) most = held;
    else if (-held > most) most = -held;
  }
  return most;
}

/**
 * The sides that A's difference maps are made with: B and, where the view shows differences alone,
 * the further runs; each of every role that is shown and that it has.
 *
 * @param {Scene} scene
 * @returns {Side[]}
 */
export function comparedWith({ b, others, roles, compare }) {
  if (!b) return [];
  const sides = compare === "difference" ? [b, ...others] : [b];
  if (!roles.length) return sides;
  return sides.flatMap((side) =>
    roles
      .filter((role) => !role || side.evolution.roles.includes(role))
      .map((role) => side.of(role)),
  );
}

/**
 * The difference that has the full colour: the largest of these probes over all of A's steps, so that
 * colours mean the same at each of them, and the scale keeps still while a run is played.
 *
 * @param {Scene} scene
 * @param {Side[]} others Those that A is compared with.
 * @param {number[]} probes
 * @returns {number} In shares of the colour scale.
 */
export function fullDifference(scene, others, probes) {
  const find = () =>
    others.reduce((most, other) => Math.max(most, largestOf(scene, other, probes)), LEAST);
  if (probes !== scene.order) return find();
  // Every card asks for it.
  let known = fullOfAll.get(scene);
  if (known === undefined) fullOfAll.set(scene, (known = find()));
  return known;
}

/**
 * The same with one other side.
 *
 * @param {Scene} scene
 * @param {Side} b
 * @param {number[]} probes
 */
function largestOf(scene, b, probes) {
  const a = scene.a.of(b.evolution.role);
  // The largest of all is not known before all are here, and nothing is drawn.
  if (![a, b].every(({ evolution }) => evolution.complete(scene.signed))) return 0;
  const found = knownOf(a.evolution, b.evolution);
  // Further runs move with A.
  const isFurther = scene.others.some((one) => one.evolution.explained === b.evolution.explained);
  const follows = scene.tied || isFurther;
  const at = follows ? "follows" : b.index;
  const both = probes.filter((probe) => b.place(probe) !== null);
  const cells = both.length * a.evolution.length * a.evolution.cells;
  const stride = Math.max(1, Math.ceil(cells / MOST_CELLS));
  // What is shown beside it shares the scale.
  const beside = scene.sides.map(({ evolution: { run, tag, length } }) => [run, tag, length]);
  const look = JSON.stringify([at, scene.scale, scene.signed, stride, scene.roles, beside]);
  const keyOf = (/** @type {number} */ probe) => `${probe} ${look}`;
  const missing = both.filter((probe) => !found.has(keyOf(probe)));
  for (let index = 0; missing.length && index < a.evolution.length; index += stride) {
    const step = a.evolution.numbers[index];
    const other = follows ? b.moved(nearestIndex(b.evolution.numbers, step)) : b;
    for (const probe of missing) {
      const now = largestNow(scene, a.moved(index), other, probe);
      found.set(keyOf(probe), Math.max(found.get(keyOf(probe)) ?? 0, now));
    }
  }
  // What was left out may be larger, but is never beyond the scale when it is shown.
  const ofNow = stride > 1 ? both.map((probe) => largestNow(scene, a, b, probe)) : [];
  return largest([...both.map((probe) => found.get(keyOf(probe)) ?? 0), ...ofNow]);
}

/**
 * A share of the colour scale in whole per cent, or finer where it is small.
 *
 * @param {number|null} share
 */
export function ofScale(share) {
  if (share === null || !Number.isFinite(share)) return UNKNOWN;
  const value = 100 * Math.abs(share);
  return `${value < 9.95 && value % 1 ? value.toFixed(1) : Math.round(value)} %`;
}

/**
 * The same of a difference, with its sign.
 *
 * @param {number} share
 */
export function signedOfScale(share) {
  const text = ofScale(share);
  if (Number.parseFloat(text) === 0) return "0 %";
  return (share < 0 ? "−" : "+") + text;
}
