/**
 * Small line charts: how one number, or those of a probe, went over the steps.
 */

import { limitsOf, rangAt, rulesOn } from "./alarms.js";
import { el, setText, svg } from "./elements.js";
import { FOCUS } from "./fields.js";
import { finite, nearestIndex } from "./numbers.js";
import { number, whole } from "./text.js";
import { thinned } from "./thinning.js";

/** @import { Limit } from "./alarms.js" */
/** @import { Evolution } from "./data.js" */
/** @import { Field } from "./fields.js" */
/** @import { Scene, Side } from "./scene.js" */

/**
 * The ends of a vertical axis, null where the data decides.
 *
 * @typedef {[low: number|null, high: number|null]} Extent
 */

/**
 * A line: its values and where each stands between the left and the right end, 0...1.
 *
 * @typedef {object} Line
 * @property {number[]} places
 * @property {(number|null)[]} values
 * @property {string} kind
 * @property {boolean} [dotted] Whether every value has a dot: there are steps between them that have
 *   none.
 * @property {boolean[]} [beyond] Which values are marked as beyond, in an alarm that rings.
 * @property {number[]} [rang] Places at which an alarm rang.
 */

/**
 * What stands in a chart beside its lines.
 *
 * @typedef {object} Around
 * @property {Limit[]} [limits] Where beyond begins.
 * @property {number|null} [most] The greatest value that there can be.
 * @property {(value: number) => string} [write] How the ends are written.
 */

/** How much of the height above or below a limit is shown at least. */
const ROOM = 0.15;

/** The height of a limit's number in per cent of that of the lowest chart that has one. */
const NUMBER_HEIGHT = 50;

/** How many pixels wide a chart is at most: in the large view, and on a card. */
const WIDE = 512;
export const NARROW = 128;

/** Places in a chart are written so. */
const across = (/** @type {number} */ place) => (1000 * place).toFixed(1);

/**
 * A line with the points that are seen of it. One with dots has all of them.
 *
 * @param {Line} line
 * @param {number} columns
 * @returns {Line}
 */
function thin(line, columns) {
  if (line.dotted) return line;
  const kept = thinned(line.places, line.values, columns);
  return { ...line, places: kept.map((i) => line.places[i]), values: kept.map((i) => line.values[i]) };
}

/**
 * A row of a line's values, drawn without gaps but where a value is null.
 *
 * @param {Line} line
 * @param {(value: number) => string} y
 */
function segmentsOf({ places, values, dotted }, y) {
  let path = "";
  values.forEach((value, i) => {
    if (value === null) return;
    const starts = values[i - 1] == null;
    path += `${starts ? "M" : "L"}${across(places[i])} ${y(value)}`;
    if (starts && values[i + 1] == null && !dotted) path += "h4"; // a point alone
  });
  return path;
}

/**
 * The same values as dots. The picture is stretched, so that a circle would be none; the end of a line
 * is not.
 *
 * @param {Line} line
 * @param {(value: number) => string} y
 * @param {(index: number) => boolean} chosen
 */
function dotsOf({ places, values }, y, chosen) {
  const dots = values.map((value, i) =>
    value === null || !chosen(i) ? "" : `M${across(places[i])} ${y(value)}h0.01`,
  );
  return dots.join("");
}

/**
 * A small line chart. For whoever cannot see it there are the number beside it and the step slider.
 */
