from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine.prefix import Prefix
from lightning_ablationcam.engine.replay import bytes_per_image
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.isolation import isolated
from lightning_ablationcam.network.targets import Target
from tests.networks import Skip, images, seeded
from tests.reference import ablation_cam_reference


def counted(model, rows):
    def forward(module, inputs):
        rows.append(len(inputs))
        return module(inputs)

    return forward


def test_dead_channels_are_not_run():
    model, rows = seeded(Skip()), []
    model.conv.weight.data[2:] = 0
    model.conv.bias.data[2:] = 0
    x = images()
    result = ablation_cam(model, "conv", x, engine="replay", forward=counted(model, rows))
    assert not result.drops[:, 2:].any()
    assert result.drops[:, :2].all()
    # The intact batch, one image to see what it needs; then for each its prefix, and two pairs
    # beside an intact row.
    assert rows == [3, 1, 1, 3, 1, 3, 1, 3]


def test_memory_budget_sets_the_batch():
    model, x = seeded(Skip()), images()
    sizes = {}
    each = bytes_per_image(model, x, call)
    for budget in (1, 8 * each, 10**9):
        rows = []
        ablation_cam(
            model,
            "conv",
            x,
            engine="replay",
            memory_budget=budget,
            forward=counted(model, rows),
        )
        sizes[budget] = max(rows)
    # One pair beside its intact image is the least; else no batch is larger than the budget.
    assert sizes[1] == 2
    assert 2 < sizes[8 * each] < 7
    assert sizes[10**9] == 6 + 1


@pytest.mark.parametrize(("engine", "limit"), [("replay", 6), ("replay", 2), ("propagate", 2)])
def test_running_out_of_memory_halves_the_batch(engine, limit):
    model, x, rows = seeded(Skip()), images(), []
    expected = ablation_cam(model, "conv", x, engine="replay")

    def forward(module, inputs):
        if len(inputs) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        rows.append(len(inputs))
        return module(inputs)

    result = ablation_cam(model, "conv", x, engine=engine, forward=forward)
    assert max(rows) <= limit
    error = (result.drops - expected.drops).abs().max() / expected.drops.abs().max()
    assert error < 1e-5
    assert result.classes.tolist() == expected.classes.tolist()


class Wide(nn.Module):
    """A prefix in two modules, a functional op between them, and a target in a container."""

    def __init__(self, *, in_place=False):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU())
        self.head = nn.Linear(5, 4)
        self.in_place = in_place
        self.kept = None

    def forward(self, x):
        x = self.second(F.relu(self.first(x), inplace=self.in_place))
        return self.head(self.block(x).mean((2, 3)))


def computed(model, engine="replay", **options):
    """Rows that each module computed, and the result."""
    rows = Counter()
    kernel = F.conv2d

    def convolution(x, weight, *args):
        name = next(n for n, m in model.named_modules() if getattr(m, "weight", None) is weight)
        rows[name] += len(x)
        return kernel(x, weight, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "conv2d", convolution)
        return rows, ablation_cam(model, "block.1", images(), engine=engine, **options)


def test_what_comes_before_the_layer_is_computed_once_for_an_image():
    model = seeded(Wide())
    rows, result = computed(model)
    # Three images at once, one to see what an image needs, each once more for its own results.
    assert rows == {"first": 7, "second": 7, "block.0": 7}
    reference = ablation_cam_reference(model, "block.1", images(), result.classes)
    error = (result.drops - reference.drops).abs().max() / reference.drops.abs().max()
    assert error < 1e-4
    assert all("forward" not in module.__dict__ for module in model.modules())


def test_a_check_computes_what_comes_before_the_layer_once_for_an_image():
    rows, result = computed(seeded(Wide()), engine="propagate")
    assert result.engine == "propagate"
    # Three images to record the tail, and again for what comes before the pairs that are checked.
    assert rows == {"first": 6, "second": 6, "block.0": 6}


