/**
 * What is to be shown, complete and read-only: made anew for every drawing, and all that a view
 * knows. What a view can do are three verbs; whatever follows from them comes back as a new scene.
 */

import { MOST_AGAINST, MOST_FOR, colorTables } from "./colors.js";
import { CONTOURS, drawContours } from "./contours.js";
import { driftBetween, interpolate } from "./maps.js";
import { largest, nearestIndex } from "./numbers.js";
import { drawOverlay } from "./pictures.js";
import { isOfClass } from "./roles.js";

/** @import { Evolution, SeriesName } from "./data.js" */
/** @import { How } from "./looks.js" */
/** @import { Picture, Pictures } from "./pictures.js" */
/** @import { State } from "./state.js" */

/**
 * @typedef {"a"|"b"} SideName
 */

/**
 * What a view can do.
 *
 * @typedef {object} Verbs
 * @property {(changes?: Partial<State>) => void} show Change what is shown; without changes, draw
 *   once more.
 * @property {(side: SideName, index: number) => void} seek Go to a step of A or B, and stop playing.
 * @property {() => void} play Start playing, or stop.
 */

/** An evolution at one step, and the probe that stands at each of A's places. */
export class Side {
  /**
   * @param {Evolution} evolution
   * @param {number} index Of the step.
   * @param {Evolution|null} [partner] That of A, where this is B.
   */
  constructor(evolution, index, partner = null) {
    this.evolution = evolution;
    this.index = index;
    this.entry = evolution.steps[index];
    /** @type {(number|null)[]|null} */
    this.places = null;
    // The same probe set has the same places; another set is matched by name.
    if (partner && partner.fingerprint !== evolution.fingerprint) {
      const places = new Map(evolution.probes.map(({ name }, place) => [name, place]));
      this.places = partner.probes.map(({ name }) => places.get(name) ?? null);
    }
  }

  /**
   * The same at another of its steps.
   *
   * @param {number} index
   */
  moved(index) {
    const side = new Side(this.evolution, index);
    side.places = this.places;
    return side;
  }

  /**
   * The same step and probes of another map: of a role, or "" for the classes explained.
   *
   * @param {string} role
   */
  of(role) {
    const evolution = this.evolution.explained.as(role);
    if (!evolution || evolution === this.evolution) return this;
    const side = new Side(evolution, this.index);
    side.places = this.places;
    return side;
  }

  /**
   * Where A's probe stands on this side, or null where it is not among the probes.
   *
   * @param {number} probe
   */
  place(probe) {
    return this.places ? this.places[probe] : probe;
  }

  /**
   * @param {string} field
   * @param {number} probe
   */
  at(field, probe) {
    const place = this.place(probe);
    return place === null ? null : this.evolution.at(field, this.index, place);
  }

  /**
   * The newest number of a probe so far, and the step that it is of: a measure need not be taken in
   * every pass.
   *
   * @param {string} field
   * @param {number} probe
   * @returns {{value: number|null, index: number}}
   */
  newest(field, probe) {
    const { evolution, index } = this;
    const at = evolution.newest(field)[index];
    const place = this.place(probe);
    if (place === null || at < 0) return { value: null, index };
    return { value: evolution.at(field, at, place), index: at };
  }

  /**
   * Whether a number was known of any probe, at this step or before.
   *
   * @param {string} field
   */
  knows(field) {
    return this.evolution.newest(field)[this.index] >= 0;
  }

  /**
   * Whether the map of a probe has no heat at a step.
   *
   * @param {number} index Of the step.
   * @param {number} probe
   */
  isCold(index, probe) {
    const place = this.place(probe);
    return place !== null && this.evolution.at("maxima", index, place) === 0;
  }

  /**
   * The probability of a class, whether it is the one shown or not.
   *
   * @param {number|null} index Of the class.
   * @param {number} probe
   */
  probabilityOf(index, probe) {
    const place = this.place(probe);
    return place === null ? null : this.evolution.probabilityOf(index, this.index, place);
  }

  /**
   * The map of a probe that has a place.
   *
   * @param {number} probe
   */
  map(probe) {
    return this.evolution.map(this.index, this.place(probe) ?? 0);
  }

