/**
 * One probe, large, with all its steps. A modal dialog: the browser keeps the focus inside.
 */

import { ofSides, ringText, ringsOf } from "./alarms.js";
import { CurveGroups } from "./curve_groups.js";
import { el, iconButton, liveText, setAttribute, setText } from "./elements.js";
import { Facts } from "./facts.js";
import { Legend } from "./legend.js";
import { FlipMarks, LikeliestClasses, flipsOf } from "./likeliest.js";
import { FRAME, LARGE } from "./pictures.js";
import { whole } from "./text.js";
import { RoleSwitch } from "./role_switch.js";
import { Transport } from "./transport.js";

/** @import { Evolution } from "./data.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Scene, Side, Verbs } from "./scene.js" */

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
    this.drawn = look;
    const then = scene.at(this.index);
    then.overlay(this.canvas, picture, FRAME, then.a, probe);
  }
}

/** All steps of the probe, one of them the current one. */
class Strip {
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
    const beside = scene.b && [scene.b.evolution.run, scene.b.evolution.tag];
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

/** @param {Side} side */
function captionOf({ entry }) {
  return `Step ${whole(entry.step)}, epoch ${entry.epoch}`;
}

/**
 * A canvas with a caption.
 *
 * @param {string} kind
 * @param {string} label
 */
function figure(kind, label) {
  const canvas = el("canvas", { "data-kind": kind, role: "img", "aria-label": label });
  const caption = el("figcaption");
  return { node: el("figure", {}, canvas, caption), canvas, caption };
}

export class LargeView {
  /** @param {Verbs} verbs */
  constructor(verbs) {
    this.verbs = verbs;
    /** @type {Scene|null} The one that was drawn last. */
    this.scene = null;
    this.title = el("h2", { id: "large-title", dir: "auto" });
    this.a = figure("a", "Heatmap");
    this.b = figure("b", "Heatmap of B");
    this.difference = figure("difference", "Difference map");
    this.time = new Transport(verbs, "a", { series: false });
    this.timeOfB = new Transport(verbs, "b", { series: false });
    this.time.slider.autofocus = true;
    this.facts = new Facts(true);
    this.alarms = el("ul", { className: "in-alarms", "aria-label": "Alarms", hidden: true });
    this.curves = new CurveGroups(verbs);
    this.likeliest = new LikeliestClasses((index) => verbs.seek("a", index));
    this.role = new RoleSwitch(verbs);
    this.flips = new FlipMarks();
    this.time.track.prepend(this.flips.node);
    /** @type {Evolution|null} That of the flips on the slider, as is the probe. */
    this.evolution = null;
    /** @type {number|null} */
    this.probe = null;
    this.legend = new Legend();
    this.body = el("div", { className: "large-body" });
    this.strip = new Strip(verbs, this.body);
    const figures = [this.a, this.b, this.difference].map(({ node }) => node);
    this.body.append(
      el(
        "div",
        { className: "stage" },
        el("div", { className: "figures" }, ...figures, this.legend.node, this.alarms),
        this.facts.node,
        el("div", { className: "plots-of-all" }, this.likeliest.node, this.curves.node),
      ),
      el("h3", {}, "All steps"),
      this.strip.node,
    );
    this.node = el(
      "dialog",
      {
        className: "large",
        "aria-labelledby": "large-title",
        on: { close: () => verbs.show({ probe: "" }) },
      },
      el(
        "header",
        {},
        this.title,
        this.role.node,
        iconButton("before", "Previous probe", () => this.turn(-1)),
        iconButton("after", "Next probe", () => this.turn(1)),
        iconButton("close", "Close (escape)", () => this.node.close()),
      ),
      el("div", { className: "large-time" }, this.time.node, this.timeOfB.node),
      this.body,
      liveText(),
    );
    // A click on the backdrop is one on the dialog itself.
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
  }

  /**
   * Go to a neighbour in the gallery's order.
   *
   * @param {number} by
   */
  turn(by) {
    if (!this.scene) return;
    const { order, probe } = this.scene;
    const next = order.indexOf(probe ?? -1) + by;
    if (next >= 0 && next < order.length) this.verbs.show({ probe: String(order[next]) });
  }

  /**
   * Say which alarms ring of the probe.
   *
   * @param {Side[]} sides
   * @param {number} probe
   */
  tellAlarms(sides, probe) {
    const texts = ofSides(
      sides.map((side) => ringsOf(side, probe).map((ring) => ringText(side.evolution, ring))),
    );
    this.alarms.hidden = !texts.length;
    while (this.alarms.children.length < texts.length) this.alarms.append(el("li"));
    while (this.alarms.children.length > texts.length) this.alarms.lastElementChild?.remove();
    [...this.alarms.children].forEach((item, i) => setText(item, texts[i]));
  }

  /**
   * Mark on the slider where the prediction changed.
   *
   * @param {Evolution} evolution
   * @param {number} probe
   */
  markFlips(evolution, probe) {
    if (this.evolution === evolution && this.probe === probe) return;
    this.evolution = evolution;
    this.probe = probe;
    const last = Math.max(1, evolution.length - 1);
    const places = evolution.steps.map((_, i) => i / last);
    this.flips.draw(flipsOf(evolution, probe), places);
  }

  /**
   * @param {Scene} scene
   * @returns {boolean} Whether all of it is there.
   */
  draw(scene) {
    this.scene = scene;
    const { a, b, probe } = scene;
    if (probe === null) {
      if (this.node.open) this.node.close();
      return true;
    }
    if (!this.node.open) this.node.showModal();
    setText(this.title, a.evolution.probes[probe].name);
    this.b.node.hidden = this.difference.node.hidden = !b || scene.lacks(probe);
    this.time.draw(scene);
    this.timeOfB.draw(scene);
    this.node.classList.toggle("comparing", b !== null);
    this.facts.draw(scene, probe);
    this.curves.draw(scene, probe);
    this.tellAlarms(b ? [a, b] : [a], probe);
    this.likeliest.draw(scene, probe);
    this.role.draw(scene);
    this.markFlips(a.evolution, probe);
    this.legend.draw(scene, false);
    setText(this.a.caption, (b ? "A: " : "") + captionOf(a));
    const picture = scene.pictures.get(a.evolution, probe);
    if (!picture) return false;
    scene.overlay(this.a.canvas, picture, LARGE, a, probe);
    if (b && !scene.lacks(probe)) {
      setText(this.b.caption, `B: ${captionOf(b)}`);
      setText(this.difference.caption, "A − B: amber is more in A, blue more in B");
      scene.overlay(this.b.canvas, picture, LARGE, b, probe);
      scene.difference(this.difference.canvas, picture, LARGE, b, probe);
    }
    this.strip.draw(scene, probe, picture);
    return true;
  }
}
