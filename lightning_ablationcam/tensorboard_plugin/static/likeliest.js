/**
 * The likeliest classes of a probe over the steps, and where the prediction changed.
 */

import { flipsIn } from "./changes.js";
import { Plot, placesOf } from "./charts.js";
import { el, setAttribute, setText, svg } from "./elements.js";
import { nearestIndex } from "./numbers.js";
import { isOfClass } from "./roles.js";
import { percent, shorten, whole } from "./text.js";

/** @import { Evolution } from "./data.js" */
/** @import { Scene } from "./scene.js" */

/** How many classes have a curve: as many as can be told apart. */
const MOST = 5;

/**
 * The classes that were likeliest at any step, the likeliest first; of two that were equally likely,
 * the one that was so later.
 *
 * @param {Evolution} evolution
 * @param {number} probe
 */
function likeliestOf(evolution, probe) {
  /** @type {Map<number, number>} */
  const most = new Map();
  for (let step = evolution.length - 1; step >= 0; step--) {
    const likeliest = evolution.likeliest(step, probe);
    likeliest?.classes.forEach((index, place) => {
      const probability = likeliest.probabilities[place] ?? 0;
      if (probability > (most.get(index) ?? -1)) most.set(index, probability);
    });
  }
  return [...most]
    .sort(([, x], [, y]) => y - x)
    .slice(0, MOST)
    .map(([index]) => index);
}

/**
 * A change of the prediction, in words.
 *
 * @typedef {{index: number, text: string}} Flip
 */

/**
 * The steps at which another class was predicted than the last time one was known.
 *
 * @param {Evolution} evolution
 * @param {number} probe
 * @returns {Flip[]}
 */
export function flipsOf(evolution, probe) {
  const flips = flipsIn(evolution).filter((flip) => flip.probe === probe);
  return flips.map(({ index, from, to }) => {
    const [before, after] = [from, to].map((one) => shorten(evolution.className(one)));
    const step = whole(evolution.numbers[index]);
    return { index, text: `Prediction changed from ${before} to ${after} at step ${step}` };
  });
}

/**
 * Ticks where the prediction changed, each saying what it was. For whoever cannot see them the
 * frames of the strip say the same.
 */
export class FlipMarks {
  constructor() {
    this.node = el("div", { className: "flips", "aria-hidden": "true" });
  }

  /**
   * @param {Flip[]} flips
   * @param {number[]} places Of each step, 0...1.
   */
  draw(flips, places) {
    this.node.replaceChildren(
      ...flips.map(({ index, text }) => {
        const tick = el("span", { className: "flip", title: text });
        tick.style.left = `${100 * places[index]}%`;
        return tick;
      }),
    );
  }
}

/** A class in the list below the plot. */
class Entry {
  /**
   * @param {number} place Decides its colour and its dashes.
   * @param {number} index Of the class.
   * @param {string} name
   */
  constructor(place, index, name) {
    this.index = index;
    this.value = el("span", { className: "value" });
    this.role = el("span", { className: "role" });
    const line = { d: "M0 5H28", class: `line likely-${place}` };
    this.node = el(
      "li",
      {},
      svg("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" }, svg("path", line)),
      el("span", { className: "name", dir: "auto", title: shorten(name, 500) }, shorten(name, 300)),
      this.value,
      this.role,
    );
  }
}

/** The curves of the likeliest classes, drawn anew only when the data changes. */
export class LikeliestClasses {
  /** @param {(index: number) => void} seek Goes to a step of A's. */
  constructor(seek) {
    /** @type {number[]} */
    this.places = [];
    const go = (/** @type {number} */ share) => seek(nearestIndex(this.places, share));
    this.plot = new Plot("Likeliest classes", go, { extent: [0, 1] });
    this.marks = new FlipMarks();
    this.plot.box.append(this.marks.node);
    this.list = el("ul", {});
    this.node = el("div", { className: "likeliest" }, this.plot.node, this.list);
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Evolution|null} */
    this.evolution = null;
    /** @type {number|null} */
    this.probe = null;
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  draw({ a, b, role, roles: beside }, probe) {
    const { evolution, index } = a;
    if (this.evolution !== evolution || this.probe !== probe) this.build(evolution, probe);
    this.node.hidden = !this.entries.length;
    const sides = b?.evolution === evolution ? [a, b] : [a];
    this.plot.mark(sides.map((side) => this.places[side.index]));
    const { label } = evolution.probes[probe];
    const shown = a.at("classes", probe);
    // Of several maps each says which class it is of; that of the label is marked already.
    const others = beside.filter((one) => one && one !== "label" && isOfClass(one));
    for (const entry of this.entries) {
      const probability = evolution.probabilityOf(entry.index, index, probe);
      setText(entry.value, percent(probability));
      const roles = [];
      if (entry.index === label) roles.push("label");
      if (entry.index === shown) roles.push(role && role !== "label" ? role : "explained");
      for (const one of others)
        if (entry.index === a.of(one).at("classes", probe)) roles.push(one);
      setText(entry.role, roles.join(", "));
      setAttribute(entry.node, "data-marked", String(roles.length > 0));
      this.plot.lines.children[this.entries.indexOf(entry)].classList.toggle(
        "marked",
        roles.length > 0,
      );
    }
  }

  /**
   * @param {Evolution} evolution
   * @param {number} probe
   */
  build(evolution, probe) {
    this.evolution = evolution;
    this.probe = probe;
    this.places = placesOf(evolution, [evolution]);
    const classes = likeliestOf(evolution, probe);
    this.plot.draw(
      classes.map((index, place) => {
        const values = evolution.steps.map((_, step) => {
          const likeliest = evolution.likeliest(step, probe);
          const at = likeliest?.classes.indexOf(index) ?? -1;
          return likeliest && at >= 0 ? likeliest.probabilities[at] : null;
        });
        return { places: this.places, values, kind: `likely-${place}` };
      }),
    );
    this.entries = classes.map((index, place) => {
      return new Entry(place, index, evolution.className(index));
    });
    this.list.replaceChildren(...this.entries.map(({ node }) => node));
    this.marks.draw(flipsOf(evolution, probe), this.places);
  }
}
