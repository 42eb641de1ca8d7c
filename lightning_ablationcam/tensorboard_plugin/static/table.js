/**
 * The numbers of probes as a table that a spreadsheet takes: one row for each probe, or each step of
 * one, and each side.
 */

import { measureFields, scoreLabel } from "./fields.js";
import { roleName } from "./roles.js";
import { driftFrom } from "./scene.js";

/** @import { Evolution } from "./data.js" */
/** @import { Scene, Side } from "./scene.js" */

/** How far a map is from A's, at the steps that are shown. */
const DRIFT_FROM_A = "Drift from A";

/**
 * A cell as it is copied: numbers in full, what is not known empty.
 *
 * @typedef {string|number|null} Cell
 */

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(side: Side, probe: number) => Cell} cell
 */

/**
 * The sides that are shown, each with every map that stands beside the others.
 *
 * @param {Scene} scene
 */
function sidesIn({ sides, roles }) {
  return sides.flatMap((side) => (roles.length ? roles.map((role) => side.of(role)) : [side]));
}

/**
 * @param {Side} side
 * @param {number|null} index Of a class.
 */
function nameOfClass({ evolution }, index) {
  return index === null ? null : evolution.className(index);
}

/**
 * Whether the prediction is the label; null where that is not known.
 *
 * @param {Side} side
 * @param {number} probe
 */
function verdictInTable(side, probe) {
  return side.evolution.verdict(side.at("predicted", probe), side.place(probe)) || null;
}

/**
 * What is known of a prediction, where there are classes.
 *
 * @param {Scene} scene
 * @returns {Column[]}
 */
function predictionColumns({ a: { evolution } }) {
  if (!evolution.hasClasses) return [];
  const predicted = evolution.isMultiLabel ? "Likeliest" : "Predicted";
  return [
    { title: predicted, cell: (side, probe) => nameOfClass(side, side.at("predicted", probe)) },
    {
      title: `${predicted}: probability`,
      cell: (side, probe) => side.probabilityOf(side.at("predicted", probe), probe),
    },
    { title: "Right or wrong", cell: verdictInTable },
    { title: "Explained", cell: (side, probe) => nameOfClass(side, side.at("classes", probe)) },
    { title: "Explained: probability", cell: (side, probe) => side.at("probabilities", probe) },
  ];
}

/**
 * @param {Scene} scene
 * @returns {Column[]}
 */
function columnsOf(scene) {
  const { a, sides, roles } = scene;
  const fields = new Map(
    sidesIn(scene).flatMap(({ evolution }) =>
      measureFields(evolution).map(({ name, label }) => [name, label]),
    ),
  );
  /** @type {Column[]} */
  const measures = [...fields].map(([name, label]) => ({
    title: label,
    cell: (side, probe) => side.at(name, probe),
  }));
  if (sides.length > 1)
    measures.push({
      title: DRIFT_FROM_A,
      cell: (side, probe) => {
        const first = roles.length ? a.of(side.evolution.role) : a;
        const isA = side.evolution === first.evolution && side.index === first.index;
        return isA ? null : driftFrom(first, side, probe);
      },
    });
  return [
    { title: "Run", cell: ({ evolution }) => evolution.run },
    { title: "Step", cell: ({ entry }) => entry.step },
    { title: "Epoch", cell: ({ entry }) => entry.epoch },
    { title: "Probe", cell: (_, probe) => a.evolution.probes[probe].name },
    ...(roles.length || a.evolution.role
      ? [{ title: "Map", cell: (/** @type {Side} */ { evolution }) => roleName(evolution.role) }]
      : []),
    { title: "Label", cell: (_, probe) => a.evolution.labelOf(probe) },
    ...predictionColumns(scene),
    { title: scoreLabel(a.evolution), cell: (side, probe) => side.at("scores", probe) },
    { title: "Largest heat", cell: (side, probe) => side.at("maxima", probe) },
    ...measures,
  ];
}

/**
 * Text that is neither a formula to a spreadsheet nor more than one cell: names come from files that
 * nobody vouches for.
 *
 * @param {Cell} cell
 */
function written(cell) {
  if (typeof cell === "number") return String(cell);
  const text = (cell ?? "").replace(/\s+/g, " ");
  return /^[=+\-@]/.test(text) ? `'${text}` : text;
}

/** @param {Cell[][]} rows */
function separated(rows) {
  return rows.map((row) => row.map(written).join("\t")).join("\n");
}

/**
 * The probes in the gallery, at the step that is shown.
 *
 * @param {Scene} scene
 */
export function tableOfProbes(scene) {
  const columns = columnsOf(scene);
  const rows = scene.order.flatMap((probe) =>
    sidesIn(scene).map((side) => columns.map(({ cell }) => cell(side, probe))),
  );
  return separated([columns.map(({ title }) => title), ...rows]);
}

/**
 * A probe at all steps, side after side.
 *
 * @param {Scene} scene
 * @param {number} probe
 */
export function tableOfSteps(scene, probe) {
  // Of one run there are no two tables, and nothing that is between two steps belongs to all.
  const columns = columnsOf(scene).filter(({ title }) => title !== DRIFT_FROM_A);
  /** @type {Set<Evolution>} */
  const seen = new Set();
  const rows = sidesIn(scene).flatMap((side) => {
    const { evolution } = side;
    if (seen.has(evolution)) return [];
    seen.add(evolution);
    return evolution.steps.map((_, index) => {
      const then = side.moved(index);
      return columns.map(({ cell }) => cell(then, probe));
    });
  });
  return separated([columns.map(({ title }) => title), ...rows]);
}