class Branched(nn.Module):
    """What comes before the target reaches the score past it as well."""

    def __init__(self, *, in_place):
        super().__init__()
        self.in_place = in_place
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU())
        self.head = nn.Linear(11, 4)

    def forward(self, x):
        x = self.first(x)
        x = x.add_(1) if self.in_place else x + 1
        return self.head(torch.cat([x, self.block(x)], dim=1).mean((2, 3)))


@pytest.mark.parametrize("obstacle", ["in place", "hook", "stale", "memory"])
def test_a_check_that_cannot_use_a_prefix_runs_the_whole_network(monkeypatch, obstacle):
    # In place: what is stored is written to later, and would be once more.
    model = seeded(Branched(in_place=obstacle == "in place"))
    if obstacle == "hook":
        model.first.register_forward_hook(lambda module, args, output: output * 0.5)
    if obstacle == "stale":
        _make_stale(monkeypatch)
    if obstacle == "memory":
        monkeypatch.setattr(Prefix, "standing_in", _out_of_memory)
    rows, result = computed(model, engine="propagate")
    assert result.engine == "propagate"
    assert rows["first"] > 6
    assert all("forward" not in module.__dict__ for module in model.modules())


@pytest.mark.parametrize(
    ("obstacle", "again"),
    [
        ("in place", "first"),
        ("hook", "second"),
        ("pre-hook", "second"),
        ("hook on the target", None),
    ],
)
def test_a_prefix_that_cannot_be_kept_is_computed_again(obstacle, again):
    model = seeded(Wide(in_place=obstacle == "in place"))
    if obstacle == "hook":
        model.second.register_forward_hook(lambda module, args, output: output * 0.5)
    if obstacle == "hook on the target":
        model.block[1].register_forward_hook(lambda module, args, output: output + 0.25)
    if obstacle == "pre-hook":
        model.second.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    rows, result = computed(model)
    assert {name for name, count in rows.items() if count > 7} >= ({again} if again else set())
    replayed = [
        ablation_cam(model, "block.1", image[None], [c], engine="replay", memory_budget=1).drops[0]
        for image, c in zip(images(), result.classes, strict=True)
    ]
    torch.testing.assert_close(result.drops, torch.stack(replayed), rtol=1e-4, atol=1e-6)
    if obstacle == "in place":  # The reference's copy of a model leaves hooks behind.
        reference = ablation_cam_reference(model, "block.1", images(), result.classes)
        torch.testing.assert_close(result.drops.double(), reference.drops, rtol=1e-3, atol=1e-5)


def _make_stale(monkeypatch):
    fresh = Prefix.__init__

    def outdated(self, *args):
        fresh(self, *args)
        self._results = [(module, result + 1) for module, result in self._results]

    monkeypatch.setattr(Prefix, "__init__", outdated)


def _out_of_memory(self, rows):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_prefix_that_gives_another_score_is_not_used(monkeypatch):
    # The skip connection carries what comes before the layer past it.
    model = seeded(Skip())
    expected = ablation_cam(model, "conv", images(), engine="replay")
    _make_stale(monkeypatch)
    found = ablation_cam(model, "conv", images(), engine="replay")
    torch.testing.assert_close(found.drops, expected.drops, rtol=1e-4, atol=1e-6)


class Measured(nn.Module):
    """Counts in its forward with a torchmetrics metric, whose ``==`` is always true."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.metric = MeanMetric()
        self.conv = nn.Conv2d(4, 5, 3)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.conv(F.relu(self.stem(x))))
        self.metric.update(x.detach().mean())
        return self.head(x.mean((2, 3)))


def test_a_metric_in_the_network_is_not_taken_for_other_modules():
    model, x = seeded(Measured()), images()
    expected = ablation_cam(model, "conv", x, engine="replay").drops
    model.metric = nn.Identity()
    model.metric.update = lambda value: None
    plain = ablation_cam(model, "conv", x, engine="replay").drops
    assert torch.equal(expected, plain)


def test_the_prefix_is_stood_in_for_also_beside_a_metric():
    model, x = seeded(Measured()), images(1)
    with isolated(model):
        prefix = Prefix(model, Target(model.conv, "conv"), x, call)
    assert [module for module, _ in prefix._results] == [model.stem, model.conv]
