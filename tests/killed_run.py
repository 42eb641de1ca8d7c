"""Run as a script: a fit that is killed in the middle, or resumed.

python -m tests.killed_run FOLDER        trains, and waits to be killed in the fourth epoch
python -m tests.killed_run FOLDER CKPT   goes on from the checkpoint, to the end
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from lightning_ablationcam import AblationCAMMonitor
from tests.lightning import BATCHES, Module, loaders, trainer

EPOCHS = 6


class WaitsToBeKilled(Callback):
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 3 * BATCHES + 2:
            self.marker.touch()
            time.sleep(600)


def main(folder: Path, checkpoint: str | None) -> None:
    torch.manual_seed(0)
    callbacks = [
        AblationCAMMonitor("model.conv", probes=3, on_error="raise"),
        # The last one before the end is two epochs back: the resumed run repeats a validation.
        ModelCheckpoint(folder, filename="{epoch}", every_n_epochs=2, save_top_k=-1),
    ]
    if checkpoint is None:
        callbacks.append(WaitsToBeKilled(folder / "ready"))
    runner = trainer(folder, *callbacks, max_epochs=EPOCHS, enable_checkpointing=True)
    runner.fit(Module(), *loaders(), ckpt_path=checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
