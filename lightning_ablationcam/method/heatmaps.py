"""From channel weights to heatmaps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def signed_heatmaps(weights: Tensor, maps: Tensor) -> Tensor:
    """The weighted sum of channels, sum_k w_k A_k, whose ReLU is the paper's heatmap.

    Args:
        weights: (N, K) channel weights.
        maps: (N, K, ...) activations, channels second, any number of spatial dimensions.

    Returns:
        (N, ...) maps, not normalised, in the wider of the two dtypes: above 0 what speaks for the
        class, below 0 what speaks against it.

    Source:
        Desai & Ramaswamy, "Ablation-CAM", WACV 2020.

    Example:
        >>> signed_heatmaps(torch.tensor([[1.0, -1.0]]), torch.tensor([[[3.0, 1.0], [1.0, 2.0]]]))
        tensor([[ 2., -1.]])
    """
    dtype = torch.promote_types(weights.dtype, maps.dtype)
    return torch.einsum("nk,nk...->n...", weights.to(dtype), maps.to(dtype))


def resampled(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps on another grid, linear in each of one to three dimensions, without aligned corners.

    Args:
        maps: (N, ...) maps.
        size: The size of the grid, as many numbers.

    Returns:
        (N, *size) in the maps' dtype.

    Example:
        >>> resampled(torch.tensor([[0.0, 1.0]]), (4,))
        tensor([[0.0000, 0.2500, 0.7500, 1.0000]])
    """
    mode = _MODES[len(size)]
    return functional.interpolate(maps[:, None], tuple(size), mode=mode, align_corners=False)[:, 0]
