/**
 * What monitors have seen, and the two places it comes from: TensorBoard's server, or the report
 * that the page stands in.
 */

import { driftBetween } from "./maps.js";
import { shownNames } from "./names.js";
import { largest } from "./numbers.js";
import {
  Problem,
  StepMaps,
  anyKnown,
  bytesOf,
  likeliestIn,
  numberAt,
  valuesIn,
  withNumbers,
} from "./steps.js";
import { UNKNOWN, noneOf, shorten } from "./text.js";

/** @import { Region } from "./outlines.js" */
/** @import { ColumnLayout, Piece, Values } from "./steps.js" */

/**
 * The name of a series: what one monitor of one run has written.
 *
 * @typedef {object} SeriesName
 * @property {string} run
 * @property {string} tag
 */

/**
 * What a pass found of a further class of each probe: `maxima`, `classes`, `scores`,
 * `probabilities`, `against`, `regions` and `error`, see Step.
 *
 * @typedef {Record<string, unknown>} Further
 */

/**
 * @typedef {object} StepItself
 * @property {number} step
 * @property {number} epoch
 * @property {number|null} wall_time
 * @property {unknown} top The likeliest classes of each probe, see likeliestIn.
 * @property {Record<string, Further>} also By role.
 * @property {Record<string, number[]>} alarms Which probes are beyond, for each alarm that rings, by
 *   its name.
 */

/**
 * One pass over the probes. Its other fields are the numbers of all probes, or null: `maxima`,
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
 * @property {string} [maps_key] The server's name for exactly these steps.
 * @property {string} [stem] The same of all but the newest.
 */

/**
 * What the server has to say of a series of which an earlier state may be known: `page_news` of the
 * Python package. What does not change with the steps is left out where it is known.
 *
 * @typedef {object} News
 * @property {number} first How many of the first steps are those known.
 * @property {(Record<string, unknown> & {layout: number})[]} steps Those after them, without what the
 *   probes have each.
 * @property {ColumnLayout[][]} layouts What comes apart from a step, by the `layout` it names.
 * @property {Region[]} regions Those after the first `first_region`, which are known.
 * @property {number} first_region
 * @property {string} numbers Address of what comes apart.
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
 * @property {(evolutions: (Evolution|null)[], glanced?: Evolution[]) => void} fill Load the maps of
 *   these that are not here, of those glanced at the ones that are to be seen, and of no others.
 * @property {boolean} waits Whether maps that are to be seen are on their way.
 * @property {Watcher} watcher
 */

/**
 * Who wants to know what became of maps that come later.
 *
 * @typedef {object} Watcher
 * @property {() => void} arrived Some that are to be seen are here.
 * @property {() => void} outdated The run has changed: it must be loaded again.
 * @property {(error: unknown) => void} failed
 */

/** @type {Watcher} */
const NOBODY = { arrived: () => {}, outdated: () => {}, failed: () => {} };

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
 * @property {Map<string, StepMaps>} held Where they are, by role.
 * @property {string} role
 * @property {string} address
 * @property {number} size Bytes of one step.
 */

/**
 * Names a step: of two states of a series those of one name are the same.
 *
 * @param {Record<string, unknown>} step
 */
function stepName({ step, wall_time }) {
  return `${step} ${wall_time}`;
}

