"""All probes in one validation pass."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.caption import caption_block
from lightning_ablationcam.render.layout import centered, column, framed, row
from lightning_ablationcam.render.legend import legend_block
from lightning_ablationcam.render.overlays import blend
from lightning_ablationcam.render.sizes import fit
from lightning_ablationcam.render.style import CARD, GAP, SEAM
from lightning_ablationcam.render.validation import check_lines, check_regions, check_tiles

SIDE = 112
ASPECT = 4 / 3


def overview_grid(
    pictures: NDArray[np.uint8],
    heats: NDArray[np.floating[Any]],
    captions: Sequence[Sequence[str]],
    title: Sequence[str],
    legend: str,
    *,
    signed: bool = False,
    regions: Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw every probe, its picture beside its overlay, in a grid of about 4:3.

    Args:
        pictures: uint8 array of shape (N, H, W, 3), RGB, N at least 1.
        heats: Float array of shape (N, h, w). Values are clipped to [0, 1]; NaN and infinities
            count as 0.
        captions: For each probe its lines of text, one or two.
        title: Lines of text above the grid; the first stands out.
        legend: What the hottest colour stands for.
        signed: Whether heat below 0 counts, down to -1, in colours of its own.
        regions: For each probe None or a bool array of shape (H', W'), of any resolution, whose
            outline is drawn.

    Returns:
        uint8 array of shape (H', W', 3), RGB.

    Raises:
        TypeError: If an array has another dtype, or a caption is a string.
        ValueError: If an array has another shape, or N differs between the arguments.

    Example:
        >>> pictures, heats = np.zeros((4, 28, 28, 3), np.uint8), np.ones((4, 7, 7))
        >>> grid = overview_grid(pictures, heats, [["cat"]] * 4, ["step 400"], "maximum")
        >>> grid.dtype
        dtype('uint8')
    """
    check_tiles(pictures, heats, captions)
    check_lines(title, "title")
    tiles = [
        _tile(plain, blend(plain, heat, signed, region), caption)
        for plain, heat, caption, region in zip(
            [fit(Image.fromarray(picture), SIDE) for picture in pictures],
            heats,
            captions,
            check_regions(regions, len(pictures), "pictures"),
            strict=True,
        )
    ]
    columns = _columns(len(tiles), tiles[0].width + 2 * GAP, tiles[0].height + 2 * GAP)
    rows = [row(tiles[start : start + columns], 2 * GAP) for start in range(0, len(tiles), columns)]
    body = column(rows, 2 * GAP)
    width = max(body.width, CARD)
    titled = column([caption_block(title, width), body], GAP)
    bar = legend_block(legend, width, signed=signed)
    return np.array(framed(column([titled, bar], 2 * GAP)))


def _tile(picture: Image.Image, covered: Image.Image, caption: Sequence[str]) -> Image.Image:
    pair = centered(row([picture, covered], SEAM), 2 * SIDE + SEAM)
    return column([pair, caption_block(caption, pair.width)], GAP // 2)


def _columns(count: int, width: int, height: int) -> int:
    def distance(columns: int) -> float:
        rows = -(-count // columns)
        return abs(log(columns * width / (rows * height) / ASPECT))

    return min(range(1, count + 1), key=distance)
