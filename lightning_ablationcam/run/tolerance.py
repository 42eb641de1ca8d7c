"""How far heatmaps may be off: what may be asked for, and which step a budget affords."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from torch import Tensor

from lightning_ablationcam.arguments import check_tolerance
from lightning_ablationcam.result import AblationResult

Tolerance: TypeAlias = float | Literal["auto"] | None

STEPS: tuple[float | None, ...] = (0.1, 0.05, 0.02, 0.01, None)
"""The tolerances that ``"auto"`` goes through, from the cheapest to the exact."""

PATIENCE = 8
"""After so many passes, what a step has cost that is finer than the newest pass is forgotten:
networks change while they train."""


_STEEPEST = 1.5
"""The share of channels that a tolerance takes grows with no higher power of it: in the layers of a
ResNet-18 that power was 0.2 to 1.3."""

_LEAST_SHARE = 1e-6
"""Stands for none of the channels: how much all of them would cost is not known then."""


@dataclass(frozen=True)
class Taken:
    """A step as it was last taken.

    Attributes:
        seconds: How long it took to explain the probes.
        share: The share of the channels' drops that was computed, not predicted.
        age: How many passes there were since then, at most one more than :data:`PATIENCE`.
    """

    seconds: float
    share: float
    age: int = 0


class Ladder:
    """The steps of :data:`STEPS`, and what explaining the probes costs at each.

    The step of the newest pass costs what that did. A coarser one is taken to cost as much, or what
    it did when it was last taken if that was less: the first passes of a fit are slow, as whatever
    warms up does so in them. A finer one costs what it did when it was last taken, for
    :data:`PATIENCE` passes. After those, and if it was never taken, it costs as much more than the
    newest pass as it has more channels to compute: all of them where it is exact, or else a share
    that grows with a power of the tolerance, 1.5 until another step has shown how it does.

    Attributes:
        at: The step of the newest pass; the coarsest before any.

    Example:
        >>> ladder = Ladder()
        >>> ladder.took(0.1, seconds=1.0, share=0.125)
        >>> [round(ladder.cost(step), 1) for step in range(len(STEPS))]
        [1.0, 2.8, 8.0, 8.0, 8.0]
    """

    def __init__(self) -> None:
        self.at = 0
        self._taken: list[Taken | None] = [None] * len(STEPS)

    def took(self, tolerance: float | None, *, seconds: float, share: float) -> None:
        """Note what a pass has cost.

        Args:
            tolerance: Its tolerance, one of :data:`STEPS`.
            seconds: How long it took to explain the probes.
            share: The share of the channels' drops that was computed, not predicted.
        """
        self.at = STEPS.index(tolerance)
        self._taken = [
            one and replace(one, age=min(one.age + 1, PATIENCE + 1)) for one in self._taken
        ]
        self._taken[self.at] = Taken(seconds, share)

    @property
    def knows(self) -> bool:
        """Whether any pass has shown what it costs."""
        return self._taken[self.at] is not None

    def is_new(self, step: int) -> bool:
        """Whether a step is finer than the newest pass, and no pass has taken it so far."""
        return step > self.at and self._taken[step] is None

    def cost(self, step: int) -> float:
        """How many seconds it takes to explain the probes at a step; 0 before any pass."""
        known, newest = self._taken[step], self._taken[self.at]
        if newest is None:
            return 0.0
        if step < self.at:
            return newest.seconds if known is None else min(known.seconds, newest.seconds)
        if known is not None and known.age <= PATIENCE:
            return known.seconds
        more, then = 1 / max(newest.share, _LEAST_SHARE), STEPS[step]
        if then is not None:
            more = min(more, _ratio(self.at, step) ** self._power())
        return newest.seconds * more

    def _power(self) -> float:
        """How the share of channels has grown from a coarser step to the newest pass."""
        newest = self._taken[self.at]
        before = next((step for step in reversed(range(self.at)) if self._taken[step]), None)
        coarser = None if before is None else self._taken[before]
        if newest is None or before is None or coarser is None:
            return _STEEPEST
        grown = max(newest.share, _LEAST_SHARE) / max(coarser.share, _LEAST_SHARE)
        return min(max(0.0, math.log(grown) / math.log(_ratio(before, self.at))), _STEEPEST)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit goes on from, in primitives."""
        return {"at": self.at, "taken": [one and vars(one).copy() for one in self._taken]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` described."""
        self.at = state["at"]
        self._taken = [None if one is None else Taken(**one) for one in state["taken"]]


def _ratio(step: int, finer: int) -> float:
    """How many times the tolerance of one step is that of a finer one, neither of them exact."""
    one, other = STEPS[step], STEPS[finer]
    assert one is not None
    assert other is not None
    return one / other


def share_computed(result: AblationResult) -> float:
    """The share of all channels' drops, at all layers, that was computed and not predicted.

    Those of channels that are dead are known for nothing, and do not count.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> computed = torch.tensor([[True, True, False], [False, True, False]])
        >>> drops = torch.tensor([[0.5, 0.0, 0.1], [0.2, 0.0, 0.3]])
        >>> layer = SimpleNamespace(computed=computed, drops=drops)
        >>> share_computed(SimpleNamespace(layers=[layer]))
        0.25
    """
    known = [each for each in result.layers if each.computed is not None]
    parts: list[Tensor] = [each.computed[each.drops != 0] for each in known]  # type: ignore[index]
    total = sum(each.numel() for each in parts)
    return sum(float(each.sum()) for each in parts) / total if total else 1.0


def check_asked_tolerance(tolerance: object, max_overhead: object) -> None:
    """Raise unless ``tolerance`` is a share, None, or ``"auto"`` with a budget.

    Raises:
        TypeError: If it is of the wrong kind.
        ValueError: If it is out of range, or ``"auto"`` without ``max_overhead``.
    """
    check_tolerance(tolerance, words=("auto",))
    if isinstance(tolerance, str) and max_overhead is None:
        raise ValueError(
            "tolerance='auto' needs max_overhead, the share of the training time that it may "
            "spend: give max_overhead=, such as 0.05, or a tolerance, such as 0.02"
        )
