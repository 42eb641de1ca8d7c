"""From channel weights to heatmaps."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_heatmaps(weights: Tensor, maps: Tensor) -> Tensor:
    """The positive part of the weighted sum of channels, ReLU(sum_k w_k A_k).

    Args:
        weights: (N, K) channel weights.
        maps: (N, K, ...) activations, channels second, any number of spatial dimensions.

    Returns:
        (N, ...) heatmaps, non-negative and not normalised, in the wider of the two dtypes.

    Source:
        Desai & Ramaswamy, "Ablation-CAM", WACV 2020.

    Example:
        >>> weighted_heatmaps(torch.tensor([[1.0, -1.0]]), torch.tensor([[[3.0, 1.0], [1.0, 2.0]]]))
        tensor([[2., 0.]])
    """
    dtype = torch.promote_types(weights.dtype, maps.dtype)
    return torch.einsum("nk,nk...->n...", weights.to(dtype), maps.to(dtype)).relu()
