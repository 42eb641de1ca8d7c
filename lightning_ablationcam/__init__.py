"""Exact Ablation-CAM on a fixed set of probe images, validation by validation, in TensorBoard.

The house, from the ground up. A room, which is a module or a folder of them, imports from floors
below, and on its own floor from what stands to its left. Inside a folder nothing goes in circles.

==================  ==============================================================================
arguments           checks what users pass, and says what is wrong with it
selection           some of many, evenly
files               writes them completely or not at all
archive             arrays and what is to be known of them, in one file
method              the paper, on tensors: scores, ablations, drops to weights, weights to heatmaps
measures            numbers that say something of heatmaps
render              pictures, from arrays
------------------  ------------------------------------------------------------------------------
network             the user's model: a layer is found in it, and it is left as it was found
engine              the drops of all channels, by propagation or by replay
options             how an explanation is computed
result              what it found
setting             what is asked of a network, before any engine runs
cam                 ``ablation_cam``
interactions        ``interaction``: pairs of channels, ablated together
sanity              ``sanity_check``: whether maps follow the network's parameters
grouping            ``group_channels``: which channels' maps agree
evaluation          ``faithfulness``: whether maps show what class probabilities rest on
------------------  ------------------------------------------------------------------------------
records             what event files hold, without torch
tensorboard_plugin  the tab: its server and its page
------------------  ------------------------------------------------------------------------------
probes              what is watched, and where it comes from
lightning           Lightning, under whichever of its two names a run uses it
run                 one fit: when a pass is due, what it finds, what is kept of it
outputs             where that goes: TensorBoard, other loggers, folders, reports, animations
------------------  ------------------------------------------------------------------------------
callback            the monitor: when to run and whom to tell
report              a report from a shell
checkpoints         the monitor's passes, from a folder of old checkpoints
cli                 the command line, one module a command
__main__            the same for ``python -m``
==================  ==============================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_ablationcam.callback import AblationCAMMonitor as AblationCAMMonitor
    from lightning_ablationcam.cam import ablation_cam as ablation_cam
    from lightning_ablationcam.checkpoints import backfill as backfill
    from lightning_ablationcam.evaluation import FaithfulnessResult as FaithfulnessResult
    from lightning_ablationcam.evaluation import faithfulness as faithfulness
    from lightning_ablationcam.grouping import group_channels as group_channels
    from lightning_ablationcam.interactions import InteractionResult as InteractionResult
    from lightning_ablationcam.interactions import interaction as interaction
    from lightning_ablationcam.method.boxes import strongest_box as strongest_box
    from lightning_ablationcam.outputs.animations import write_animations as write_animations
    from lightning_ablationcam.outputs.report import write_report as write_report
    from lightning_ablationcam.probes.probe_set import ProbeSet as ProbeSet
    from lightning_ablationcam.result import AblationResult as AblationResult
    from lightning_ablationcam.run.alarms import Alarm as Alarm
    from lightning_ablationcam.sanity import SanityResult as SanityResult
    from lightning_ablationcam.sanity import sanity_check as sanity_check

__version__ = "0.1.0"

# Lazy (PEP 562): the TensorBoard process must be able to import a subpackage without torch.
_HOMES = {
    "AblationCAMMonitor": "callback",
    "AblationResult": "result",
    "Alarm": "run.alarms",
    "FaithfulnessResult": "evaluation",
    "InteractionResult": "interactions",
    "ProbeSet": "probes.probe_set",
    "SanityResult": "sanity",
    "ablation_cam": "cam",
    "backfill": "checkpoints",
    "faithfulness": "evaluation",
    "group_channels": "grouping",
    "interaction": "interactions",
    "sanity_check": "sanity",
    "strongest_box": "method.boxes",
    "write_animations": "outputs.animations",
    "write_report": "outputs.report",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name == "AblationCAMMonitor":
        # A LightningCLI, which asks for it here, takes only a callback of its own package.
        importlib.import_module(f"{__name__}.lightning").join_imported()
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
