/**
 * The pictures of the probes, and how heat is laid over one.
 */

import { WHOLE } from "./looks.js";
import { drawOutline } from "./outlines.js";

/** @import { Evolution, Source } from "./data.js" */
/** @import { View } from "./looks.js" */
/** @import { Region } from "./outlines.js" */

/** Longest side, in pixels, of a card's canvas, of the large view's, and of a strip's frame. */
export const CARD = 256;
export const LARGE = 512;
export const FRAME = 64;

/** Heat is interpolated up to this side; the browser scales it smoothly from there on. */
const FINEST_HEAT = 128;
/** The same where a picture is enlarged so far that this would be seen. */
const FINEST_ENLARGED = 512;
/** Pictures up to this side are shown as squares of colour, larger ones smoothly. */
const CRISP = 64;
/** The light of black beneath a difference map, which is dark at both ends, and what white has more. */
const PALE = [190, 60];
/** The same light without a picture. */
export const PALE_GROUND = "#dcdcdc";

/**
 * A canvas that nobody sees, and what draws on it.
 *
 * @param {number} width
 * @param {number} height
 */
export function offscreen(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  return { canvas, context };
}

/**
 * What draws on a canvas of the page.
 *
 * @param {HTMLCanvasElement} canvas
 */
export function contextOf(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/** A probe's picture, decoded once, and made pale and grey once where difference maps need it. */
export class Picture {
  /** @param {ImageBitmap|OffscreenCanvas} bitmap */
  constructor(bitmap) {
    this.bitmap = bitmap;
    this.width = bitmap.width;
    this.height = bitmap.height;
    /** @type {OffscreenCanvas|null} */
    this.gray = null;
  }

  get pale() {
    if (!this.gray) {
      const { canvas, context } = offscreen(this.width, this.height);
      context.drawImage(this.bitmap, 0, 0);
      const image = context.getImageData(0, 0, this.width, this.height);
      for (let i = 0; i < image.data.length; i += 4) {
        const [r, g, b] = image.data.subarray(i, i + 3);
        const light = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
        image.data.fill(PALE[0] + PALE[1] * light, i, i + 3);
      }
      context.putImageData(image, 0, 0);
      this.gray = canvas;
    }
    return this.gray;
  }
}

/** Pictures by address; one that has failed is not asked for again. */
export class Pictures {
  /**
   * @param {Source} source
   * @param {() => void} arrived Called when a picture is there.
   */
  constructor(source, arrived) {
    this.source = source;
    this.arrived = arrived;
    /** @type {Map<string, Picture>} */
    this.found = new Map();
    /** @type {Set<string>} */
    this.pending = new Set();
    this.failed = 0;
  }

  /**
   * The picture of a probe, or null while it is on its way.
   *
   * @param {Evolution} evolution
   * @param {number} probe
   */
  get(evolution, probe) {
    const url = evolution.pictures[probe];
    if (!this.found.has(url) && !this.pending.has(url)) this.fetch(url, evolution.shape);
    return this.found.get(url) ?? null;
  }

  /**
   * @param {string} url
   * @param {[number, number]} shape Of the maps.
   */
  async fetch(url, [h, w]) {
    this.pending.add(url);
    try {
      const image = new Image();
      image.src = this.source.picture(url);
      await image.decode();
      this.found.set(url, new Picture(await createImageBitmap(image)));
    } catch {
      // Heat over plain grey still tells more than no card at all.
      const blank = offscreen(CARD, Math.max(1, Math.round((CARD * h) / w)));
      blank.context.fillStyle = "#808080";
      blank.context.fillRect(0, 0, blank.canvas.width, blank.canvas.height);
      this.found.set(url, new Picture(blank.canvas));
      this.failed++;
    }
    this.pending.delete(url);
    this.arrived();
  }

  get busy() {
    return this.pending.size > 0;
  }
}

/**
 * A canvas to draw heat on before it is laid over a picture.
 *
 * @typedef {object} Sheet
 * @property {OffscreenCanvas} canvas
 * @property {OffscreenCanvasRenderingContext2D} context
 * @property {ImageData} image
 * @property {Uint32Array} pixels Those of the image.
 */

/** @type {Map<string, Sheet>} */
const sheets = new Map();

/**
 * The sheet of a size.
 *
 * @param {number} width
 * @param {number} height
 */
function sheet(width, height) {
  const key = `${width}x${height}`;
  let found = sheets.get(key);
  if (!found) {
    const { canvas, context } = offscreen(width, height);
    const image = context.createImageData(width, height);
    found = { canvas, context, image, pixels: new Uint32Array(image.data.buffer) };
    sheets.set(key, found);
  }
  return found;
}

/**
 * Size at which a picture is drawn: enlarged by a whole factor or reduced, `longest` at most.
 *
 * @param {Picture} picture
 * @param {number} longest
 */
function drawnSize(picture, longest) {
  const longer = Math.max(picture.width, picture.height);
  const factor = longer <= longest ? Math.floor(longest / longer) : longest / longer;
  return [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * factor)));
}

/**
 * What lies beneath the heat: the picture, the same pale and grey, a pale ground alone, or nothing.
 *
 * @typedef {"picture"|"pale"|"ground"|"nothing"} Ground
 */

/**
 * What is drawn beside heat, and of which part of the picture.
 *
 * @typedef {object} Drawing
 * @property {Ground} [ground]
 * @property {Region|null} [region] What is outlined.
 * @property {View} [view]
 * @property {((context: CanvasRenderingContext2D, height: number, width: number) => void)|null} [trace]
 *   Draws lines over it, of a map interpolated to that size.
 */

/**
 * Draw a picture with heat over it.
 *
 * @param {HTMLCanvasElement} canvas Its size is set to fit the picture.
 * @param {Picture} picture
 * @param {number} longest Longest side of the canvas.
 * @param {((height: number, width: number, pixels: Uint32Array) => void)|null} fill Writes the heat.
 * @param {Drawing} [drawing]
 */
export function drawOverlay(canvas, picture, longest, fill, drawing = {}) {
  const { ground = "picture", region = null, view = WHOLE, trace = null } = drawing;
  const [width, height] = drawnSize(picture, longest);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = contextOf(canvas);
  context.resetTransform();
  context.clearRect(0, 0, width, height);
  // Enlarged from what there is, not from what was drawn.
  context.scale(view.scale, view.scale);
  context.translate(-view.x * width, -view.y * height);
  drawGround(context, picture, ground);
  const finest = view.scale > 1 ? Math.min(FINEST_ENLARGED, FINEST_HEAT * view.scale) : FINEST_HEAT;
  const fine = Math.min(1, finest / Math.max(width, height));
  const [down, across] = [height, width].map((side) => Math.max(1, Math.round(side * fine)));
  if (fill) {
    const heat = sheet(across, down);
    fill(down, across, heat.pixels);
    heat.context.putImageData(heat.image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(heat.canvas, 0, 0, width, height);
  }
  if (trace) trace(context, down, across);
  if (region) drawOutline(context, region, view.scale);
  context.resetTransform();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Picture} picture
 * @param {Ground} ground
 */
function drawGround(context, picture, ground) {
  const { width, height } = context.canvas;
  context.imageSmoothingEnabled = Math.max(picture.width, picture.height) > CRISP;
  if (ground === "picture") context.drawImage(picture.bitmap, 0, 0, width, height);
  if (ground === "pale") context.drawImage(picture.pale, 0, 0, width, height);
  if (ground !== "ground") return;
  context.fillStyle = PALE_GROUND;
  context.fillRect(0, 0, width, height);
}
