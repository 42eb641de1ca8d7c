"""Run as a script: a fit under a limit on the size of files, with or without a monitor.

python -m tests.limited_run FOLDER BYTES alone|watched
"""

from __future__ import annotations

import resource
import sys
import warnings
from pathlib import Path

import torch

from lightning_ablationcam import AblationCAMMonitor, ProbeSet
from tests.lightning import Module, loaders, trainer
from tests.networks import images

EPOCHS = 8


def main(folder: Path, size: int, watched: bool) -> None:
    torch.manual_seed(0)
    probes = ProbeSet(images(8, seed=9), labels=[index % 4 for index in range(8)])
    callbacks = [AblationCAMMonitor("model.conv", probes)] if watched else []
    module = Module()
    runner = trainer(folder, *callbacks, max_epochs=EPOCHS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner.fit(module, *loaders())
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = [str(w.message) for w in caught if "ablation_cam:" in str(w.message)]
    seen = {"weights": module.state_dict(), "step": runner.global_step, "told": told}
    torch.save(seen, folder / "seen.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "watched")