export class Plot {
  /**
   * @param {string} label
   * @param {(share: number) => void} seek Called with the share, 0...1, of its width that is clicked.
   * @param {object} [options]
   * @param {Extent} [options.extent]
   * @param {string} [options.hint] What is drawn, where the label does not say it.
   * @param {number} [options.columns] How many pixels it is wide at most.
   */
  constructor(label, seek, { extent = [null, null], hint = "", columns = WIDE } = {}) {
    this.extent = extent;
    this.columns = columns;
    this.under = svg("g", {});
    this.lines = svg("g", { class: "curves" });
    this.chart = svg(
      "svg",
      {
        viewBox: "0 0 1000 100",
        preserveAspectRatio: "none",
        class: "chart",
        "aria-hidden": "true",
      },
      this.under,
      this.lines,
    );
    this.value = el("span", { className: "value" });
    this.other = el("span", { className: "value b", hidden: true });
    this.since = el("span", { className: "since", hidden: true });
    this.limits = el("div", { className: "limits" });
    // Outside of the chart: a line that moves in there has all of it laid out anew.
    /** @type {HTMLElement[]} */
    this.marks = [];
    this.box = el(
      "div",
      { className: "chart-box", title: "Click to go to that step" },
      this.chart,
      this.limits,
    );
    this.box.addEventListener("click", (event) => {
      const { left, width } = this.box.getBoundingClientRect();
      seek(Math.min(1, Math.max(0, (event.clientX - left) / width)));
    });
    this.range = el("span", { className: "range" });
    this.label = el("span", { className: "plot-label", title: hint }, label);
    this.node = el(
      "div",
      { className: "plot" },
      this.label,
      this.box,
      this.value,
      this.other,
      this.range,
      this.since,
    );
  }

  /**
   * The ends of the vertical axis. A limit is always in sight, and some of what is beyond it.
   *
   * @param {Line[]} lines
   * @param {Around} around
   */
  ends(lines, { limits = [], most = null }) {
    const values = finite(lines.flatMap((line) => line.values));
    const shown = [...values, ...limits.map(({ value }) => value)];
    const lowest = shown.reduce((a, b) => Math.min(a, b), Infinity);
    const low = this.extent[0] ?? lowest;
    let high = this.extent[1] ?? shown.reduce((a, b) => Math.max(a, b), -Infinity);
    for (const { value, above } of limits) {
      const beyond = value + ROOM * (Math.abs(value - low) || 1);
      if (above) high = Math.max(high, Math.min(beyond, most ?? Infinity));
    }
    return { low, high, known: values.length > 0 };
  }

  /**
   * @param {Line[]} lines
   * @param {Around} [around]
   */
  draw(lines, around = {}) {
    const { low, high, known } = this.ends(lines, around);
    const height = high - low || 1;
    const y = (/** @type {number} */ value) => (95 - (90 * (value - low)) / height).toFixed(1);
    const path = (/** @type {string} */ d, /** @type {string} */ kind) =>
      svg("path", { d, class: kind, "vector-effect": "non-scaling-stroke" });
    this.lines.replaceChildren(
      ...lines.flatMap((line) => {
        const drawn = [path(segmentsOf(thin(line, this.columns), y), `line ${line.kind}`)];
        if (line.dotted) drawn.push(path(dotsOf(line, y, () => true), `dots ${line.kind}`));
        const { beyond } = line;
        if (beyond?.includes(true))
          drawn.push(path(dotsOf(line, y, (i) => beyond[i]), "dots beyond"));
        return drawn;
      }),
    );
    const { limits = [] } = around;
    this.under.replaceChildren(
      ...limits.flatMap(({ value, above, judges }) => {
        const [top, bottom] = above ? [0, Number(y(value))] : [Number(y(value)), 100];
        const sides = { x: "0", width: "1000", y: String(top), height: String(bottom - top) };
        const tint = judges ? [svg("rect", { ...sides, class: "beyond" })] : [];
        return [...tint, path(`M0 ${y(value)}H1000`, judges ? "limit" : "limit of-mean")];
      }),
      // A's at the lower edge, B's at the upper one.
      ...lines.flatMap(({ rang = [] }, i) => {
        const ticks = rang.map((place) => `M${across(place)} ${i ? "0v14" : "100v-14"}`).join("");
        return ticks ? [path(ticks, i ? "rang b" : "rang")] : [];
      }),
    );
    this.drawLimits(limits, (value) => Number(y(value)));
    const { write = number } = around;
    setText(this.range, known ? `${write(low)} … ${write(high)}` : "");
  }

