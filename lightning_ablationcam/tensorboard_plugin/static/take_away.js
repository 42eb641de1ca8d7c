/**
 * What is shown, to be taken away: as a picture, as an animation over all steps, as a table.
 */

import { animated } from "./animation.js";
import { announce, el, iconButton } from "./elements.js";
import { WHOLE } from "./looks.js";
import { Poster, picturesOf } from "./poster.js";
import { tableOfProbes, tableOfSteps } from "./table.js";
import { whole } from "./text.js";

/** @import { View } from "./looks.js" */
/** @import { Layout } from "./poster.js" */
/** @import { Scene } from "./scene.js" */
/** @import { Toasts } from "./toasts.js" */

/** The longest side of a picture in a poster, by how many pictures stand side by side. */
const FINE = 512;
const COARSE = 256;
const MANY = 3;

/** How wide an animation is at most, and its pictures at least. */
const WIDEST = 960;
const SMALLEST = 96;

/** Of more steps, as many are animated, evenly chosen. */
const MOST_FRAMES = 200;

/** How long the last frame stays at least, in ms, before the animation begins again. */
const AT_THE_END = 1000;

/** How much of a card's picture is seen at least where the card counts as in sight. */
const IN_SIGHT = 0.5;

/**
 * A part of a file's name, without what no system likes in one.
 *
 * @param {string|number} text
 */
function inFileName(text) {
  const plain = String(text).replace(/[^\p{L}\p{N}.-]+/gu, "-");
  return [...plain].slice(0, 60).join("").replace(/^[-.]+|[-.]+$/g, "");
}

/**
 * What a file is called.
 *
 * @param {...(string|number)} parts
 */
function fileName(...parts) {
  return ["ablation-cam", ...parts].map(inFileName).filter(Boolean).join("_");
}

/**
 * Hand a file to the user.
 *
 * @param {Blob} content
 * @param {string} name
 */
