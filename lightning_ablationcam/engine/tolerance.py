"""Compute only as many drops as a heatmap needs to be as exact as it was asked to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_ablationcam.engine.propagate import Propagation
from lightning_ablationcam.method.bounds import Forecast, Predictor

START = 16
"""How many groups are computed first."""

LEAST = 8
"""How many more are computed at least, before the bound is looked at again."""

CAUTION = 0.6
"""Share of the groups that seem to be missing that is computed next: computing a few too often
costs less than computing many too many."""

UNSEEN = 0.25
"""Share of the groups computed that is drawn at random: their drops check the predictions that were
made without them. The others are those whose predictions matter most."""

SAFETY = 1.1
"""Bounds are wider by this factor, since the search ends at the first bound that is narrow enough,
and that is more often too narrow than too wide; and once more by 1 + START / the number of groups
computed, since few say little about whether the regression fits the others at all."""


@dataclass(frozen=True, eq=False)
class Partly:
    """Drops of which some are computed, and the others predicted.

    Attributes:
        drops: (N, G, Q).
        computed: (N, G) bool, which of them are computed.
        error: (N, Q) float64, what the heatmap may be off by anywhere, as a share of its maximum,
            at the confidence of the bounds; 0 where all are computed.
    """

    drops: Tensor
    computed: Tensor
    error: Tensor

    @classmethod
    def whole(cls, drops: Tensor) -> Partly:
        """All of them computed."""
        count, groups, scores = drops.shape
        error = torch.zeros(count, scores, dtype=torch.float64)
        return cls(drops, torch.ones(count, groups, dtype=torch.bool), error)


def drops_within(
    propagation: Propagation,
    estimates: Tensor,
    sizes: Tensor,
    maps: Tensor,
    changed: Tensor,
    tolerance: float,
    absent: Tensor | None = None,
) -> Partly:
    """Compute drops, the most telling first, until every heatmap is within the tolerance.

    Several images share the groups that are computed, and go on until the last is within it.

    Args:
        propagation: Computes drops.
        estimates: (N, G, Q) of them.
        sizes: (N, G) norms of what ablation takes away.
        maps: (N, G, X) each group's own map.
        changed: (N, G) whether ablation changes a group at all.
        tolerance: What a heatmap may be off by, as a share of its maximum.
        absent: (N, Q) bool, heatmaps that nobody wants.

    Returns:
        The drops, with what the heatmaps may be off by.
    """
    estimates, sizes, maps = estimates.double().cpu(), sizes.cpu(), maps.float().cpu()
    if not all(bool(each.isfinite().all()) for each in (estimates, sizes, maps)):
        return Partly.whole(propagation.drops())
    heats = [
        [_Heatmap(Predictor.of(of_class, size), each) for of_class in estimate.T]
        for estimate, size, each in zip(estimates, sizes, maps, strict=True)
    ]
    every = [heat for image in heats for heat in image]
    left_out = [False] * len(every) if absent is None else absent.flatten().tolist()
    asked = [heat for heat, out in zip(every, left_out, strict=True) if not out]
    drops = torch.zeros_like(estimates)
    known = ~changed.cpu().any(dim=0)
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))
    missing = START
    while asked and not bool(known.all()):
        chosen, unseen = _chosen(asked, known, order, missing)
        drops[:, chosen] = _computed(propagation, chosen)
        known = known.index_fill(0, chosen, True)
        for image, found in zip(heats, drops, strict=True):
            for heat, of_class in zip(image, found.T, strict=True):
                heat.learn(of_class, known, unseen)
        missing = max(heat.missing(tolerance) for heat in asked)
        if not missing:
            break
    predicted = torch.stack([torch.stack([heat.drops for heat in image], 1) for image in heats])
    error = torch.tensor([[heat.error for heat in image] for image in heats], dtype=torch.float64)
    return Partly(predicted, known | ~changed.cpu(), error)


def _computed(propagation: Propagation, groups: Tensor) -> Tensor:
    found = propagation.drops(groups)
    return found[:, groups.to(found.device)].double().cpu()


def _chosen(
    heats: Sequence[_Heatmap], known: Tensor, order: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The groups to compute next, and those of them that were drawn at random."""
    importance = torch.stack([heat.importance for heat in heats]).amax(dim=0)
    count = min(count, int((~known).sum()))
    most = importance.masked_fill(known, -1).argsort(descending=True, stable=True)
    told = most[: count - round(UNSEEN * count)]
    left = order[~known.index_fill(0, told, True)[order]]
    unseen = left[: count - len(told)]
    return torch.cat([told, unseen]).sort().values, unseen


