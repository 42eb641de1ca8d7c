"""The parts of a monitor that reports and animations need."""

from __future__ import annotations

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


def is_watched(value: object) -> TypeGuard[Watched]:
    """Whether a value is a monitor, and not the class of one."""
    needed = ("tag", "scale", "score", "history", "probes", "measuring")
    return not isinstance(value, type) and all(hasattr(value, name) for name in needed)
