"""Signals as curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.style import CARD
from lightning_ablationcam.selection import evenly_chosen

MAX_CURVES = 12
"""Most channels that are drawn."""

TOGETHER = 3
"""Most channels that are drawn over each other, on one scale; of more each has a lane."""

HEIGHT, LANE = 168, 28
"""Pixels: of the whole, and at least of a lane."""

PAPER, EDGE = (38, 40, 46), (0, 0, 0)

# Muted, and light: heat of any colour lies over them.
TONES = (
    (222, 224, 230),
    (226, 178, 140),
    (150, 196, 224),
    (190, 208, 150),
    (214, 166, 206),
    (206, 200, 160),
)

_FINER = 2
_STROKE, _EDGE = 2, 1
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
    high = max(HEIGHT, LANE * len(lanes)) // len(lanes) * _FINER
    canvas = np.empty((len(lanes), high, CARD * _FINER, 3), np.uint8)
    canvas[:] = PAPER
    for lane, curves in enumerate(lanes):
        low, top = _range(curves)
        margin = _PADDING * high + (_STROKE / 2 + _EDGE) * _FINER
        for place, curve in enumerate(curves):
            heights = high - margin - (curve - low) / (top - low) * (high - 2 * margin)
            spans = _spans(heights, CARD * _FINER)
            # The edge keeps a curve apart from the others, and visible under the hottest heat.
            canvas[lane][_stroke(spans, high, _STROKE / 2 + _EDGE)] = EDGE
            canvas[lane][_stroke(spans, high, _STROKE / 2)] = TONES[(lane + place) % len(TONES)]
    return np.array(Image.fromarray(canvas.reshape(-1, CARD * _FINER, 3)).reduce(_FINER))


def _range(curves: NDArray[np.float64]) -> tuple[float, float]:
    finite = curves[np.isfinite(curves)]
    if not finite.size or finite.min() == finite.max():
        middle = float(finite[0]) if finite.size else 0.0
        return middle - max(1.0, abs(middle)), middle + max(1.0, abs(middle))
    return float(finite.min()), float(finite.max())


def _spans(heights: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """From where to where a curve goes in each column of pixels: (2, width), NaN for nowhere."""
    count = len(heights)
    borders = np.arange(width + 1) / width * count - 0.5
    left = np.clip(np.floor(borders), 0, max(count - 2, 0)).astype(int)
    right = np.minimum(left + 1, count - 1)
    shares = borders - left
    crossed = heights[left] * (1 - shares) + heights[right] * shares
    crossed[(borders < 0) | (borders > count - 1)] = np.nan
    spans = np.stack([np.fmin(crossed[:-1], crossed[1:]), np.fmax(crossed[:-1], crossed[1:])])
    columns = ((np.arange(count) + 0.5) / count * width).astype(int)
    np.fmin.at(spans[0], columns, heights)
    np.fmax.at(spans[1], columns, heights)
    return spans


def _stroke(spans: NDArray[np.float64], high: int, radius: float) -> NDArray[np.bool_]:
    """(high, width) whether a round brush that goes along a curve covers a pixel."""
    reach, width = radius * _FINER, spans.shape[1]
    beside = int(reach)
    wider = np.pad(spans, ((0, 0), (beside, beside)), constant_values=np.nan)
    low, top = np.full(width, np.nan), np.full(width, np.nan)
    for offset in range(-beside, beside + 1):
        half = math.sqrt(reach**2 - offset**2)
        start = beside + offset
        low = np.fmin(low, wider[0, start : start + width] - half)
        top = np.fmax(top, wider[1, start : start + width] + half)
    rows = np.arange(high)[:, None]
    covered: NDArray[np.bool_] = (rows >= low) & (rows <= top)
    return covered
