/**
 * Step slider with everything around it, for side A or B.
 */

import { beginningsOf, ofExplained, ringText, ringsAt, ruleText, rulesOn } from "./alarms.js";
import { changesByStep, flipsIn } from "./changes.js";
import { Plot, alarmsIn, lineOf } from "./charts.js";
import { el, icon, iconButton, setAttribute, setOptions, setText } from "./elements.js";
import { chosenMeasure, inSentence, measuresToChoose, textOf } from "./fields.js";
import { mean } from "./numbers.js";
import { setSeries } from "./series_list.js";
import { DEFAULTS, SPEEDS } from "./state.js";
import { whole } from "./text.js";

/** @import { Beginning } from "./alarms.js" */
/** @import { StepOfChanges } from "./changes.js" */
/** @import { Axis, Evolution, SeriesName } from "./data.js" */
/** @import { Scene, Side, SideName, Verbs } from "./scene.js" */

/** How wide the mark of an alarm is, in pixels. */
const RING_WIDTH = 24;

/** The mean of a measure over the probes, at every step, and where an alarm began to ring. */
class Overview {
  /**
   * @param {Verbs} verbs
   * @param {SideName} side
   */
  constructor({ show, seek }, side) {
    this.go = (/** @type {number} */ index) => seek(side, index);
    this.plot = new Plot("", (share) => this.go(Math.round(share * this.last)), { extent: [0, null] });
    this.plot.node.classList.add("overview");
    this.measure = el("select", {
      className: "measure",
      "aria-label": "Measure of the curves",
      on: { change: () => show({ measure: this.measure.value }) },
    });
    /** B's curve is of the same measure. */
    this.name = el("span", { className: "measure", "aria-hidden": "true" });
    this.choice = side === "a" ? this.measure : this.name;
    this.now = el("span", { className: "mean" });
    this.head = el("div", { className: "overview-head" }, this.choice, this.now);
    this.rings = el("div", { className: "rings" });
    this.plot.box.append(this.rings);
    /** Of the curve, in pixels: how near marks may be depends on it. */
    this.width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      this.width = contentRect.width;
      this.mark();
    }).observe(this.plot.box);
    /** @type {Evolution|null} */
    this.evolution = null;
    /** @type {Axis|null} */
    this.axis = null;
    this.last = 0;
  }

  /**
   * @param {Side} side
   * @param {Axis|null} axis The measure that is chosen, of A.
   * @returns {string} What the curve says of this step; "" where there is none.
   */
  draw({ evolution, index }, axis) {
    this.plot.node.hidden = !axis;
    this.head.hidden = !axis;
    if (!axis) return "";
    // Of a role there are few measures; the others are shown of the classes explained.
    const has = (/** @type {Axis} */ one) => evolution.measures.some(({ name }) => name === one.name);
    const called = (/** @type {Axis} */ one) =>
      `Mean ${inSentence(one)}${has(one) ? "" : ofExplained(evolution)}`;
    const choices = measuresToChoose(evolution);
    setOptions(this.measure, choices.map((one) => [one.name, called(one)]), axis.name);
    setText(this.name, called(axis));
    const of = has(axis) ? evolution : evolution.explained;
    if (this.evolution !== evolution || this.axis !== axis) {
      this.evolution = evolution;
      this.axis = axis;
      this.build(of, axis);
    }
    const at = of.newest(axis.name)[index];
    const now = at < 0 ? null : mean(of.values(axis.name, at) ?? []);
    const isOld = at >= 0 && at < index;
    const value = of.knows(axis.name) ? textOf(axis, now) : "not measured";
    const since = isOld ? `, of step ${whole(of.numbers[at])}` : "";
    const title =
      `Mean ${inSentence(axis)} of all probes: ${value}${since}` +
      (has(axis) ? "" : ofExplained(evolution));
    // What judges any probe has no limit in the curve of the mean.
    const others = rulesOn(of, axis.name).filter((rule) => rule.of === "any");
    const alarms = others.map((rule) => `\nAlarm: ${ruleText(of, rule)}`);
    this.plot.box.title = title + alarms.join("");
    this.now.title = this.choice.title = title;
    this.now.classList.toggle("old", isOld);
    setText(this.now, value);
    this.plot.mark([this.last ? index / this.last : 0]);
    return `mean ${inSentence(axis)} ${value}${since}`;
  }

  /**
   * @param {Evolution} evolution
   * @param {Axis} axis
   */
  build(evolution, axis) {
    const { name, low, high } = axis;
    this.last = evolution.length - 1;
    const places = evolution.steps.map((_, i) => (this.last ? i / this.last : 0));
    const { beyond, limits, rang } = alarmsIn(evolution, name, places, null);
    const meanAt = (/** @type {number} */ index) => mean(evolution.values(name, index) ?? []);
    this.plot.extent = [low, null];
    const line = lineOf(evolution, name, places, "", meanAt);
    this.plot.draw([{ ...line, beyond, rang }], { limits, most: high });
    this.mark();
  }

  /** Mark where alarms began to ring. Marks that would overlap are one. */
  mark() {
    const { evolution, axis, last, width } = this;
    if (!evolution || !axis || !width) return;
    /** @type {Beginning[][]} */
    const groups = [];
    for (const beginning of beginningsOf(evolution)) {
      const group = groups.at(-1);
      const apart = group ? (width * (beginning.index - group[0].index)) / (last || 1) : Infinity;
      if (group && apart < RING_WIDTH) group.push(beginning);
      else groups.push([beginning]);
    }
    this.rings.replaceChildren(
      ...groups.map((group) => {
        const { index } = group[0];
        const lines = group.flatMap((each) => this.linesOf(evolution, axis, each));
        const step = (/** @type {number} */ at) => `Step ${evolution.numbers[at]}: `;
        const text = lines.map((one) => (group[1] ? step(one.index) : "") + one.text).join("\n");
        // With the keyboard one goes from one to the next by a key of their own.
        const mark = el("button", {
          className: lines.some(({ own }) => own) ? "ring" : "ring other",
          tabIndex: -1,
          title: text,
          "aria-label": group[1] ? text : step(index) + text,
          on: {
            click: (event) => {
              event.stopPropagation();
              this.go(index);
            },
          },
        });
        mark.style.left = `${last ? (100 * index) / last : 0}%`;
        return mark;
      }),
    );
  }

  /**
   * What began to ring at a step, in words.
   *
   * @param {Evolution} evolution
   * @param {Axis} axis That of the curve.
   * @param {Beginning} beginning
   */
  linesOf(evolution, axis, { index, rings }) {
    return rings.map((ring) => {
      const own = ring.rule.measure === axis.name;
      const text = ringText(evolution, ring) + (own ? "" : ", not the measure drawn");
      return { index, own, text };
    });
  }
}

