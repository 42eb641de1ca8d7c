/**
 * What part of the pictures of the large view is in sight: the same of all of them, so that they stay
 * aligned; and the gestures that change it.
 */

import { WHOLE } from "./looks.js";

/** @import { Spot } from "./cells.js" */
/** @import { View } from "./looks.js" */

const MOST_ENLARGED = 8;
/** How much a press of a button or a key enlarges, and a double click. */
const ZOOM_STEP = 1.5;
const ZOOM_LEAP = 3;
/** Pixels that a pointer moves at least to drag, and wheels turn to enlarge e-fold. */
const DRAG = 4;
const WHEEL = 320;
/** Wheel events this close, in ms, are one turn: what began as scrolling goes on as that. */
const ONE_TURN = 400;

/**
 * @param {number} value
 * @param {number} most
 */
const between0And = (value, most) => Math.min(most, Math.max(0, value));

export class Zoom {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {View} */
    this.view = WHOLE;
    /** When the page around was last scrolled by a wheel. */
    this.scrolled = -Infinity;
  }

  /**
   * Show another part, as much of it as there is.
   *
   * @param {View} view
   */
  set({ scale, x, y }) {
    const to = Math.min(MOST_ENLARGED, Math.max(1, scale));
    const rest = 1 - 1 / to;
    const view = { scale: to, x: between0And(x, rest), y: between0And(y, rest) };
    if (view.scale === this.view.scale && view.x === this.view.x && view.y === this.view.y) return;
    this.view = view;
    this.changed();
  }

  reset() {
    this.set(WHOLE);
  }

  /**
   * Enlarge, and keep a place where it is.
   *
   * @param {number} factor
   * @param {Spot} [at] In shares of what is in sight.
   */
  by(factor, at = { x: 0.5, y: 0.5 }) {
    const { scale } = this.view;
    const to = Math.min(MOST_ENLARGED, Math.max(1, scale * factor));
    const spot = this.spot(at);
    this.set({ scale: to, x: spot.x - at.x / to, y: spot.y - at.y / to });
  }

  /**
   * Move what is in sight, in shares of it.
   *
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    const { scale, x, y } = this.view;
    this.set({ scale, x: x + dx / scale, y: y + dy / scale });
  }

  /**
   * The place in the picture that stands at one in what is in sight.
   *
   * @param {Spot} at
   * @returns {Spot}
   */
  spot(at) {
    const { scale, x, y } = this.view;
    return { x: x + at.x / scale, y: y + at.y / scale };
  }

  /**
   * Move what is in sight as little as needed to show a place in the picture.
   *
   * @param {Spot} spot
   * @param {Spot} around How much of the picture is shown around it at least.
   */
  reveal(spot, around) {
    const { scale, x, y } = this.view;
    const moved = (/** @type {number} */ from, /** @type {number} */ at, /** @type {number} */ half) =>
      Math.min(at - half, Math.max(at + half - 1 / scale, from));
    this.set({ scale, x: moved(x, spot.x, around.x), y: moved(y, spot.y, around.y) });
  }

  /**
   * @param {string} key
   * @returns {boolean} Whether it was one of the zoom.
   */
  key(key) {
    if (key === "+" || key === "=") this.by(ZOOM_STEP);
    else if (key === "-") this.by(1 / ZOOM_STEP);
    else if (key === "0") this.reset();
    else return false;
    return true;
  }

  get isWhole() {
    return this.view.scale === 1;
  }

  get isMost() {
    return this.view.scale === MOST_ENLARGED;
  }
}

