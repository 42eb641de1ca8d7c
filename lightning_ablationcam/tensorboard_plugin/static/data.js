/**
 * What monitors have seen, and the two places it comes from: TensorBoard's server, or the report
 * that the page stands in.
 */

import { driftBetween } from "./maps.js";
import { largest } from "./numbers.js";
import { UNKNOWN, shorten, whole } from "./text.js";

/**
 * The name of a series: what one monitor of one run has written.
 *
 * @typedef {object} SeriesName
 * @property {string} run
 * @property {string} tag
 */

/**
 * One number for each probe.
 *
 * @typedef {(number|null)[]} Values
 */

/**
 * The likeliest classes of each probe, the likeliest first.
 *
 * @typedef {{classes: number[][], probabilities: (number|null)[][]}} Top
 */

/**
 * What a pass found of a further class of each probe: `maxima`, `classes`, `scores` and
 * `probabilities`.
 *
 * @typedef {Record<string, Values|null>} Further
 */

/**
 * @typedef {object} StepItself
 * @property {number} step
 * @property {number} epoch
 * @property {number|null} wall_time
 * @property {Top|null} top
 * @property {Record<string, Further>} also By role.
 */

/**
 * One pass over the probes. Its other fields are Values, or null where there are none: `maxima`,
 * `classes`, `scores`, `predicted`, `probabilities`, and one for each measure, by its
 * name.
 *
 * @typedef {StepItself & Record<string, unknown>} Step
 */

/**
 * How the values of a measure are read: an Axis of the Python package.
 *
 * @typedef {object} Axis
 * @property {string} name
 * @property {string} label
 * @property {number} low
 * @property {number} high
 * @property {boolean} percent
 */

/**
 * A series as the server and the report give it: `page_data` of the Python package.
 *
 * @typedef {object} SeriesData
 * @property {string} run
 * @property {string} tag
 * @property {string} fingerprint Stands for the probes.
 * @property {string} layer
 * @property {string} scale What 100 % of the colour scale is: "map", "probe" or "run".
 * @property {string} score
 * @property {{name: string, label: number|null}[]} probes
 * @property {string[]|null} class_names
 * @property {Axis[]} measures
 * @property {[number, number]} shape Height and width of a map.
 * @property {Step[]} steps
 * @property {string[]} notes
 * @property {string[]} pictures Address of each probe's picture.
 * @property {string} maps Address of the maps.
 * @property {Record<string, string>} also_maps Address of the maps of each further class, by role.
 */

/**
 * Where series come from.
 *
 * @typedef {object} Source
 * @property {boolean} live Whether there may be more of them later.
 * @property {() => Promise<{series: SeriesName[], message: string|null}>} list
 * @property {(name: SeriesName, known: Evolution|null, role: string) => Promise<Evolution>} load
 *   With the maps of a role, if it is given and there are such.
 * @property {(address: string) => string} picture The address at which a picture can be loaded.
 */

/** Something the user has to know about, in words. */
export class Problem extends Error {}

/** What is not known of a role at a step that has none of it. */
const NOTHING = { maxima: null, classes: null, scores: null, probabilities: null };

/** What one monitor of one run has seen: of the classes explained, or of another role. */
export class Evolution {
  /**
   * @param {SeriesData} data
   * @param {Uint8Array<ArrayBuffer>} maps All maps of all steps.
   * @param {string|null} [etag] What the server calls this state of the data.
   * @param {Evolution|null} [explained] That of the classes explained, where this is of a role.
   * @param {string} [role]
   */
  constructor(data, maps, etag = null, explained = null, role = "") {
    const cells = data.shape[0] * data.shape[1];
    const size = data.probes.length * cells;
    if (maps.length !== data.steps.length * size) {
      throw new Problem(
        `The heatmaps of “${shorten(data.run)}” came incomplete: ` +
          `${whole(maps.length)} bytes of ${whole(data.steps.length * size)}.`,
      );
    }
    this.data = data;
    this.role = role;
    /** @type {Evolution} */
    this.explained = explained ?? this;
    /** The roles that there are maps of. */
    this.roles = Object.keys(data.also_maps);
    /** @type {Map<string, Uint8Array<ArrayBuffer>>} Maps of roles asked for, of the first steps. */
    this.held = new Map();
    /** @type {Map<string, Evolution>} */
    this.made = new Map();
    this.run = data.run;
    this.tag = data.tag;
    this.fingerprint = data.fingerprint;
    this.layer = data.layer;
    this.scale = data.scale;
    this.score = data.score;
    this.probes = data.probes;
    this.classNames = data.class_names;
    this.measures = data.measures;
    this.shape = data.shape;
    this.steps = data.steps;
    this.notes = data.notes;
    this.pictures = data.pictures;
    this.maps = maps;
    this.etag = etag;
    this.cells = cells;
    this.size = size;
    this.length = data.steps.length;
    this.numbers = data.steps.map(({ step }) => step);
    const strengths = (/** @type {number} */ probe) =>
      data.steps.map((_, step) => this.strength(step, probe));
    this.strongest = data.probes.map((_, probe) => largest(strengths(probe)));
    this.strongestOfAll = largest(this.strongest);
  }