  /**
   * The same of what speaks against the class; null where that is not known.
   *
   * @param {number} probe
   */
  mapAgainst(probe) {
    return this.evolution.mapAgainst(this.index, this.place(probe) ?? 0);
  }

  /**
   * The region that is explained, if it is not the whole image.
   *
   * @param {number} probe
   */
  region(probe) {
    const place = this.place(probe);
    return place === null ? null : this.evolution.region(this.index, place);
  }

  /**
   * The largest heat of a probe in units of the score. Heat itself is a share of the score of its own
   * class: of two classes it cannot be compared. Null where that is not known.
   *
   * @param {number} probe
   * @param {boolean} signed Whether what speaks against the class counts, too.
   */
  evidence(probe, signed) {
    const [most, score] = [this.at("maxima", probe), this.at("scores", probe)];
    if (most === null || score === null) return null;
    const against = signed ? (this.at("against", probe) ?? 0) : 0;
    return Math.max(most, against) * Math.abs(score);
  }

  /**
   * How strong the map of a probe is; 0 where it has no place.
   *
   * @param {number} probe
   */
  strength(probe) {
    const place = this.place(probe);
    return place === null ? 0 : this.evolution.strength(this.index, place);
  }

  /**
   * What 100 % of the colour scale stands for on this side; 0 where the probe has no place.
   *
   * @param {number} probe
   * @param {string} scale
   */
  full(probe, scale) {
    const place = this.place(probe);
    return place === null ? 0 : this.evolution.full(this.index, place, scale);
  }
}

/**
 * 1 - cosine between the two sides' maps of a probe, or null where they cannot be compared.
 *
 * @param {Side} a
 * @param {Side} b
 * @param {number} probe
 */
export function driftFrom(a, b, probe) {
  const [same, other] = [a.evolution.shape, b.evolution.shape];
  if (b.place(probe) === null || same[0] !== other[0] || same[1] !== other[1]) return null;
  return driftBetween(a.map(probe), b.map(probe));
}

/**
 * @param {number} share
 * @param {number} [least]
 */
function clip(share, least = 0) {
  return share < least ? least : share > 1 ? 1 : share;
}

/**
 * @typedef {object} SceneParts
 * @property {State} state
 * @property {Side} a
 * @property {Side|null} b Null where nothing is compared.
 * @property {Side[]} [others] Further runs, at the steps nearest to A's.
 * @property {number[]} order The probes in the gallery, in their order there.
 * @property {SeriesName[]} series All that can be chosen.
 * @property {number} [hidden] How many more there are that TensorBoard does not show.
 * @property {Pictures} pictures
 * @property {boolean} playing
 * @property {string} role Whose maps are shown; "" for the classes explained.
 * @property {string[]} [roles] Whose maps stand beside each other, "" among them; none where they do
 *   not.
 * @property {boolean} signed Whether both signs are shown: also what speaks against the classes.
 * @property {boolean} tied Whether B's step is A's: two runs that move together.
 */

/** The state, both sides, colours and scale; and how heat is drawn with them. */
export class Scene {
  /** @param {SceneParts} parts */
  constructor(parts) {
    const { state, a, b, order, series, pictures, playing, role, signed, tied } = parts;
    this.state = state;
    this.a = a;
    this.b = b;
    this.others = parts.others ?? [];
    this.order = order;
    this.series = series;
    this.hidden = parts.hidden ?? 0;
    this.pictures = pictures;
    this.playing = playing;
    this.role = role;
    this.roles = parts.roles ?? [];
    this.signed = signed;
    this.tied = tied;
    this.compare = b ? state.compare : "off";
    this.scale = state.scale || a.evolution.scale;
    this.tables = colorTables(state.colors, Number(state.opacity) / 100);
    /** The probe that is shown large, or null. */
    this.probe =
      state.probe && a.evolution.probes[Number(state.probe)] ? Number(state.probe) : null;
    Object.freeze(this);
  }

