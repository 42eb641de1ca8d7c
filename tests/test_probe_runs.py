"""Whole runs on dicts, several inputs, several labels, signals and volumes."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lightning_ablationcam import AblationCAMMonitor, ProbeSet, write_animations, write_report
from lightning_ablationcam.network.inputs import tensors
from lightning_ablationcam.render.mosaic import Mosaic, flat_maps
from tests.lightning import trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
]


class Items(Dataset):
    """Twelve items that a function makes of their numbers."""

    def __init__(self, make) -> None:
        self._make = make

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int):
        return self._make(index, torch.Generator().manual_seed(index))


def image(index: int, generator: torch.Generator) -> Tensor:
    return torch.rand(3, 8, 8, generator=generator)


class Network(nn.Module):
    """A convolution of any number of dimensions, and what is measured beside it."""

    def __init__(self, dims: int = 2, channels: int = 3, outputs: int = 3, table: int = 0) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.conv = conv(channels, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6 + table, outputs)

    def forward(self, x: Tensor, table: Tensor | None = None) -> Tensor:
        pooled = F.relu(self.conv(x)).flatten(2).mean(2)
        return self.head(pooled if table is None else torch.cat([pooled, table], 1))


class Run(LightningModule):
    """A module whose step takes a batch apart by a function."""

    def __init__(self, network: nn.Module, loss) -> None:
        super().__init__()
        self.model = network
        self._loss = loss

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)

    def training_step(self, batch):
        return self._loss(self, batch)

    validation_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, items, network, loss, *callbacks, **options):
    torch.manual_seed(0)
    monitor = AblationCAMMonitor(
        **{"target_layer": "model.conv", "probes": 4, "on_error": "raise", "also": (), **options}
    )
    runner = trainer(folder, monitor, *callbacks, max_epochs=2, logger=CSVLogger(folder))
    runner.fit(Run(network, loss), DataLoader(items, 4), DataLoader(items, 4))
    return monitor, runner


def test_batches_of_dicts(tmp_path):
    def item(index, generator):
        return {"image": image(index, generator), "label": index % 3, "path": f"{index}.png"}

    def loss(module, batch):
        return F.cross_entropy(module(batch["image"]), batch["label"])

    monitor, _ = fit(tmp_path, Items(item), Network(), loss)
    probes = monitor.probes
    assert isinstance(probes.inputs, Tensor)
    assert sorted(probes.labels.tolist()) == [0, 0, 1, 2]
    assert probes.batch.keys() == {"image", "label"}
    assert probes.batch["image"] is probes.inputs
    assert len(monitor.history.passes) == 2


def two_inputs(index, generator):
    return {
        "x": image(index, generator),
        "table": torch.rand(2, generator=generator),
        "y": index % 3,
    }


def loss_of_two(module, batch):
    return F.cross_entropy(module(batch["x"], batch["table"]), batch["y"])


def test_two_inputs_also_after_a_checkpoint(tmp_path):
    keep = ModelCheckpoint(tmp_path, filename="last", enable_version_counter=False)
    network = Network(table=2)
    monitor = AblationCAMMonitor("model.conv", 4, on_error="raise")
    options = {"enable_checkpointing": True, "logger": CSVLogger(tmp_path)}
    loader = DataLoader(Items(two_inputs), 4)
    trainer(tmp_path, monitor, keep, max_epochs=1, **options).fit(
        Run(network, loss_of_two), loader, loader
    )
    assert [path for path, _ in tensors(monitor.probes.inputs)] == ["x", "table"]
    assert monitor.probes.shown == "x"
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert any("AblationCAMMonitor" in key for key in checkpoint["callbacks"])
    again = AblationCAMMonitor("model.conv", 4, on_error="raise")
    trainer(tmp_path, again, keep, max_epochs=2, **options).fit(
        Run(Network(table=2), loss_of_two), loader, loader, ckpt_path=tmp_path / "last.ckpt"
    )
    assert [seen.epoch for seen in again.history.passes] == [0, 1]
    assert again.probes.fingerprint == monitor.probes.fingerprint
    assert again.probes.batch["x"] is again.probes.inputs["x"]


def test_images_with_several_labels(tmp_path):
    def item(index, generator):
        label = torch.tensor([index % 2, index % 3 == 0, index == 7]).float()
        return image(index, generator), label

    def loss(module, batch):
        return F.binary_cross_entropy_with_logits(module(batch[0]), batch[1])

    monitor, _ = fit(tmp_path, Items(item), Network(), loss, class_names=["odd", "three", "seven"])
    probes, newest = monitor.probes, monitor.history.passes[-1]
    assert probes.label_kind == "multi-hot"
    assert "odd, seven" in probes.label_texts()
    first, (second, *_) = probes.first_classes(), probes.further_classes(2)
    known = first >= 0
    assert newest.classes[known].tolist() == first[known].tolist()
    assert newest.also["label 2"].classes.tolist() == second.tolist()


def test_values(tmp_path):
    def item(index, generator):
        return image(index, generator), index / 2

    def loss(module, batch):
        return F.mse_loss(module(batch[0])[:, 0], batch[1].float())

    monitor, _ = fit(tmp_path, Items(item), Network(outputs=1), loss)
    assert monitor.probes.label_texts() == ["0.0", "0.5", "1.0", "1.5"]
    assert monitor.result.task == "regression"


def test_maps(tmp_path):
    def item(index, generator):
        x = image(index, generator)
        return {"image": x, "mask": x[:1].gt(0.5).float()}

    def loss(module, batch):
        return F.binary_cross_entropy_with_logits(module(batch["image"]), batch["mask"])

    network = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 6, 3, padding=1), act=nn.ReLU()))
    network.append(nn.Conv2d(6, 1, 1))
    monitor, _ = fit(tmp_path, Items(item), network, loss)
    assert monitor.probes.label_kind == "map"
    assert monitor.probes.labels.shape == (4, 8, 8)
    assert monitor.probes.label_texts() == [None] * 4


def test_labels_of_one_logit(tmp_path):
    def item(index, generator):
        return image(index, generator), torch.tensor([float(index > 8)])

    def loss(module, batch):
        return F.binary_cross_entropy_with_logits(module(batch[0]), batch[1])

    monitor, _ = fit(tmp_path, Items(item), Network(outputs=1), loss)
    assert monitor.probes.labels.tolist() == [0, 0, 1, 1]
    assert monitor.result.classes.tolist() == [0, 0, 1, 1]


def drawn(folder, kind):
    return [np.asarray(Image.open(file)) for file in sorted(folder.rglob(f"*{kind}*/**/*.jpg"))]


def test_signals(tmp_path, caplog):
    def item(index, generator):
        return torch.rand(2, 40, generator=generator).cumsum(1), index % 3

    def loss(module, batch):
        return F.cross_entropy(module(batch[0]), batch[1])

    monitor, _ = fit(tmp_path, Items(item), Network(dims=1, channels=2), loss)
    assert monitor.history.passes[-1].heatmaps.shape == (4, 1, 20)
    assert len(drawn(tmp_path, "probes")) == 8
    assert "(6 channels, 1x20)" in caplog.text


def test_volumes(tmp_path, caplog):
    def item(index, generator):
        return torch.rand(1, 6, 16, 16, generator=generator), index % 3

    def loss(module, batch):
        return F.cross_entropy(module(batch[0]), batch[1])

    monitor, _ = fit(tmp_path, Items(item), Network(dims=3, channels=1), loss, also=("rival",))
    newest = monitor.history.passes[-1]
    assert newest.heatmaps.shape == newest.also["rival"].heatmaps.shape == (4, 3, 8, 8)
    assert "(6 channels, 3x8x8)" in caplog.text
    assert len(drawn(tmp_path, "probes")) == 8
    assert len(drawn(tmp_path, "evolution")) == 4
    pictures = monitor.probes.pictures(newest.map_shape)
    assert Mosaic(3, 8, 8).fits(pictures)
    assert flat_maps(newest.heatmaps).shape == (4, 17, 17)
    assert monitor.result.draw(pictures).dtype == np.uint8
    assert write_report(monitor, tmp_path / "report.html").stat().st_size > 10_000
    assert len(write_animations(monitor, tmp_path / "animations")) == 4


def test_probes_of_several_inputs_from_a_dataset(tmp_path):
    probes = ProbeSet.from_dataset(Items(two_inputs), per_class=1)
    monitor, _ = fit(
        tmp_path, Items(two_inputs), Network(table=2), loss_of_two, probes=probes, ablation="mean"
    )
    assert monitor.result.heatmaps.shape == (3, 4, 4)
