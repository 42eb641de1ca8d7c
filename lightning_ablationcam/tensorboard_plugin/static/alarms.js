/**
 * The rules that ring an alarm, when they rang and of which probes, in words.
 */

import { exactText, inSentence } from "./fields.js";
import { shorten, whole } from "./text.js";

/** @import { AlarmRule, Evolution } from "./data.js" */

/**
 * An alarm that rings at a step.
 *
 * @typedef {object} Ring
 * @property {AlarmRule} rule
 * @property {number[]} probes Those that are beyond.
 */

/**
 * A step at which an alarm began to ring.
 *
 * @typedef {{index: number, text: string}} Beginning
 */

/**
 * Where beyond begins.
 *
 * @typedef {object} Limit
 * @property {number} value
 * @property {boolean} above Whether values above it are beyond, or those below.
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
  const words = [rule.of === "mean" ? "mean" : "", inSentence(axis), limits.join(" or ")];
  if (rule.for_passes > 1) words.push(`for ${whole(rule.for_passes)} passes`);
  const own = rule.name === rule.measure ? "" : `${shorten(rule.name)}: `;
  return own + words.filter(Boolean).join(" ");
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
  return `${ruleText(evolution, rule)}: ${counted(probes.length, "probe", "probes")}`;
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
  const { alarms } = explained;
  return explained.steps.flatMap((_, index) => {
    const texts = ringsAt(explained, index)
      .filter(({ rule }) => !index || !explained.beyond(rule, index - 1))
      .map((ring) => ringText(explained, ring));
    return alarms.length && texts.length ? [{ index, text: texts.join("\n") }] : [];
  });
}

/**
 * The alarms in which a probe is at a step, of all or of one.
 *
 * @param {Evolution} evolution
 * @param {number} index
 * @param {number} probe
 */
export function ringsOf(evolution, index, probe) {
  return ringsAt(evolution, index).filter(({ probes }) => probes.includes(probe));
}

/**
 * Where beyond begins for a measure.
 *
 * @param {Evolution} evolution
 * @param {string} measure
 * @returns {Limit[]}
 */
export function limitsOf(evolution, measure) {
  return evolution.alarms
    .filter((rule) => rule.measure === measure)
    .flatMap((rule) => {
      const axis = axisOf(evolution, rule);
      if (!axis) return [];
      const title = `Alarm: ${ruleText(evolution, rule)}`;
      return [rule.above, rule.below].flatMap((value, i) =>
        value === null ? [] : [{ value, above: !i, text: exactText(axis, value), title }],
      );
    });
}

/**
 * The steps at which any alarm of a measure rang.
 *
 * @param {Evolution} evolution
 * @param {string} measure
 * @param {number|null} probe Of this probe; null for any.
 */
export function rangAt(evolution, measure, probe) {
  const rules = evolution.alarms.filter((rule) => rule.measure === measure);
  return [...evolution.steps.keys()].filter((index) =>
    rules.some((rule) => {
      const probes = evolution.beyond(rule, index);
      return probes && (probe === null || probes.includes(probe));
    }),
  );
}
