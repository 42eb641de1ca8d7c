/**
 * A view as one picture to take away: probes with their names and numbers, the legend, and a caption
 * that says what it is. On white, as it goes into a paper or a talk.
 */

import { comparedWith, fullDifference } from "./differences.js";
import { el } from "./elements.js";
import { measureFields } from "./fields.js";
import { Legend } from "./legend.js";
import { ALL_LOOKS } from "./looks.js";
import { panesOf, panesOnCard } from "./panes.js";
import { shownOf } from "./stage.js";
import { PLUGIN } from "./state.js";
import { percent, shorten, whole } from "./text.js";

/** @import { Shown } from "./figure.js" */
/** @import { View } from "./looks.js" */
/** @import { Picture } from "./pictures.js" */
/** @import { Scene, Side } from "./scene.js" */

const PAPER = "#ffffff";
const INK = "#212121";
const SOFT = "#5c5c5c";
const RIGHT = "#2e7d32";
const WRONG = "#c62828";
const FONTS = 'Roboto, "Helvetica Neue", Arial, sans-serif';

/** Sizes in units, of which the longest side of a picture has as many as a card's canvas. */
const UNITS = 256;
const MARGIN = 16;
const GAP = 14;
const BELOW = 3;
const BETWEEN = 4;
const LINE = 18;
const LETTER_SIZE = 13;
const LEGEND = 34;
const SMALL = 10;

/**
 * What is on a poster.
 *
 * @typedef {object} Layout
 * @property {number[]} probes
 * @property {number} columns
 * @property {boolean} large Whether it is the large view: all panes of one probe, with captions.
 * @property {number} size The longest side of a picture, in pixels.
 * @property {boolean} isRead Whether its pixels are read.
 * @property {View} view What of the pictures is in sight.
 */

/**
 * A line of text.
 *
 * @typedef {{text: string, ink: string, bold?: boolean}} TextLine
 */

/**
 * The beginning of a text that fits.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [least, most] = [1, text.length];
  while (least < most) {
    const middle = (least + most + 1) >> 1;
    if (context.measureText(shorten(text, middle)).width <= width) least = middle;
    else most = middle - 1;
  }
  return shorten(text, least);
}

/**
 * A text in lines that fit, broken between words.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 */
function wrapped(context, text, width) {
  /** @type {string[]} */
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((line) => fitted(context, line, width));
}

/**
 * What a side says of a probe: its prediction, and how strong its map is.
 *
 * @param {Side} side
 * @param {number} probe
 * @param {string} before
 * @returns {TextLine}
 */
function lineOfSide(side, probe, before) {
  const { evolution } = side;
  const place = side.place(probe);
  if (place === null) return { text: `${before}no such probe`, ink: SOFT };
  const predicted = side.at("predicted", probe);
  const words = [];
  let ink = SOFT;
  if (evolution.hasClasses && predicted !== null) {
    const { label } = evolution.probes[place];
    const judged = label !== null && !evolution.isMultiLabel;
    if (judged) ink = predicted === label ? RIGHT : WRONG;
    const mark = judged ? (predicted === label ? "✓ " : "✗ ") : "";
    const share = side.probabilityOf(predicted, probe);
    words.push(mark + shorten(evolution.className(predicted)) + (share === null ? "" : ` ${percent(share)}`));
  }
  const balance = measureFields(evolution).find(({ name }) => name === "balance");
  const value = side.at("balance", probe);
  if (balance && value !== null) words.push(`balance ${balance.text(value)}`);
  return { text: before + words.join(" · "), ink };
}

/**
 * The lines below a probe.
 *
 * @param {Scene} scene
 * @param {number} probe
 * @returns {TextLine[]}
 */
function linesBelow({ a, b }, probe) {
  const sides = b ? [a, b] : [a];
  return [
    { text: a.evolution.names[probe], ink: INK, bold: true },
    ...sides.map((side, i) => lineOfSide(side, probe, b ? `${"AB"[i]}: ` : "")),
  ];
}

/**
 * What all of it is, for whoever sees nothing else.
 *
 * @param {Scene} scene
 */
function captionOfScene({ a, b, role }) {
  const { layer, score } = a.evolution;
  const called = (/** @type {Side} */ { evolution: { run, tag }, entry }) =>
    `run ${shorten(run || ".")}${tag === PLUGIN ? "" : ` (${shorten(tag)})`}, ` +
    `step ${whole(entry.step)}, epoch ${entry.epoch}`;
  const shown = b ? `A: ${called(a)}; B: ${called(b)}` : called(a);
  const of = role ? `, map of: ${role}` : "";
  return `Ablation-CAM, layer ${shorten(layer)}, score: ${shorten(score)}${of}; ${shown}`;
}

