/**
 * The rules that ring an alarm, when they rang and of which probes, in words.
 */

import { exactText, inSentence } from "./fields.js";
import { shorten, whole } from "./text.js";

/** @import { AlarmRule, Evolution } from "./data.js" */
/** @import { Side } from "./scene.js" */

/**
 * An alarm that rings at a step.
 *
 * @typedef {object} Ring
 * @property {AlarmRule} rule
 * @property {number[]} probes Those that are beyond.
 */

/**
 * A step at which alarms began to ring.
 *
 * @typedef {{index: number, rings: Ring[]}} Beginning
 */

/**
 * Where beyond begins.
 *
 * @typedef {object} Limit
 * @property {number} value
 * @property {boolean} above Whether values above it are beyond, or those below.
 * @property {boolean} judges Whether it judges the values that are drawn. A limit of the mean judges
 *   no single probe.
 * @property {string} text How it is written.
 * @property {string} title
 */

/**
 * @param {number} count
 * @param {string} one
 * @param {string} many
 */
function counted(count, one, many) {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

/**
 * What stands after a number or an alarm where another map is shown: they are not of it.
 *
 * @param {Evolution} evolution
 */
export function ofExplained({ role }) {
  return role ? " (of the class explained)" : "";
}

/**
 * @param {Evolution} evolution
 * @param {AlarmRule} rule
 */
function axisOf({ explained: { measures } }, { measure }) {
  return measures.find(({ name }) => name === measure) ?? null;
}

/**
 * What an alarm is called: by its measure, unless it has a name of its own.
 *
 * @param {Evolution} evolution
 * @param {AlarmRule} rule
 */
export function alarmLabel(evolution, rule) {
  const axis = axisOf(evolution, rule);
  return shorten(axis && rule.name === rule.measure ? axis.label : rule.name);
}

/**
 * A rule in words, such as "mean border heat above 50 % for 3 passes".
 *
 * @param {Evolution} evolution
 * @param {AlarmRule} rule
 */
export function ruleText(evolution, rule) {
  const axis = axisOf(evolution, rule);
  if (!axis) return shorten(rule.name);
  const limits = [
    ...(rule.below === null ? [] : [`below ${exactText(axis, rule.below)}`]),
    ...(rule.above === null ? [] : [`above ${exactText(axis, rule.above)}`]),
  ];
  const what = rule.of === "mean" ? `mean ${inSentence(axis)}` : `${inSentence(axis)} of any probe`;
  const words = [what, limits.join(" or ")];
  if (rule.for_passes > 1) words.push(`for ${whole(rule.for_passes)} passes`);
  const own = rule.name === rule.measure ? "" : `${shorten(rule.name)}: `;
  return own + words.join(" ");
}

/**
 * The alarms that ring at a step.
 *
 * @param {Evolution} evolution
 * @param {number} index
 * @returns {Ring[]}
 */
export function ringsAt({ explained }, index) {
  return explained.alarms.flatMap((rule) => {
    const probes = explained.beyond(rule, index);
    return probes ? [{ rule, probes }] : [];
  });
}

/**
 * An alarm that rings, in words.
 *
 * @param {Evolution} evolution
 * @param {Ring} ring
 */
export function ringText(evolution, { rule, probes }) {
  const count = counted(probes.length, "probe", "probes");
  return `${ruleText(evolution.explained, rule)}: ${count}${ofExplained(evolution)}`;
}

/**
 * The same in few words, such as "Border heat (5 probes)".
 *
 * @param {Evolution} evolution
 * @param {Ring} ring
 */
export function ringLabel(evolution, { rule, probes }) {
  return `${alarmLabel(evolution, rule)} (${counted(probes.length, "probe", "probes")})`;
}

/**
 * The steps at which any alarm began to ring.
 *
 * @param {Evolution} evolution
 * @returns {Beginning[]}
 */
export function beginningsOf({ explained }) {
  return explained.steps.flatMap((_, index) => {
    const rings = ringsAt(explained, index).filter(
      ({ rule }) => !index || !explained.beyond(rule, index - 1),
    );
    return rings.length ? [{ index, rings }] : [];
  });
}

/**
 * The alarms that ring on a side, of those in which a probe is.
 *
 * @param {Side} side
 * @param {number} probe Its place among A's.
 */
export function ringsOf(side, probe) {
  const place = side.place(probe);
  return ringsAt(side.evolution, side.index).filter(
    ({ probes }) => place !== null && probes.includes(place),
  );
}

/**
 * Texts of both sides, each behind the name of its own where there are two.
 *
 * @param {string[][]} texts
 */
export function ofSides(texts) {
  return texts.flatMap((one, i) => one.map((text) => (texts[1] ? `${"AB"[i]}: ${text}` : text)));
}

/**
 * The rules on a measure.
 *
 * @param {Evolution} evolution
 * @param {string} measure
 */
export function rulesOn({ alarms }, measure) {
  return alarms.filter((rule) => rule.measure === measure);
}

/**
 * Where beyond begins in a curve, by rules on its measure. A limit for any probe is none of the mean.
 *
 * @param {Evolution} evolution
 * @param {AlarmRule[]} rules
 * @param {boolean} ofProbe Whether it is the curve of a probe, or that of the mean.
 * @returns {Limit[]}
 */
export function limitsOf(evolution, rules, ofProbe) {
  return rules.flatMap((rule) => {
    const axis = axisOf(evolution, rule);
    if (!axis || (rule.of === "any" && !ofProbe)) return [];
    const judges = (rule.of === "any") === ofProbe;
    const title =
      `Alarm: ${ruleText(evolution, rule)}` +
      (judges ? "" : "\nThe limit is that of the mean over all probes, not of this one");
    return [rule.above, rule.below].flatMap((value, i) => {
      if (value === null) return [];
      const text = exactText(axis, value) + (judges ? "" : " (mean)");
      return [{ value, above: !i, judges, text, title }];
    });
  });
}

/**
 * The steps at which any of some alarms rang.
 *
 * @param {Evolution} evolution
 * @param {AlarmRule[]} rules
 * @param {number|null} probe Of this probe; null for any.
 */
export function rangAt(evolution, rules, probe) {
  return [...evolution.steps.keys()].filter((index) =>
    rules.some((rule) => {
      const probes = evolution.beyond(rule, index);
      return probes && (probe === null || probes.includes(probe));
    }),
  );
}
