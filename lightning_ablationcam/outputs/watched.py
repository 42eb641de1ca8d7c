"""The parts of a monitor that reports and animations need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

# For type checking only: they import torch, which a report of a log directory does not need.
if TYPE_CHECKING:
    from lightning_ablationcam.probes.probe_set import ProbeSet
    from lightning_ablationcam.run.history import History, Scale
    from lightning_ablationcam.run.measuring import Measuring


class Watched(Protocol):
    """An :class:`~lightning_ablationcam.AblationCAMMonitor`, as far as its pictures need it."""

    tag: str
    scale: Scale
    score: Any

    @property
    def history(self) -> History:
        """The passes that it made."""

    @property
    def probes(self) -> ProbeSet | None:
        """The probes that it watches."""

    @property
    def measuring(self) -> Measuring:
        """What it measures, and what of it rings an alarm."""


@dataclass(eq=False)
class Seen:
    """What a monitor saw, without the monitor.

    Attributes:
        tag: Its tag.
        scale: What 100 % of its colour scale is.
        score: What its class score is called.
        history: The passes that it made.
        probes: The probes that it watches.
        measuring: What it measures.
    """

    tag: str
    scale: Scale
    score: Any
    history: History
    probes: ProbeSet | None
    measuring: Measuring


def is_watched(value: object) -> TypeGuard[Watched]:
    """Whether a value is a monitor, and not the class of one."""
    needed = ("tag", "scale", "score", "history", "probes", "measuring")
    return not isinstance(value, type) and all(hasattr(value, name) for name in needed)
