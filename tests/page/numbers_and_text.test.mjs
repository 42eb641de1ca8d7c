import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.mjs";

const { finite, largest, mean, median, nearestIndex } = await load("numbers.js");
const { UNKNOWN, decimals, exactness, noneOf, number, percent, shorten, whole } =
  await load("text.js");

test("what is not known counts for nothing", () => {
  assert.deepEqual(finite([1, null, NaN, Infinity, -2]), [1, -2]);
  assert.equal(largest([null, 3, 2]), 3);
  assert.equal(largest([-1, null]), 0);
  assert.equal(mean([1, null, 3]), 2);
  assert.equal(mean([null, NaN]), null);
});

test("a median is the middle, and leaves what it is given as it was", () => {
  const values = [9, 1, 10];
  assert.equal(median(values), 9);
  assert.deepEqual(values, [9, 1, 10]);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
});

test("the nearest step, the earlier of two as near", () => {
  assert.equal(nearestIndex([10, 20, 30], 26), 2);
  assert.equal(nearestIndex([10, 20, 30], 25), 1);
  assert.equal(nearestIndex([10, 20], -99), 0);
  assert.equal(nearestIndex([10, 20], 1e12), 1);
});

test("numbers of any size in few digits", () => {
  assert.equal(number(0), "0");
  assert.equal(number(-0.25), "−0.25");
  assert.equal(number(1234.4), "1,234");
  assert.equal(number(0.0001234), "1.2e-4");
  assert.equal(number(1e7), "1.0e+7");
  assert.equal(number(null), UNKNOWN);
  assert.equal(number(NaN), UNKNOWN);
  assert.equal(whole(1234567), "1,234,567");
  assert.equal(percent(0.1234), "12.3 %");
  assert.equal(percent(null), UNKNOWN);
  assert.equal(decimals(0.5), "0.500");
});

test("a bound is rounded up, never down", () => {
  assert.equal(exactness(0), "exact");
  assert.equal(exactness(null), "");
  for (const error of [0.0123, 0.0121, 0.5, 0.000987, 0.11, 0.02]) {
    const [, bound] = /^within (\S+) %/.exec(exactness(error));
    assert.ok(Number(bound) / 100 >= error - 1e-9, `${error}: ${bound}`);
    assert.ok(Number(bound) / 100 <= error * 1.11, `${error}: ${bound}`);
  }
});

test("a cut text is as long as it may be, and never half a character", () => {
  assert.equal(shorten("abc", 3), "abc");
  assert.equal(shorten("abcd", 3), "ab…");
  assert.equal(shorten("\u{1F680}".repeat(5), 3), "\u{1F680}\u{1F680}…");
  assert.equal([...shorten("x".repeat(1000))].length, 80);
});

test("what a probe has nothing of, in words", () => {
  assert.equal(noneOf("label 2"), "no second label");
  assert.equal(noneOf("rival"), "no rival");
  assert.equal(noneOf(""), "no label");
});
