/**
 * Which pictures of a probe stand beside each other: on its card, and in the large view.
 */

import { cellText, differenceText } from "./cells.js";
import { comparedWith, fullDifference } from "./differences.js";
import { measureFields } from "./fields.js";
import { isOfClass, roleName } from "./roles.js";
import { seriesOptions } from "./series_list.js";
import { exactness, percent, shorten, whole } from "./text.js";

/** @import { Spot } from "./cells.js" */
/** @import { How } from "./looks.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Scene, Side } from "./scene.js" */

/** The sides' letters, by which their panes are told apart; those of A and B are written, too. */
const LETTERS = "abcdefg";

/** How much of the name of a run or a class a caption has room for. */
const LONGEST_NAME = 60;

/**
 * One of them.
 *
 * @typedef {object} Pane
 * @property {string} kind Tells it from the others.
 * @property {string} label What it is, for those who do not see it.
 * @property {string} caption
 * @property {string} brief The same in the words for which a card has room; "" where its place says
 *   enough.
 * @property {boolean} missing Whether there is nothing to draw: the run lacks the probe or the map.
 * @property {Side} side That whose cells it has.
 * @property {(canvas: HTMLCanvasElement, picture: Picture, longest: number, how?: How) => void} draw
 * @property {(spot: Spot) => string} read What its cell at a place says.
 */

/**
 * Panes in rows: the roles of a run beside each other, or the runs.
 *
 * @typedef {Pane[][]} Rows
 */

/** @param {Side} side */
function stepOf({ entry }) {
  return `Step ${whole(entry.step)}, epoch ${entry.epoch}`;
}

/**
 * The letter of a side, as A and B have one.
 *
 * @param {Scene} scene
 * @param {number} place Among all sides.
 */
function letterOf({ b }, place) {
  return LETTERS[place && !b ? place + 1 : place];
}

/**
 * What a side is called: A or B where they are compared, and its run where there are further ones.
 *
 * @param {Scene} scene
 * @param {number} place Among all sides.
 */
function nameOf(scene, place) {
  const { series, sides, others } = scene;
  const letter = letterOf(scene, place).toUpperCase();
  const words = scene.b && place < 2 ? [letter] : [];
  if (others.length) {
    const { run, tag } = sides[place].evolution;
    const at = series.findIndex((one) => one.run === run && one.tag === tag);
    words.push(shorten(seriesOptions(series)[at]?.[1] ?? run, LONGEST_NAME));
  }
  return words.join(": ");
}

/**
 * The role that a pane shows, or its layer and how fine that is.
 *
 * @param {Scene} scene
 * @param {Side} side Of that role.
 */
function roleOf({ roles }, { evolution: { role, shape, layer } }) {
  // Among layers, that of the classes explained is one of them.
  const isLayer = role ? !isOfClass(role) : roles.some((one) => !isOfClass(one));
  const name = isLayer && !role ? layer : roleName(role);
  return shorten(name, LONGEST_NAME) + (isLayer ? `, ${shape.join(" × ")}` : "");
}

/**
 * The class that a map is of, and how probable that is; "" where what is explained has no name.
 *
 * @param {Side} side
 * @param {number} probe
 */
function explainedBy(side, probe) {
  const { hasClasses, classNames } = side.evolution;
  if (!hasClasses && classNames === null) return "";
  const index = side.at("classes", probe);
  const isKnown = hasClasses && index !== null && index >= 0;
  // A number and its unit stay in one line.
  const share = percent(side.at("probabilities", probe)).replace(" ", "\u00a0");
  return shorten(side.evolution.className(index), LONGEST_NAME) + (isKnown ? ` ${share}` : "");
}

/**
 * The map that a pane shows: its role where several are shown, and the class it is of.
 *
 * @param {Scene} scene
 * @param {Side} side Of that role.
 * @param {number} probe
 */
