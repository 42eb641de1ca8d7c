/**
 * What monitors have seen, and the two places it comes from: TensorBoard's server, or the report
 * that the page stands in.
 */

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
 * One pass over the probes. Its other fields are Values, or null where there are none: `maxima`,
 * `classes`, `scores`, `predicted`, `probabilities`, and one for each measure, by its name.
 *
 * @typedef {{step: number, epoch: number, wall_time: number|null} & Record<string, unknown>} Step
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
 */

/**
 * Where series come from.
 *
 * @typedef {object} Source
 * @property {boolean} live Whether there may be more of them later.
 * @property {() => Promise<{series: SeriesName[], message: string|null}>} list
 * @property {(name: SeriesName, known: Evolution|null) => Promise<Evolution>} load
 * @property {(address: string) => string} picture The address at which a picture can be loaded.
 */

/** Something the user has to know about, in words. */
export class Problem extends Error {}

/** What one monitor of one run has seen. */
export class Evolution {
  /**
   * @param {SeriesData} data
   * @param {Uint8Array<ArrayBuffer>} maps All maps of all steps.
   * @param {string|null} [etag] What the server calls this state of the data.
   */
  constructor(data, maps, etag = null) {
    const cells = data.shape[0] * data.shape[1];
    const size = data.probes.length * cells;
    if (maps.length !== data.steps.length * size) {
      throw new Problem(
        `The heatmaps of “${shorten(data.run)}” came incomplete: ` +
          `${whole(maps.length)} bytes of ${whole(data.steps.length * size)}.`,
      );
    }
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
    this.peaks = data.probes.map((_, probe) => largest(this.curve("maxima", probe)));
    this.peak = largest(this.peaks);
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
   * What 100 % of the colour scale stands for, in units of heat.
   *
   * @param {number} step
   * @param {number} probe
   * @param {string} scale
   */
  full(step, probe, scale) {
    if (scale === "map") return this.at("maxima", step, probe) ?? 0;
    return scale === "probe" ? this.peaks[probe] : this.peak;
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
   */
  async load({ run, tag }, known) {
    // A live run may grow between the two requests; then the maps no longer fit the steps.
    for (let tries = 0; tries < 4; tries++) {
      const answer = await this.ask(`data?${new URLSearchParams({ run, tag })}`);
      const etag = answer.headers.get("ETag");
      if (known && etag && etag === known.etag) return known;
      /** @type {SeriesData} */
      const data = await this.parsed(answer);
      const kept = known?.stepsKeptIn(data) ?? 0;
      const old = known ? known.maps.subarray(0, kept * known.size) : new Uint8Array();
      if (kept && kept === data.steps.length) return new Evolution(data, old, etag);
      const response = await this.ask(data.maps + (kept ? `&from=${kept}` : ""));
      if (response.status === 409) continue;
      const fresh = await response.arrayBuffer();
      const maps = kept ? await new Blob([old, fresh]).arrayBuffer() : fresh;
      return new Evolution(data, new Uint8Array(maps), etag);
    }
    throw new Problem("The run grows faster than it can be read. Wait a moment and reload.");
  }

  /** @param {string} address */
  picture(address) {
    return new URL(address, this.base).href;
  }
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
   */
  async load({ run, tag }, known) {
    if (known) return known;
    const data = /** @type {SeriesData} */ (
      this.all.find((series) => series.run === run && series.tag === tag)
    );
    const text = atob(data.maps.slice(data.maps.indexOf(",") + 1));
    return new Evolution(
      data,
      Uint8Array.from(text, (character) => character.charCodeAt(0)),
    );
  }

  /** @param {string} address */
  picture(address) {
    return address;
  }
}
