/**
 * A view as one picture to take away: probes with their names and numbers, the legend, and a caption
 * that says what it is. On white, as it goes into a paper or a talk.
 */

import { comparedWith, fullDifference } from "./differences.js";
import { el } from "./elements.js";
import { measureFields } from "./fields.js";
import { Legend } from "./legend.js";
import { ALL_LOOKS, SIDE_BY_SIDE } from "./looks.js";
import { isDifference, panesOf, panesOnCard } from "./panes.js";
import { canWipe, shownOf } from "./stage.js";
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
    const verdict = evolution.verdict(predicted, place);
    if (verdict) ink = verdict === "right" ? RIGHT : WRONG;
    const mark = { right: "✓ ", wrong: "✗ ", "": "" }[verdict];
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
function linesBelow(scene, probe) {
  const { a, sides } = scene;
  return [
    { text: a.evolution.names[probe], ink: INK, bold: true },
    ...sides.map((side, place) => lineOfSide(side, probe, beforeSide(scene, place))),
  ];
}

/**
 * By what a side is told from the others.
 *
 * @param {Scene} scene
 * @param {number} place Among all sides.
 */
function beforeSide({ b, sides, others }, place) {
  if (b && place < 2) return `${"AB"[place]}: `;
  return others.length ? `${shorten(sides[place].evolution.run || ".")}: ` : "";
}

/**
 * What all of it is, for whoever sees nothing else.
 *
 * @param {Scene} scene
 */
function captionOfScene(scene) {
  const { a, b, role, sides } = scene;
  const { layer, score } = a.evolution;
  const called = (/** @type {Side} */ { evolution: { run, tag }, entry }) =>
    `run ${shorten(run || ".")}${tag === PLUGIN ? "" : ` (${shorten(tag)})`}, ` +
    `step ${whole(entry.step)}, epoch ${entry.epoch}`;
  const letter = (/** @type {number} */ place) =>
    b && place < 2 ? beforeSide(scene, place) : "";
  const shown = sides.map((side, place) => letter(place) + called(side)).join("; ");
  const of = role ? `, map of: ${role}` : "";
  return `Ablation-CAM, layer ${shorten(layer)}, score: ${shorten(score)}${of}; ${shown}`;
}

/**
 * The pictures of a probe, as the large view shows them or a card does.
 *
 * @param {Scene} scene
 * @param {number} probe
 * @param {boolean} large
 * @returns {{shown: Shown[], across: number}} In their order, and how many of them make a row.
 */
export function picturesOf(scene, probe, large) {
  if (!large) {
    const rows = panesOnCard(scene, probe);
    const shown = rows.flat().map((pane) => {
      return { pane, look: "overlay", caption: pane.brief.replaceAll("\n", " · ") };
    });
    return { shown, across: rows[0].length };
  }
  const { look, wipe } = scene.state;
  const wipes = wipe !== "" && canWipe(scene, probe);
  const rows = panesOf(scene, probe);
  const shown = shownOf(rows.flat(), look, wipes ? Number(wipe) / 100 : null);
  const across = look === ALL_LOOKS ? SIDE_BY_SIDE.length : rows[0].length;
  return { shown, across: Math.min(across, shown.length) };
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
    const all = probes.map((probe) => this.picturesOf(scene, probe));
    const across = Math.max(...all.map((one) => one.across));
    /** Rows of pictures of a probe. */
    this.down = Math.max(...all.map((one) => Math.ceil(one.shown.length / one.across)));
    this.width = across * size + (across - 1) * BETWEEN * this.unit;
    this.columns = Math.min(columns, probes.length);
    /** That of all columns, the legend and the caption. */
    this.inner = 0;
    /** Of each row, its probes and the height of their pictures. */
    this.rows = Array.from({ length: Math.ceil(probes.length / this.columns) }, (_, row) => {
      const here = probes.slice(row * this.columns, (row + 1) * this.columns);
      return { probes: here, height: Math.max(...here.map((probe) => this.heightOf(scene, probe))) };
    });
    /** How many lines the captions of pictures have: none where their place says enough. */
    this.captions = 0;
    this.lines = linesBelow(scene, probes[0]).length;
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
    const [{ pane, look }] = this.picturesOf(scene, probe).shown;
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
    const then = [scene, scene.at(scene.a.evolution.length - 1)];
    const caption = Math.max(...then.map((one) => this.captionLines(one).length));
    const captions = then.flatMap((one) =>
      this.layout.probes.flatMap((probe) =>
        this.picturesOf(one, probe).shown.map((shown) => this.captionOf(shown).length),
      ),
    );
    this.captions = Math.max(...captions);
    const rows = this.rows.reduce((sum, { height }) => sum + this.down * this.stepDown(height), 0);
    const below = this.rows.length * (this.lines * this.px(LINE) + gap);
    const foot = caption * this.px(LINE) + legends.length * this.px(LEGEND);
    this.canvas.width = Math.ceil(this.inner + 2 * this.px(MARGIN));
    this.canvas.height = Math.ceil(rows + below + foot + this.px(MARGIN));
  }

  /**
   * How far below a picture the next one begins.
   *
   * @param {number} height
   */
  stepDown(height) {
    return height + this.px(BELOW) + this.captions * this.px(LINE);
  }

  /**
   * What stands below a picture, in lines.
   *
   * @param {Shown} shown
   */
  captionOf({ caption }) {
    this.font(false);
    return caption ? wrapped(this.context, caption, this.layout.size) : [];
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
      y += this.down * this.stepDown(height) + this.lines * this.px(LINE) + this.px(GAP);
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
    const { shown, across } = this.picturesOf(scene, probe);
    shown.forEach((one, i) => {
      const left = x + (i % across) * (size + this.px(BETWEEN));
      const above = top + Math.floor(i / across) * this.stepDown(height);
      if (picture && !one.pane.missing) this.drawPicture(one, picture, left, above);
      // A later step may have more to say than there was room for.
      this.captionOf(one).slice(0, this.captions).forEach((text, line) => {
        const y = above + height + this.px(BELOW) + line * this.px(LINE);
        this.write({ text, ink: SOFT }, left, y, size);
      });
    });
    let y = top + this.down * this.stepDown(height);
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
    const compares = large
      ? panesOf(scene, probes[0]).flat().some(isDifference)
      : b !== null && compare === "difference";
    if (!compares) return [this.maps];
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
