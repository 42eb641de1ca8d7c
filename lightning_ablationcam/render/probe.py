"""One probe in one validation pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.caption import caption_block
from lightning_ablationcam.render.layout import centered, column, framed
from lightning_ablationcam.render.legend import legend_block
from lightning_ablationcam.render.overlays import blend
from lightning_ablationcam.render.sizes import fit
from lightning_ablationcam.render.style import GAP
from lightning_ablationcam.render.validation import (
    check_heat,
    check_lines,
    check_picture,
    check_region,
)

MIN_WIDTH = 224


def probe_picture(
    picture: NDArray[np.uint8],
    heat: NDArray[np.floating[Any]],
    caption: Sequence[str],
    legend: str,
    *,
    signed: bool = False,
    region: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw a picture with its heat, its caption and the colour bar below.

    Args:
        picture: uint8 array of shape (H, W, 3), RGB, of any size.
        heat: Float array of shape (h, w) covering the whole picture. Values are clipped to
            [0, 1]; NaN and infinities count as 0.
        caption: Lines of text; the first stands out.
        legend: What the hottest colour stands for.
        signed: Whether heat below 0 counts, down to -1, in colours of its own.
        region: Bool array of shape (H', W'), of any resolution, whose outline is drawn.

    Returns:
        uint8 array of shape (H', W', 3), RGB.

    Raises:
        TypeError: If an array has another dtype, or ``caption`` is a string.
        ValueError: If an array has another shape.

    Example:
        >>> digit = np.zeros((28, 28, 3), np.uint8)
        >>> drawn = probe_picture(digit, np.ones((7, 7)), ["7", "predicted 7, 0.98"], "maximum")
        >>> drawn.shape, drawn.dtype
        ((430, 350, 3), dtype('uint8'))
    """
    check_picture(picture)
    check_heat(heat)
    check_lines(caption, "caption")
    check_region(region)
    shown = centered(blend(fit(Image.fromarray(picture)), heat, signed, region), MIN_WIDTH)
    text = caption_block(caption, shown.width)
    bar = legend_block(legend, shown.width, signed=signed)
    return np.array(framed(column([shown, text, bar], GAP)))