  /**
   * Whether all maps of a role are here; there are none to wait for where it has no such role.
   *
   * @param {string} role
   */
  holds(role) {
    return !this.roles.includes(role) || this.held.get(role)?.length === this.maps.length;
  }

  /**
   * The same of a role, "" for the classes explained; null while its maps are not here.
   *
   * @param {string} role
   */
  as(role) {
    if (!role) return this;
    let found = this.made.get(role) ?? null;
    if (!found && this.holds(role)) {
      const maps = this.held.get(role) ?? new Uint8Array(this.maps.length);
      found = new Evolution(this.dataOf(role), maps, this.etag, this, role);
      // The measures are those of the classes explained; drift can be taken from the maps here.
      found.steps.forEach((step, i) => (step.drift = i ? found?.driftsAt(i) : null));
      this.made.set(role, found);
    }
    return found;
  }

  /**
   * The data with the numbers of a role, and without those that only the classes explained have.
   *
   * @param {string} role
   * @returns {SeriesData}
   */
  dataOf(role) {
    const unknown = Object.fromEntries(this.measures.map(({ name }) => [name, null]));
    const steps = this.steps.map((step) => ({
      ...step,
      ...unknown,
      ...(step.also[role] ?? NOTHING),
    }));
    return { ...this.data, steps, measures: this.measures.filter(({ name }) => name === "drift") };
  }

  /**
   * How far each map is from the one at the step before.
   *
   * @param {number} step
   */
  driftsAt(step) {
    return this.probes.map((_, probe) =>
      driftBetween(this.map(step - 1, probe), this.map(step, probe)),
    );
  }

  /**
   * The h * w bytes of one map; 255 is its own maximum.
   *
   * @param {number} step
   * @param {number} probe
   */
  map(step, probe) {
    const start = step * this.size + probe * this.cells;
    return this.maps.subarray(start, start + this.cells);
  }

  /**
   * How many of the first maps are, in newer data of the same series, still what they were.
   *
   * @param {SeriesData} data
   */
  stepsKeptIn(data) {
    const here = [this.fingerprint, this.layer, this.shape].map(String);
    const there = [data.fingerprint, data.layer, data.shape].map(String);
    if (here.some((text, i) => text !== there[i])) return 0;
    const changed = this.steps.findIndex(
      ({ step, wall_time }, i) =>
        step !== data.steps[i]?.step || wall_time !== data.steps[i].wall_time,
    );
    return changed < 0 ? this.length : changed;
  }

  /**
   * One number of every probe at one step, or null.
   *
   * @param {string} field
   * @param {number} step
   * @returns {Values|null}
   */
  values(field, step) {
    return /** @type {Values|null} */ (this.steps[step]?.[field] ?? null);
  }

  /**
   * One number of one probe at one step, or null.
   *
   * @param {string} field
   * @param {number} step
   * @param {number} probe
   */
  at(field, step, probe) {
    return this.values(field, step)?.[probe] ?? null;
  }

  /**
   * One number of one probe at every step.
   *
   * @param {string} field
   * @param {number} probe
   */
  curve(field, probe) {
    return this.steps.map((_, step) => this.at(field, step, probe));
  }

  /**
   * The probability of any class of a probe, or null where it was not recorded.
   *
   * @param {number|null} index Of the class.
   * @param {number} step
   * @param {number} probe
   */
  probabilityOf(index, step, probe) {
    const { top, also } = this.steps[step];
    const place = top?.classes[probe].findIndex((one) => one === index) ?? -1;
    if (top && place >= 0) return top.probabilities[probe][place];
    const { classes, probabilities } = this.explained.steps[step];
    const all = [/** @type {Further} */ ({ classes, probabilities }), ...Object.values(also)];
    const found = all.find((one) => index !== null && one.classes?.[probe] === index);
    return found?.probabilities?.[probe] ?? null;
  }

  /**
   * How strong a map is, 0...1, as a number that may be compared over time, which heat may not: its
   * balance; 1 where that is not known.
   *
   * @param {number} step
   * @param {number} probe
   */
  strength(step, probe) {
    return this.at("balance", step, probe) ?? 1;
  }

  /**
   * The strength of the maps whose maximum has the full colour.
   *
   * @param {number} step
   * @param {number} probe
   * @param {string} scale
   */
  full(step, probe, scale) {
    if (scale === "map") return this.strength(step, probe);
    return scale === "probe" ? this.strongest[probe] : this.strongestOfAll;
  }

  /** @param {number|null} index */
  className(index) {
    return index === null ? UNKNOWN : (this.classNames?.[index] ?? `class ${index}`);
  }
}

/** @param {string} address */
function routeOf(address) {
  return address.split("?")[0].split("/").pop();
}

/**
 * The reason that the plugin gives for an error, as a sentence; null where it gives none.
 *
 * @param {string} text
 */
function reasonIn(text) {
  try {
    const { error } = JSON.parse(text);
    return `${error[0].toUpperCase()}${error.slice(1).replace(/[.]$/, "")}.`;
  } catch {
    return null; // TensorBoard itself, or a proxy, answers in plain text
  }
}

