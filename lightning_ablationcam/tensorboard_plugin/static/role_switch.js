/**
 * The switch between the classes explained and the further classes that there are maps of.
 */

import { el, field, setOptions } from "./elements.js";

/** @import { Scene, Verbs } from "./scene.js" */

/** @param {string} role */
function roleName(role) {
  return role ? role[0].toUpperCase() + role.slice(1) : "Explained";
}

/** A list of roles; nothing where there is but one. */
export class RoleSwitch {
  /** @param {Verbs} verbs */
  constructor({ show }) {
    this.select = el("select", {
      className: "role",
      on: { change: () => show({ role: this.select.value }) },
    });
    this.field = field("Class shown", this.select, "Whose map is shown (key r)");
    this.node = el("div", { className: "role-switch", hidden: true });
  }

  /** @param {Scene} scene */
  draw({ a: { evolution }, state }) {
    const { roles } = evolution;
    this.node.hidden = !roles.length;
    if (!roles.length) return this.field.remove();
    if (!this.field.parentNode) this.node.append(this.field);
    const entries = ["", ...roles].map((role) => {
      return /** @type {[value: string, text: string]} */ ([role, roleName(role)]);
    });
    // What is asked for: its maps may still be on their way.
    setOptions(this.select, entries, roles.includes(state.role) ? state.role : "");
  }
}