/** How far apart the marks of flips are at least, in pixels, and how high they are. */
const FLIP_WIDTH = 10;
const FLIP_HEIGHTS = [3, 9];

/** Where predictions changed, of any probe: the higher a mark, the more of them. */
class FlipsOfAll {
  /** @param {(index: number) => void} go Goes to a step. */
  constructor(go) {
    this.go = go;
    // The list of changes says the same to whoever cannot see them.
    this.node = el("div", { className: "flips of-all", "aria-hidden": "true" });
    /** @type {Evolution|null} */
    this.evolution = null;
    this.width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      this.width = contentRect.width;
      this.mark();
    }).observe(this.node);
  }

  /** @param {Evolution} evolution */
  draw(evolution) {
    if (this.evolution === evolution) return;
    this.evolution = evolution;
    this.mark();
  }

  /** Put marks where predictions changed. Marks that would overlap are one. */
  mark() {
    const { evolution, width } = this;
    if (!evolution || !width) return;
    const last = evolution.length - 1 || 1;
    /** @type {StepOfChanges[][]} */
    const groups = [];
    for (const step of changesByStep([...flipsIn(evolution)], false).reverse()) {
      const group = groups.at(-1);
      const apart = group ? (width * (step.index - group[0].index)) / last : Infinity;
      if (group && apart < FLIP_WIDTH) group.push(step);
      else groups.push([step]);
    }
    const counts = groups.map(probesIn);
    const most = Math.max(1, ...counts);
    this.node.replaceChildren(
      ...groups.map((group, i) => this.markOf(evolution, group, counts[i], counts[i] / most)),
    );
  }

  /**
   * @param {Evolution} evolution
   * @param {StepOfChanges[]} group
   * @param {number} count Of probes.
   * @param {number} share Of the most that a mark stands for.
   */
  markOf(evolution, group, count, share) {
    const { index } = group[0];
    const last = group[group.length - 1].index;
    const at = [index, last].map((one) => whole(evolution.numbers[one]));
    const when = index === last ? `at step ${at[0]}` : `between steps ${at[0]} and ${at[1]}`;
    const what = evolution.isMultiLabel ? "Likeliest class" : "Prediction";
    const mark = el("span", {
      className: "flip",
      title: `${what} of ${whole(count)} ${count === 1 ? "probe" : "probes"} changed ${when}`,
      on: { click: () => this.go(index) },
    });
    const [least, highest] = FLIP_HEIGHTS;
    mark.style.left = `${(100 * index) / (evolution.length - 1 || 1)}%`;
    mark.style.height = `${least + Math.round((highest - least) * share)}px`;
    return mark;
  }
}

/**
 * How many probes changed in some steps, each counted once.
 *
 * @param {StepOfChanges[]} group
 */
function probesIn(group) {
  return new Set(group.flatMap(({ changes }) => changes.map(({ probe }) => probe))).size;
}

