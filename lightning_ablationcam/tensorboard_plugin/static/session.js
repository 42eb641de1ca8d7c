/**
 * What is loaded, what of it is to be shown, and the three verbs that change this.
 */

import { seriesKey } from "./data.js";
import { announce } from "./elements.js";
import { onHostReload } from "./host.js";
import { nearestIndex } from "./numbers.js";
import { Pictures } from "./pictures.js";
import { isOfClass } from "./roles.js";
import { MOST_RUNS, textToRuns } from "./run_list.js";
import { Scene, Side } from "./scene.js";
import { selectProbes } from "./selection.js";
import { selectedSeries } from "./series_list.js";
import { Problem } from "./steps.js";
import { PLUGIN, stateToText, textToState } from "./state.js";

/** @import { Evolution, SeriesName, Source } from "./data.js" */
/** @import { Address, Host } from "./host.js" */
/** @import { SideName, Verbs } from "./scene.js" */
/** @import { State } from "./state.js" */

/** A live run is asked for news this often, in ms, and at most for 1/POLL_SHARE of the time. */
const POLL = 15_000;
const POLL_SHARE = 50;

/**
 * Why there is nothing to show, and what can be done: "" for the usual, null for nothing at all.
 *
 * @typedef {{title: string, more: string|null}} Absence
 */

const LOADING = { title: "Loading …", more: null };
const NO_STEPS = {
  title:
    "The first heatmaps of this run have not been written yet. They come with its first validation.",
  more: null,
};

export class Session {
  /**
   * @param {Source} source
   * @param {Address} address
   */
  constructor(source, address) {
    this.source = source;
    this.address = address;
    /** @type {State} */
    this.state = textToState(address.read());
    /** @type {SeriesName[]} */
    this.series = [];
    /** How many more there are that TensorBoard does not show. */
    this.hidden = 0;
    /** @type {Evolution|null} */
    this.a = null;
    /** @type {Evolution|null} */
    this.b = null;
    /** @type {Evolution[]} The further runs that the state names, A or B perhaps among them. */
    this.listed = [];
    /** @type {number[]} The probes that pass the filters, as they were drawn last. */
    this.order = [];
    this.pictures = new Pictures(source, () => this.changed());
    /** @type {Map<string, Evolution|string>} Runs beside A and B, or why one cannot be loaded. */
    this.gathered = new Map();
    /** @type {SeriesName[]} Those of them that are in sight. */
    this.wanted = [];
    /** Whether the run on show is that of the address, and not of one before it. */
    this.stays = false;
    this.gathering = false;
    /** Counts how often it was begun anew. */
    this.begun = 0;
    this.playing = false;
    /** Whether what the state names is being loaded. */
    this.loading = false;
    /** Whether loading has come to an end once, be it a bad one. */
    this.loaded = false;
    /** @type {Absence} */
    this.absence = LOADING;
    /** @type {string[]} */
    this.notes = [];
    /** @type {string|null} What went wrong when it was loaded last. */
    this.trouble = null;
    /** Called whenever there is something to draw; the page's. */
    this.changed = () => {};
    /** @type {Readonly<Verbs>} All that the views get of this. */
    this.verbs = Object.freeze({
      show: (changes) => this.show(changes),
      seek: (side, index) => this.seek(side, index),
      play: () => this.play(),
    });
    this.ticket = 0;
    /** Whether there was a reason to look for news while nobody could see them. */
    this.missed = false;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.poll = undefined;
    source.watcher = {
      arrived: () => this.changed(),
      outdated: () => {
        this.gatherAnew();
        void this.load();
      },
      failed: (error) => {
        this.complain(error);
        this.changed();
      },
    };
    address.watch(
      (text) => this.open(text),
      (text) => this.turn(text),
    );
    // The way back from a link to a probe leads to the grid as well.
    if (this.state.probe && !address.pair) address.enter(this.textOf(""), this.textOf());
  }

  // Loading ------------------------------------------------------------------------------------

  /**
   * Look for news when TensorBoard's reload button is pressed, and when the page is seen again.
   *
   * @param {Host|null} host
   */
  follow(host) {
    if (!this.source.live) return;
    if (host) onHostReload(host, () => this.refresh());
    const seen = () => {
      if (this.missed && this.visible) this.refresh();
    };
    document.addEventListener("visibilitychange", seen);
    window.addEventListener("resize", seen);
  }

  get visible() {
    // TensorBoard hides the tabs it does not show by giving them no height.
    return !document.hidden && window.innerHeight > 0;
  }