/** What one monitor of one run has seen: of the classes explained, or of another role. */
export class Evolution {
  /**
   * @param {SeriesData} data
   * @param {StepMaps} maps Of all steps.
   * @param {string|null} [etag] What the server calls this state of the data.
   * @param {Evolution|null} [explained] That of the classes explained, where this is of a role.
   * @param {string} [role]
   */
  constructor(data, maps, etag = null, explained = null, role = "") {
    const cells = data.shape[0] * data.shape[1];
    this.data = data;
    this.role = role;
    /** @type {Evolution} */
    this.explained = explained ?? this;
    /** The roles that there are maps of. */
    this.roles = Object.keys(data.also_maps);
    /** Those, and "", of which it is known what speaks against them. */
    this.signedRoles = Object.keys(data.against_maps);
    /** @type {Map<string, StepMaps>} Maps of roles asked for. */
    this.held = new Map();
    /** @type {Map<string, StepMaps>} The same of what speaks against them. */
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
    /** @type {Layer[]} */
    const layers = [];
    if (this.roles.includes(role))
      layers.push({ held: this.held, role, address: also_maps[role], size: this.sizeOf(role) });
    if (signed && this.signedRoles.includes(role)) {
      const address = against_maps[role];
      layers.push({ held: this.heldAgainst, role, address, size: this.sizeOf(role) });
    }
    return layers.filter((one) => !one.held.get(role)?.complete);
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
   * Whether the maps of a role are here, those of both signs as far as they were asked for; there are
   * none to wait for where it has no such role.
   *
   * @param {string} role
   * @param {boolean} [signed] Whether both signs are wanted.
   */
  holds(role, signed = false) {
    return this.missing(role, signed).every(
      ({ held }) => held === this.heldAgainst && held.has(role),
    );
  }

  /**
   * Whether the maps of a step are here, of all signs that are shown.
   *
   * @param {number} step
   * @param {boolean} signed Whether both signs are.
   */
  arrived(step, signed) {
    const against = signed ? this.explained.heldAgainst.get(this.role) : null;
    return this.maps.has(step) && against?.has(step) !== false;
  }

  /**
   * Whether those of all steps are.
   *
   * @param {boolean} signed Whether both signs are shown.
   */
  complete(signed) {
    const against = signed ? this.explained.heldAgainst.get(this.role) : null;
    return this.maps.complete && against?.complete !== false;
  }

  /**
   * Ask for the maps of a step.
   *
   * @param {number} step
   * @param {boolean} signed Whether both signs are shown.
   */
  wish(step, signed) {
    this.maps.at(step);
    if (signed) this.explained.heldAgainst.get(this.role)?.at(step);
  }

  /**
   * The same of all steps.
   *
   * @param {boolean} signed Whether both signs are shown.
   */
  wishAll(signed) {
    this.maps.wishAll();
    if (signed) this.explained.heldAgainst.get(this.role)?.wishAll();
  }

  /** The maps that have been begun with, and where the rest of them is. */
  get begun() {
    const { maps, also_maps, against_maps } = this.data;
    return [
      { maps: this.maps, address: maps },
      ...[...this.held].map(([role, held]) => ({ maps: held, address: also_maps[role] })),
      ...[...this.heldAgainst].map(([role, held]) => ({ maps: held, address: against_maps[role] })),
    ];
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
      const none = new Uint8Array(this.probes.length * data.shape[0] * data.shape[1]);
      const empty = () => new StepMaps(none.length, Array(this.length).fill(none));
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
   * The h * w bytes of one map; 255 is its own maximum. While it is not here, zeros: see `arrived`.
   *
   * @param {number} step
   * @param {number} probe
   */
  map(step, probe) {
    return this.maps.at(step).subarray(probe * this.cells, (probe + 1) * this.cells);
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
    return maps.at(step).subarray(probe * this.cells, (probe + 1) * this.cells);
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
   * The maps that are also those of newer data of the same series, each in its new place.
   *
   * @param {StepMaps} maps Of all steps.
   * @param {SeriesData} data
   * @param {string} [role] Whose maps they are.
   */
  keptIn(maps, data, role = "") {
    const shape = (/** @type {SeriesData} */ of) => (role ? of.also_shapes[role] : of.shape);
    const here = [this.fingerprint, this.layer, shape(this.data)].map(String);
    const there = [data.fingerprint, data.layer, shape(data)].map(String);
    const places = new Map(this.steps.map((step, i) => [stepName(step), i]));
    const same = here.every((text, i) => text === there[i]);
    return data.steps.map((step) => {
      const place = same ? places.get(stepName(step)) : undefined;
      return place === undefined ? null : maps.steps[place];
    });
  }

  /**
   * One number of every probe at one step, or null.
   *
   * @param {string} field
   * @param {number} step
   * @returns {Values|null}
   */
  values(field, step) {
    return valuesIn(this.steps[step]?.[field]);
  }

  /**
   * One number of one probe at one step, or null.
   *
   * @param {string} field
   * @param {number} step
   * @param {number} probe
   */
  at(field, step, probe) {
    return numberAt(this.steps[step]?.[field], probe);
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
      found = Int32Array.from(this.steps, (entry, step) => {
        return (last = anyKnown(entry[field]) ? step : last);
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
    const likeliest = this.likeliest(step, probe);
    const place = likeliest?.classes.indexOf(index) ?? -1;
    if (likeliest && place >= 0) return likeliest.probabilities[place];
    const { classes, probabilities } = this.explained.steps[step];
    const all = [{ classes, probabilities }, ...Object.values(this.steps[step].also)];
    const found = all.find((one) => numberAt(one.classes, probe) === index);
    return found ? numberAt(found.probabilities, probe) : null;
  }

  /**
   * The likeliest classes of a probe, the likeliest first; null where they were not recorded.
   *
   * @param {number} step
   * @param {number} probe
   */
  likeliest(step, probe) {
    return likeliestIn(this.steps[step].top, probe);
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

  /**
   * Whether a prediction is the label; "" where that cannot be said.
   *
   * @param {number|null} index Of the class that is predicted.
   * @param {number|null} probe Null where it is not among the probes.
   * @returns {"right"|"wrong"|""}
   */
  verdict(index, probe) {
    const label = probe === null ? null : this.probes[probe].label;
    if (index === null || label === null || this.isMultiLabel) return "";
    return index === label ? "right" : "wrong";
  }
}

/**
 * Stands for a series among others.
 *
 * @param {SeriesName} name
 */
export const seriesKey = ({ run, tag }) => JSON.stringify([run, tag]);

/**
 * Whether news say nothing that is not known.
 *
 * @param {News & {fingerprint?: string, notes?: string[]}} news
 * @param {Evolution} known
 */
function isOld({ first, steps, fingerprint, notes }, known) {
  const same = first === known.length && !steps.length && fingerprint === undefined;
  return same && String(notes) === String(known.notes);
}

/**
 * What a step has of further classes: the numbers that are known, the rest as it is now.
 *
 * @param {Record<string, unknown>} rest
 * @param {Step} [known]
 */
function alsoOf(rest, known) {
  const roles = Object.entries(/** @type {Record<string, Further>} */ (rest.also));
  return Object.fromEntries(roles.map(([role, own]) => [role, { ...known?.also[role], ...own }]));
}

/** How many bytes of series are kept, and about how many the numbers of a probe take at a step. */
const KEPT_BYTES = 2 ** 29;
const BYTES_OF_NUMBERS = 60;

/** How many bytes of numbers are asked for at once. */
const RANGE = 2 ** 22;

/**
 * Places that follow each other, joined as long as what they hold is not too much for one request.
 *
 * @param {number[]} places Ascending.
 * @param {(place: number) => number} size How many bytes one holds.
 */
function rangesOf(places, size) {
  /** @type {(Piece & {bytes: number})[]} */
  const ranges = [];
  for (const place of places) {
    const last = ranges.at(-1);
    const bytes = size(place);
    if (last && last.to === place && last.bytes + bytes <= RANGE) {
      last.to++;
      last.bytes += bytes;
    } else ranges.push({ from: place, to: place + 1, bytes });
  }
  return ranges;
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
    this.watcher = NOBODY;
    /** @type {Map<string, Evolution>} What was loaded last of each series, the latest at the end. */
    this.kept = new Map();
    /** @type {Evolution[]} Whose maps are loaded, those on show. */
    this.filled = [];
    /** @type {Evolution[]} Of which only some steps are to be seen. */
    this.glanced = [];
    this.filling = false;
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
   * Load a series, with the maps of its newest steps, where all of a role are not asked for; of
   * `known`, an earlier state of it, whatever is still the same is kept.
   *
   * @param {SeriesName} name
   * @param {Evolution|null} known
   * @param {string[]|null} roles
   * @param {boolean} signed
   */
  async load({ run, tag }, known, roles, signed) {
    known ??= this.kept.get(seriesKey({ run, tag })) ?? null;
    const keys = [known?.data.maps_key, known?.data.stem].filter(Boolean).join(".");
    // A live run may grow between the two requests; then the maps no longer fit the steps.
    for (let tries = 0; tries < 4; tries++) {
      const answer = await this.ask(`data?${new URLSearchParams({ known: keys, run, tag })}`);
      const etag = answer.headers.get("ETag");
      const same = known && etag && etag === known.etag;
      const evolution = same ? known : await this.newer(await this.parsed(answer), etag, known);
      if (evolution && (await this.begin(evolution, roles, signed))) return this.keep(evolution);
    }
    throw new Problem("The run grows faster than it can be read. Wait a moment and reload.");
  }

  /**
   * Keep a series for when it is asked for again, and as many of those before as there is room for.
   *
   * @param {Evolution} evolution
   */
  keep(evolution) {
    const key = seriesKey(evolution);
    this.kept.delete(key);
    this.kept.set(key, evolution);
    let room = KEPT_BYTES;
    for (const [name, { length, probes, cells }] of [...this.kept].reverse()) {
      room -= length * probes.length * (cells + BYTES_OF_NUMBERS);
      if (room < 0 && name !== key) this.kept.delete(name);
    }
    return evolution;
  }

  /**
   * A newer state of a series; null where it is not the newest any more.
   *
   * @param {SeriesData|News} answer
   * @param {string|null} etag
   * @param {Evolution|null} known
   */
  async newer(answer, etag, known) {
    if ("layouts" in answer && known && isOld(answer, known)) return known;
    const data = "layouts" in answer ? await this.completed(answer, known) : answer;
    if (!data) return null;
    const size = data.probes.length * data.shape[0] * data.shape[1];
    const none = data.steps.map(() => null);
    const maps = new StepMaps(size, known?.keptIn(known.maps, data) ?? none);
    const evolution = new Evolution(data, maps, etag);
    for (const layers of /** @type {const} */ (["held", "heldAgainst"])) {
      for (const [role, held] of known?.[layers] ?? []) {
        const kept = known?.keptIn(held, data, role) ?? none;
        if (role && !evolution.roles.includes(role)) continue;
        evolution[layers].set(role, new StepMaps(evolution.sizeOf(role), kept));
      }
    }
    return evolution;
  }

  /**
   * News together with what is known, and with the numbers of the steps, of which those known are not
   * asked for; null where they are not the newest any more.
   *
   * @param {News} news
   * @param {Evolution|null} known
   * @returns {Promise<SeriesData|null>}
   */
  async completed({ first, steps, layouts, regions, first_region, numbers, ...changed }, known) {
    const data = /** @type {SeriesData} */ ({ ...known?.data, ...changed });
    const probes = data.probes.length;
    const layoutOf = (/** @type {number} */ i) => layouts[steps[i - first].layout];
    const there = new Map(known?.steps.map((step) => [stepName(step) + step.columns, step]));
    data.steps = known?.steps.slice(0, first) ?? [];
    data.regions = [...(known?.data.regions.slice(0, first_region) ?? []), ...regions];
    /** @type {number[]} The places of those whose numbers are to be asked for. */
    const asked = [];
    steps.forEach((rest, i) => {
      const columns = JSON.stringify(layouts[rest.layout]);
      const same = there.get(stepName(rest) + columns);
      if (!same) asked.push(first + i);
      data.steps.push(/** @type {Step} */ ({ ...same, ...rest, columns, also: alsoOf(rest, same) }));
    });
    const size = (/** @type {number} */ i) => bytesOf(layoutOf(i), probes);
    const parts = rangesOf(asked, size).map(async ({ from, to }) => {
      const bytes = await this.bytes(numbers, { from, to }, data.steps.length);
      if (!bytes) return false;
      let offset = 0;
      for (let i = from; i < to; i++) {
        const whole = withNumbers(data.steps[i], layoutOf(i), probes, bytes.buffer, offset);
        data.steps[i] = /** @type {Step} */ (whole);
        offset += size(i);
      }
      return true;
    });
    return (await Promise.all(parts)).every(Boolean) ? data : null;
  }

  /**
   * Load of the layers that are to be seen what is shown first, and all of further roles; false where
   * the run has changed.
   *
   * @param {Evolution} evolution
   * @param {string[]|null} roles
   * @param {boolean} signed
   */
  async begin(evolution, roles, signed) {
    const asked = evolution.named(roles);
    for (const { held, role, size } of asked.flatMap((role) => evolution.missing(role, signed)))
      if (!held.has(role)) held.set(role, new StepMaps(size, Array(evolution.length).fill(null)));
    const whole = asked.map((role) => evolution.held.get(role));
    for (const { maps, address } of evolution.begun) {
      const last = evolution.length - 1;
      const wanted = () => (whole.includes(maps) ? maps.next() : maps.has(last) ? null : maps.pieceAt(last));
      for (let piece = wanted(); piece; piece = wanted())
        if ((await this.piece(evolution, maps, address, piece)) === null) return false;
    }
    return true;
  }

  /**
   * @param {(Evolution|null)[]} evolutions
   * @param {Evolution[]} [glanced]
   */
  fill(evolutions, glanced = []) {
    this.filled = evolutions.filter((one) => one !== null);
    this.glanced = glanced;
    if (!this.filling && this.next()) this.pump();
  }

  get waits() {
    return this.filled.some(({ begun }) => begun.some(({ maps }) => maps.wished.size));
  }

  /** Load what is missing, piece by piece, first what somebody waits for. */
  async pump() {
    this.filling = true;
    try {
      for (let next = this.next(); next; next = this.next()) {
        const { evolution, maps, address, piece } = next;
        const waited = await this.piece(evolution, maps, address, piece);
        if (waited) this.watcher.arrived();
        if (waited !== null) continue;
        this.filled = this.filled.filter((one) => one !== evolution);
        this.glanced = this.glanced.filter((one) => one !== evolution);
        this.watcher.outdated();
      }
    } catch (error) {
      this.filled = this.glanced = [];
      this.watcher.failed(error);
    }
    this.filling = false;
  }

  /** What is to be asked for next, if anything. */
  next() {
    const open = [...this.filled, ...this.glanced].flatMap((evolution) =>
      evolution.begun
        .map((one) => ({ evolution, ...one }))
        .filter(({ maps }) => maps.wished.size || (!maps.complete && this.filled.includes(evolution))),
    );
    const found = open.find(({ maps }) => maps.wished.size) ?? open[0];
    const piece = found?.maps.next();
    return piece ? { ...found, piece } : null;
  }

  /**
   * Load a piece of an evolution's maps, and tell whether anybody has waited for it; null where the
   * run has changed since the address was given.
   *
   * @param {Evolution} evolution
   * @param {StepMaps} maps
   * @param {string} address
   * @param {Piece} piece
   */
  async piece({ length, run }, maps, address, piece) {
    const bytes = await this.bytes(address, piece, length);
    return bytes && maps.take(piece, bytes, run);
  }

  /**
   * What an address has of some steps; null where the run has changed since it was given.
   *
   * @param {string} address
   * @param {Piece} piece
   * @param {number} steps How many there are.
   */
  async bytes(address, { from, to }, steps) {
    const part = (from ? `&from=${from}` : "") + (to < steps ? `&to=${to}` : "");
    const response = await this.ask(address + part);
    return response.status === 409 ? null : new Uint8Array(await response.arrayBuffer());
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
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Data that stands in the page itself: a report. Nothing is ever fetched. */
export class Report {
  /** @param {string} text */
  constructor(text) {
    /** @type {SeriesData[]} */
    this.all = JSON.parse(text).series;
    this.live = false;
    this.waits = false;
    this.watcher = NOBODY;
  }

  fill() {}

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
    const count = data.steps.length;
    const maps = (/** @type {string} */ address, /** @type {number} */ size) =>
      StepMaps.whole(contentOf(address), size, count, run);
    const size = data.probes.length * data.shape[0] * data.shape[1];
    const evolution = known ?? new Evolution(data, maps(data.maps, size));
    for (const layer of evolution.named(roles).flatMap((role) => evolution.missing(role, signed)))
      layer.held.set(layer.role, maps(layer.address, layer.size));
    return evolution;
  }

  /** @param {string} address */
  picture(address) {
    return address;
  }
}
