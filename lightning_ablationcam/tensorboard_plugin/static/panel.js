/**
 * Compare, colours, filters: the settings beside the gallery.
 */

import { Segments, el, field, setOptions, setText } from "./elements.js";
import { alarmLabel, ofSides, ruleText } from "./alarms.js";
import { FurtherRuns } from "./further_runs.js";
import { RoleSwitch } from "./role_switch.js";
import { classOf, hasAlarm, measureOf, sortChoices } from "./selection.js";

/** @import { Evolution } from "./data.js" */
/** @import { Scene, Verbs } from "./scene.js" */
/** @import { State } from "./state.js" */

/**
 * @param {string} title
 * @param {...Node} children
 */
function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), ...children);
}

/** What can be done with keys, written beneath the links. */
function keyHints() {
  const hints = /** @type {[string[], string][]} */ ([
    [["←", "→"], " step "],
    [["Home", "End"], " ends "],
    [["Space"], " play"],
  ]);
  const parts = hints.flatMap(([keys, does]) => [...keys.map((key) => el("kbd", {}, key)), does]);
  const rival = el("span", {}, " ", el("kbd", {}, "r"), " rival ", el("kbd", {}, "Shift"), " ", el("kbd", {}, "r"), " all maps");
  const sides = el("span", {}, " ", el("kbd", {}, "s"), " for, against");
  const alarm = el("span", {}, " ", el("kbd", {}, "a"), " next alarm");
  const changes = el("span", {}, " ", el("kbd", {}, "c"), " changes");
  const ofB = el("span", {}, " ", el("kbd", {}, "Shift"), " ", el("kbd", {}, "a"), " of B");
  const node = el("p", { className: "keys" }, ...parts, rival, sides, alarm, ofB, changes);
  return { node, rival, sides, alarm, ofB };
}

/**
 * The classes to choose from, in their order.
 *
 * @param {Evolution} evolution
 * @returns {[value: string, text: string][]}
 */
function classOptions(evolution) {
  const classes = [...new Set(evolution.probes.map((_, probe) => classOf(evolution, probe)))];
  classes.sort((x, y) => x.localeCompare(y, undefined, { numeric: true }));
  return classes.map((one) => [
    one,
    one.startsWith("=") ? one.slice(1) : evolution.explained.className(Number(one)),
  ]);
}

