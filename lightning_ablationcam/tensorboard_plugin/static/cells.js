/**
 * What single cells of a map say: the map's own, not those of the picture that they were enlarged to.
 */

import { ofScale, signedOfScale } from "./differences.js";
import { number } from "./text.js";

/** @import { Scene, Side } from "./scene.js" */

/**
 * A place in a picture, in shares of its width and height.
 *
 * @typedef {{x: number, y: number}} Spot
 */

/**
 * The cell of a side's maps at a place.
 *
 * @param {Side} side
 * @param {Spot} spot
 */
export function cellAt({ evolution: { shape } }, { x, y }) {
  const [rows, columns] = shape;
  const within = (/** @type {number} */ share, /** @type {number} */ count) =>
    Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  const [row, column] = [within(y, rows), within(x, columns)];
  return { row, column, rows, columns, index: row * columns + column };
}

/**
 * Where a cell is, counted from the top left.
 *
 * @param {Side} side
 * @param {Spot} spot
 */
function placeText(side, spot) {
  const { row, column, rows, columns } = cellAt(side, spot);
  return `Row ${row + 1} of ${rows}, column ${column + 1} of ${columns}`;
}

/**
 * What a side's map says at a place, of its own largest value.
 *
 * @param {Scene} scene
 * @param {Side} side
 * @param {number} probe
 * @param {Spot} spot
 */
export function cellText(scene, side, probe, spot) {
  const where = placeText(side, spot);
  const { index } = cellAt(side, spot);
  const against = scene.signed ? side.mapAgainst(probe) : null;
  const most = side.at("maxima", probe);
  if (most === null) return `${where}: nothing recorded`;
  const mostAgainst = against ? (side.at("against", probe) ?? 0) : 0;
  const largest = Math.max(most, mostAgainst);
  if (!largest) return `${where}: no heat in this map`;
  if (!side.evolution.arrived(side.index, scene.signed)) return `${where}: on its way`;
  const level = side.map(probe)[index] * most - (against?.[index] ?? 0) * mostAgainst;
  const value = level / 255;
  if (!against) return `${where}: ${ofScale(value / largest)} of this map's maximum (${number(value)})`;
  const direction = value < 0 ? " against the class" : value > 0 ? " for the class" : "";
  const share = ofScale(value / largest);
  return `${where}: ${share} of this map's largest value${direction} (${number(value)})`;
}

/**
 * What A has more or less than another side at a place, as the difference map draws it.
 *
 * @param {Scene} scene
 * @param {Side} b The other side.
 * @param {number} probe
 * @param {Spot} spot
 * @param {string} name What the other side is called.
 */
export function differenceText(scene, b, probe, spot, name) {
  const a = scene.a.of(b.evolution.role);
  if (String(a.evolution.shape) !== String(b.evolution.shape))
    return `A and ${name} have other cells: no cell is in both`;
  if (![a, b].every(({ evolution, index }) => evolution.arrived(index, scene.signed)))
    return "On its way";
  const least = scene.signed ? -1 : 0;
  const [ofA, ofB] = [a, b].map((side) => {
    const share = scene.cells(side, probe)[cellAt(side, spot).index];
    return Math.min(1, Math.max(least, share));
  });
  const text = scene.signed ? signedOfScale : ofScale;
  return `${placeText(a, spot)}: ${signedOfScale(ofA - ofB)} (A ${text(ofA)}, ${name} ${text(ofB)} of the full colour)`;
}
