"""Signals as curves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lightning_ablationcam.render.style import CARD
from lightning_ablationcam.selection import evenly_chosen

MAX_CURVES = 12
"""Most channels that are drawn."""

TOGETHER = 3
"""Most channels that are drawn over each other, on one scale; of more each has a lane."""

HEIGHT, LANE = 168, 28
"""Pixels: of the whole, and at least of a lane."""

PAPER = (38, 40, 46)

# Muted, and light: heat of any colour lies over them.
TONES = (
    (222, 224, 230),
    (226, 178, 140),
    (150, 196, 224),
    (190, 208, 150),
    (214, 166, 206),
    (206, 200, 160),
)

_FINER = 3
_STROKE = 2
_PADDING = 0.08


def curve_picture(signal: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Draw the channels of a signal as curves over the whole width.

    Sample i of L lies in the middle of the i-th of L equal parts of the width, as the cells of a
    map do. Up to three channels share one scale, others have a lane each with a scale of its own.

    Args:
        signal: (C, L) float; of more than 12 channels some are shown, evenly chosen. What is not
            finite is left out.

    Returns:
        (H, W, 3) uint8, RGB, W = 336.

    Example:
        >>> curve_picture(np.zeros((1, 50))).shape
        (168, 336, 3)
    """
    rows = signal[evenly_chosen(len(signal), MAX_CURVES)].astype(np.float64)
    rows[~np.isfinite(rows)] = np.nan
    lanes = [rows] if len(rows) <= TOGETHER else [row[None] for row in rows]
    height = max(HEIGHT, LANE * len(lanes))
    canvas = Image.new("RGB", (CARD * _FINER, height * _FINER), PAPER)
    pen = ImageDraw.Draw(canvas)
    edges = np.linspace(0, height * _FINER, len(lanes) + 1)
    for lane, (curves, top, bottom) in enumerate(zip(lanes, edges, edges[1:], strict=False)):
        low, high = _range(curves)
        margin = _PADDING * (bottom - top) + _STROKE * _FINER / 2
        for place, curve in enumerate(curves):
            shares = (curve - low) / (high - low)
            heights = bottom - margin - shares * (bottom - top - 2 * margin)
            tone = TONES[(lane + place) % len(TONES)]
            for points in _polylines(heights, CARD * _FINER):
                pen.line(points, fill=tone, width=_STROKE * _FINER, joint="curve")
    return np.array(canvas.resize((CARD, height), Image.Resampling.BOX))


def _range(curves: NDArray[np.float64]) -> tuple[float, float]:
    finite = curves[np.isfinite(curves)]
    if not finite.size or finite.min() == finite.max():
        middle = float(finite[0]) if finite.size else 0.0
        return middle - max(1.0, abs(middle)), middle + max(1.0, abs(middle))
    return float(finite.min()), float(finite.max())


def _polylines(heights: NDArray[np.float64], width: int) -> list[list[tuple[float, float]]]:
    """Points of a curve, apart where it is not finite."""
    count = len(heights)
    places = (np.arange(count) + 0.5) / count * width
    if count > 2 * width:
        # Of each pixel the least and the greatest, in the order in which they come.
        kept = sorted({index for part in _parts(heights, width) for index in part})
        heights, places = heights[kept], places[kept]
    finite = np.isfinite(heights)
    breaks = np.flatnonzero(np.diff(finite.astype(np.int8))) + 1
    lines = []
    for ys, xs, real in zip(
        np.split(heights, breaks),
        np.split(places, breaks),
        np.split(finite, breaks),
        strict=True,
    ):
        if len(real) and real[0]:
            points = list(zip(xs.tolist(), ys.tolist(), strict=True))
            x, y = points[0]
            # A single point is a dot.
            lines.append(points if len(points) > 1 else [(x - _STROKE * _FINER, y), (x, y)])
    return lines


def _parts(heights: NDArray[np.float64], width: int) -> list[list[int]]:
    bounds = np.linspace(0, len(heights), width + 1).astype(int)
    found: list[list[int]] = []
    for start, end in pairwise(bounds.tolist()):
        part = heights[start:end]
        if np.isfinite(part).any():
            found.append([start + int(np.nanargmin(part)), start + int(np.nanargmax(part))])
        else:
            found.append([start])
    return found
