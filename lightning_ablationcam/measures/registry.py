"""The measures of a pass, in one place.

What is listed here is computed for every probe in every pass, kept in the history and in
checkpoints, logged as a scalar, and written for the tab and the report, which draw its curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lightning_ablationcam.measures.axis import CONCENTRATION, DRIFT, Axis
from lightning_ablationcam.measures.change import drift
from lightning_ablationcam.measures.focus import HOTTEST_SHARE, concentration


@dataclass(frozen=True, eq=False)
class Maps:
    """The heatmaps that a pass is measured by.

    Attributes:
        now: (N, h, w) those of this pass.
        before: Those of the pass before, or None for the first.
    """

    now: Tensor
    before: Tensor | None


@dataclass(frozen=True, eq=False)
class Measure:
    """A number that says something of a heatmap.

    Attributes:
        axis: Its name, and how it is shown.
        neutral: What is logged before it is known, so that whatever monitors it does not miss it.
        compute: (N,) float64 of a pass, or None where it is not known.
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


# Neutral are a map as changed as can be, and heat as spread as can be.
MEASURES = (
    Measure(DRIFT, 1.0, _drift),
    Measure(CONCENTRATION, HOTTEST_SHARE, _concentration),
)


def measured(maps: Maps) -> dict[str, Tensor]:
    """All measures of a pass that are known, (N,) float64 each, by name."""
    found = {measure.name: measure.compute(maps) for measure in MEASURES}
    return {name: values for name, values in found.items() if values is not None}