/** Data over HTTP, from the plugin's routes beside this module. */
export class Server {
  constructor() {
    this.base = new URL("./", import.meta.url);
    this.live = true;
  }

  /** @param {string} path */
  async ask(path) {
    let response;
    try {
      response = await fetch(new URL(path, this.base));
    } catch {
      throw new Problem(
        "TensorBoard does not answer. Is it still running, and this machine still connected to it?",
      );
    }
    if (response.ok || response.status === 409) return response;
    const said = shorten((await response.text()).trim(), 1000);
    throw new Problem(
      reasonIn(said) ??
        `TensorBoard answered ${response.status} to “${routeOf(path)}”${said ? ` (${said})` : ""}. ` +
          "What went wrong stands in the terminal where it runs.",
    );
  }

  /** @param {Response} response */
  async parsed(response) {
    try {
      return await response.json();
    } catch {
      throw new Problem(
        `The answer to “${routeOf(response.url)}” could not be read. ` +
          "Do the page and TensorBoard have the same version? Reload the page.",
      );
    }
  }

  /** @returns {Promise<{series: SeriesName[], message: string|null}>} */
  async list() {
    return this.parsed(await this.ask("series"));
  }

  /**
   * Load a series; of `known`, an earlier state of it, whatever is still the same is kept.
   *
   * @param {SeriesName} name
   * @param {Evolution|null} known
   * @param {string} role
   */
  async load({ run, tag }, known, role) {
    // A live run may grow between the two requests; then the maps no longer fit the steps.
    for (let tries = 0; tries < 4; tries++) {
      const answer = await this.ask(`data?${new URLSearchParams({ run, tag })}`);
      const etag = answer.headers.get("ETag");
      const same = known && etag && etag === known.etag;
      const evolution = same ? known : await this.newer(await this.parsed(answer), etag, known);
      if (!evolution) continue;
      if (evolution.holds(role)) return evolution;
      const { data, held, length } = evolution;
      const maps = await this.maps(data.also_maps[role], held.get(role), data, length);
      if (!maps) continue;
      held.set(role, maps);
      if (evolution.holds(role)) return evolution;
      throw new Problem(`The heatmaps of “${shorten(role)}” came incomplete. Reload the page.`);
    }
    throw new Problem("The run grows faster than it can be read. Wait a moment and reload.");
  }

  /**
   * A newer state of a series; null where it is not the newest any more.
   *
   * @param {SeriesData} data
   * @param {string|null} etag
   * @param {Evolution|null} known
   */
  async newer(data, etag, known) {
    const kept = known?.stepsKeptIn(data) ?? 0;
    const first = (/** @type {Uint8Array<ArrayBuffer>} */ maps) =>
      maps.subarray(0, kept * (known?.size ?? 0));
    const maps = await this.maps(data.maps, known && first(known.maps), data, data.steps.length);
    if (!maps) return null;
    const evolution = new Evolution(data, maps, etag);
    for (const [role, held] of known?.held ?? []) evolution.held.set(role, first(held));
    return evolution;
  }

  /**
   * The maps at an address; null where the run has changed since the address was given.
   *
   * @param {string} address
   * @param {Uint8Array<ArrayBuffer>|null|undefined} known The first of them, of whole steps.
   * @param {SeriesData} data
   * @param {number} steps How many there are.
   */
  async maps(address, known, { probes, shape }, steps) {
    const kept = (known?.length ?? 0) / (probes.length * shape[0] * shape[1]);
    if (known && kept && kept === steps) return known;
    const response = await this.ask(address + (kept ? `&from=${kept}` : ""));
    if (response.status === 409) return null;
    const fresh = await response.arrayBuffer();
    const maps = known && kept ? await new Blob([known, fresh]).arrayBuffer() : fresh;
    return new Uint8Array(maps);
  }

  /** @param {string} address */
  picture(address) {
    return new URL(address, this.base).href;
  }
}

/**
 * The bytes that an address holds itself.
 *
 * @param {string} address
 */
function contentOf(address) {
  const text = atob(address.slice(address.indexOf(",") + 1));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Data that stands in the page itself: a report. Nothing is ever fetched. */
export class Report {
  /** @param {string} text */
  constructor(text) {
    /** @type {SeriesData[]} */
    this.all = JSON.parse(text).series;
    this.live = false;
  }

  /** @returns {Promise<{series: SeriesName[], message: string|null}>} */
  async list() {
    return { series: this.all.map(({ run, tag }) => ({ run, tag })), message: null };
  }

  /**
   * @param {SeriesName} name One that `list` gave.
   * @param {Evolution|null} known
   * @param {string} role
   */
  async load({ run, tag }, known, role) {
    const data = /** @type {SeriesData} */ (
      this.all.find((series) => series.run === run && series.tag === tag)
    );
    const evolution = known ?? new Evolution(data, contentOf(data.maps));
    if (!evolution.holds(role)) evolution.held.set(role, contentOf(data.also_maps[role]));
    return evolution;
  }

  /** @param {string} address */
  picture(address) {
    return address;
  }
}
