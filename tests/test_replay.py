from __future__ import annotations

import torch

from lightning_ablationcam import ablation_cam
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
    result = ablation_cam(model, "conv", x, forward=counted(model, rows))
    assert not result.drops[:, 2:].any()
    assert result.drops[:, :2].all()
    # The intact batch, then two pairs and one intact row for each image.
    assert rows == [3, 3 * 3]


def test_memory_budget_sets_the_batch():
    model, x = seeded(Skip()), images()
    sizes = {}
    for budget in (1, 30_000, None):
        rows = []
        ablation_cam(model, "conv", x, memory_budget=budget, forward=counted(model, rows))
        sizes[budget] = max(rows[1:])
    assert sizes[1] == 2
    assert 2 < sizes[30_000] < sizes[None] == 3 * 6 + 3


def test_running_out_of_memory_halves_the_batch():
    model, x, rows = seeded(Skip()), images(), []
    expected = ablation_cam(model, "conv", x)

    def forward(module, inputs):
        if len(inputs) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        rows.append(len(inputs))
        return module(inputs)

    result = ablation_cam(model, "conv", x, forward=forward)
    assert max(rows) <= 6
    error = (result.drops - expected.drops).abs().max() / expected.drops.abs().max()
    assert error < 1e-5
