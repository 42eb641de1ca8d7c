"""A picture with heat over it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.colors import (
    ZERO,
    color_table,
    heat_levels,
    signed_color_table,
    signed_levels,
)
from lightning_ablationcam.render.outlines import outlined
from lightning_ablationcam.render.validation import check_heat, check_picture, check_region

MAX_OPACITY = 0.8


def overlay(
    picture: NDArray[np.uint8],
    heat: NDArray[np.floating[Any]],
    *,
    signed: bool = False,
    region: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Lay heat over a picture: cold places stay as they are, hot ones take the scale's colour.

    Args:
        picture: uint8 array of shape (H, W, 3), RGB.
        heat: Float array of shape (h, w) covering the whole picture, upsampled smoothly to
            (H, W). Values are clipped to [0, 1]; NaN and infinities count as 0.
        signed: Whether heat below 0 counts: values are clipped to [-1, 1], and either sign has
            colours of its own.
        region: Bool array of shape (H', W'), of any resolution, whose outline is drawn.

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
    check_region(region)
    return np.array(blend(Image.fromarray(picture), heat, signed, region))


def blend(
    picture: Image.Image,
    heat: NDArray[np.floating[Any]],
    signed: bool = False,
    region: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Return the RGB image ``picture`` with ``heat`` (h, w) and an outline over it, unchecked."""
    levels = _upsampled_levels(heat, picture.size, signed)
    colored = levels.copy()
    colored.putpalette((signed_color_table() if signed else color_table()).tobytes())
    covered = Image.composite(colored.convert("RGB"), picture, levels.point(_opacities(signed)))
    return outlined(covered, region)


def _upsampled_levels(
    heat: NDArray[np.floating[Any]], size: tuple[int, int], signed: bool
) -> Image.Image:
    # Clipped before the resize too: a stray large value would spread over its neighbours.
    lowest = -1 if signed else 0
    cells = np.where(np.isfinite(heat), heat, 0).clip(lowest, 1).astype(np.float32)
    smooth = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray(signed_levels(smooth) if signed else heat_levels(smooth))


@cache
def _opacities(signed: bool) -> list[int]:
    # Smoothstep: flat near 0, so that a cold picture keeps its own colours, and flat near 1, so
    # that the whole of a hot place stands out. The power shows a third of the heat clearly.
    levels = np.arange(256)
    heat = (np.abs(levels - ZERO).clip(max=ZERO) / ZERO if signed else levels / 255) ** 0.75
    opacities = np.rint(MAX_OPACITY * heat**2 * (3 - 2 * heat) * 255)
    return [int(opacity) for opacity in opacities]
