/**
 * What the colours mean.
 */

import { el, setAttribute, setText } from "./elements.js";
import { largest } from "./numbers.js";
import { contextOf, offscreen } from "./pictures.js";
import { isOfClass } from "./roles.js";
import { percent } from "./text.js";

/** @import { Scene } from "./scene.js" */

/**
 * What full colour stands for, in words.
 *
 * @param {Scene} scene
 */
function fullColour({ scale, signed, a, sides, roles }) {
  const most = signed ? "largest value" : "maximum";
  // Only of the classes explained a balance is known.
  if (scale === "map" || a.evolution.role) return `each map's own ${most}`;
  const shares = roles.filter(isOfClass).length > 1 ? ", of the class with most evidence" : "";
  if (scale === "probe") return `a map's ${most} at its probe's largest balance${shares}`;
  const strongest = largest(sides.map(({ evolution }) => evolution.strongestOfAll));
  return `a map's ${most} at the largest balance of the run, ${percent(strongest)}${shares}`;
}

/**
 * The ends of the scale, and what it says as a whole.
 *
 * @param {Scene} scene
 * @param {boolean} difference Whether it stands beside difference maps.
 */
function wordsOf(scene, difference) {
  const full = fullColour(scene);
  if (difference)
    return {
      low: scene.others.length ? "more in the other" : "more in B",
      high: "more in A",
      label: `Difference map: amber where A has more heat, blue where B has more; 100 % is ${full}`,
    };
  if (scene.signed)
    return {
      low: "against",
      high: `for · 100 % is ${full}`,
      label: `Colour scale: pink speaks against the class, green for it; 100 % is ${full}`,
    };
  const label = `Colour scale: 0 % is no heat, 100 % is ${full}`;
  return { low: "0 %", high: `100 % is ${full}`, label };
}

export class Legend {
  constructor() {
    this.canvas = el("canvas", { width: 256, height: 1, "aria-hidden": "true" });
    this.low = el("span", {});
    this.high = el("span", {});
    this.node = el("div", { className: "legend", role: "img" }, this.low, this.canvas, this.high);
    /** @type {Uint32Array|null} */
    this.table = null;
  }

  /**
   * @param {Scene} scene
   * @param {boolean} difference Whether it stands beside difference maps.
   */
  draw(scene, difference) {
    const { low, high, label } = wordsOf(scene, difference);
    setText(this.low, low);
    setText(this.high, high);
    setAttribute(this.node, "aria-label", label);
    this.node.title = label;
    const { difference: ofDifference, signed, heat } = scene.tables;
    const table = difference ? ofDifference : scene.signed ? signed : heat;
    if (table === this.table) return;
    this.table = table;
    const context = contextOf(this.canvas);
    const image = context.createImageData(256, 1);
    new Uint32Array(image.data.buffer).set(table);
    // Over grey, as heat lies over a picture: no overlay shows the bare colour of the cold end.
    const under = offscreen(256, 1);
    under.context.putImageData(image, 0, 0);
    context.fillStyle = difference ? "#373839" : "#5c5e62";
    context.fillRect(0, 0, 256, 1);
    context.drawImage(under.canvas, 0, 0);
  }
}
