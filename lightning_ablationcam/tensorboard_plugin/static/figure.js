/**
 * A picture of the large view, with what it is below, and what its cell under the cursor says.
 */

import { cellAt } from "./cells.js";
import { el, setAttribute, setText } from "./elements.js";
import { LARGE, contextOf } from "./pictures.js";
import { Gestures } from "./zoom.js";

/** @import { Spot } from "./cells.js" */
/** @import { How, View } from "./looks.js" */
/** @import { Pane } from "./panes.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Side } from "./scene.js" */
/** @import { Zoom } from "./zoom.js" */

/** How far an arrow moves what is in sight, in shares of it. */
const PAN = 0.2;

/** @type {Record<string, [dx: number, dy: number]>} */
const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

const KEYS = "arrow keys go from cell to cell, Shift and arrows move the picture";

/**
 * A pane as a figure shows it.
 *
 * @typedef {object} Shown
 * @property {Pane} pane
 * @property {string} look
 * @property {string} caption
 * @property {{pane: Pane, share: number}|null} [wiped] What is shown right of a share of the width.
 */

export class Figure {
  /**
   * @param {Zoom} zoom
   * @param {(spot: Spot|null, byKey: boolean) => void} point Moves the cursor of all figures.
   */
  constructor(zoom, point) {
    this.zoom = zoom;
    this.point = point;
    /** @type {Side|null} That whose cells are outlined. */
    this.side = null;
    /** @type {Spot|null} */
    this.spot = null;
    this.canvas = el("canvas", { role: "img" });
    /** What is seen right of the line of a wipe is drawn here first. */
    this.other = el("canvas");
    this.cell = el("div", { className: "cell", hidden: true });
    this.frame = el(
      "div",
      {
        className: "frame",
        tabIndex: 0,
        role: "group",
        on: {
          keydown: (event) => this.key(/** @type {KeyboardEvent} */ (event)),
          blur: () => point(null, true),
        },
      },
      this.canvas,
      this.cell,
    );
    this.caption = el("figcaption");
    this.reading = el("p", { className: "reading" });
    this.node = el("figure", {}, this.frame, this.caption, this.reading);
    new Gestures(this.frame, zoom, (at) => point(at && zoom.spot(at), false));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const arrow = ARROWS[event.key];
    // Of what stands in the frame, the line of a wipe has these keys for itself.
    if (!arrow || !this.side || event.target !== this.frame) return;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation(); // steps have these keys elsewhere
    const [dx, dy] = arrow;
    if (event.shiftKey) return this.zoom.pan(PAN * dx, PAN * dy);
    const [rows, columns] = this.side.evolution.shape;
    const from = cellAt(this.side, this.spot ?? this.zoom.spot({ x: 0.5, y: 0.5 }));
    const [right, down] = this.spot ? [dx, dy] : [0, 0];
    const at = cellAt(this.side, {
      x: (from.column + right + 0.5) / columns,
      y: (from.row + down + 0.5) / rows,
    });
    const spot = { x: (at.column + 0.5) / columns, y: (at.row + 0.5) / rows };
    this.zoom.reveal(spot, { x: 0.5 / columns, y: 0.5 / rows });
    this.point(spot, true);
  }

  /**
   * @param {Shown} shown
   * @param {Picture|null} picture Null while it is on its way.
   * @param {View} view
   */
  draw({ pane, look, caption, wiped = null }, picture, view) {
    this.side = pane.missing ? null : pane.side;
    this.node.classList.toggle("missing", pane.missing);
    setAttribute(this.canvas, "data-kind", pane.kind);
    setAttribute(this.canvas, "data-look", look);
    setAttribute(this.canvas, "aria-label", pane.label);
    setAttribute(this.frame, "aria-label", `${pane.label}: ${KEYS}`);
    setText(this.caption, caption);
    this.frame.classList.toggle("zoomed", view.scale > 1);
    if (!picture) return;
    const how = { look, view };
    const longest = LARGE * Math.min(2, Math.ceil(devicePixelRatio));
    if (wiped) this.drawAside(wiped.pane, picture, longest, how);
    pane.draw(this.canvas, picture, longest, how);
    if (wiped) this.wipe(wiped.share);
  }

  /**
   * Draw a pane where it is not seen, by way of where it is: how wide lines are depends on that.
   *
   * @param {Pane} pane
   * @param {Picture} picture
   * @param {number} longest
   * @param {How} how
   */
  drawAside(pane, picture, longest, how) {
    pane.draw(this.canvas, picture, longest, how);
    const { width, height } = this.canvas;
    Object.assign(this.other, { width, height });
    contextOf(this.other).drawImage(this.canvas, 0, 0);
  }

  /**
   * Lay what was drawn aside over the canvas, right of a line.
   *
   * @param {number} share Where it is, in shares of the width.
   */
  wipe(share) {
    const { width, height } = this.canvas;
    const from = Math.round(share * width);
    if (from >= width) return;
    const rest = width - from;
    const context = contextOf(this.canvas);
    context.clearRect(from, 0, rest, height);
    context.drawImage(this.other, from, 0, rest, height, from, 0, rest, height);
  }

  /**
   * Outline the cell at a place, and say what it says.
   *
   * @param {Spot|null} spot
   * @param {string} text
   * @param {View} view
   */
  read(spot, text, { scale, x, y }) {
    this.spot = spot;
    setText(this.reading, text);
    this.cell.hidden = !spot || !this.side;
    if (!spot || !this.side) return;
    const { row, column, rows, columns } = cellAt(this.side, spot);
    const percents = {
      left: scale * (column / columns - x),
      top: scale * (row / rows - y),
      width: scale / columns,
      height: scale / rows,
    };
    for (const [name, share] of Object.entries(percents))
      this.cell.style.setProperty(name, `${100 * share}%`);
  }
}
