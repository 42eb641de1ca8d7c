"""What a user's typed code asks of the public names; checked by mypy and pyright, and run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import assert_type

from lightning_ablationcam import (
    AblationCAMMonitor,
    AblationResult,
    Alarm,
    FaithfulnessResult,
    InteractionResult,
    ProbeSet,
    SanityResult,
    ablation_cam,
    backfill,
    faithfulness,
    interaction,
    sanity_check,
)

model = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
)
images = torch.rand(2, 3, 8, 8)


def own_score(output: Tensor, classes: Tensor) -> Tensor:
    """A score of the user's own."""
    return output.gather(1, classes[:, None])[:, 0]


result = ablation_cam(model, "1", images, [0, 2], score=own_score, also=["rival", 1])
assert_type(result, AblationResult)
assert_type(result.heatmaps, Tensor)
assert_type(result.also, tuple[AblationResult, ...])
assert_type(result.error, Tensor | None)
assert_type(result.fused(), Tensor)
assert_type(result.draw(np.zeros((2, 8, 8, 3), np.uint8), ["a", "b", "c"]), NDArray[np.uint8])
with tempfile.TemporaryDirectory() as folder:
    assert_type(result.save(Path(folder) / "maps"), Path)
    assert_type(AblationResult.load(Path(folder) / "maps.npz"), AblationResult)

ablation_cam(model, model[1], images, torch.tensor([0, 1]), ablation="mean", tolerance=0.02)
ablation_cam(model, ["0", "1"], images, forward=lambda network, given: network(given))

assert_type(faithfulness(model, images, result.heatmaps), FaithfulnessResult)
assert_type(sanity_check(model, "1", images), SanityResult)
assert_type(interaction(model, "1", images), InteractionResult)

probes = ProbeSet(images, labels=[0, 2], class_names=["a", "b", "c"])
monitor = AblationCAMMonitor(
    "model.layer4",
    probes,
    classes="predicted",
    alarms=[Alarm("border_heat", above=0.5)],
    tolerance="auto",
    max_overhead=0.05,
)
assert_type(monitor.result, AblationResult | None)
assert_type(monitor.table(), dict[str, list[Any]])
AblationCAMMonitor(probes=lambda trainer, module: probes)


def from_old_checkpoints(folder: Path) -> tuple[int, ...]:
    """The steps of the passes made of a folder of checkpoints."""
    return backfill(folder, nn.Identity, monitor, folder / "run", data=[]).steps
