/**
 * One probe, large, with all its steps. A modal dialog: the browser keeps the focus inside.
 */

import { ofSides, ringText, ringsOf } from "./alarms.js";
import { CurveGroups } from "./curve_groups.js";
import { el, iconButton, liveText, setText } from "./elements.js";
import { Facts } from "./facts.js";
import { FlipMarks, LikeliestClasses, flipsOf } from "./likeliest.js";
import { ALL_LOOKS } from "./looks.js";
import { fullName } from "./names.js";
import { PinButton } from "./pin_button.js";
import { RoleSwitch } from "./role_switch.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { Transport } from "./transport.js";

/** @import { Evolution } from "./data.js" */
/** @import { Scene, Side, Verbs } from "./scene.js" */

export class LargeView {
  /**
   * @param {Verbs} verbs
   * @param {...Node} tools More for its header.
   */
  constructor(verbs, ...tools) {
    this.verbs = verbs;
    /** @type {Scene|null} The one that was drawn last. */
    this.scene = null;
    this.title = el("h2", { id: "large-title", dir: "auto" });
    this.stage = new Stage(verbs);
    this.time = new Transport(verbs, "a", { series: false });
    this.timeOfB = new Transport(verbs, "b", { series: false });
    this.time.slider.autofocus = true;
    this.facts = new Facts(true);
    this.alarms = el("ul", { className: "in-alarms", "aria-label": "Alarms", hidden: true });
    this.curves = new CurveGroups(verbs);
    this.likeliest = new LikeliestClasses((index) => verbs.seek("a", index));
    this.role = new RoleSwitch(verbs);
    this.pin = new PinButton(verbs, "p");
    this.runs = el(
      "button",
      {
        className: "to-runs",
        title: "This probe in all runs, step by step",
        on: { click: () => verbs.show({ view: "runs" }) },
      },
      "All runs",
    );
    this.flips = new FlipMarks();
    this.time.track.prepend(this.flips.node);
    /** @type {Evolution|null} That of the flips on the slider, as is the probe. */
    this.evolution = null;
    /** @type {number|null} */
    this.probe = null;
    this.stage.node.append(this.alarms);
    this.body = el("div", { className: "large-body" });
    this.strip = new Strip(verbs, this.body);
    this.body.append(
      el(
        "div",
        { className: "stage" },
        this.stage.node,
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
        on: {
          close: () => this.leave(),
          keydown: (event) => this.stage.key(/** @type {KeyboardEvent} */ (event), true),
          keyup: (event) => this.stage.key(/** @type {KeyboardEvent} */ (event), false),
        },
      },
      el(
        "header",
        {},
        this.title,
        this.role.node,
        this.pin.node,
        this.runs,
        ...tools,
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

  /** What of the pictures is in sight. */
  view() {
    return this.stage.zoom.view;
  }

  leave() {
    this.stage.peek(false);
    this.verbs.show({ probe: "" });
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
      this.stage.forget();
      if (this.node.open) this.node.close();
      return true;
    }
    // The grid of runs stays in front of it.
    if (!this.node.open && scene.state.view !== "runs") this.node.showModal();
    this.runs.hidden = scene.series.length < 2;
    setText(this.title, a.evolution.names[probe]);
    this.title.title = fullName(a.evolution, probe);
    this.time.draw(scene);
    this.timeOfB.draw(scene);
    this.node.classList.toggle("comparing", b !== null);
    this.facts.draw(scene, probe);
    this.curves.draw(scene, probe);
    this.tellAlarms(b ? [a, b] : [a], probe);
    this.likeliest.draw(scene, probe);
    this.role.draw(scene);
    this.pin.draw(scene, probe);
    this.markFlips(a.evolution, probe);
    const picture = scene.pictures.get(a.evolution, probe);
    this.stage.draw(scene, probe, picture);
    const { many } = this.stage.node.dataset;
    const isMany = many === "many";
    this.node.classList.toggle("many", isMany);
    this.node.classList.toggle("wide", b !== null || isMany || scene.state.look === ALL_LOOKS);
    this.node.classList.toggle("pair", many === "pair");
    if (!picture) return false;
    this.strip.draw(scene, probe, picture);
    return true;
  }
}
