"""The numbers logged at every validation, so that they can be monitored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.measures.registry import MEASURES
from lightning_ablationcam.run.history import Pass

UNKNOWN_DIAGONAL = 1e6
"""The neutral value of a shift while no probe is known: farther than any picture is wide."""

NEUTRAL = {
    measure.name: UNKNOWN_DIAGONAL if measure.neutral is None else measure.neutral
    for measure in MEASURES
} | {"score": 0.0, "seconds": 0.0}
"""What callbacks get before a number is known: of a measure the worst value, or that of a map that
says nothing, see :class:`~lightning_ablationcam.measures.registry.Measure`. A shift's is the
diagonal of the picture, once that is known, and an alarm's is 0."""


class Scalars:
    """The newest value of each number; a failed or skipped pass leaves it as it was.

    EarlyStopping and ModelCheckpoint end the training if a monitored number is missing or NaN, so
    every number always has a value, and it is always finite.

    Attributes:
        values: The mean of each measure and of ``score`` over the probes, ``seconds``, the wall
            time of the newest pass, and whether each alarm rings, 1 or 0.
        known: The names of those that were measured; the others are neutral, and no plot should
            show them.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.known: set[str] = set()

    def expect(self, neutral: Mapping[str, float]) -> None:
        """Have values of these names, and of no others: what is not known is neutral."""
        self.known &= neutral.keys()
        self.values = {**neutral, **{name: self.values[name] for name in self.known}}

    def update(self, seen: Pass) -> None:
        """Take the means of a pass, over the probes whose numbers are finite."""
        for name, each in {**seen.measures, "score": seen.scores}.items():
            mean = finite_mean(each)
            if mean is not None:
                self.note(name, mean)

    def note(self, name: str, value: float) -> None:
        """Take over one value that was measured, if it is expected."""
        if name in self.values:
            self.values[name] = value
            self.known.add(name)

    def state_dict(self) -> dict[str, float]:
        """The values that are known."""
        return {name: value for name, value in self.values.items() if name in self.known}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from earlier values, of those that are expected."""
        for name, value in state.items():
            self.note(name, float(value))


def finite_mean(values: NDArray[np.float64]) -> float | None:
    """The mean of those values that are finite; None where none is.

    It is never beyond all of them, as it could be by rounding.

    Example:
        >>> finite_mean(np.array([0.1, np.nan, 0.1, 0.1])), finite_mean(np.array([np.inf]))
        (0.1, None)
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    # Lightning logs float32, in which a larger number would be infinite.
    largest = float(np.finfo(np.float32).max)
    finite = np.clip(finite, -largest, largest)
    return float(np.clip(finite.mean(), finite.min(), finite.max()))
