"""A training on handwritten digits whose checkpoints are all kept, and what its event files hold.

Commands name the classes by ``tests.backfilled:...``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from pytorch_lightning import LightningDataModule, LightningModule, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_ablationcam import AblationCAMMonitor
from lightning_ablationcam.records.format import decode_heat, decode_probes
from tests.lightning import trainer

EPOCHS = 10
LAYER = "features"
OPTIONS = {"probes": 6, "measures": ["average_drop"], "measure_every_n_passes": 3}


class Digits(LightningDataModule):
    def setup(self, stage: str | None = None) -> None:
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
        self.all = TensorDataset(images[:160], torch.tensor(digits.target[:160]))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.all, batch_size=32, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.all, batch_size=64)


class Net(LightningModule):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def training_step(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor]) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Interrupted(Net):
    """Ctrl-C comes while the fourth checkpoint is loaded."""

    loaded = 0

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.loaded += 1
        if self.loaded == 4:
            raise KeyboardInterrupt


class Killed(Interrupted):
    """The process is killed there, with no chance to end well."""

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        try:
            super().on_load_checkpoint(checkpoint)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGKILL)


def monitor(**options) -> AblationCAMMonitor:
    return AblationCAMMonitor(LAYER, **{**OPTIONS, **options})


def train(folder: Path, *, width: int = 6, epochs: int = EPOCHS, **saving) -> None:
    """Train with the monitor, keeping every checkpoint under a name that does not sort."""
    seed_everything(0, verbose=False)
    names = ModelCheckpoint(
        folder / "checkpoints", filename="{val_loss:.6f}", save_top_k=-1, save_last=True, **saving
    )
    run = trainer(folder, monitor(), names, max_epochs=epochs, enable_checkpointing=True)
    run.fit(Net(width), datamodule=Digits())


def events(folder: Path) -> list:
    files = sorted(folder.glob("*tfevents*"))
    return [event for path in files for event in EventFileLoader(str(path)).Load()]


def values(folder: Path):
    return [(event.step, value) for event in events(folder) for value in event.summary.value]


def records(folder: Path) -> dict:
    """What the tab shows, decoded: heat by step, and the probes."""
    found: dict = {"heat": {}, "probes": []}
    for step, value in values(folder):
        strings = list(value.tensor.string_val)
        if value.tag == "ablation_cam/heat":
            found["heat"][step] = decode_heat(strings)
        elif value.tag == "ablation_cam/probes":
            found["probes"].append(decode_probes(strings))
    return found


def heat_bytes(folder: Path) -> list:
    """The heat records as they are in the files, byte by byte."""
    return [
        (step, list(value.tensor.string_val))
        for step, value in values(folder)
        if value.tag == "ablation_cam/heat"
    ]


def scalars(folder: Path) -> dict:
    """Each scalar of the monitor, and the epochs, by step; not how long a pass took."""
    found: dict = {}
    for step, value in values(folder):
        ours = value.tag.startswith("ablation_cam/") and value.tag != "ablation_cam/seconds"
        if value.metadata.plugin_data.plugin_name == "scalars" and (ours or value.tag == "epoch"):
            found.setdefault(value.tag, {})[step] = value.tensor.float_val[0]
    return found


def pictures(folder: Path) -> dict:
    """Each picture as it is in the files, by tag and step."""
    return {
        (value.tag, step): list(value.tensor.string_val)
        for step, value in values(folder)
        if value.metadata.plugin_data.plugin_name == "images"
    }
