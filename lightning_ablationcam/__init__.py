"""Exact Ablation-CAM on a fixed set of probe images, validation by validation, in TensorBoard."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_ablationcam.animations import write_animations
    from lightning_ablationcam.callback import AblationCAMMonitor
    from lightning_ablationcam.cam import ablation_cam
    from lightning_ablationcam.probes import ProbeSet
    from lightning_ablationcam.report import write_report
    from lightning_ablationcam.result import AblationResult

__version__ = "0.1.0"

__all__ = [
    "AblationCAMMonitor",
    "AblationResult",
    "ProbeSet",
    "ablation_cam",
    "write_animations",
    "write_report",
]

# Lazy (PEP 562): the TensorBoard process must be able to import a subpackage without torch.
_HOMES = {
    "AblationCAMMonitor": "callback",
    "AblationResult": "result",
    "ProbeSet": "probes",
    "ablation_cam": "cam",
    "write_animations": "animations",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