function mapOf(scene, side, probe) {
  const { role } = side.evolution;
  if (!scene.roles.length) return explainedBy(side, probe);
  const isRecorded = !role || side.at("maxima", probe) !== null || side.at("classes", probe) !== null;
  if (!isRecorded) return `${roleOf(scene, side)}: not recorded at this step`;
  // Layers are asked about the same class.
  const words = [roleOf(scene, side), isOfClass(role) ? explainedBy(side, probe) : ""];
  const isCold = side.at("maxima", probe) === 0 && !(scene.signed && side.at("against", probe));
  return words.filter(Boolean).join(": ") + (isCold ? ", no heat" : "");
}

/**
 * What is measured of a map beside the others, and what its full colour is where that is its own.
 *
 * @param {Scene} scene
 * @param {Side} side
 * @param {number} probe
 */
function measuredOf(scene, side, probe) {
  const { evolution, index } = side;
  const { role } = evolution;
  const words = measureFields(evolution)
    .filter(({ name }) => name === "drift" || name === "error")
    .map(({ name, label, text }) => {
      const value = side.at(name, probe);
      if (name === "error") return exactness(value);
      return index && value !== null ? `${label.toLowerCase()} ${text(value)}` : "";
    });
  if (scene.scale !== "map" && scene.hasOwnScale(role)) words.push("full colour: its own maximum");
  return words.filter(Boolean).join(", ");
}

/**
 * What a pane says of itself.
 *
 * @param {Scene} scene
 * @param {number} place Of the side.
 * @param {Side} side The same, of the pane's role.
 * @param {number} probe
 * @returns {{label: string, caption: string, brief: string, missing: boolean}}
 */
function textsOf(scene, place, side, probe) {
  const { b, others, roles } = scene;
  const { role } = side.evolution;
  const name = nameOf(scene, place);
  const step = stepOf(side);
  const lacksProbe = side.place(probe) === null;
  // Of a single role the picture stands without heat.
  const lacksMap = roles.length > 0 && role !== "" && !side.evolution.roles.includes(role);
  const missing = lacksProbe || lacksMap;
  if (!roles.length && !others.length) {
    const label = place ? "Heatmap of B" : "Heatmap";
    return { label, caption: b ? `${name}: ${step}` : step, brief: "", missing };
  }
  const map = mapOf(scene, side, probe);
  const lost = lacksProbe ? "has no such probe" : `has no map “${shorten(roleName(role))}”`;
  const brief = [name, missing ? lost : map, others.length && !missing ? step : ""];
  const measured = roles.length ? measuredOf(scene, side, probe) : "";
  const caption = missing ? brief : [name, map, measured, step];
  return {
    label: `Heatmap: ${brief.filter(Boolean).join(", ")}`,
    caption: caption.filter(Boolean).join(" · "),
    brief: brief.filter(Boolean).join("\n"),
    missing,
  };
}

/**
 * The overlay of one side.
 *
 * @param {Scene} scene
 * @param {number} place Of the side.
 * @param {string|null} role Null for the one that all panes are of.
 * @param {number} probe
 * @returns {Pane}
 */
function overlayPane(scene, place, role, probe) {
  const given = scene.sides[place];
  const side = role === null ? given : given.of(role);
  const words = textsOf(scene, place, side, probe);
  return {
    kind: letterOf(scene, place) + (role ? `:${role}` : ""),
    ...words,
    side,
    draw: (canvas, picture, longest, how) =>
      words.missing
        ? scene.nothing(canvas, picture, longest)
        : scene.overlay(canvas, picture, longest, side, probe, how),
    read: (spot) => (words.missing ? "" : cellText(scene, side, probe, spot)),
  };
}

/**
 * What A has more or less than another side.
 *
 * @param {Scene} scene
 * @param {number} place Of the other side.
 * @param {string|null} role Null for the one that all panes are of.
 * @param {number} probe
 * @param {number} full The difference that has the full colour.
 * @returns {Pane}
 */
