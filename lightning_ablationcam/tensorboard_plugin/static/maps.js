/**
 * The arithmetic of heatmaps: how a small one is enlarged, and how far two are apart.
 */

/**
 * For one position: the first cell it takes from, and the weights of that cell and those after it.
 *
 * @typedef {{first: number, weights: number[]}} Taps
 */

/**
 * Bicubic kernel (a = -0.5), as in Pillow, so that page and logged pictures look the same.
 *
 * @param {number} x
 */
function bicubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/**
 * @param {number} from Number of cells.
 * @param {number} to Number of positions.
 * @returns {Taps[]} One for each position.
 */
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

/** @type {Map<string, Taps[]>} */
const tapCache = new Map();

/**
 * @param {number} from
 * @param {number} to
 */
function cachedTaps(from, to) {
  const key = `${from}:${to}`;
  let found = tapCache.get(key);
  if (!found) tapCache.set(key, (found = taps(from, to)));
  return found;
}

/**
 * Interpolate a small map to the size of a picture.
 *
 * @param {ArrayLike<number>} cells h * w values, row by row.
 * @param {number} h
 * @param {number} w
 * @param {number} height
 * @param {number} width
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

/**
 * 1 - cosine between two maps: 0 is the same shape, 1 is nothing in common.
 *
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 * @returns {number|null} Null where one of them is 0, or their sizes differ.
 */
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
