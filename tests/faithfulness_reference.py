"""The measures of faithfulness as the papers write them: one image, one place, one forward pass.

Float64 loops that share nothing with the package but torch, to run networks with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.float64]


@dataclass
class Reference:
    average_drop: float
    increase: float
    average_gain: float
    insertion: float
    deletion: float
    insertion_curve: list[float]
    deletion_curve: list[float]


def faithfulness_reference(
    probability: Callable[[Picture], float],
    image: Picture,
    heatmap: Picture,
    steps: int,
    baseline: Picture,
) -> Reference:
    """Measure one image.

    Args:
        probability: The class probability of a picture.
        image: (C, ...).
        heatmap: Of as many dimensions but one.
        steps: S.
        baseline: (C, ...).
    """
    y = probability(image)
    warm = np.maximum(heatmap, 0)
    share = enlarged(warm / warm.max() if warm.max() > 0 else warm, image.shape[1:])
    o = probability(baseline + share * (image - baseline))
    order = hottest_first(enlarged(heatmap, image.shape[1:]))
    blurry = blurred(image, baseline)
    insertion = walk(probability, blurry, image, order, steps)
    deletion = walk(probability, image, baseline, order, steps)
    return Reference(
        max(0.0, y - o) / y,
        float(o > y),
        max(0.0, o - y) / (1 - y),
        sum((a + b) / 2 / steps for a, b in itertools.pairwise(insertion)),
        sum((a + b) / 2 / steps for a, b in itertools.pairwise(deletion)),
        insertion,
        deletion,
    )


def enlarged(heatmap: Picture, size: tuple[int, ...]) -> Picture:
    """Each place lies between the cells whose middles are around its own."""
    found = np.zeros(size)
    for place in np.ndindex(*size):
        around = []
        for at, new, old in zip(place, size, heatmap.shape, strict=True):
            middle = min(max((at + 0.5) * old / new - 0.5, 0), old - 1)
            low = min(int(middle), max(old - 2, 0))
            around.append([(low, 1 - (middle - low)), (min(low + 1, old - 1), middle - low)])
        for cells in itertools.product(*around):
            weight = np.prod([share for _, share in cells])
            found[place] += weight * heatmap[tuple(cell for cell, _ in cells)]
    return found


def hottest_first(heat: Picture) -> list[tuple[int, ...]]:
    # What differs by rounding alone is equal.
    return sorted(np.ndindex(*heat.shape), key=lambda place: -np.round(heat[place], 9))


def blurred(image: Picture, baseline: Picture) -> Picture:
    """As the authors' code does: the blur of a dot in 11 pixels, moved over the image."""
    dims = image.ndim - 1
    dot = np.zeros([11] * dims)
    dot[(5,) * dims] = 1
    kernel = gaussian_filter(dot, 5)
    found = np.zeros_like(image)
    for channel in range(len(image)):
        padded = np.pad(image[channel], 5, constant_values=baseline[channel].mean())
        for place in np.ndindex(*image.shape[1:]):
            window = tuple(slice(at, at + 11) for at in place)
            found[(channel, *place)] = (padded[window] * kernel).sum()
    return found


def walk(
    probability: Callable[[Picture], float],
    start: Picture,
    end: Picture,
    order: list[tuple[int, ...]],
    steps: int,
) -> list[float]:
    now, curve, done = start.copy(), [probability(start)], 0
    for step in range(1, steps + 1):
        until = int(np.floor(step * len(order) / steps + 0.5))
        for place in order[done:until]:
            now[(slice(None), *place)] = end[(slice(None), *place)]
        done = until
        curve.append(probability(now))
    return curve


def class_probability(model: torch.nn.Module, of_class: int) -> Callable[[Picture], float]:
    """Of a model of logits, in float64."""

    def probability(picture: Picture) -> float:
        with torch.no_grad():
            logits = model(torch.from_numpy(picture)[None])[0].numpy()
        odds = np.exp(logits - logits.max())
        return float(odds[of_class] / odds.sum())

    return probability
