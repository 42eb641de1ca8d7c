/**
 * The numbers of a probe: which there are, and a table of them with one column for each side.
 */

import { el, setText } from "./elements.js";
import { decimals, number, percent, shorten } from "./text.js";

/** @import { Extent } from "./charts.js" */
/** @import { Evolution } from "./data.js" */
/** @import { Scene, Side } from "./scene.js" */

/**
 * A number that every probe has at every step.
 *
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {(value: number|null) => string} text How a value is written.
 * @property {Extent} [extent] That of its curve.
 */

/**
 * The measures of an evolution.
 *
 * @param {Evolution} evolution
 * @returns {Field[]}
 */
function measureFields({ measures }) {
  return measures.map((axis) => ({
    name: axis.name,
    label: axis.label,
    text: axis.percent ? percent : decimals,
    extent: [axis.low, null],
  }));
}

/** @type {Field} */
const SCORE = { name: "scores", label: "Score", text: number };

/** @type {Field} */
const PROBABILITY = {
  name: "probabilities",
  label: "Probability",
  text: percent,
  extent: [0, 1],
};

/**
 * Those that have a curve on a card.
 *
 * @param {Evolution} evolution
 */
export function fieldsOnCard(evolution) {
  return [...measureFields(evolution).slice(0, 1), SCORE];
}

/**
 * Those that have one in the large view.
 *
 * @param {Evolution} evolution
 */
export function allFields(evolution) {
  const measures = measureFields(evolution);
  return [...measures.slice(0, 1), SCORE, PROBABILITY, ...measures.slice(1)];
}

/** The numbers of a probe, one column for each side. */
export class Facts {
  /** @param {boolean} complete Whether all are shown, or those for which a card has room. */
  constructor(complete) {
    this.complete = complete;
    this.head = el(
      "tr",
      {},
      el("td", {}),
      el("th", { scope: "col" }, "A"),
      el("th", { scope: "col" }, "B"),
    );
    this.sides = el("thead", {}, this.head);
    this.body = el("tbody", {});
    this.node = el("table", { className: "facts" }, this.sides, this.body);
    /** @type {Map<string, {node: HTMLElement, cells: HTMLElement[]}>} */
    this.rows = new Map();
  }

  /** @param {string} label */
  row(label) {
    let row = this.rows.get(label);
    if (!row) {
      const cells = [el("td", { dir: "auto" }), el("td", { dir: "auto" })];
      row = { node: el("tr", {}, el("th", { scope: "row" }, label), ...cells), cells };
      this.rows.set(label, row);
      this.body.append(row.node);
    }
    return row;
  }

  /**
   * @param {string} label
   * @param {string[]} values One for each side; none hides the row.
   * @param {string[]} [kinds] What each is marked as.
   */
  drawRow(label, values, kinds = []) {
    const { node, cells } = this.row(label);
    node.hidden = !values.length;
    cells.forEach((cell, i) => {
      const value = values[i] ?? "";
      cell.hidden = i >= values.length;
      setText(cell, value);
      cell.title = shorten(value, 500); // the column may be too narrow for it
      cell.className = kinds[i] ?? "";
    });
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  draw(scene, probe) {
    const { a, b } = scene;
    const sides = b ? [a, b] : [a];
    const of = (
      /** @type {string} */ field,
      /** @type {(value: number|null, side: Side) => string} */ text,
    ) => sides.map((side) => text(side.at(field, probe), side));
    const className = (/** @type {number|null} */ index, /** @type {Side} */ side) =>
      shorten(side.evolution.className(index), 300);
    const { label } = a.evolution.probes[probe];
    const verdict = (/** @type {number|null} */ index) => {
      if (index === null || label === null) return "";
      return index === label ? "right" : "wrong";
    };
    const { complete } = this;
    this.sides.hidden = !b;
    this.drawRow("Label", complete ? [className(label, a), ...(b ? [""] : [])] : []);
    this.drawRow("Explains", of("classes", className));
    this.drawRow("Predicts", of("predicted", className), of("predicted", verdict));
    // A single score stands beside its curve already.
    this.drawRow("Score", complete || b ? of("scores", number) : []);
    this.drawRow("Probability", of("probabilities", percent));
    for (const { name, label: title, text } of measureFields(a.evolution))
      this.drawRow(title, complete ? of(name, text) : []);
    this.drawRow("Largest heat", complete ? of("maxima", number) : []);
    this.drawRow("Drift A to B", b ? ["", decimals(scene.drift(probe))] : []);
  }
}
