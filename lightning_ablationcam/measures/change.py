"""How much heatmaps change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_ablationcam.arguments import check_count
from lightning_ablationcam.measures.heat import Heatmaps, centers, check_same_shape, relative


def drift(before: Heatmaps, after: Heatmaps) -> Tensor:
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
    check_same_shape("before", before, "after", after)
    return _distance(before, after)


def agreement(first: Heatmaps, second: Heatmaps) -> Tensor:
    """How much the heatmaps of two runs, seeds or methods agree: the cosine between them.

    It is 1 - :func:`drift`, and so independent of how hot the maps are.

    Two runs that watched the same :class:`~lightning_ablationcam.ProbeSet` can be compared by what
    their monitors saw last::

        maps = [monitor.history.passes[-1].heatmaps for monitor in (one, other)]
        agreement(*maps)  # (N,), one for each probe

    and so can any two of their passes. What a probe's class is should be the same in both: name
    ``classes="label"`` in both monitors.

    Args:
        first: (N, ...) heatmaps, non-negative.
        second: (N, ...) heatmaps of the same images, of the same shape.

    Returns:
        (N,) float64 in 0 (no place in common) ... 1 (same shape, or both are cold everywhere). 0 if
        only one is cold. NaN where heat is not finite.

    Raises:
        ValueError: If the shapes differ: enlarge the coarser maps first.

    Example:
        >>> agreement(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
        tensor([0.9600], dtype=torch.float64)
    """
    check_same_shape("first", first, "second", second)
    return 1 - _distance(first, second)


def shift(before: Heatmaps, after: Heatmaps, size: Sequence[int]) -> Tensor:
    """How far the centre of each map's heat moved, in pixels of the picture.

    The centre is the mean place, weighted by heat. A map may change without moving it, which is
    what :func:`drift` sees; a small object's map may move by its own width with a drift of 1.

    Args:
        before: (N, h, w) heatmaps, non-negative; or (N, l), or (N, d, h, w).
        after: Heatmaps of the same images, of the same shape.
        size: The pictures' height and width; or their length, or depth, height and width.

    Returns:
        (N,) float64, at least 0. 0 if both maps are cold everywhere; NaN if only one is, since it
        has no centre, and where heat is not finite.

    Raises:
        TypeError: If ``size`` has anything but whole numbers.
        ValueError: If the shapes differ, or ``size`` does not have a number for each axis.

    Example:
        >>> before, after = torch.zeros(1, 7, 7), torch.zeros(1, 7, 7)
        >>> before[0, 1, 1] = after[0, 4, 5] = 2.0
        >>> shift(before, after, (224, 224))
        tensor([160.], dtype=torch.float64)
    """
    check_same_shape("before", before, "after", after)
    if len(size) != len(before.shape) - 1:
        raise ValueError(
            f"size={tuple(size)} has {len(size)} numbers, the heatmaps have shape "
            f"{tuple(before.shape)}; expected one for each axis after the first"
        )
    for pixels in size:
        check_count("size", pixels)
    a, b = relative(before), relative(after)
    moved = (centers(b, size) - centers(a, size)).square().sum(dim=1).sqrt()
    both_cold = ~(a.flatten(1).any(dim=1) | b.flatten(1).any(dim=1))
    return torch.where(both_cold, 0.0, moved)


def _distance(one: Heatmaps, other: Heatmaps) -> Tensor:
    a, b = _directions(one), _directions(other)
    a_cold, b_cold = ~a.any(dim=1), ~b.any(dim=1)
    # Half the squared distance of unit vectors is 1 - cosine, and exactly 0 for equal maps.
    distance = ((a - b).square().sum(dim=1) / 2).clamp(max=1)
    distance = torch.where(a_cold & b_cold, 0.0, distance)
    return torch.where(a_cold ^ b_cold, distance * 0 + 1, distance)


def _directions(heatmaps: Heatmaps) -> Tensor:
    """(N, positions) maps of length 1, zero where a map is cold everywhere."""
    flat = relative(heatmaps).flatten(1)
    length = flat.norm(dim=1, keepdim=True)
    return flat / torch.where(length > 0, length, 1)
