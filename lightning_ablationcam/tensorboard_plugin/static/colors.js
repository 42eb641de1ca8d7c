/**
 * The colours that heat is drawn in: the scales to choose from, and the one for differences.
 */

/**
 * Evenly spaced colours of each scale, RRGGBB, interpolated to 256: at most 6 of 255 beside the
 * published tables, 2 for the default.
 *
 * @type {Record<string, string>}
 */
const ANCHORS = {
  viridis:
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23" +
    "898e21918c1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece5881d34d95d840aadc32c0df25d5e2" +
    "1aeae51afde725",
  cividis:
    "00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d5a5f6e61656f686a716f707376" +
    "76767d7c788381798b8778928d789a9376a29975aaa073b3a670bbad6dc3b369ccba64d4c15fddc858e6d051efd748" +
    "f8df3cfee838",
  inferno:
    "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0" +
    "315bbc3754c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e8" +
    "65f3f586fcffa4",
  magma:
    "0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81762181832681902a819c2e7faa" +
    "337db73779c23b75cf4070db476ae55064ee5b5ef4695cf9785dfb8761fd9668fea571feb47bfec287fed194fde0" +
    "a1fceeb0fcfdbf",
  turbo:
    "30123b392a734040a24456c7466be34680f64294ff37a8fa28bceb1ccdd818ddc21fe9af32f2984ef97d6dfe628b" +
    "ff4ba4fc3cb7f735cbed34dde037ecd13af7c13afdae35fe992cfb8122f56918ec530fe14109d23105c12302ac17" +
    "01950d017a0403",
  gray: "000000ffffff",
};

/**
 * Dark blue (more in B) over near white to amber (more in A): dark at both ends, as no difference is
 * no darkness; told apart with every colour vision, and in lightness as well.
 */
const DIVERGING = "08306b" + "2a66ad" + "86b4e0" + "f4f4f4" + "f5c078" + "e48a1c" + "d06a00";

/**
 * Pink (against) over black to green (for), `vanimo`: told apart with every colour vision, and from
 * the colours of photographs and of differences.
 */
const SIGNED =
  "ffcdfdf3b6ece6a0dcda8bcccd78bdc067aeb2589fa34b90923e807e336e692a5b542148401b372f172824141e1d1417" +
  "1a15131918111c1f112129132935163244193c531d4762215170265b7e2b658c31719b397eac458cbe559cd26bade786" +
  "befda5";

/** The colour of what speaks for a class the most, and of what speaks against it. */
export const MOST_FOR = `#${SIGNED.slice(-6)}`;
export const MOST_AGAINST = `#${SIGNED.slice(0, 6)}`;

/** The names of the scales to choose from. */
export const SCALES = Object.keys(ANCHORS);

/**
 * The 256 colours of a scale.
 *
 * @param {string} anchors RRGGBB, evenly spaced.
 * @returns {Uint8Array} 256 x 3.
 */
function colorTable(anchors) {
  const last = anchors.length / 6 - 1;
  const table = new Uint8Array(256 * 3);
  let left = 0;
  for (let level = 0; level < 256; level++) {
    while (left < last - 1 && level > Math.round(((left + 1) * 255) / last)) left++;
    const from = Math.round((left * 255) / last);
    const share = (level - from) / (Math.round(((left + 1) * 255) / last) - from);
    for (let c = 0; c < 3; c++) {
      const [low, high] = [left, left + 1].map((i) =>
        parseInt(anchors.substr(i * 6 + c * 2, 2), 16),
      );
      table[level * 3 + c] = Math.round(low + share * (high - low));
    }
  }
  return table;
}

/**
 * Share of the full opacity at which heat is drawn: the same curve as in the pictures that the
 * callback logs. Flat near 0, so that cold places keep their own colours, and flat near 1.
 *
 * @param {number} heat 0...1.
 */
function opacityOf(heat) {
  const x = heat ** 0.75;
  return x * x * (3 - 2 * x);
}

/**
 * The pixels of a colour scale, ready to be copied into ImageData.
 *
 * @param {string} anchors The scale.
 * @param {number} opacity Of the strongest heat, 0...1.
 * @param {boolean} [diverging] Whether 0 is in the middle rather than at the start.
 * @returns {Uint32Array} 256 RGBA pixels.
 */
function pixelTable(anchors, opacity, diverging = false) {
  const colors = colorTable(anchors);
  const bytes = new Uint8Array(256 * 4);
  for (let level = 0; level < 256; level++) {
    bytes.set(colors.subarray(level * 3, level * 3 + 3), level * 4);
    const strength = diverging ? Math.abs(level - 127.5) / 127.5 : level / 255;
    bytes[level * 4 + 3] = Math.round(255 * opacity * opacityOf(strength));
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * The same colours without the transparency of cold places.
 *
 * @param {Uint32Array} table
 */
function opaque(table) {
  const bytes = new Uint8Array(table.slice().buffer);
  for (let i = 3; i < bytes.length; i += 4) bytes[i] = 255;
  return new Uint32Array(bytes.buffer);
}

/**
 * Pixels for every level of heat, of heat of two signs and of difference; and of bare heat, with no
 * picture to be seen through it.
 *
 * @typedef {object} Tables
 * @property {string} key Stands for the colours and the opacity.
 * @property {Uint32Array} heat
 * @property {Uint32Array} signed
 * @property {Uint32Array} difference
 * @property {{heat: Uint32Array, signed: Uint32Array}} bare
 */

/** @type {Tables|null} */
let madeLast = null;

/**
 * The tables of a scale, made anew only where it is another one than last time.
 *
 * @param {string} scale One of SCALES.
 * @param {number} opacity Of the strongest heat, 0...1.
 * @returns {Tables}
 */
export function colorTables(scale, opacity) {
  const key = `${scale}:${opacity}`;
  if (madeLast?.key !== key) {
    const heat = pixelTable(ANCHORS[scale], opacity);
    const signed = pixelTable(SIGNED, opacity, true);
    const difference = pixelTable(DIVERGING, opacity, true);
    const bare = { heat: opaque(heat), signed: opaque(signed) };
    madeLast = { key, heat, signed, difference, bare };
  }
  return madeLast;
}
