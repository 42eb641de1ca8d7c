import assert from "node:assert/strict";
import { test } from "node:test";
import { evolutionOf, load, seriesData, stateOf } from "./modules.mjs";

const { Side } = await load("scene.js");
const { classOf, hasAlarm, measureOf, pinnedProbes, selectProbes, sortChoices } =
  await load("selection.js");
const { PINS, pinsOf, withPinTurned } = await load("pins.js");

const data = seriesData({ probes: 4, steps: 3 });
data.probes.forEach((probe, i) => (probe.name = ["b10", "a", "b9", "c"][i]));
data.steps[2].scores = [3, 1, null, 2];
data.steps[2].balance = [0.5, 0.9, null, 0.1];
data.steps[2].predicted = [0, 0, 0, 1];
data.steps[1].drift = [0.1, 0.4, 0.2, 0];
const evolution = await evolutionOf(data);
const a = new Side(evolution, 2);

async function selected(changes, b = null) {
  return selectProbes(await stateOf(changes), a, b);
}

test("orders", async () => {
  assert.deepEqual(await selected(), [0, 1, 2, 3]);
  assert.deepEqual(await selected({ sort: "name" }), [1, 2, 0, 3]);
  assert.deepEqual(await selected({ sort: "score" }), [1, 3, 0, 2]);
  assert.deepEqual(await selected({ sort: "drift" }), [1, 2, 0, 3]);
  // Unknown at this step, but known at the one before.
  assert.deepEqual(await selected({ sort: "highest:balance" }), [1, 0, 3, 2]);
  assert.deepEqual(await selected({ sort: "highest:nothing" }), [0, 1, 2, 3]);
});

test("filters", async () => {
  assert.deepEqual(await selected({ search: " B" }), [0, 2]);
  assert.deepEqual(await selected({ class: "1" }), [1, 3]);
  assert.deepEqual(await selected({ prediction: "wrong" }), [1]);
  assert.deepEqual(await selected({ prediction: "changed" }), [3]);
  assert.deepEqual(await selected({ prediction: "right", search: "c" }), [3]);
  // An alarm that the run does not have filters nothing.
  assert.deepEqual(await selected({ alarm: "=gone" }), [0, 1, 2, 3]);
});

test("those that are pinned come first, in the order chosen, and no filter hides them", async () => {
  assert.deepEqual(await selected({ pins: "2-3" }), [2, 3, 0, 1]);
  assert.deepEqual(await selected({ pins: "0,3", sort: "name" }), [0, 3, 1, 2]);
  assert.deepEqual(await selected({ pins: "3", search: "b" }), [3, 0, 2]);
  const state = await stateOf({ pins: "0,3", search: "b" });
  assert.deepEqual(pinnedProbes(state, a, null), { pins: [0, 3], held: 1 });
});

test("what there is to choose", async () => {
  const values = sortChoices(evolution, false).map(([value]) => value);
  assert.deepEqual(values.slice(0, 5), ["logged", "name", "drift", "now", "score"]);
  assert.ok(values.includes("highest:balance") && values.includes("lowest:balance"));
  assert.equal(measureOf("highest:balance"), "balance");
  assert.equal(measureOf("drift"), "");
  assert.equal(classOf(evolution, 1), "1");
  assert.equal(hasAlarm(await stateOf({ alarm: "any" }), [a]), false);
});

test("pins as text and back", () => {
  let pins = "";
  for (const probe of [4, 2, 3, 9, 0]) pins = withPinTurned({ pins }, 12, probe);
  assert.equal(pins, "0,2-4,9");
  assert.deepEqual(pinsOf({ pins }, 12), [0, 2, 3, 4, 9]);
  pins = withPinTurned({ pins }, 12, 3);
  assert.equal(pins, "0,2,4,9");
  assert.equal(withPinTurned({ pins: "5" }, 12, 5), "");
  assert.match("0,2-4,9", PINS);
});

test("no address makes more pins than there are probes", () => {
  assert.deepEqual(pinsOf({ pins: "0-999999" }, 3), [0, 1, 2]);
  assert.deepEqual(pinsOf({ pins: "7,2-1,3" }, 3), []);
  assert.deepEqual(pinsOf({ pins: "" }, 3), []);
  for (const hostile of ["-1", "1-2-3", "1,", "x", "1".repeat(9), "1,".repeat(2000) + "1"])
    assert.doesNotMatch(hostile, PINS);
});
