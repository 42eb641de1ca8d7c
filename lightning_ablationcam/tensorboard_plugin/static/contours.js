/**
 * Contour lines of an interpolated map, by marching squares.
 */

/**
 * A level at which a line is drawn, and how.
 *
 * @typedef {object} Contour
 * @property {number} level
 * @property {string} color
 * @property {number} wide In pixels of the page.
 */

/** Shares of the full colour at which lines are drawn, and how wide those are. */
export const CONTOURS = [
  { level: 0.25, wide: 1.2 },
  { level: 0.5, wide: 2 },
  { level: 0.75, wide: 3.2 },
];

/**
 * Sides of a square between four values, top, right, bottom, left, that a line joins, by which of the
 * values are beyond the level: 1 for the one at the top left, 2 at the top right, 4 at the bottom
 * right, 8 at the bottom left.
 */
const CROSSED = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
]; // prettier-ignore

/**
 * The line along which a map has a level, in shares of its width and height.
 *
 * @param {ArrayLike<number>} values height * width values, row by row.
 * @param {number} height
 * @param {number} width
 * @param {number} level Above 0: the line is around what is above it; below 0: below it.
 * @returns {[x: number, y: number][][]} Pairs of ends.
 */
function contourOf(values, height, width, level) {
  const sign = level < 0 ? -1 : 1;
  const over = (/** @type {number} */ x, /** @type {number} */ y) =>
    sign * (values[y * width + x] - level);
  /** @type {[x: number, y: number][][]} */
  const lines = [];
  for (let y = 0; y < height - 1; y++) {
    for (let x = 0; x < width - 1; x++) {
      const corners = [over(x, y), over(x + 1, y), over(x + 1, y + 1), over(x, y + 1)];
      const inside = corners.reduce((sum, value, i) => sum + (value > 0 ? 1 << i : 0), 0);
      for (const sides of CROSSED[inside]) {
        lines.push(
          sides.map((side) => {
            const [from, to] = [corners[side], corners[(side + 1) % 4]];
            const along = from / (from - to);
            // Clockwise, as the corners are listed.
            const dx = [along, 1, 1 - along, 0][side];
            const dy = [0, along, 1, 1 - along][side];
            return [(x + dx + 0.5) / width, (y + dy + 0.5) / height];
          }),
        );
      }
    }
  }
  return lines;
}

/**
 * Draw contour lines over all of a canvas, with dark edges, so that they are seen on any ground.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {{values: ArrayLike<number>, height: number, width: number}} map
 * @param {Contour[]} contours
 * @param {number} enlarged How often the context enlarges what is drawn: lines stay as wide.
 */
export function drawContours(context, { values, height, width }, contours, enlarged) {
  const { width: across, height: down, clientWidth } = context.canvas;
  const unit = across / (clientWidth || across) / enlarged;
  context.lineCap = "round";
  for (const { level, color, wide } of contours) {
    const path = new Path2D();
    for (const [from, to] of contourOf(values, height, width, level)) {
      path.moveTo(from[0] * across, from[1] * down);
      path.lineTo(to[0] * across, to[1] * down);
    }
    for (const [stroke, more] of /** @type {[string, number][]} */ ([
      ["#000", 2],
      [color, 0],
    ])) {
      context.strokeStyle = stroke;
      context.lineWidth = (wide + more) * unit;
      context.stroke(path);
    }
  }
}
