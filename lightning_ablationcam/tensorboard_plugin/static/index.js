/**
 * The Ablation-CAM tab: plays how the heatmaps of a fixed set of probes evolve during training.
 *
 * One module, no library. The same file serves TensorBoard (data over HTTP, relative to this
 * module) and the report (data inside the page, see EMBEDDED). Three parts: pure functions, data,
 * view. Names of probes, classes and runs come from files nobody vouches for, so they only ever
 * reach the page as text nodes and properties, never as markup.
 */

const PLUGIN = "ablation_cam";
const PAGE_TITLE = "Ablation-CAM";
const EMBEDDED = "ablation-cam-data";

/** Longest side, in pixels, of a card's canvas, of the large view's, and of a strip's frame. */
const CARD = 256;
const LARGE = 512;
const FRAME = 64;
/** Heat is interpolated up to this side; the browser scales it smoothly from there on. */
const FINEST_HEAT = 128;
/** Pictures up to this side are shown as squares of colour, larger ones smoothly. */
const CRISP = 64;

/** A live run is asked for news this often, in ms, and at most for 1/POLL_SHARE of the time. */
const POLL = 15_000;
const POLL_SHARE = 50;
/** Browsers allow about 100 changes of the address in 30 s; playing makes far more. */
const ADDRESS_PAUSE = 400;
const LONGEST_OPTION = 80;

// ---------------------------------------------------------------------------------------------
// Pure functions: colours
// ---------------------------------------------------------------------------------------------

/**
 * Evenly spaced colours of each scale, interpolated to 256: at most 6 of 255 beside the published
 * tables, 2 for the default.
 */
const ANCHORS = {
  viridis:
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23" +
    "898e21918c1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece5881d34d95d840aadc32c0df25d5e2" +
    "1aeae51afde725",
  cividis:
    "00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d5a5f6e61656f686a716f707376" +
    "76767d7c788381798b8778928d789a9376a29975aaa073b3a670bbad6dc3b369ccba64d4c15fddc858e6d051efd748" +
    "f8df3cfee838",
  inferno:
    "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0" +
    "315bbc3754c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e8" +
    "65f3f586fcffa4",
  magma:
    "0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81762181832681902a819c2e7faa" +
    "337db73779c23b75cf4070db476ae55064ee5b5ef4695cf9785dfb8761fd9668fea571feb47bfec287fed194fde0" +
    "a1fceeb0fcfdbf",
  turbo:
    "30123b392a734040a24456c7466be34680f64294ff37a8fa28bceb1ccdd818ddc21fe9af32f2984ef97d6dfe628b" +
    "ff4ba4fc3cb7f735cbed34dde037ecd13af7c13afdae35fe992cfb8122f56918ec530fe14109d23105c12302ac17" +
    "01950d017a0403",
  gray: "000000ffffff",
};

/** Light blue (more in B) over black to amber (more in A): told apart with every colour vision. */
const DIVERGING =
  "81e7ff7bd7f576c7ec70b8e36baada669cd0608ec75c81bd5775b35369a8505d9c4d518e4c457f4c3b6f4e3260522c53" +
  "5829485f2941692b3c7431398139398e423a9a4c3da6573fb16243bb6d46c5794ace864fd89353e1a158ebb05df5bf62" +
  "ffcf67";

/** How much of a picture's light is left beneath a difference map, which is bright at both ends. */
const DIMMED = 0.6;

/**
 * The 256 colours of a scale.
 * @param {string} anchors RRGGBB, evenly spaced.
 * @returns {Uint8Array} 256 x 3.
 */
export function colorTable(anchors) {
  const last = anchors.length / 6 - 1;
  const table = new Uint8Array(256 * 3);
  let left = 0;
  for (let level = 0; level < 256; level++) {
    while (left < last - 1 && level > Math.round(((left + 1) * 255) / last)) left++;
    const from = Math.round((left * 255) / last);
    const share = (level - from) / (Math.round(((left + 1) * 255) / last) - from);
    for (let c = 0; c < 3; c++) {
      const [low, high] = [left, left + 1].map((i) =>
        parseInt(anchors.substr(i * 6 + c * 2, 2), 16),
      );
      table[level * 3 + c] = Math.round(low + share * (high - low));
    }
  }
  return table;
}

/**
 * Share of the full opacity at which heat is drawn: the same curve as in the pictures that the
 * callback logs. Flat near 0, so that cold places keep their own colours, and flat near 1.
 */
export function opacityOf(heat) {
  const x = heat ** 0.75;
  return x * x * (3 - 2 * x);
}

/**
 * The pixels of a colour scale, ready to be copied into ImageData.
 * @param {string} anchors The scale.
 * @param {number} opacity Of the strongest heat, 0...1.
 * @param {boolean} diverging Whether 0 is in the middle rather than at the start.
 * @returns {Uint32Array} 256 RGBA pixels.
 */
export function pixelTable(anchors, opacity, diverging = false) {
  const colors = colorTable(anchors);
  const bytes = new Uint8Array(256 * 4);
  for (let level = 0; level < 256; level++) {
    bytes.set(colors.subarray(level * 3, level * 3 + 3), level * 4);
    const strength = diverging ? Math.abs(level - 127.5) / 127.5 : level / 255;
    bytes[level * 4 + 3] = Math.round(255 * opacity * opacityOf(strength));
  }
  return new Uint32Array(bytes.buffer);
}

// ---------------------------------------------------------------------------------------------
// Pure functions: maps
// ---------------------------------------------------------------------------------------------

/** Bicubic kernel (a = -0.5), as in Pillow, so that page and logged pictures look the same. */
function bicubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/** For each of `to` positions: the first of `from` cells it takes from, and their weights. */
function taps(from, to) {
  const ratio = from / to;
  const reach = Math.max(1, ratio);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * ratio;
    const first = Math.max(0, Math.floor(center - 2 * reach + 0.5));
    const end = Math.min(from, Math.floor(center + 2 * reach + 0.5));
    const raw = Array.from({ length: end - first }, (_, k) =>
      bicubic((first + k - center + 0.5) / reach),
    );
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { first, weights: raw.map((weight) => weight / sum) };
  });
}

const tapCache = new Map();
function cachedTaps(from, to) {
  const key = `${from}:${to}`;
  if (!tapCache.has(key)) tapCache.set(key, taps(from, to));
  return tapCache.get(key);
}

/**
 * Interpolate a small map to the size of a picture.
 * @param {ArrayLike<number>} cells h * w values, row by row.
 * @returns {Float32Array} height * width values.
 */
export function interpolate(cells, h, w, height, width) {
  const wide = new Float32Array(h * width);
  cachedTaps(w, width).forEach(({ first, weights }, x) => {
    for (let y = 0; y < h; y++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * cells[y * w + first + k];
      wide[y * width + x] = sum;
    }
  });
  const out = new Float32Array(height * width);
  cachedTaps(h, height).forEach(({ first, weights }, y) => {
    const target = out.subarray(y * width, (y + 1) * width);
    for (let k = 0; k < weights.length; k++) {
      const weight = weights[k];
      const source = (first + k) * width;
      for (let x = 0; x < width; x++) target[x] += weight * wide[source + x];
    }
  });
  return out;
}

/** 1 - cosine between two maps: 0 is the same shape, 1 is nothing in common; null where one is 0. */
export function driftBetween(a, b) {
  if (a.length !== b.length) return null;
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa && bb ? Math.max(0, 1 - dot / Math.sqrt(aa * bb)) : null;
}

const finite = (values) => values.filter((value) => Number.isFinite(value));
const largest = (values) => finite(values).reduce((most, value) => Math.max(most, value), 0);

