import assert from "node:assert/strict";
import { test } from "node:test";
import { evolutionOf, load, stepOf } from "./modules.mjs";

const { changesByStep, changesIn, flipsIn } = await load("changes.js");

/** Steps in which one field of one probe goes as given. */
function stepsWith(field, values, probes = 2, probe = 1) {
  return values.map((value, i) => {
    const step = stepOf(i, probes);
    step[field] = (step[field] ?? Array(probes).fill(null)).map((old, p) =>
      p === probe ? value : old,
    );
    return step;
  });
}

test("a flip is between the classes known last, over steps of which none is known", async () => {
  const steps = stepsWith("predicted", [0, 0, 1, null, 1, null, 2, 0]);
  const flips = flipsIn(await evolutionOf({ probes: 2, steps }));
  assert.deepEqual(
    flips.map(({ index, probe, from, to }) => [index, probe, from, to]),
    [
      [2, 1, 0, 1],
      [6, 1, 1, 2],
      [7, 1, 2, 0],
    ],
  );
});

test("without classes nothing flips", async () => {
  const steps = stepsWith("predicted", [0, 1, 0]);
  const evolution = await evolutionOf({ probes: 2, steps, task: "regression" });
  assert.deepEqual(flipsIn(evolution), []);
});

/** The steps at which a probe with these drifts jumps. */
async function jumpsOf(drifts) {
  const steps = stepsWith("drift", drifts);
  const changes = changesIn(await evolutionOf({ probes: 2, steps }));
  return changes.filter(({ kind }) => kind === "jump").map(({ index }) => index);
}

test("a jump stands out from the probe's own drifts", async () => {
  assert.deepEqual(await jumpsOf([null, 0.01, 0.02, 0.015, 0.4, 0.02, 0.01]), [4]);
  // One that always moves much has jumped nowhere.
  assert.deepEqual(await jumpsOf([null, 0.4, 0.5, 0.45, 0.42, 0.52, 0.47]), []);
});

test("below the floor there is none, however quiet it is", async () => {
  assert.deepEqual(await jumpsOf([null, 0.001, 0.001, 0.001, 0.09, 0.001, 0.001]), []);
  assert.deepEqual(await jumpsOf([null, 0.001, 0.001, 0.001, 0.11, 0.001, 0.001]), [4]);
});

test("of few drifts nobody knows what is usual", async () => {
  assert.deepEqual(await jumpsOf([null, 0.01, 0.01, 0.9, 0.01]), []);
  assert.deepEqual(await jumpsOf([null, 0.01, 0.01, 0.9, 0.01, 0.01]), [3]);
});

test("an alarm of the mean begins once, one of probes for each of them", async () => {
  const steps = Array.from({ length: 5 }, (_, i) => stepOf(i, 3));
  for (const i of [1, 2, 4]) steps[i].alarms = { low: [0, 2], any: [1, 2] };
  const rule = { measure: "balance", above: null, below: 0.4, for_passes: 1 };
  const alarms = [
    { ...rule, name: "low", of: "mean" },
    { ...rule, name: "any", of: "any" },
  ];
  const changes = changesIn(await evolutionOf({ probes: 3, steps, alarms }));
  assert.deepEqual(
    changes.map(({ index, probe, kind }) => [index, probe, kind]),
    [1, 4].flatMap((index) => [null, 1, 2].map((probe) => [index, probe, "alarm"])),
  );
});

test("steps come newest first, or by how much changed", () => {
  const jump = (index, drift) => ({ kind: "jump", index, probe: 0, drift });
  const flip = (index) => ({ kind: "flip", index, probe: 0, from: 0, to: 1 });
  const indices = (changes, largest) => changesByStep(changes, largest).map(({ index }) => index);
  const changes = [flip(1), flip(1), flip(4), jump(4, 0.2), jump(4, 0.5), jump(2, 0.9), flip(3)];
  assert.deepEqual(indices(changes, false), [4, 3, 2, 1]);
  assert.deepEqual(indices(changes, true), [4, 1, 2, 3]);
  // Jumps alone: the farthest, however many others have jumped elsewhere.
  assert.deepEqual(indices([jump(1, 0.2), jump(1, 0.3), jump(2, 0.9)], true), [2, 1]);
  const [{ changes: here }] = changesByStep(changes, false);
  assert.deepEqual(
    here.map(({ kind, drift }) => [kind, drift]),
    [
      ["flip", undefined],
      ["jump", 0.5],
      ["jump", 0.2],
    ],
  );
});

test("500 probes at 1,000 steps are all found", async () => {
  const steps = Array.from({ length: 1000 }, (_, i) => {
    const step = stepOf(i, 500);
    step.predicted = step.predicted.map((_, probe) => (i === probe ? 1 : 0));
    return step;
  });
  const evolution = await evolutionOf({ probes: 500, steps });
  const started = performance.now();
  // Each flips there and back, but the one that begins so.
  assert.equal(changesIn(evolution).length, 2 * 500 - 1);
  console.log(`found in ${(performance.now() - started).toFixed(0)} ms`);
  assert.equal(changesIn(evolution), changesIn(evolution), "once for all drawings");
});
