/**
 * Links to what is shown, for someone else or another window.
 */

import { announce, el, iconButton } from "./elements.js";
import { stateToText } from "./state.js";

/** @import { Address } from "./host.js" */
/** @import { Scene } from "./scene.js" */

/**
 * @param {string} text
 * @returns {Promise<boolean>} Whether it is on the clipboard now.
 */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not allowed, or no secure connection
  }
}

export class Share {
  /**
   * @param {Address} address
   * @param {Element} place Where what it says appears.
   */
  constructor(address, place) {
    this.address = address;
    this.place = place;
    /** The state that is shown, as text. */
    this.text = address.read();
    /** @type {HTMLElement|null} */
    this.toast = null;
    this.alone = el("a", { target: "_blank", rel: "noopener" }, "Open alone");
    this.alone.hidden = !address.host;
    this.node = el(
      "div",
      { className: "share" },
      el("button", { on: { click: () => this.copyLink() } }, "Copy link"),
      this.alone,
    );
  }

  /** @param {Scene} scene */
  draw({ state }) {
    this.text = stateToText(state);
    const alone = this.address.linkAlone(this.text);
    if (alone) this.alone.href = alone;
  }

  async copyLink() {
    const link = this.address.link(this.text);
    if (await copy(link)) {
      const toast = this.say("Link copied");
      setTimeout(() => toast.remove(), 4000);
      return;
    }
    const shown = el("input", { value: link, readOnly: true, "aria-label": "Link to this view" });
    this.say("Copy this link: ", shown);
    shown.select();
  }

  /**
   * @param {string} text
   * @param {...Element} more
   */
  say(text, ...more) {
    this.toast?.remove();
    const toast = el("div", { className: "toast" }, text, ...more);
    toast.append(iconButton("close", "Close", () => toast.remove()));
    this.toast = toast;
    this.place.append(toast);
    announce(text);
    return toast;
  }
}
