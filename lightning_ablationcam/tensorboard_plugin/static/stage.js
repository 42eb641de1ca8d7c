/**
 * The pictures of the large view: their looks, what of them is in sight, and the cell that they say.
 */

import { announce, el } from "./elements.js";
import { comparedWith, fullDifference } from "./differences.js";
import { Figure } from "./figure.js";
import { Legend } from "./legend.js";
import { ALL_LOOKS, SIDE_BY_SIDE } from "./looks.js";
import { LooksBar } from "./looks_bar.js";
import { isDifference, panesOf } from "./panes.js";
import { WipeLine } from "./wipe.js";
import { Zoom } from "./zoom.js";

/** @import { Spot } from "./cells.js" */
/** @import { Shown } from "./figure.js" */
/** @import { Pane, Rows } from "./panes.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Scene, Verbs } from "./scene.js" */

const LOOK_NAMES = new Map([
  ["original", "Original"],
  ["overlay", "Overlay"],
  ["contour", "Contour: 25, 50, 75 %"],
]);

/**
 * Whether A and B can be wiped over each other: where they are the first panes, in one look.
 *
 * @param {Scene} scene
 * @param {number} probe
 */
export function canWipe(scene, probe) {
  const { b, roles, state } = scene;
  return b !== null && !scene.lacks(probe) && !roles.length && state.look !== ALL_LOOKS;
}

/**
 * What figures show: every pane once, A and B in one where they are wiped, or several looks of each.
 *
 * @param {Pane[]} panes
 * @param {string} look
 * @param {number|null} wiped What share of A is seen.
 * @returns {Shown[]}
 */
export function shownOf(panes, look, wiped) {
  const shown = (/** @type {Pane} */ pane) => ({ pane, look, caption: pane.caption });
  if (look !== ALL_LOOKS) {
    const [first, second, ...others] = panes;
    if (wiped === null || !second) return panes.map(shown);
    const caption = `${first.caption} | ${second.caption}`;
    const both = { ...shown(first), caption, wiped: { pane: second, share: wiped } };
    return [both, ...others.map(shown)];
  }
  return panes.flatMap((pane, i) => {
    if (isDifference(pane)) return [{ ...shown(pane), look: "overlay" }];
    // The original is the same for all of them.
    const looks = i ? SIDE_BY_SIDE.slice(1) : SIDE_BY_SIDE;
    return looks.map((one) => {
      const name = LOOK_NAMES.get(one) ?? one;
      const caption = one === "original" ? name : `${pane.caption} · ${name}`;
      return { pane, look: one, caption };
    });
  });
}

export class Stage {
  /** @param {Verbs} verbs */
  constructor(verbs) {
    this.verbs = verbs;
    /** @type {{scene: Scene, probe: number, picture: Picture|null}|null} What was drawn last. */
    this.drawn = null;
    /** @type {Shown[]} */
    this.shown = [];
    /** Whether the originals are shown instead of anything else. */
    this.peeks = false;
    /** @type {Spot|null} */
    this.spot = null;
    /** Whether that was put there by keyboard. */
    this.byKey = false;
    this.zoom = new Zoom(() => this.redraw());
    /** @type {number|null} A wipe's place while it is dragged, before the address has it. */
    this.dragged = null;
    /** @type {Figure[]} One for each that is shown, and those that were needed before. */
    this.figures = [];
    this.place = el("div", { className: "panes" });
    this.bar = new LooksBar(verbs, this.zoom, (held) => this.peek(held));
    this.line = new WipeLine((percent, isDone) => this.wipe(percent, isDone));
    this.legend = new Legend();
    this.differences = new Legend();
    const legends = el(
      "div",
      { className: "legends" },
      this.legend.node,
      this.differences.node,
    );
    this.node = el("div", { className: "figures" }, this.bar.node, this.place, legends);
    // A key that is let go elsewhere is let go all the same.
    window.addEventListener("blur", () => this.peek(false));
  }

