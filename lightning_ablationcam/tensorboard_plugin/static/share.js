/**
 * Links to what is shown, for someone else or another window.
 */

import { el } from "./elements.js";
import { stateToText } from "./state.js";

/** @import { Address } from "./host.js" */
/** @import { Scene } from "./scene.js" */
/** @import { Toasts } from "./toasts.js" */

export class Share {
  /**
   * @param {Address} address
   * @param {Toasts} toasts
   * @param {...Node} more What can be taken away.
   */
  constructor(address, toasts, ...more) {
    this.address = address;
    this.toasts = toasts;
    /** The state that is shown, as text. */
    this.text = address.read();
    this.alone = el("a", { target: "_blank", rel: "noopener" }, "Open alone");
    this.alone.hidden = !address.host;
    this.node = el(
      "div",
      { className: "share" },
      el("button", { on: { click: () => this.copyLink() } }, "Copy link"),
      ...more,
      this.alone,
    );
  }

  /** @param {Scene} scene */
  draw({ state }) {
    this.text = stateToText(state);
    const alone = this.address.linkAlone(this.text);
    if (alone) this.alone.href = alone;
  }

  copyLink() {
    return this.toasts.copy(this.address.link(this.text), "Link copied", "Link to this view");
  }
}
