from __future__ import annotations

import pytest
import torch

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine.recorder import call
from lightning_ablationcam.engine.replay import bytes_per_image
from tests.networks import Skip, images, seeded


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
    # The intact batch, one image to see what it needs, two pairs and one intact row for each image.
    assert rows == [3, 1, 3 * 3]


def test_memory_budget_sets_the_batch():
    model, x = seeded(Skip()), images()
    sizes = {}
    each = bytes_per_image(model, x, call)
    for budget in (1, 20 * each, 10**9):
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
    assert 2 < sizes[20 * each] < 20
    assert sizes[10**9] == 3 * 6 + 3


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
