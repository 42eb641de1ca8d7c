/**
 * What is asked of rows of numbers, some of which are not known.
 */

/**
 * @param {number|null} value
 * @returns {value is number}
 */
const isKnown = (value) => Number.isFinite(value);

/**
 * The numbers among `values`.
 *
 * @param {(number|null)[]} values
 * @returns {number[]}
 */
export function finite(values) {
  return values.filter(isKnown);
}

/**
 * The largest of them, or 0 where there is none above it.
 *
 * @param {(number|null)[]} values
 */
export function largest(values) {
  return finite(values).reduce((most, value) => Math.max(most, value), 0);
}

/**
 * Their mean, or null where there is none.
 *
 * @param {(number|null)[]} values
 */
export function mean(values) {
  const known = finite(values);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/**
 * The index in ascending `steps` that lies closest to `step`.
 *
 * @param {number[]} steps
 * @param {number} step
 */
export function nearestIndex(steps, step) {
  let best = 0;
  steps.forEach((candidate, i) => {
    if (Math.abs(candidate - step) < Math.abs(steps[best] - step)) best = i;
  });
  return best;
}

/**
 * The middle of them, all of which are known: the mean of the two in the middle of an even number.
 *
 * @param {number[]} values At least one.
 */
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
