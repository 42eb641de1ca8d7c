"""A run with the monitor is, bit for bit, the run without it."""

from __future__ import annotations

import csv
import random
import warnings
from collections import deque

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, seed_everything
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy

from lightning_ablationcam import AblationCAMMonitor, Alarm, ProbeSet
from lightning_ablationcam.measures.registry import FORWARDS
from tests.lightning import Module, fit, trainer
from tests.networks import images
from tests.writers import WRITERS, Bounded, Parameters, Writer


class Network(nn.Module):
    """Dropout and batch norm, one block of it frozen."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).requires_grad_(False)
        self.conv = nn.Conv2d(4, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, 4))

    def train(self, mode=True):
        super().train(mode)
        self.stem.eval()
        return self

    def forward(self, x):
        return self.head(F.relu(self.norm(self.conv(self.stem(x)))).mean((2, 3)))


class Deep(Writer):
    """Many channels, far from the output, and dropout; it writes to itself, too."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 96, 3), nn.Conv2d(96, 32, 3, padding=1)
        self.third, self.conv = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 4, 1)
        self.drop = nn.Dropout(0.2)
        self.register_buffer("average", torch.zeros(4))

    def write(self, mean):
        self.average.mul_(0.9).add_(0.1 * mean)
        return self.average

    def forward(self, x):
        x = self.drop(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return super().forward(torch.tanh(self.third(x)))


class Augmented(Dataset):
    """Draws from all three generators for every sample, in the workers."""

    def __init__(self, count):
        self.images = images(count, seed=3)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002
        return self.images[index] + float(noise), index % 4


class Rich(Module):
    def __init__(self):
        super().__init__(Network())
        self.accuracy = MulticlassAccuracy(4)

    def training_step(self, batch):
        loss = super().training_step(batch)
        self.accuracy(self(batch[0]), batch[1])
        self.log("train_accuracy", self.accuracy, on_step=True, on_epoch=True)
        return loss


class Record(Callback):
    """What a user could compare between two runs."""

    def __init__(self):
        self.samples, self.losses, self.gradients, self.randoms = [], [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.samples.append(batch[0].clone())
        self.losses.append(outputs["loss"].clone())

    def on_after_backward(self, trainer, pl_module):
        self.gradients.append([p.grad.clone() for p in pl_module.parameters() if p.requires_grad])

    def on_validation_end(self, trainer, pl_module):
        self.randoms.append(
            [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002
        )


def run(folder, *callbacks):
    seed_everything(7, verbose=False)
    module, record = Rich(), Record()
    generator = torch.Generator().manual_seed(5)
    train = DataLoader(Augmented(20), 4, shuffle=True, num_workers=2, generator=generator)
    validation = DataLoader(Augmented(8), 4, num_workers=2)
    logger = CSVLogger(folder, name=None, version="csv")
    runner = trainer(
        folder,
        *callbacks,
        record,
        EMAWeightAveraging(decay=0.7),
        logger=logger,
        num_sanity_val_steps=1,
        max_epochs=2,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no heatmaps|.*alarm")
        runner.fit(module, train, validation)
    with (folder / "csv" / "metrics.csv").open() as file:
        rows = [
            {k: v for k, v in row.items() if v and not k.startswith("ablation_cam")}
            for row in csv.DictReader(file)
        ]
    return {
        "weights": module.state_dict(),
        "optimizer": runner.optimizers[0].state_dict(),
        "metrics": [row for row in rows if set(row) - {"step", "epoch"}],
        "modes": [part.training for part in module.modules()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in module.modules()
        ],
        "attributes": [sorted(part.__dict__) for part in module.modules()],
        "accuracy": module.accuracy.metric_state,
        "loader": generator.get_state(),
        "samples": record.samples,
        "losses": record.losses,
        "gradients": record.gradients,
        "randoms": record.randoms,
    }


def same(a, b):
    """Whether two nests of containers hold the same bits."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def everything(value, seen):
    """What a module holds, as far down as tensors, numbers and the states of generators."""
    if id(value) in seen:
        return None
    if isinstance(value, torch.Tensor):
        return value.detach().clone(), value.requires_grad
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return [np.asarray(part).tolist() for part in value.get_state()]
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.ndarray):
        return value.tolist()
    seen = seen | {id(value)}
    if isinstance(value, nn.Module):
        # Hooks are numbered consecutively, also across runs.
        held = {name: v for name, v in vars(value).items() if not name.endswith("_hooks")}
        return type(value).__name__, everything(held, seen)
    if isinstance(value, dict):
        return {key: everything(each, seen) for key, each in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return [everything(each, seen) for each in value]
    return value if isinstance(value, (bool, int, float, str, set, bytearray)) else None


def trained(folder, writer, *callbacks, **options):
    """What a writer holds after a fit."""
    seed_everything(3, verbose=False)
    module = Module(writer())
    fit(folder / str(len(callbacks)), *callbacks, module=module, max_epochs=2, **options)
    return everything(module.model, frozenset())


def watching(target="model.conv", **options):
    probes = ProbeSet(images(3, seed=9), labels=[0, 1, 2])
    return AblationCAMMonitor(target, probes, on_error="raise", **options)


@pytest.mark.parametrize("engine", ["auto", "replay"])
@pytest.mark.parametrize("target", ["model.conv", "auto"])
@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_a_network_that_writes_to_itself_does_not_notice(tmp_path, writer, target, engine):
    monitor = watching(target, engine=engine)
    assert same(trained(tmp_path, writer, monitor), trained(tmp_path, writer))
    assert len(monitor.history.passes) == 2


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_nor_does_it_notice_forwards_of_measures(tmp_path, writer):
    monitor = watching(measures=["increase", "deletion"])
    assert same(trained(tmp_path, writer, monitor), trained(tmp_path, writer))
    assert all("deletion" in seen.measures for seen in monitor.history.passes)


@pytest.mark.filterwarnings("error:.*could not be given back")
@pytest.mark.parametrize("engine", ["auto", "replay"])
def test_nor_does_one_that_was_trained_on_since_its_last_validation(tmp_path, engine):
    monitor, often = watching(engine=engine, every_n_validations=9), {"val_check_interval": 2}
    assert same(trained(tmp_path, Bounded, monitor, **often), trained(tmp_path, Bounded, **often))
    # At the first validation, and at the end of the fit, after the last batch.
    assert [seen.step for seen in monitor.history.passes] == [2, 10]


@pytest.mark.parametrize("tolerance", [0.2, "auto"])
def test_nor_does_one_of_which_drops_are_predicted(tmp_path, tolerance, monkeypatch):
    # Otherwise a network as small as this is computed as a whole.
    monkeypatch.setattr("lightning_ablationcam.engine.drops.WORK_WORTH_PREDICTING", 0.0)
    monkeypatch.setattr("lightning_ablationcam.engine.tolerance.SAFETY", 0.05)
    monitor = watching("model.first", tolerance=tolerance, max_overhead=1.0)
    assert same(trained(tmp_path, Deep, monitor), trained(tmp_path, Deep))
    predicted = [(seen.measures["error"] > 0).any() for seen in monitor.history.passes]
    assert len(predicted) == 2
    assert predicted[0]
    assert not monitor.result.drops.requires_grad


def test_nor_does_one_that_only_another_monitors_forward_writes_to(tmp_path):
    def without_writing(module, inputs):
        model = module.model
        return model.head(F.relu(model.conv(inputs)).mean((2, 3)))

    monitors = watching(forward=without_writing), watching(tag="writes")
    assert same(trained(tmp_path, Parameters, *monitors), trained(tmp_path, Parameters))


class Predicting(Module):
    """Has no forward; what it does to predict draws, counts, logs and keeps."""

    forward = LightningModule.forward

    def __init__(self, network=None):
        super().__init__(network or Network())
        self.kept, self.count = [], torch.zeros(1)

    def training_step(self, batch):
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch):
        self.log("val_loss", F.cross_entropy(self.model(batch[0]), batch[1]))

    def predict_step(self, batch, batch_idx):
        self.kept.append(batch[0])
        self.count += 1
        self.log("predicted", torch.rand(()))
        return self.model(batch[0] + 0 * torch.rand(()))


def test_nor_does_one_whose_predict_step_is_called(tmp_path):
    found = []
    for monitors in ([], [AblationCAMMonitor(probes=4, on_error="raise")]):
        seed_everything(3, verbose=False)
        module = Predicting()
        fit(tmp_path / str(len(monitors)), *monitors, module=module, max_epochs=2)
        found.append((module.state_dict(), module.kept, module.count, torch.get_rng_state()))
    assert same(*found)
    assert len(monitors[0].history.passes) == 2


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("alone"))


def draws_and_breaks(module, inputs):
    torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
    module(inputs)
    raise RuntimeError("injected")


def breaks_in_the_replay(module, inputs):
    if len(inputs) != 3:
        raise RuntimeError("injected")
    return module(inputs)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"engine": "replay"},
        {"forward": draws_and_breaks},
        {"forward": breaks_in_the_replay, "engine": "replay"},
        {"classes": 99},
        {"ablation": "noise", "signed": True, "task": "multilabel", "also": ("rival", 2)},
        {
            "measures": FORWARDS,
            "alarms": [Alarm("drift", above=0.0), Alarm("concentration", above=0.1, of="any")],
            "score": "probability",
        },
        {"embeddings": "own", "target_layer": ["model.conv", "model.norm:activation"]},
        {"tolerance": 0.1, "also": ("rival", 2)},
        {"tolerance": "auto", "max_overhead": 1.0},
    ],
    ids=[
        "no fault",
        "replay",
        "faulty forward",
        "faulty replay",
        "faulty score",
        "noise of several labels",
        "every measure and alarms",
        "layers of embeddings",
        "a tolerance",
        "an automatic tolerance",
    ],
)
def test_a_run_does_not_notice(tmp_path, alone, options, captured):
    inside = images(3)[:, 0] > 0
    probes = 3 if captured else ProbeSet(images(3, seed=9), labels=[0, 1, 2], masks=inside)
    target = "auto" if captured else "model.conv"
    watching = AblationCAMMonitor(**{"target_layer": target, "probes": probes, **options})
    watched = run(tmp_path, watching)
    assert len(watching.history.passes) == (0 if {"forward", "classes"} & options.keys() else 2)
    if "measures" in options:
        assert all(set(FORWARDS) < seen.measures.keys() for seen in watching.history.passes)
        assert list(watching.history.passes[-1].alarms) == ["drift", "concentration"]
    assert watched.keys() == alone.keys()
    for name, value in alone.items():
        assert same(watched[name], value), name
    assert len(alone["samples"]) == 10
    assert {name for row in alone["metrics"] for name in row} > {
        "train_loss",
        "val_loss",
        "train_accuracy_epoch",
    }


def test_the_comparison_sees_one_bit(alone):
    changed = {**alone, "weights": {k: v.clone() for k, v in alone["weights"].items()}}
    changed["weights"]["model.conv.bias"].view(torch.int32)[0] ^= 1
    assert same(alone, {**alone})
    assert not same(alone, changed)
