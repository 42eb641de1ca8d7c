/**
 * Which map is shown: that of the classes explained or of what else was explained with them, and
 * both of its signs or one.
 */

import { el, field, setOptions } from "./elements.js";
import { roleName } from "./roles.js";

/** @import { Scene, Verbs } from "./scene.js" */

/** Stands for all maps beside each other; no role is called so. */
const BESIDE = "*";

/** Two lists: of the maps, and of their signs; neither where there is but one choice. */
export class RoleSwitch {
  /** @param {Verbs} verbs */
  constructor({ show }) {
    this.show = show;
    this.role = el("select", {
      className: "role",
      on: { change: () => this.choose(this.role.value) },
    });
    this.sides = el("select", {
      className: "sides",
      on: { change: () => show({ sides: this.sides.value }) },
    });
    this.fields = [
      field("Map shown", this.role, "Of the class explained, of what else was explained (key r), or all (Shift and r)"),
      field("Evidence", this.sides, "What speaks for the class, or also what speaks against (key s)"),
    ];
    this.node = el("div", { className: "role-switch", hidden: true });
  }

  /** @param {string} value */
  choose(value) {
    // One map is what was shown last, once there is one again.
    this.show(value === BESIDE ? { beside: "roles" } : { role: value, beside: "" });
  }

  /** @param {Scene} scene */
  draw({ a: { evolution }, state }) {
    const { roles, signedRoles } = evolution;
    const needed = [roles.length > 0, signedRoles.length > 0];
    this.fields.forEach((one, i) => {
      if (!needed[i]) one.remove();
      else if (!one.parentNode) this.node.append(one);
    });
    this.node.hidden = !needed.includes(true);
    const entries = ["", ...roles].map((role) => {
      return /** @type {[value: string, text: string]} */ ([role, roleName(role)]);
    });
    entries.push([BESIDE, "Side by side"]);
    // What is asked for: its maps may still be on their way.
    const one = roles.includes(state.role) ? state.role : "";
    setOptions(this.role, entries, state.beside ? BESIDE : one);
    const sides = /** @type {[value: string, text: string][]} */ ([
      ["", "For and against"],
      ["for", "For alone"],
    ]);
    setOptions(this.sides, sides, state.sides);
  }
}
