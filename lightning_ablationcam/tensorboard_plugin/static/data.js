/**
 * What monitors have seen, and the two places it comes from: TensorBoard's server, or the report
 * that the page stands in.
 */

import { driftBetween } from "./maps.js";
import { shownNames } from "./names.js";
import { largest } from "./numbers.js";
import { UNKNOWN, noneOf, shorten, whole } from "./text.js";

/** @import { Region } from "./outlines.js" */

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
 * What a pass found of a further class of each probe: `maxima`, `classes`, `scores`,
 * `probabilities`, `against`, `regions` and `error`, see Step.
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
 * @property {Record<string, number[]>} alarms Which probes are beyond, for each alarm that rings, by
 *   its name.
 */

/**
 * One pass over the probes. Its other fields are Values, or null where there are none: `maxima`,
 * `classes` (-1 for none), `scores`, `predicted`, `probabilities`, `against` (the maxima of what
 * speaks against the classes), `regions` (places in the list of them), and one for each measure, by
 * its name.
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
 * @property {number|null} high Null where there is no greatest value.
 * @property {boolean} percent
 * @property {string} unit
 * @property {string} group The heading under which it stands.
 * @property {string} hint
 * @property {string} worse Which of its values are those to worry about, the "high" or the "low";
 *   empty where that may be either.
 */

/**
 * When the values of a measure ring an alarm: an AlarmRecord of the Python package.
 *
 * @typedef {object} AlarmRule
 * @property {string} name
 * @property {string} measure
 * @property {number|null} above
 * @property {number|null} below
 * @property {number} for_passes
 * @property {string} of "mean" or "any".
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
 * @property {string|null} task What the model is for, such as "regression".
 * @property {{name: string, label: number|null, text: string|null}[]} probes A label is the index of
 *   a class, or a text.
 * @property {string[]|null} class_names
 * @property {Axis[]} measures
 * @property {AlarmRule[]} alarms
 * @property {[number, number]} shape Height and width of a map.
 * @property {Record<string, [number, number]>} also_shapes Of the maps of further classes, by role.
 * @property {Region[]} regions
 * @property {Step[]} steps
 * @property {string[]} notes
 * @property {string[]} pictures Address of each probe's picture.
 * @property {string} maps Address of the maps.
 * @property {Record<string, string>} also_maps Address of the maps of each further class, by role.
 * @property {Record<string, string>} against_maps Address of the maps of what speaks against the
 *   classes, by role, "" for the classes explained.
 */

/**
 * Where series come from.
 *
 * @typedef {object} Source
 * @property {boolean} live Whether there may be more of them later.
 * @property {() => Promise<{series: SeriesName[], message: string|null}>} list
 * @property {(name: SeriesName, known: Evolution|null, roles: string[]|null, signed: boolean) =>
 *   Promise<Evolution>} load With the maps of these roles, as far as there are such, null for all, and
 *   with what speaks against them, if both signs are wanted.
 * @property {(address: string) => string} picture The address at which a picture can be loaded.
 */

/** Something the user has to know about, in words. */
export class Problem extends Error {}

/** What is not known of a role at a step that has none of it. */
const NOTHING = {
  maxima: null,
  classes: null,
  scores: null,
  probabilities: null,
  against: null,
  regions: null,
  error: null,
};

/** The measures that are known of a role, too. */
const OF_ROLES = ["drift", "error"];

/** What is explained there is a value: nothing is predicted, and no probability is known. */
const TASKS_WITHOUT_CLASSES = ["regression", "similarity"];