export class Transport {
  /**
   * @param {Verbs} verbs
   * @param {SideName} side
   * @param {{series?: boolean}} [parts] Whether the series can be chosen here.
   */
  constructor(verbs, side, { series = true } = {}) {
    const { show, seek, play } = verbs;
    this.side = side;
    this.choosesSeries = series;
    this.index = 0;
    /** @type {SeriesName[]} */
    this.series = [];
    this.run = el("select", {
      className: "series",
      "aria-label": `Run ${side.toUpperCase()}`,
      on: {
        change: () => {
          const { run, tag } = this.series[Number(this.run.value)];
          show(side === "a" ? { run, tag } : { brun: run, btag: tag });
        },
      },
    });
    this.play = iconButton("play", "Play (space)", play);
    this.speed = el("select", {
      className: "speed",
      "aria-label": "Speed",
      title: "Steps a second",
      on: { change: () => show({ speed: this.speed.value }) },
    });
    setOptions(
      this.speed,
      SPEEDS.map((speed) => [speed, `${speed}/s`]),
      DEFAULTS.speed,
    );
    this.slider = el("input", {
      type: "range",
      min: 0,
      step: 1,
      "aria-label": side === "a" ? "Step" : "Step of B",
      "data-step": side,
      on: { input: () => seek(side, Number(this.slider.value)) },
    });
    this.overview = new Overview(verbs, side);
    this.before = iconButton(
      "before",
      side === "a" ? "Step back (left arrow)" : "B: step back",
      () => seek(side, this.index - 1),
    );
    this.after = iconButton("after", side === "a" ? "Step on (right arrow)" : "B: step on", () =>
      seek(side, this.index + 1),
    );
    this.step = el("span", { className: "step" });
    this.epoch = el("span", { className: "epoch" });
    this.count = el("span", { className: "count" });
    this.track = el("div", { className: "track" }, this.slider);
    this.flips = new FlipsOfAll((index) => seek(side, index));
    if (series) this.track.prepend(this.overview.plot.node, this.flips.node);
    this.node = el(
      "div",
      {
        className: `transport side-${side}`,
        role: "group",
        "aria-label": side === "a" ? "Time" : "Time of B",
      },
      el("span", { className: "badge" }, side.toUpperCase()),
      ...(series ? [this.run] : []),
      el(
        "div",
        { className: "buttons" },
        this.before,
        ...(side === "a" ? [this.play] : []),
        this.after,
        ...(side === "a" ? [this.speed] : []),
      ),
      ...(series ? [this.overview.head] : []),
      this.track,
      el("div", { className: "readout" }, this.step, this.epoch, this.count),
    );
  }

  /**
   * @param {Scene} scene
   * @param {SeriesName} chosen
   */
  drawSeries({ series, hidden }, { run, tag }) {
    this.series = series;
    const chosen = series.findIndex((one) => one.run === run && one.tag === tag);
    setSeries(this.run, series, hidden, String(chosen));
  }

  /** @param {Scene} scene */
  draw(scene) {
    const side = scene[this.side];
    this.node.hidden = !side;
    if (!side) return;
    const { evolution, index, entry } = side;
    const last = evolution.length - 1;
    this.index = index;
    if (this.choosesSeries) this.drawSeries(scene, evolution);
    const rings = ringsAt(evolution, index).map((ring) => `, alarm: ${ringText(evolution, ring)}`);
    // Both sides have the curve of the same measure.
    const axis = chosenMeasure(scene.a.evolution, scene.state.measure);
    const said = this.choosesSeries ? this.overview.draw(side, axis) : "";
    if (this.choosesSeries) this.flips.draw(evolution);
    if (Number(this.slider.max) !== last) this.slider.max = String(last);
    if (Number(this.slider.value) !== index) this.slider.value = String(index);
    this.slider.style.setProperty("--done", `${last ? (100 * index) / last : 0}%`);
    for (const control of [this.slider, this.before, this.after])
      control.disabled = this.side === "b" && scene.tied;
    setText(this.step, `Step ${whole(entry.step)}`);
    setText(this.epoch, `Epoch ${entry.epoch}`);
    setText(this.count, `${index + 1} of ${last + 1}`);
    setAttribute(
      this.slider,
      "aria-valuetext",
      `Step ${entry.step}, epoch ${entry.epoch}, ${index + 1} of ${last + 1}${said && `, ${said}`}${rings.join("")}`,
    );
    if (this.speed.value !== scene.state.speed) this.speed.value = scene.state.speed;
    const label = scene.playing ? "Pause (space)" : "Play (space)";
    if (this.play.title !== label) {
      this.play.replaceChildren(icon(scene.playing ? "pause" : "play"));
      this.play.title = label;
      this.play.setAttribute("aria-label", label);
    }
  }
}
