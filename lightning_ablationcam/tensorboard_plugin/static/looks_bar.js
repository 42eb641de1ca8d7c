/**
 * The controls of the pictures of the large view: how they are looked at, and how much of them.
 */

import { Segments, el, setText } from "./elements.js";
import { ALL_LOOKS } from "./looks.js";
import { DEFAULTS } from "./state.js";

/** @import { Scene, Verbs } from "./scene.js" */
/** @import { Zoom } from "./zoom.js" */

/** Where the line of a wipe begins. */
const MIDDLE = "50";

/** A button that does something as long as it is held: by a pointer, or by a key. */
class HoldButton {
  /**
   * @param {string} label
   * @param {string} hint
   * @param {(held: boolean) => void} hold
   */
  constructor(label, hint, hold) {
    this.node = el("button", { className: "hold", title: hint }, label);
    const begin = (/** @type {Event} */ event) => {
      if (event instanceof KeyboardEvent && event.key !== " " && event.key !== "Enter") return;
      if (event instanceof PointerEvent) this.node.setPointerCapture(event.pointerId);
      hold(true);
    };
    for (const name of ["pointerdown", "keydown"]) this.node.addEventListener(name, begin);
    for (const name of ["pointerup", "pointercancel", "keyup", "blur"])
      this.node.addEventListener(name, () => hold(false));
    // Long presses open a menu otherwise.
    this.node.addEventListener("contextmenu", (event) => event.preventDefault());
  }
}

export class LooksBar {
  /**
   * @param {Verbs} verbs
   * @param {Zoom} zoom
   * @param {(held: boolean) => void} peek Shows the originals as long as this is held.
   */
  constructor({ show }, zoom, peek) {
    this.zoom = zoom;
    this.looks = new Segments(
      "Look",
      [
        ["overlay", "Overlay", "Heat over the picture"],
        ["original", "Original", "The picture alone"],
        ["contour", "Contour", "Lines at 25, 50 and 75 % of the full colour, from thin to thick"],
        ["heat", "Heat", "Heat alone, in bare colours"],
        [ALL_LOOKS, "All", "Original, overlay and contour side by side"],
      ],
      (look) => show({ look }),
    );
    this.hold = new HoldButton("Hold: original", "The original as long as this, or o, is held", peek);
    const button = (
      /** @type {string} */ text,
      /** @type {string} */ label,
      /** @type {() => void} */ press,
    ) => el("button", { title: label, "aria-label": label, on: { click: press } }, text);
    this.less = button("−", "Zoom out (−)", () => zoom.key("-"));
    this.all = button("100 %", "Show all of the picture (0)", () => zoom.key("0"));
    this.more = button("+", "Zoom in (+)", () => zoom.key("+"));
    this.wipe = el("input", {
      type: "checkbox",
      on: { change: () => show({ wipe: this.wipe.checked ? MIDDLE : DEFAULTS.wipe }) },
    });
    this.wiping = el(
      "label",
      { className: "check", title: "A left of a line that can be dragged, B right of it" },
      this.wipe,
      "Wipe A | B",
    );
    this.node = el(
      "div",
      { className: "looks", role: "group", "aria-label": "Pictures" },
      this.looks.node,
      this.hold.node,
      el(
        "div",
        { className: "zoom", role: "group", "aria-label": "Zoom" },
        this.less,
        this.all,
        this.more,
      ),
      this.wiping,
    );
  }

  /**
   * @param {Scene} scene
   * @param {boolean} canWipe Whether there is something to wipe.
   */
  draw({ state }, canWipe) {
    this.looks.value = state.look;
    this.wiping.hidden = !canWipe;
    this.wipe.checked = state.wipe !== "";
    this.drawZoom();
  }

  drawZoom() {
    const { view, isWhole, isMost } = this.zoom;
    setText(this.all, `${Math.round(100 * view.scale)} %`);
    // Not disabled, which would lose the focus: they do nothing at the ends.
    this.less.setAttribute("aria-disabled", String(isWhole));
    this.more.setAttribute("aria-disabled", String(isMost));
  }
}