  /**
   * The same scene with A at another of its steps, and B with it where they move together.
   *
   * @param {number} index
   */
  at(index) {
    const { a, b, others, tied } = this;
    const step = a.evolution.numbers[index];
    const along = (/** @type {Side} */ side) =>
      side.moved(nearestIndex(side.evolution.numbers, step));
    const beside = b && tied ? along(b) : b;
    return new Scene({ ...this, a: a.moved(index), b: beside, others: others.map(along) });
  }

  /** All of them: A, B where there is one, and the further runs. */
  get sides() {
    return [this.a, ...(this.b ? [this.b] : []), ...this.others];
  }

  /**
   * Whether a probe is compared with one that B does not have.
   *
   * @param {number} probe
   */
  lacks(probe) {
    return this.b !== null && this.b.place(probe) === null;
  }

  /**
   * 1 - cosine between A's and B's map of a probe.
   *
   * @param {number} probe
   */
  drift(probe) {
    return this.b && driftFrom(this.a, this.b, probe);
  }

  /**
   * Share of the colour scale that the largest value of a map, of either sign, stands for.
   *
   * @param {Side} side
   * @param {number} probe
   */
  share(side, probe) {
    // On its own scale a map has the full colour, however little speaks for the class.
    if (this.hasOwnScale(side.evolution.role)) return 1;
    // Runs side by side share one scale: otherwise the same colour would mean different heat.
    const full = largest(this.sides.map((one) => one.full(probe, this.scale)));
    const shown = this.roles.length ? side.of("") : side;
    return full > 0 ? (shown.strength(probe) / full) * this.portion(side, probe) : 0;
  }

  /**
   * Whether full colour is the largest value of each map of a role, whatever scale is chosen: the
   * heat of another layer cannot be compared.
   *
   * @param {string} role
   */
  hasOwnScale(role) {
    return this.scale === "map" || (this.roles.length > 0 && !isOfClass(role));
  }

  /**
   * How strong the map of a class is beside that of the class for which most speaks, 0...1, where
   * several are shown: the same colour is the same evidence.
   *
   * @param {Side} side
   * @param {number} probe
   */
  portion(side, probe) {
    const own = this.roles.length ? side.evidence(probe, this.signed) : null;
    if (own === null) return 1;
    const found = this.roles
      .filter(isOfClass)
      .map((role) => side.of(role).evidence(probe, this.signed) ?? 0);
    const most = largest(found);
    return most > 0 ? own / most : 1;
  }

  /**
   * The cells of one side's map of a probe as shares of the colour scale; below 0 is what speaks
   * against the class, where both signs are shown.
   *
   * @param {Side} side
   * @param {number} probe
   */
  cells(side, probe) {
    const map = side.map(probe);
    const against = this.signed ? side.mapAgainst(probe) : null;
    const most = side.at("maxima", probe) ?? 0;
    const mostAgainst = against ? (side.at("against", probe) ?? 0) : 0;
    const largest = Math.max(most, mostAgainst);
    const unit = largest > 0 ? this.share(side, probe) / largest / 255 : 0;
    const cells = new Float32Array(map.length);
    for (let i = 0; i < map.length; i++) cells[i] = map[i] * most * unit;
    if (against) for (let i = 0; i < map.length; i++) cells[i] -= against[i] * mostAgainst * unit;
    return cells;
  }

  /**
   * The same, enlarged.
   *
   * @param {Side} side
   * @param {number} probe
   * @param {number} height
   * @param {number} width
   */
  shares(side, probe, height, width) {
    const [h, w] = side.evolution.shape;
    return interpolate(this.cells(side, probe), h, w, height, width);
  }

  /**
   * Whether the maps that one side shows are here: they come as they are needed.
   *
   * @param {Side} side
   */
  arrived({ evolution, index }) {
    const arrived = evolution.arrived(index, this.signed);
    if (!arrived) evolution.wish(index, this.signed);
    return arrived;
  }

  /**
   * Whether all maps that are shown are here.
   *
   * @param {boolean} ofAllSteps Or those of all steps.
   */
  holds(ofAllSteps) {
    const shown = this.sides.flatMap((side) =>
      this.roles.length ? this.roles.map((role) => side.of(role)) : [side],
    );
    return shown
      .map((side) => (ofAllSteps ? side.evolution.complete(this.signed) : this.arrived(side)))
      .every(Boolean);
  }

