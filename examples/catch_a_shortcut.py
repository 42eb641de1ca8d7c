"""Catch a network that goes by a mark instead of the picture, while its accuracy is perfect.

A network shall find the portraits that were scanned upside down. All of these came through one
scanner, and it prints its tag in a corner, as hospitals have tags of their own on X-rays, which
networks have gone by (Zech et al. 2018). The validation pictures have it, too, so accuracy does not
tell. The heatmaps do:

    python examples/catch_a_shortcut.py

The alarm is set without knowing of the tag. The face is in the middle of a portrait, and so should
the heat be. Spread evenly, 36 % of it would be on the border, which is the outer tenth of each
side. Where it is more than half, in three validations in a row, something is wrong. What is watched
are portraits upside down, since these are what the network is to find; the heat of the others,
which have no tag, does not tell of it. The twin of the network is trained on the same portraits
without the tag, from the same seed and under the same alarm.

The portraits are the 100 of scikit-image's ``lfw_subset``: 70 are trained on, with their mirror
images, and 30 others, of which some may be of the same people, validate, each the right way up and
upside down.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
import torch
from monitor_training import SmallCNN, tensorboard
from PIL import Image
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_ablationcam import AblationCAMMonitor, Alarm, ProbeSet
from lightning_ablationcam.render.gallery import gallery

SIDE, MEAN, STD = 32, 0.47, 0.22
TAG = torch.tensor([[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0.0]])
ALARM = Alarm("border_heat", above=0.5, for_passes=3)
EPOCHS, PROBES, SHOWN = 15, 8, 3


class Finder(SmallCNN):
    """The network of the other example for two classes. It keeps what is logged in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier[-1] = nn.Linear(64, 2)
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self) -> None:
        self.epochs.append({name: float(v) for name, v in self.trainer.callback_metrics.items()})

    def configure_optimizers(self) -> dict:
        optimizer, steps = super().configure_optimizers(), self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Run(NamedTuple):
    """What came of a training, and its accuracy on 30 others, with the tag and without it."""

    monitor: AblationCAMMonitor
    epochs: list[dict[str, float]]
    with_tag: float
    without: float


def scans(portraits: Tensor, tag: bool) -> tuple[Tensor, Tensor]:
    """The portraits the right way up (0), then upside down (1), these with the tag if ``tag``."""
    turned = portraits.rot90(2, (2, 3))
    if tag:
        turned[..., : len(TAG), -len(TAG) :] = TAG
    labels = torch.tensor([0, 1]).repeat_interleave(len(portraits))
    return (torch.cat([portraits, turned]) - MEAN) / STD, labels


def accuracy(network: Finder, portraits: Tensor, tag: bool) -> float:
    images, labels = scans(portraits, tag)
    with torch.no_grad():
        return float((network.eval()(images).argmax(dim=1) == labels).float().mean())


def train(tag: bool, seed: int, logdir: Path) -> Run:
    """Train on the portraits, with the tag or without it, and watch."""
    seed_everything(seed, verbose=False)
    portraits = torch.from_numpy(skimage.data.lfw_subset()[:100]).float()[:, None]
    portraits = functional.interpolate(portraits, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    known, others = portraits[torch.randperm(100)].split([70, 30])
    train_set = TensorDataset(*scans(torch.cat([known, known.flip(3)]), tag))
    val_set = TensorDataset(*scans(others, tag))
    images, labels = val_set[len(others) : len(others) + PROBES]
    names, classes = [f"portrait {i + 1}" for i in range(PROBES)], ["upright", "upside down"]
    probes = ProbeSet(images, labels, names, class_names=classes, mean=MEAN, std=STD)
    monitor = AblationCAMMonitor("features", probes, alarms=[ALARM])
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=TensorBoardLogger(logdir, name="tagged" if tag else "clean"),
        callbacks=[monitor],
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    network = Finder()
    batches = DataLoader(train_set, batch_size=16, shuffle=True), DataLoader(val_set, batch_size=60)
    trainer.fit(network, *batches)
    return Run(monitor, network.epochs, *(accuracy(network, others, has) for has in (True, False)))


def picture(runs: dict[str, Run]) -> Image.Image:
    """A few probes of each run, after the first epoch and after the last."""
    plain, heats, captions = [], [], []
    for name, run in runs.items():
        for place in (0, -1):
            seen, probes = run.monitor.history.passes[place], run.monitor.probes.pictures()[:SHOWN]
            plain += [np.array(Image.fromarray(probe).resize((224, 224))) for probe in probes]
            heats += list(run.monitor.history.scaled(place, "map")[:SHOWN])
            shares = seen.measures["border_heat"][:SHOWN]
            title = f"{name}, epoch {seen.epoch + 1}"
            captions += [[title, f"{share:.0%} of the heat on the border"] for share in shares]
    drawn = gallery(np.stack(plain), np.stack(heats), captions, "maximum of each map")
    return Image.fromarray(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logdir", type=Path, default=Path("runs"), help="where to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.set_num_threads(1)  # The pictures are small: threads would wait for each other.
    # Only what the monitor has to say.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*|.*LeafSpec.*")
    warnings.formatwarning = lambda message, *_: f"{message}\n"
    runs = {}
    for name, tag in (("tagged", True), ("clean", False)):
        print(f"training: {name}", flush=True)
        runs[name] = train(tag, options.seed, options.logdir)

    print("\n" + "".join(f"{name:>15}{'':20}" for name in runs).rstrip())
    print("epoch" + "      ".join(["  accuracy  border heat  alarm"] * len(runs)))
    for number, row in enumerate(zip(*(run.epochs for run in runs.values()), strict=True)):
        line = f"{number + 1:>5}"
        for seen in row:
            alarm = "rings" if seen[f"ablation_cam/alarm_{ALARM.name}"] else ""
            heat = seen["ablation_cam/border_heat"]
            line += f"{seen['val_accuracy']:>10.0%}{heat:>13.0%}  {alarm:<11}"
        print(line.rstrip())
    print("\naccuracy  with the tag  without it")
    for name, run in runs.items():
        print(f"{name:<8}{run.with_tag:>14.0%}{run.without:>12.0%}")
    picture(runs).save(options.logdir / "shortcut.jpg", quality=88)
    print(
        f"\nwrote {options.logdir / 'shortcut.jpg'}; to see both trainings in the tab ABLATION-CAM:"
        f"\n\n    {tensorboard()} --logdir {options.logdir}"
    )


if __name__ == "__main__":
    main()