  /** Ask for news, keeping the user's place: someone at the newest step follows, others stay. */
  async refresh() {
    this.missed = !this.visible;
    if (this.missed) return;
    const started = performance.now();
    clearTimeout(this.poll);
    await this.load();
    const took = performance.now() - started;
    if (this.source.live)
      this.poll = setTimeout(() => this.refresh(), Math.max(POLL, took * POLL_SHARE));
  }

  /** Load what the state names. */
  async load() {
    const ticket = ++this.ticket;
    this.loading = true;
    try {
      const { series, message } = await this.source.list();
      const selected = selectedSeries(series, this.address.host);
      const { a, b, listed, lost } = this.named(series, selected);
      const load = (/** @type {SeriesName} */ name) =>
        this.source.load(name, this.known(name), this.asked, this.wantsSigned);
      const first = a && (await load(a));
      const second = b && b !== a ? await load(b) : b && first;
      const others = [];
      for (const one of a ? listed : [])
        others.push(one === a ? first : one === b ? second : await load(one));
      if (ticket !== this.ticket) return; // the user has asked for something else meanwhile
      // What an address names can be chosen, whatever TensorBoard shows.
      const named = [a, b, ...listed];
      this.stays = true;
      this.series = series.filter((one) => selected.includes(one) || named.includes(one));
      this.hidden = series.length - this.series.length;
      this.trouble = null;
      this.listed = others.filter((one) => one !== null);
      this.take(first, second, message, lost);
      this.fill();
    } catch (error) {
      if (ticket !== this.ticket) return;
      this.complain(error);
    }
    this.loading = false;
    this.loaded = true;
    this.changed();
  }

  /** @param {unknown} error */
  complain(error) {
    if (!(error instanceof Problem)) console.error(error);
    const reason = error instanceof Error ? error.message : String(error);
    this.trouble =
      error instanceof Problem ? reason : `The page could not show this data (${reason}).`;
  }

  // Runs beside each other ---------------------------------------------------------------------

  /** All runs that can be chosen, as far as they are loaded. */
  get rows() {
    return this.series.map((name) => {
      const known = this.known(name);
      const found = (known?.length ? known : this.gathered.get(seriesKey(name))) ?? null;
      const isProblem = typeof found === "string";
      return { name, evolution: isProblem ? null : found, problem: isProblem ? found : null };
    });
  }

  /** Forget the runs that are loaded beside A and B, and load those in sight as they are now. */
  gatherAnew() {
    this.begun++;
    this.gathered.clear();
    void this.want(this.wanted);
  }

  /**
   * Load runs, one after the other.
   *
   * @param {SeriesName[]} names
   */
  async want(names) {
    this.wanted = names;
    if (this.gathering) return;
    this.gathering = true;
    const next = () =>
      this.state.view === "runs" &&
      this.wanted.find((name) => !this.known(name)?.length && !this.gathered.has(seriesKey(name)));
    for (let name = next(); name; name = next()) {
      const { begun, state, wantsSigned } = this;
      try {
        // What A has no map of is shown of the classes explained.
        const roles = [...new Set(["", state.role])];
        const found = await this.source.load(name, null, roles, wantsSigned);
        if (begun === this.begun)
          this.gathered.set(seriesKey(name), found.length ? found : "No heatmaps yet");
      } catch (error) {
        this.gathered.set(seriesKey(name), error instanceof Error ? error.message : String(error));
      }
      this.changed();
    }
    this.gathering = false;
  }

  /** Load the maps that are missing of what is on show. */
  fill() {
    const shown = [...new Set(this.shown)];
    const glanced = [...this.gathered.values()].filter((one) => typeof one !== "string");
    this.source.fill(shown, this.state.view === "runs" ? glanced : []);
  }

  /**
   * The series that the state names, or others where there are no such.
   *
   * @param {SeriesName[]} series
   * @param {SeriesName[]} selected Those that TensorBoard shows.
   * @returns {{a: SeriesName|null, b: SeriesName|null, listed: SeriesName[], lost: string[]}} `lost`
   *   says which are not there.
   */
  named(series, selected) {
    /** @type {string[]} */
    const lost = [];
    const find = (/** @type {string} */ run, /** @type {string} */ tag) => {
      const found = series.find((one) => one.run === run && (!tag || one.tag === tag));
      if (!found && run && series.length)
        lost.push(`There is no run “${run}” with tag “${tag || PLUGIN}”; this is another one.`);
      return found ?? selected[0] ?? null;
    };
    const { run, tag, brun, btag, compare } = this.state;
    // Where none is named, the run on show stays, though another may have written since.
    const stays = !run && this.stays ? this.a : null;
    const shown = stays && series.find((one) => one.run === stays.run && one.tag === stays.tag);
    const a = shown ?? find(run, tag);
    const b = a && compare !== "off" ? find(brun || a.run, btag || a.tag) : null;
    const listed = textToRuns(this.state.runs, PLUGIN).flatMap((one) => {
      const found = series.find((other) => other.run === one.run && other.tag === one.tag);
      if (!found && series.length)
        lost.push(`There is no run “${one.run}” with tag “${one.tag}” to stand beside the others.`);
      return found ?? [];
    });
    return { a, b, listed, lost };
  }

