"""What share of a training's time the monitor takes.

Run: python -m tests.benchmarks.bench_overhead

Trains ResNet-18 on random images of 64 pixels on the CPU, with 16 probes at layer4 and a validation
after every few batches, far more often than anybody would: without a limit, and with limits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

from lightning_ablationcam import AblationCAMMonitor, ProbeSet

SIDE, BATCH, CLASSES = 64, 16, 10


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = resnet18(num_classes=CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def samples(count: int) -> DataLoader:
    labels = torch.arange(count) % CLASSES
    return DataLoader(TensorDataset(torch.rand(count, 3, SIDE, SIDE), labels), BATCH)


def fit(validations: int, batches: int, limit: float | None) -> tuple[float, float, int]:
    """Seconds of the fit, seconds in passes, and how many passes there were."""
    spent = []

    class Timed(AblationCAMMonitor):
        def on_validation_epoch_end(self, trainer, pl_module):
            started = time.perf_counter()
            super().on_validation_epoch_end(trainer, pl_module)
            spent.append(time.perf_counter() - started)

    monitor = Timed(
        "model.layer4",
        ProbeSet(torch.rand(16, 3, SIDE, SIDE), labels=torch.arange(16) % CLASSES),
        max_overhead=limit,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=validations,
            logger=TensorBoardLogger(folder),
            callbacks=[monitor],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
        started = time.perf_counter()
        trainer.fit(Module(), samples(batches * BATCH), samples(BATCH))
        seconds = time.perf_counter() - started
    return seconds, sum(spent), len(monitor.history.passes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--validations", type=int, default=40)
    parser.add_argument("--batches", type=int, default=10, help="between two validations")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("max_overhead   passes   share of the time")
    for limit in (None, 0.2, 0.05):
        seconds, spent, passes = fit(arguments.validations, arguments.batches, limit)
        name = "none" if limit is None else f"{limit:g}"
        print(f"{name:>12} {passes:>5} of {arguments.validations} {spent / seconds:>15.1%}")


if __name__ == "__main__":
    main()
