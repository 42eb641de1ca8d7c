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

/**
 * What an entry of the browser's history is one of: of two that differ in whether a probe is shown
 * large, and that are one step apart.
 *
 * @typedef {{id: string, large: boolean}} Pair
 */

const PAIR = `${PLUGIN}.pair`;

/** The address that holds the state: TensorBoard's where there is one, otherwise the page's own. */
export class Address {
  /** @param {Host|null} host */
  constructor(host) {
    this.host = host;
    this.window = host ?? window;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
    this.known = this.read();
    this.pair = this.pairHere();
    /** @type {string|null} What is to stand in the address as soon as the way back has been gone. */
    this.returning = null;
  }

  /**
   * Call `changed` with the new state, as text, whenever the user changes the address; or `turned`,
   * where this is the way between a probe shown large and the grid it was opened from.
   *
   * @param {(text: string) => void} changed
   * @param {(text: string) => void} turned
   */
  watch(changed, turned) {
    this.window.addEventListener("hashchange", () => {
      const text = this.read();
      const before = this.pair;
      this.pair = this.pairHere();
      const isTurn = before?.id === this.pair?.id && before?.large !== this.pair?.large;
      const { returning } = this;
      this.returning = null;
      if (returning !== null && isTurn) return this.put(returning);
      if (text === this.known) return; // TensorBoard has changed its own part
      clearTimeout(this.timer);
      this.known = text;
      (isTurn ? turned : changed)(text);
    });
  }

  /** @returns {Pair|null} */
  pairHere() {
    return this.window.history.state?.[PAIR] ?? null;
  }

  /** Whether the address is ours to change now: TensorBoard may show another tab. */
  get isOurs() {
    return !this.host || new RegExp(`^#?(${PLUGIN}\\b|$)`).test(this.window.location.hash);
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
    if (this.returning !== null) return void (this.returning = text);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.put(text), ADDRESS_PAUSE);
  }

  /**
   * @param {string} text
   * @param {Pair|null} [pair] What the entry is one of from now on; what it was, where it is left out.
   */
  put(text, pair) {
    if (!this.isOurs) return;
    this.known = text;
    const { history } = this.window;
    if (pair !== undefined) this.pair = pair;
    const state = pair === undefined ? history.state : { ...history.state, [PAIR]: pair };
    if (pair !== undefined || this.read() !== text)
      history.replaceState(state, "", this.link(text));
  }

  /**
   * Put a probe that is shown large into an entry of its own, so that the way back leads to the grid.
   *
   * @param {string} grid
   * @param {string} large
   */
  enter(grid, large) {
    // Whoever is that quick stays in one entry: the way back is being gone just now.
    if (this.returning !== null) return void (this.returning = large);
    clearTimeout(this.timer);
    if (!this.isOurs) return;
    const id = `${Date.now()}-${Math.random()}`;
    this.put(grid, { id, large: false });
    const { history } = this.window;
    this.pair = { id, large: true };
    history.pushState({ ...history.state, [PAIR]: this.pair }, "", this.link(large));
    this.known = large;
  }

  /**
   * Leave that entry for the one that it was opened from, if there is one.
   *
   * @param {string} grid What is to be shown there.
   */
  leave(grid) {
    if (this.returning !== null) return void (this.returning = grid);
    clearTimeout(this.timer);
    if (!this.pair?.large || !this.isOurs) return this.write(grid);
    this.returning = grid;
    this.window.history.back();
  }

  /** @param {string} text */
  hashOf(text) {
    return this.host ? writeHostHash(this.window.location.hash, text) : `#${text}`;
  }

  /**
   * Where this very page shows a state: in full, as the page has a base that its address is not below.
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
