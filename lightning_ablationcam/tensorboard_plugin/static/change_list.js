/**
 * The list of what changed, beside the gallery or, where there is room, beside the large view; and
 * the button that opens it.
 */

import { alarmLabel, ofExplained, ringText } from "./alarms.js";
import { JUMP_RULE, changesByStep, changesIn } from "./changes.js";
import { Segments, el, iconButton, setAttribute, setText } from "./elements.js";
import { decimals, shorten, whole } from "./text.js";

/** @import { Change, StepOfChanges } from "./changes.js" */
/** @import { Evolution } from "./data.js" */
/** @import { Scene, Verbs } from "./scene.js" */

/** How many changes are shown at first, and how many more whenever the end of them is in sight. */
const FIRST = 100;
const MORE = 300;

/** @type {Record<string, string>} The kinds of change by what the state calls them. */
const KINDS = { flips: "flip", jumps: "jump", alarms: "alarm" };

/**
 * What the list shows, as the state says it; null where it is closed.
 *
 * @param {string} changes Of the state.
 */
function choiceOf(changes) {
  const [kind, order] = changes.split(":");
  return changes ? { kind, largestFirst: order === "largest" } : null;
}

/**
 * A change, as its parts and in one sentence.
 *
 * @param {Evolution} evolution
 * @param {Change} change
 * @returns {{parts: Node[], sentence: string}}
 */
function wordsOfChange(evolution, change) {
  if (change.kind === "flip") {
    const [from, to] = [change.from, change.to].map((index) => ({
      name: evolution.className(index),
      verdict: evolution.verdict(index, change.probe),
    }));
    const [before, after] = [from, to].map(({ name, verdict }) =>
      el("span", { className: `class ${verdict}`, dir: "auto" }, shorten(name, 60)),
    );
    const said = [from, to].map(({ name, verdict }) => shorten(name) + (verdict && ` (${verdict})`));
    const what = evolution.isMultiLabel ? "Likeliest class" : "Prediction";
    return {
      parts: [before, el("span", { className: "to" }, "→"), after],
      sentence: `${what} changed from ${said[0]} to ${said[1]}`,
    };
  }
  if (change.kind === "jump") {
    const text = `Map jumped, drift ${decimals(change.drift)}`;
    return { parts: [el("span", {}, text)], sentence: text };
  }
  const { ring } = change;
  const text = `Alarm: ${alarmLabel(evolution.explained, ring.rule)}`;
  const of = change.probe === null ? ", mean of all probes" : "";
  return {
    parts: [el("span", { className: "alarm-began" }, text + of)],
    sentence: `Alarm began: ${ringText(evolution, ring)}`,
  };
}

/**
 * By what rules the list is made.
 *
 * @param {Evolution} evolution
 */
function noteOn(evolution) {
  const of = evolution.role ? `, here of the map of “${evolution.role}”` : "";
  const notes = [evolution.knows("drift") ? `${JUMP_RULE}${of}.` : "The run holds no drift."];
  if (evolution.explained.alarms.length)
    notes.push(`Alarms are listed where they begin${ofExplained(evolution)}.`);
  return notes.join(" ");
}

/** The button in the top line, with how many changes there are. */
export class ChangesButton {
  /** @param {Verbs} verbs */
  constructor({ show }) {
    this.turn = () => show({ changes: this.isOpen ? "" : "all" });
    this.isOpen = false;
    this.count = el("span", { className: "count-of-changes" });
    this.node = el(
      "button",
      {
        className: "changes-button",
        title:
          "What changed over the whole training: flips of the prediction, jumps of the maps and " +
          "beginnings of alarms (c)",
        "aria-controls": "changes",
        on: { click: () => this.turn() },
      },
      "Changes ",
      this.count,
    );
  }

  /** @param {Scene} scene */
  draw({ a, state }) {
    this.isOpen = state.changes !== "";
    const count = changesIn(a.evolution).length;
    setText(this.count, whole(count));
    setAttribute(this.node, "aria-expanded", String(this.isOpen));
  }
}

