"""Pictures above their heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.caption import caption_block
from lightning_ablationcam.render.layout import centered, column, framed, row
from lightning_ablationcam.render.legend import legend_block
from lightning_ablationcam.render.overlays import blend
from lightning_ablationcam.render.sizes import fit
from lightning_ablationcam.render.style import GAP
from lightning_ablationcam.render.validation import check_regions, check_tiles

SIDE = 224
MAX_COLUMNS = 6


def gallery(
    pictures: NDArray[np.uint8],
    heats: NDArray[np.floating[Any]],
    captions: Sequence[Sequence[str]],
    legend: str,
    *,
    signed: bool = False,
    regions: Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw each picture above the same with its heat, up to six beside each other.

    Args:
        pictures: uint8 array of shape (N, H, W, 3), RGB, N at least 1.
        heats: Float array of shape (N, h, w). Values are clipped to [0, 1]; NaN and infinities
            count as 0.
        captions: For each picture its lines of text; the first stands out.
        legend: What the hottest colour stands for.
        signed: Whether heat below 0 counts, down to -1, in colours of its own.
        regions: For each picture None or a bool array of shape (H', W'), of any resolution, whose
            outline is drawn.

    Returns:
        uint8 array of shape (H', W', 3), RGB.

    Raises:
        TypeError: If an array has another dtype, or a caption is a string.
        ValueError: If an array has another shape, or N differs between the arguments.

    Example:
        >>> pictures, heats = np.zeros((2, 28, 28, 3), np.uint8), np.ones((2, 7, 7))
        >>> gallery(pictures, heats, [["cat"], ["dog"]], "maximum").dtype
        dtype('uint8')
    """
    check_tiles(pictures, heats, captions)
    outlines = check_regions(regions, len(pictures), "pictures")
    tiles = [
        _tile(plain, blend(plain, heat, signed, region), caption)
        for plain, heat, caption, region in zip(
            [fit(Image.fromarray(picture), SIDE) for picture in pictures],
            heats,
            captions,
            outlines,
            strict=True,
        )
    ]
    rows = [row(tiles[i : i + MAX_COLUMNS], GAP) for i in range(0, len(tiles), MAX_COLUMNS)]
    body = column(rows, 2 * GAP)
    bar = legend_block(legend, body.width, signed=signed)
    return np.array(framed(column([body, bar], 2 * GAP)))


def _tile(picture: Image.Image, covered: Image.Image, caption: Sequence[str]) -> Image.Image:
    shown = [centered(image, SIDE) for image in (picture, covered)]
    return column([*shown, caption_block(caption, SIDE)], GAP)
