/**
 * Which map is shown: that of the classes explained or of what else was explained with them, and
 * both of its signs or one.
 */

import { el, field, setOptions } from "./elements.js";

/** @import { Scene, Verbs } from "./scene.js" */

/**
 * Words begin with a capital; names of layers stay what they are.
 *
 * @param {string} role
 */
function roleName(role) {
  if (!role) return "Explained";
  return /^[a-z]+( [a-z0-9]+)*$/.test(role) ? role[0].toUpperCase() + role.slice(1) : role;
}

/** Two lists: of the maps, and of their signs; neither where there is but one choice. */
export class RoleSwitch {
  /** @param {Verbs} verbs */
  constructor({ show }) {
    this.role = el("select", {
      className: "role",
      on: { change: () => show({ role: this.role.value }) },
    });
    this.sides = el("select", {
      className: "sides",
      on: { change: () => show({ sides: this.sides.value }) },
    });
    this.fields = [
      field("Map shown", this.role, "Of the class explained, or of what else was explained (key r)"),
      field("Evidence", this.sides, "What speaks for the class, or also what speaks against (key s)"),
    ];
    this.node = el("div", { className: "role-switch", hidden: true });
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
    // What is asked for: its maps may still be on their way.
    setOptions(this.role, entries, roles.includes(state.role) ? state.role : "");
    const sides = /** @type {[value: string, text: string][]} */ ([
      ["", "For and against"],
      ["for", "For alone"],
    ]);
    setOptions(this.sides, sides, state.sides);
  }
}
