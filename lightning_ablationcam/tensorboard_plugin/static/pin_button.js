/**
 * The button that pins a probe, so that it comes first whatever is sought and filtered.
 */

import { announce, icon, iconButton, setAttribute } from "./elements.js";
import { pinsOf, withPinTurned } from "./pins.js";

/** @import { Scene, Verbs } from "./scene.js" */

/**
 * Pin a probe, or no longer.
 *
 * @param {Verbs} verbs
 * @param {Scene} scene
 * @param {number} probe
 */
export function turnPin({ show }, { state, a }, probe) {
  const count = a.evolution.probes.length;
  const wasPinned = pinsOf(state, count).includes(probe);
  show({ pins: withPinTurned(state, count, probe) });
  announce(wasPinned ? "No longer pinned" : "Pinned: comes first in the gallery");
}

export class PinButton {
  /**
   * @param {Verbs} verbs
   * @param {string} [key] That does the same, if any.
   */
  constructor(verbs, key = "") {
    /** @type {Scene|null} */
    this.scene = null;
    this.probe = 0;
    this.label = `Pin: comes first, whatever the order and the filters${key && ` (${key})`}`;
    this.node = iconButton("pin", this.label, () => {
      if (this.scene) turnPin(verbs, this.scene, this.probe);
    });
    this.node.classList.add("pin");
    this.isPinned = false;
    this.node.setAttribute("aria-pressed", "false");
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  draw(scene, probe) {
    this.scene = scene;
    this.probe = probe;
    const isPinned = pinsOf(scene.state, scene.a.evolution.probes.length).includes(probe);
    if (this.isPinned === isPinned) return;
    this.isPinned = isPinned;
    setAttribute(this.node, "aria-pressed", String(isPinned));
    this.node.replaceChildren(icon(isPinned ? "pinned" : "pin"));
  }
}
