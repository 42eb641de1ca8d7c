/**
 * Frames as an animated GIF. One palette is made from all of them, so that what stays the same keeps
 * its colour from frame to frame.
 */

import { GIFEncoder, quantize } from "./gifenc.js";

/** How many colours a GIF has, and of how many pixels they are taken. */
const COLORS = 256;
const SAMPLES = 1_000_000;

/** Colours are looked up by this many bits of each channel. */
const BITS = 6;

/**
 * Let the page do something else. Unlike a timer's, this turn also comes at once in a window that
 * nobody looks at.
 *
 * @returns {Promise<void>}
 */
function breath() {
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done();
    };
    port2.postMessage(0);
  });
}

/**
 * What is animated.
 *
 * @typedef {object} Frames
 * @property {number} count
 * @property {number} delay Of each, in ms.
 * @property {number} last How long the last one stays.
 * @property {(frame: number) => ImageData} draw
 */

/**
 * Colours of all frames, as evenly taken as there are too many.
 *
 * @param {Frames} frames
 * @param {(share: number) => boolean} goes
 */
async function sampled({ count, draw }, goes) {
  /** @type {Uint32Array|null} */
  let samples = null;
  let taken = 0;
  for (let frame = 0; frame < count; frame++) {
    const pixels = new Uint32Array(draw(frame).data.buffer);
    // Odd, so that it does not fall into step with the width.
    const stride = Math.ceil((count * pixels.length) / SAMPLES) | 1;
    samples ??= new Uint32Array(count * Math.ceil(pixels.length / stride));
    for (let i = frame % stride; i < pixels.length && taken < samples.length; i += stride)
      samples[taken++] = pixels[i];
    if (!goes(frame / count)) return null;
    await breath();
  }
  return samples && new Uint8Array(samples.buffer, 0, 4 * taken).slice();
}

/** A palette, and for each colour, in a few bits, the place in it that is closest. */
class Lookup {
  /** @param {number[][]} palette */
  constructor(palette) {
    this.palette = palette;
    /** One more than the place, 0 where it is not known yet. */
    this.known = new Uint16Array(1 << (3 * BITS));
  }

  /**
   * The place of a colour. One key always has the same, whichever frame comes first.
   *
   * @param {number} key
   */
  find(key) {
    const levels = 1 << BITS;
    const [r, g, b] = [key >> (2 * BITS), (key >> BITS) % levels, key % levels].map(
      (level) => (255 * level) / (levels - 1),
    );
    let [best, least] = [0, Infinity];
    this.palette.forEach(([red, green, blue], i) => {
      const apart = (red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2;
      if (apart < least) [best, least] = [i, apart];
    });
    this.known[key] = best + 1;
    return best;
  }

  /**
   * A frame in colours of the palette.
   *
   * @param {ImageData} image
   */
  indexed({ data, width, height }) {
    const index = new Uint8Array(width * height);
    const less = 8 - BITS;
    for (let i = 0; i < index.length; i++) {
      const [r, g, b] = [data[4 * i] >> less, data[4 * i + 1] >> less, data[4 * i + 2] >> less];
      const key = (((r << BITS) | g) << BITS) | b;
      index[i] = (this.known[key] || this.find(key) + 1) - 1;
    }
    return index;
  }
}

/**
 * Make an animated GIF, with pauses in which the page goes on.
 *
 * @param {Frames} frames
 * @param {(share: number) => boolean} goes Told how much is done, 0...1; says whether to go on.
 * @returns {Promise<Uint8Array<ArrayBuffer>|null>} Null where it does not go on.
 */
export async function animated(frames, goes) {
  const colors = await sampled(frames, (share) => goes(share / 2));
  if (!colors) return null;
  const palette = quantize(colors, COLORS, { format: "rgb565" });
  const lookup = new Lookup(palette);
  const gif = GIFEncoder();
  for (let frame = 0; frame < frames.count; frame++) {
    await breath();
    const image = frames.draw(frame);
    const isLast = frame === frames.count - 1;
    const delay = isLast ? Math.max(frames.delay, frames.last) : frames.delay;
    const first = frame ? {} : { palette, repeat: 0 };
    gif.writeFrame(lookup.indexed(image), image.width, image.height, { delay, ...first });
    if (!goes(0.5 + (frame + 1) / frames.count / 2)) return null;
  }
  gif.finish();
  return gif.bytes();
}
