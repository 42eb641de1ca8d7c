"""Pairs of an image and a group of channels: the unit of work of both engines."""

from __future__ import annotations

import torch
from torch import Tensor


def changed_pairs(activations: Tensor, ablated: Tensor, owners: Tensor, channel_dim: int) -> Tensor:
    """(N, G) whether ablating the group changes anything; NaN counts as a change.

    Args:
        activations: The target layer's output.
        ablated: The same with every channel ablated.
        owners: (K,) int64 in 0 ... G-1, the group of each channel.
        channel_dim: The dimension that holds the channels.
    """
    differs = (activations != ablated).movedim(channel_dim, 1).flatten(2).any(dim=2)
    changed = differs.new_zeros(len(differs), int(owners.max()) + 1, dtype=torch.int64)
    return changed.index_add_(1, owners, differs.long()) > 0


def along(values: Tensor, ndim: int, dim: int) -> Tensor:
    """Shape (n,) values so that they lie along one of ``ndim`` dimensions."""
    return values.view([-1 if d == dim % ndim else 1 for d in range(ndim)])