/**
 * Maps that are asked for apart from the others: of a role, or of what speaks against it.
 *
 * @typedef {object} Layer
 * @property {Map<string, Uint8Array<ArrayBuffer>>} held Where they are, by role.
 * @property {string} role
 * @property {string} address
 * @property {number} size Bytes of one step.
 */

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
    /** Those, and "", of which it is known what speaks against them. */
    this.signedRoles = Object.keys(data.against_maps);
    /** @type {Map<string, Uint8Array<ArrayBuffer>>} Maps of roles asked for, of the first steps. */
    this.held = new Map();
    /** @type {Map<string, Uint8Array<ArrayBuffer>>} The same of what speaks against them. */
    this.heldAgainst = new Map();
    /** @type {Map<string, Evolution>} */
    this.made = new Map();
    this.run = data.run;
    this.tag = data.tag;
    this.fingerprint = data.fingerprint;
    this.layer = data.layer;
    this.scale = data.scale;
    this.score = data.score;
    /** Whether what is explained is a class. */
    this.hasClasses = !TASKS_WITHOUT_CLASSES.includes(data.task ?? "");
    /** Whether a probe may have several classes, so that the likeliest is no prediction of one. */
    this.isMultiLabel = data.task === "multilabel";
    this.probes = data.probes;
    /** What the probes are called here. */
    this.names = shownNames(data);
    this.classNames = data.class_names;
    this.measures = data.measures;
    this.alarms = data.alarms;
    /** @type {Map<string, Int32Array>} Of each field, see newest. */
    this.found = new Map();
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
   * Bytes of the maps of a role at one step.
   *
   * @param {string} role
   */
  sizeOf(role) {
    const [h, w] = role ? this.data.also_shapes[role] : this.data.shape;
    return this.probes.length * h * w;
  }

  /**
   * The layers of maps that are not here, or not of all steps; none where there are no such.
   *
   * @param {string} role
   * @param {boolean} signed Whether both signs are wanted.
   * @returns {Layer[]}
   */
  missing(role, signed) {
    const { also_maps, against_maps } = this.data;
    const layers = [];
    if (this.roles.includes(role))
      layers.push({ held: this.held, role, address: also_maps[role], size: this.sizeOf(role) });
    if (signed && this.signedRoles.includes(role)) {
      const address = against_maps[role];
      layers.push({ held: this.heldAgainst, role, address, size: this.sizeOf(role) });
    }
    return layers.filter((one) => one.held.get(role)?.length !== this.length * one.size);
  }

  /**
   * These roles, or all of them, that of the classes explained among them.
   *
   * @param {string[]|null} roles
   */
  named(roles) {
    return roles ?? ["", ...this.roles];
  }

  /**
   * Whether all maps of a role are here; there are none to wait for where it has no such role.
   *
   * @param {string} role
   * @param {boolean} [signed] Whether both signs are wanted.
   */
  holds(role, signed = false) {
    return !this.missing(role, signed).length;
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
      const data = this.dataOf(role);
      const empty = () =>
        new Uint8Array(this.length * this.probes.length * data.shape[0] * data.shape[1]);
      found = new Evolution(data, this.held.get(role) ?? empty(), this.etag, this, role);
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
    const steps = this.steps.map((step) => {
      const found = Object.hasOwn(step.also, role) ? step.also[role] : NOTHING;
      // Where a role has no region of its own, it is that of the class explained.
      return { ...step, ...unknown, ...found, regions: found.regions ?? step.regions };
    });
    const shape = this.roles.includes(role) ? this.data.also_shapes[role] : this.data.shape;
    const measures = this.measures.filter(({ name }) => OF_ROLES.includes(name));
    return { ...this.data, steps, shape, measures, alarms: [] };
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
   * The same of what speaks against the class; null where that is not known.
   *
   * @param {number} step
   * @param {number} probe
   */
  mapAgainst(step, probe) {
    const maps = this.explained.heldAgainst.get(this.role);
    if (!maps || this.at("against", step, probe) === null) return null;
    const start = step * this.size + probe * this.cells;
    return maps.subarray(start, start + this.cells);
  }

  /**
   * The region that is explained; null where that is the whole image.
   *
   * @param {number} step
   * @param {number} probe
   * @returns {Region|null}
   */
  region(step, probe) {
    return this.data.regions[this.at("regions", step, probe) ?? -1] ?? null;
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
   * For each step the newest one so far at which a field is known of any probe, -1 for none.
   *
   * @param {string} field
   */
  newest(field) {
    let found = this.found.get(field);
    if (!found) {
      let last = -1;
      found = Int32Array.from(this.steps, (_, step) => {
        const known = this.values(field, step)?.some((value) => value !== null) ?? false;
        return (last = known ? step : last);
      });
      this.found.set(field, found);
    }
    return found;
  }

  /**
   * Whether a field is known of any probe at any step.
   *
   * @param {string} field
   */
  knows(field) {
    return this.length > 0 && this.newest(field)[this.length - 1] >= 0;
  }

  /**
   * The steps at which a field is known of any probe: a measure need not be taken in every pass.
   *
   * @param {string} field
   */
  taken(field) {
    return [...this.newest(field)].filter((newest, step) => newest === step && newest >= 0);
  }

  /**
   * The probes that are beyond while an alarm rings, or null while it does not.
   *
   * @param {AlarmRule} rule
   * @param {number} step
   * @returns {number[]|null}
   */
  beyond({ name }, step) {
    const { alarms } = this.steps[step];
    return Object.hasOwn(alarms, name) ? alarms[name] : null;
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
    if (index === null || index < 0) return null;
    const { top, also } = this.steps[step];
    const place = top?.classes[probe].findIndex((one) => one === index) ?? -1;
    if (top && place >= 0) return top.probabilities[probe][place];
    const { classes, probabilities } = this.explained.steps[step];
    const all = [/** @type {Further} */ ({ classes, probabilities }), ...Object.values(also)];
    const found = all.find((one) => one.classes?.[probe] === index);
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
    if (index === null) return UNKNOWN;
    if (index < 0) return noneOf(this.role); // this probe has fewer than others
    return this.classNames?.[index] ?? `class ${index}`;
  }

  /**
   * The label of a probe, in words; null where it has none.
   *
   * @param {number} probe
   */
  labelOf(probe) {
    const { label, text } = this.probes[probe];
    return text ?? (label === null ? null : this.className(label));
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
   * @param {string[]|null} roles
   * @param {boolean} signed
   */
  async load({ run, tag }, known, roles, signed) {
    // A live run may grow between the two requests; then the maps no longer fit the steps.
    for (let tries = 0; tries < 4; tries++) {
      const answer = await this.ask(`data?${new URLSearchParams({ run, tag })}`);
      const etag = answer.headers.get("ETag");
      const same = known && etag && etag === known.etag;
      const evolution = same ? known : await this.newer(await this.parsed(answer), etag, known);
      if (!evolution) continue;
      let current = true;
      const asked = evolution.named(roles);
      const layers = asked.flatMap((role) => evolution.missing(role, signed));
      for (const { held, role, address, size } of layers) {
        const maps = await this.maps(address, held.get(role), size, evolution.length);
        if (!maps) current = false;
        else held.set(role, maps);
      }
      if (!current) continue;
      const lost = asked.find((role) => !evolution.holds(role, signed));
      if (lost === undefined) return evolution;
      throw new Problem(
        `The heatmaps of “${shorten(lost || run)}” came incomplete. Reload the page.`,
      );
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
    const size = data.probes.length * data.shape[0] * data.shape[1];
    const first = known?.maps.subarray(0, kept * size);
    const maps = await this.maps(data.maps, first, size, data.steps.length);
    if (!maps) return null;
    const evolution = new Evolution(data, maps, etag);
    for (const layers of /** @type {const} */ (["held", "heldAgainst"])) {
      for (const [role, held] of known?.[layers] ?? []) {
        if (role && String(known?.data.also_shapes[role]) !== String(data.also_shapes[role]))
          continue;
        evolution[layers].set(role, held.subarray(0, kept * evolution.sizeOf(role)));
      }
    }
    return evolution;
  }

  /**
   * The maps at an address; null where the run has changed since the address was given.
   *
   * @param {string} address
   * @param {Uint8Array<ArrayBuffer>|null|undefined} known The first of them, of whole steps.
   * @param {number} size Bytes of one step.
   * @param {number} steps How many there are.
   */
  async maps(address, known, size, steps) {
    const kept = (known?.length ?? 0) / size;
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
   * @param {string[]|null} roles
   * @param {boolean} signed
   */
  async load({ run, tag }, known, roles, signed) {
    const data = /** @type {SeriesData} */ (
      this.all.find((series) => series.run === run && series.tag === tag)
    );
    const evolution = known ?? new Evolution(data, contentOf(data.maps));
    const layers = evolution.named(roles).flatMap((role) => evolution.missing(role, signed));
    for (const { held, role, address } of layers) held.set(role, contentOf(address));
    return evolution;
  }

  /** @param {string} address */
  picture(address) {
    return address;
  }
}
