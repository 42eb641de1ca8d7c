"""Train a small network on handwritten digits and watch what it looks at.

Trains on the real digits that scikit-learn ships (1,797 pictures of 8x8 pixels), on two CPU cores
in well under two minutes, then says how to look at the result:

    python examples/monitor_training.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import warnings

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from lightning_ablationcam import AblationCAMMonitor, ProbeSet

MEAN, STD = 0.305, 0.376


class Digits(LightningDataModule):
    """The digits of scikit-learn: 1,500 to train on, the rest to validate."""

    def setup(self, stage: str | None = None) -> None:
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
        data = TensorDataset((images - MEAN) / STD, torch.tensor(digits.target))
        split = torch.Generator().manual_seed(0)
        self.train_set, self.val_set = random_split(data, [1500, len(data) - 1500], split)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_set, batch_size=64, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val_set, batch_size=256)


class SmallCNN(LightningModule):
    """Three convolutions and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            self.block(1, 16), self.block(16, 32), nn.MaxPool2d(2), self.block(32, 64)
        )
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Sequential:
        """Convolution, normalisation and rectification."""
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        accuracy = (self(images).argmax(dim=1) == labels).float().mean()
        self.log("val_accuracy", accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def tensorboard() -> str:
    """The command that starts TensorBoard, also where its environment is not activated."""
    if shutil.which("tensorboard"):
        return "tensorboard"
    return f"{os.path.relpath(sys.executable)} -m tensorboard.main"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logdir", default="runs", help="where TensorBoard finds the run")
    parser.add_argument("--max-epochs", type=int, default=10)
    parser.add_argument("--accelerator", default="auto")
    options = parser.parse_args()

    # The loaders read tensors from memory; worker processes would only slow them down.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    seed_everything(0)
    digits = Digits()
    digits.setup()
    monitor = AblationCAMMonitor(
        target_layer="features",
        probes=ProbeSet.from_dataset(
            digits.val_set, per_class=1, class_names=list("0123456789"), mean=MEAN, std=STD
        ),
    )
    trainer = Trainer(
        accelerator=options.accelerator,
        devices=1,
        max_epochs=options.max_epochs,
        logger=TensorBoardLogger(options.logdir, name="digits"),
        callbacks=[monitor],
        log_every_n_steps=10,
    )
    trainer.fit(SmallCNN(), digits)

    print(
        f"\nSee what the network looked at:\n\n"
        f"    {tensorboard()} --logdir {options.logdir}\n\n"
        "then open http://localhost:6006. The tab ABLATION-CAM plays the whole training;\n"
        "TIME SERIES and SCALARS show the numbers, and IMAGES:\n"
        "    ablation_cam_evolution/<digit>  the heatmap from the first validation to the last\n"
        "    ablation_cam_animation/<digit>  the same as an animation\n"
        "    ablation_cam/overview           all digits at a glance, one picture a validation\n"
        "    ablation_cam_probes/<digit>     each digit with its heatmap, large"
    )


if __name__ == "__main__":
    main()