/**
 * The pictures of a probe, as the large view shows them or a card does.
 *
 * @param {Scene} scene
 * @param {number} probe
 * @param {boolean} large
 * @returns {Shown[]}
 */
export function picturesOf(scene, probe, large) {
  if (!large)
    return panesOnCard(scene, probe)
      .flat()
      .map((pane) => ({ pane, look: "overlay", caption: pane.brief.replaceAll("\n", " · ") }));
  const { look, wipe } = scene.state;
  const wipes = wipe !== "" && look !== ALL_LOOKS && !scene.roles.length;
  return shownOf(panesOf(scene, probe).flat(), look, wipes ? Number(wipe) / 100 : null);
}

export class Poster {
  /**
   * @param {Scene} scene
   * @param {Layout} layout
   */
  constructor(scene, layout) {
    this.layout = layout;
    this.unit = layout.size / UNITS;
    this.canvas = el("canvas");
    // Frames are read, again and again.
    const options = { willReadFrequently: layout.isRead };
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", options));
    this.pane = el("canvas");
    this.maps = new Legend();
    this.differences = new Legend();
    const { probes, columns, size } = layout;
    const panes = Math.max(...probes.map((probe) => this.picturesOf(scene, probe).length));
    this.width = panes * size + (panes - 1) * BETWEEN * this.unit;
    this.columns = Math.min(columns, probes.length);
    /** That of all columns, the legend and the caption. */
    this.inner = 0;
    /** Of each row, its probes and the height of their pictures. */
    this.rows = Array.from({ length: Math.ceil(probes.length / this.columns) }, (_, row) => {
      const here = probes.slice(row * this.columns, (row + 1) * this.columns);
      return { probes: here, height: Math.max(...here.map((probe) => this.heightOf(scene, probe))) };
    });
    // On a card the place of a picture may say enough.
    this.isCaptioned = this.picturesOf(scene, probes[0]).some(({ caption }) => caption !== "");
    this.lines = linesBelow(scene, probes[0]).length + (this.isCaptioned ? 1 : 0);
    this.measure(scene);
  }