  /**
   * Write the numbers of limits beside them, and beside each other where they would overlap.
   *
   * @param {Limit[]} limits
   * @param {(value: number) => number} y In per cent.
   */
  drawLimits(limits, y) {
    /** @type {{top: number, end: number}[]} An end is in characters. */
    const written = [];
    const nodes = limits.map(({ value, text, title }) => {
      const place = y(value);
      // Below the line where there is no room above it.
      const below = place < 40;
      const top = below ? place : place - NUMBER_HEIGHT;
      const near = written.filter((one) => Math.abs(one.top - top) < NUMBER_HEIGHT);
      const start = Math.max(0, ...near.map(({ end }) => end));
      written.push({ top, end: start + text.length + 1 });
      const node = el("span", { className: "limit-value", title }, text);
      node.style.top = `${place}%`;
      node.style.setProperty("--start", `${start}ch`);
      node.classList.toggle("below", below);
      return node;
    });
    this.limits.replaceChildren(...nodes);
  }

  /**
   * Mark places (0...1) by vertical lines.
   *
   * @param {number[]} places
   */
  mark(places) {
    while (this.marks.length < places.length) {
      const mark = el("span", { className: this.marks.length ? "mark b" : "mark a" });
      this.marks.push(mark);
      this.box.append(mark);
    }
    this.marks.forEach((mark, i) => {
      mark.hidden = i >= places.length;
      if (!mark.hidden) mark.style.left = `${(100 * places[i]).toFixed(2)}%`;
    });
  }

