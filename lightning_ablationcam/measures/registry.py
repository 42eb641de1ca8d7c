"""The measures of a pass, in one place.

Every measure listed here that a pass knows is kept for each probe in the history and in
checkpoints, logged as a scalar, and written for the tab and the report, which draw its curve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from lightning_ablationcam.measures.axis import (
    AVERAGE_DROP,
    AVERAGE_GAIN,
    BALANCE,
    BORDER_HEAT,
    CONCENTRATION,
    DELETION,
    DRIFT,
    DRIFT_FROM_FIRST,
    ERROR,
    INCREASE,
    INSERTION,
    MASK_HEAT,
    POINTING_GAME,
    SHIFT,
    Axis,
)
from lightning_ablationcam.measures.change import drift, shift
from lightning_ablationcam.measures.focus import (
    BORDER_SHARE,
    HOTTEST_SHARE,
    border_heat,
    concentration,
    mask_heat,
    pointing_game,
)


@dataclass(frozen=True, eq=False)
class Maps:
    """What the measures of a pass over N probes are computed from.

    Attributes:
        now: (N, h, w) the heatmaps of this pass; (N, d, h, w) of volumes, (N, l) of signals.
        before: The heatmaps of the pass before, or None for the first.
        first: The heatmaps of the first pass, or None for the first.
        size: The shape of a picture, of which the last numbers are its sides in pixels, as many as
            a map has; or None.
        masks: (N, H, W) bool, where the object is, with as many sides as a map has; or None.
        given: (N,) float64 of what heatmaps alone do not tell, by the measure's name.
    """

    now: Tensor
    before: Tensor | None = None
    first: Tensor | None = None
    size: Sequence[int] | None = None
    masks: Tensor | None = None
    given: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Measure:
    """A number that describes a heatmap.

    Attributes:
        axis: Its name, and how it is shown.
        neutral: What callbacks that monitor it find before it is known: the worst, so that none
            takes it for the best of a run. Where neither more nor less is worse, the value of a map
            that says nothing. None stands for the diagonal of the picture.
        compute: Returns (N,) float64 for a pass, or None where it is not known.
        forwards: Whether it costs forward passes, and so is only taken where it is asked for.
        masked: Whether it needs masks.
        tolerant: Whether it needs a tolerance: maps are exact without one.
    """

    axis: Axis
    neutral: float | None
    compute: Callable[[Maps], Tensor | None]
    forwards: bool = False
    masked: bool = False
    tolerant: bool = False

    @property
    def name(self) -> str:
        """The axis' name."""
        return self.axis.name


def _drift(maps: Maps) -> Tensor | None:
    return None if maps.before is None else drift(maps.before, maps.now)


def _drift_from_first(maps: Maps) -> Tensor | None:
    return None if maps.first is None else drift(maps.first, maps.now)


def _shift(maps: Maps) -> Tensor | None:
    sides = maps.now.ndim - 1
    if maps.before is None or maps.size is None or len(maps.size) < sides:
        return None
    return shift(maps.before, maps.now, maps.size[-sides:])


def _concentration(maps: Maps) -> Tensor:
    return concentration(maps.now)


def _border_heat(maps: Maps) -> Tensor:
    return border_heat(maps.now)


def _in_masks(compute: Callable[[Tensor, Tensor], Tensor], maps: Maps) -> Tensor | None:
    if maps.masks is None or maps.masks.ndim != maps.now.ndim:
        return None
    return compute(maps.now, maps.masks)


def _given(name: str, maps: Maps) -> Tensor | None:
    return maps.given.get(name)


def _of_forwards(axis: Axis, worst: float) -> Measure:
    return Measure(axis, worst, partial(_given, axis.name), forwards=True)


EVEN_BORDER_HEAT = 1 - (1 - 2 * BORDER_SHARE) ** 2
"""The border heat of a map that is equally hot everywhere."""

MEASURES = (
    Measure(DRIFT, 1.0, _drift),
    Measure(DRIFT_FROM_FIRST, 1.0, _drift_from_first),
    Measure(SHIFT, None, _shift),
    Measure(CONCENTRATION, HOTTEST_SHARE, _concentration),
    Measure(BORDER_HEAT, EVEN_BORDER_HEAT, _border_heat),
    Measure(MASK_HEAT, 0.0, partial(_in_masks, mask_heat), masked=True),
    Measure(POINTING_GAME, 0.0, partial(_in_masks, pointing_game), masked=True),
    Measure(BALANCE, 0.5, partial(_given, BALANCE.name)),
    Measure(ERROR, 1.0, partial(_given, ERROR.name), tolerant=True),
    _of_forwards(AVERAGE_DROP, 1.0),
    _of_forwards(INCREASE, 0.0),
    _of_forwards(AVERAGE_GAIN, 0.0),
    _of_forwards(INSERTION, 0.0),
    _of_forwards(DELETION, 1.0),
)

FORWARDS = tuple(measure.name for measure in MEASURES if measure.forwards)
"""The measures that cost forward passes."""


def measured(maps: Maps) -> dict[str, Tensor]:
    """All measures of a pass that are known, (N,) float64 each, by name."""
    found = {measure.name: measure.compute(maps) for measure in MEASURES}
    return {name: values for name, values in found.items() if values is not None}
