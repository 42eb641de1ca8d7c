/**
 * All steps of a probe, small and in a row.
 */

import { el, setAttribute } from "./elements.js";
import { flipsOf } from "./likeliest.js";
import { FRAME } from "./pictures.js";
import { whole } from "./text.js";

/** @import { Evolution } from "./data.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Scene, Verbs } from "./scene.js" */

/** A step in the strip. */
class StripFrame {
  /**
   * @param {Verbs} verbs
   * @param {number} step
   * @param {number} index
   */
  constructor({ seek }, step, index) {
    this.index = index;
    this.title = `Step ${whole(step)}`;
    this.visible = false;
    /** Stands for what it shows. */
    this.drawn = "";
    this.canvas = el("canvas", { width: 1, height: 1 });
    this.node = el(
      "button",
      {
        tabIndex: -1,
        "data-index": index,
        "aria-label": `Step ${step}`,
        title: this.title,
        on: { click: () => seek("a", index) },
      },
      this.canvas,
      el("span", {}, whole(step)),
    );
  }

  /** @param {string} text How the prediction changed here, or "". */
  mark(text) {
    this.node.classList.toggle("flipped", text !== "");
    this.node.title = text || this.title;
    setAttribute(this.node, "aria-description", text);
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   * @param {Picture} picture
   * @param {string} look Stands for the scene but for its step.
   */
  draw(scene, probe, picture, look) {
    if (!this.visible || this.drawn === look) return;
    const then = scene.at(this.index);
    this.drawn = then.arrived(then.a) ? look : "";
    then.overlay(this.canvas, picture, FRAME, then.a, probe);
  }
}

/** All steps of the probe, one of them the current one. */
export class Strip {
  /**
   * @param {Verbs} verbs
   * @param {Element} scroller What it is scrolled in.
   */
  constructor(verbs, scroller) {
    this.verbs = verbs;
    this.node = el("div", { className: "strip", role: "group", "aria-label": "All steps" });
    /** @type {StripFrame[]} */
    this.frames = [];
    /** @type {StripFrame|null} */
    this.current = null;
    /** @type {Evolution|null} */
    this.evolution = null;
    /** @type {number|null} */
    this.probe = null;
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          const { index } = /** @type {HTMLElement} */ (target).dataset;
          this.frames[Number(index)].visible = isIntersecting;
        }
        verbs.show();
      },
      { root: scroller, rootMargin: "100px" },
    );
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   * @param {Picture} picture
   */
  draw(scene, probe, picture) {
    const { evolution, index } = scene.a;
    const focused = this.node.contains(document.activeElement);
    if (this.evolution !== evolution) {
      this.evolution = evolution;
      this.seen.disconnect();
      this.frames = evolution.steps.map(({ step }, i) => new StripFrame(this.verbs, step, i));
      this.node.replaceChildren(...this.frames.map(({ node }) => node));
      for (const { node } of this.frames) this.seen.observe(node);
      this.current = null;
      this.probe = null;
    }
    if (this.probe !== probe) {
      this.probe = probe;
      const texts = new Map(flipsOf(evolution, probe).map(({ index, text }) => [index, text]));
      this.frames.forEach((frame) => frame.mark(texts.get(frame.index) ?? ""));
    }
    // Those that stand beside it share its colour scale.
    const beside = [...scene.sides.slice(1), ...scene.roles].map((one) =>
      typeof one === "string" ? one : [one.evolution.run, one.evolution.tag, one.evolution.length],
    );
    const look = JSON.stringify([probe, scene.tables.key, scene.scale, scene.signed, beside]);
    for (const frame of this.frames) frame.draw(scene, probe, picture, look);
    const current = this.frames[index];
    if (this.current === current) return;
    if (this.current) Object.assign(this.current.node, { tabIndex: -1, ariaCurrent: null });
    this.current = current;
    Object.assign(current.node, { tabIndex: 0, ariaCurrent: "step" });
    if (focused) current.node.focus();
  }
}
