"""A tiny LightningModule, its data and a quiet Trainer."""

from __future__ import annotations

import sys
import warnings

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_ablationcam import AblationCAMMonitor
from tests.networks import Dropouts, images, seeded

BATCHES = 5


class Module(LightningModule):
    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.model = network or seeded(Dropouts()).train()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def data(count: int = 4 * BATCHES, seed: int = 3) -> TensorDataset:
    return TensorDataset(images(count, seed=seed), torch.arange(count) % 4)


def loaders() -> tuple[DataLoader, DataLoader]:
    return (
        DataLoader(data(), batch_size=4, shuffle=True),
        DataLoader(data(8, seed=4), batch_size=4),
    )


def trainer(folder, *callbacks, **options) -> Trainer:
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 3,
        "default_root_dir": folder,
        "logger": TensorBoardLogger(folder, name=None, version="run"),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 1,
        "callbacks": list(callbacks),
    }
    return Trainer(**{**settings, **options})


def fit(folder, *callbacks, module: LightningModule | None = None, **options) -> Trainer:
    runner = trainer(folder, *callbacks, **options)
    runner.fit(module or Module(), *loaders())
    return runner


def from_yaml(folder, monkeypatch, config: str) -> AblationCAMMonitor:
    """The monitor that a LightningCLI builds from a configuration, run in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    (folder / "config.yaml").write_text(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's own use of its parser.
        cli = LightningCLI(
            Module,
            args=["--config", "config.yaml"],
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
        )
    return next(c for c in cli.trainer.callbacks if isinstance(c, AblationCAMMonitor))