  /** @param {number} units */
  px(units) {
    return Math.round(units * this.unit);
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   */
  picturesOf(scene, probe) {
    return picturesOf(scene, probe, this.layout.large);
  }

  /**
   * How high the pictures of a probe are.
   *
   * @param {Scene} scene
   * @param {number} probe
   */
  heightOf(scene, probe) {
    const picture = scene.pictures.get(scene.a.evolution, probe);
    if (!picture) return this.layout.size;
    const [{ pane, look }] = this.picturesOf(scene, probe);
    pane.draw(this.pane, picture, this.layout.size, { look, view: this.layout.view });
    return this.pane.height;
  }

  /**
   * Make the canvas as large as all of it is, with the longest caption that there will be.
   *
   * @param {Scene} scene
   */
  measure(scene) {
    const gap = this.px(GAP);
    const inner = this.columns * this.width + (this.columns - 1) * gap;
    // The legend is never cut: it would say something else.
    const legends = this.legendsOf(scene);
    this.inner = Math.max(inner, ...legends.map((legend) => this.drawLegend(legend, 0, 0)));
    const { length } = scene.a.evolution;
    const captions = [scene, scene.at(length - 1)].map(
      (one) => this.captionLines(one).length,
    );
    const caption = Math.max(...captions);
    const rows = this.rows.reduce((sum, { height }) => sum + height, 0);
    const below = this.rows.length * (this.lines * this.px(LINE) + this.px(BELOW) + gap);
    const foot = caption * this.px(LINE) + legends.length * this.px(LEGEND);
    this.canvas.width = Math.ceil(this.inner + 2 * this.px(MARGIN));
    this.canvas.height = Math.ceil(rows + below + foot + this.px(MARGIN));
  }

  /**
   * @param {boolean} bold
   * @param {number} [letters]
   */
  font(bold, letters = LETTER_SIZE) {
    this.context.font = `${bold ? "bold " : ""}${this.px(letters)}px ${FONTS}`;
    this.context.textBaseline = "middle";
  }

  /**
   * @param {TextLine} line
   * @param {number} x
   * @param {number} y Of its top.
   * @param {number} width
   */
  write({ text, ink, bold = false }, x, y, width) {
    this.font(bold);
    this.context.fillStyle = ink;
    this.context.fillText(fitted(this.context, text, width), x, y + this.px(LINE) / 2);
  }

  /**
   * Draw a scene; it may be at another step than the one that was measured.
   *
   * @param {Scene} scene
   */
  draw(scene) {
    const { context, canvas } = this;
    context.fillStyle = PAPER;
    context.fillRect(0, 0, canvas.width, canvas.height);
    const margin = this.px(MARGIN);
    let y = margin;
    for (const { probes, height } of this.rows) {
      probes.forEach((probe, column) => {
        const x = margin + column * (this.width + this.px(GAP));
        this.drawProbe(scene, probe, x, y, height);
      });
      y += height + this.px(BELOW) + this.lines * this.px(LINE) + this.px(GAP);
    }
    this.drawFoot(scene, margin, y);
    return canvas;
  }

  /**
   * @param {Scene} scene
   * @param {number} probe
   * @param {number} x
   * @param {number} top
   * @param {number} height Of the pictures in its row.
   */
  drawProbe(scene, probe, x, top, height) {
    const { size } = this.layout;
    const picture = scene.pictures.get(scene.a.evolution, probe);
    let y = top + height + this.px(BELOW);
    this.picturesOf(scene, probe).forEach((shown, i) => {
      const left = x + i * (size + this.px(BETWEEN));
      if (picture && !shown.pane.missing) this.drawPicture(shown, picture, left, top);
      if (this.isCaptioned) this.write({ text: shown.caption, ink: SOFT }, left, y, size);
    });
    if (this.isCaptioned) y += this.px(LINE);
    for (const line of linesBelow(scene, probe)) {
      this.write(line, x, y, this.width);
      y += this.px(LINE);
    }
  }

  /**
   * @param {Shown} shown
   * @param {Picture} picture
   * @param {number} left
   * @param {number} top
   */
  drawPicture({ pane, look, wiped }, picture, left, top) {
    const { size, view } = this.layout;
    pane.draw(this.pane, picture, size, { look, view });
    this.context.drawImage(this.pane, left, top);
    if (!wiped) return;
    wiped.pane.draw(this.pane, picture, size, { look, view });
    const { width, height } = this.pane;
    const from = Math.round(wiped.share * width);
    if (from >= width) return;
    const rest = width - from;
    this.context.drawImage(this.pane, from, 0, rest, height, left + from, top, rest, height);
    // Where one ends and the other begins, told from any picture.
    for (const [ink, wide] of /** @type {[string, number][]} */ ([
      [INK, 3],
      [PAPER, 1],
    ])) {
      this.context.fillStyle = ink;
      this.context.fillRect(left + from - this.px(wide / 2), top, this.px(wide), height);
    }
  }

  /** @param {Scene} scene */
  captionLines(scene) {
    this.font(false);
    const { scale } = this.layout.view;
    const enlarged = scale > 1 ? `; a part, enlarged ${scale.toFixed(1)} times` : "";
    return wrapped(this.context, captionOfScene(scene) + enlarged, this.inner);
  }

  /**
   * The legends, and below them the caption.
   *
   * @param {Scene} scene
   * @param {number} x
   * @param {number} top
   */
  drawFoot(scene, x, top) {
    let y = top;
    for (const legend of this.legendsOf(scene)) {
      this.drawLegend(legend, x, y);
      y += this.px(LEGEND);
    }
    for (const text of this.captionLines(scene)) {
      this.write({ text, ink: INK }, x, y, this.inner);
      y += this.px(LINE);
    }
  }

  /**
   * What the colours of all pictures mean.
   *
   * @param {Scene} scene
   */
  legendsOf(scene) {
    const { large, probes } = this.layout;
    const { b, compare, order, state } = scene;
    const look = large ? state.look : "overlay";
    this.maps.draw(scene, { look });
    const lacks = large && scene.lacks(probes[0]);
    if (!b || lacks || (!large && compare !== "difference")) return [this.maps];
    const full = fullDifference(scene, comparedWith(scene), large ? probes : order);
    this.differences.draw(scene, { look, full });
    return large ? [this.maps, this.differences] : [this.differences];
  }

  /**
   * @param {Legend} legend
   * @param {number} left
   * @param {number} top
   * @returns {number} How wide it is.
   */
  drawLegend({ canvas, low, high, ticks }, left, top) {
    const { context } = this;
    const [bar, gap] = [this.px(150), this.px(6)];
    let x = left;
    if (low.textContent) {
      this.write({ text: low.textContent, ink: SOFT }, x, top, Infinity);
      x += Math.ceil(context.measureText(low.textContent).width) + gap;
    }
    context.imageSmoothingEnabled = true;
    context.drawImage(canvas, x, top + this.px(LINE / 4), bar, this.px(LINE / 2));
    this.font(false, SMALL);
    context.fillStyle = SOFT;
    ticks.forEach(({ textContent }, i) => {
      const text = textContent ?? "";
      const at = x + (i / 2) * (bar - context.measureText(text).width);
      context.fillText(text, at, top + this.px(1.2 * LINE));
    });
    x += bar + gap;
    const text = high.textContent ?? "";
    this.write({ text, ink: SOFT }, x, top, Infinity);
    return x + Math.ceil(context.measureText(text).width) - left;
  }
}
