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
 * @property {string} [hint] What it is, in a sentence.
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
    hint: HINTS[axis.name] ?? "",
  }));
}

/** What measures say, where that is not in their names. */
const HINTS = /** @type {Record<string, string>} */ ({
  balance:
    "Share of the channels' influence on the score that speaks for the class; 50 %: as much for " +
    "it as against it. How strong the map is: may be compared over time, which heat may not",
  drift: "How much the map changed since the step before: 1 - cosine",
  concentration: "Share of the heat in the hottest tenth of the area",
});

/**
 * What the class score is called where it stands alone.
 *
 * @param {Evolution} evolution
 */
export function scoreLabel({ score }) {
  if (score === "value") return "Value";
  if (score === "mean value") return "Mean value";
  return score === "similarity" ? "Similarity" : "Score";
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
  return [...measureFields(evolution).slice(0, 1), { ...SCORE, label: scoreLabel(evolution) }];
}

/**
 * Those that have one in the large view.
 *
 * @param {Evolution} evolution
 */
export function allFields(evolution) {
  const measures = measureFields(evolution);
  const score = { ...SCORE, label: scoreLabel(evolution) };
  if (!evolution.hasClasses) return [...measures.slice(0, 1), score, ...measures.slice(1)];
  const of = ` of ${evolution.role ? `“${evolution.role}”` : "the class explained"}`;
  const both = [score, PROBABILITY].map((one) => ({ ...one, hint: one.label + of }));
  return [...measures.slice(0, 1), ...both, ...measures.slice(1)];
}

/**
 * How a class is written, and its own probability beside it.
 *
 * @typedef {{name: string, share?: string, kind?: string}} Value
 */

/** A row of the table. */
class Row {
  /** @param {HTMLElement} body */
  constructor(body) {
    this.head = el("th", { scope: "row" });
    this.cells = [0, 1].map(() => {
      const [name, share] = [el("span", { dir: "auto" }), el("span", { className: "share" })];
      const pair = el("div", { className: "pair" }, name, " ", share);
      return { node: el("td", {}, pair), name, share };
    });
    this.node = el("tr", {}, this.head, ...this.cells.map(({ node }) => node));
    body.append(this.node);
  }

  /**
   * @param {string} label
   * @param {Value[]} values
   * @param {string} hint
   */
  draw(label, values, hint) {
    this.node.hidden = !values.length;
    setText(this.head, label);
    this.head.title = hint;
    this.cells.forEach(({ node, name, share }, i) => {
      const value = values[i] ?? { name: "" };
      node.hidden = i >= values.length;
      setText(name, value.name);
      setText(share, value.share ?? "");
      // The column may be too narrow for a name; a number needs words.
      node.title = value.share
        ? `${shorten(value.name, 500)} ${value.share}`
        : hint || shorten(value.name, 500);
      name.className = `name ${value.kind ?? ""}`;
    });
  }
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
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Set<string>} The rows drawn this time. */
    this.drawn = new Set();
  }

  /** @param {string} key */
  row(key) {
    let row = this.rows.get(key);
    if (!row) this.rows.set(key, (row = new Row(this.body)));
    return row;
  }

  /**
   * @param {string} label
   * @param {(Value|string)[]} values One for each side; none hides the row.
   * @param {string} [hint] What it is, where its label does not say it.
   * @param {string} [key] Stands for the row, where its label may change.
   */
  drawRow(label, values, hint = "", key = label) {
    this.drawn.add(key);
    this.row(key).draw(
      label,
      values.map((value) => (typeof value === "string" ? { name: value } : value)),
      hint,
    );
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  draw(scene, probe) {
    const { a, b, role } = scene;
    const sides = b ? [a, b] : [a];
    const of = (
      /** @type {string} */ field,
      /** @type {(value: number|null, side: Side) => string} */ text,
    ) => sides.map((side) => text(side.at(field, probe), side));
    const className = (/** @type {number|null} */ index, /** @type {Side} */ side) =>
      shorten(side.evolution.className(index), 300);
    const { hasClasses, classNames, isMultiLabel } = a.evolution;
    const { label } = a.evolution.probes[probe];
    const inWords = a.evolution.labelOf(probe);
    const verdict = (/** @type {number|null} */ index) => {
      if (index === null || label === null || isMultiLabel) return "";
      return index === label ? "right" : "wrong";
    };
    const predictions = sides.map((side) => {
      const index = side.at("predicted", probe);
      const share = percent(side.probabilityOf(index, probe));
      return { name: className(index, side), share, kind: verdict(index) };
    });
    const explained = sides.map((side) => {
      const index = side.at("classes", probe);
      const share = percent(side.at("probabilities", probe));
      // Beside a value, or where there is no such class, nothing is probable.
      const bare = !hasClasses || (index !== null && index < 0);
      return { name: className(index, side), share: bare ? "" : share };
    });
    // A value need not be one of several.
    const isNamed = hasClasses || classNames !== null;
    const { complete } = this;
    this.drawn.clear();
    this.sides.hidden = !b;
    this.node.classList.toggle("two", b !== null);
    this.drawRow(
      "Label",
      inWords === null ? [] : [shorten(inWords, 300), ...(b ? [""] : [])],
    );
    this.drawRow(isMultiLabel ? "Likeliest" : "Predicts", hasClasses ? predictions : []);
    const title = role === "rival" ? "Rival" : "Explains";
    const hint = `The class of the map shown${role ? `: “${role}”` : ""}, and its probability`;
    this.drawRow(title, isNamed ? explained : [], hasClasses ? hint : "", "Explains");
    // A single score stands beside its curve already.
    this.drawRow(
      scoreLabel(a.evolution),
      complete || b ? of("scores", number) : [],
      hasClasses ? `Score of ${title === "Rival" ? "the rival" : "the class explained"}` : "",
      "Score",
    );
    const isEmpty = (/** @type {Side} */ side) =>
      side.at("maxima", probe) === 0 && !(scene.signed && side.at("against", probe));
    for (const { name, label: title, text, hint } of measureFields(a.evolution)) {
      // A balance stands beside every map, whose colours do not tell how strong it is.
      const written = (/** @type {number|null} */ value, /** @type {Side} */ side) =>
        name === "balance" && isEmpty(side) ? "no heat" : text(value);
      this.drawRow(title, complete || name === "balance" ? of(name, written) : [], hint);
    }
    this.drawRow("Largest heat", complete ? of("maxima", number) : []);
    this.drawRow("Drift A to B", b ? ["", decimals(scene.drift(probe))] : []);
    // Of another series, or of a role: it has fewer measures.
    for (const [key, row] of this.rows) if (!this.drawn.has(key)) row.node.hidden = true;
  }
}
