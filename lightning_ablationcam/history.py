"""What was seen: the heatmaps of all passes, bounded in size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["map", "probe", "run"]
SCALES = ("map", "probe", "run")

MOST_PASSES = 64
"""How many passes a history holds; beyond, the one closest to its neighbours goes."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over N probes.

    Attributes:
        step: ``trainer.global_step``.
        epoch: ``trainer.current_epoch``.
        heatmaps: (N, h, w) float32, not normalised.
        classes: (N,) int64, the classes explained.
        scores: (N,) class scores.
        predicted: (N,) int64 predicted classes, or None.
        probabilities: (N,) probabilities of ``classes``, or None.
    """

    step: int
    epoch: int
    heatmaps: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]
    predicted: NDArray[np.int64] | None = None
    probabilities: NDArray[np.float64] | None = None


@dataclass
class History:
    """Passes in the order of their steps, and the largest heat each probe has had.

    Attributes:
        passes: At most :data:`MOST_PASSES`; first and newest always among them.
        maxima: (N,) the largest heat of each probe in any pass so far, also in thinned ones.
    """

    passes: list[Pass] = field(default_factory=list)
    maxima: NDArray[np.float32] | None = None

    def append(self, new: Pass) -> None:
        """Add a pass; one of the same step takes the place of the earlier one, but for its epoch.

        Steps that go back are another run: the passes so far are forgotten.
        """
        if self.passes and new.step < self.passes[-1].step:
            self.passes, self.maxima = [], None
        if self.passes and new.step == self.passes[-1].step:
            new = replace(new, epoch=self.passes.pop().epoch)
        self.passes.append(new)
        if len(self.passes) > MOST_PASSES:
            steps = [seen.step for seen in self.passes]
            del self.passes[min(range(1, MOST_PASSES), key=lambda i: steps[i + 1] - steps[i - 1])]
        peaks = peak_heat(new.heatmaps)
        self.maxima = peaks if self.maxima is None else np.maximum(self.maxima, peaks)

    def scaled(self, index: int, scale: Scale) -> NDArray[np.float32]:
        """The heatmaps of one pass as shares of the colour scale.

        Args:
            index: Which pass; -1 is the newest.
            scale: What 1 stands for: each map's own maximum (``"map"``), its probe's maximum so
                far (``"probe"``), or the maximum of all (``"run"``).

        Returns:
            (N, h, w) in 0 ... 1; all zero where the maximum is.
        """
        assert self.maxima is not None
        heatmaps = self.passes[index].heatmaps
        full = {
            "map": peak_heat(heatmaps),
            "probe": self.maxima,
            "run": np.full_like(self.maxima, self.maxima.max()),
        }[scale]
        full = np.where(full > 0, full, 1)[:, None, None]
        finite = np.nan_to_num(heatmaps, nan=0.0, posinf=0.0, neginf=0.0)
        shares: NDArray[np.float32] = np.clip(finite / full, 0, 1).astype(np.float32)
        return shares


def peak_heat(heatmaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest finite heat of each map: (N,) from (N, h, w)."""
    finite = np.where(np.isfinite(heatmaps), heatmaps, 0)
    peaks: NDArray[np.float32] = finite.reshape(len(finite), -1).max(axis=1).astype(np.float32)
    return peaks
