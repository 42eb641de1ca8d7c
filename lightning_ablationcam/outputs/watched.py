"""What reports and animations need of a monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

# Only named here: they import torch, which a report of a log directory does without.
if TYPE_CHECKING:
    from lightning_ablationcam.probes.probe_set import ProbeSet
    from lightning_ablationcam.run.history import History, Scale


class Watched(Protocol):
    """An :class:`~lightning_ablationcam.AblationCAMMonitor`, as far as its pictures need it."""

    tag: str
    scale: Scale
    score: Any

    @property
    def history(self) -> History:
        """What it saw."""

    @property
    def probes(self) -> ProbeSet | None:
        """What it watches."""


def is_watched(value: object) -> TypeGuard[Watched]:
    """Whether a value is a monitor, and not the class of one."""
    needed = ("tag", "scale", "score", "history", "probes")
    return not isinstance(value, type) and all(hasattr(value, name) for name in needed)
