/**
 * Which pictures of a probe stand beside each other: on its card, and in the large view.
 */

import { whole } from "./text.js";

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
 * @property {(canvas: HTMLCanvasElement, picture: Picture, longest: number) => void} draw
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
    draw: (canvas, picture, longest) => scene.overlay(canvas, picture, longest, side, probe),
  };
}

/**
 * What A has more or less than B.
 *
 * @param {Scene} scene
 * @param {Side} b
 * @param {number} probe
 * @returns {Pane}
 */
function differencePane(scene, b, probe) {
  return {
    kind: "difference",
    label: "Difference map",
    caption: "A − B: amber is more in A, blue more in B",
    missing: scene.lacks(probe),
    draw: (canvas, picture, longest) => scene.difference(canvas, picture, longest, b, probe),
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
  return [first, overlayPane(scene, "b", b, probe), differencePane(scene, b, probe)];
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
  return [scene.lacks(probe) ? first : differencePane(scene, b, probe)];
}
