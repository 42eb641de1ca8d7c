/**
 * What stands around the page: the browser's address, and TensorBoard where the page is a tab of it.
 */

import { PLUGIN, readHostHash, writeHostHash } from "./state.js";

/**
 * The window of TensorBoard.
 *
 * @typedef {Window & typeof globalThis} Host
 */

/** Browsers allow about 100 changes of the address in 30 s; playing makes far more. */
const ADDRESS_PAUSE = 400;

/**
 * TensorBoard's window where the page is one of its tabs; null where it stands alone.
 *
 * @returns {Host|null}
 */
export function findHost() {
  try {
    const parent = /** @type {Host} */ (window.parent);
    return parent !== window && "tensorboard" in parent ? parent : null;
  } catch {
    return null; // another origin
  }
}

/**
 * TensorBoard tells a tab that its reload button was pressed only after this handshake.
 *
 * @param {Host} host
 * @param {() => void} reload
 */
export function onHostReload(host, reload) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.isReply) return;
    port1.postMessage(JSON.stringify({ ...message, payload: null, error: null, isReply: true }));
    if (message.type === "experimental.DataReloaded") reload();
  };
  host.postMessage("experimental.bootstrap", location.origin, [port2]);
}

/**
 * TensorBoard marks its dark mode by a class and tells its tabs nothing; alone, the system decides.
 *
 * @param {Host|null} host
 */
export function followTheme(host) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const dark = host ? host.document.body.classList.contains("dark-mode") : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  if (host) new MutationObserver(apply).observe(host.document.body, { attributeFilter: ["class"] });
  else system.addEventListener("change", apply);
  apply();
}

/**
 * A tab does not inherit TensorBoard's fonts; the files are there, so they need only be named.
 *
 * @param {Host} host
 */
export function borrowFonts(host) {
  // Addresses in its style sheets leave out the prefix that it may be served under.
  const root = new URL("../../../", import.meta.url);
  const here = (/** @type {string} */ _, /** @type {string} */ url) =>
    `url("${new URL(url.replace(/^[/]/, ""), root)}")`;
  const rules = [...host.document.styleSheets].flatMap(({ cssRules }) => [...cssRules]);
  for (const rule of rules) {
    // The host's own class: its rules are no instances of ours.
    if (!(rule instanceof host.CSSFontFaceRule)) continue;
    const { style } = rule;
    if (!/^["']?Roboto["']?$/.test(style.fontFamily)) continue;
    const source = style.getPropertyValue("src").replace(/url\(["']?([^"')]+)["']?\)/g, here);
    const face = new FontFace("Roboto", source, {
      weight: style.fontWeight || "400",
      style: style.fontStyle || "normal",
      unicodeRange: style.getPropertyValue("unicode-range") || "U+0-10FFFF",
    });
    document.fonts.add(face);
  }
}

/** The address that holds the state: TensorBoard's where there is one, otherwise the page's own. */
export class Address {
  /** @param {Host|null} host */
  constructor(host) {
    this.host = host;
    this.window = host ?? window;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
    this.known = this.read();
  }

  /**
   * Call `changed` with the new state, as text, whenever the user changes the address.
   *
   * @param {(text: string) => void} changed
   */
  watch(changed) {
    this.window.addEventListener("hashchange", () => {
      const text = this.read();
      if (text === this.known) return; // TensorBoard has changed its own part
      clearTimeout(this.timer);
      this.known = text;
      changed(text);
    });
  }

  read() {
    const { hash } = this.window.location;
    return this.host ? readHostHash(hash) : hash.slice(1);
  }

  /**
   * Put a state into the address, unless another one comes soon.
   *
   * @param {string} text
   */
  write(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { hash } = this.window.location;
      // TensorBoard shows another tab: its address is not ours to change now.
      if (this.host && !new RegExp(`^#?(${PLUGIN}\\b|$)`).test(hash)) return;
      this.known = text;
      const { history } = this.window;
      if (this.read() !== text) history.replaceState(history.state, "", this.hashOf(text));
    }, ADDRESS_PAUSE);
  }

  /** @param {string} text */
  hashOf(text) {
    return this.host ? writeHostHash(this.window.location.hash, text) : `#${text}`;
  }

  /**
   * Where this very page shows a state.
   *
   * @param {string} text
   */
  link(text) {
    return new URL(this.hashOf(text), this.window.location.href).href;
  }

  /**
   * Where the page shows a state without TensorBoard around it; null where it stands alone already.
   *
   * @param {string} text
   */
  linkAlone(text) {
    const page = `../../plugin_entry.html?name=${PLUGIN}#${text}`;
    return this.host && new URL(page, import.meta.url).href;
  }
}
