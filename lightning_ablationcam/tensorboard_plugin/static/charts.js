/**
 * Small line charts: how one number, or those of a probe, went over the steps.
 */

import { el, setAttribute, setText, svg } from "./elements.js";
import { finite, nearestIndex } from "./numbers.js";
import { number } from "./text.js";

/** @import { Evolution } from "./data.js" */
/** @import { Field } from "./facts.js" */
/** @import { Scene, Side } from "./scene.js" */

/**
 * The ends of a vertical axis, null where the data decides.
 *
 * @typedef {[low: number|null, high: number|null]} Extent
 */

/**
 * A line: its values and where each stands between the left and the right end, 0...1.
 *
 * @typedef {{places: number[], values: (number|null)[], kind: string}} Line
 */

/**
 * A small line chart. For whoever cannot see it there are the number beside it and the step slider.
 */
export class Plot {
  /**
   * @param {string} label
   * @param {(share: number) => void} seek Called with the share, 0...1, of its width that is clicked.
   * @param {Extent} [extent]
   * @param {string} [hint] What is drawn, where the label does not say it.
   */
  constructor(label, seek, extent = [null, null], hint = "") {
    this.extent = extent;
    this.lines = svg("g", {});
    this.marks = svg("g", {});
    this.chart = svg(
      "svg",
      {
        viewBox: "0 0 1000 100",
        preserveAspectRatio: "none",
        class: "chart",
        "aria-hidden": "true",
      },
      this.lines,
      this.marks,
    );
    this.value = el("span", { className: "value" });
    this.box = el("div", { className: "chart-box", title: "Click to go to that step" }, this.chart);
    this.box.addEventListener("click", (event) => {
      const { left, width } = this.box.getBoundingClientRect();
      seek(Math.min(1, Math.max(0, (event.clientX - left) / width)));
    });
    this.range = el("span", { className: "range" });
    this.node = el(
      "div",
      { className: "plot" },
      el("span", { className: "plot-label", title: hint }, label),
      this.box,
      this.value,
      this.range,
    );
  }

  /** @param {Line[]} lines */
  draw(lines) {
    const values = finite(lines.flatMap((line) => line.values));
    const low = this.extent[0] ?? values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = this.extent[1] ?? values.reduce((a, b) => Math.max(a, b), -Infinity);
    const height = high - low || 1;
    const y = (/** @type {number} */ value) => (95 - (90 * (value - low)) / height).toFixed(1);
    this.lines.replaceChildren(
      ...lines.map((line) => {
        let path = "";
        line.values.forEach((value, i) => {
          if (value === null) return;
          const starts = line.values[i - 1] == null;
          path += `${starts ? "M" : "L"}${(1000 * line.places[i]).toFixed(1)} ${y(value)}`;
          if (starts && line.values[i + 1] == null) path += "h4"; // a point alone
        });
        return svg("path", {
          d: path,
          class: `line ${line.kind}`,
          "vector-effect": "non-scaling-stroke",
        });
      }),
    );
    setText(this.range, values.length ? `${number(low)} … ${number(high)}` : "");
  }

  /**
   * Mark places (0...1) by vertical lines.
   *
   * @param {number[]} places
   */
  mark(places) {
    while (this.marks.children.length < places.length) {
      const kind = this.marks.children.length ? "mark b" : "mark a";
      this.marks.append(
        svg("path", { d: "M0 0V100", class: kind, "vector-effect": "non-scaling-stroke" }),
      );
    }
    [...this.marks.children].forEach((mark, i) => {
      const shown = i < places.length;
      setAttribute(mark, "visibility", shown ? "visible" : "hidden");
      if (shown) setAttribute(mark, "transform", `translate(${(1000 * places[i]).toFixed(1)} 0)`);
    });
  }
}

/**
 * Where each step stands between the first and the last of all evolutions shown: 0...1.
 *
 * @param {Evolution} evolution
 * @param {Evolution[]} all
 */
export function placesOf(evolution, all) {
  const first = Math.min(...all.map(({ numbers }) => numbers[0]));
  const last = Math.max(...all.map(({ numbers }) => numbers[numbers.length - 1]));
  return evolution.numbers.map((step) => (last > first ? (step - first) / (last - first) : 0));
}

/** The curves of one probe, drawn anew only when the data changes. */
export class Curves {
  /**
   * @param {(evolution: Evolution) => Field[]} choose Which fields are shown.
   * @param {(index: number) => void} seek Goes to a step of A's.
   */
  constructor(choose, seek) {
    this.choose = choose;
    this.seek = seek;
    this.node = el("div", { className: "plots" });
    /** @type {Field[]} */
    this.fields = [];
    /** @type {Plot[]} */
    this.plots = [];
    /** @type {number[][]} Of each evolution drawn. */
    this.places = [];
    /** @type {Evolution[]} */
    this.drawn = [];
    /** @type {number|null} */
    this.probe = null;
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  draw({ a, b }, probe) {
    const sides = b && b.place(probe) !== null ? [a, b] : [a];
    const evolutions = [...new Set(sides.map(({ evolution }) => evolution))];
    if (
      this.probe !== probe ||
      evolutions.length !== this.drawn.length ||
      evolutions.some((evolution, i) => evolution !== this.drawn[i])
    ) {
      this.drawn = evolutions;
      this.probe = probe;
      this.build(sides, probe);
    }
    const marks = sides.map(({ evolution, index }) => {
      return this.places[evolutions.indexOf(evolution)][index];
    });
    this.plots.forEach((plot, i) => {
      plot.mark(marks);
      const { name, text } = this.fields[i];
      setText(plot.value, text(a.at(name, probe)));
    });
  }

  /**
   * @param {Side[]} sides
   * @param {number} probe
   */
  build(sides, probe) {
    this.fields = this.choose(this.drawn[0]);
    this.places = this.drawn.map((evolution) => placesOf(evolution, this.drawn));
    this.plots = this.fields.map(({ name, label, extent, hint }) => {
      const go = (/** @type {number} */ share) => this.seek(nearestIndex(this.places[0], share));
      const plot = new Plot(label, go, extent, hint);
      plot.draw(
        this.drawn.map((evolution, i) => {
          const side = sides.find((one) => one.evolution === evolution);
          const values = evolution.curve(name, side?.place(probe) ?? probe);
          return { places: this.places[i], values, kind: `${name} ${i ? "b" : "a"}` };
        }),
      );
      return plot;
    });
    this.node.replaceChildren(...this.plots.map(({ node }) => node));
  }
}
