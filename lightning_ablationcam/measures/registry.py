"""The measures of a pass, in one place.

Every measure listed here is computed for each probe in each pass, kept in the history and in
checkpoints, logged as a scalar, and written for the tab and the report, which draw its curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lightning_ablationcam.measures.axis import BALANCE, CONCENTRATION, DRIFT, Axis
from lightning_ablationcam.measures.change import drift
from lightning_ablationcam.measures.focus import HOTTEST_SHARE, concentration


@dataclass(frozen=True, eq=False)
class Maps:
    """The heatmaps that the measures of a pass are computed from.

    Attributes:
        now: (N, h, w) the heatmaps of this pass.
        before: The heatmaps of the pass before, or None for the first.
        balance: (N,) how much of what channels do to the score speaks for the class, or None.
    """

    now: Tensor
    before: Tensor | None
    balance: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Measure:
    """A number that describes a heatmap.

    Attributes:
        axis: Its name, and how it is shown.
        neutral: What is logged before it is known, so that callbacks that monitor it find a number.
        compute: Returns (N,) float64 for a pass, or None where it is not known.
    """

    axis: Axis
    neutral: float
    compute: Callable[[Maps], Tensor | None]

    @property
    def name(self) -> str:
        """The axis' name."""
        return self.axis.name


def _drift(maps: Maps) -> Tensor | None:
    return None if maps.before is None else drift(maps.before, maps.now)


def _concentration(maps: Maps) -> Tensor:
    return concentration(maps.now)


# The neutral values say: the map has changed completely, and the heat is spread evenly.
def _balance(maps: Maps) -> Tensor | None:
    return maps.balance


MEASURES = (
    Measure(DRIFT, 1.0, _drift),
    Measure(CONCENTRATION, HOTTEST_SHARE, _concentration),
    Measure(BALANCE, 0.5, _balance),
)


def measured(maps: Maps) -> dict[str, Tensor]:
    """All measures of a pass that are known, (N,) float64 each, by name."""
    found = {measure.name: measure.compute(maps) for measure in MEASURES}
    return {name: values for name, values in found.items() if values is not None}
