/**
 * The elements that the page is made of, and small controls. Names of probes, classes and runs come
 * from files nobody vouches for, so text only ever gets here as text nodes and properties, never as
 * markup.
 */

import { shorten } from "./text.js";

/**
 * Properties and attributes of a new element; `on` holds its listeners.
 *
 * @typedef {{on?: Record<string, (event: Event) => void>} & Record<string, unknown>} Properties
 */

/**
 * Make an element. Strings among the children become text.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties} [properties]
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, { on = {}, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  if (node instanceof HTMLButtonElement) node.type = "button";
  for (const [key, value] of Object.entries(properties)) {
    if (/^(aria-|data-)|^(role|for)$/.test(key)) node.setAttribute(key, String(value));
    else Reflect.set(node, key, value);
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  node.append(...children);
  return node;
}

/**
 * Make an element of a drawing.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} attributes
 * @param {...Node} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zm8 0h4v14h-4z",
  before: "M15.4 7.4 14 6l-6 6 6 6 1.4-1.4L10.8 12z",
  after: "M8.6 16.6 13.2 12 8.6 7.4 10 6l6 6-6 6z",
  close:
    "M19 6.4 17.6 5 12 10.6 6.4 5 5 6.4 10.6 12 5 17.6 6.4 19 12 13.4 17.6 19 19 17.6 13.4 12z",
  pin: "M14 4v5c0 1.1.4 2.2 1 3H9c.6-.9 1-1.9 1-3V4zm3-2H7a1 1 0 0 0 0 2h1v5a3 3 0 0 1-3 3v2h6v7l1 1 1-1v-7h6v-2a3 3 0 0 1-3-3V4h1a1 1 0 0 0 0-2z",
  pinned: "M16 9V4h1a1 1 0 0 0 0-2H7a1 1 0 0 0 0 2h1v5a3 3 0 0 1-3 3v2h6v7l1 1 1-1v-7h6v-2a3 3 0 0 1-3-3z",
  take: "M5 20h14v-2H5zM19 9h-4V3H9v6H5l7 7z",
  tune: "M3 17v2h6v-2zM3 5v2h10V5zm10 16v-2h8v-2h-8v-2h-2v6zM7 9v2H3v2h4v2h2V9zm14 4v-2H11v2zm-6-4h2V7h4V5h-4V3h-2z",
};

/**
 * @typedef {keyof typeof ICONS} IconName
 */

/** @param {IconName} name */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" },
    svg("path", { d: ICONS[name] }),
  );
}

/**
 * @param {IconName} name
 * @param {string} label
 * @param {() => void} press
 */
export function iconButton(name, label, press) {
  return el(
    "button",
    {
      className: "icon-button",
      title: label,
      "aria-label": label,
      on: { click: press },
    },
    icon(name),
  );
}

/** @type {HTMLElement[]} */
const spoken = [];

/** A place for what `announce` says: text that nobody sees, spoken when it changes. */
export function liveText() {
  const node = el("p", { className: "unseen", "aria-live": "polite" });
  spoken.push(node);
  return node;
}

/**
 * Say something to those who do not see the page.
 *
 * @param {string} text
 */
export function announce(text) {
  // While a dialog is open, only what is inside it is spoken: so every place says it.
  for (const node of spoken) setText(node, text);
}

// Changing text to what it is already would make screen readers and layout work for nothing.

/**
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent === text) return;
  const { firstChild } = node;
  // Another text in the same node is laid out faster than another node.
  if (firstChild instanceof Text && node.childNodes.length === 1) firstChild.data = text;
  else node.textContent = text;
}

/**
 * @param {Element} node
 * @param {string} name
 * @param {string} value
 */
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

let ids = 0;

/**
 * A labelled control.
 *
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint]
 */
export function field(label, control, hint = "") {
  control.id = `field-${++ids}`;
  return el(
    "div",
    { className: "field", title: hint },
    el("label", { for: control.id }, label),
    control,
  );
}

/**
 * Give a list its choices, and choose one.
 *
 * @param {HTMLSelectElement} select
 * @param {[value: string, text: string][]} entries
 * @param {string} chosen
 */
export function setOptions(select, entries, chosen) {
  // Rebuilding an open list would close it under the user's hand.
  const key = JSON.stringify(entries);
  if (select.dataset.entries !== key) {
    select.dataset.entries = key;
    select.replaceChildren(
      ...entries.map(([value, text]) => {
        return el("option", { value, title: shorten(text, 500), textContent: shorten(text) });
      }),
    );
  }
  if (select.value !== chosen) select.value = chosen;
  tellChosen(select, entries.find(([value]) => value === chosen)?.[1] ?? "");
}

/**
 * Say what is chosen, which may not fit; a title that says more than that stays.
 *
 * @param {HTMLSelectElement} select
 * @param {string} chosen In words.
 */
export function tellChosen(select, chosen) {
  const text = shorten(chosen, 500);
  if (select.title !== text && (!select.title || select.title === select.dataset.told)) {
    select.title = text;
    select.dataset.told = text;
  }
}

/** A row of choices of which one is taken: radio buttons that look like one control. */
export class Segments {
  /**
   * @param {string} label
   * @param {[value: string, text: string, hint: string][]} entries
   * @param {(value: string) => void} change
   */
  constructor(label, entries, change) {
    const name = `segments-${++ids}`;
    this.inputs = entries.map(([value]) =>
      el("input", { type: "radio", name, value, on: { change: () => change(value) } }),
    );
    this.node = el(
      "fieldset",
      { className: "segments" },
      el("legend", {}, label),
      el(
        "div",
        {},
        ...entries.map(([, text, hint], i) =>
          el("label", { title: hint }, this.inputs[i], el("span", {}, text)),
        ),
      ),
    );
  }

  /** @param {string} value */
  set value(value) {
    for (const input of this.inputs) input.checked = input.value === value;
  }
}