function mean(values) {
  const known = finite(values);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** The index in ascending `steps` that lies closest to `step`. */
export function nearestIndex(steps, step) {
  let best = 0;
  steps.forEach((candidate, i) => {
    if (Math.abs(candidate - step) < Math.abs(steps[best] - step)) best = i;
  });
  return best;
}

// ---------------------------------------------------------------------------------------------
// Pure functions: which probes are shown, in which order
// ---------------------------------------------------------------------------------------------

/** The class a probe is filed under: its label, or what is explained at the newest step. */
function classOf(evolution, probe) {
  return evolution.probes[probe].label ?? evolution.at("classes", evolution.length - 1, probe);
}

const FILTERS = {
  changed: ({ predicted, before }) => predicted !== before,
  wrong: ({ predicted, label }) => label !== null && predicted !== label,
  right: ({ predicted, label }) => predicted === label,
};

/**
 * Probes that pass the filters, in the chosen order.
 * @param {Evolution} evolution
 * @param {object} state See DEFAULTS.
 * @param {number} step Index of the step shown.
 * @param {(probe: number) => object|null} other Prediction and drift of the compared side, or null.
 * @returns {number[]}
 */
export function selectProbes(evolution, state, step, other = null) {
  const first = evolution.steps.findIndex(({ predicted }) => predicted);
  const sought = state.search.trim().toLowerCase();
  const passes = (probe) => {
    if (state.class && String(classOf(evolution, probe)) !== state.class) return false;
    if (sought && !evolution.probes[probe].name.toLowerCase().includes(sought)) return false;
    const test = FILTERS[state.prediction];
    const predicted = evolution.at("predicted", step, probe);
    if (!test || predicted === null) return true;
    const before = other ? other(probe)?.predicted : evolution.at("predicted", first, probe);
    return test({ predicted, before, label: evolution.probes[probe].label });
  };
  const keys = {
    drift: (probe) => -largest(evolution.curve("drift", probe)),
    now: (probe) =>
      -(other ? (other(probe)?.drift ?? 0) : (evolution.at("drift", step, probe) ?? 0)),
    score: (probe) => evolution.at("scores", step, probe) ?? Infinity,
  };
  const chosen = evolution.probes.map((_, probe) => probe).filter(passes);
  if (state.sort === "name") {
    const name = (probe) => evolution.probes[probe].name;
    return chosen.sort((a, b) => name(a).localeCompare(name(b), undefined, { numeric: true }));
  }
  const key = keys[state.sort];
  if (!key) return chosen;
  const values = new Map(chosen.map((probe) => [probe, key(probe)]));
  return chosen.sort((a, b) => values.get(a) - values.get(b) || a - b);
}

// ---------------------------------------------------------------------------------------------
// Pure functions: state and address
// ---------------------------------------------------------------------------------------------

/** Everything a shared view consists of, as text. An empty step is the newest, whichever it is. */
export const DEFAULTS = {
  run: "",
  tag: "",
  step: "",
  compare: "off",
  brun: "",
  btag: "",
  bstep: "first",
  together: "yes",
  colors: "viridis",
  opacity: "80",
  scale: "",
  search: "",
  class: "",
  prediction: "",
  sort: "logged",
  size: "m",
  speed: "4",
  probe: "",
};

const CHOICES = {
  compare: ["off", "side", "difference"],
  together: ["yes", "no"],
  colors: Object.keys(ANCHORS),
  scale: ["", "map", "probe", "run"],
  prediction: ["", ...Object.keys(FILTERS)],
  sort: ["logged", "drift", "now", "score", "name"],
  size: ["s", "m", "l"],
  speed: ["1", "2", "4", "8", "16", "32"],
};
const NUMBERS = {
  step: /^-?\d+$/,
  bstep: /^(first|newest|-?\d+)$/,
  probe: /^\d+$/,
  opacity: /^(\d\d?|100)$/,
};

/** What of a state differs from the defaults, as a query string. */
export function stateToText(state) {
  const changed = Object.keys(DEFAULTS).filter((key) => state[key] !== DEFAULTS[key]);
  return new URLSearchParams(changed.map((key) => [key, state[key]])).toString();
}

/** The state that a query string stands for; what it cannot mean is left at its default. */
export function textToState(text) {
  const state = { ...DEFAULTS };
  for (const [key, value] of new URLSearchParams(text)) {
    if (!Object.hasOwn(DEFAULTS, key)) continue;
    if (CHOICES[key] && !CHOICES[key].includes(value)) continue;
    if (NUMBERS[key] && !NUMBERS[key].test(value)) continue;
    state[key] = value;
  }
  return state;
}

const HOST_KEY = `p.${PLUGIN}.view=`;

/** Our part of TensorBoard's own address: `#ablation_cam&p.ablation_cam.view=...`. */
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

/** The same address with our part replaced, and everybody else's as it was. */
export function writeHostHash(hash, text) {
  const [tab, ...others] = hash.replace(/^#/, "").split("&");
  const kept = others.filter((piece) => !piece.startsWith(HOST_KEY));
  if (text) kept.push(HOST_KEY + encodeURIComponent(text));
  return "#" + [tab || PLUGIN, ...kept].join("&");
}

// ---------------------------------------------------------------------------------------------
// Pure functions: text
// ---------------------------------------------------------------------------------------------

const UNKNOWN = "–";
const shorten = (text, most = LONGEST_OPTION) =>
  text.length > most ? [...text.slice(0, 2 * most)].slice(0, most - 1).join("") + "…" : text;
const whole = (value) => value.toLocaleString("en-US");
const percent = (share) => (share === null ? UNKNOWN : `${(100 * share).toFixed(1)} %`);

/** Drift: between 0 and 1, so that a fixed number of decimals keeps columns still. */
const decimals = (value) => (value === null ? UNKNOWN : value.toFixed(3));

function number(value) {
  if (value === null || !Number.isFinite(value)) return UNKNOWN;
  const size = Math.abs(value);
  const text =
    size && (size < 1e-3 || size >= 1e5)
      ? size.toExponential(1)
      : size < 1000
        ? String(Number(size.toPrecision(3)))
        : whole(Math.round(size));
  return (value < 0 ? "−" : "") + text;
}

// ---------------------------------------------------------------------------------------------
// Data
// ---------------------------------------------------------------------------------------------

/** What one monitor of one run has seen: see the fields of `data` in the plugin's Python part. */
class Evolution {
  constructor(data, maps) {
    const cells = data.shape[0] * data.shape[1];
    const size = data.probes.length * cells;
    if (maps.length !== data.steps.length * size) {
      throw new Problem(
        `The heatmaps of “${shorten(data.run)}” came incomplete: ` +
          `${whole(maps.length)} bytes of ${whole(data.steps.length * size)}.`,
      );
    }
    Object.assign(this, data, { maps, cells, size, length: data.steps.length });
    this.numbers = data.steps.map(({ step }) => step);
    this.peaks = data.probes.map((_, probe) => largest(this.curve("maxima", probe)));
    this.peak = largest(this.peaks);
  }

  /** The h * w bytes of one map; 255 is its own maximum. */
  map(step, probe) {
    const start = step * this.size + probe * this.cells;
    return this.maps.subarray(start, start + this.cells);
  }

  /** How many of the first maps are, in newer data of the same series, still what they were. */
  stepsKeptIn(data) {
    const same = (key) => String(this[key]) === String(data[key]);
    if (!["fingerprint", "layer", "shape"].every(same)) return 0;
    const changed = this.steps.findIndex(
      ({ step, wall_time }, i) =>
        step !== data.steps[i]?.step || wall_time !== data.steps[i].wall_time,
    );
    return changed < 0 ? this.length : changed;
  }

  /** One number of one probe at one step, or null. */
  at(field, step, probe) {
    return this.steps[step]?.[field]?.[probe] ?? null;
  }

  /** One number of one probe at every step. */
  curve(field, probe) {
    return this.steps.map((entry) => entry[field]?.[probe] ?? null);
  }

  /** What 100 % of the colour scale stands for, in units of heat. */
  full(step, probe, scale) {
    if (scale === "map") return this.at("maxima", step, probe) ?? 0;
    return scale === "probe" ? this.peaks[probe] : this.peak;
  }

  className(index) {
    return index === null ? UNKNOWN : (this.class_names?.[index] ?? `class ${index}`);
  }
}

/** Something the user has to know about, in words. */
class Problem extends Error {}

const routeOf = (address) => address.split("?")[0].split("/").pop();

/** The reason that the plugin gives for an error, as a sentence; null where it gives none. */
function reasonIn(text) {
  try {
    const { error } = JSON.parse(text);
    return `${error[0].toUpperCase()}${error.slice(1).replace(/[.]$/, "")}.`;
  } catch {
    return null; // TensorBoard itself, or a proxy, answers in plain text
  }
}

/** Data over HTTP, from the plugin's routes beside this module. */
class Server {
  constructor() {
    this.base = new URL("./", import.meta.url);
  }

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

  async list() {
    return this.parsed(await this.ask("series"));
  }

  /** Load a series; of `known`, an earlier state of it, whatever is still the same is kept. */
  async load({ run, tag }, known = null) {
    // A live run may grow between the two requests; then the maps no longer fit the steps.
    for (let tries = 0; tries < 4; tries++) {
      const answer = await this.ask(`data?${new URLSearchParams({ run, tag })}`);
      const etag = answer.headers.get("ETag");
      if (known && etag && etag === known.etag) return known;
      const data = { ...(await this.parsed(answer)), etag };
      const kept = known?.stepsKeptIn(data) ?? 0;
      const old = known?.maps.subarray(0, kept * known.size);
      if (kept && kept === data.steps.length) return new Evolution(data, old);
      const response = await this.ask(data.maps + (kept ? `&from=${kept}` : ""));
      if (response.status === 409) continue;
      const fresh = await response.arrayBuffer();
      const maps = kept ? await new Blob([old, fresh]).arrayBuffer() : fresh;
      return new Evolution(data, new Uint8Array(maps));
    }
    throw new Problem("The run grows faster than it can be read. Wait a moment and reload.");
  }

  picture(url) {
    return new URL(url, this.base).href;
  }
}

/** Data that stands in the page itself: a report. Nothing is ever fetched. */
class Report {
  constructor(text) {
    this.all = JSON.parse(text).series;
  }

  async list() {
    return { series: this.all.map(({ run, tag }) => ({ run, tag })), message: null };
  }

  async load({ run, tag }, known = null) {
    if (known) return known;
    const data = this.all.find((series) => series.run === run && series.tag === tag);
    const text = atob(data.maps.slice(data.maps.indexOf(",") + 1));
    return new Evolution(
      data,
      Uint8Array.from(text, (character) => character.charCodeAt(0)),
    );
  }

  picture(url) {
    return url;
  }
}

/** A probe's picture, decoded once, and dimmed to grey once where difference maps need it. */
class Picture {
  constructor(bitmap) {
    this.bitmap = bitmap;
    this.width = bitmap.width;
    this.height = bitmap.height;
  }

  get dimmed() {
    if (!this.gray) {
      this.gray = new OffscreenCanvas(this.width, this.height);
      const context = this.gray.getContext("2d");
      context.drawImage(this.bitmap, 0, 0);
      const image = context.getImageData(0, 0, this.width, this.height);
      for (let i = 0; i < image.data.length; i += 4) {
        const [r, g, b] = image.data.subarray(i, i + 3);
        image.data.fill(DIMMED * (0.299 * r + 0.587 * g + 0.114 * b), i, i + 3);
      }
      context.putImageData(image, 0, 0);
    }
    return this.gray;
  }
}

/** Pictures by address; one that has failed is not asked for again. */
class Pictures {
  constructor(source, arrived) {
    Object.assign(this, { source, arrived, found: new Map(), pending: new Set(), failed: 0 });
  }

  /** The picture, or null while it is on its way; `arrived` is called when it is there. */
  get(evolution, probe) {
    const url = evolution.pictures[probe];
    if (!this.found.has(url) && !this.pending.has(url)) this.fetch(url, evolution.shape);
    return this.found.get(url) ?? null;
  }

  async fetch(url, [h, w]) {
    this.pending.add(url);
    try {
      const image = new Image();
      image.src = this.source.picture(url);
      await image.decode();
      this.found.set(url, new Picture(await createImageBitmap(image)));
    } catch {
      // Heat over plain grey still tells more than no card at all.
      const blank = new OffscreenCanvas(CARD, Math.max(1, Math.round((CARD * h) / w)));
      const context = blank.getContext("2d");
      context.fillStyle = "#808080";
      context.fillRect(0, 0, blank.width, blank.height);
      this.found.set(url, new Picture(blank));
      this.failed++;
    }
    this.pending.delete(url);
    this.arrived();
  }

  get busy() {
    return this.pending.size > 0;
  }
}

// ---------------------------------------------------------------------------------------------
// View: drawing
// ---------------------------------------------------------------------------------------------

const sheets = new Map();
/** A canvas of a given size to draw heat on before it is laid over a picture. */
function sheet(width, height) {
  const key = `${width}x${height}`;
  if (!sheets.has(key)) {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    sheets.set(key, { canvas, context, image, pixels: new Uint32Array(image.data.buffer) });
  }
  return sheets.get(key);
}

/** Size at which a picture is drawn: enlarged by a whole factor or reduced, `longest` at most. */
function drawnSize(picture, longest) {
  const longer = Math.max(picture.width, picture.height);
  const factor = longer <= longest ? Math.floor(longest / longer) : longest / longer;
  return [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * factor)));
}

