/**
 * Which numbers a probe has at every step, and how each is written.
 */

import { UNKNOWN, decimals, number, percent } from "./text.js";

/** @import { Extent } from "./charts.js" */
/** @import { Axis, Evolution } from "./data.js" */

/**
 * A number that every probe has at every step.
 *
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {(value: number|null) => string} text How a value is written.
 * @property {string} group The heading under which it stands.
 * @property {Extent} [extent] That of its curve.
 * @property {(value: number) => string} [write] How the ends of its curve are written.
 * @property {number|null} [most] The greatest value that it can have; none where there is no such.
 * @property {string} [hint] What it is, in a sentence.
 */

/** The group of what the network says; a measure may be of the same. */
const EVIDENCE = "Evidence";

/** The group of measures of where the heat is. */
export const FOCUS = "Focus";

/** What records older than version 4 do not say of their measures. */
const OLDER = /** @type {Record<string, {group: string, hint: string}>} */ ({
  balance: {
    group: EVIDENCE,
    hint:
      "Share of the channels' influence on the score that speaks for the class; 50 %: as much for " +
      "it as against it. How strong the map is: may be compared over time, which heat may not",
  },
  drift: {
    group: "Change",
    hint: "How much the map changed since the step before: 1 - cosine",
  },
  concentration: {
    group: FOCUS,
    hint: "Share of the heat in the hottest tenth of the area",
  },
});

/**
 * How the values of a measure are written.
 *
 * @param {Axis} axis
 * @returns {(value: number|null) => string}
 */
function writerOf({ percent: isShare, unit }) {
  if (isShare) return percent;
  if (!unit) return decimals;
  return (value) => (value === null ? UNKNOWN : `${value.toFixed(1)} ${unit}`);
}

/**
 * A value with no more digits than it needs.
 *
 * @param {Axis} axis
 * @param {number} value
 * @param {number} [digits] How many it may have.
 */
export function exactText({ percent: isShare, unit }, value, digits = 6) {
  const text = String(Number((isShare ? 100 * value : value).toPrecision(digits)));
  const after = isShare ? "%" : unit;
  return after ? `${text} ${after}` : text;
}

/**
 * @param {Axis} axis
 * @param {number|null} value
 */
export function textOf(axis, value) {
  return writerOf(axis)(value);
}

/** @param {Axis} axis */
export function inSentence({ label }) {
  return label.charAt(0).toLowerCase() + label.slice(1);
}

/**
 * @param {Axis} axis
 * @returns {Field}
 */
function fieldOf(axis) {
  const older = Object.hasOwn(OLDER, axis.name) ? OLDER[axis.name] : null;
  return {
    name: axis.name,
    label: axis.label,
    text: writerOf(axis),
    group: axis.group || (older?.group ?? "Other"),
    extent: [axis.low, null],
    most: axis.high,
    write: (value) => exactText(axis, value, 3),
    hint: axis.hint || (older?.hint ?? ""),
  };
}

/**
 * The measures of an evolution.
 *
 * @param {Evolution} evolution
 */
export function measureFields({ measures }) {
  return measures.map(fieldOf);
}

/**
 * What the class score is called where it stands alone.
 *
 * @param {Evolution} evolution
 */
export function scoreLabel({ score }) {
  if (score === "value") return "Value";
  if (score === "mean value") return "Mean value";
  return score === "similarity" ? "Similarity" : "Score";
}

/** @type {Field} */
const SCORE = { name: "scores", label: "Score", text: number, group: EVIDENCE };

/** @type {Field} */
const PROBABILITY = {
  name: "probabilities",
  label: "Probability",
  text: percent,
  group: EVIDENCE,
  extent: [0, 1],
};

/**
 * The measures that can be chosen for the curve above the time line: those that are known.
 *
 * @param {Evolution} evolution
 */
export function measuresToChoose({ explained: { measures }, explained }) {
  const known = measures.filter(({ name }) => explained.knows(name));
  return known.length ? known : measures.slice(0, 1);
}

/**
 * The one of them that is chosen, by its name; or else the first that an alarm is on, since that is
 * what the user watches, or the first.
 *
 * @param {Evolution} evolution
 * @param {string} name
 */
export function chosenMeasure(evolution, name) {
  const { alarms } = evolution.explained;
  const choices = measuresToChoose(evolution);
  const watched = (/** @type {Axis} */ axis) => alarms.some((rule) => rule.measure === axis.name);
  return choices.find((axis) => axis.name === name) ?? choices.find(watched) ?? choices[0] ?? null;
}

/**
 * Those that have a curve on a card: a measure and the score.
 *
 * @param {Evolution} evolution
 * @param {string} measure The one that is chosen, if it is there.
 */
export function fieldsOnCard(evolution, measure) {
  const axis = chosenMeasure(evolution, measure);
  const score = { ...SCORE, label: scoreLabel(evolution) };
  if (!axis) return [score];
  const field = fieldOf(axis);
  // Of another map there are few measures. The row stays, so that none is taken for another.
  const isOfMap = evolution.measures.some(({ name }) => name === axis.name);
  if (!isOfMap) field.hint = `Measured of the class explained alone. ${field.hint}`;
  return [field, score];
}

/**
 * Those that have one in the large view, group by group; without the measures of which nothing is
 * known.
 *
 * @param {Evolution} evolution
 */
export function allFields(evolution) {
  const measures = measureFields(evolution).filter(({ name }) => evolution.knows(name));
  const of = ` of ${evolution.role ? `“${evolution.role}”` : "the class explained"}`;
  const score = { ...SCORE, label: scoreLabel(evolution) };
  const own = evolution.hasClasses
    ? [score, PROBABILITY].map((one) => ({ ...one, hint: one.label + of }))
    : [score];
  // The groups stand in the order of the measures; what the network says leads its own.
  const groups = [...new Set([...measures, score].map(({ group }) => group))];
  return groups.flatMap((group) => [
    ...(group === EVIDENCE ? own : []),
    ...measures.filter((field) => field.group === group),
  ]);
}
