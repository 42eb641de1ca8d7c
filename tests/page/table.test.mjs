import assert from "node:assert/strict";
import { test } from "node:test";
import { evolutionOf, load, seriesData, stateOf } from "./modules.mjs";

const { Scene, Side } = await load("scene.js");
const { tableOfProbes, tableOfSteps } = await load("table.js");

async function sceneOf(evolution, { index = 1, other = null, order = [0, 1] } = {}) {
  const a = new Side(evolution, index);
  const b = other && new Side(other, 0, evolution);
  const state = await stateOf({ compare: b ? "side" : "off" });
  const rest = { series: [], pictures: null, playing: false, role: "", signed: false, tied: false };
  return new Scene({ state, a, b, order, ...rest });
}

/** Rows as objects by the titles of their columns. */
function rowsOf(text) {
  const [head, ...rows] = text.split("\n").map((line) => line.split("\t"));
  for (const row of rows) assert.equal(row.length, head.length);
  return rows.map((row) => Object.fromEntries(head.map((title, i) => [title, row[i]])));
}

test("numbers in full, and what is not known empty", async () => {
  const data = seriesData({ probes: 2, steps: 2 });
  data.steps[1].scores = [1 / 3, null];
  data.steps[1].predicted = [0, 0];
  const rows = rowsOf(tableOfProbes(await sceneOf(await evolutionOf(data), { order: [1, 0] })));
  assert.deepEqual(
    rows.map(({ Probe, Score }) => [Probe, Score]),
    [
      ["p1", ""],
      ["p0", String(1 / 3)],
    ],
  );
  assert.equal(Number(rows[1].Score), 1 / 3);
  assert.equal(rows[1].Step, "20");
  assert.deepEqual(rows.map((row) => row["Right or wrong"]), ["wrong", "right"]);
  assert.equal(rows[0].Balance, "0.5");
});

test("a cell is one cell, and nothing that a spreadsheet would run", async () => {
  const data = seriesData({ probes: 2, steps: 1, run: "@run\tx" });
  data.probes[0].name = "=1+1";
  data.probes[1].name = "+a\r\nb";
  data.class_names = ["-cat", "dog", "owl"];
  data.steps[0].scores = [-1.5, 2];
  const rows = rowsOf(tableOfProbes(await sceneOf(await evolutionOf(data), { index: 0 })));
  assert.deepEqual(rows.map(({ Probe }) => Probe), ["'=1+1", "'+a b"]);
  assert.equal(rows[0].Run, "'@run x");
  assert.equal(rows[0].Predicted, "'-cat");
  assert.equal(rows[0].Score, "-1.5", "a number below 0 is no formula");
});

test("a row for each side, matched by name", async () => {
  const evolution = await evolutionOf({ probes: 2 });
  const data = seriesData({ probes: 3, run: "b", fingerprint: "another" });
  data.probes.forEach((probe, i) => (probe.name = ["p1", "x", "y"][i]));
  data.steps[0].scores = [7, 8, 9];
  const other = await evolutionOf(data);
  const rows = rowsOf(tableOfProbes(await sceneOf(evolution, { other })));
  assert.deepEqual(
    rows.map(({ Run, Probe, Score }) => [Run, Probe, Score]),
    [
      ["run", "p0", "1"],
      ["b", "p0", ""],
      ["run", "p1", "1"],
      ["b", "p1", "7"],
    ],
  );
});

test("a probe at every step of every run", async () => {
  const evolution = await evolutionOf({ probes: 2, steps: 3 });
  const other = await evolutionOf({ probes: 2, steps: 2, run: "b" });
  const rows = rowsOf(tableOfSteps(await sceneOf(evolution, { other }), 1));
  assert.deepEqual(
    rows.map(({ Run, Step }) => `${Run} ${Step}`),
    ["run 10", "run 20", "run 30", "b 10", "b 20"],
  );
  const alone = rowsOf(tableOfSteps(await sceneOf(evolution, { other: evolution }), 1));
  assert.equal(alone.length, 3, "two steps of one run have one table");
});

test("further runs and maps side by side have rows of their own", async () => {
  const also = { rival: { maxima: [2, 2], classes: [1, 1], scores: [5, 6] } };
  const data = seriesData({ probes: 2, steps: 2, also_shapes: { rival: [1, 2] } });
  data.also_maps = { rival: "rival" };
  for (const step of data.steps) step.also = also;
  const evolution = await evolutionOf(data);
  const { StepMaps } = await load("steps.js");
  evolution.held.set("rival", StepMaps.whole(new Uint8Array(2 * 4).fill(3), 4, 2, "run"));
  const third = await evolutionOf({ probes: 2, run: "c" });
  const { state, series, pictures } = await sceneOf(evolution);
  const a = new Side(evolution, 1);
  const rest = { series, pictures, playing: false, role: "", signed: false, tied: false };
  const others = [new Side(third, 1, evolution)];
  const parts = { ...rest, state, a, b: null, others, order: [1] };
  const runs = rowsOf(tableOfProbes(new Scene(parts)));
  assert.deepEqual(runs.map(({ Run }) => Run), ["run", "c"]);
  assert.equal(runs[0]["Drift from A"], "");
  assert.notEqual(runs[1]["Drift from A"], "");
  const roles = rowsOf(tableOfProbes(new Scene({ ...parts, others: [], roles: ["", "rival"] })));
  assert.deepEqual(
    roles.map(({ Map, Explained, Score }) => [Map, Explained, Score]),
    [
      ["Explained", "cat", "1"],
      ["Rival", "dog", "6"],
    ],
  );
  const steps = rowsOf(tableOfSteps(new Scene({ ...parts, roles: ["", "rival"] }), 0));
  assert.deepEqual(
    steps.map(({ Run, Map, Step }) => [Run, Map, Step].join(" ")).slice(0, 4),
    ["run Explained 10", "run Explained 20", "run Rival 10", "run Rival 20"],
  );
});

test("without classes there are no predictions", async () => {
  const evolution = await evolutionOf({ task: "regression", score: "value", class_names: null });
  const [row] = rowsOf(tableOfProbes(await sceneOf(evolution)));
  assert.ok(!("Predicted" in row));
  assert.equal(row.Value, "1");
});
