import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./modules.mjs";

const { drawContours } = await load("contours.js");

/** The ends of all lines that are drawn of a map at a level, as texts. */
function endsOf(values, side, level) {
  const ends = [];
  globalThis.Path2D = class {
    moveTo(x, y) {
      ends.push(`${x.toFixed(6)} ${y.toFixed(6)}`);
    }
    lineTo(x, y) {
      this.moveTo(x, y);
    }
  };
  const canvas = { width: 1, height: 1, clientWidth: 1 };
  const context = { canvas, stroke() {} };
  drawContours(context, { values, height: side, width: side }, [{ level, color: "", wide: 1 }], 1);
  return ends;
}

test("lines are closed, whatever corners they go around", () => {
  // Cells of a square of two by two are above the level in every combination, alone in the middle.
  for (let above = 1; above < 16; above++) {
    for (const sign of [1, -1]) {
      const values = new Array(16).fill(0);
      [5, 6, 9, 10].forEach((place, i) => (values[place] = above & (1 << i) ? sign : 0));
      const counts = new Map();
      for (const end of endsOf(values, 4, 0.3 * sign)) counts.set(end, (counts.get(end) ?? 0) + 1);
      assert.ok(counts.size >= 4);
      assert.deepEqual([...new Set(counts.values())], [2], `${above} ${sign}`);
    }
  }
});
