/**
 * The page as a whole: where its parts stand, its keys, and when it is drawn.
 */

import { beginningsOf, ofExplained, ofSides, ringLabel, ringText, ringsAt } from "./alarms.js";
import { ChangeList, ChangesButton } from "./change_list.js";
import { comparedWith, fullDifference } from "./differences.js";
import { announce, el, iconButton, liveText, setText } from "./elements.js";
import { Gallery } from "./gallery.js";
import { LargeView } from "./large_view.js";
import { Legend } from "./legend.js";
import { nearestIndex } from "./numbers.js";
import { Panel } from "./panel.js";
import { turnPin } from "./pin_button.js";
import { RunGrid } from "./run_grid.js";
import { pinnedProbes } from "./selection.js";
import { Share } from "./share.js";
import { TakeAway } from "./take_away.js";
import { shorten } from "./text.js";
import { Toasts } from "./toasts.js";
import { Transport } from "./transport.js";

/** @import { Evolution } from "./data.js" */
/** @import { Scene, SideName } from "./scene.js" */
/** @import { Session } from "./session.js" */

/** When a step has come to rest, in ms. */
const REST = 250;

export const PAGE_TITLE = "Ablation-CAM";

const EXAMPLE =
  "from lightning_ablationcam import AblationCAMMonitor\n\nTrainer(callbacks=[AblationCAMMonitor()]).fit(module, datamodule)";

/**
 * How many of what is shown.
 *
 * @param {Scene} scene
 */
function summaryOf({ a, b, order, pictures: { failed }, role, roles, state }) {
  const { evolution } = a;
  const all = evolution.probes.length;
  const count =
    order.length === all
      ? `${all} ${all === 1 ? "probe" : "probes"}`
      : `${order.length} of ${all} probes`;
  const { pins, held } = pinnedProbes(state, a, b);
  const words = [count];
  if (held) words.push(`${held} of them only because pinned`);
  else if (pins.length) words.push(`${pins.length} pinned`);
  words.push(`layer ${shorten(evolution.layer)}`, `score: ${shorten(evolution.score)}`);
  if (role) words.push(`map of: ${role}`);
  if (roles.length) words.push(`${roles.length} maps side by side, numbers of the class explained`);
  const rings = (b ? [a, b] : [a]).map((side) =>
    ringsAt(side.evolution, side.index).map(
      (ring) => `alarm: ${ringLabel(side.evolution, ring)}`,
    ),
  );
  const alarms = ofSides(rings);
  if (alarms.length) words.push(alarms.join(" · ") + ofExplained(evolution));
  if (failed) words.push(`${failed} ${failed === 1 ? "picture" : "pictures"} could not be loaded`);
  return words.join(" · ");
}

