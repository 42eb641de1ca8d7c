import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.mjs";

const { thinned } = await load("thinning.js");

/** Places of so many values, from one end to the other. */
const evenly = (count) => Array.from({ length: count }, (_, i) => i / (count - 1));

/** A row of values that looks like chance and is the same each time. */
function noise(count) {
  let seed = 7;
  return Array.from({ length: count }, () => (seed = (seed * 16807) % 2147483647) / 2147483647);
}

test("a line with no more points than can be seen stays as it is", () => {
  const values = noise(20);
  assert.deepEqual(thinned(evenly(20), values, 10), [...values.keys()]);
});

test("of each column the lowest and the highest value stay, and both ends", () => {
  const [places, values] = [evenly(1000), noise(1000)];
  const kept = thinned(places, values, 40);
  assert.ok(kept.length <= 2 * 41 + 2);
  assert.deepEqual([kept[0], kept.at(-1)], [0, 999]);
  const seen = new Set(kept);
  for (let column = 0; column < 40; column++) {
    const inside = [...places.keys()].filter((i) => Math.floor(places[i] * 40) === column);
    const sorted = inside.slice().sort((i, j) => values[i] - values[j]);
    assert.ok(seen.has(sorted[0]) && seen.has(sorted.at(-1)), `column ${column}`);
  }
  assert.deepEqual(kept, kept.slice().sort((i, j) => i - j));
});

test("a single jump is never lost", () => {
  for (const at of [1, 499, 500, 998]) {
    const values = Array(1000).fill(0.5);
    values[at] = 1;
    assert.ok(thinned(evenly(1000), values, 16).includes(at));
  }
});

test("a gap stays a gap, and a value alone between two of them stays", () => {
  const values = noise(1000);
  values.fill(null, 300, 400).fill(null, 401, 420).fill(null, 990);
  const kept = thinned(evenly(1000), values, 8);
  const left = kept.map((i) => (values[i] === null ? null : i));
  // The ends of each row, and one null between them.
  const from = left.indexOf(299);
  assert.deepEqual(left.slice(from, from + 5), [299, null, 400, null, 420]);
  assert.deepEqual(left.slice(-2), [989, null]);
});

test("a line that begins with a gap", () => {
  const values = [...Array(500).fill(null), ...noise(500)];
  const kept = thinned(evenly(1000), values, 8);
  assert.deepEqual(kept.slice(0, 2), [0, 500]);
});

test("a line of nothing but gaps", () => {
  assert.deepEqual(thinned(evenly(100), Array(100).fill(null), 8), [0]);
});