  /**
   * What is loaded of a series already.
   *
   * @param {SeriesName} name
   */
  known({ run, tag }) {
    return [this.a, this.b, ...this.listed].find((one) => one?.run === run && one.tag === tag) ?? null;
  }

  /**
   * @param {Evolution|null} a
   * @param {Evolution|null} b
   * @param {string|null} message What the server says where it has no series.
   * @param {string[]} lost
   */
  take(a, b, message, lost) {
    const before = this.a;
    // Other probes come in an order of their own, also while playing.
    if (a?.run !== before?.run || a?.tag !== before?.tag || a?.fingerprint !== before?.fingerprint)
      this.order = [];
    this.a = a?.length ? a : null;
    this.b = b?.length ? b : null;
    if (!this.a) {
      this.absence = a ? NO_STEPS : { title: "No heatmaps yet", more: message ?? "" };
      return;
    }
    const ofB = this.b && this.b !== this.a ? this.b.notes.map((note) => `B: ${note}`) : [];
    const others = this.listed.filter((one) => one !== this.a && one !== this.b);
    const ofOthers = others.flatMap((one) => {
      const notes = one.length ? one.notes : ["The first heatmaps have not been written yet."];
      return notes.map((note) => `${one.run || "."}: ${note}`);
    });
    this.notes = [...lost, ...this.a.notes, ...ofB, ...ofOthers];
  }

  // What is shown ------------------------------------------------------------------------------

  /** Whether B's step is A's: two runs that move together. */
  get tied() {
    return this.b !== null && this.b !== this.a && this.state.together === "yes";
  }

  /** The step of A. */
  get index() {
    if (!this.a) return 0;
    const { numbers, length } = this.a;
    const { step } = this.state;
    return step === "" ? length - 1 : nearestIndex(numbers, Number(step));
  }

  /** The step of B. */
  get indexOfB() {
    if (!this.b) return 0;
    const { numbers, length } = this.b;
    if (this.a && this.tied) return nearestIndex(numbers, this.a.numbers[this.index]);
    const { bstep } = this.state;
    if (bstep === "first") return 0;
    return bstep === "newest" ? length - 1 : nearestIndex(numbers, Number(bstep));
  }

  /** The further runs that are shown: those that are neither A nor B, as many as there is room for. */
  get others() {
    const sides = this.state.compare === "off" ? [this.a] : [this.a, this.b];
    return this.listed
      .filter((one) => one.length && !sides.includes(one))
      .slice(0, MOST_RUNS - sides.length);
  }

  /** Everything that is shown. */
  get shown() {
    return [this.a, this.b, ...this.others].filter((one) => one !== null);
  }

  /** The roles whose maps are asked for; null for all. */
  get asked() {
    return this.state.beside ? null : [this.state.role];
  }

  /** The roles whose maps stand beside each other, once they are here; none where they shall not. */
  get roles() {
    if (!this.state.beside) return [];
    const roles = [...new Set(this.shown.flatMap((one) => one.roles))];
    // Classes beside each other, and then the layers.
    roles.sort((x, y) => Number(isOfClass(y)) - Number(isOfClass(x)));
    const here = this.shown.every((one) => roles.every((role) => one.holds(role)));
    return here && roles.length ? ["", ...roles] : [];
  }

  /** Whose maps are shown: the state's role where there is such a one and it is here, else "". */
  get role() {
    const { role } = this.state;
    if (this.roles.length) return "";
    const here = this.a?.roles.includes(role) && this.shown.every((one) => one.holds(role));
    return here ? role : "";
  }

  /** Whether both signs are asked for, where both were recorded. */
  get wantsSigned() {
    return this.state.sides !== "for";
  }

  /** Whether both signs are shown. */
  get signed() {
    const { a, wantsSigned } = this;
    const roles = this.roles.length ? this.roles : [this.role];
    if (!wantsSigned || !roles.some((role) => a?.signedRoles.includes(role))) return false;
    return this.shown.every((one) => roles.every((role) => one.holds(role, true)));
  }

