/**
 * How a map can be looked at in the large view.
 */

/** How heat is laid over a picture. */
export const LOOKS = ["overlay", "original", "contour", "heat"];

/** Stands for several of them side by side. */
export const ALL_LOOKS = "all";

/** Those that are shown then. */
export const SIDE_BY_SIDE = ["original", "overlay", "contour"];

/**
 * What of a picture is in sight: it is enlarged by `scale`, and begins at a share of its width and
 * height.
 *
 * @typedef {{scale: number, x: number, y: number}} View
 */

/** @type {Readonly<View>} */
export const WHOLE = Object.freeze({ scale: 1, x: 0, y: 0 });

/**
 * How a map is drawn over its picture.
 *
 * @typedef {{look?: string, view?: View}} How
 */
