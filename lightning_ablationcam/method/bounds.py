"""Predict the drops of channels that were not ablated, and bound what that does to the heatmap.

A heatmap is a sum over channels, so that a channel whose drop is predicted instead of computed adds
its prediction's error times its map. First order, <gradient, what ablation takes away>, predicts a
drop up to what the network's nonlinearity makes of it; on average that grows with the size of the
change and its square. So the drops that were computed are regressed on these three, and what
scatters about the regression bounds what the others may be off by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CONFIDENCE = 0.99
"""How sure a stated bound is."""

DRAWS = 256
"""Error maps that are drawn to find how large the largest place of one gets."""

PLACES = 4096
"""How many places of them are drawn at a time."""

SPREAD_POWER = 1.5
"""Errors of first order scatter with the size of the change, to this power: between 1, where units
switch at random, and 2, the next order of a smooth network. Measured in ``bench_depth``."""

USUAL = 2.5
"""How many standard deviations the largest of some dozens of normal errors is."""

PRIOR = 1e-2
"""Weight, in computed drops, of what is expected before any: that first order is right."""

_NORMAL_QUANTILE = 2.575829303548901
"""Of the normal distribution at (1 + CONFIDENCE) / 2."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """What is known of G groups of channels before any is ablated, for one image and class.

    Attributes:
        features: (G, P) float64, what drops are regressed on; the first is first order.
        spread: (G,) float64, the standard deviation of a prediction's error, up to a factor.
        unit: Drops are measured in this.
    """

    features: Tensor
    spread: Tensor
    unit: float

    @classmethod
    def of(cls, first_order: Tensor, size: Tensor) -> Predictor:
        """From the first order of each drop, and the size of each change.

        Args:
            first_order: (G,) gradient of the score times what ablation takes away.
            size: (G,) norm of what ablation takes away.
        """
        first_order, size = first_order.double(), size.double()
        unit = float(first_order.abs().mean()) or 1.0
        size = size / (size.mean() or 1.0)
        features = torch.stack([first_order / unit, size, size**2], dim=1)
        return cls(features, size**SPREAD_POWER, unit)

    def forecast(self, drops: Tensor, known: Tensor) -> Forecast:
        """Predict the drops that are not known.

        Args:
            drops: (G,) drops; those that are not known are not read.
            known: (G,) bool.
        """
        known = known & (self.spread > 0)
        spread = self.spread[known][:, None]
        rows = self.features[known] / spread
        seen = drops[known].double() / self.unit / spread[:, 0]
        expected = torch.zeros_like(self.features[0])
        expected[0] = 1
        precision = rows.T @ rows + PRIOR * torch.eye(len(expected), dtype=rows.dtype)
        covariance = torch.linalg.inv(precision)
        coefficients = covariance @ (rows.T @ seen + PRIOR * expected)
        missed = seen - rows @ coefficients
        freedom = max(len(seen) - len(expected), 1)
        return Forecast(
            self,
            drops=self.features @ coefficients * self.unit,
            covariance=covariance,
            variance=float(missed.square().sum()) / freedom,
            freedom=freedom,
            largest=float(missed.abs().max()) if len(missed) else 0.0,
        )


@dataclass(frozen=True, eq=False)
class Forecast:
    """Predictions of the drops of G groups of channels.

    Attributes:
        predictor: What they were made with.
        drops: (G,) float64.
        covariance: (P, P) of the regression's coefficients, up to ``variance``.
        variance: Of the errors, in units of the predictor's spread.
        freedom: How many computed drops the variance was found from, less the coefficients.
        largest: The largest error of a computed drop, in the same units.
    """

    predictor: Predictor
    drops: Tensor
    covariance: Tensor
    variance: float
    freedom: int
    largest: float

    def misses(self, drops: Tensor, groups: Tensor) -> Tensor:
        """(n',) the errors of some predictions, in units of the predictor's spread.

        Args:
            drops: (G,) drops; only those of the groups are read.
            groups: (n,) groups that the regression has not seen; those that ablation does not
                change are left out.
        """
        spread = self.predictor.spread[groups]
        groups, spread = groups[spread > 0], spread[spread > 0]
        return (drops[groups].double() - self.drops[groups]) / self.predictor.unit / spread

    def largest_error(self, maps: Tensor, unknown: Tensor, variance: float) -> float:
        """How far the sum of maps can be off anywhere, at the confidence stated.

        The errors of a map's places go together, since each place sums the same channels: so
        error maps are drawn, and the largest place of each is taken.

        Args:
            maps: (G, X) float32, the groups' maps.
            unknown: (G,) bool, the groups whose drops are predicted.
            variance: Of the errors, in units of the predictor's spread.

        Note:
            Errors are drawn from a normal distribution. Where those seen have a heavier tail, the
            bound is wider by as much as the largest of them exceeds what is usual.
        """
        own = self.predictor.spread[unknown, None].to(maps)
        shared = (self.predictor.features[unknown] @ _root(self.covariance).T).to(maps)
        noise = _noise(len(own), shared.shape[1]).to(maps)
        # (DRAWS, n) errors of the predictions, each its own and those of the coefficients.
        errors = noise[:, : len(own)] * own.T + noise[:, len(own) :] @ shared.T
        largest = torch.zeros(DRAWS)
        for places in torch.split(maps[unknown], PLACES, dim=1):
            largest = torch.maximum(largest, (errors @ places).abs().amax(dim=1))
        quantile = float(torch.quantile(largest, CONFIDENCE))
        deviation = math.sqrt(variance)
        tail = max(1.0, self.largest / (USUAL * deviation)) if deviation else 1.0
        scale = _student(self.freedom) / _NORMAL_QUANTILE * deviation * tail
        return quantile * scale * self.predictor.unit


def _root(covariance: Tensor) -> Tensor:
    """(P, P) a matrix whose transpose times itself is the covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = values.clamp(min=0).sqrt()[:, None] * vectors.T
    return root


def _noise(*counts: int) -> Tensor:
    """(DRAWS, sum of counts) standard normal numbers, always the same."""
    return torch.randn(DRAWS, sum(counts), generator=torch.Generator().manual_seed(0))


def _student(freedom: int) -> float:
    """The quantile of Student's t that belongs to the normal one.

    Source:
        Abramowitz & Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    z, n = _NORMAL_QUANTILE, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return float(z + first / n + second / n**2 + third / n**3)
