"""How closely heat is concentrated."""

from __future__ import annotations

import torch
from torch import Tensor

HOTTEST_SHARE = 0.1
"""The share of the area whose heat counts."""


def concentration(heatmaps: Tensor) -> Tensor:
    """The share of each map's heat that lies in the hottest tenth of its area.

    If a tenth of the positions is not a whole number, the last position counts in part.

    Args:
        heatmaps: (N, ...) heatmaps, non-negative.

    Returns:
        (N,) float64 in :data:`HOTTEST_SHARE` (the same heat everywhere, or none at all) ... 1 (all
        heat in a tenth of the area). NaN where heat is not finite.

    Example:
        >>> spread = torch.ones(20)
        >>> point = torch.zeros(20)
        >>> point[3] = 7.0
        >>> concentration(torch.stack([spread, point]))
        tensor([0.1000, 1.0000], dtype=torch.float64)
    """
    heat = heatmaps.flatten(1).double()
    peak = heat.amax(dim=1, keepdim=True)
    # Divide by the peak first: a sum of very large heat would overflow.
    heat = heat / torch.where(peak > 0, peak, 1)
    positions = heat.shape[1]
    ranked = heat.sort(dim=1, descending=True).values
    places = torch.arange(positions, dtype=heat.dtype, device=heat.device)
    counted = (HOTTEST_SHARE * positions - places).clamp(0, 1)
    total = heat.sum(dim=1)
    share = (ranked * counted).sum(dim=1) / torch.where(total > 0, total, 1)
    return torch.where(total == 0, HOTTEST_SHARE, share)
