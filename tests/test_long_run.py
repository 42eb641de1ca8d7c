"""Three hundred validations: nothing grows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from lightning_ablationcam import AblationCAMMonitor, ProbeSet
from lightning_ablationcam.run.history import MAX_PASSES
from tests.lightning import Module, trainer
from tests.networks import Dropouts, images, seeded

VALIDATIONS = 300
SETTLED = 100
"""Validations until the history is full and memory use is steady."""


class Watch(Callback):
    def __init__(self):
        self.resident, self.hooks = [], []

    def on_validation_end(self, trainer, pl_module):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append(pages * os.sysconf("SC_PAGE_SIZE"))
        self.hooks.append(sum(len(part._forward_hooks) for part in pl_module.modules()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_three_hundred_validations(tmp_path):
    torch.manual_seed(0)
    probes = ProbeSet(images(2, side=64), labels=[0, 1])
    watching, watch = AblationCAMMonitor("model.conv", probes, on_error="raise"), Watch()
    batch = DataLoader(TensorDataset(images(4, side=32), torch.arange(4)), batch_size=4)
    runner = trainer(tmp_path, watching, watch, max_epochs=VALIDATIONS, num_sanity_val_steps=0)
    runner.fit(Module(seeded(Dropouts()).train()), batch, batch)
    assert len(watch.resident) == VALIDATIONS
    assert set(watch.hooks) == {0}
    assert len(watching.history.passes) == MAX_PASSES
    settled = np.array(watch.resident[SETTLED:]) / 2**20
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0]
    print(f"{settled[0]:.1f} to {settled[-1]:.1f} MiB, {1024 * slope:.2f} KiB a validation")
    # To keep the heatmaps alone would take 32 KiB.
    assert 1024 * slope < 0.5 * watching.result.heatmaps.nbytes / 1024
