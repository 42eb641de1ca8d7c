/**
 * The gallery: a card for each probe, drawn while it is in sight.
 */

import { ofSides, ringText, ringsOf } from "./alarms.js";
import { Curves, NARROW } from "./charts.js";
import { el, setAttribute, setText } from "./elements.js";
import { Facts } from "./facts.js";
import { fieldsOnCard } from "./fields.js";
import { fullName } from "./names.js";
import { panesOnCard } from "./panes.js";
import { PinButton } from "./pin_button.js";
import { CARD } from "./pictures.js";
import { shorten } from "./text.js";

/** @import { Evolution } from "./data.js" */
/** @import { Pane } from "./panes.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Scene, Side, Verbs } from "./scene.js" */

/** A picture on a card, and what it is below it where there are several. */
class CardPane {
  constructor() {
    this.canvas = el("canvas");
    this.brief = el("span", { className: "brief", dir: "auto", hidden: true });
    this.node = el("span", { className: "pane" }, this.canvas, this.brief);
  }

  /**
   * @param {Pane} pane
   * @param {Picture|null} picture Null while it is on its way.
   */
  draw({ brief, caption, draw, kind, missing }, picture) {
    this.node.dataset.pane = kind;
    this.node.classList.toggle("missing", missing);
    this.node.title = brief && caption;
    this.brief.hidden = !brief;
    setText(this.brief, brief);
    if (picture) draw(this.canvas, picture, CARD);
  }
}

/** A probe in the gallery. */
class Card {
  /**
   * @param {Verbs} verbs
   * @param {number} probe
   * @param {string} name
   * @param {string} title The same with what it was logged as.
   */
  constructor(verbs, probe, name, title) {
    const { show, seek } = verbs;
    this.probe = probe;
    /** Whether some of it is in sight, and whether it is near that. */
    this.inSight = false;
    this.near = false;
    /** @type {CardPane[]} One for each pane, and those that were needed before. */
    this.panes = [];
    this.open = el(
      "button",
      {
        className: "picture",
        on: { click: () => show({ probe: String(probe) }) },
      },
    );
    this.alarm = el("span", { className: "in-alarm", hidden: true });
    this.pin = new PinButton(verbs);
    this.facts = new Facts(false);
    this.curves = new Curves(fieldsOnCard, (index) => seek("a", index), NARROW);
    this.node = el(
      "li",
      { className: "card", "data-probe": probe },
      this.open,
      el(
        "div",
        { className: "head" },
        el("h3", { dir: "auto", title: shorten(title, 500), textContent: shorten(name, 300) }),
        this.alarm,
        this.pin.node,
      ),
      el("div", { className: "numbers" }, this.facts.node, this.curves.node),
    );
  }

  /**
   * @param {Scene} scene
   * @returns {boolean} Whether all of it is there: the picture may still be on its way.
   */
  draw(scene) {
    const { probe } = this;
    const { a, b } = scene;
    setAttribute(
      this.open,
      "aria-label",
      `Enlarge ${shorten(a.evolution.names[probe])}, step ${a.entry.step}`,
    );
    this.tellAlarms(b ? [a, b] : [a]);
    this.pin.draw(scene, probe);
    this.facts.draw(scene, probe);
    this.curves.draw(scene, probe);
    this.node.classList.toggle("missing", scene.lacks(probe));
    const picture = scene.pictures.get(a.evolution, probe);
    this.drawPanes(panesOnCard(scene, probe).flat(), picture);
    return picture !== null;
  }

  /**
   * @param {Pane[]} panes
   * @param {Picture|null} picture
   */
  drawPanes(panes, picture) {
    while (this.panes.length < panes.length) {
      const pane = new CardPane();
      this.panes.push(pane);
      this.open.append(pane.node);
    }
    this.panes.forEach((one, i) => {
      one.node.hidden = i >= panes.length;
      if (panes[i]) one.draw(panes[i], picture);
    });
  }

