"""Owner maps: which group of channels each entry of a value belongs to.

An owner map is an int64 tensor of group indices, on the CPU, that broadcasts to its value's shape:
it has as many dimensions, of size 1 wherever the owner does not change. ``NOBODY`` marks entries
that no ablation reaches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

NOBODY = -1


def layer_owners(groups: Tensor, ndim: int, channel_dim: int) -> Tensor:
    """The map of the target layer's own output.

    Args:
        groups: (K,) int64, the group of each channel.
        ndim: Number of dimensions of the layer's output.
        channel_dim: Which of them holds the channels.
    """
    shape = [-1 if dim == channel_dim % ndim else 1 for dim in range(ndim)]
    return groups.cpu().view(shape)


def varying(owner: Tensor) -> list[int]:
    """The dimensions along which the owner changes."""
    return [dim for dim, size in enumerate(owner.shape) if size > 1]


def nobody(ndim: int) -> Tensor:
    """The map of a constant, which no ablation reaches."""
    return torch.full([1] * ndim, NOBODY)


def with_ndim(owner: Tensor, ndim: int) -> Tensor:
    """Add dimensions of size 1 in front, as broadcasting does."""
    return owner.view([1] * (ndim - owner.ndim) + list(owner.shape))


def combined(owners: Sequence[Tensor], ndim: int) -> Tensor | None:
    """The map of a result that is computed entry by entry from several values.

    Returns:
        None if an entry would belong to two groups at once.
    """
    result = with_ndim(owners[0], ndim)
    for other in owners[1:]:
        other = with_ndim(other, ndim)
        if result.shape == other.shape and torch.equal(result, other):
            continue
        if bool(((result != other) & (result != NOBODY) & (other != NOBODY)).any()):
            return None
        result = torch.maximum(result, other)
    return result


def reduced(owner: Tensor, dims: Sequence[int]) -> Tensor | None:
    """The map of a result that is computed over some dimensions, which become size 1.

    Returns:
        None if that mixes entries of different groups.
    """
    dims = [dim % owner.ndim for dim in dims]
    if all(owner.shape[dim] == 1 for dim in dims):
        return owner
    largest = owner.amax(dim=dims, keepdim=True)
    if bool(((owner != largest) & (owner != NOBODY)).any()):
        return None
    return largest


def compressed(owner: Tensor) -> Tensor:
    """The same map with size 1 wherever the owner does not change."""
    for dim, size in enumerate(owner.shape):
        first = owner.narrow(dim, 0, min(1, size))
        if size > 1 and bool((owner == first).all()):
            owner = first
    return owner


def reshaped(tensor: Tensor, old: Sequence[int], new: Sequence[int], lead: int = 0) -> Tensor:
    """Reshape a tensor that broadcasts to ``old`` into one that broadcasts to ``new``.

    A dimension of size 1 stays so, unless the reshape merges it with a larger one or cuts across
    it. The first ``lead`` dimensions are not part of the shapes.

    Args:
        tensor: Its shape past ``lead`` is ``old`` with some sizes replaced by 1.
        old: The shape it stands for.
        new: The shape wanted, without -1.
        lead: Number of leading dimensions left alone.

    Example:
        >>> reshaped(torch.zeros(1, 6, 1, 1), (2, 6, 4, 4), (2, 3, 2, 16)).shape
        torch.Size([1, 3, 2, 1])
    """
    atoms = _atoms(old, new)
    if atoms is None:
        full = tensor.expand(*tensor.shape[:lead], *old) if max(tensor.shape[lead:]) > 1 else tensor
        if full is tensor:
            return tensor.reshape(*tensor.shape[:lead], *[1] * len(new))
        return full.reshape(*tensor.shape[:lead], *new)
    split = tensor.reshape(*tensor.shape[:lead], *_split_sizes(tensor.shape[lead:], old, atoms))
    return _merged(split, new, atoms, lead)


def _atoms(old: Sequence[int], new: Sequence[int]) -> list[int] | None:
    """The coarsest sizes that both shapes are merged from, or None."""
    edges = sorted({*_edges(old), *_edges(new)})
    if not edges or edges[0] == 0 or any(b % a for a, b in itertools.pairwise(edges)):
        return None
    return [b // a for a, b in itertools.pairwise(edges)][::-1]


def _edges(shape: Sequence[int]) -> list[int]:
    """Products of the last 0, 1, 2, ... sizes."""
    return [math.prod(shape[len(shape) - n :]) for n in range(len(shape) + 1)]


def _covered(shape: Sequence[int], atoms: Sequence[int]) -> list[list[int]]:
    """Which atoms each dimension is made of."""
    remaining = list(range(len(atoms)))
    covered = []
    for size in shape:
        mine: list[int] = []
        while math.prod(atoms[a] for a in mine) < size:
            mine.append(remaining.pop(0))
        covered.append(mine)
    return covered


def _split_sizes(sizes: Sequence[int], old: Sequence[int], atoms: Sequence[int]) -> list[int]:
    split = [1] * len(atoms)
    for size, mine in zip(sizes, _covered(old, atoms), strict=True):
        for atom in mine:
            split[atom] = atoms[atom] if size > 1 else 1
    return split


def _merged(tensor: Tensor, new: Sequence[int], atoms: Sequence[int], lead: int) -> Tensor:
    front = list(tensor.shape[:lead])
    expanded, sizes = list(tensor.shape[lead:]), []
    for mine in _covered(new, atoms):
        if any(expanded[atom] > 1 for atom in mine):
            for atom in mine:
                expanded[atom] = atoms[atom]
        sizes.append(math.prod(expanded[atom] for atom in mine))
    return tensor.expand(*front, *expanded).reshape(*front, *sizes)