  /**
   * Write the values beside the curve, one for each side.
   *
   * @param {Side[]} sides
   * @param {Field} field
   * @param {number} probe
   */
  say(sides, { name, text, group }, probe) {
    const since = sides.map((side, i) => {
      const { value, index } = side.newest(name, probe);
      const node = i ? this.other : this.value;
      const isKnown = side.knows(name);
      // Shares of no heat are a matter of definition.
      const isCold = isKnown && group === FOCUS && side.isCold(index, probe);
      const isLacking = i && !side.evolution.knows(name);
      setText(node, isLacking ? "not measured" : isCold ? "no heat" : text(value));
      // A measure need not be taken in every pass.
      const step = `of step ${whole(side.evolution.numbers[index])}`;
      const isOld = index !== side.index;
      node.classList.toggle("old", isOld);
      return (node.title = isOld ? step : "");
    });
    this.other.hidden = sides.length < 2;
    this.since.hidden = !since[0];
    setText(this.since, since[0]);
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

/**
 * A line through the steps at which a field was taken; with dots, where others lie between them.
 *
 * @param {Evolution} evolution
 * @param {string} field
 * @param {number[]} places Of all steps.
 * @param {string} kind
 * @param {(index: number) => number|null} valueAt
 * @returns {Line}
 */
export function lineOf(evolution, field, places, kind, valueAt) {
  const taken = evolution.taken(field);
  return {
    places: taken.map((index) => places[index]),
    values: taken.map(valueAt),
    kind: `${field} ${kind}`,
    dotted: taken.length > 0 && taken.length < evolution.length - taken[0],
  };
}

/**
 * What alarms say in the chart of a measure.
 *
 * @param {Evolution} evolution
 * @param {string} field
 * @param {number[]} places Of all steps.
 * @param {number|null} probe Whose curve it is; null for that of the mean over all of them.
 */
export function alarmsIn(evolution, field, places, probe) {
  const rules = rulesOn(evolution, field);
  const ofProbe = probe !== null;
  // A dot is at a value that was judged: of a probe, or of the mean.
  const judging = rules.filter(({ of }) => (of === "any") === ofProbe);
  const beyond = new Set(rangAt(evolution, judging, probe));
  return {
    limits: limitsOf(evolution, rules, ofProbe),
    rang: rangAt(evolution, rules, probe).map((index) => places[index]),
    beyond: evolution.taken(field).map((index) => beyond.has(index)),
  };
}

/**
 * The limits of both sides, once where they are the same.
 *
 * @param {Limit[][]} limits
 */
function joined(limits) {
  const keys = limits.map((ofOne) => ofOne.map(({ value, title }) => `${value} ${title}`));
  return limits.flatMap((ofOne, i) =>
    ofOne.flatMap((limit, j) => {
      const shared = limits.length > 1 && keys[1 - i].includes(keys[i][j]);
      if (shared || limits.length < 2) return shared && i ? [] : [limit];
      return [{ ...limit, text: `${"AB"[i]}: ${limit.text}`, title: `${"AB"[i]}: ${limit.title}` }];
    }),
  );
}

/** The curves of one probe, drawn anew only when the data changes. */
export class Curves {
  /**
   * @param {(evolution: Evolution, measure: string) => Field[]} choose Which fields are shown, given
   *   the measure that the user has chosen.
   * @param {(index: number) => void} seek Goes to a step of A's.
   * @param {number} [columns] How many pixels they are wide at most.
   */
  constructor(choose, seek, columns = WIDE) {
    this.choose = choose;
    this.seek = seek;
    this.columns = columns;
    this.node = el("div", { className: "plots" });
    /** @type {Field[]} */
    this.fields = [];
    /** @type {Plot[]} */
    this.plots = [];
    /** @type {number[][]} Of each evolution drawn. */
    this.places = [];
    /** @type {Evolution[]} */
    this.drawn = [];
    /** @type {string} What is drawn besides them: the probe and the measure. */
    this.key = "";
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  draw({ a, b, state }, probe) {
    const sides = b && b.place(probe) !== null ? [a, b] : [a];
    const evolutions = [...new Set(sides.map(({ evolution }) => evolution))];
    const key = `${probe} ${state.measure}`;
    if (
      this.key !== key ||
      evolutions.length !== this.drawn.length ||
      evolutions.some((evolution, i) => evolution !== this.drawn[i])
    ) {
      this.drawn = evolutions;
      this.key = key;
      this.build(sides, probe, state.measure);
    }
    const marks = sides.map(({ evolution, index }) => {
      return this.places[evolutions.indexOf(evolution)][index];
    });
    this.plots.forEach((plot, i) => {
      plot.mark(marks);
      plot.say(sides, this.fields[i], probe);
    });
  }

  /**
   * @param {Side[]} sides
   * @param {number} probe
   * @param {string} measure
   */
  build(sides, probe, measure) {
    this.fields = this.choose(this.drawn[0], measure);
    this.places = this.drawn.map((evolution) => placesOf(evolution, this.drawn));
    this.plots = this.fields.map(({ name, label, extent, most, write, hint }) => {
      const go = (/** @type {number} */ share) => this.seek(nearestIndex(this.places[0], share));
      const plot = new Plot(label, go, { extent, hint, columns: this.columns });
      /** @type {Limit[][]} */
      const limits = [];
      const lines = this.drawn.map((evolution, i) => {
        const side = sides.find((one) => one.evolution === evolution);
        const place = side?.place(probe) ?? probe;
        const valueAt = (/** @type {number} */ index) => evolution.at(name, index, place);
        const line = lineOf(evolution, name, this.places[i], i ? "b" : "a", valueAt);
        const alarms = alarmsIn(evolution, name, this.places[i], place);
        limits.push(alarms.limits);
        return { ...line, beyond: alarms.beyond, rang: alarms.rang };
      });
      plot.draw(lines, { limits: joined(limits), most, write });
      const ofMean = limits.flat().find(({ judges }) => !judges);
      if (ofMean) plot.box.title += `\n${ofMean.title}`;
      return plot;
    });
    this.place();
  }

  /** Put the curves where they belong. */
  place() {
    this.node.replaceChildren(...this.plots.map(({ node }) => node));
  }
}
