"""What becomes of a value under every counterfactual at once: three kinds.

``base`` is the value in the intact network; ``n`` counterfactuals are at work at a time, each the
ablation of one group of channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.engine.owners import varying


@dataclass(frozen=True, eq=False)
class Channelwise:
    """Each entry knows at most one channel: counterfactual k is ``ablated`` where k owns it.

    Attributes:
        base: The intact value.
        ablated: The value with everything ablated, same shape.
        owner: See :mod:`~lightning_ablationcam.engine.owners`.
    """

    base: Tensor
    ablated: Tensor
    owner: Tensor

    def entries(self, groups: Tensor) -> Entries | None:
        """The entries of some groups, where the owner changes along one dimension only."""
        dims = varying(self.owner)
        if len(dims) > 1:
            return None
        dim = dims[0] if dims else 0
        if not dims and self.base.shape[dim] != 1:
            return None
        return _entries(self.owner.flatten(), groups, dim)

    def dense(self, groups: Tensor) -> Dense:
        """The changes under some groups, written out."""
        delta = self.ablated - self.base
        mine = self.owner == groups.view([-1] + [1] * self.owner.ndim)
        return Dense(torch.where(mine.to(delta.device), delta, delta.new_zeros(())))


@dataclass(frozen=True, eq=False)
class Entries:
    """Where along dimension ``dim`` the entries of n groups are, m for each.

    Attributes:
        dim: The dimension.
        index: (n, m) int64, on the CPU. Groups with fewer entries are filled up.
        valid: (n, m) False where filled up, or None.
    """

    dim: int
    index: Tensor
    valid: Tensor | None

    def take(self, tensor: Tensor, dim: int) -> Tensor:
        """Put the groups' entries along ``dim`` of a tensor into shape (n, ..., m, ...)."""
        n, m = self.index.shape
        first = int(self.index[0, 0]) if self.index.numel() else 0
        if torch.equal(self.index.flatten(), torch.arange(first, first + n * m)):
            taken = tensor.narrow(dim, first, n * m)
        else:
            taken = tensor.index_select(dim, self.index.flatten().to(tensor.device))
        return taken.unflatten(dim, (n, m)).movedim(dim % tensor.ndim, 0)

    def masked(self, taken: Tensor, dim: int) -> Tensor:
        """Zero what was filled up; ``dim`` as it was for :meth:`take`."""
        if self.valid is None:
            return taken
        shape = [len(self.index)] + [1] * (taken.ndim - 1)
        shape[dim % (taken.ndim - 1) + 1] = self.index.shape[1]
        return taken * self.valid.view(shape).to(taken)


def _entries(owner: Tensor, groups: Tensor, dim: int) -> Entries:
    order = torch.argsort(owner, stable=True)
    counts = torch.bincount(owner[owner >= 0], minlength=int(groups.max()) + 1)
    starts = counts.cumsum(0) - counts + int((owner < 0).sum())
    most = max(1, int(counts[groups].max()))
    steps = torch.arange(most)
    valid = steps < counts[groups][:, None]
    index = order[(starts[groups][:, None] + steps).clamp(max=len(order) - 1)]
    return Entries(dim, index, None if bool(valid.all()) else valid)


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
    """

    delta: Tensor


Change: TypeAlias = Factored | Dense
"""A value past the point where channels are mixed, for one chunk of counterfactuals."""


def written_out(value: Channelwise | Factored | Dense, groups: Tensor) -> Tensor:
    """(n, *shape) the change of any kind of value under some groups."""
    if isinstance(value, Channelwise):
        return value.dense(groups).delta
    if isinstance(value, Factored):
        return value.dense().delta
    return value.delta
