/**
 * The line of a wipe: A left of it, B right of it.
 */

import { el, setAttribute } from "./elements.js";

/** How far keys move it, in per cent. */
const BY_ARROW = 2;
const BY_PAGE = 10;

export class WipeLine {
  /** @param {(percent: number, isDone: boolean) => void} moved `isDone` unless it is being dragged. */
  constructor(moved) {
    this.moved = moved;
    this.percent = 50;
    this.handle = el("div", {
      className: "wipe-handle",
      tabIndex: 0,
      role: "slider",
      title: "Drag, or use the arrow keys",
      "aria-label": "Line between A and B",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    });
    this.node = el("div", { className: "wipe" }, this.handle);
    this.node.addEventListener("pointerdown", (event) => this.press(event));
    this.node.addEventListener("pointermove", (event) => this.drag(event));
    // Whether it was let go, or taken away by the browser.
    this.node.addEventListener("lostpointercapture", () => this.moved(this.percent, true));
    this.node.addEventListener("dblclick", (event) => event.stopPropagation());
    this.node.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0) return;
    event.stopPropagation(); // the picture stays where it is
    event.preventDefault();
    this.handle.focus({ preventScroll: true });
    this.node.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (!this.node.hasPointerCapture(event.pointerId)) return;
    event.stopPropagation();
    const frame = this.node.parentElement?.getBoundingClientRect();
    if (frame) this.moved(this.held((100 * (event.clientX - frame.left)) / frame.width), false);
  }

  /** @param {number} percent */
  held(percent) {
    return Math.round(Math.min(100, Math.max(0, percent)));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { percent } = this;
    /** @type {Record<string, number>} */
    const to = {
      ArrowLeft: percent - BY_ARROW,
      ArrowDown: percent - BY_ARROW,
      ArrowRight: percent + BY_ARROW,
      ArrowUp: percent + BY_ARROW,
      PageDown: percent - BY_PAGE,
      PageUp: percent + BY_PAGE,
      Home: 0,
      End: 100,
    };
    if (!Object.hasOwn(to, event.key)) return;
    event.preventDefault();
    event.stopPropagation(); // steps have these keys elsewhere
    this.moved(this.held(to[event.key]), true);
  }

  /** @param {number} percent */
  draw(percent) {
    this.percent = percent;
    this.node.style.left = `${percent}%`;
    setAttribute(this.handle, "aria-valuenow", String(percent));
    setAttribute(this.handle, "aria-valuetext", `A left of ${percent} %, B right of it`);
  }
}