export class Panel {
  /**
   * @param {Verbs} verbs
   * @param {Element} share What stands under "Share".
   */
  constructor(verbs, share) {
    const { show } = verbs;
    const change = (/** @type {keyof State} */ key) => (/** @type {string} */ value) =>
      show({ [key]: value });
    const select = (/** @type {keyof State} */ key) => {
      const node = el("select", { on: { change: () => show({ [key]: node.value }) } });
      return node;
    };
    this.role = new RoleSwitch(verbs);
    this.runs = new FurtherRuns(verbs);
    this.keys = keyHints();
    this.allRuns = el(
      "button",
      {
        className: "to-runs",
        title: "One probe in all runs, step by step",
        on: { click: () => verbs.show({ view: "runs" }) },
      },
      "One probe in all runs",
    );
    this.compare = new Segments(
      "View",
      [
        ["off", "One", "One step of one run"],
        ["side", "A | B", "Two steps or two runs side by side"],
        ["difference", "A − B", "Where A has more or less heat than B"],
      ],
      change("compare"),
    );
    this.together = el("input", {
      type: "checkbox",
      on: { change: () => show({ together: this.together.checked ? "yes" : "no" }) },
    });
    this.tie = el(
      "label",
      { className: "check", title: "B shows the step closest to A's" },
      this.together,
      "Same step in both runs",
    );
    this.colors = select("colors");
    setOptions(
      this.colors,
      [
        ["viridis", "Viridis"],
        ["cividis", "Cividis"],
        ["inferno", "Inferno"],
        ["magma", "Magma"],
        ["gray", "Grey"],
        ["turbo", "Turbo (uneven, not for all eyes)"],
      ],
      "viridis",
    );
    this.opacity = el("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 5,
      on: { input: () => show({ opacity: this.opacity.value }) },
    });
    this.opacityValue = el("span", { className: "value" });
    this.scale = new Segments(
      "Full colour is the strongest of",
      [
        ["map", "Map", "Each map's own maximum: compares shapes"],
        ["probe", "Probe", "The probe's maximum over the whole run"],
        ["run", "Run", "The maximum of all probes over the whole run"],
      ],
      change("scale"),
    );
    this.search = el("input", {
      type: "search",
      placeholder: "Name",
      on: { input: () => show({ search: this.search.value }) },
    });
    this.class = select("class");
    this.prediction = select("prediction");
    this.alarm = select("alarm");
    // What the probes are sorted by is shown.
    this.sort = el("select", {
      on: {
        change: () => {
          const sort = this.sort.value;
          const measure = measureOf(sort);
          show(measure ? { sort, measure } : { sort });
        },
      },
    });
    this.size = new Segments(
      "Size",
      [
        ["s", "S", "Small"],
        ["m", "M", "Medium"],
        ["l", "L", "Large"],
      ],
      change("size"),
    );
    this.predictionField = field("Prediction", this.prediction);
    this.alarmField = field("Alarm", this.alarm, "Probes that are beyond while an alarm rings");
    this.classField = field(
      "Class",
      this.class,
      "The probe's label, or the class explained where it has none",
    );
    this.colorsField = field("Colours", this.colors);
    const opacity = field(
      "Opacity",
      this.opacity,
      "Of the hottest places; colder ones are more transparent",
    );
    opacity.append(this.opacityValue);
    opacity.classList.add("slider");
    this.node = el(
      "aside",
      { id: "panel", "aria-label": "Settings" },
      section("Compare", this.compare.node, this.tie, this.runs.node, this.allRuns),
      section("Heat", this.role.node, this.colorsField, opacity, this.scale.node),
      section(
        "Probes",
        field("Search", this.search),
        this.classField,
        this.predictionField,
        this.alarmField,
        field("Sort", this.sort),
        this.size.node,
      ),
      section("Share", share, this.keys.node),
    );
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.allRuns.hidden = scene.series.length < 2;
    const { state, a, b, scale } = scene;
    const { evolution } = a;
    this.role.draw(scene);
    this.runs.draw(scene);
    this.keys.rival.hidden = !evolution.roles.length;
    this.keys.sides.hidden = !evolution.signedRoles.length;
    const evolutions = (b ? [a, b] : [a]).map((side) => side.evolution.explained);
    this.keys.alarm.hidden = !evolutions.some(({ alarms }) => alarms.length);
    this.keys.ofB.hidden = !b?.evolution.explained.alarms.length || scene.tied;
    this.classField.hidden = this.predictionField.hidden = !evolution.hasClasses;
    this.colors.disabled = scene.signed;
    this.colorsField.title = scene.signed ? "For and against have colours of their own" : "";
    this.compare.value = state.compare;
    this.tie.hidden = !b || b.evolution === evolution;
    this.together.checked = state.together === "yes";
    if (this.colors.value !== state.colors) this.colors.value = state.colors;
    if (this.opacity.value !== state.opacity) this.opacity.value = state.opacity;
    this.opacity.style.setProperty("--done", `${state.opacity}%`);
    setText(this.opacityValue, `${state.opacity} %`);
    this.scale.value = scale;
    if (this.search.value !== state.search) this.search.value = state.search;
    setOptions(this.class, [["", "All classes"], ...classOptions(evolution)], state.class);
    const known = evolution.steps.some(({ predicted }) => predicted);
    this.prediction.disabled = !known;
    setOptions(
      this.prediction,
      [
        ["", "All"],
        ["changed", b ? "Differs between A and B" : "Changed since the first step"],
        ["wrong", "Wrong at this step"],
        ["right", "Right at this step"],
      ],
      state.prediction,
    );
    this.predictionField.title = !known
      ? "The run holds no predictions"
      : b
        ? "Differs: the class predicted for A is not the one predicted for B"
        : "Changed: the class predicted at the step shown is not the one predicted at the first step";
    this.drawAlarms(evolutions, hasAlarm(state, b ? [a, b] : [a]) ? state.alarm : "");
    const sorts = sortChoices(evolution, b !== null);
    setOptions(this.sort, sorts, sorts.some(([one]) => one === state.sort) ? state.sort : "logged");
    this.size.value = state.size;
  }

  /**
   * @param {Evolution[]} evolutions One for each side.
   * @param {string} chosen
   */
  drawAlarms(evolutions, chosen) {
    const labels = new Map();
    for (const evolution of evolutions)
      for (const rule of evolution.alarms)
        if (!labels.has(rule.name)) labels.set(rule.name, alarmLabel(evolution, rule));
    this.alarmField.hidden = !labels.size;
    const names = [...labels].map(([name, label]) => {
      return /** @type {[value: string, text: string]} */ ([`=${name}`, `In “${label}”`]);
    });
    const rules = evolutions.map((evolution) =>
      evolution.alarms.map((rule) => ruleText(evolution, rule)),
    );
    /** @type {[value: string, text: string][]} */
    const entries = [["", "All"], ["any", "In an alarm at this step"]];
    if (names.length > 1 || chosen.startsWith("=")) entries.push(...names);
    setOptions(this.alarm, entries, chosen);
    this.alarmField.title = [
      "Probes that are beyond while an alarm rings",
      ...(String(rules[0]) === String(rules[1]) ? rules[0] : ofSides(rules)),
    ].join("\n");
  }
}
