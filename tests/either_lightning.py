"""Run as a script: what users do with a monitor, under one package of Lightning's alone.

python -m tests.either_lightning PACKAGE FOLDER   writes what it found into FOLDER/found.json
"""

from __future__ import annotations

import csv
import importlib
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.networks import Dropouts, images, seeded

CONFIG = """
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  enable_checkpointing: false
  logger: false
  callbacks:
    - class_path: lightning_ablationcam.AblationCAMMonitor
      init_args: {target_layer: model.conv, probes: 2, on_error: raise}
"""


def without(package: str) -> None:
    """Have the other package as if it were not installed."""
    other = ("pytorch_lightning", "lightning_fabric")
    if package == "pytorch_lightning":
        other = ("lightning",)
    sys.modules.update(dict.fromkeys(other))  # type: ignore[arg-type]


def module_class(pl: Any) -> Any:
    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = seeded(Dropouts()).train()

        def forward(self, x):
            self.log("forwards", 1.0, reduce_fx="sum")
            return self.model(x)

        def training_step(self, batch):
            return F.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch):
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

        def train_dataloader(self):
            return loader(20, shuffle=True)

        def val_dataloader(self):
            return loader(8)

    return Module


def loader(count: int, *, shuffle: bool = False) -> DataLoader:
    data = TensorDataset(images(count, seed=count), torch.arange(count) % 4)
    return DataLoader(data, batch_size=4, shuffle=shuffle)


class Runs:
    """Fits under one package.

    Args:
        package: The package.
        folder: Where they write.
    """

    def __init__(self, package: str, folder: Path) -> None:
        self.pl = importlib.import_module(package)
        self.loggers = importlib.import_module(f"{package}.loggers")
        self.callbacks = importlib.import_module(f"{package}.callbacks")
        self.folder = folder
        self.module_class = module_class(self.pl)

    def trainer(self, name: str, callbacks: Any, **options: Any) -> Any:
        loggers = [
            self.loggers.TensorBoardLogger(self.folder, name=None, version=name),
            self.loggers.CSVLogger(self.folder, name=None, version=f"{name}_csv"),
        ]
        settings = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "logger": loggers,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
            "callbacks": callbacks,
        }
        return self.pl.Trainer(**{**settings, **options})

    def fit(self, name: str, callbacks: Any, *, resumed: Path | None = None, **options: Any) -> Any:
        torch.manual_seed(0)
        module = self.module_class()
        trainer = self.trainer(name, callbacks, **options)
        trainer.fit(module, ckpt_path=resumed)
        return trainer, module

    def logged(self, name: str, column: str) -> list[str]:
        with (self.folder / f"{name}_csv" / "metrics.csv").open() as file:
            return [row[column] for row in csv.DictReader(file) if row[column]]

    def checkpoints(self) -> Any:
        every = {"filename": "{epoch}", "save_top_k": -1, "every_n_epochs": 1}
        return self.callbacks.ModelCheckpoint(self.folder, **every)


def found(runs: Runs) -> dict[str, Any]:
    from lightning_ablationcam import AblationCAMMonitor

    def monitor() -> AblationCAMMonitor:
        return AblationCAMMonitor("model.conv", 3, on_error="raise")

    _, plain = runs.fit("plain", [], enable_checkpointing=False)
    # Not in a list: Lightning then asks whether it is a callback.
    trainer, watched = runs.fit("watched", monitor(), enable_checkpointing=False)
    first, *_ = trainer.callbacks
    forwards = [runs.logged(name, "forwards") for name in ("plain", "watched")]
    validated = trainer.validate(watched, verbose=False)[0]

    whole = monitor()
    runs.fit("whole", [whole, runs.checkpoints()])
    resumed = monitor()
    runs.fit("resumed", [resumed], resumed=runs.folder / "epoch=0.ckpt")

    early = runs.callbacks.EarlyStopping("ablation_cam/drift", patience=9, mode="min")
    saved = torch.load(runs.folder / "epoch=0.ckpt", weights_only=True)
    runs.fit("early", [early, monitor()], enable_checkpointing=False)
    return {
        "same weights": all(
            torch.equal(a, b)
            for a, b in zip(plain.state_dict().values(), watched.state_dict().values(), strict=True)
        ),
        "steps": [seen.step for seen in first.history.passes],
        "validated": sorted(name for name in validated if name.startswith("ablation_cam/")),
        "resumed": [seen.step for seen in resumed.history.passes],
        "same first pass": bool(
            (whole.history.passes[0].heatmaps == resumed.history.passes[0].heatmaps).all()
        ),
        "states": list(saved["callbacks"]),
        "forwards": forwards,
        "callback of": [c.__module__ for c in type(first).__mro__ if c.__name__ == "Callback"],
        "early stopping saw": float(early.best_score),
    }


def from_cli(package: str, runs: Runs) -> int:
    """The number of passes in a fit that a LightningCLI starts."""
    cli_class = importlib.import_module(f"{package}.cli").LightningCLI
    config = runs.folder / "config.yaml"
    config.write_text(CONFIG)
    sys.argv = ["train.py"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's own use of its parser.
        cli = cli_class(
            runs.module_class,
            args=["fit", "--config", str(config)],
            save_config_callback=None,
        )
    return len(cli.trainer.callbacks[0].history.passes)


class Keeps(logging.Handler):
    """Keeps what is said, and by whom."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name}: {record.getMessage()}")


def main(package: str, folder: Path) -> None:
    without(package)
    runs = Runs(package, folder)
    said: list[str] = []
    logging.getLogger(package).addHandler(Keeps(said))
    told = {**found(runs), "passes from the CLI": from_cli(package, runs)}
    told["said by"] = sorted(
        {line.split(":")[0] for line in said if "ablation_cam: watching" in line}
    )
    (folder / "found.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
