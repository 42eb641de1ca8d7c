"""Three ways to hold a value under many counterfactuals at once.

``base`` is the value in the intact network. ``n`` counterfactuals are computed at a time; each
ablates one group of channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.engine.owners import NOBODY, varying

CHANNELS_LAST = (torch.float32, torch.float64)
"""Where convolutions with channels last are known to be faster."""


@dataclass(frozen=True, eq=False)
class Channelwise:
    """Each entry depends on at most one group.

    Counterfactual k is ``ablated`` at the entries that group k owns, and ``base`` elsewhere.

    Attributes:
        base: The intact value.
        ablated: The value with everything ablated, same shape.
        owner: See :mod:`~lightning_ablationcam.engine.owners`.
    """

    base: Tensor
    ablated: Tensor
    owner: Tensor

    @cached_property
    def change(self) -> Tensor:
        """What full ablation adds to the value."""
        return self.ablated - self.base

    def entries(self, groups: Tensor) -> Entries | None:
        """The entries of some groups, where the owner changes along one dimension only."""
        dims = varying(self.owner)
        if len(dims) > 1 or (not dims and self.base.shape[0] != 1):
            return None
        return self._sorted.entries(groups, dims[0] if dims else 0)

    @cached_property
    def _sorted(self) -> _Sorted:
        return _Sorted(self.owner.flatten())

    def dense(self, groups: Tensor) -> Dense:
        """The changes under some groups, written out."""
        mine = self.owner == groups.view([-1] + [1] * self.owner.ndim)
        mine = mine.to(self.base.device)
        return Dense(torch.where(mine, self.change, self.change.new_zeros(())))


@dataclass(frozen=True, eq=False)
class Entries:
    """The positions along ``dim`` of the entries of n groups, m for each group.

    Attributes:
        dim: The dimension.
        index: (n, m) int64, on the CPU. Groups with fewer entries are padded.
        valid: (n, m) False at the padding, or None if there is none.
    """

    dim: int
    index: Tensor
    valid: Tensor | None

    def take(self, tensor: Tensor, dim: int) -> Tensor:
        """Take the groups' entries along ``dim`` of a tensor, as (n, ..., m, ...)."""
        n, m = self.index.shape
        first = int(self.index[0, 0]) if self.index.numel() else 0
        if torch.equal(self.index.flatten(), torch.arange(first, first + n * m)):
            taken = tensor.narrow(dim, first, n * m)
        else:
            taken = tensor.index_select(dim, self.index.flatten().to(tensor.device))
        return torch.unflatten(taken, dim, (n, m)).movedim(dim % tensor.ndim, 0)

    def masked(self, taken: Tensor, dim: int) -> Tensor:
        """Set the padding to zero; ``dim`` as it was for :meth:`take`."""
        if self.valid is None:
            return taken
        shape = [len(self.index)] + [1] * (taken.ndim - 1)
        shape[dim % (taken.ndim - 1) + 1] = self.index.shape[1]
        return taken * self.valid.view(shape).to(taken)


class _Sorted:
    """The entries of an owner map, group by group."""

    def __init__(self, owner: Tensor) -> None:
        self.order = torch.argsort(owner, stable=True)
        owned = owner[owner != NOBODY]
        self.counts = torch.bincount(owned)
        self.starts = self.counts.cumsum(0) - self.counts + len(owner) - len(owned)

    def entries(self, groups: Tensor, dim: int) -> Entries:
        """The entries of some groups; a group that owns none gets padding only."""
        known = groups < len(self.counts)
        inside = torch.where(known, groups, 0)
        counts = torch.where(known, self.counts[inside], 0)
        steps = torch.arange(max(1, int(counts.max())))
        valid = steps < counts[:, None]
        places = (self.starts[inside][:, None] + steps).clamp(max=len(self.order) - 1)
        return Entries(dim, self.order[places], None if bool(valid.all()) else valid)


@dataclass(frozen=True, eq=False)
class Factored:
    """The change of counterfactual k is a sum of products that are not multiplied out.

    Attributes:
        terms: Each a tuple of factors; a factor has n or 1 as its first size and the value's
            dimensions after it, of size 1 where it does not change.
        shape: The value's shape.
    """

    terms: tuple[tuple[Tensor, ...], ...]
    shape: torch.Size

    @property
    def nbytes(self) -> int:
        """Memory of the factors that there are more of with more counterfactuals."""
        factors = [factor for factors in self.terms for factor in factors]
        return sum(factor.nbytes for factor in factors if len(factor) > 1)

    def counterfactuals(self, base: Tensor) -> Tensor:
        """(n, *shape) the changed values themselves."""
        if len(self.terms) == 1 and len(self.terms[0]) == 2:
            return torch.addcmul(base, *self.terms[0])
        return self.dense().delta + base

    def dense(self) -> Dense:
        """The change, written out."""
        total: Tensor | None = None
        for factors in self.terms:
            product = factors[0]
            for factor in factors[1:]:
                product = product * factor
            total = product if total is None else total + product
        assert total is not None
        n = max(factor.shape[0] for factors in self.terms for factor in factors)
        return Dense(total.expand(n, *self.shape))


@dataclass(frozen=True, eq=False)
class Dense:
    """The change under each counterfactual, written out.

    Attributes:
        delta: (n, *shape) counterfactual value minus intact value.
        own: Whether nothing else uses its memory.
    """

    delta: Tensor
    own: bool = False

    @property
    def nbytes(self) -> int:
        """Memory of the copies."""
        return self.delta.nbytes


Change: TypeAlias = Factored | Dense
"""The change of a value that mixes channels, for one chunk of counterfactuals."""


def goes_channels_last(tensor: Tensor) -> bool:
    """Whether these are maps, (N, C, h, w), that convolutions are faster on with channels last."""
    on_cpu = tensor.device.type == "cpu"
    return tensor.ndim == 4 and on_cpu and tensor.dtype in CHANNELS_LAST


def laid_out(tensor: Tensor) -> Tensor:
    """The tensor in the order in memory in which convolutions are fast."""
    if goes_channels_last(tensor):
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def written_out(value: Channelwise | Factored | Dense, groups: Tensor) -> Tensor:
    """(n, *shape) the change of any kind of value under some groups."""
    if isinstance(value, Channelwise):
        return value.dense(groups).delta
    if isinstance(value, Factored):
        return value.dense().delta
    return value.delta


def counterfactuals(value: Channelwise | Factored | Dense, base: Tensor, groups: Tensor) -> Tensor:
    """(n, *shape) any kind of value itself under some groups, not its change."""
    if isinstance(value, Factored):
        return value.counterfactuals(base)
    if isinstance(value, Channelwise):
        mine = value.owner == groups.view([-1] + [1] * value.owner.ndim)
        return torch.where(mine.to(base.device), value.ablated, base)
    change = value.delta
    return base ^ change if base.dtype == torch.bool else base + change
