/**
 * Long lines with as many points as can be seen: a path of a thousand is drawn as slowly as it is long,
 * for every picture that changes near it.
 */

/**
 * The indices of the values that a line has to go through to look the same: the lowest and the highest
 * of each column, and the ends of every row without a gap. One null stands for each gap.
 *
 * @param {number[]} places Ascending, 0...1.
 * @param {(number|null)[]} values
 * @param {number} columns How wide the line is drawn.
 * @returns {number[]} Ascending.
 */
export function thinned(places, values, columns) {
  if (values.length <= 2 * columns) return values.map((_, i) => i);
  /** @type {Set<number>} */
  const kept = new Set();
  const columnOf = (/** @type {number} */ i) => Math.floor(places[i] * columns);
  let lowest = 0;
  let highest = 0;
  let start = 0;
  const keep = () => [lowest, highest].forEach((i) => kept.add(i));
  values.forEach((value, i) => {
    const before = i ? values[i - 1] : null;
    if (value === null) {
      if (before !== null) kept.add(i - 1);
      if (!i || before !== null) kept.add(i);
      return;
    }
    const begins = before === null;
    if (begins || columnOf(i) !== columnOf(start)) {
      if (!begins) keep();
      [start, lowest, highest] = [i, i, i];
    }
    if (begins || i === values.length - 1) kept.add(i);
    if (value < Number(values[lowest])) lowest = i;
    if (value > Number(values[highest])) highest = i;
    if (i === values.length - 1 || values[i + 1] === null) keep();
  });
  return [...kept].sort((a, b) => a - b);
}
