"""The colour scale: which colour stands for which heat."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from cmap import Colormap
from numpy.typing import NDArray

# Perceptually uniform and safe for colour-blind readers. Of the scales that are both, viridis
# differs most from photographs: skin, fur, wood and sunsets already have inferno's and plasma's
# reds and oranges, and inferno's and magma's pale end is lost on a white background.
DEFAULT_COLORMAP = "viridis"


# The same for maps of two signs: of the scales that go from one bright end through black to
# another, the one whose ends photographs hold least. Red and orange are lost on fur, skin and wood,
# blue on skies, and scales that are white in the middle leave a pale rim around every spot.
SIGNED_COLORMAP = "vanimo"

ZERO = 127
"""Index of the neutral colour in the table of signed colours."""


@cache
def color_table() -> NDArray[np.uint8]:
    """Return the 256 colours of the scale, coldest first: uint8 (256, 3), read-only."""
    rgb = Colormap(DEFAULT_COLORMAP).lut(256)[:, :3]
    table: NDArray[np.uint8] = np.rint(rgb * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


@cache
def signed_color_table() -> NDArray[np.uint8]:
    """Return the 255 colours for two signs, from against to for: uint8 (255, 3), read-only."""
    rgb = Colormap(SIGNED_COLORMAP).lut(2 * ZERO + 1)[:, :3]
    table: NDArray[np.uint8] = np.rint(rgb * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


def heat_levels(heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return ``heat`` as indices into the colour table.

    Args:
        heat: Float array of any shape. Values are clipped to [0, 1]; NaN and infinities count
            as 0.

    Returns:
        uint8 array of the same shape, 0 (cold) to 255 (hot).
    """
    finite = np.where(np.isfinite(heat), heat, 0)
    levels: NDArray[np.uint8] = np.rint(finite.clip(0, 1) * 255).astype(np.uint8)
    return levels


def signed_levels(heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return signed ``heat`` as indices into the table of signed colours.

    Args:
        heat: Float array of any shape. Values are clipped to [-1, 1]; NaN and infinities count
            as 0.

    Returns:
        uint8 array of the same shape, 0 (against) to 254 (for), :data:`ZERO` where there is none.
    """
    finite = np.where(np.isfinite(heat), heat, 0)
    levels: NDArray[np.uint8] = np.rint(ZERO + ZERO * finite.clip(-1, 1)).astype(np.uint8)
    return levels


def colorize(heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return the colour of each heat value.

    Args:
        heat: Float array of shape (...,). Values are clipped to [0, 1]; NaN and infinities
            count as 0.

    Returns:
        uint8 array of shape (..., 3), RGB.

    Example:
        >>> colorize(np.array([0.0, 1.0])).tolist()
        [[68, 1, 84], [253, 231, 37]]
    """
    return color_table()[heat_levels(heat)]