export class ChangeList {
  /** @param {Verbs} verbs */
  constructor(verbs) {
    this.verbs = verbs;
    /** @type {Evolution|null} That of the list, as is what the state says of it. */
    this.evolution = null;
    this.shown = "";
    /** @type {StepOfChanges[]} */
    this.steps = [];
    /** How many changes there are to be shown; and how many steps and changes are in the list. */
    this.total = 0;
    this.placed = { steps: 0, changes: 0 };
    /** Whether the rest waits for the button. */
    this.isCapped = true;
    /** Stands for what is marked as current. */
    this.marked = "";
    /** @type {HTMLElement|null} The entry that was chosen last. */
    this.chosen = null;
    /** Whether the dialog that it opens must not take the focus from it. */
    this.keepsFocus = false;
    this.title = el("h2", { id: "changes-title" }, "What changed");
    const close = iconButton("close", "Close the list of changes (c)", () =>
      verbs.show({ changes: "" }),
    );
    this.kinds = new Segments(
      "Kind",
      [
        ["all", "All", "Flips, jumps and alarms"],
        ["flips", "Flips", "Another class was predicted than the last time"],
        ["jumps", "Jumps", JUMP_RULE],
        ["alarms", "Alarms", "Beginnings of alarms"],
      ],
      (kind) => this.choose({ kind }),
    );
    this.order = new Segments(
      "Order",
      [
        ["newest", "Newest first", "By step, the newest first"],
        ["largest", "Largest first", "Steps at which the most changed; of jumps, the farthest"],
      ],
      (order) => this.choose({ largestFirst: order === "largest" }),
    );
    this.note = el("p", { className: "note" });
    this.list = el("div", { className: "list" });
    this.more = el("button", { on: { click: () => this.showAll() } }, "Show all");
    this.end = el("div", {}, this.more);
    this.none = el("p", {}, "Nothing of this kind.");
    this.scroller = el("div", { className: "scroller" }, this.none, this.list, this.end, this.note);
    this.node = el(
      "aside",
      {
        id: "changes",
        hidden: true,
        "aria-labelledby": "changes-title",
        on: { keydown: (event) => this.key(/** @type {KeyboardEvent} */ (event)) },
      },
      el("header", {}, this.title, close),
      el("div", { className: "choices" }, this.kinds.node, this.order.node),
      this.scroller,
    );
    // All of many thousand at once would stop the page for seconds.
    this.seen = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting))
          this.fill(this.placed.changes + MORE);
      },
      { root: this.scroller, rootMargin: "400px" },
    );
  }

  /** @param {Partial<{kind: string, largestFirst: boolean}>} changes */
  choose(changes) {
    const choice = { kind: "all", largestFirst: false, ...choiceOf(this.shown), ...changes };
    this.verbs.show({ changes: choice.kind + (choice.largestFirst ? ":largest" : "") });
  }

  /**
   * Go from one entry to the next with the arrows that step in no other direction.
   *
   * @param {KeyboardEvent} event
   */
  key(event) {
    const by = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1 })[event.key];
    const entries = this.entries();
    const at = entries.findIndex((entry) => entry === document.activeElement);
    if (!by || at < 0) return;
    event.preventDefault();
    entries[at + by]?.focus();
  }

  /** @param {Scene} scene */
  draw(scene) {
    const { state, a, b } = scene;
    const choice = choiceOf(state.changes);
    this.node.hidden = !choice;
    if (!choice) return;
    this.kinds.value = choice.kind;
    this.order.value = choice.largestFirst ? "largest" : "newest";
    setText(this.title, b ? "What changed in A" : "What changed");
    if (this.evolution !== a.evolution || this.shown !== state.changes)
      this.build(a.evolution, choice, state.changes);
    this.markCurrent(scene);
  }

  /**
   * @param {Evolution} evolution
   * @param {{kind: string, largestFirst: boolean}} choice
   * @param {string} shown The state that says so.
   */
  build(evolution, { kind, largestFirst }, shown) {
    // A run that has grown keeps its place in the list; anything else begins anew.
    const grown = this.shown === shown && this.evolution?.run === evolution.run;
    const { scrollTop } = this.scroller;
    const most = grown ? Math.max(FIRST, this.placed.changes) : FIRST;
    if (!grown) this.isCapped = true;
    this.evolution = evolution;
    this.shown = shown;
    const all = changesIn(evolution);
    const chosen = kind === "all" ? all : all.filter((change) => change.kind === KINDS[kind]);
    this.steps = changesByStep(chosen, largestFirst);
    this.total = chosen.length;
    this.placed = { steps: 0, changes: 0 };
    this.list.replaceChildren();
    this.chosen = null;
    this.marked = "";
    setText(this.note, noteOn(evolution));
    this.fill(most);
    this.scroller.scrollTop = grown ? scrollTop : 0;
  }

  /** Let the list grow to its end as it is scrolled there, and go on where the button was. */
  showAll() {
    const { length } = this.entries();
    this.isCapped = false;
    this.fill(this.placed.changes + MORE);
    this.entries()[length]?.focus();
  }

  /** @returns {HTMLElement[]} All that can be chosen in the list, in order. */
  entries() {
    return [...this.list.querySelectorAll("button")];
  }

  /**
   * Put further steps into the list, until there are that many changes in it.
   *
   * @param {number} most
   */
  fill(most) {
    const { evolution, steps, placed } = this;
    if (!evolution) return;
    const groups = [];
    while (placed.steps < steps.length && placed.changes < most) {
      const step = steps[placed.steps++];
      groups.push(this.group(evolution, step));
      placed.changes += step.changes.length;
    }
    this.list.append(...groups);
    const rest = this.total - placed.changes;
    this.end.hidden = !rest;
    this.more.hidden = !this.isCapped;
    setText(this.more, `Show all ${whole(this.total)}`);
    this.none.hidden = this.total > 0;
    // Where its end is in sight still, more comes.
    this.seen.unobserve(this.end);
    if (rest && !this.isCapped) this.seen.observe(this.end);
  }

  /**
   * What changed at a step, below its heading.
   *
   * @param {Evolution} evolution
   * @param {StepOfChanges} step
   */
  group(evolution, { index, changes }) {
    const { step, epoch } = evolution.steps[index];
    const heading = el(
      "button",
      {
        className: "to-step",
        title: `Go to step ${whole(step)}`,
        on: { click: () => this.verbs.seek("a", index) },
      },
      el("span", {}, `Step ${whole(step)}`),
      el("span", { className: "muted" }, `epoch ${epoch}`),
      el("span", { className: "muted" }, whole(changes.length)),
    );
    const entries = changes.map((change) => this.entry(evolution, change));
    return el(
      "section",
      { "data-index": index },
      el("h3", {}, heading),
      el("ul", {}, ...entries.map((entry) => el("li", {}, entry))),
    );
  }

  /**
   * @param {Evolution} evolution
   * @param {Change} change
   */
  entry(evolution, change) {
    const { probe, index } = change;
    const name = probe === null ? "" : evolution.names[probe];
    const { parts, sentence } = wordsOfChange(evolution, change);
    const title = `${probe === null ? "" : `${shorten(name, 300)}: `}${sentence}`;
    const entry = el(
      "button",
      {
        className: "change",
        "data-kind": change.kind,
        title,
        "aria-label": title,
        ...(probe === null ? {} : { "data-probe": probe }),
        on: {
          click: () => {
            this.chosen = entry;
            this.keepsFocus = true;
            this.verbs.seek("a", index);
            if (probe !== null) this.verbs.show({ probe: String(probe) });
          },
        },
      },
      ...(probe === null
        ? []
        : [el("span", { className: "name", dir: "auto" }, shorten(name, 80))]),
      el("span", { className: "what" }, ...parts),
    );
    return entry;
  }

  /**
   * Mark the step that is shown, and the probe that is shown large.
   *
   * @param {Scene} scene
   */
  markCurrent({ a, probe }) {
    const mark = `${a.index}:${probe}`;
    if (this.marked === mark) return;
    this.marked = mark;
    for (const node of this.list.querySelectorAll("[aria-current]"))
      node.removeAttribute("aria-current");
    const group = this.list.querySelector(`[data-index="${a.index}"]`);
    group?.querySelector("h3 button")?.setAttribute("aria-current", "step");
    if (probe === null) return;
    for (const node of group?.querySelectorAll(`[data-probe="${probe}"]`) ?? [])
      node.setAttribute("aria-current", "true");
  }

  /**
   * Stand in an element, keeping the focus and the place in the list.
   *
   * @param {Element} home
   */
  moveTo(home) {
    const keepsFocus = this.keepsFocus;
    this.keepsFocus = false;
    if (this.node.parentElement === home) return;
    const { scrollTop } = this.scroller;
    const focused = this.node.contains(document.activeElement);
    const entry = this.chosen;
    home.append(this.node);
    this.scroller.scrollTop = scrollTop;
    if (this.node.hidden || !entry) return;
    // Where a dialog has closed, what had the focus is gone with it.
    if (keepsFocus || focused || document.activeElement === document.body) entry.focus();
  }
}