/**
 * Draw a picture with heat over it.
 * @param {HTMLCanvasElement} canvas Its size is set to fit the picture.
 * @param {Picture} picture
 * @param {number} longest Longest side of the canvas.
 * @param {(height: number, width: number, pixels: Uint32Array) => void} fill Writes the heat.
 * @param {boolean} dimmed Whether the picture is shown in dark grey.
 */
function drawOverlay(canvas, picture, longest, fill, dimmed = false) {
  const [width, height] = drawnSize(picture, longest);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = Math.max(picture.width, picture.height) > CRISP;
  context.drawImage(dimmed ? picture.dimmed : picture.bitmap, 0, 0, width, height);
  const fine = Math.min(1, FINEST_HEAT / Math.max(width, height));
  const heat = sheet(Math.max(1, Math.round(width * fine)), Math.max(1, Math.round(height * fine)));
  fill(heat.canvas.height, heat.canvas.width, heat.pixels);
  heat.context.putImageData(heat.image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(heat.canvas, 0, 0, width, height);
}

/** One side of a view: an evolution at one step, and the probe that stands at each of A's places. */
class Side {
  constructor(evolution, index, partner = null) {
    this.evolution = evolution;
    this.index = index;
    this.entry = evolution.steps[index];
    // The same probe set has the same places; another set is matched by name.
    if (partner && partner.fingerprint !== evolution.fingerprint) {
      const places = new Map(evolution.probes.map(({ name }, place) => [name, place]));
      this.places = partner.probes.map(({ name }) => places.get(name) ?? null);
    }
  }

  place(probe) {
    return this.places ? this.places[probe] : probe;
  }

  at(field, probe) {
    const place = this.place(probe);
    return place === null ? null : this.evolution.at(field, this.index, place);
  }

  map(probe) {
    return this.evolution.map(this.index, this.place(probe));
  }
}

/** What is drawn now: both sides, colours and scale. Made anew for every frame. */
class Frame {
  constructor(state, a, b) {
    Object.assign(this, { a, b, compare: b ? state.compare : "off" });
    this.scale = state.scale || a.evolution.scale;
    this.tables = Frame.tables(state.colors, Number(state.opacity) / 100);
  }

  static tables(colors, opacity) {
    const key = `${colors}:${opacity}`;
    if (Frame.made?.key !== key) {
      Frame.made = {
        key,
        heat: pixelTable(ANCHORS[colors], opacity),
        difference: pixelTable(DIVERGING, opacity, true),
      };
    }
    return Frame.made;
  }

  /** Share of the colour scale that one unit of a map's bytes stands for. */
  gain(side, probe) {
    const place = side.place(probe);
    const maximum = side.evolution.at("maxima", side.index, place) ?? 0;
    let full = side.evolution.full(side.index, place, this.scale);
    // Two runs side by side share one scale: otherwise the same colour would mean different heat.
    const other = side === this.a ? this.b : this.a;
    if (other && this.scale !== "map" && other.place(probe) !== null) {
      full = Math.max(full, other.evolution.full(other.index, other.place(probe), this.scale));
    }
    return full > 0 ? maximum / full / 255 : 0;
  }

  interpolated(side, probe, height, width) {
    const [h, w] = side.evolution.shape;
    return interpolate(side.map(probe), h, w, height, width);
  }

  /** Draw one side's overlay of a probe. */
  overlay(canvas, picture, longest, side, probe) {
    drawOverlay(canvas, picture, longest, (height, width, pixels) => {
      const values = this.interpolated(side, probe, height, width);
      const gain = this.gain(side, probe) * 255;
      const table = this.tables.heat;
      for (let i = 0; i < pixels.length; i++) {
        const level = values[i] * gain + 0.5;
        pixels[i] = table[level < 0 ? 0 : level > 255 ? 255 : level | 0];
      }
    });
  }

  /** Draw what A has more (amber) or less (blue) than B. */
  difference(canvas, picture, longest, probe) {
    drawOverlay(
      canvas,
      picture,
      longest,
      (height, width, pixels) => {
        const [a, b] = [this.a, this.b].map((side) =>
          this.interpolated(side, probe, height, width),
        );
        const [gainA, gainB] = [this.gain(this.a, probe), this.gain(this.b, probe)];
        const clip = (share) => (share < 0 ? 0 : share > 1 ? 1 : share);
        for (let i = 0; i < pixels.length; i++) {
          const more = clip(a[i] * gainA) - clip(b[i] * gainB);
          pixels[i] = this.tables.difference[Math.round(127.5 + 127.5 * more)];
        }
      },
      true,
    );
  }

  /** 1 - cosine between the two sides' maps of a probe. */
  drift(probe) {
    const [same, other] = [this.a.evolution.shape, this.b.evolution.shape];
    if (this.b.place(probe) === null || same[0] !== other[0] || same[1] !== other[1]) return null;
    return driftBetween(this.a.map(probe), this.b.map(probe));
  }
}

// ---------------------------------------------------------------------------------------------
// View: elements
// ---------------------------------------------------------------------------------------------

/** Make an element. Strings among the children become text; `on` holds listeners. */
function el(tag, { on = {}, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  if (tag === "button") node.type = "button";
  for (const [key, value] of Object.entries(properties)) {
    if (/^(aria-|data-)|^(role|for)$/.test(key)) node.setAttribute(key, value);
    else node[key] = value;
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  node.append(...children);
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zm8 0h4v14h-4z",
  first: "M6 6h2v12H6zm3.5 6 8.5 6V6z",
  last: "M16 6h2v12h-2zM6 18l8.5-6L6 6z",
  before: "M15.4 7.4 14 6l-6 6 6 6 1.4-1.4L10.8 12z",
  after: "M8.6 16.6 13.2 12 8.6 7.4 10 6l6 6-6 6z",
  close:
    "M19 6.4 17.6 5 12 10.6 6.4 5 5 6.4 10.6 12 5 17.6 6.4 19 12 13.4 17.6 19 19 17.6 13.4 12z",
  tune: "M3 17v2h6v-2zM3 5v2h10V5zm10 16v-2h8v-2h-8v-2h-2v6zM7 9v2H3v2h4v2h2V9zm14 4v-2H11v2zm-6-4h2V7h4V5h-4V3h-2z",
};
const icon = (name) =>
  svg(
    "svg",
    { viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" },
    svg("path", { d: ICONS[name] }),
  );

function iconButton(name, label, press) {
  return el(
    "button",
    {
      className: "icon-button",
      title: label,
      "aria-label": label,
      on: { click: press },
    },
    icon(name),
  );
}

/** Text that nobody sees, spoken when it changes. */
const liveText = () => el("p", { className: "unseen", "aria-live": "polite" });

/** Changing text to what it is already would make screen readers and layout work for nothing. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

let ids = 0;
/** A labelled control. */
function field(label, control, hint = "") {
  control.id = `field-${++ids}`;
  return el(
    "div",
    { className: "field", title: hint },
    el("label", { for: control.id }, label),
    control,
  );
}

function options(select, entries, value) {
  // Rebuilding an open list would close it under the user's hand.
  const key = JSON.stringify(entries);
  if (select.dataset.entries !== key) {
    select.dataset.entries = key;
    select.replaceChildren(
      ...entries.map(([value, text]) => el("option", { value, textContent: shorten(text) })),
    );
  }
  if (select.value !== value) select.value = value;
}

/** A row of choices of which one is taken: radio buttons that look like one control. */
class Segments {
  constructor(label, entries, change) {
    const name = `segments-${++ids}`;
    this.inputs = entries.map(([value]) =>
      el("input", { type: "radio", name, value, on: { change: () => change(value) } }),
    );
    this.node = el(
      "fieldset",
      { className: "segments" },
      el("legend", {}, label),
      el(
        "div",
        {},
        ...entries.map(([, text, hint = ""], i) =>
          el("label", { title: hint }, this.inputs[i], el("span", {}, text)),
        ),
      ),
    );
  }

  set value(value) {
    for (const input of this.inputs) input.checked = input.value === value;
  }
}

/**
 * A small line chart; clicking it asks `seek` for a share, 0...1, of its width. `extent` holds the
 * ends of the vertical axis, null where the data decides. For whoever cannot see it there are the
 * number beside it and the step slider.
 */
class Plot {
  constructor(label, seek, extent = null) {
    this.extent = extent;
    this.lines = svg("g", {});
    this.marks = svg("g", {});
    this.chart = svg(
      "svg",
      {
        viewBox: "0 0 1000 100",
        preserveAspectRatio: "none",
        class: "chart",
        "aria-hidden": "true",
      },
      this.lines,
      this.marks,
    );
    this.value = el("span", { className: "value" });
    this.box = el("div", { className: "chart-box", title: "Click to go to that step" }, this.chart);
    this.box.addEventListener("click", (event) => {
      const { left, width } = this.box.getBoundingClientRect();
      seek(Math.min(1, Math.max(0, (event.clientX - left) / width)));
    });
    this.range = el("span", { className: "range" });
    this.node = el(
      "div",
      { className: "plot" },
      el("span", { className: "plot-label" }, label),
      this.box,
      this.value,
      this.range,
    );
  }

  /** @param {{places: number[], values: (number|null)[], kind: string}[]} curves */
  draw(curves) {
    const values = finite(curves.flatMap((curve) => curve.values));
    const low = this.extent?.[0] ?? values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = this.extent?.[1] ?? values.reduce((a, b) => Math.max(a, b), -Infinity);
    const height = high - low || 1;
    const y = (value) => (95 - (90 * (value - low)) / height).toFixed(1);
    this.lines.replaceChildren(
      ...curves.map((curve) => {
        let path = "";
        curve.values.forEach((value, i) => {
          if (value === null) return;
          const starts = curve.values[i - 1] == null;
          path += `${starts ? "M" : "L"}${(1000 * curve.places[i]).toFixed(1)} ${y(value)}`;
          if (starts && curve.values[i + 1] == null) path += "h4"; // a point alone
        });
        return svg("path", {
          d: path,
          class: `line ${curve.kind}`,
          "vector-effect": "non-scaling-stroke",
        });
      }),
    );
    setText(this.range, values.length ? `${number(low)} … ${number(high)}` : "");
  }

  /** Mark places (0...1) by vertical lines. */
  mark(places) {
    while (this.marks.children.length < places.length) {
      const kind = this.marks.children.length ? "mark b" : "mark a";
      this.marks.append(
        svg("path", { d: "M0 0V100", class: kind, "vector-effect": "non-scaling-stroke" }),
      );
    }
    [...this.marks.children].forEach((mark, i) => {
      const shown = i < places.length && places[i] !== null;
      setAttribute(mark, "visibility", shown ? "visible" : "hidden");
      if (shown) setAttribute(mark, "transform", `translate(${(1000 * places[i]).toFixed(1)} 0)`);
    });
  }
}

/** Where each step stands between the first and the last of all evolutions shown: 0...1. */
function placesOf(evolution, all) {
  const first = Math.min(...all.map(({ numbers }) => numbers[0]));
  const last = Math.max(...all.map(({ numbers }) => numbers[numbers.length - 1]));
  return evolution.numbers.map((step) => (last > first ? (step - first) / (last - first) : 0));
}

/** The curves of one probe, drawn anew only when the data changes. */
class Curves {
  /** `choose` says which fields of an evolution are shown; `seek` goes to a step of A's. */
  constructor(choose, seek) {
    this.choose = choose;
    this.seek = seek;
    this.node = el("div", { className: "plots" });
  }

  build(fields) {
    this.fields = fields;
    this.plots = fields.map(
      ([, label, , extent]) => new Plot(label, (share) => this.go(share), extent),
    );
    this.node.replaceChildren(...this.plots.map(({ node }) => node));
  }

  go(share) {
    this.seek(nearestIndex(this.places[0], share));
  }

  update(frame, probe) {
    const sides = [frame.a, frame.b].filter((side) => side && side.place(probe) !== null);
    const evolutions = [...new Set(sides.map(({ evolution }) => evolution))];
    if (
      evolutions.length !== this.drawn?.length ||
      evolutions.some((e, i) => e !== this.drawn[i]) ||
      this.probe !== probe
    ) {
      this.drawn = evolutions;
      this.probe = probe;
      this.build(this.choose(frame.a.evolution));
      this.places = evolutions.map((evolution) => placesOf(evolution, evolutions));
      this.plots.forEach((plot, i) =>
        plot.draw(
          evolutions.map((evolution, e) => ({
            places: this.places[e],
            values: evolution.curve(
              this.fields[i][0],
              sides.find((side) => side.evolution === evolution).place(probe),
            ),
            kind: `${this.fields[i][0]} ${e ? "b" : "a"}`,
          })),
        ),
      );
    }
    const marks = sides.map((side) => this.places[evolutions.indexOf(side.evolution)][side.index]);
    this.plots.forEach((plot, i) => {
      plot.mark(marks);
      setText(plot.value, this.fields[i][2](frame.a.at(this.fields[i][0], probe)));
    });
  }
}

/** The measures of an evolution as fields: name, label, how a value is written, vertical extent. */
function measureFields({ measures }) {
  return measures.map((axis) => [
    axis.name,
    axis.label,
    axis.percent ? percent : decimals,
    [axis.low, null],
  ]);
}

const SCORE = ["scores", "Score", number];

function fieldsOnCard(evolution) {
  return [...measureFields(evolution).slice(0, 1), SCORE];
}

function allFields(evolution) {
  const [first, ...others] = measureFields(evolution);
  const probability = ["probabilities", "Probability", percent, [0, 1]];
  return [...(first ? [first] : []), SCORE, probability, ...others];
}

/** The numbers of a probe, one column for each side. */
class Facts {
  constructor() {
    this.head = el(
      "tr",
      {},
      el("td", {}),
      el("th", { scope: "col" }, "A"),
      el("th", { scope: "col" }, "B"),
    );
    this.body = el("tbody", {});
    this.node = el("table", { className: "facts" }, el("thead", {}, this.head), this.body);
    this.rows = new Map();
  }

  row(label, values, kinds = []) {
    if (!this.rows.has(label)) {
      const cells = [el("td", { dir: "auto" }), el("td", { dir: "auto" })];
      this.rows.set(label, cells);
      this.body.append(el("tr", {}, el("th", { scope: "row" }, label), ...cells));
    }
    const cells = this.rows.get(label);
    cells[0].parentNode.hidden = !values.length;
    cells.forEach((cell, i) => {
      const value = values[i] ?? "";
      cell.hidden = i >= values.length;
      setText(cell, value);
      cell.title = shorten(value, 500); // the column may be too narrow for it
      cell.className = kinds[i] ?? "";
    });
  }

  update(frame, probe, complete) {
    const comparing = frame.compare !== "off";
    const sides = comparing ? [frame.a, frame.b] : [frame.a];
    const of = (field, text) => sides.map((side) => text(side.at(field, probe), side));
    const names = (index, side) => shorten(side.evolution.className(index), 300);
    const { label } = frame.a.evolution.probes[probe];
    const verdict = (index) => {
      if (index === null || label === null) return "";
      return index === label ? "right" : "wrong";
    };
    this.head.parentNode.hidden = !comparing;
    this.row("Label", complete ? [names(label, frame.a), ...(comparing ? [""] : [])] : []);
    this.row("Explains", of("classes", names));
    this.row("Predicts", of("predicted", names), of("predicted", verdict));
    // A single score stands beside its curve already.
    this.row("Score", complete || comparing ? of("scores", number) : []);
    this.row("Probability", of("probabilities", percent));
    for (const [name, title, text] of measureFields(frame.a.evolution))
      this.row(title, complete ? of(name, text) : []);
    this.row("Largest heat", complete ? of("maxima", number) : []);
    this.row("Drift A to B", comparing ? ["", decimals(frame.drift(probe))] : []);
  }
}

// ---------------------------------------------------------------------------------------------
// View: parts of the page
// ---------------------------------------------------------------------------------------------

/** Step slider with everything around it, for side A or B. */
class Transport {
  constructor(page, side, { series = true } = {}) {
    this.page = page;
    this.side = side;
    const go = (index) => page.seek(side, index);
    this.run = el("select", {
      className: "series",
      "aria-label": `Run ${side.toUpperCase()}`,
      on: { change: () => page.choose(side, Number(this.run.value)) },
    });
    this.play = iconButton("play", "Play (space)", () => page.toggle());
    this.speed = el("select", {
      className: "speed",
      "aria-label": "Speed",
      title: "Steps a second",
      on: { change: () => page.set({ speed: this.speed.value }) },
    });
    options(
      this.speed,
      CHOICES.speed.map((speed) => [speed, `${speed}/s`]),
      "4",
    );
    this.slider = el("input", {
      type: "range",
      min: 0,
      step: 1,
      "aria-label": side === "a" ? "Step" : "Step of B",
      "data-step": side,
      on: { input: () => go(Number(this.slider.value)) },
    });
    this.overview = new Plot("mean drift", (share) => go(Math.round(share * this.slider.max)), [
      0,
      null,
    ]);
    this.overview.node.classList.add("overview");
    this.overview.box.title = "Mean drift of all probes: how much their maps changed at each step";
    this.steppers = [
      ["before", -1, "Step back (left arrow)", "B: step back"],
      ["after", 1, "Step on (right arrow)", "B: step on"],
    ].map(([name, by, ofA, ofB]) =>
      iconButton(name, side === "a" ? ofA : ofB, () => page.move(side, by)),
    );
    this.readout = el("div", { className: "readout" });
    [this.step, this.epoch, this.count] = ["step", "epoch", "count"].map((name) =>
      el("span", { className: name }),
    );
    this.readout.append(this.step, this.epoch, this.count);
    this.node = el(
      "div",
      {
        className: `transport side-${side}`,
        role: "group",
        "aria-label": side === "a" ? "Time" : "Time of B",
      },
      el("span", { className: "badge" }, side.toUpperCase()),
      ...(series ? [this.run] : []),
      el(
        "div",
        { className: "buttons" },
        this.steppers[0],
        ...(side === "a" ? [this.play] : []),
        this.steppers[1],
        ...(side === "a" ? [this.speed] : []),
      ),
      el("div", { className: "track" }, ...(series ? [this.overview.node] : []), this.slider),
      this.readout,
    );
  }

  update(side, playing, state) {
    const { evolution, index, entry } = side;
    const last = evolution.length - 1;
    if (this.evolution !== evolution) {
      this.evolution = evolution;
      this.slider.max = last;
      const values = evolution.steps.map(({ drift }) => mean(drift ?? []));
      const places = values.map((_, i) => (last ? i / last : 0));
      this.overview.draw([{ places, values, kind: "drift" }]);
    }
    this.overview.mark([last ? index / last : 0]);
    if (Number(this.slider.value) !== index) this.slider.value = index;
    this.slider.style.setProperty("--done", `${last ? (100 * index) / last : 0}%`);
    for (const control of [this.slider, ...this.steppers])
      control.disabled = this.side === "b" && this.page.tied;
    setText(this.step, `Step ${whole(entry.step)}`);
    setText(this.epoch, `Epoch ${entry.epoch}`);
    setText(this.count, `${index + 1} of ${last + 1}`);
    setAttribute(
      this.slider,
      "aria-valuetext",
      `Step ${entry.step}, epoch ${entry.epoch}, ${index + 1} of ${last + 1}`,
    );
    if (this.speed.value !== state.speed) this.speed.value = state.speed;
    const label = playing ? "Pause (space)" : "Play (space)";
    if (this.play.title !== label) {
      this.play.replaceChildren(icon(playing ? "pause" : "play"));
      this.play.title = label;
      this.play.setAttribute("aria-label", label);
    }
  }
}

/** A probe in the gallery. */
class Card {
  constructor(page, probe) {
    Object.assign(this, { page, probe, visible: false });
    const { name } = page.a.probes[probe];
    this.canvases = [el("canvas", {}), el("canvas", { hidden: true })];
    this.open = el(
      "button",
      {
        className: "picture",
        on: { click: () => page.set({ probe: String(probe) }) },
      },
      ...this.canvases,
    );
    this.facts = new Facts();
    this.curves = new Curves(fieldsOnCard, (index) => page.seek("a", index));
    this.node = el(
      "li",
      { className: "card", "data-probe": probe },
      this.open,
      el("h3", { dir: "auto", title: shorten(name, 500), textContent: shorten(name, 300) }),
      this.facts.node,
      this.curves.node,
    );
  }

  draw(frame) {
    const { probe, canvases } = this;
    const entry = frame.a.entry;
    setAttribute(
      this.open,
      "aria-label",
      `Enlarge ${shorten(frame.a.evolution.probes[probe].name)}, step ${entry.step}`,
    );
    this.facts.update(frame, probe, false);
    this.curves.update(frame, probe);
    const missing = frame.b && frame.b.place(probe) === null;
    this.node.classList.toggle("missing", Boolean(missing));
    canvases[1].hidden = frame.compare !== "side";
    const picture = this.page.pictures.get(frame.a.evolution, probe);
    if (!picture) return false;
    if (frame.compare === "difference" && !missing)
      frame.difference(canvases[0], picture, CARD, probe);
    else frame.overlay(canvases[0], picture, CARD, frame.a, probe);
    if (frame.compare === "side") {
      if (missing)
        Object.assign(canvases[1], { width: canvases[0].width, height: canvases[0].height });
      else frame.overlay(canvases[1], picture, CARD, frame.b, probe);
    }
    return true;
  }
}

/** What the colours mean. */
class Legend {
  constructor() {
    this.canvas = el("canvas", { width: 256, height: 1, "aria-hidden": "true" });
    this.low = el("span", {});
    this.high = el("span", {});
    this.node = el("div", { className: "legend", role: "img" }, this.low, this.canvas, this.high);
  }

  update(frame) {
    const difference = frame.compare === "difference";
    const scale = {
      map: "each map's own maximum",
      probe: "each probe's maximum",
      run: `maximum of the run, ${number(Math.max(frame.a.evolution.peak, frame.b?.evolution.peak ?? 0))}`,
    }[frame.scale];
    setText(this.low, difference ? "more in B" : "0");
    setText(this.high, difference ? "more in A" : scale);
    const label = difference
      ? `Difference map: amber where A has more heat, blue where B has more; full colour is ${scale}`
      : `Colour scale: from 0 to ${scale}`;
    setAttribute(this.node, "aria-label", label);
    this.node.title = label;
    const table = difference ? frame.tables.difference : frame.tables.heat;
    if (table === this.table) return;
    this.table = table;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(256, 1);
    new Uint32Array(image.data.buffer).set(table);
    // Over grey, as heat lies over a picture: no overlay shows the bare colour of the cold end.
    const under = new OffscreenCanvas(256, 1);
    under.getContext("2d").putImageData(image, 0, 0);
    context.fillStyle = difference ? "#373839" : "#5c5e62";
    context.fillRect(0, 0, 256, 1);
    context.drawImage(under, 0, 0);
  }
}

/** One probe, large, with all its frames. A modal dialog: the browser keeps the focus inside. */
class LargeView {
  constructor(page) {
    this.page = page;
    this.title = el("h2", { id: "large-title", dir: "auto" });
    this.canvases = [
      ["a", "Heatmap"],
      ["b", "Heatmap of B"],
      ["difference", "Difference map"],
    ].map(([kind, label]) => el("canvas", { "data-kind": kind, role: "img", "aria-label": label }));
    this.captions = this.canvases.map(() => el("figcaption", {}));
    this.figures = this.canvases.map((canvas, i) => el("figure", {}, canvas, this.captions[i]));
    this.transports = ["a", "b"].map((side) => new Transport(page, side, { series: false }));
    this.transports[0].slider.autofocus = true;
    this.facts = new Facts();
    this.curves = new Curves(allFields, (index) => page.seek("a", index));
    this.strip = el("div", { className: "strip", role: "group", "aria-label": "All steps" });
    this.legend = new Legend();
    this.live = liveText();
    this.body = el(
      "div",
      { className: "large-body" },
      el(
        "div",
        { className: "stage" },
        el("div", { className: "figures" }, ...this.figures, this.legend.node),
        this.facts.node,
        this.curves.node,
      ),
      el("h3", {}, "All steps"),
      this.strip,
    );
    this.node = el(
      "dialog",
      {
        className: "large",
        "aria-labelledby": "large-title",
        on: { close: () => page.set({ probe: "" }) },
      },
      el(
        "header",
        {},
        this.title,
        iconButton("before", "Previous probe", () => this.turn(-1)),
        iconButton("after", "Next probe", () => this.turn(1)),
        iconButton("close", "Close (escape)", () => this.node.close()),
      ),
      el("div", { className: "large-time" }, ...this.transports.map(({ node }) => node)),
      this.body,
      this.live,
    );
    // A click on the backdrop is one on the dialog itself.
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
    this.frames = [];
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries)
          this.frames[target.dataset.index].visible = isIntersecting;
        page.redraw();
      },
      { root: this.body, rootMargin: "100px" },
    );
  }

  turn(by) {
    const { order } = this.page;
    const next = order.indexOf(Number(this.page.state.probe)) + by;
    if (next >= 0 && next < order.length) this.page.set({ probe: String(order[next]) });
  }

  draw(frame) {
    const probe = Number(this.page.state.probe);
    const shown = this.page.state.probe !== "" && probe < frame.a.evolution.probes.length;
    if (!shown) {
      if (this.node.open) this.node.close();
      return true;
    }
    if (!this.node.open) this.node.showModal();
    const { evolution } = frame.a;
    setText(this.title, evolution.probes[probe].name);
    const comparing = frame.compare !== "off";
    const missing = comparing && frame.b.place(probe) === null;
    this.figures[1].hidden = this.figures[2].hidden = !comparing || missing;
    this.transports[1].node.hidden = !comparing;
    this.transports[0].update(frame.a, this.page.playing, this.page.state);
    if (comparing) this.transports[1].update(frame.b, false, this.page.state);
    this.node.classList.toggle("comparing", comparing);
    this.facts.update(frame, probe, true);
    this.curves.update(frame, probe);
    this.legend.update(frame.compare === "difference" ? { ...frame, compare: "side" } : frame);
    const title = (side) => `Step ${whole(side.entry.step)}, epoch ${side.entry.epoch}`;
    setText(this.captions[0], (comparing ? "A: " : "") + title(frame.a));
    const picture = this.page.pictures.get(evolution, probe);
    if (picture) {
      frame.overlay(this.canvases[0], picture, LARGE, frame.a, probe);
      if (comparing && !missing) {
        setText(this.captions[1], `B: ${title(frame.b)}`);
        setText(this.captions[2], "A − B: amber is more in A, blue more in B");
        frame.overlay(this.canvases[1], picture, LARGE, frame.b, probe);
        frame.difference(this.canvases[2], picture, LARGE, probe);
      }
      this.drawStrip(frame, probe, picture);
    }
    return Boolean(picture);
  }

  drawStrip(frame, probe, picture) {
    const { evolution, index } = frame.a;
    const focused = this.strip.contains(document.activeElement);
    if (this.evolution !== evolution) {
      this.evolution = evolution;
      this.seen.disconnect();
      this.frames = evolution.steps.map(({ step }, i) => {
        const canvas = el("canvas", { width: 1, height: 1 });
        const node = el(
          "button",
          {
            tabIndex: -1,
            "data-index": i,
            "aria-label": `Step ${step}`,
            title: `Step ${whole(step)}`,
            on: { click: () => this.page.seek("a", i) },
          },
          canvas,
          el("span", {}, whole(step)),
        );
        return { node, canvas, visible: false, drawn: "" };
      });
      this.strip.replaceChildren(...this.frames.map(({ node }) => node));
      for (const { node } of this.frames) this.seen.observe(node);
      this.current = null;
    }
    const beside = frame.b && [frame.b.evolution.run, frame.b.evolution.tag];
    const look = JSON.stringify([probe, frame.tables.key, frame.scale, beside]);
    this.frames.forEach((item, i) => {
      if (!item.visible || item.drawn === look) return;
      item.drawn = look;
      // Only the step differs from the frame on show.
      const then = Object.assign(Object.create(Frame.prototype), frame);
      then.a = new Side(evolution, i);
      then.overlay(item.canvas, picture, FRAME, then.a, probe);
    });
    if (this.current !== this.frames[index]) {
      if (this.current) Object.assign(this.current.node, { tabIndex: -1, ariaCurrent: null });
      this.current = this.frames[index];
      Object.assign(this.current.node, { tabIndex: 0, ariaCurrent: "step" });
      if (focused) this.current.node.focus();
    }
  }
}

/** Compare, colours, filters: the settings beside the gallery. */
class Panel {
  constructor(page) {
    const set = (key) => (value) => page.set({ [key]: value });
    const select = (key) => {
      const node = el("select", { on: { change: () => page.set({ [key]: node.value }) } });
      return node;
    };
    this.page = page;
    this.compare = new Segments(
      "View",
      [
        ["off", "One", "One step of one run"],
        ["side", "A | B", "Two steps or two runs side by side"],
        ["difference", "A − B", "Where A has more or less heat than B"],
      ],
      set("compare"),
    );
    this.together = el("input", {
      type: "checkbox",
      on: { change: () => page.set({ together: this.together.checked ? "yes" : "no" }) },
    });
    this.tie = el(
      "label",
      { className: "check", title: "B shows the step closest to A's" },
      this.together,
      "Same step in both runs",
    );
    this.colors = select("colors");
    options(
      this.colors,
      [
        ["viridis", "Viridis"],
        ["cividis", "Cividis"],
        ["inferno", "Inferno"],
        ["magma", "Magma"],
        ["gray", "Grey"],
        ["turbo", "Turbo (uneven, not for all eyes)"],
      ],
      "viridis",
    );
    this.opacity = el("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 5,
      on: { input: () => page.set({ opacity: this.opacity.value }) },
    });
    this.opacityValue = el("span", { className: "value" });
    this.scale = new Segments(
      "Full colour is the maximum of",
      [
        ["map", "Map", "Each map's own maximum: compares shapes"],
        ["probe", "Probe", "The probe's maximum over the whole run"],
        ["run", "Run", "The maximum of all probes over the whole run"],
      ],
      set("scale"),
    );
    this.search = el("input", {
      type: "search",
      placeholder: "Name",
      on: { input: () => page.set({ search: this.search.value }) },
    });
    this.class = select("class");
    this.prediction = select("prediction");
    this.sort = select("sort");
    this.size = new Segments(
      "Size",
      [
        ["s", "S", "Small"],
        ["m", "M", "Medium"],
        ["l", "L", "Large"],
      ],
      set("size"),
    );
    this.alone = el("a", { target: "_blank", rel: "noopener" }, "Open alone");
    this.predictionField = field("Prediction", this.prediction);
    const section = (title, ...children) => el("section", {}, el("h2", {}, title), ...children);
    const opacity = field(
      "Opacity",
      this.opacity,
      "Of the hottest places; colder ones are more transparent",
    );
    opacity.append(this.opacityValue);
    opacity.classList.add("slider");
    this.node = el(
      "aside",
      { id: "panel", "aria-label": "Settings" },
      section("Compare", this.compare.node, this.tie),
      section("Heat", field("Colours", this.colors), opacity, this.scale.node),
      section(
        "Probes",
        field("Search", this.search),
        field("Class", this.class, "The probe's label, or the class explained where it has none"),
        this.predictionField,
        field("Sort", this.sort),
        this.size.node,
      ),
      section(
        "Share",
        el(
          "div",
          { className: "share" },
          el("button", { on: { click: () => page.share() } }, "Copy link"),
          this.alone,
        ),
        el(
          "p",
          { className: "keys" },
          ...[["←", "→"], ["Home", "End"], ["Space"]].flatMap((keys, i) => [
            ...keys.map((key) => el("kbd", {}, key)),
            [" step ", " ends ", " play"][i],
          ]),
        ),
      ),
    );
  }

  update(frame) {
    const { state, a } = this.page;
    this.compare.value = state.compare;
    this.tie.hidden = !frame.b || frame.b.evolution === a;
    this.together.checked = state.together === "yes";
    if (this.colors.value !== state.colors) this.colors.value = state.colors;
    if (this.opacity.value !== state.opacity) this.opacity.value = state.opacity;
    this.opacity.style.setProperty("--done", `${state.opacity}%`);
    setText(this.opacityValue, `${state.opacity} %`);
    this.scale.value = frame.scale;
    if (this.search.value !== state.search) this.search.value = state.search;
    const classes = [...new Set(a.probes.map((_, probe) => classOf(a, probe)))].sort(
      (x, y) => x - y,
    );
    options(
      this.class,
      [["", "All classes"], ...classes.map((index) => [String(index), a.className(index)])],
      state.class,
    );
    const comparing = frame.compare !== "off";
    const known = a.steps.some(({ predicted }) => predicted);
    this.prediction.disabled = !known;
    options(
      this.prediction,
      [
        ["", "All"],
        ["changed", comparing ? "Differs between A and B" : "Changed since the first step"],
        ["wrong", "Wrong at this step"],
        ["right", "Right at this step"],
      ],
      state.prediction,
    );
    this.predictionField.title = !known
      ? "The run holds no predictions"
      : comparing
        ? "Differs: the class predicted for A is not the one predicted for B"
        : "Changed: the class predicted at the step shown is not the one predicted at the first step";
    options(
      this.sort,
      [
        ["logged", "As logged"],
        ["drift", "Largest drift at any step"],
        ["now", comparing ? "Largest drift from A to B" : "Largest drift at this step"],
        ["score", "Lowest score at this step"],
        ["name", "Name"],
      ],
      state.sort,
    );
    this.size.value = state.size;
  }
}

