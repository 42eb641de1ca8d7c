/** The page's modules, as a test takes them: from the folder that the environment names. */

const folder = process.env.PAGE_MODULES ?? "../../lightning_ablationcam/tensorboard_plugin/static/";
const base = new URL(folder, import.meta.url);

/** @param {string} name */
export const load = (name) => import(new URL(name, base).href);

/**
 * A series as a server gives it, with fewest words; changes go over it. Of probes and steps a number
 * says how many.
 *
 * @param {Record<string, unknown>} [changes]
 */
export function seriesData({ probes = 3, steps = 6, ...changes } = {}) {
  const count = Array.isArray(probes) ? probes.length : probes;
  return {
    run: "run",
    tag: "ablation_cam",
    fingerprint: "set",
    layer: "layer4",
    scale: "probe",
    score: "logit",
    task: "multiclass",
    probes: Array.isArray(probes)
      ? probes
      : Array.from({ length: count }, (_, i) => ({ name: `p${i}`, label: i % 2, text: null })),
    class_names: ["cat", "dog", "owl"],
    measures: [
      { name: "drift", label: "Drift", low: 0, high: 1, percent: false, unit: "", group: "Change" },
      { name: "balance", label: "Balance", low: 0, high: 1, percent: true, unit: "", group: "" },
    ].map((axis) => ({ hint: "", worse: "", ...axis })),
    alarms: [],
    shape: [1, 2],
    also_shapes: {},
    regions: [],
    steps: Array.isArray(steps)
      ? steps
      : Array.from({ length: steps }, (_, i) => stepOf(i, count)),
    notes: [],
    pictures: Array.from({ length: count }, (_, i) => `picture${i}`),
    maps: "maps",
    also_maps: {},
    against_maps: {},
    ...changes,
  };
}

/**
 * @param {number} i
 * @param {number} probes
 */
export function stepOf(i, probes) {
  const all = (/** @type {unknown} */ value) => Array(probes).fill(value);
  return {
    step: 10 * (i + 1),
    epoch: i,
    wall_time: i,
    top: null,
    also: {},
    alarms: {},
    maxima: all(1),
    classes: all(0),
    scores: all(i),
    predicted: all(0),
    probabilities: all(0.5),
    against: null,
    regions: null,
    drift: i ? all(0.01) : null,
    balance: all(0.5),
  };
}

/** @param {Record<string, unknown>} [changes] */
export async function evolutionOf(changes) {
  const { Evolution } = await load("data.js");
  const { StepMaps } = await load("steps.js");
  const data = seriesData(changes);
  const { length } = data.steps;
  const size = data.probes.length * data.shape[0] * data.shape[1];
  const maps = new Uint8Array(length * size);
  maps.forEach((_, i) => (maps[i] = i % 256));
  return new Evolution(data, StepMaps.whole(maps, size, length, data.run));
}

/** @param {Record<string, unknown>} [changes] Of the state. */
export async function stateOf(changes) {
  const { DEFAULTS } = await load("state.js");
  return { ...DEFAULTS, ...changes };
}
