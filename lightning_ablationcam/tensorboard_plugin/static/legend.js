/**
 * What the colours mean.
 */

import { ofScale } from "./differences.js";
import { el, setAttribute, setText } from "./elements.js";
import { largest } from "./numbers.js";
import { PALE_GROUND, contextOf, offscreen } from "./pictures.js";
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
 * What a legend says: words at its ends, numbers below it, and all of it.
 *
 * @typedef {{low: string, high: string, ticks: string[], label: string}} Words
 */

/**
 * @param {Scene} scene
 * @param {number|null} difference The one that has the full colour, beside difference maps.
 * @param {string} look Of the maps that it stands beside.
 * @returns {Words}
 */
function wordsOf(scene, difference, look) {
  const lines = look === "contour" && difference === null ? "lines at 25, 50, 75 % · " : "";
  const meaning = `${lines}100 % is ${fullColour(scene)}`;
  if (difference !== null) {
    const most = ofScale(difference);
    return {
      low: scene.others.length ? "more in the other" : "more in B",
      high: `more in A · ${meaning}`,
      ticks: [`−${most}`, "0", `+${most}`],
      label:
        `Difference map: amber where A has more heat, blue where B has more, up to ${most}, the ` +
        `largest difference of what is shown over all steps; ${meaning}`,
    };
  }
  if (scene.signed)
    return {
      low: "against",
      high: `for · ${meaning}`,
      ticks: ["100 %", "0", "100 %"],
      label: `Colour scale: pink speaks against the class, green for it; ${meaning}`,
    };
  return {
    low: "",
    high: meaning,
    ticks: ["0", "50", "100 %"],
    label: `Colour scale: 0 % is no heat, ${meaning}`,
  };
}

/** What lies beneath heat here: no overlay shows the bare colour of the cold end. */
const GROUND = "#5c5e62";

export class Legend {
  constructor() {
    this.canvas = el("canvas", { width: 256, height: 16, "aria-hidden": "true" });
    this.low = el("span", { className: "low" });
    this.high = el("span", { className: "high" });
    this.ticks = [0, 1, 2].map(() => el("span", {}));
    const scale = el(
      "div",
      { className: "scale" },
      this.canvas,
      el("div", { className: "ticks" }, ...this.ticks),
    );
    this.node = el("div", { className: "legend", role: "img" }, this.low, scale, this.high);
    /** What is drawn. */
    this.key = "";
  }

  /**
   * @param {Scene} scene
   * @param {{look?: string, full?: number|null}} [beside] What it stands beside: maps of a look, or, of
   *   difference maps, the difference that has the full colour.
   */
  draw(scene, { look = "overlay", full = null } = {}) {
    const { low, high, ticks, label } = wordsOf(scene, full, look);
    setText(this.low, low);
    this.low.hidden = !low;
    setText(this.high, high);
    ticks.forEach((text, i) => setText(this.ticks[i], text));
    setAttribute(this.node, "aria-label", label);
    this.node.title = label;
    const isDifference = full !== null;
    const { signed } = scene;
    const key = [scene.tables.key, signed, isDifference, look].join();
    if (key === this.key) return;
    this.key = key;
    const bare = look === "heat" ? scene.tables.bare : scene.tables;
    const table = isDifference ? scene.tables.difference : signed ? bare.signed : bare.heat;
    this.drawScale(table, isDifference ? PALE_GROUND : GROUND, isDifference || look !== "contour");
    if (!isDifference && look === "contour") this.drawLines(scene);
  }

  /**
   * @param {Uint32Array} table
   * @param {string} ground
   * @param {boolean} isFilled
   */
  drawScale(table, ground, isFilled) {
    const { width, height } = this.canvas;
    const context = contextOf(this.canvas);
    context.fillStyle = ground;
    context.fillRect(0, 0, width, height);
    if (!isFilled) return;
    const under = offscreen(width, 1);
    const image = under.context.createImageData(width, 1);
    new Uint32Array(image.data.buffer).set(table);
    under.context.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(under.canvas, 0, 0, width, height);
  }

  /** @param {Scene} scene */
  drawLines({ contours, signed }) {
    const { width, height } = this.canvas;
    const context = contextOf(this.canvas);
    for (const { level, color, wide } of contours) {
      const x = width * (signed ? (1 + level) / 2 : level);
      for (const [stroke, more] of /** @type {[string, number][]} */ ([
        ["#000", 3],
        [color, 0],
      ])) {
        context.fillStyle = stroke;
        const across = 1.6 * wide + more;
        context.fillRect(x - across / 2, 0, across, height);
      }
    }
  }
}