// ---------------------------------------------------------------------------------------------
// View: the surroundings
// ---------------------------------------------------------------------------------------------

/** TensorBoard's window where the page is one of its tabs; null where it stands alone. */
function findHost() {
  try {
    return window.parent !== window && "tensorboard" in window.parent ? window.parent : null;
  } catch {
    return null; // another origin
  }
}

/** TensorBoard tells a tab that its reload button was pressed only after this handshake. */
function onHostReload(host, reload) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.isReply) return;
    port1.postMessage(JSON.stringify({ ...message, payload: null, error: null, isReply: true }));
    if (message.type === "experimental.DataReloaded") reload();
  };
  host.postMessage("experimental.bootstrap", location.origin, [port2]);
}

/** TensorBoard marks its dark mode by a class and tells its tabs nothing; alone, the system decides. */
function followTheme(host) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const dark = host ? host.document.body.classList.contains("dark-mode") : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  if (host) new MutationObserver(apply).observe(host.document.body, { attributeFilter: ["class"] });
  else system.addEventListener("change", apply);
  apply();
}

/** A tab does not inherit TensorBoard's fonts; the files are there, so they need only be named. */
function borrowFonts(host) {
  // Addresses in its style sheets leave out the prefix that it may be served under.
  const root = new URL("../../../", import.meta.url);
  const here = (_, url) => `url("${new URL(url.replace(/^[/]/, ""), root)}")`;
  const rules = [...host.document.styleSheets].flatMap(({ cssRules }) => [...cssRules]);
  for (const { style } of rules.filter((rule) => rule instanceof host.CSSFontFaceRule)) {
    if (!/^["']?Roboto["']?$/.test(style.fontFamily)) continue;
    const source = style.getPropertyValue("src").replace(/url\(["']?([^"')]+)["']?\)/g, here);
    const face = new FontFace("Roboto", source, {
      weight: style.fontWeight || "400",
      style: style.fontStyle || "normal",
      unicodeRange: style.getPropertyValue("unicode-range") || "U+0-10FFFF",
    });
    document.fonts.add(face);
  }
}

/** The address that holds the state: TensorBoard's where there is one, otherwise the page's own. */
class Address {
  constructor(host, changed) {
    this.window = host ?? window;
    this.host = host;
    this.timer = null;
    this.known = this.read();
    this.window.addEventListener("hashchange", () => {
      const text = this.read();
      if (text === this.known) return; // TensorBoard has changed its own part
      clearTimeout(this.timer);
      this.known = text;
      changed(text);
    });
  }

  read() {
    const { hash } = this.window.location;
    return this.host ? readHostHash(hash) : hash.slice(1);
  }

  hashOf(text) {
    return this.host ? writeHostHash(this.window.location.hash, text) : `#${text}`;
  }

  write(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { hash } = this.window.location;
      // TensorBoard shows another tab: its address is not ours to change now.
      if (this.host && !new RegExp(`^#?(${PLUGIN}\\b|$)`).test(hash)) return;
      this.known = text;
      const { history } = this.window;
      if (this.read() !== text) history.replaceState(history.state, "", this.hashOf(text));
    }, ADDRESS_PAUSE);
  }

  link(text) {
    return new URL(this.hashOf(text), this.window.location.href).href;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not allowed, or no secure connection
  }
}

