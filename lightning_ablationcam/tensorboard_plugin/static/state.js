/**
 * What the user has chosen, as text: the state that an address holds and a link shares.
 */

import { SCALES } from "./colors.js";
import { ALL_LOOKS, LOOKS } from "./looks.js";
import { PINS } from "./pins.js";
import { PREDICTIONS } from "./selection.js";

/** The plugin's name, which is also the tag of a monitor that was given none. */
export const PLUGIN = "ablation_cam";

/**
 * Everything a shared view consists of. An empty step is the newest, whichever it is, of empty sides
 * both are shown where both were recorded, and of an empty measure the first. An alarm is "any" or its
 * name after a "=". What is wiped is shown so far, in per cent of the width, of A, the rest of B; empty
 * where both stand side by side. Beside each other stand all roles, or, where that is empty, none;
 * further runs are listed as `runsToText` writes them. Groups are those of curves that are open, "none"
 * for none; the usual where empty. Changes are those that are listed, empty where the list is closed;
 * pins are places of probes.
 */
export const DEFAULTS = {
  run: "",
  tag: "",
  step: "",
  compare: "off",
  brun: "",
  btag: "",
  bstep: "first",
  together: "yes",
  runs: "",
  colors: "viridis",
  opacity: "80",
  scale: "",
  role: "",
  beside: "",
  sides: "",
  search: "",
  class: "",
  prediction: "",
  sort: "logged",
  size: "m",
  measure: "",
  alarm: "",
  groups: "",
  speed: "4",
  probe: "",
  view: "",
  look: "overlay",
  wipe: "",
  changes: "",
  pins: "",
};

/**
 * @typedef {typeof DEFAULTS} State
 */

/** Steps a second. */
export const SPEEDS = ["1", "2", "4", "8", "16", "32"];

/** @type {{[key in keyof State]?: string[]}} */
const CHOICES = {
  compare: ["off", "side", "difference"],
  together: ["yes", "no"],
  colors: SCALES,
  scale: ["", "map", "probe", "run"],
  beside: ["", "roles"],
  sides: ["", "for"],
  prediction: ["", ...PREDICTIONS],
  size: ["s", "m", "l"],
  speed: SPEEDS,
  view: ["", "runs"],
  look: [...LOOKS, ALL_LOOKS],
};

/** @type {{[key in keyof State]?: RegExp}} */
const PATTERNS = {
  step: /^-?\d+$/,
  bstep: /^(first|newest|-?\d+)$/,
  probe: /^\d+$/,
  opacity: /^(\d\d?|100)$/,
  wipe: /^(\d\d?|100)?$/,
  sort: /^(logged|drift|now|score|name|(highest|lowest):[a-z][a-z0-9_]{0,63})$/,
  measure: /^([a-z][a-z0-9_]{0,63})?$/,
  alarm: /^($|any$|=)/,
  changes: /^((all|flips|jumps|alarms)(:largest)?)?$/,
  pins: PINS,
  role: /^(?!__proto__$)[A-Za-z0-9_][A-Za-z0-9_ .:#+-]{0,99}$/,
};

/**
 * @param {string} key
 * @returns {key is keyof State}
 */
const isKey = (key) => Object.hasOwn(DEFAULTS, key);

/**
 * What of a state differs from the defaults, as a query string.
 *
 * @param {State} state
 */
export function stateToText(state) {
  const changed = Object.keys(DEFAULTS)
    .filter(isKey)
    .filter((key) => state[key] !== DEFAULTS[key]);
  return new URLSearchParams(changed.map((key) => [key, state[key]])).toString();
}

/**
 * The state that a query string stands for; what it cannot mean is left at its default.
 *
 * @param {string} text
 * @returns {State}
 */
export function textToState(text) {
  const state = { ...DEFAULTS };
  for (const [key, value] of new URLSearchParams(text)) {
    if (!isKey(key)) continue;
    if (CHOICES[key]?.includes(value) === false) continue;
    if (PATTERNS[key]?.test(value) === false) continue;
    state[key] = value;
  }
  return state;
}

const HOST_KEY = `p.${PLUGIN}.view=`;

/**
 * Our part of TensorBoard's own address: `#ablation_cam&p.ablation_cam.view=...`.
 *
 * @param {string} hash
 */
export function readHostHash(hash) {
  const part = hash
    .replace(/^#/, "")
    .split("&")
    .find((piece) => piece.startsWith(HOST_KEY));
  try {
    return part ? decodeURIComponent(part.slice(HOST_KEY.length)) : "";
  } catch {
    return ""; // a cut or mistyped link
  }
}

/**
 * The same address with our part replaced, and everybody else's as it was.
 *
 * @param {string} hash
 * @param {string} text
 */
export function writeHostHash(hash, text) {
  const [tab, ...others] = hash.replace(/^#/, "").split("&");
  const kept = others.filter((piece) => !piece.startsWith(HOST_KEY));
  if (text) kept.push(HOST_KEY + encodeURIComponent(text));
  return "#" + [tab || PLUGIN, ...kept].join("&");
}
