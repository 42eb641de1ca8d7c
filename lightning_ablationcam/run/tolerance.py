"""How far heatmaps may be off: what may be asked for, and which step a budget affords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from torch import Tensor

from lightning_ablationcam.arguments import is_number, shown
from lightning_ablationcam.result import AblationResult

Tolerance: TypeAlias = float | Literal["auto"] | None

STEPS: tuple[float | None, ...] = (0.1, 0.05, 0.02, 0.01, None)
"""The tolerances that ``"auto"`` goes through, from the cheapest to the exact."""

PATIENCE = 8
"""After so many passes, what a step has cost is forgotten: networks change while they train."""


_LEAST_SHARE = 1e-6
"""Stands for none of the channels: how much all of them would cost is not known then."""


class Ladder:
    """The steps of :data:`STEPS`, and what explaining the probes costs at each.

    A step costs what it did when it was last taken. Of one that was not taken, or is finer than the
    newest pass and was not taken in the :data:`PATIENCE` passes before it, an upper estimate is
    made from the newest pass. A coarser step costs at most as much. A finer one costs at most as
    much more as the square of the tolerances' ratio, since the error of an estimate from n samples
    falls with the root of n, and at most what all channels cost, of which the newest pass has
    computed a known share.

    Attributes:
        at: The step of the newest pass; the coarsest before any.

    Example:
        >>> ladder = Ladder()
        >>> ladder.took(0.1, seconds=1.0, share=0.125)
        >>> [ladder.cost(step) for step in range(len(STEPS))]
        [1.0, 4.0, 8.0, 8.0, 8.0]
    """

    def __init__(self) -> None:
        self.at = 0
        self._share = 1.0
        self._costs: list[float | None] = [None] * len(STEPS)
        self._ages = [0] * len(STEPS)

    def took(self, tolerance: float | None, *, seconds: float, share: float) -> None:
        """Note what a pass has cost.

        Args:
            tolerance: Its tolerance, one of :data:`STEPS`.
            seconds: How long it took to explain the probes.
            share: The share of the channels' drops that was computed, not predicted.
        """
        self.at, self._share = STEPS.index(tolerance), share
        self._costs[self.at] = seconds
        self._ages = [0 if step == self.at else age + 1 for step, age in enumerate(self._ages)]
        for step in range(self.at + 1, len(STEPS)):
            if self._ages[step] > PATIENCE:
                self._costs[step] = None

    @property
    def knows(self) -> bool:
        """Whether any pass has shown what it costs."""
        return self._costs[self.at] is not None

    def cost(self, step: int) -> float:
        """How many seconds it takes to explain the probes at a step; 0 before any pass."""
        known, newest = self._costs[step], self._costs[self.at] or 0.0
        if known is not None:
            return known
        if step < self.at:
            return newest
        of_all = 1 / max(self._share, _LEAST_SHARE)
        now, then = STEPS[self.at], STEPS[step]
        if now is None or then is None:
            return newest * of_all
        return newest * min(of_all, (now / then) ** 2)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit goes on from, in primitives."""
        lists = {"costs": list(self._costs), "ages": list(self._ages)}
        return {"at": self.at, "share": self._share, **lists}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` described."""
        self.at, self._share = state["at"], state["share"]
        self._costs, self._ages = list(state["costs"]), list(state["ages"])


def share_computed(result: AblationResult) -> float:
    """The share of all channels' drops, at all layers, that was computed and not predicted.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> computed = torch.tensor([[True, False], [False, False]])
        >>> result = SimpleNamespace(layers=[SimpleNamespace(computed=computed)])
        >>> share_computed(result)
        0.25
    """
    known: list[Tensor] = [each.computed for each in result.layers if each.computed is not None]
    total = sum(each.numel() for each in known)
    return sum(float(each.sum()) for each in known) / total if total else 1.0


def check_tolerance(tolerance: object, max_overhead: object) -> None:
    """Raise unless ``tolerance`` is a share, None, or ``"auto"`` with a budget.

    Raises:
        TypeError: If it is of the wrong kind.
        ValueError: If it is out of range, or ``"auto"`` without ``max_overhead``.
    """
    expected = "expected None, 'auto' or a share above 0 and below 1, such as 0.02"
    if tolerance is None:
        return
    if isinstance(tolerance, str):
        if tolerance != "auto":
            raise ValueError(f"tolerance={shown(tolerance)} is not known; {expected}")
        if max_overhead is None:
            raise ValueError(
                "tolerance='auto' needs max_overhead, the share of the training time that it may "
                "spend: give max_overhead=, such as 0.05, or a tolerance, such as 0.02"
            )
        return
    if not is_number(tolerance):
        raise TypeError(f"tolerance={shown(tolerance)}; {expected}")
    if not 0 < tolerance < 1:  # type: ignore[operator]
        raise ValueError(f"tolerance={shown(tolerance)}; {expected}")
