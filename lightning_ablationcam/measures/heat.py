"""Heat as the measures take it, and where on a picture its cells are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Heatmaps: TypeAlias = Tensor | NDArray[Any]
"""Tensors as results hold them, or arrays as histories do."""


def as_tensor(values: Heatmaps) -> Tensor:
    """A tensor as it is, and an array as a tensor on the CPU."""
    # A copy, since of an array that may not be written to a view would warn.
    return values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))


def relative(heatmaps: Heatmaps) -> Tensor:
    """Heat as a share of the hottest place's: sums and squares of it neither over- nor underflow.

    Args:
        heatmaps: (N, ...) non-negative heat.

    Returns:
        The same shape, float64: at most 1, and 0 where a map is cold everywhere. Of a map that is
        not finite the sum is NaN.

    Example:
        >>> relative(torch.tensor([[1e38, 5e37], [0.0, 0.0]]))
        tensor([[1.0000, 0.5000],
                [0.0000, 0.0000]], dtype=torch.float64)
    """
    heat = as_tensor(heatmaps).double()
    peak = heat.flatten(1).amax(dim=1).view(-1, *[1] * (heat.ndim - 1))
    return heat / torch.where(peak > 0, peak, 1)


def check_same_shape(name: str, one: Heatmaps, other_name: str, other: Heatmaps) -> None:
    """Raise a ``ValueError`` unless two sets of heatmaps have one shape."""
    if one.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(one.shape)}, {other_name} {tuple(other.shape)}; expected "
            "heatmaps of one shape"
        )


def spread(heat: Tensor) -> Tensor:
    """:func:`relative` heat, and the same everywhere in place of maps that are cold."""
    cold = ~heat.flatten(1).any(dim=1)
    return torch.where(cold.view(-1, *[1] * (heat.ndim - 1)), 1, heat)


def along(values: Tensor, axis: int, ndim: int) -> Tensor:
    """(l,) values laid along one axis of ``ndim``, to be multiplied with."""
    return values.view([-1 if each == axis else 1 for each in range(ndim)])


def centers(heat: Tensor, size: Sequence[int]) -> Tensor:
    """(N, axes) float64: the centre of each map's heat, in pixels of a picture of ``size``.

    The upper left corner is 0, and a cell's heat is in its middle. NaN where a map is cold.

    Example:
        >>> centers(torch.tensor([[[0.0, 0.0], [3.0, 1.0]]]).double(), (8, 8))
        tensor([[6., 3.]], dtype=torch.float64)
    """
    total = heat.flatten(1).sum(dim=1)
    found = []
    for axis, (cells, pixels) in enumerate(zip(heat.shape[1:], size, strict=True), start=1):
        middles = (torch.arange(cells, dtype=heat.dtype, device=heat.device) + 0.5) / cells
        moments = (heat * along(middles, axis, heat.ndim)).flatten(1).sum(dim=1)
        found.append(moments / total * pixels)
    return torch.stack(found, dim=1)
