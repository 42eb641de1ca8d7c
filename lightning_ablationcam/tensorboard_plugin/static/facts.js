/**
 * What is known of a probe, in a table with one column for each side.
 */

import { el, setText } from "./elements.js";
import { measureFields, scoreLabel } from "./fields.js";
import { decimals, exactness, number, percent, shorten } from "./text.js";

/** @import { Scene, Side } from "./scene.js" */

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
    const { a, b, role, roles } = scene;
    const sides = b ? [a, b] : [a];
    const of = (
      /** @type {string} */ field,
      /** @type {(value: number|null, side: Side) => string} */ text,
    ) => sides.map((side) => text(side.at(field, probe), side));
    const className = (/** @type {number|null} */ index, /** @type {Side} */ side) =>
      shorten(side.evolution.className(index), 300);
    const { hasClasses, classNames, isMultiLabel } = a.evolution;
    const inWords = a.evolution.labelOf(probe);
    const predictions = sides.map((side) => {
      const index = side.at("predicted", probe);
      const share = percent(side.probabilityOf(index, probe));
      return { name: className(index, side), share, kind: side.evolution.verdict(index, side.place(probe)) };
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
    // Beside each other there are maps of several.
    const shown = `The class of the map shown${role ? `: “${role}”` : ""}`;
    const hint = `${roles.length ? "The class explained" : shown}, and its probability`;
    this.drawRow(title, isNamed ? explained : [], hasClasses ? hint : "", "Explains");
    // Where all are shown, and of a single score, a number stands beside its curve already.
    this.drawRow(
      scoreLabel(a.evolution),
      b && !complete ? of("scores", number) : [],
      hasClasses ? `Score of ${title === "Rival" ? "the rival" : "the class explained"}` : "",
      "Score",
    );
    const isEmpty = (/** @type {Side} */ side) =>
      side.at("maxima", probe) === 0 && !(scene.signed && side.at("against", probe));
    // A balance stands beside every map, whose colours do not tell how strong it is.
    const balance = measureFields(a.evolution).find(({ name }) => name === "balance");
    if (balance) {
      const written = (/** @type {number|null} */ value, /** @type {Side} */ side) =>
        isEmpty(side) ? "no heat" : balance.text(value);
      this.drawRow(balance.label, complete ? [] : of("balance", written), balance.hint);
    } else if (a.evolution.explained.knows("balance")) {
      const hint = "Measured of the class explained alone: how strong this map is, is not known";
      this.drawRow("Balance", complete ? [] : sides.map(() => "not measured"), hint);
    }
    // Beside the map, as it says what of it, and of a change, may be trusted.
    const error = measureFields(a.evolution).find(({ name }) => name === "error");
    const isStated = error && sides.some((side) => side.at("error", probe) !== null);
    this.drawRow("Map", isStated ? of("error", exactness) : [], error?.hint ?? "");
    this.drawRow("Largest heat", complete ? of("maxima", number) : []);
    this.drawRow("Drift A to B", b ? ["", decimals(scene.drift(probe))] : []);
    // Of another series, or of a role: it has fewer measures.
    for (const [key, row] of this.rows) if (!this.drawn.has(key)) row.node.hidden = true;
  }
}