/** Wheel, pinch, drag and double click on one of the pictures. */
export class Gestures {
  /**
   * @param {HTMLElement} node
   * @param {Zoom} zoom
   * @param {(at: Spot|null) => void} point Called with where the pointer is, in shares of what is in
   *   sight, or null where it has left.
   */
  constructor(node, zoom, point) {
    this.node = node;
    this.zoom = zoom;
    this.point = point;
    /** @type {Map<number, Spot>} Pointers that are down, and where. */
    this.down = new Map();
    this.drags = false;
    node.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    node.addEventListener("pointerdown", (event) => this.press(event));
    node.addEventListener("pointermove", (event) => this.move(event));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"]))
      node.addEventListener(end, (event) => this.lift(event));
    node.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !this.down.size) point(null);
    });
    node.addEventListener("dblclick", (event) => {
      if (zoom.isWhole) zoom.by(ZOOM_LEAP, this.at(event));
      else zoom.reset();
    });
    // Two fingers are ours, one is the page's as long as there is nothing to move.
    for (const touch of /** @type {const} */ (["touchstart", "touchmove"]))
      node.addEventListener(
        touch,
        (event) => {
          if (event.touches.length > 1 && event.cancelable) event.preventDefault();
        },
        { passive: false },
      );
  }

  /**
   * Where something happened, in shares of what is in sight.
   *
   * @param {{clientX: number, clientY: number}} event
   * @returns {Spot}
   */
  at({ clientX, clientY }) {
    const { left, top, width, height } = this.node.getBoundingClientRect();
    return { x: (clientX - left) / width, y: (clientY - top) / height };
  }

  /**
   * With Ctrl a wheel always zooms, as touchpads say when they are pinched. Alone it does so where one
   * works in the picture already: it is enlarged, or has the focus; and never where it scrolls the page.
   *
   * @param {WheelEvent} event
   */
  wheel(event) {
    const { zoom } = this;
    const works = !zoom.isWhole || this.node.contains(document.activeElement);
    const goesOn = event.timeStamp - zoom.scrolled < ONE_TURN;
    const isOut = event.deltaY > 0;
    const isWanted = event.ctrlKey || event.metaKey || (works && !goesOn);
    if (!isWanted || (isOut && zoom.isWhole && !event.ctrlKey && !event.metaKey)) {
      zoom.scrolled = event.timeStamp;
      return;
    }
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? 16 * event.deltaY : event.deltaY;
    // Pinches come in much smaller numbers than turns of a wheel.
    const turn = event.ctrlKey && Math.abs(pixels) < 20 ? 4 * pixels : pixels;
    zoom.by(Math.exp(-turn / WHEEL), this.at(event));
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    this.down.set(event.pointerId, this.at(event));
    if (this.down.size === 1) this.drags = false;
    if (!this.zoom.isWhole || this.down.size > 1)
      for (const id of this.down.keys()) this.node.setPointerCapture(id);
    this.point(this.at(event));
  }

  /** @param {PointerEvent} event */
  move(event) {
    const { zoom, down } = this;
    const to = this.at(event);
    const from = down.get(event.pointerId);
    if (from && down.size === 2) this.pinch(event.pointerId, from, to);
    else if (from && !zoom.isWhole) {
      const { width, height } = this.node.getBoundingClientRect();
      this.drags ||= Math.hypot((to.x - from.x) * width, (to.y - from.y) * height) > DRAG;
      if (!this.drags) return;
      zoom.pan(from.x - to.x, from.y - to.y);
      down.set(event.pointerId, to);
    }
    this.point(to);
  }

  /**
   * @param {number} id Of the finger that has moved.
   * @param {Spot} from
   * @param {Spot} to
   */
  pinch(id, from, to) {
    const { width, height } = this.node.getBoundingClientRect();
    const other = /** @type {Spot} */ ([...this.down].find(([one]) => one !== id)?.[1]);
    const apart = (/** @type {Spot} */ one) =>
      Math.max(1, Math.hypot((one.x - other.x) * width, (one.y - other.y) * height));
    const middle = (/** @type {Spot} */ one) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
    const [before, after] = [middle(from), middle(to)];
    this.zoom.pan(before.x - after.x, before.y - after.y);
    this.zoom.by(apart(to) / apart(from), after);
    this.down.set(id, to);
  }

  /** @param {PointerEvent} event */
  lift(event) {
    this.down.delete(event.pointerId);
  }
}
