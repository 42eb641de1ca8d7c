"""A picture with heat over it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.colors import color_table, heat_levels
from lightning_ablationcam.render.validation import check_heat, check_picture

MAX_OPACITY = 0.8


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Lay heat over a picture: cold places stay as they are, hot ones take the scale's colour.

    Args:
        picture: uint8 array of shape (H, W, 3), RGB.
        heat: Float array of shape (h, w) covering the whole picture, upsampled smoothly to
            (H, W). Values are clipped to [0, 1]; NaN and infinities count as 0.

    Returns:
        uint8 array of shape (H, W, 3), RGB.

    Raises:
        TypeError: If an argument is no array or has another dtype.
        ValueError: If an argument has another shape.

    Example:
        >>> black = np.zeros((4, 4, 3), np.uint8)
        >>> overlay(black, np.ones((1, 1)))[0, 0].tolist()
        [202, 185, 30]
    """
    check_picture(picture)
    check_heat(heat)
    return np.array(blend(Image.fromarray(picture), heat))


def blend(picture: Image.Image, heat: NDArray[np.floating[Any]]) -> Image.Image:
    """Return the RGB image ``picture`` with ``heat`` (h, w) over it, unchecked."""
    levels = _upsampled_levels(heat, picture.size)
    colored = levels.copy()
    colored.putpalette(color_table().tobytes())
    return Image.composite(colored.convert("RGB"), picture, levels.point(_opacities()))


def _upsampled_levels(heat: NDArray[np.floating[Any]], size: tuple[int, int]) -> Image.Image:
    # Clipped before the resize too: a stray large value would spread over its neighbours.
    cells = np.where(np.isfinite(heat), heat, 0).clip(0, 1).astype(np.float32)
    smooth = Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(heat_levels(np.asarray(smooth)))


@cache
def _opacities() -> list[int]:
    # Smoothstep: flat near 0, so that a cold picture keeps its own colours, and flat near 1, so
    # that the whole of a hot place stands out. The power shows a third of the heat clearly.
    heat = np.linspace(0, 1, 256) ** 0.75
    opacities = np.rint(MAX_OPACITY * heat**2 * (3 - 2 * heat) * 255)
    return [int(opacity) for opacity in opacities]
