/**
 * Further runs beside A and B: the list of those that are shown, and one of those that can be.
 */

import { seriesKey } from "./data.js";
import { el, field, iconButton, setOptions } from "./elements.js";
import { MOST_RUNS, runsToText, textToRuns } from "./run_list.js";
import { seriesOptions } from "./series_list.js";
import { PLUGIN } from "./state.js";
import { shorten } from "./text.js";

/** @import { SeriesName } from "./data.js" */
/** @import { Scene, Verbs } from "./scene.js" */

export class FurtherRuns {
  /** @param {Verbs} verbs */
  constructor({ show }) {
    this.show = show;
    /** @type {SeriesName[]} */
    this.chosen = [];
    /** @type {SeriesName[]} */
    this.series = [];
    this.add = el("select", { on: { change: () => this.append(this.series[Number(this.add.value)]) } });
    this.field = field(
      "Beside",
      this.add,
      "Maps of a further run, at the step nearest to A’s. Numbers and curves stay those of A and B",
    );
    this.list = el("ul", { "aria-label": "Further runs" });
    this.node = el("div", { className: "further-runs" }, this.list, this.field);
    /** What is in the list. */
    this.listed = "";
  }

  /** @param {SeriesName[]} runs */
  choose(runs) {
    this.show({ runs: runsToText(runs, PLUGIN) });
  }

  /** @param {SeriesName|undefined} one */
  append(one) {
    if (one) this.choose([...this.chosen, one]);
    // Also a list that is not opened goes back to its invitation.
    this.add.value = "";
  }

  /** @param {Scene} scene */
  draw({ a, b, series, state }) {
    this.series = series;
    this.chosen = textToRuns(state.runs, PLUGIN);
    const taken = [...(b ? [a, b] : [a]).map(({ evolution }) => evolution), ...this.chosen];
    const keys = taken.map(seriesKey);
    const names = seriesOptions(series);
    const free = names.filter((_, i) => !keys.includes(seriesKey(series[i])));
    const own = keys.slice(0, b ? 2 : 1);
    // As many as stand beside A and B, which may be steps of one run.
    const isFull = own.length + new Set(keys.filter((key) => !own.includes(key))).size >= MOST_RUNS;
    this.node.hidden = series.length < 2;
    this.field.hidden = !free.length && !isFull;
    this.add.disabled = isFull;
    const first = isFull ? `At most ${MOST_RUNS} runs` : "Add a run …";
    setOptions(this.add, [["", first], ...free], "");
    this.drawList(names);
  }

  /** @param {[value: string, text: string][]} names Of all series. */
  drawList(names) {
    const keys = this.series.map(seriesKey);
    const texts = this.chosen.map((one) => names[keys.indexOf(seriesKey(one))]?.[1] ?? one.run);
    const listed = JSON.stringify([this.chosen, texts]);
    if (listed === this.listed) return;
    this.listed = listed;
    const focused = this.list.contains(document.activeElement);
    this.list.hidden = !texts.length;
    this.list.replaceChildren(
      ...this.chosen.map((one, i) => {
        const name = shorten(texts[i] || ".");
        const others = this.chosen.filter((other) => other !== one);
        const remove = iconButton("close", `Remove ${name}`, () => this.choose(others));
        return el("li", {}, el("span", { dir: "auto", title: name }, name), remove);
      }),
    );
    // Whoever has removed one goes on in the list.
    if (focused) (this.list.querySelector("button") ?? this.add).focus();
  }
}