  /** All of it as it is now; null while there is nothing to show. */
  scene() {
    const { state, series, pictures, playing, role, roles, signed, tied } = this;
    const [ofA, ofB] = [this.a, this.b].map((evolution) => evolution?.as(role) ?? null);
    if (!ofA) return null;
    const a = new Side(ofA, this.index);
    const b = ofB && state.compare !== "off" ? new Side(ofB, this.indexOfB, ofA) : null;
    const others = this.others.flatMap((one) => {
      const evolution = one.as(role);
      const index = nearestIndex(one.numbers, a.entry.step);
      return evolution ? new Side(evolution, index, ofA) : [];
    });
    // While playing the cards stay where they are: nobody can watch a moving card.
    if (!playing || !this.order.length) this.order = selectProbes(state, a, b);
    const { order } = this;
    const { hidden } = this;
    const parts = { state, a, b, others, order, series, hidden, pictures, playing, role, roles };
    return new Scene({ ...parts, signed, tied });
  }

  // The verbs ----------------------------------------------------------------------------------

  /**
   * Change what is shown; without changes, draw it once more.
   *
   * @param {Partial<State>} [changes]
   */
  show(changes) {
    if (!changes) return this.changed();
    const before = this.state;
    this.state = { ...before, ...changes };
    const { state } = this;
    if (before.view !== state.view || before.role !== state.role || before.sides !== state.sides)
      this.gatherAnew();
    const [isLarge, becomesLarge] = [before, state].map(({ probe }) => this.isLarge(probe));
    if (becomesLarge && !isLarge) this.address.enter(this.textOf(""), this.textOf());
    else if (!state.probe && isLarge) this.address.leave(this.textOf());
    else this.address.write(this.textOf());
    const loads =
      before.run !== state.run ||
      before.tag !== state.tag ||
      before.brun !== state.brun ||
      before.btag !== state.btag ||
      before.runs !== state.runs ||
      this.shown.some((one) =>
        one.named(this.asked).some((role) => !one.holds(role, this.wantsSigned)),
      );
    const compares = state.compare !== "off";
    if (compares !== (before.compare !== "off")) {
      // B starts as A's own run, which is here already.
      this.b = compares && !state.brun ? this.a : null;
      if (compares && !this.b) return void this.load();
    }
    if (loads) this.load();
    this.changed();
  }

  /**
   * Go to a step, and stop playing.
   *
   * @param {SideName} side
   * @param {number} index
   */
  seek(side, index) {
    const evolution = side === "a" ? this.a : this.b;
    if (!evolution || (side === "b" && this.tied)) return;
    this.pause();
    this.go(side, evolution, index);
  }

  /** Start playing, or stop. */
  play() {
    if (this.playing) return this.pause();
    if (!this.a || this.a.length < 2) return;
    if (this.index === this.a.length - 1) this.seek("a", 0);
    this.playing = true;
    let last = performance.now();
    const tick = (/** @type {number} */ now) => {
      if (!this.playing || !this.a) return;
      const pause = 1000 / Number(this.state.speed);
      const steps = Math.floor((now - last) / pause);
      if (steps > 0) {
        last += steps * pause;
        this.go("a", this.a, this.index + steps);
        if (this.index === this.a.length - 1) return this.pause();
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    this.changed();
  }

  pause() {
    if (!this.playing || !this.a) return;
    this.playing = false;
    const { step, epoch } = this.a.steps[this.index];
    announce(`Paused at step ${step}, epoch ${epoch}`);
    this.changed();
  }

  /**
   * @param {SideName} side
   * @param {Evolution} evolution The one on that side.
   * @param {number} index
   */
  go(side, { numbers, length }, index) {
    const to = Math.min(length - 1, Math.max(0, index));
    // At the newest step the view follows a live run; the address then says "newest".
    if (side === "a") this.show({ step: to === length - 1 ? "" : String(numbers[to]) });
    else this.show({ bstep: to === length - 1 ? "newest" : to ? String(numbers[to]) : "first" });
  }

  /**
   * The state as text.
   *
   * @param {string} [probe] The one that is shown large, if it is another than now.
   */
  textOf(probe = this.state.probe) {
    return stateToText({ ...this.state, probe });
  }

  /**
   * Whether a state's probe is shown large: it may name one that there is not.
   *
   * @param {string} probe
   */
  isLarge(probe) {
    return probe !== "" && (!this.a || Number(probe) < this.a.probes.length);
  }

  /**
   * Show the probe of an address large, or the grid: the rest of what is shown stays as it is.
   *
   * @param {string} text
   */
  turn(text) {
    this.state = { ...this.state, probe: textToState(text).probe };
    this.address.write(this.textOf());
    this.changed();
  }

  /**
   * Take over an address that the user has changed.
   *
   * @param {string} text
   */
  open(text) {
    this.stays = false;
    this.pause();
    this.gatherAnew();
    this.state = textToState(text);
    this.load();
  }
}
