/**
 * Short messages over the page; and what is copied, with a way out where the clipboard is not allowed.
 */

import { announce, el, iconButton } from "./elements.js";

/** How long a message is read that asks for nothing, in ms. */
const READING = 4000;

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

export class Toasts {
  /** @param {Element} place Where they appear while no dialog is open. */
  constructor(place) {
    this.place = place;
    /** @type {HTMLElement|null} */
    this.shown = null;
  }

  /**
   * Say something in the place of what was said before.
   *
   * @param {string} text
   * @param {Element[]} [more] What stands behind it.
   * @param {() => void} [closed] Called when the user closes it.
   */
  say(text, more = [], closed = () => {}) {
    this.shown?.remove();
    const toast = el("div", { className: "toast" }, el("span", {}, text), ...more);
    const close = () => {
      toast.remove();
      closed();
    };
    toast.append(iconButton("close", "Close", close));
    this.shown = toast;
    // What stands outside of a dialog that is open is neither seen nor used.
    (document.querySelector("dialog[open]") ?? this.place).append(toast);
    announce(text);
    return toast;
  }

  /**
   * The same, for a moment.
   *
   * @param {string} text
   */
  mention(text) {
    const toast = this.say(text);
    setTimeout(() => toast.remove(), READING);
  }

  /**
   * Put a text on the clipboard, or show it to be copied by hand.
   *
   * @param {string} text
   * @param {string} done What is said then.
   * @param {string} label What it is.
   */
  async copy(text, done, label) {
    if (await copy(text)) return this.mention(done);
    const shown = text.includes("\n")
      ? el("textarea", { value: text, readOnly: true, rows: 3, wrap: "off" })
      : el("input", { value: text, readOnly: true });
    shown.setAttribute("aria-label", label);
    this.say("Copy this: ", [shown]);
    shown.focus();
    shown.select();
  }
}