// ---------------------------------------------------------------------------------------------
// The page
// ---------------------------------------------------------------------------------------------

class Page {
  constructor(source, host) {
    Object.assign(this, {
      source,
      host,
      series: [],
      a: null,
      b: null,
      order: [],
      cards: [],
      playing: false,
    });
    this.address = new Address(host, (text) => this.open(text));
    this.state = textToState(this.address.read());
    this.pictures = new Pictures(source, () => this.redraw());
    this.build();
    document.addEventListener("keydown", (event) => this.key(event));
    if (source instanceof Report) return;
    if (host) onHostReload(host, () => this.refresh());
    for (const [target, event] of [
      [document, "visibilitychange"],
      [window, "resize"],
    ]) {
      target.addEventListener(event, () => this.missed && this.visible && this.refresh());
    }
  }

  build() {
    this.transports = { a: new Transport(this, "a"), b: new Transport(this, "b") };
    this.panel = new Panel(this);
    this.large = new LargeView(this);
    this.legend = new Legend();
    this.summary = el("p", { className: "summary", role: "status" });
    this.tune = iconButton("tune", "Settings", () => this.togglePanel());
    this.tune.setAttribute("aria-controls", "panel");
    this.alert = el("div", { className: "alert", role: "alert", hidden: true });
    this.notes = el("ul", { className: "notes", "aria-label": "Notes", hidden: true });
    this.live = liveText();
    this.gallery = el("ul", { className: "gallery" });
    this.empty = el("div", { className: "empty", role: "status" });
    this.top = el(
      "header",
      { className: "top" },
      this.transports.a.node,
      this.transports.b.node,
      el("div", { className: "line-up" }, this.tune, this.summary, this.legend.node),
    );
    const heading = el("h2", { className: "unseen" }, "Probes");
    this.main = el("main", {}, this.top, this.alert, this.notes, heading, this.gallery, this.empty);
    this.root = el(
      "div",
      { id: "ablation-cam" },
      el("h1", { className: "unseen" }, PAGE_TITLE),
      this.panel.node,
      this.main,
      this.large.node,
      this.live,
    );
    this.togglePanel(matchMedia("(min-width: 960px)").matches);
    this.panel.alone.hidden = !this.host;
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries)
          this.cards[target.dataset.probe].visible = isIntersecting;
        this.looked = true;
        this.redraw();
      },
      { root: this.main, rootMargin: "200px" },
    );
    this.say("Loading …");
    document.body.append(this.root);
  }

  togglePanel(open = this.panel.node.hidden) {
    this.panel.node.hidden = !open;
    this.tune.setAttribute("aria-expanded", String(open));
  }

  get visible() {
    // TensorBoard hides the tabs it does not show by giving them no height.
    return !document.hidden && window.innerHeight > 0;
  }

  // Loading ------------------------------------------------------------------------------------

  /** Load what the state names; afterwards, the view is that of the state. */
  async load() {
    const ticket = (this.ticket = {});
    try {
      const { series, message } = await this.source.list();
      const lost = [];
      const find = (run, tag) => {
        const found = series.find((one) => one.run === run && (!tag || one.tag === tag));
        if (!found && run && series.length)
          lost.push(`There is no run “${run}” with tag “${tag || PLUGIN}”; this is another one.`);
        return found ?? series[0] ?? null;
      };
      const { run, tag, brun, btag, compare } = this.state;
      const a = find(run, tag);
      const b = a && compare !== "off" ? find(brun || a.run, btag || a.tag) : null;
      const known = (wanted) =>
        [this.a, this.b].find((e) => e && wanted && e.run === wanted.run && e.tag === wanted.tag);
      const first = a ? await this.source.load(a, known(a)) : null;
      const second = b && b !== a ? await this.source.load(b, known(b)) : b && first;
      if (ticket !== this.ticket) return; // the user has asked for something else meanwhile
      this.complain(null);
      this.series = series;
      this.show(first, second, message, lost);
    } catch (error) {
      if (ticket !== this.ticket) return;
      if (!(error instanceof Problem)) console.error(error);
      this.complain(
        error instanceof Problem
          ? error.message
          : `The page could not show this data (${error.message}).`,
      );
    }
  }

  show(a, b, message, lost) {
    const same = (key) => a?.[key] === this.a?.[key];
    if (!["run", "tag", "fingerprint"].every(same)) this.cards = [];
    Object.assign(this, { a: a?.length ? a : null, b: b?.length ? b : null });
    this.root.classList.toggle("nothing", !this.a);
    if (!this.a) {
      this.say(
        a
          ? "The first heatmaps of this run have not been written yet. They come with its first validation."
          : "No heatmaps yet",
        a ? null : (message ?? ""),
      );
      return this.ready();
    }
    if (!this.cards.length) {
      this.seen.disconnect();
      this.cards = this.a.probes.map((_, probe) => new Card(this, probe));
      this.gallery.replaceChildren();
      this.order = [];
    }
    const ofB = this.b && this.b !== this.a ? this.b.notes.map((note) => `B: ${note}`) : [];
    const notes = [...lost, ...this.a.notes, ...ofB];
    this.notes.hidden = !notes.length;
    this.notes.replaceChildren(...notes.map((note) => el("li", {}, shorten(note, 500))));
    this.redraw();
  }

  /** Say something where the gallery would be. */
  say(title, more = null) {
    this.empty.hidden = false;
    this.empty.replaceChildren(el("h2", {}, title));
    if (more === null) return;
    const example =
      "from lightning_ablationcam import AblationCAMMonitor\n\nTrainer(callbacks=[AblationCAMMonitor()]).fit(module, datamodule)";
    this.empty.append(
      el(
        "p",
        {},
        more || "Add the callback to a Trainer and let a validation pass. The tab fills by itself.",
      ),
      el("pre", {}, example),
    );
  }

  complain(message) {
    this.alert.hidden = !message;
    if (!message) return;
    this.root.classList.toggle("nothing", !this.a);
    if (!this.a) this.empty.hidden = true;
    const text = message + (this.a ? " What was loaded before is still shown." : "");
    // An alert is spoken whenever it changes: once is enough while a server stays away.
    if (this.alert.firstChild?.textContent !== text) {
      const again = el("button", { on: { click: () => this.refresh() } }, "Try again");
      this.alert.replaceChildren(el("p", {}, text), again);
    }
    this.ready();
  }

  /** Ask for news, keeping the user's place: someone at the newest step follows, others stay. */
  async refresh() {
    this.missed = !this.visible;
    if (this.missed) return;
    const started = performance.now();
    clearTimeout(this.poll);
    await this.load();
    const took = performance.now() - started;
    if (!(this.source instanceof Report))
      this.poll = setTimeout(() => this.refresh(), Math.max(POLL, took * POLL_SHARE));
  }

  // State --------------------------------------------------------------------------------------

  set(change) {
    const before = this.state;
    this.state = { ...before, ...change };
    this.address.write(stateToText(this.state));
    const loads = ["run", "tag", "brun", "btag"].some((key) => before[key] !== this.state[key]);
    const compares = this.state.compare !== "off";
    if (compares !== (before.compare !== "off")) {
      // B starts as A's own run, which is here already.
      this.b = compares && !this.state.brun ? this.a : null;
      if (compares && !this.b) return this.load();
    }
    if (loads) this.load();
    this.redraw();
  }

  /** Take over an address that the user has changed. */
  open(text) {
    this.pause();
    this.state = textToState(text);
    this.load();
  }

  choose(side, index) {
    const { run, tag } = this.series[index];
    this.set(side === "a" ? { run, tag } : { brun: run, btag: tag });
  }

  /** Whether B's step is A's: two runs that move together. */
  get tied() {
    return Boolean(this.b && this.b !== this.a && this.state.together === "yes");
  }

  get index() {
    return this.state.step === ""
      ? this.a.length - 1
      : nearestIndex(this.a.numbers, Number(this.state.step));
  }

  get indexB() {
    const { numbers, length } = this.b;
    if (this.tied) return nearestIndex(numbers, this.a.numbers[this.index]);
    if (this.state.bstep === "first") return 0;
    return this.state.bstep === "newest"
      ? length - 1
      : nearestIndex(numbers, Number(this.state.bstep));
  }

  seek(side, index, playing = false) {
    if (!this.a || (side === "b" && (!this.b || this.tied))) return;
    if (!playing) this.pause();
    const { numbers, length } = side === "a" ? this.a : this.b;
    const to = Math.min(length - 1, Math.max(0, index));
    // At the newest step the view follows a live run; the address then says "newest".
    if (side === "a") this.set({ step: to === length - 1 ? "" : String(numbers[to]) });
    else this.set({ bstep: to === length - 1 ? "newest" : to ? String(numbers[to]) : "first" });
  }

  move(side, by) {
    if (this.a) this.seek(side, (side === "a" ? this.index : this.b ? this.indexB : 0) + by);
  }

  // Playing ------------------------------------------------------------------------------------

  toggle() {
    if (this.playing) return this.pause();
    if (!this.a || this.a.length < 2) return;
    if (this.index === this.a.length - 1) this.seek("a", 0);
    this.playing = true;
    let last = performance.now();
    const tick = (now) => {
      if (!this.playing || !this.a) return;
      const pause = 1000 / Number(this.state.speed);
      const steps = Math.floor((now - last) / pause);
      if (steps > 0) {
        last += steps * pause;
        this.seek("a", this.index + steps, true);
        if (this.index === this.a.length - 1) return this.pause();
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    this.redraw();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    const { step, epoch } = this.a.steps[this.index];
    this.announce(`Paused at step ${step}, epoch ${epoch}`);
    this.redraw();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.a) return;
    const { target } = event;
    const slider = target.matches?.("input[data-step]");
    // Fields, lists and switches have their own use for these keys.
    if (target.matches?.("input, select, textarea") && !(slider && event.key === " ")) return;
    const step = {
      ArrowLeft: () => this.move("a", -1),
      ArrowRight: () => this.move("a", 1),
      Home: () => this.seek("a", 0),
      End: () => this.seek("a", this.a.length - 1),
    }[event.key];
    if (!step && (event.key !== " " || target.matches?.("button, a"))) return;
    event.preventDefault();
    if (!step) return this.toggle();
    step();
    // The slider speaks for itself, but only where it has the focus.
    if (!slider)
      this.announce(`Step ${this.a.numbers[this.index]}, epoch ${this.a.steps[this.index].epoch}`);
  }

  announce(text) {
    // While the dialog is open, only what is inside it is spoken.
    for (const live of [this.live, this.large.live]) setText(live, text);
  }

  async share() {
    const link = this.address.link(stateToText(this.state));
    if (await copy(link)) return this.toast("Link copied");
    const shown = el("input", { value: link, readOnly: true, "aria-label": "Link to this view" });
    this.toast("Copy this link: ", shown);
    shown.select();
  }

  toast(text, ...more) {
    this.note?.remove();
    const close = iconButton("close", "Close", () => this.note.remove());
    this.note = el("div", { className: "toast" }, text, ...more, close);
    this.root.append(this.note);
    this.announce(text);
    if (!more.length) setTimeout((note) => note.remove(), 4000, this.note);
  }

  // Drawing ------------------------------------------------------------------------------------

  /** Draw in the next frame; however often it is asked for before, once. */
  redraw() {
    this.planned ??= requestAnimationFrame(() => {
      this.planned = null;
      if (this.a) this.draw();
    });
  }

  draw() {
    const a = new Side(this.a, this.index);
    const b = this.b && this.state.compare !== "off" ? new Side(this.b, this.indexB, this.a) : null;
    const frame = new Frame(this.state, a, b);
    this.root.dataset.compare = frame.compare;
    this.gallery.dataset.size = this.state.size;
    for (const [name, side] of [
      ["a", a],
      ["b", b],
    ]) {
      this.transports[name].node.hidden = !side;
      if (!side) continue;
      options(
        this.transports[name].run,
        this.names(),
        String(
          this.series.findIndex(
            ({ run, tag }) => run === side.evolution.run && tag === side.evolution.tag,
          ),
        ),
      );
      this.transports[name].update(side, this.playing, this.state);
    }
    this.panel.update(frame);
    if (this.host) {
      const alone = `../../plugin_entry.html?name=${PLUGIN}#${stateToText(this.state)}`;
      this.panel.alone.href = new URL(alone, this.source.base).href;
    }
    this.legend.update(frame);
    this.arrange(frame);
    let complete = !this.pictures.busy;
    for (const card of this.cards) if (card.visible) complete = card.draw(frame) && complete;
    complete = this.large.draw(frame) && complete;
    if (complete && (this.looked || !this.order.length)) this.ready();
  }

  names() {
    const tags = new Map();
    for (const { run } of this.series) tags.set(run, (tags.get(run) ?? 0) + 1);
    return this.series.map(({ run, tag }, i) => [
      String(i),
      (run || ".") + (tags.get(run) > 1 || tag !== PLUGIN ? ` · ${tag}` : ""),
    ]);
  }

  /** Put the right cards into the gallery. While playing they stay: nobody can watch a moving card. */
  arrange(frame) {
    if (!this.playing || !this.order.length) {
      const other =
        frame.b &&
        ((probe) => ({ predicted: frame.b.at("predicted", probe), drift: frame.drift(probe) }));
      const order = selectProbes(this.a, this.state, frame.a.index, other);
      if (
        order.length !== this.gallery.children.length ||
        order.some((probe, i) => probe !== this.order[i])
      ) {
        this.order = order;
        this.looked = false;
        this.gallery.replaceChildren(...order.map((probe) => this.cards[probe].node));
        this.seen.disconnect();
        for (const probe of order) this.seen.observe(this.cards[probe].node);
        this.cards.forEach((card, probe) => order.includes(probe) || (card.visible = false));
      }
      this.empty.hidden = order.length > 0;
      if (!order.length) {
        this.say("No probe passes the filters");
        this.empty.append(
          el(
            "button",
            {
              on: { click: () => this.set({ search: "", class: "", prediction: "" }) },
            },
            "Show all probes",
          ),
        );
      }
    }
    const all = this.a.probes.length;
    const count =
      this.order.length === all
        ? `${all} ${all === 1 ? "probe" : "probes"}`
        : `${this.order.length} of ${all} probes`;
    const words = [count, `layer ${shorten(this.a.layer)}`, `score: ${shorten(this.a.score)}`];
    const { failed } = this.pictures;
    if (failed)
      words.push(`${failed} ${failed === 1 ? "picture" : "pictures"} could not be loaded`);
    setText(this.summary, words.join(" · "));
  }

  /** Outside checks, and people with a stopwatch, wait for this. */
  ready() {
    document.documentElement.dataset.ready = "1";
  }
}

/** Show the page in the empty document that TensorBoard, or a report, has opened. */
export async function render() {
  document.documentElement.lang = "en";
  document.title = PAGE_TITLE;
  const embedded = document.getElementById(EMBEDDED);
  const host = findHost();
  followTheme(host);
  if (!embedded) {
    const style = el("link", {
      rel: "stylesheet",
      href: new URL("style.css", import.meta.url).href,
    });
    const styled = new Promise((done) =>
      ["load", "error"].forEach((event) => style.addEventListener(event, done)),
    );
    document.head.append(el("meta", { name: "viewport", content: "width=device-width" }), style);
    await styled;
    if (host) borrowFonts(host);
  }
  await new Page(embedded ? new Report(embedded.textContent) : new Server(), host).refresh();
}
