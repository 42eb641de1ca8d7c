/**
 * Regions: how they are read, and how their outlines are drawn over a picture.
 */

/**
 * A region as the data lists it: its height and width in cells, and the lengths of its runs in base
 * 64, as `runs_of` of the Python package writes them.
 *
 * @typedef {[height: number, width: number, runs: string]} Region
 */

/** Sides of the squares between four cells, as steps from their middle: left, top, right, bottom. */
const MIDDLES = [
  [-0.5, 0],
  [0, -0.5],
  [0.5, 0],
  [0, 0.5],
];

/**
 * Which sides the outline joins, by which of the four cells are inside: 1 for the one at the bottom
 * left, 2 at the bottom right, 4 at the top right, 8 at the top left.
 */
const JOINED = [
  [], [[0, 3]], [[3, 2]], [[0, 2]], [[1, 2]], [[1, 2], [0, 3]], [[1, 3]], [[0, 1]],
  [[0, 1]], [[1, 3]], [[0, 1], [3, 2]], [[1, 2]], [[0, 2]], [[3, 2]], [[0, 3]], [],
]; // prettier-ignore

/**
 * The cells of a region, 1 inside; what its runs leave open is outside.
 *
 * @param {Region} region
 */
function cellsOf([height, width, runs]) {
  const cells = new Uint8Array(height * width);
  let [place, inside, length, shift] = [0, 0, 0, 0];
  for (const character of atob(runs)) {
    const byte = character.charCodeAt(0);
    length += (byte & 127) * 2 ** shift;
    shift += 7;
    if (byte > 127) continue;
    if (inside) cells.fill(1, place, place + length);
    place += length;
    [inside, length, shift] = [1 - inside, 0, 0];
  }
  return cells;
}

/** @type {WeakMap<Region, Path2D>} In cells. */
const paths = new WeakMap();

/**
 * The outline of a region, halfway between the cells inside and those outside; nothing where it is
 * all of the picture.
 *
 * @param {Region} region
 */
function pathOf(region) {
  const known = paths.get(region);
  if (known) return known;
  const [height, width] = region;
  const cells = cellsOf(region);
  const path = new Path2D();
  const inside = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && x < width && y >= 0 && y < height && cells[y * width + x] ? 1 : 0;
  for (let y = 0; cells.includes(0) && y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      const top = inside(x - 1, y - 1) * 8 + inside(x, y - 1) * 4;
      for (const [from, to] of JOINED[top + inside(x, y) * 2 + inside(x - 1, y)]) {
        path.moveTo(x + MIDDLES[from][0], y + MIDDLES[from][1]);
        path.lineTo(x + MIDDLES[to][0], y + MIDDLES[to][1]);
      }
    }
  }
  paths.set(region, path);
  return path;
}

/**
 * Draw the outline of a region that covers the whole canvas: a light line with dark edges, which is
 * seen on any ground.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Region} region
 * @param {number} [enlarged] How often the context enlarges what is drawn: the line stays as wide.
 */
export function drawOutline(context, region, enlarged = 1) {
  const { width, height } = context.canvas;
  const path = new Path2D();
  path.addPath(pathOf(region), new DOMMatrix([width / region[1], 0, 0, height / region[0], 0, 0]));
  const thin = Math.max(1.6, Math.max(width, height) / 200) / enlarged;
  context.lineCap = "round";
  for (const [color, wide] of /** @type {[string, number][]} */ ([
    ["#000", thin + 2 / enlarged],
    ["#fff", thin],
  ])) {
    context.strokeStyle = color;
    context.lineWidth = wide;
    context.stroke(path);
  }
}
