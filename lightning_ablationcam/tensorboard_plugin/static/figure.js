/**
 * A picture of the large view, with what it is below.
 */

import { el, setAttribute, setText } from "./elements.js";
import { LARGE } from "./pictures.js";

/** @import { Pane } from "./panes.js" */
/** @import { Picture } from "./pictures.js" */

export class Figure {
  constructor() {
    this.canvas = el("canvas", { role: "img" });
    this.caption = el("figcaption");
    this.node = el("figure", {}, this.canvas, this.caption);
  }

  /**
   * @param {Pane} pane
   * @param {Picture|null} picture Null while it is on its way.
   */
  draw({ kind, label, caption, missing, draw }, picture) {
    this.node.classList.toggle("missing", missing);
    setAttribute(this.canvas, "data-kind", kind);
    setAttribute(this.canvas, "aria-label", label);
    setText(this.caption, caption);
    if (picture) draw(this.canvas, picture, LARGE);
  }
}