class _Heatmap:
    """What is known of the heatmap of one image and class while drops are computed.

    Args:
        predictor: Of the drops.
        maps: (G, X) each group's own map.

    Attributes:
        drops: (G,) float64, computed or predicted.
        error: What the heatmap may be off by, as a share of its maximum; infinite where that is
            not known to be above zero.
    """

    def __init__(self, predictor: Predictor, maps: Tensor) -> None:
        self.predictor = predictor
        self.maps = maps
        self.drops = predictor.features[:, 0] * predictor.unit
        self.error = math.inf if bool((predictor.spread > 0).any()) else 0.0
        self._forecast: Forecast | None = None
        self._misses = torch.zeros(0, dtype=torch.float64)
        self._known = torch.zeros(len(maps), dtype=torch.bool)
        self._moves = predictor.spread * maps.abs().amax(dim=1)

    @property
    def importance(self) -> Tensor:
        """(G,) what the error of each group's prediction may move the map by, as a share."""
        return self._moves * self.predictor.unit / (abs(self._peak()) or 1.0)

    def _peak(self) -> float:
        """The largest value of the map before its ReLU."""
        return float((self.drops.to(self.maps) @ self.maps).max())

    def learn(self, drops: Tensor, known: Tensor, unseen: Tensor) -> None:
        """Predict anew, and find the bound.

        Args:
            drops: (G,) of those that are known.
            known: (G,) bool, which have been computed.
            unseen: Those drawn at random among the newly computed, to check the predictions by.
        """
        if self._forecast is not None:
            self._misses = torch.cat([self._misses, self._forecast.misses(drops, unseen)])
        self._known = known
        self._forecast = self.predictor.forecast(drops, known)
        self.drops = torch.where(known, drops, self._forecast.drops)
        unknown = ~known & (self.predictor.spread > 0)
        self.error = self._bounded(unknown, int(known.sum())) if bool(unknown.any()) else 0.0

    def _bounded(self, unknown: Tensor, count: int) -> float:
        """The bound as a share of the heatmap's maximum.

        Of a map that certainly has no heat it is a share of the largest value against the class.
        """
        assert self._forecast is not None
        surprise = float(self._misses.square().mean()) if len(self._misses) else 0.0
        variance = max(self._forecast.variance, surprise)
        bound = self._forecast.largest_error(self.maps, unknown, variance)
        bound *= SAFETY * (1 + START / count)
        values = self.drops.to(self.maps) @ self.maps
        # A place where no predicted channel is active has an error of exactly zero.
        moved = (self.maps[unknown] != 0).any(dim=0)
        highest = values + torch.where(moved, bound, 0)
        peak = float(values.max() if bool((highest > 0).any()) else -values.min())
        return bound / (peak - bound) if peak > bound else math.inf

    def missing(self, tolerance: float) -> int:
        """How many groups to compute next: 0 where the map is within the tolerance."""
        if self.error <= tolerance:
            return 0
        left = (~self._known).nonzero().flatten()
        if math.isinf(self.error):
            return max(LEAST, len(left) // 4)
        # What remains of the errors' variance when the first of the rest are computed.
        left = left[self._moves[left].argsort()]
        variances = (self.predictor.spread[left, None] * self.maps[left]).square().cumsum(0)
        remaining = variances.amax(dim=1).sqrt()
        enough = int((remaining <= remaining[-1] * tolerance / self.error).sum())
        return max(LEAST, round(CAUTION * (len(left) - enough)))
