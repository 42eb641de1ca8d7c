/**
 * A view as one picture to take away: probes with their names and numbers, the legend, and a caption
 * that says what it is. On white, as it goes into a paper or a talk.
 */

import { el } from "./elements.js";
import { measureFields } from "./fields.js";
import { Legend } from "./legend.js";
import { panesOf, panesOnCard } from "./panes.js";
import { PLUGIN } from "./state.js";
import { percent, shorten, whole } from "./text.js";

/** @import { Scene, Side } from "./scene.js" */

const PAPER = "#ffffff";
const INK = "#212121";
const PALE = "#5c5c5c";
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
const LETTERS = 13;

/**
 * What is on a poster.
 *
 * @typedef {object} Layout
 * @property {number[]} probes
 * @property {number} columns
 * @property {boolean} large Whether it is the large view: all panes of one probe, with captions.
 * @property {number} size The longest side of a picture, in pixels.
 * @property {boolean} isRead Whether its pixels are read.
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
  if (place === null) return { text: `${before}no such probe`, ink: PALE };
  const predicted = side.at("predicted", probe);
  const words = [];
  let ink = PALE;
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
    this.legend = new Legend();
    const { probes, columns, size } = layout;
    const panes = Math.max(...probes.map((probe) => this.panesOf(scene, probe).length));
    this.width = panes * size + (panes - 1) * BETWEEN * this.unit;
    this.columns = Math.min(columns, probes.length);
    /** That of all columns, the legend and the caption. */
    this.inner = 0;
    /** Of each row, its probes and the height of their pictures. */
    this.rows = Array.from({ length: Math.ceil(probes.length / this.columns) }, (_, row) => {
      const here = probes.slice(row * this.columns, (row + 1) * this.columns);
      return { probes: here, height: Math.max(...here.map((probe) => this.heightOf(scene, probe))) };
    });
    this.lines = linesBelow(scene, probes[0]).length + (layout.large ? 1 : 0);
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
  panesOf(scene, probe) {
    return this.layout.large ? panesOf(scene, probe) : panesOnCard(scene, probe);
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
    const [pane] = this.panesOf(scene, probe);
    pane.draw(this.pane, picture, this.layout.size);
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
    this.inner = Math.max(inner, this.drawLegend(scene, 0, 0));
    const { length } = scene.a.evolution;
    const captions = [scene, scene.at(length - 1)].map(
      (one) => wrapped(this.context, captionOfScene(one), this.inner).length,
    );
    const caption = Math.max(...captions);
    const rows = this.rows.reduce((sum, { height }) => sum + height, 0);
    const below = this.rows.length * (this.lines * this.px(LINE) + this.px(BELOW) + gap);
    const foot = (caption + 1.25) * this.px(LINE);
    this.canvas.width = Math.ceil(this.inner + 2 * this.px(MARGIN));
    this.canvas.height = Math.ceil(rows + below + foot + this.px(MARGIN));
  }

  /** @param {boolean} bold */
  font(bold) {
    this.context.font = `${bold ? "bold " : ""}${this.px(LETTERS)}px ${FONTS}`;
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
    const { size, large } = this.layout;
    const picture = scene.pictures.get(scene.a.evolution, probe);
    let y = top + height + this.px(BELOW);
    this.panesOf(scene, probe).forEach((pane, i) => {
      const left = x + i * (size + this.px(BETWEEN));
      if (picture && !pane.missing) {
        pane.draw(this.pane, picture, size);
        this.context.drawImage(this.pane, left, top);
      }
      if (large) this.write({ text: pane.caption, ink: PALE }, left, y, size);
    });
    if (large) y += this.px(LINE);
    for (const line of linesBelow(scene, probe)) {
      this.write(line, x, y, this.width);
      y += this.px(LINE);
    }
  }

  /**
   * The legend, and below it the caption.
   *
   * @param {Scene} scene
   * @param {number} x
   * @param {number} top
   */
  drawFoot(scene, x, top) {
    this.drawLegend(scene, x, top);
    wrapped(this.context, captionOfScene(scene), this.inner).forEach((text, i) => {
      this.write({ text, ink: INK }, x, top + this.px((i + 1.25) * LINE), this.inner);
    });
  }

  /**
   * @param {Scene} scene
   * @param {number} left
   * @param {number} top
   * @returns {number} How wide it is.
   */
  drawLegend(scene, left, top) {
    const { context, legend } = this;
    legend.draw(scene, !this.layout.large && scene.compare === "difference");
    const [low, high] = [legend.low, legend.high].map(({ textContent }) => textContent ?? "");
    const [bar, gap] = [this.px(110), this.px(6)];
    this.write({ text: low, ink: PALE }, left, top, Infinity);
    let x = left + Math.ceil(context.measureText(low).width) + gap;
    context.imageSmoothingEnabled = true;
    context.drawImage(legend.canvas, x, top + this.px(LINE / 4), bar, this.px(LINE / 2));
    x += bar + gap;
    this.write({ text: high, ink: PALE }, x, top, Infinity);
    return x + Math.ceil(context.measureText(high).width) - left;
  }
}