  /**
   * Draw one side's map of a probe.
   *
   * @param {HTMLCanvasElement} canvas
   * @param {Picture} picture
   * @param {number} longest Longest side of the canvas.
   * @param {Side} side
   * @param {number} probe
   * @param {How} [how]
   */
  overlay(canvas, picture, longest, side, probe, { look = "overlay", view } = {}) {
    // No heat, and faint, rather than none that looks like it.
    const arrived = look === "original" || this.arrived(side);
    canvas.classList.toggle("waiting", !arrived);
    const region = side.region(probe);
    const tables = look === "heat" ? this.tables.bare : this.tables;
    const table = this.signed ? tables.signed : tables.heat;
    const [zero, scale] = this.signed ? [128, 127.5] : [0.5, 255];
    const fill = (
      /** @type {number} */ height,
      /** @type {number} */ width,
      /** @type {Uint32Array} */ pixels,
    ) => {
      const values = this.shares(side, probe, height, width);
      for (let i = 0; i < pixels.length; i++) {
        const level = values[i] * scale + zero;
        pixels[i] = table[level < 0 ? 0 : level > 255 ? 255 : level | 0];
      }
    };
    const trace = (
      /** @type {CanvasRenderingContext2D} */ context,
      /** @type {number} */ height,
      /** @type {number} */ width,
    ) => {
      const values = this.shares(side, probe, height, width);
      drawContours(context, { values, height, width }, this.contours, view?.scale ?? 1);
    };
    const heated = arrived && (look === "overlay" || look === "heat");
    drawOverlay(canvas, picture, longest, heated ? fill : null, {
      ground: look === "heat" ? "nothing" : "picture",
      region,
      view,
      trace: arrived && look === "contour" ? trace : null,
    });
  }

  /** The lines that maps are drawn as: of both signs in their own colours, where both are shown. */
  get contours() {
    if (!this.signed) return CONTOURS.map((one) => ({ ...one, color: "#fff" }));
    return CONTOURS.flatMap(({ level, wide }) => [
      { level, wide, color: MOST_FOR },
      { level: -level, wide, color: MOST_AGAINST },
    ]);
  }

  /**
   * Draw the place of a picture that there is no map for.
   *
   * @param {HTMLCanvasElement} canvas
   * @param {Picture} picture
   * @param {number} longest Longest side of the canvas.
   */
  nothing(canvas, picture, longest) {
    drawOverlay(canvas, picture, longest, (_height, _width, pixels) => pixels.fill(0));
    canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
  }

  /**
   * Draw what A has more (amber) or less (blue) than B.
   *
   * @param {HTMLCanvasElement} canvas
   * @param {Picture} picture
   * @param {number} longest Longest side of the canvas.
   * @param {Side} b
   * @param {number} probe
   * @param {number} full The difference that has the full colour, in shares of the colour scale.
   * @param {How} [how]
   */
  difference(canvas, picture, longest, b, probe, full, { look = "overlay", view } = {}) {
    const sides = [this.a.of(b.evolution.role), b];
    const fill = (
      /** @type {number} */ height,
      /** @type {number} */ width,
      /** @type {Uint32Array} */ pixels,
    ) => {
      const [ofA, ofB] = sides.map((side) => this.shares(side, probe, height, width));
      const table = this.tables.difference;
      const least = this.signed ? -1 : 0;
      for (let i = 0; i < pixels.length; i++) {
        const more = clip((clip(ofA[i], least) - clip(ofB[i], least)) / full, -1);
        pixels[i] = table[Math.round(127.5 + 127.5 * more)];
      }
    };
    const region = this.a.region(probe);
    const original = look === "original";
    // Of the largest difference of all steps, which is full colour, nothing is known before.
    const lacking = sides.filter(({ evolution }) => !evolution.complete(this.signed));
    if (!original) for (const { evolution } of lacking) evolution.wishAll(this.signed);
    const arrived = original || !lacking.length;
    canvas.classList.toggle("waiting", !arrived);
    const ground = original ? "picture" : look === "heat" ? "ground" : "pale";
    drawOverlay(canvas, picture, longest, original || !arrived ? null : fill, { ground, region, view });
  }
}