function differencePane(scene, place, role, probe, full) {
  const of = (/** @type {Side} */ side) => (role === null ? side : side.of(role));
  const [a, other] = [of(scene.a), of(scene.sides[place])];
  const ofA = textsOf(scene, 0, a, probe);
  const { missing: isLost, brief } = textsOf(scene, place, other, probe);
  const missing = isLost || ofA.missing;
  const name = nameOf(scene, place);
  const map = role === null ? "" : `${roleOf(scene, a)} · `;
  const letter = place === 1 ? "" : letterOf(scene, place);
  return {
    kind: ["difference", letter, role].filter(Boolean).join(":"),
    label: "Difference map" + (brief && `: A − ${name}`),
    caption: missing
      ? `${map}A − ${name}: ${(isLost ? brief : ofA.brief).split("\n").at(-1)}`
      : `${map}A − ${name}: amber is more in A, blue more in ${name}`,
    brief: brief && `A − ${brief}`,
    missing,
    side: a,
    draw: (canvas, picture, longest, how) =>
      missing
        ? scene.nothing(canvas, picture, longest)
        : scene.difference(canvas, picture, longest, other, probe, full, how),
    read: (spot) =>
      missing ? "" : differenceText(scene, other, probe, spot, place === 1 ? "B" : name),
  };
}

/**
 * Panes of some sides: one row for each where several roles stand beside each other, otherwise one
 * row.
 *
 * @param {Scene} scene
 * @param {number[]} places Of the sides.
 * @param {(place: number, role: string|null) => Pane} make
 * @returns {Rows}
 */
function rowsOf({ roles }, places, make) {
  if (!roles.length) return [places.map((place) => make(place, null))];
  return places.map((place) => roles.map((role) => make(place, role)));
}

/**
 * The places of the sides that A's map of a probe is compared with: where differences are all there is
 * to be seen, also those of further runs.
 *
 * @param {Scene} scene
 * @param {number} probe
 */
function comparedPlaces(scene, probe) {
  const { b, compare, others, sides } = scene;
  if (b && compare === "difference" && others.length) return [...sides.keys()].slice(1);
  return b && !scene.lacks(probe) ? [1] : [];
}

/**
 * Whether a pane is a difference map.
 *
 * @param {Pane} pane
 */
export function isDifference({ kind }) {
  return kind.startsWith("difference");
}

/**
 * The panes of the large view.
 *
 * @param {Scene} scene
 * @param {number} probe
 * @returns {Rows}
 */
export function panesOf(scene, probe) {
  const { others, roles, sides } = scene;
  // Where B alone is missing, A needs no empty place beside it.
  const isAlone = scene.lacks(probe) && !others.length && !roles.length;
  const places = [...(isAlone ? [0] : sides.keys())];
  const rows = rowsOf(scene, places, (place, role) => overlayPane(scene, place, role, probe));
  const compared = comparedPlaces(scene, probe);
  if (!compared.length) return rows;
  const full = fullDifference(scene, comparedWith(scene), [probe]);
  const differences = rowsOf(scene, compared, (place, role) =>
    differencePane(scene, place, role, probe, full),
  );
  if (!roles.length) return [[...rows[0], ...differences[0]]];
  const all = [...rows, ...differences];
  // The longer way goes across: a window is wider than high.
  return all.length > roles.length ? roles.map((_, i) => all.map((row) => row[i])) : all;
}

/**
 * The panes of a card.
 *
 * @param {Scene} scene
 * @param {number} probe
 * @returns {Rows}
 */
export function panesOnCard(scene, probe) {
  const { compare, sides } = scene;
  const places = [...sides.keys()];
  const compared = compare === "difference" ? comparedPlaces(scene, probe) : [];
  if (compared.length) {
    const full = fullDifference(scene, comparedWith(scene), scene.order);
    return rowsOf(scene, compared, (place, role) =>
      differencePane(scene, place, role, probe, full),
    );
  }
  const shown = compare === "difference" ? [0] : places;
  return rowsOf(scene, shown, (place, role) => overlayPane(scene, place, role, probe));
}
