import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.mjs";

const { DEFAULTS, readHostHash, stateToText, textToState, writeHostHash } = await load("state.js");

const CHANGED = {
  run: "a&b=c/ü #1",
  tag: "<b>",
  step: "-3",
  compare: "difference",
  brun: "other",
  btag: "t",
  bstep: "newest",
  together: "no",
  colors: "inferno",
  opacity: "100",
  scale: "run",
  role: "label 2",
  sides: "for",
  search: "50 % + x",
  class: "=a class",
  prediction: "wrong",
  sort: "highest:border_heat",
  size: "l",
  measure: "border_heat",
  alarm: "=an alarm",
  groups: "none",
  speed: "32",
  probe: "12",
  changes: "flips:largest",
  pins: "1,4-6",
};

test("a state comes back as it went", () => {
  for (const [key, value] of Object.entries(CHANGED)) {
    const state = { ...DEFAULTS, [key]: value };
    assert.deepEqual(textToState(stateToText(state)), state, key);
  }
  const all = { ...DEFAULTS, ...CHANGED };
  assert.deepEqual(textToState(stateToText(all)), all);
  assert.equal(stateToText(DEFAULTS), "");
});

test("links from before these keys were there mean what they meant", () => {
  const { changes, pins, ...others } = textToState("step=48&probe=2&sort=drift&compare=side");
  assert.equal(changes + pins, "");
  assert.equal(others.step, "48");
  assert.equal(others.probe, "2");
});

test("what an address cannot mean is left at its default", () => {
  const hostile = [
    "__proto__=x&constructor=y&toString=z&hasOwnProperty=w",
    "step=1e9&bstep=middle&probe=-1&opacity=101&sort=worst&speed=3&size=xl&compare=all",
    "sort=highest:__proto__&measure=../../x&role=__proto__&colors=constructor",
    "changes=all:smallest&changes=%00&pins=1-&pins=a&pins=1,,2&pins=1;2&pins= 1",
    `pins=${"1,".repeat(5000)}1&pins=99999999`,
    "%E0%A4%A&=&&&=x&?",
  ];
  for (const text of hostile) assert.deepEqual(textToState(text), DEFAULTS, text);
  assert.equal(Object.getPrototypeOf(textToState("__proto__=x")), Object.prototype);
});

test("TensorBoard's own part of an address stays as it was", () => {
  const hash = "#timeseries&runSelectionState=abc&p.other.x=1";
  const written = writeHostHash(hash, "step=48&search=a&b");
  assert.ok(written.startsWith("#timeseries&runSelectionState=abc&p.other.x=1&"));
  assert.equal(readHostHash(written), "step=48&search=a&b");
  assert.equal(writeHostHash(written, ""), hash);
  assert.equal(writeHostHash("", ""), "#ablation_cam");
  assert.equal(readHostHash("#ablation_cam&p.ablation_cam.view=%E0%A4%A"), "");
});
