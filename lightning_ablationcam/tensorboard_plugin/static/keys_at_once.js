/**
 * Keys without a click first: TensorBoard shows the tab in a frame, which has no focus of its own.
 */

/** @import { Host } from "./host.js" */

/**
 * Take the focus whenever the tab comes into sight, unless it is somewhere where it is used: in a
 * field of TensorBoard's, or on its way through the tabs with the keyboard.
 *
 * @param {Host} host
 */
export function takeFocus(host) {
  const take = () => {
    // TensorBoard hides the tabs it does not show by giving them no height.
    const isSeen = !document.hidden && window.innerHeight > 0;
    const holder = host.document.activeElement;
    if (isSeen && host.document.hasFocus() && !holder?.matches(":focus-visible")) window.focus();
  };
  let wasSeen = false;
  window.addEventListener("resize", () => {
    const isSeen = window.innerHeight > 0;
    if (isSeen && !wasSeen) take();
    wasSeen = isSeen;
  });
  wasSeen = window.innerHeight > 0;
  take();
}
