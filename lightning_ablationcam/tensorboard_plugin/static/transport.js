/**
 * Step slider with everything around it, for side A or B.
 */

import { beginningsOf, ringText, ringsAt } from "./alarms.js";
import { Plot, alarmsIn, lineOf } from "./charts.js";
import { el, icon, iconButton, setAttribute, setOptions, setText } from "./elements.js";
import { chosenMeasure, inSentence, measuresToChoose, textOf } from "./fields.js";
import { mean } from "./numbers.js";
import { DEFAULTS, PLUGIN, SPEEDS } from "./state.js";
import { whole } from "./text.js";

/** @import { Axis, Evolution, SeriesName } from "./data.js" */
/** @import { Scene, Side, SideName, Verbs } from "./scene.js" */

/**
 * Series by their place, and what they are called: the run, and the tag where that tells them apart.
 *
 * @param {SeriesName[]} series
 * @returns {[value: string, text: string][]}
 */
function seriesOptions(series) {
  /** @type {Map<string, number>} */
  const tags = new Map();
  for (const { run } of series) tags.set(run, (tags.get(run) ?? 0) + 1);
  return series.map(({ run, tag }, i) => [
    String(i),
    (run || ".") + ((tags.get(run) ?? 0) > 1 || tag !== PLUGIN ? ` · ${tag}` : ""),
  ]);
}

/** The mean of a measure over the probes, at every step, and where an alarm began to ring. */
class Overview {
  /**
   * @param {Verbs} verbs
   * @param {SideName} side
   */
  constructor({ show, seek }, side) {
    this.go = (/** @type {number} */ index) => seek(side, index);
    this.plot = new Plot("", (share) => this.go(Math.round(share * this.last)), [0, null]);
    this.plot.node.classList.add("overview");
    this.measure = el("select", {
      className: "measure",
      "aria-label": "Measure of the curves",
      on: { change: () => show({ measure: this.measure.value }) },
    });
    /** B's curve is of the same measure. */
    this.name = el("span", { className: "measure", "aria-hidden": "true" });
    this.choice = side === "a" ? this.measure : this.name;
    this.rings = el("div", { className: "rings" });
    this.plot.box.append(this.rings);
    /** @type {Evolution|null} */
    this.evolution = null;
    /** @type {Axis|null} */
    this.axis = null;
    this.last = 0;
  }

  /**
   * @param {Side} side
   * @param {string} chosen The measure that the user has chosen.
   */
  draw({ evolution, index }, chosen) {
    const axis = chosenMeasure(evolution, chosen);
    this.plot.node.hidden = !axis;
    this.choice.hidden = !axis;
    if (!axis) return;
    const choices = measuresToChoose(evolution);
    setOptions(this.measure, choices.map((one) => [one.name, `Mean ${inSentence(one)}`]), axis.name);
    setText(this.name, `Mean ${inSentence(axis)}`);
    // Of a role there are few measures; the others are shown of the classes explained.
    const has = evolution.measures.some(({ name }) => name === axis.name);
    const of = has ? evolution : evolution.explained;
    if (this.evolution !== evolution || this.axis !== axis) {
      this.evolution = evolution;
      this.axis = axis;
      this.build(of, axis);
    }
    const at = of.newest(axis.name)[index];
    const now = at < 0 ? null : mean(of.values(axis.name, at) ?? []);
    this.plot.box.title = `Mean ${inSentence(axis)} of all probes: ${textOf(axis, now)}`;
    this.plot.mark([this.last ? index / this.last : 0]);
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
    this.plot.draw([{ ...line, beyond }], { limits, rang, most: high });
    this.rings.replaceChildren(
      ...beginningsOf(evolution).map(({ index, text }) => {
        // With the keyboard one goes from one to the next by a key of their own.
        const mark = el(
          "button",
          {
            className: "ring",
            tabIndex: -1,
            title: text,
            "aria-label": `Step ${evolution.numbers[index]}: ${text}`,
            on: {
              click: (event) => {
                event.stopPropagation();
                this.go(index);
              },
            },
          },
        );
        mark.style.left = `${100 * places[index]}%`;
        return mark;
      }),
    );
  }
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
    if (series) this.track.prepend(this.overview.plot.node);
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
      ...(series ? [this.overview.choice] : []),
      this.track,
      el("div", { className: "readout" }, this.step, this.epoch, this.count),
    );
  }

  /**
   * @param {SeriesName[]} series
   * @param {SeriesName} chosen
   */
  drawSeries(series, { run, tag }) {
    this.series = series;
    const chosen = series.findIndex((one) => one.run === run && one.tag === tag);
    setOptions(this.run, seriesOptions(series), String(chosen));
  }

  /** @param {Scene} scene */
  draw(scene) {
    const side = scene[this.side];
    this.node.hidden = !side;
    if (!side) return;
    const { evolution, index, entry } = side;
    const last = evolution.length - 1;
    this.index = index;
    if (this.choosesSeries) this.drawSeries(scene.series, evolution);
    const rings = ringsAt(evolution, index).map((ring) => `, alarm: ${ringText(evolution, ring)}`);
    if (this.choosesSeries) this.overview.draw(side, scene.state.measure);
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
      `Step ${entry.step}, epoch ${entry.epoch}, ${index + 1} of ${last + 1}${rings.join("")}`,
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
