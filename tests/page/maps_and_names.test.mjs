import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.mjs";

const { driftBetween, interpolate } = await load("maps.js");
const { fullName, shownNames } = await load("names.js");

test("drift is 1 - cosine", () => {
  assert.ok(Math.abs(driftBetween([1, 2, 3], [2, 4, 6])) < 1e-12);
  assert.equal(driftBetween([1, 0], [0, 1]), 1);
  assert.ok(Math.abs(driftBetween([1, 1], [1, 0]) - (1 - Math.SQRT1_2)) < 1e-12);
  assert.equal(driftBetween([0, 0], [1, 1]), null);
  assert.equal(driftBetween([1, 1], [1, 1, 1]), null);
});

test("interpolation keeps what is flat, and what is not enlarged", () => {
  const flat = interpolate(Array(6).fill(0.4), 2, 3, 20, 31);
  assert.ok(flat.every((value) => Math.abs(value - 0.4) < 1e-6));
  const same = interpolate([1, 2, 3, 4, 5, 6], 2, 3, 2, 3);
  same.forEach((value, i) => assert.ok(Math.abs(value - (i + 1)) < 1e-6));
});

test("interpolation is symmetric, and rows are rows", () => {
  const wide = interpolate([0, 1], 1, 2, 1, 8);
  const mirrored = interpolate([1, 0], 1, 2, 1, 8);
  wide.forEach((value, i) => assert.ok(Math.abs(value - mirrored[7 - i]) < 1e-6));
  const tall = interpolate([0, 1], 2, 1, 8, 1);
  tall.forEach((value, i) => assert.ok(Math.abs(value - wide[i]) < 1e-6));
  assert.ok(wide[0] < wide[7]);
});

const named = (names, labels, class_names = ["cat", "7", "dog"]) => ({
  probes: names.map((name, i) => ({ name, label: labels[i], text: null })),
  class_names,
});

test("automatic names are those of their classes", () => {
  const data = named(["00_cat", "01_7", "02_cat", "03_dog"], [0, 1, 0, 2]);
  const names = ["cat 1", "class 7 #1", "cat 2", "dog 1"];
  assert.deepEqual(shownNames(data), names);
  const evolution = { names, probes: data.probes };
  assert.equal(fullName(evolution, 2), "cat 2, logged as 02_cat");
  assert.equal(fullName({ names: ["x"], probes: [{ name: "x" }] }, 0), "x");
});

test("more than a hundred are numbered with three digits", () => {
  const names = Array.from({ length: 101 }, (_, i) => `${String(i).padStart(3, "0")}_cat`);
  assert.equal(shownNames(named(names, Array(101).fill(0)))[100], "cat 101");
  const others = names.map((name) => name.slice(1));
  assert.deepEqual(shownNames(named(others, Array(101).fill(0))), others);
});

test("all other names stay", () => {
  for (const [names, labels, classes] of [
    [["00_cat", "dog"], [0, 2]],
    [["01_cat", "00_cat"], [0, 0]],
    [["00_cat"], [2]],
    [["00_cat"], [null]],
    [["00_cat"], [0], null],
    [["00_cat"], [9]],
    // Two would be called the same.
    [["00_5", "01_class 5"], [0, 1], ["5", "class 5"]],
  ])
    assert.deepEqual(shownNames(named(names, labels, classes)), names);
});
