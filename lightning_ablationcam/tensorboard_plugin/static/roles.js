/**
 * The maps that a monitor records beside those of the classes explained, each under its role: that of
 * another class, or that of another layer, whose name it has.
 */

/** What a role is called that stands for a class; every other one is the name of a layer. */
const OF_CLASS = /^(rival|predicted|label|classes|(label|class) \d+)$/;

/**
 * Whether a role is of the layer explained, so that its heat comes from the same activations.
 *
 * @param {string} role "" for the classes explained.
 */
export function isOfClass(role) {
  return role === "" || OF_CLASS.test(role);
}

/**
 * Words begin with a capital; names of layers stay what they are.
 *
 * @param {string} role
 */
export function roleName(role) {
  if (!role) return "Explained";
  return /^[a-z]+( [a-z0-9]+)*$/.test(role) ? role[0].toUpperCase() + role.slice(1) : role;
}
