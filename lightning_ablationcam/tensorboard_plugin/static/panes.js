/**
 * Which pictures of a probe stand beside each other: on its card, and in the large view.
 */

import { cellText, differenceText } from "./cells.js";
import { fullDifference } from "./differences.js";
import { whole } from "./text.js";

/** @import { Spot } from "./cells.js" */
/** @import { How } from "./looks.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Scene, Side } from "./scene.js" */

/**
 * One of them.
 *
 * @typedef {object} Pane
 * @property {string} kind Tells it from the others.
 * @property {string} label What it is, for those who do not see it.
 * @property {string} caption
 * @property {boolean} missing Whether there is nothing to draw: B lacks the probe.
 * @property {Side} side That whose cells it has.
 * @property {(canvas: HTMLCanvasElement, picture: Picture, longest: number, how?: How) => void} draw
 * @property {(spot: Spot) => string} read What its cell at a place says.
 */

/** @param {Side} side */
function captionOf({ entry }) {
  return `Step ${whole(entry.step)}, epoch ${entry.epoch}`;
}

/**
 * The overlay of one side.
 *
 * @param {Scene} scene
 * @param {"a"|"b"} kind
 * @param {Side} side
 * @param {number} probe
 * @returns {Pane}
 */
function overlayPane(scene, kind, side, probe) {
  const name = scene.b ? `${kind.toUpperCase()}: ` : "";
  return {
    kind,
    label: kind === "a" ? "Heatmap" : "Heatmap of B",
    caption: name + captionOf(side),
    missing: side === scene.b && scene.lacks(probe),
    side,
    draw: (canvas, picture, longest, how) =>
      scene.overlay(canvas, picture, longest, side, probe, how),
    read: (spot) => cellText(scene, side, probe, spot),
  };
}

/**
 * What A has more or less than B.
 *
 * @param {Scene} scene
 * @param {Side} b
 * @param {number} probe
 * @param {number[]} among The probes whose largest difference has the full colour.
 * @returns {Pane}
 */
function differencePane(scene, b, probe, among) {
  const full = fullDifference(scene, b, among);
  return {
    kind: "difference",
    label: "Difference map",
    caption: "A − B: amber is more in A, blue more in B",
    missing: scene.lacks(probe),
    side: scene.a,
    draw: (canvas, picture, longest, how) =>
      scene.difference(canvas, picture, longest, b, probe, full, how),
    read: (spot) => differenceText(scene, b, probe, spot),
  };
}

/**
 * The panes of the large view.
 *
 * @param {Scene} scene
 * @param {number} probe
 * @returns {Pane[]}
 */
export function panesOf(scene, probe) {
  const { a, b } = scene;
  const first = overlayPane(scene, "a", a, probe);
  if (!b || scene.lacks(probe)) return [first];
  return [first, overlayPane(scene, "b", b, probe), differencePane(scene, b, probe, [probe])];
}

/**
 * The panes of a card.
 *
 * @param {Scene} scene
 * @param {number} probe
 * @returns {Pane[]}
 */
export function panesOnCard(scene, probe) {
  const { a, b, compare } = scene;
  const first = overlayPane(scene, "a", a, probe);
  if (!b || compare === "off") return [first];
  if (compare === "side") return [first, overlayPane(scene, "b", b, probe)];
  return [scene.lacks(probe) ? first : differencePane(scene, b, probe, scene.order)];
}