function download(content, name) {
  const href = URL.createObjectURL(content);
  el("a", { href, download: name }).click();
  // The browser has its own hold on it by then.
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** What is said where the maps that are waited for will not come. */
const CHANGED = "The run has changed meanwhile: try again";

/**
 * Whether a picture of one step needs the maps of all: full colour of a difference is the largest.
 *
 * @param {Scene} scene
 */
function isOverAll({ b, probe, compare }) {
  return b !== null && (probe !== null || compare === "difference");
}

export class TakeAway {
  /**
   * @param {Toasts} toasts
   * @param {HTMLElement} gallery
   * @param {HTMLElement} scroller What the gallery is scrolled in.
   * @param {() => void} copyLink
   * @param {() => View} look What of the pictures is in sight in the large view.
   */
  constructor(toasts, gallery, scroller, copyLink, look) {
    this.look = look;
    this.toasts = toasts;
    this.gallery = gallery;
    this.scroller = scroller;
    /** @type {Scene|null} The one that was drawn last. */
    this.scene = null;
    /** Counts what was begun: what is not the last of it any more stops. */
    this.begun = 0;
    this.nodes = this.buttons([
      ["Picture", "Download what is in sight as a PNG, with names, step and legend"],
      ["Animation", "Download what is in sight over all steps as a GIF, at the player's pace"],
      ["Table", "Copy the numbers of all probes in the gallery at this step, for a spreadsheet"],
    ]);
    const link = el("button", { on: { click: copyLink } }, "Copy link");
    const ofProbe = this.buttons([
      ["Picture (PNG)", "Download this probe with its pictures, step and legend"],
      ["Animation (GIF)", "Download this probe over all steps, at the player's pace"],
      ["Copy table of all steps", "Copy this probe's numbers at all steps, for a spreadsheet"],
    ]);
    this.menu = el(
      "div",
      { className: "menu", popover: "auto", role: "group", "aria-label": "Take away" },
      link,
      ...ofProbe,
    );
    this.menu.addEventListener("click", () => this.menu.hidePopover());
    this.open = iconButton("take", "Take away: link, picture, animation, table", () => {});
    this.open.popoverTargetElement = this.menu;
    this.menu.addEventListener("toggle", () => this.putMenu());
    /** For the header of the large view. */
    this.tool = el("span", { className: "take-away" }, this.open, this.menu);
  }

  /** @param {[text: string, title: string][]} texts Of picture, animation and table. */
  buttons(texts) {
    const does = [() => this.savePicture(), () => this.saveAnimation(), () => this.copyTable()];
    return texts.map(([text, title], i) => el("button", { title, on: { click: does[i] } }, text));
  }

  /** Put the menu below its button. */
  putMenu() {
    const { bottom, right } = this.open.getBoundingClientRect();
    this.menu.style.top = `${bottom + 2}px`;
    this.menu.style.right = `${Math.max(8, innerWidth - right)}px`;
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.scene = scene;
  }

  /**
   * The probes in the gallery that are in sight, and in how many columns they stand.
   *
   * @param {Scene} scene
   */
  inSight({ order }) {
    const cards = [.../** @type {NodeListOf<HTMLElement>} */ (this.gallery.querySelectorAll(".card"))];
    const view = this.scroller.getBoundingClientRect();
    const top = Math.max(
      view.top,
      ...[...this.scroller.querySelectorAll(".top")].map((one) => one.getBoundingClientRect().bottom),
    );
    const seen = cards.filter((card) => {
      const picture = (card.querySelector(".picture") ?? card).getBoundingClientRect();
      const height = Math.min(picture.bottom, view.bottom) - Math.max(picture.top, top);
      return height >= IN_SIGHT * picture.height;
    });
    const first = cards.filter(({ offsetTop }) => offsetTop === cards[0].offsetTop);
    const probes = seen.map(({ dataset }) => Number(dataset.probe));
    return { probes: probes.length ? probes : order.slice(0, 1), columns: first.length || 1 };
  }

  /**
   * What goes on a poster.
   *
   * @param {Scene} scene
   * @param {number} [widest] Of an animation.
   * @returns {Layout|null} Null where there is nothing.
   */
  layout(scene, widest = Infinity) {
    const isRead = widest < Infinity;
    const { probe, order } = scene;
    const large = probe !== null;
    if (!large && !order.length) return null;
    const { probes, columns } = large ? { probes: [probe], columns: 1 } : this.inSight(scene);
    const across = Math.min(columns, probes.length) * picturesOf(scene, probes[0], large).across;
    const view = large ? this.look() : WHOLE;
    const size = across > MANY ? COARSE : FINE;
    const fits = Math.max(SMALLEST, Math.floor(widest / across) - 16);
    return { probes, columns, large, size: Math.min(size, fits), isRead, view };
  }

  /**
   * What a file of a scene is called, but for what it is.
   *
   * @param {Scene} scene
   * @param {string} steps
   */
  nameOf({ a, sides, probe }, steps) {
    const others = sides.filter(({ evolution: { run } }) => run !== a.evolution.run);
    const runs = others.map(({ evolution: { run } }) => `-vs-${run || "."}`).join("");
    const of = probe === null ? [] : [a.evolution.probes[probe].name];
    return fileName((a.evolution.run || "run") + runs, steps, ...of);
  }

  /**
   * Wait until the pictures of some probes and the maps of a scene are here; false where they will not
   * come, since something else is shown by now.
   *
   * @param {Scene} scene
   * @param {number[]} probes
   * @param {boolean} ofAllSteps Whether the maps of all steps are needed.
   * @param {() => boolean} [goes] Whether anybody still waits.
   */
  async loaded(scene, probes, ofAllSteps, goes = () => true) {
    const { evolution } = scene.a;
    const others = () => scene.sides.some(({ evolution: one }, i) => one !== this.scene?.sides[i]?.evolution);
    const lacks = () =>
      probes.some((probe) => !scene.pictures.get(evolution, probe)) || !scene.holds(ofAllSteps);
    while (lacks()) {
      if (others() || !goes()) return false;
      await new Promise((done) => setTimeout(done, 50));
    }
    return true;
  }

  async savePicture() {
    const { scene } = this;
    const layout = scene && this.layout(scene);
    if (!scene || !layout) return this.toasts.mention("There is no probe to be seen");
    if (!(await this.loaded(scene, layout.probes, isOverAll(scene))))
      return this.toasts.mention(CHANGED);
    const canvas = new Poster(scene, layout).draw(scene);
    const name = `${this.nameOf(scene, `step-${scene.a.entry.step}`)}.png`;
    canvas.toBlob((content) => {
      if (!content) return this.toasts.mention("The picture is too large for this browser");
      download(content, name);
      this.toasts.mention(`Saved ${name}`);
    }, "image/png");
  }

  async saveAnimation() {
    const { scene } = this;
    const layout = scene && this.layout(scene, WIDEST);
    if (!scene || !layout) return this.toasts.mention("There is no probe to be seen");
    const { numbers, length } = scene.a.evolution;
    if (length < 2) return this.toasts.mention("There is one step only: nothing moves yet");
    const ticket = ++this.begun;
    const bar = el("progress", { max: 1, value: 0, "aria-label": "Animation" });
    const cancel = el("button", { on: { click: () => toast.remove() } }, "Cancel");
    const count = Math.min(length, MOST_FRAMES);
    const of = count < length ? `, ${count} of ${whole(length)} steps` : "";
    const toast = this.toasts.say(`Making the animation${of}`, [bar, cancel]);
    // Closed, replaced by another message, or begun anew.
    const goes = () => toast.isConnected && ticket === this.begun;
    if (!(await this.loaded(scene, layout.probes, true, goes)))
      return goes() ? this.toasts.mention(CHANGED) : announce("The animation is not made");
    const step = (length - 1) / (count - 1);
    const poster = new Poster(scene, layout);
    const content = await animated(
      {
        count,
        delay: (step * 1000) / Number(scene.state.speed),
        last: AT_THE_END,
        draw: (frame) => {
          const { width, height } = poster.draw(scene.at(Math.round(frame * step)));
          return poster.context.getImageData(0, 0, width, height);
        },
      },
      (share) => {
        bar.value = share;
        return goes();
      },
    );
    if (!content) return announce("The animation is not made");
    const name = `${this.nameOf(scene, `steps-${numbers[0]}-${numbers[length - 1]}`)}.gif`;
    download(new Blob([content], { type: "image/gif" }), name);
    this.toasts.mention(`Saved ${name}`);
  }

  copyTable() {
    const { scene } = this;
    if (!scene) return;
    const { probe, order } = scene;
    const text = probe === null ? tableOfProbes(scene) : tableOfSteps(scene, probe);
    const rows = probe === null ? order.length : scene.a.evolution.length;
    const what = `${whole(rows)} ${probe === null ? "probe" : "step"}${rows === 1 ? "" : "s"}`;
    return this.toasts.copy(text, `Table of ${what} copied`, "Table, tab-separated");
  }
}
