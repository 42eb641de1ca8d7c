"""Stands in for the engine's tolerance: exact maps, said to be off by a share of what is asked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from lightning_ablationcam.result import AblationResult
from lightning_ablationcam.run import explainer
from lightning_ablationcam.run.tolerance import STEPS

SHARES: dict[float | None, float] = {0.1: 1 / 6, 0.05: 2 / 6, 0.02: 3 / 6, 0.01: 5 / 6, None: 1.0}
"""Which share of six channels is computed at each step."""

STATED = 0.75
"""Share of the tolerance that is stated as the error of the first image; the others' is less."""

ALSO, FURTHER = 1.2, 0.8
"""How many times that is stated of a further class, and of a further layer."""

_explain = explainer.explain_classes


def stated(
    result: AblationResult, tolerance: float | None, share: float = STATED, nothing: int = 0
) -> AblationResult:
    """A result as it would be with a tolerance, and its further ones.

    Args:
        result: An exact result.
        tolerance: The tolerance.
        share: What of it is stated of the first image.
        nothing: Of how many of the last images nothing is explained, so that none is.
    """
    count, channels = result.drops.shape
    error = share * (tolerance or 0.0) / torch.arange(1, count + 1, dtype=torch.float64)
    error[count - nothing :] = math.nan
    computed = torch.zeros(count, channels, dtype=torch.bool)
    computed[:, : round(channels * SHARES.get(tolerance, 1.0))] = True
    return replace(
        result,
        error=error,
        computed=computed,
        also=tuple(stated(each, tolerance, share * ALSO, nothing) for each in result.also),
        further=tuple(stated(each, tolerance, share * FURTHER, nothing) for each in result.further),
    )


class Engine:
    """Takes the place of ``explain_classes``, and notes the tolerances that it was asked for.

    Args:
        clock: What moves as it computes.
        seconds: How long all drops take.
        nothing: Of how many of the last images nothing is explained.
    """

    def __init__(
        self, clock: list[float] | None = None, seconds: float = 0.0, nothing: int = 0
    ) -> None:
        self.asked: list[float | None] = []
        self.clock, self.seconds, self.nothing = clock, seconds, nothing

    def __call__(self, *arguments: Any, **others: Any) -> AblationResult:
        *before, options, tell = arguments
        self.asked.append(options.tolerance)
        if self.clock is not None:
            self.clock[0] += self.seconds * SHARES[options.tolerance]
        exact = _explain(*before, replace(options, tolerance=None), tell, **others)
        return stated(exact, options.tolerance, nothing=self.nothing)


assert list(SHARES) == list(STEPS)
