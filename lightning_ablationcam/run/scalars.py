"""The numbers logged at every validation, so that they can be monitored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.measures.registry import MEASURES
from lightning_ablationcam.run.history import Pass

NEUTRAL = {measure.name: measure.neutral for measure in MEASURES} | {"score": 0.0, "seconds": 0.0}
"""What is logged before the first pass, or before the second pass for drift."""


class Scalars:
    """The newest value of each number; a failed or skipped pass leaves it as it was.

    EarlyStopping and ModelCheckpoint end the training if a monitored number is missing or NaN, so
    every number always has a value, and it is always finite.

    Attributes:
        values: The mean of each measure and of ``score`` over the probes, and ``seconds``, the wall
            time of the newest pass.
        known: The names of those that were measured; the others are neutral, and no plot should
            show them.
    """

    def __init__(self) -> None:
        self.values = dict(NEUTRAL)
        self.known: set[str] = set()

    def update(self, seen: Pass) -> None:
        """Take the means of a pass, over the probes whose numbers are finite."""
        for name, each in {**seen.measures, "score": seen.scores}.items():
            mean = _finite_mean(each)
            if mean is not None:
                self.note(name, mean)

    def note(self, name: str, value: float) -> None:
        """Take over one value that was measured."""
        self.values[name] = value
        self.known.add(name)

    def state_dict(self) -> dict[str, float]:
        """The values."""
        return dict(self.values)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from earlier values."""
        self.values.update({name: float(state[name]) for name in NEUTRAL if name in state})
        self.known.update(name for name, value in self.values.items() if value != NEUTRAL[name])


def _finite_mean(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    # Lightning logs float32, in which a larger number would be infinite.
    largest = float(np.finfo(np.float32).max)
    return float(np.clip(finite, -largest, largest).mean())