export class Page {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    const { verbs, address } = session;
    this.main = el("main");
    this.root = el("div", { id: "ablation-cam" });
    this.transports = [new Transport(verbs, "a"), new Transport(verbs, "b")];
    const toasts = new Toasts(this.root);
    this.gallery = new Gallery(verbs, this.main);
    this.grid = new RunGrid(verbs, this.root, (names) => void session.want(names));
    const copyLink = () => void this.share.copyLink();
    this.takeAway = new TakeAway(toasts, this.gallery.node, this.main, copyLink, () =>
      this.large.view(),
    );
    this.share = new Share(address, toasts, ...this.takeAway.nodes);
    this.panel = new Panel(verbs, this.share.node);
    this.large = new LargeView(verbs, this.takeAway.tool);
    this.legend = new Legend();
    this.changes = new ChangeList(verbs);
    this.changesButton = new ChangesButton(verbs);
    this.summary = el("p", { className: "summary", role: "status" });
    this.tune = iconButton("tune", "Settings", () => this.togglePanel(this.panel.node.hidden));
    this.tune.setAttribute("aria-controls", "panel");
    this.alert = el("div", { className: "alert", role: "alert", hidden: true });
    this.notes = el("ul", { className: "notes", "aria-label": "Notes", hidden: true });
    /** @type {string[]} Those in the list. */
    this.noted = [];
    this.empty = el("div", { className: "empty", role: "status" });
    /** @type {number|null} */
    this.planned = null;
    /** @type {{index: number, evolution: Evolution|null}} The step that was drawn last. */
    this.drawn = { index: -1, evolution: null };
    /** When it came, and how many had come fast before it. */
    this.moved = -Infinity;
    this.hasty = 0;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.rest = undefined;
    const top = el(
      "header",
      { className: "top" },
      ...this.transports.map(({ node }) => node),
      el(
        "div",
        { className: "line-up" },
        this.tune,
        this.changesButton.node,
        this.summary,
        this.legend.node,
      ),
    );
    const heading = el("h2", { className: "unseen" }, "Probes");
    const title = el("h1", { className: "unseen" }, PAGE_TITLE);
    this.main.append(title, top, this.alert, this.notes, heading, this.gallery.node, this.empty);
    this.root.append(
      this.panel.node,
      this.main,
      this.changes.node,
      this.large.node,
      liveText(),
    );
    this.togglePanel(matchMedia("(min-width: 960px)").matches);
    this.say(session.absence.title, session.absence.more);
    document.body.append(this.root);
    document.addEventListener("keydown", (event) => this.key(event));
    session.changed = () => this.plan();
  }

  /** @param {boolean} open */
  togglePanel(open) {
    this.panel.node.hidden = !open;
    this.tune.setAttribute("aria-expanded", String(open));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { session } = this;
    const { a, index } = session;
    if (event.altKey || event.ctrlKey || event.metaKey || !a) return;
    // On the document itself when nothing has the focus.
    const target = event.target instanceof Element ? event.target : document.body;
    const slider = target.matches("input[data-step]");
    // Fields, lists and switches have their own use for these keys.
    if (target.matches("input, select, textarea") && !(slider && /^[ aAcprRs]$/.test(event.key)))
      return;
    if (event.key === "r" && a.roles.length) return this.turnRole(a.roles);
    if (event.key === "R" && a.roles.length) return this.turnBeside();
    if (event.key === "s" && a.signedRoles.length) return this.turnSides();
    if (event.key === "c") return this.changesButton.turn();
    if (event.key === "p") return this.turnPinOfLarge();
    const { b, tied } = session;
    if (event.key === "a" && (a.alarms.length || b?.alarms.length)) return this.goToAlarm("a");
    if (event.key === "A" && b?.alarms.length && !tied) return this.goToAlarm("b");
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: a.length - 1 };
    const step = steps[event.key];
    if (step === undefined && (event.key !== " " || target.matches("button, a"))) return;
    event.preventDefault();
    if (step === undefined) return session.play();
    session.seek("a", step);
    // The slider speaks for itself, but only where it has the focus.
    if (!slider)
      announce(`Step ${a.numbers[session.index]}, epoch ${a.steps[session.index].epoch}`);
  }

  /**
   * Show the rival, or what else there is, and the classes explained again.
   *
   * @param {string[]} roles
   */
  turnRole(roles) {
    const { state, verbs } = this.session;
    const other = roles.includes("rival") ? "rival" : roles[0];
    // From all of them it goes to the other one.
    const role = roles.includes(state.role) && !state.beside ? "" : other;
    verbs.show({ role, beside: "" });
    announce(`Map of ${role || "the class explained"}`);
  }

  /** Show all maps side by side, and one alone again. */
  turnBeside() {
    const { state, verbs } = this.session;
    const beside = state.beside ? "" : "roles";
    verbs.show({ beside });
    announce(beside ? "All maps side by side" : `Map of ${state.role || "the class explained"}`);
  }

  /**
   * Go to the next step at which an alarm began to ring, after the last to the first. Where B moves
   * with A, its alarms count as well.
   *
   * @param {SideName} name
   */
  goToAlarm(name) {
    const { session } = this;
    const [own, now] = name === "a" ? [session.a, session.index] : [session.b, session.indexOfB];
    if (!own) return;
    /** @type {Map<number, string[]>} */
    const found = new Map();
    const note = (/** @type {Evolution} */ evolution, /** @type {string} */ before) => {
      for (const { index, rings } of beginningsOf(evolution)) {
        const place = nearestIndex(own.numbers, evolution.numbers[index]);
        const texts = rings.map((ring) => before + ringText(evolution, ring));
        found.set(place, [...(found.get(place) ?? []), ...texts]);
      }
    };
    const names = session.b && session.b !== session.a;
    note(own, names ? `${name.toUpperCase()}: ` : "");
    if (session.tied && session.b) note(session.b, "B: ");
    const places = [...found.keys()].sort((x, y) => x - y);
    const next = places.find((index) => index > now) ?? places[0];
    if (next === undefined) return announce("No alarm rang");
    session.seek(name, next);
    announce(`Step ${own.numbers[next]}, alarm: ${found.get(next)?.join("\n")}`);
  }

  /** Pin the probe that is shown large, or no longer. */
  turnPinOfLarge() {
    const scene = this.session.scene();
    if (scene && scene.probe !== null) turnPin(this.session.verbs, scene, scene.probe);
  }

  /** Show what speaks for the classes alone, and both again. */
  turnSides() {
    const { verbs, wantsSigned } = this.session;
    verbs.show({ sides: wantsSigned ? "for" : "" });
    announce(wantsSigned ? "What speaks for it alone" : "What speaks for and against it");
  }

  // Drawing ------------------------------------------------------------------------------------

  /** Draw in the next frame; however often it is asked for before, once. */
  plan() {
    this.planned ??= requestAnimationFrame(() => {
      this.planned = null;
      if (this.session.loaded) this.draw();
    });
  }

  draw() {
    const scene = this.session.scene();
    const { trouble, absence } = this.session;
    this.root.classList.toggle("nothing", !scene);
    this.complain(trouble, scene !== null);
    if (!scene) {
      this.empty.hidden = trouble !== null;
      if (trouble === null) this.say(absence.title, absence.more);
      return this.ready();
    }
    this.root.dataset.compare = scene.compare;
    this.share.draw(scene);
    this.takeAway.draw(scene);
    this.note(this.session.notes);
    const complete = [this.drawBehind(scene), this.large.draw(scene)].every(Boolean);
    this.drawChanges(scene);
    this.grid.draw(scene, scene.state.view === "runs" ? this.session.rows : []);
    // What was drawn may want maps that are not here.
    this.session.fill();
    const arrived = !scene.pictures.busy && !this.session.source.waits;
    if ((arrived && complete) || trouble !== null) this.ready();
  }

  /** @param {Scene} scene */
  drawChanges(scene) {
    const opens = this.changes.node.hidden && scene.state.changes !== "";
    // Where there is no room for both, the settings make way.
    if (opens && !matchMedia("(min-width: 1200px)").matches) this.togglePanel(false);
    this.changesButton.draw(scene);
    this.changes.draw(scene);
    // What stands outside of a dialog that is open cannot be used.
    const isBeside =
      scene.probe !== null &&
      !this.changes.node.hidden &&
      matchMedia("(min-width: 960px)").matches;
    this.changes.moveTo(isBeside ? this.large.node : this.root);
  }

  /** @param {Scene} scene */
  drawLegend(scene) {
    const { b, compare, order } = scene;
    const isDifference = b !== null && compare === "difference";
    const full = isDifference ? fullDifference(scene, comparedWith(scene), order) : null;
    this.legend.draw(scene, { full });
  }

  /**
   * Draw what is not the large view. While steps follow each other fast, that is only what is in
   * sight; behind the large view nothing, until they rest.
   *
   * @param {Scene} scene
   * @returns {boolean} Whether all of it is there.
   */
  drawBehind(scene) {
    clearTimeout(this.rest);
    if (!this.rushes(scene)) return this.drawMain(scene, false);
    this.rest = setTimeout(() => {
      this.hasty = 0;
      this.plan();
    }, REST);
    if (scene.probe === null) this.drawMain(scene, true);
    return false;
  }

  /**
   * Whether steps follow each other fast.
   *
   * @param {Scene} scene
   */
  rushes({ a: { index, evolution } }) {
    if (this.drawn.index !== index || this.drawn.evolution !== evolution) {
      const now = performance.now();
      this.hasty = now - this.moved < REST ? this.hasty + 1 : 0;
      this.moved = now;
      this.drawn = { index, evolution };
    }
    // Of two steps in a row the second may already be where the user stays.
    return this.hasty >= 2;
  }

  /**
   * @param {Scene} scene
   * @param {boolean} onlyInSight Whether to leave out the cards near what is in sight.
   * @returns {boolean} Whether all of it is there.
   */
  drawMain(scene, onlyInSight) {
    for (const transport of this.transports) transport.draw(scene);
    this.panel.draw(scene);
    this.drawLegend(scene);
    setText(this.summary, summaryOf(scene));
    this.empty.hidden = scene.order.length > 0;
    if (!scene.order.length) this.offerAll();
    return this.gallery.draw(scene, onlyInSight);
  }

  /**
   * Say something where the gallery would be.
   *
   * @param {string} title
   * @param {string|null} more What can be done: "" for the usual, null for nothing.
   */
  say(title, more) {
    this.empty.replaceChildren(el("h2", {}, title));
    if (more === null) return;
    this.empty.append(
      el(
        "p",
        {},
        more || "Add the callback to a Trainer and let a validation pass. The tab fills by itself.",
      ),
      el("pre", {}, EXAMPLE),
    );
  }

  /** Say that the filters let nothing through, and open them. */
  offerAll() {
    this.say("No probe passes the filters", null);
    const all = { search: "", class: "", prediction: "", alarm: "" };
    const { show } = this.session.verbs;
    this.empty.append(el("button", { on: { click: () => show(all) } }, "Show all probes"));
  }

  /** @param {string[]} notes */
  note(notes) {
    if (notes === this.noted) return;
    this.noted = notes;
    this.notes.hidden = !notes.length;
    this.notes.replaceChildren(...notes.map((note) => el("li", {}, shorten(note, 500))));
  }

  /**
   * @param {string|null} trouble
   * @param {boolean} shows Whether there is something to be seen all the same.
   */
  complain(trouble, shows) {
    this.alert.hidden = trouble === null;
    if (trouble === null) return;
    const text = trouble + (shows ? " What was loaded before is still shown." : "");
    // An alert is spoken whenever it changes: once is enough while a server stays away.
    if (this.alert.firstChild?.textContent === text) return;
    const again = el("button", { on: { click: () => this.session.refresh() } }, "Try again");
    this.alert.replaceChildren(el("p", {}, text), again);
  }

  /** Outside checks, and people with a stopwatch, wait for this. */
  ready() {
    // What is shown until then is of the state before.
    if (this.session.loading) return;
    document.documentElement.dataset.ready = "1";
  }
}
