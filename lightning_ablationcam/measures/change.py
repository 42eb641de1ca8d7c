"""How much heatmaps change."""

from __future__ import annotations

import torch
from torch import Tensor


def drift(before: Tensor, after: Tensor) -> Tensor:
    """How much the shape of each heatmap changed: 1 - cosine between the two maps.

    Independent of the heat's scale: a map twice as hot in the same places has not drifted.

    Args:
        before: (N, ...) heatmaps, non-negative.
        after: (N, ...) heatmaps of the same images, of the same shape.

    Returns:
        (N,) float64 in 0 (same shape) ... 1 (no place in common). 0 if both maps are cold
        everywhere, since nothing changed; 1 if only one is. NaN where heat is not finite.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> drift(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 2.0], [3.0, 3.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    if before.shape != after.shape:
        raise ValueError(
            f"before has shape {tuple(before.shape)}, after {tuple(after.shape)}; expected "
            "heatmaps of one shape"
        )
    a, b = _directions(before), _directions(after)
    a_cold, b_cold = ~a.any(dim=1), ~b.any(dim=1)
    # Half the squared distance of unit vectors is 1 - cosine, and exactly 0 for equal maps.
    distance = ((a - b).square().sum(dim=1) / 2).clamp(max=1)
    distance = torch.where(a_cold & b_cold, 0.0, distance)
    return torch.where(a_cold ^ b_cold, distance * 0 + 1, distance)


def _directions(heatmaps: Tensor) -> Tensor:
    """(N, positions) maps of length 1, zero where a map is cold everywhere."""
    flat = heatmaps.flatten(1).double()
    peak = flat.amax(dim=1, keepdim=True)
    # Divide by the peak first: the squares of very large or small heat would over- or underflow.
    flat = flat / torch.where(peak > 0, peak, 1)
    length = flat.norm(dim=1, keepdim=True)
    return flat / torch.where(length > 0, length, 1)
