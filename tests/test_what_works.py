"""Each row of the README's table of what works: by the function and in a fit, with what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import lightning_ablationcam
from lightning_ablationcam import AblationCAMMonitor, ProbeSet, ablation_cam
from tests.documents import ROOT, rows_of, sections_of
from tests.lightning import Module, trainer
from tests.networks import images, seeded


def rows() -> dict[str, str]:
    """What a network returns or takes, and what the README says to pass for it."""
    cells = rows_of(sections_of(ROOT / "README.md")["What works"])
    return {row[0]: row[-1] for row in cells}


def said(cell: str) -> dict[str, Any]:
    """The arguments of a cell, such as `task="regression"`; words are not code."""
    names = {**vars(lightning_ablationcam), "strongest_box": lightning_ablationcam.strongest_box}
    names.update(captions=torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    code = [code for code in re.findall(r"`([^`]*)`", cell) if re.match(r"\w+=", code)]
    return eval(f"dict({', '.join(code)})", names)


class Net(nn.Module):
    """Convolutions, and then what ``head`` makes of (N, 6, 4, 4) features."""

    def __init__(self, head: Callable[[nn.Module, Tensor], Any], columns: int = 4, dims: int = 2):
        super().__init__()
        conv, pool = (
            (nn.Conv1d, F.max_pool1d),
            (nn.Conv2d, F.max_pool2d),
            (nn.Conv3d, F.max_pool3d),
        )[dims - 1]
        self.layer3 = conv(3, 6, 3, padding=1)
        self.layer4 = conv(6, 6, 3, padding=1)
        self.linear = nn.Linear(6, columns)
        self.dense = nn.Conv2d(6, columns, 1)
        self.pool, self.head, self.dims = pool, head, dims

    def forward(self, x: Tensor, more: Tensor | None = None) -> Any:
        x = self.pool(F.relu(self.layer4(F.relu(self.layer3(x)))), 2)
        if more is not None:
            x = x + more.mean()
        return self.head(self, x)

    def logits(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(2).mean(2))


def plainly(net: Net, x: Tensor) -> Tensor:
    return net.logits(x)


def densely(net: Net, x: Tensor) -> Tensor:
    return F.interpolate(net.dense(x), scale_factor=2.0)


def boxes(net: Net, x: Tensor) -> list[dict[str, Tensor]]:
    scores, labels = net.dense(x).flatten(2).softmax(1).max(1)
    return [
        {"labels": label[score > 0.3], "scores": score[score > 0.3]}
        for label, score in zip(labels, scores, strict=True)
    ]


@dataclass
class Case:
    """One row: a network, and what its loader yields beside the picture."""

    net: Callable[[], nn.Module]
    label: Callable[[int], Any] = lambda index: index % 4
    picture: Callable[[], Tensor] = lambda: images(8, seed=4)
    item: Callable[[Tensor, Any], Any] = lambda picture, label: (picture, label)
    task: str | None = "multiclass"
    expected: dict[str, Any] = field(default_factory=dict)


def item_of_two(picture: Tensor, label: Any) -> dict[str, Any]:
    return {"x": picture, "more": picture.mean((1, 2)), "label": label}


CASES = {
    "Logits in a dict, tuple, dataclass or `ModelOutput`": Case(
        lambda: Net(lambda net, x: {"features": x, "hidden": x.mean((2, 3)), "aux": net.logits(x)})
    ),
    "One logit, (N,) or (N, 1)": Case(
        lambda: Net(lambda net, x: net.logits(x)[:, 0], 1),
        lambda index: float(index % 2),
        task="binary",
    ),
    "Several labels": Case(
        lambda: Net(plainly), lambda index: torch.tensor([1, index % 2, 0, 1]), task="multilabel"
    ),
    "A quantity": Case(lambda: Net(plainly, 1), lambda index: index + 0.5, task="regression"),
    "Segmentation, (N, C, H, W)": Case(
        lambda: Net(densely), lambda index: torch.arange(64).view(8, 8) // 16, task="segmentation"
    ),
    "Embeddings": Case(lambda: Net(plainly), task="similarity"),
    "Boxes": Case(lambda: Net(boxes), task=None),
    "Several inputs": Case(lambda: Net(plainly), item=item_of_two),
    "More or fewer than three bands": Case(lambda: Net(plainly)),
    "Signals (N, C, L) and volumes (N, C, D, H, W)": Case(
        lambda: Net(plainly, dims=3), picture=lambda: torch.rand(8, 3, 4, 8, 8)
    ),
    "Several layers": Case(lambda: Net(plainly)),
    "A `forward` that takes the batch, or none": Case(lambda: Net(plainly), item=item_of_two),
}


class Data(Dataset):
    def __init__(self, case: Case):
        self.case, self.pictures = case, case.picture()

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.case.item(self.pictures[index], self.case.label(index))


class Anything(Module):
    """Trained on whatever it returns."""

    def forward(self, *inputs, **named):
        return self.model(*inputs, **named)

    def step(self, batch):
        pictures = batch["x"] if isinstance(batch, dict) else batch[0]
        parameters = sum(p.square().sum() for p in self.parameters())
        return (
            self.model.layer4(F.relu(self.model.layer3(pictures))).square().mean() + 0 * parameters
        )

    def training_step(self, batch):
        return self.step(batch)

    def validation_step(self, batch):
        self.log("val_loss", self.step(batch), batch_size=4)


def test_every_row_has_a_case():
    assert list(rows()) == list(CASES)


@pytest.mark.parametrize("row", list(CASES))
def test_it_works_in_a_fit(row, tmp_path):
    torch.manual_seed(0)
    case = CASES[row]
    options = said(rows()[row])
    probes = {name: options.pop(name) for name in ("bands", "shown") if name in options}
    loader = DataLoader(Data(case), batch_size=4)
    monitor_probes = ProbeSet.from_dataloader(loader, 4, **probes) if probes else 4
    layers = options.pop("target_layer", "auto" if case.task else "model.layer4")
    layers = [f"model.{layer}" for layer in layers] if isinstance(layers, list) else layers
    if row.startswith("A `forward`"):
        options = {}
    monitor = AblationCAMMonitor(layers, monitor_probes, on_error="raise", **options)
    trainer(tmp_path, monitor, max_epochs=1).fit(
        Anything(seeded(case.net()).train()), loader, loader
    )
    (seen,) = monitor.history.passes
    assert seen.finite.all()
    assert monitor.result.task == case.task
    if row == "Several labels":
        assert set(seen.also) >= {"label 2", "label 3", "rival"}
    if row == "Several layers":
        assert set(seen.also) >= {"model.layer4", "fused"}


@pytest.mark.parametrize(
    "row", [row for row in CASES if row != "A `forward` that takes the batch, or none"]
)
def test_it_works_without_lightning(row):
    case, options = CASES[row], said(rows()[row])
    for name in ("bands", "shown"):
        options.pop(name, None)
    if case.task in ("multilabel", "regression"):
        options.setdefault("task", case.task)
    x = case.picture()[:3]
    inputs = {"x": x, "more": x.mean((2, 3))} if case.item is item_of_two else x
    layers = options.pop("target_layer", "layer4")
    classes = 1 if case.task in (None, "multiclass", "multilabel") else None
    if case.task is None:
        with pytest.warns(UserWarning, match="replays"):
            result = ablation_cam(seeded(case.net()), layers, inputs, classes, **options)
    else:
        result = ablation_cam(seeded(case.net()), layers, inputs, classes, **options)
        assert result.engine == "propagate"
    assert result.task == case.task
    assert result.heatmaps.isfinite().all()
    assert len(result.layers) == (2 if row == "Several layers" else 1)