  /** @param {Side[]} sides */
  tellAlarms(sides) {
    const rings = sides.map((side) => ringsOf(side, this.probe));
    const texts = rings.map((ofSide, i) =>
      ofSide.map((ring) => ringText(sides[i].evolution, ring)),
    );
    const counts = rings.map(({ length }) => (length > 1 ? `${length} alarms` : "Alarm"));
    this.alarm.hidden = !rings.some(({ length }) => length);
    setText(this.alarm, ofSides(counts.map((count, i) => (rings[i].length ? [count] : []))).join(" "));
    this.alarm.title = ofSides(texts).join("\n");
  }
}

export class Gallery {
  /**
   * @param {Verbs} verbs
   * @param {Element} scroller What it is scrolled in.
   */
  constructor(verbs, scroller) {
    this.verbs = verbs;
    this.node = el("ul", { className: "gallery" });
    /** @type {Card[]} One for each probe, whether it is shown or not. */
    this.cards = [];
    /** @type {Evolution|null} That of the cards. */
    this.evolution = null;
    /** @type {number[]} */
    this.order = [];
    /** Whether it is known which cards are in sight. */
    this.looked = false;
    const observe = (/** @type {"near"|"inSight"} */ what, /** @type {string} */ rootMargin) =>
      new IntersectionObserver((entries) => this.look(entries, what), { root: scroller, rootMargin });
    this.observers = [observe("near", "200px"), observe("inSight", "0px")];
  }

  /**
   * @param {IntersectionObserverEntry[]} entries
   * @param {"near"|"inSight"} what
   */
  look(entries, what) {
    for (const { target, isIntersecting } of entries) {
      const { probe } = /** @type {HTMLElement} */ (target).dataset;
      this.cards[Number(probe)][what] = isIntersecting;
    }
    if (what === "inSight") return this.guessHeight(entries);
    this.looked = true;
    this.verbs.show();
  }

  /**
   * Take the cards that were never in sight to be as tall as one that is.
   *
   * @param {IntersectionObserverEntry[]} entries
   */
  guessHeight(entries) {
    const inSight = entries.find(({ intersectionRatio }) => intersectionRatio === 1);
    if (inSight) this.node.style.setProperty("--tall", `${inSight.boundingClientRect.height}px`);
  }

  /**
   * @param {Scene} scene
   * @param {boolean} [onlyInSight] Whether to leave out the cards near what is in sight.
   * @returns {boolean} Whether everything that was to be drawn is there.
   */
  draw(scene, onlyInSight = false) {
    this.node.dataset.size = scene.state.size;
    const first = panesOnCard(scene, 0)[0];
    this.node.style.setProperty("--columns", String(first.length));
    this.node.classList.toggle("captioned", first[0].brief !== "");
    this.deal(scene.a.evolution);
    this.arrange(scene.order);
    let complete = this.looked || !this.order.length;
    for (const card of this.cards)
      if (onlyInSight ? card.inSight : card.near) complete = card.draw(scene) && complete;
    return complete;
  }

  /**
   * Make new cards where the probes are others. Of a run that has grown they stay.
   *
   * @param {Evolution} evolution
   */
  deal(evolution) {
    const before = this.evolution;
    this.evolution = evolution;
    if (
      before?.run === evolution.run &&
      before.tag === evolution.tag &&
      before.fingerprint === evolution.fingerprint
    )
      return;
    for (const one of this.observers) one.disconnect();
    this.cards = evolution.names.map(
      (name, probe) => new Card(this.verbs, probe, name, fullName(evolution, probe)),
    );
    this.order = [];
    this.node.replaceChildren();
  }

  /**
   * Put the right cards on show.
   *
   * @param {number[]} order
   */
  arrange(order) {
    if (
      order.length === this.node.children.length &&
      order.every((probe, i) => probe === this.order[i])
    )
      return;
    this.order = order;
    this.looked = false;
    const focused = document.activeElement;
    this.node.replaceChildren(...order.map((probe) => this.cards[probe].node));
    // A card that is pinned moves under the user's finger.
    if (focused instanceof HTMLElement && this.node.contains(focused)) focused.focus();
    for (const one of this.observers) {
      one.disconnect();
      for (const probe of order) one.observe(this.cards[probe].node);
    }
    this.cards.forEach((card, probe) => {
      if (!order.includes(probe)) card.near = card.inSight = false;
    });
  }
}
