"""Fine-tune a pretrained network in two ways that validation cannot tell apart.

EfficientNet-Lite0, pretrained on ImageNet, learns the names of the things in six photographs: once
all of its layers are trained, once only the last one. Validation accuracy is 100 % both times; the
heatmaps differ:

    python examples/finetune_photos.py

Each photograph has one thing and one background, so either gives the name away. With all layers
trained the heat spreads from the things over their backgrounds, epoch by epoch; with the last one
alone it hardly moves. That tells what a network goes by, not whether it is the worse for it: put
before other backgrounds, the things are recognised about as often by both.

The photographs are from scikit-image and scikit-learn; training and validation take random views of
them. What is a thing was outlined by eye; how much of the heat is on it is logged as ``mask_heat``.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from explain_photos import MEAN, SIDE, STD, pretrained
from monitor_training import tensorboard
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from skimage import data
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from lightning_ablationcam import AblationCAMMonitor, ProbeSet

PHOTOS = {
    "rocket": data.rocket,
    "flower": lambda: load_sample_image("flower.jpg"),
    "temple": lambda: load_sample_image("china.jpg"),
    "photographer": data.camera,
    "astronaut": data.astronaut,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
}
NAMES = list(PHOTOS)
# Corners (x, y) of the things in squares of 224 pixels, by eye.
OUTLINES = {
    "rocket": "105,72 110,64 121,64 126,72 126,215 104,215",
    "flower": "107,44 144,53 171,78 181,116 171,154 144,179 107,188 70,179 43,154 33,116 43,78 "
    "70,53",
    "temple": "0,50 20,45 45,20 52,14 60,22 85,45 112,65 108,80 112,100 105,130 112,160 110,195 "
    "0,190",
    "photographer": "75,30 95,25 112,40 140,60 140,85 120,95 145,205 135,215 125,110 115,120 "
    "105,223 15,223 10,140 35,90 60,60",
    "astronaut": "65,20 85,5 110,15 118,40 112,60 130,75 150,110 165,150 200,155 222,190 222,223 "
    "10,223 12,110 55,80 70,60",
    "motorcycle": "0,75 60,75 110,60 165,35 200,50 205,90 220,120 222,200 185,190 165,150 150,165 "
    "100,195 70,175 40,180 5,160 0,130",
}
OTHER_BACKGROUNDS = (
    data.brick,
    data.chelsea,
    data.coffee,
    data.coins,
    data.grass,
    data.gravel,
    data.hubble_deep_field,
    data.immunohistochemistry,
    data.moon,
    data.retina,
)
LEARNING_RATES = {"all layers": 1e-3, "last layer": 1e-2}
VIEWS = 4


class Photos(NamedTuple):
    """(N, 3, 224, 224) photographs, and (N, 1, 224, 224) masks of their things; all 0 to 1."""

    images: Tensor
    things: Tensor


class Views(Dataset):
    """Random views of pictures, some of each."""

    def __init__(self, images: Tensor, each: int) -> None:
        self.images, self.each = images, each
        self.view = v2.Compose(
            [v2.RandomResizedCrop(SIDE, (0.4, 1), (0.8, 1.25)), v2.RandomHorizontalFlip()]
        )

    def __len__(self) -> int:
        return len(self.images) * self.each

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index >= len(self):
            raise IndexError(index)
        label = index % len(self.images)
        return (self.view(self.images[label]) - MEAN) / STD, label


class Classifier(LightningModule):
    """EfficientNet-Lite0 for six classes. It keeps what is logged in each epoch."""

    def __init__(self, trained: str) -> None:
        super().__init__()
        self.model, self.learning_rate = pretrained().train(), LEARNING_RATES[trained]
        self.model.requires_grad_(trained == "all layers")
        self.model._fc = nn.Linear(self.model._fc.in_features, len(NAMES))
        self.epochs: list[dict[str, float]] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        self.model.eval()  # Batch norms as they are: the batches are small.
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def on_train_epoch_end(self) -> None:
        self.epochs.append({name: float(v) for name, v in self.trainer.callback_metrics.items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(trained, self.learning_rate)


def square(photo: np.ndarray) -> Image.Image:
    return ImageOps.fit(Image.fromarray(photo).convert("RGB"), (SIDE, SIDE))


def photographs() -> Photos:
    """The photographs and their things."""
    images = np.stack([square(load()) for load in PHOTOS.values()])
    things = []
    for outline in OUTLINES.values():
        thing = Image.new("L", (SIDE, SIDE))
        corners = [tuple(map(int, corner.split(","))) for corner in outline.split()]
        ImageDraw.Draw(thing).polygon(corners, fill=255)
        # A sharp edge would be a mark of its own.
        things.append(np.array(thing.filter(ImageFilter.GaussianBlur(2))))
    return Photos(
        torch.from_numpy(images).permute(0, 3, 1, 2) / 255,
        torch.from_numpy(np.stack(things))[:, None] / 255,
    )


def moved(photos: Photos) -> Tensor:
    """Each thing before each of the other backgrounds."""
    grounds = [np.array(square(load()[:SIDE, :SIDE])) for load in OTHER_BACKGROUNDS]
    behind = [torch.from_numpy(ground).permute(2, 0, 1) / 255 for ground in grounds]
    return torch.cat([torch.lerp(ground, photos.images, photos.things) for ground in behind])


def train(trained: str, epochs: int, seed: int, logdir: Path, photos: Photos) -> Classifier:
    """Fine-tune, and watch."""
    seed_everything(seed, verbose=False)
    normed = (photos.images - MEAN) / STD
    labels, masks = torch.arange(len(NAMES)), photos.things[:, 0] > 0.5
    probes = ProbeSet(normed, labels, NAMES, class_names=NAMES, mean=MEAN, std=STD, masks=masks)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=TensorBoardLogger(logdir, name=trained.replace(" ", "_"), version=""),
        callbacks=[AblationCAMMonitor(probes=probes)],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    network = Classifier(trained)
    train_set = Views(photos.images, VIEWS)
    val_set = list(Views(photos.images, 2))  # the same in every epoch
    loaders = DataLoader(train_set, batch_size=12, shuffle=True), DataLoader(val_set, batch_size=12)
    trainer.fit(network, *loaders)
    return network


def accuracy(network: Classifier, images: Tensor) -> float:
    labels = torch.arange(len(NAMES)).repeat(len(images) // len(NAMES))
    with torch.no_grad():
        found = [network.eval()((part - MEAN) / STD).argmax(1) for part in images.split(12)]
    return float((torch.cat(found) == labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logdir", type=Path, default=Path("runs"), help="where to write")
    parser.add_argument("--max-epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    # Only what the monitor has to say.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*|.*LeafSpec.*")
    photos, networks = photographs(), {}
    for trained in LEARNING_RATES:
        print(f"fine-tuning: {trained}", flush=True)
        networks[trained] = train(trained, options.max_epochs, options.seed, options.logdir, photos)

    print("\n" + "".join(f"{trained:>15}{'':15}" for trained in networks).rstrip())
    print("epoch" + "      ".join(["  accuracy  heat on things"] * len(networks)))
    rows = zip(*(network.epochs for network in networks.values()), strict=True)
    for number, row in enumerate(rows):
        cells = (f"{e['val_accuracy']:>10.0%}{e['ablation_cam/mask_heat']:>16.0%}" for e in row)
        print(f"{number + 1:>5}" + "      ".join(cells))
    print("\naccuracy    as they are  before other backgrounds")
    others = moved(photos)
    for trained, network in networks.items():
        print(
            f"{trained}{accuracy(network, photos.images):>13.0%}{accuracy(network, others):>26.0%}"
        )
    print(
        "\nto see both in the tab ABLATION-CAM (choose A | B, and the other run):"
        f"\n\n    {tensorboard()} --logdir {options.logdir}"
    )


if __name__ == "__main__":
    main()
