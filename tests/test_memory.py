"""The memory that a pass really takes, against its budget."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine import propagate
from lightning_ablationcam.engine.memory import MIN_SHARE, PeakMemory, left
from tests.tails import ChannelNorm, Residual, alive, images, network

NONLINEAR = (
    nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(inplace=True),
    Residual(nn.Conv2d(16, 16, 3, padding=1, groups=2), nn.GELU()), ChannelNorm(16),
    nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
)  # fmt: skip


def test_peak_memory():
    kept = torch.ones(1000)
    with PeakMemory() as memory:
        first = torch.ones(100) + 1
        assert memory.now == 400
        assert memory.peak == 800
        view = first.view(10, 10)[2:]
        kept.add_(1)
        kept[3:] * 1
        assert memory.peak == 400 + 4 * 997
        del first
        assert memory.now == 400
        del view
        assert memory.now == 0


def test_what_is_left_of_a_budget():
    assert left(1000, 300) == 700
    assert left(1000, 5000) == int(1000 * MIN_SHARE)


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_memory_stays_within_the_budget(engine, score):
    model = alive(network(*NONLINEAR, channels=16)).double()
    inputs = images(4, size=16).double()
    options = {"score": score, "classes": 1}
    expected = ablation_cam(model, "1", inputs, engine="replay", **options).drops
    peaks = {}
    for budget in (800_000, 1_600_000, 6_000_000):
        with PeakMemory() as memory:
            found = ablation_cam(
                model, "1", inputs, engine=engine, memory_budget=budget, **options
            ).drops
        error = (found - expected).abs().amax(1) / expected.abs().amax(1)
        assert error.max() <= 1e-9
        assert memory.peak <= budget
        peaks[budget] = memory.peak
    # A budget should be used: more memory gives fewer, larger batches. (Replay takes one image
    # at a time, and all its channels together need less than the largest budget.)
    assert engine == "replay" or peaks[6_000_000] > 6_000_000 / 2
    assert peaks[6_000_000] > peaks[1_600_000] > peaks[800_000]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_a_layer_norm_does_to_each_channel_is_never_written_out(monkeypatch, count):
    channels, size = 32, 5
    model = alive(network(ChannelNorm(channels), *NONLINEAR[-3:-1], nn.Linear(channels, 5),
                          channels=channels)).double()  # fmt: skip
    inputs, chunks = images(count, size=size).double(), []
    run = propagate._Tail.run_mixed
    monkeypatch.setattr(
        propagate._Tail,
        "run_mixed",
        lambda self, groups: chunks.append(len(groups)) or run(self, groups),
    )
    expected = ablation_cam(model, "1", inputs, engine="replay").drops
    ablation_cam(model, "1", inputs, engine="propagate")
    chunks.clear()
    with PeakMemory() as memory:
        found = ablation_cam(model, "1", inputs, engine="propagate").drops
    torch.testing.assert_close(found, expected)
    assert chunks == [channels]
    assert memory.peak < channels * inputs[:, :1].numel() * channels * 8