  /** @param {boolean} held */
  peek(held) {
    if (this.peeks === held) return;
    this.peeks = held;
    this.redraw();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {boolean} isDown
   */
  key(event, isDown) {
    const { key, target } = event;
    if (!isDown) return void (key === "o" && this.peek(false));
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    // Where one writes or searches a list, these are letters.
    if (target instanceof Element && target.matches("input[type=search], select, textarea")) return;
    if (key === "o") this.peek(true);
    else if (this.zoom.key(key)) event.preventDefault();
  }

  /**
   * Move the cursor of all figures.
   *
   * @param {Spot|null} spot
   * @param {boolean} byKey Whether that was by keyboard.
   */
  point(spot, byKey) {
    // Where a pointer has put it, it stays when the focus goes from one figure to the next.
    if (!spot && byKey && !this.byKey) return;
    this.byKey = byKey;
    this.spot = spot && { x: Math.min(1, Math.max(0, spot.x)), y: Math.min(1, Math.max(0, spot.y)) };
    this.read();
    if (byKey && spot) announce(this.shown.map((shown) => this.textOf(shown, spot)).join("\n"));
  }

  /**
   * @param {number} percent
   * @param {boolean} isDone
   */
  wipe(percent, isDone) {
    this.dragged = isDone ? null : percent;
    if (isDone) this.verbs.show({ wipe: String(percent) });
    else this.redraw();
  }

  /** Begin anew, with all of a picture in sight. */
  forget() {
    this.drawn = null;
    this.zoom.reset();
    this.spot = null;
    this.dragged = null;
  }

  redraw() {
    if (this.drawn) this.draw(this.drawn.scene, this.drawn.probe, this.drawn.picture);
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   * @param {Picture|null} picture
   */
  draw(scene, probe, picture) {
    if (this.drawn && this.drawn.probe !== probe) this.forget();
    this.drawn = { scene, probe, picture };
    const { state } = scene;
    const rows = panesOf(scene, probe);
    const panes = rows.flat();
    const compares = panes.some(isDifference);
    const wipes = canWipe(scene, probe);
    const percent = this.dragged ?? (state.wipe === "" ? null : Number(state.wipe));
    const wiped = wipes ? percent : null;
    this.shown = shownOf(panes, state.look, wiped === null ? null : wiped / 100);
    this.bar.draw(scene, wipes);
    this.arrange(scene, rows);
    this.node.dataset.count = String(this.shown.length);
    this.drawFigures(picture);
    this.drawLine(wiped);
    this.read();
    this.legend.draw(scene, { look: state.look });
    this.differences.node.hidden = !compares;
    if (!compares) return;
    const full = fullDifference(scene, comparedWith(scene), [probe]);
    this.differences.draw(scene, { look: state.look, full });
  }

  /**
   * How many stand beside each other: A and B alone have an order of their own, with their difference.
   *
   * @param {Scene} scene
   * @param {Rows} rows
   */
  arrange({ roles, others, state: { look } }, rows) {
    const isMany = roles.length > 0 || others.length > 0;
    const isPair = isMany && this.shown.length === 2;
    const columns = look === ALL_LOOKS ? SIDE_BY_SIDE.length : rows[0].length;
    this.node.dataset.many = isPair ? "pair" : isMany ? "many" : "";
    this.place.style.setProperty("--columns", String(columns));
  }

  /** @param {Picture|null} picture */
  drawFigures(picture) {
    while (this.figures.length < this.shown.length) {
      const figure = new Figure(this.zoom, (spot, byKey) => this.point(spot, byKey));
      this.figures.push(figure);
      this.place.append(figure.node);
    }
    this.figures.forEach((figure, i) => {
      const shown = this.shown[i];
      figure.node.hidden = !shown;
      if (!shown) return;
      const look = this.peeks ? "original" : shown.look;
      figure.draw({ ...shown, look }, picture, this.zoom.view);
    });
  }

  /** @param {number|null} percent */
  drawLine(percent) {
    this.line.node.hidden = percent === null;
    if (percent === null) return;
    const { frame } = this.figures[0];
    if (this.line.node.parentElement !== frame) frame.append(this.line.node);
    this.line.draw(percent);
  }

  /** Say what the cell under the cursor says, in every figure. */
  read() {
    const { spot } = this;
    this.shown.forEach((shown, i) => {
      this.figures[i].read(spot, spot ? this.textOf(shown, spot) : "", this.zoom.view);
    });
  }

  /**
   * @param {Shown} shown
   * @param {Spot} spot
   */
  textOf({ pane, wiped }, spot) {
    if (!wiped) return pane.read(spot);
    const { scale, x } = this.zoom.view;
    // Of the one that is seen there.
    const isFirst = (spot.x - x) * scale < wiped.share;
    return isFirst ? `A: ${pane.read(spot)}` : `B: ${wiped.pane.read(spot)}`;
  }
}
