/**
 * All curves of a probe under the headings of their groups, which can be folded: then their numbers
 * alone are left, in a line.
 */

import { Curves } from "./charts.js";
import { el, icon, setAttribute } from "./elements.js";
import { allFields } from "./fields.js";
import { shorten } from "./text.js";

/** @import { Evolution } from "./data.js" */
/** @import { Scene, Verbs } from "./scene.js" */

/** Stands for no group, where an empty text would stand for the usual ones. */
const NONE = "none";

/**
 * What stands for a group in the list of those that are open.
 *
 * @param {{group: string}} field
 */
const keyOf = ({ group }) => group.replaceAll(",", " ");

/**
 * The groups that are open as long as nobody has chosen others: the first, and those with an alarm.
 *
 * @param {Evolution} evolution
 * @returns {string[]}
 */
function usuallyOpen(evolution) {
  const fields = allFields(evolution);
  const alarms = evolution.alarms.map(({ measure }) => measure);
  const rung = fields.filter(({ name }) => alarms.includes(name));
  return [...new Set([...fields.slice(0, 1), ...rung].map(keyOf))];
}

/**
 * @param {string} text As the state has it.
 * @param {Evolution} evolution
 */
function openGroups(text, evolution) {
  if (!text) return usuallyOpen(evolution);
  return text === NONE ? [] : text.split(",");
}

/** A heading and the curves below it. */
class Group {
  /**
   * @param {string} name
   * @param {Node[]} plots
   * @param {() => void} turn Opens or folds it.
   */
  constructor(name, plots, turn) {
    this.key = keyOf({ group: name });
    this.plots = el("div", { className: "plots", role: "group", "aria-label": name }, ...plots);
    this.plots.id = `group-${++Group.count}`;
    this.button = el(
      "button",
      { "aria-controls": this.plots.id, on: { click: turn } },
      icon("after"),
      el("span", { dir: "auto" }, shorten(name)),
    );
    this.node = el("section", { className: "group" }, el("h3", {}, this.button), this.plots);
  }

  /** @param {boolean} open */
  set open(open) {
    this.node.classList.toggle("folded", !open);
    setAttribute(this.button, "aria-expanded", String(open));
    this.button.title = open ? "Show the numbers alone" : "Show the curves";
  }
}
Group.count = 0;

/** The curves of the large view. */
export class CurveGroups extends Curves {
  /** @param {Verbs} verbs */
  constructor(verbs) {
    super(allFields, (index) => verbs.seek("a", index));
    this.verbs = verbs;
    this.node.className = "groups";
    /** @type {Group[]} */
    this.groups = [];
    /** @type {string[]} */
    this.open = [];
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  draw(scene, probe) {
    super.draw(scene, probe);
    this.open = openGroups(scene.state.groups, scene.a.evolution);
    for (const group of this.groups) group.open = this.open.includes(group.key);
    // Folded, the step of numbers that are older is said once of those in a row.
    const since = this.plots.map((plot) => (plot.since.hidden ? "" : plot.since.textContent));
    this.plots.forEach((plot, i) => {
      const next = this.fields[i + 1]?.group === this.fields[i].group ? since[i + 1] : "";
      plot.since.classList.toggle("again", next === since[i]);
    });
  }

  place() {
    const names = [...new Set(this.fields.map(({ group }) => group))];
    const focused = this.groups.find(({ button }) => button === document.activeElement)?.key;
    this.groups = names.map((name) => {
      const plots = this.plots.filter((_, i) => this.fields[i].group === name);
      const nodes = plots.map(({ node }) => node);
      const group = new Group(name, nodes, () => this.turn(group.key));
      return group;
    });
    this.node.replaceChildren(...this.groups.map(({ node }) => node));
    if (focused) this.groups.find(({ key }) => key === focused)?.button.focus();
  }

  /** @param {string} key */
  turn(key) {
    const open = this.open.includes(key)
      ? this.open.filter((one) => one !== key)
      : [...this.open, key];
    const usual = usuallyOpen(this.drawn[0]);
    const isUsual = open.length === usual.length && open.every((one) => usual.includes(one));
    this.verbs.show({ groups: isUsual ? "" : open.join(",") || NONE });
  }
}
