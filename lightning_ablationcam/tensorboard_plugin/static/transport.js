/**
 * Step slider with everything around it, for side A or B.
 */

import { Plot } from "./charts.js";
import { el, icon, iconButton, setAttribute, setOptions, setText } from "./elements.js";
import { mean } from "./numbers.js";
import { DEFAULTS, PLUGIN, SPEEDS } from "./state.js";
import { whole } from "./text.js";

/** @import { Evolution, SeriesName } from "./data.js" */
/** @import { Scene, SideName, Verbs } from "./scene.js" */

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

export class Transport {
  /**
   * @param {Verbs} verbs
   * @param {SideName} side
   * @param {{series?: boolean}} [parts] Whether the series can be chosen here.
   */
  constructor({ show, seek, play }, side, { series = true } = {}) {
    this.side = side;
    this.choosesSeries = series;
    this.index = 0;
    /** @type {SeriesName[]} */
    this.series = [];
    /** @type {Evolution|null} */
    this.evolution = null;
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
    this.overview = new Plot(
      "mean drift",
      (share) => seek(side, Math.round(share * Number(this.slider.max))),
      [0, null],
    );
    this.overview.node.classList.add("overview");
    this.overview.box.title = "Mean drift of all probes: how much their maps changed at each step";
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
    if (series) this.track.prepend(this.overview.node);
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
    if (this.evolution !== evolution) {
      this.evolution = evolution;
      this.slider.max = String(last);
      const values = evolution.steps.map((_, i) => mean(evolution.values("drift", i) ?? []));
      const places = values.map((_, i) => (last ? i / last : 0));
      this.overview.draw([{ places, values, kind: "drift" }]);
    }
    this.overview.mark([last ? index / last : 0]);
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
      `Step ${entry.step}, epoch ${entry.epoch}, ${index + 1} of ${last + 1}`,
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
