"""Signals, volumes and films: channels first, channels last, and tokens."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ablation_cam
from tests.networks import seeded
from tests.reference import ablation_cam_reference

ENGINES = pytest.mark.parametrize("engine", ["propagate", "replay"])


class First(nn.Module):
    """Channels first, one or three dimensions."""

    def __init__(self, dims):
        super().__init__()
        conv, self.pool = ((nn.Conv1d, F.max_pool1d), None, (nn.Conv3d, F.max_pool3d))[dims - 1]
        self.conv = conv(2, 5, 3, padding=1)
        self.mix = conv(5, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.pool(F.relu(self.conv(x)), 2)
        return self.head(F.relu(self.mix(x)).flatten(2).mean(2))


class Last(nn.Module):
    """Channels last in three dimensions, as film transformers have them."""

    def __init__(self, tokens=False):
        super().__init__()
        self.patches = nn.Conv3d(2, 6, 2, stride=2)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)
        self.start = nn.Parameter(torch.rand(1, 1, 6))
        self.tokens = tokens

    def forward(self, x):
        x = self.patches(x).movedim(1, -1)
        if self.tokens:
            x = torch.cat([self.start.expand(len(x), 1, 6), x.flatten(1, 3)], dim=1)
        x = F.gelu(self.mix(self.norm(x)))
        return self.head(x.flatten(1, -2).mean(1))


def films(*sizes):
    return torch.rand(2, 2, *sizes, generator=torch.Generator().manual_seed(0)).double()


@ENGINES
@pytest.mark.parametrize("sizes", [(16,), (4, 6, 8)])
def test_channels_first(engine, sizes):
    model, x = seeded(First(len(sizes))).double(), films(*sizes)
    result = ablation_cam(model, "conv", x, 1, engine=engine)
    reference = ablation_cam_reference(model, "conv", x, [1, 1])
    torch.testing.assert_close(result.drops, reference.drops, rtol=1e-9, atol=1e-12)
    heat = result.heatmaps.view(reference.heatmaps.shape).double()
    torch.testing.assert_close(heat, reference.heatmaps, rtol=1e-5, atol=1e-6)
    assert result.heatmaps.shape[1:] == (sizes if len(sizes) == 3 else (1, *sizes))
    auto = ablation_cam(model, "auto", x, engine=engine)
    assert auto.layer == "mix:activation"


@ENGINES
def test_channels_last(engine):
    model, x = seeded(Last()).double(), films(4, 8, 8)
    result = ablation_cam(model, "norm", x, 1, engine=engine)
    reference = ablation_cam_reference(
        model, "norm", x, [1, 1], channel_dim=-1, to_maps=lambda a: a.movedim(-1, 1)
    )
    torch.testing.assert_close(result.drops, reference.drops, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.heatmaps.double(), reference.heatmaps, rtol=1e-5, atol=1e-6)
    assert result.heatmaps.shape == (2, 2, 4, 4)


@ENGINES
@pytest.mark.parametrize("layout", ["auto", "tokens:1+2x4x4"])
def test_tokens(engine, layout):
    model, x = seeded(Last(tokens=True)).double(), films(4, 8, 8)
    result = ablation_cam(model, "norm", x, 1, engine=engine, layout=layout)
    reference = ablation_cam_reference(
        model,
        "norm",
        x,
        [1, 1],
        channel_dim=-1,
        to_maps=lambda a: a[:, 1:].movedim(-1, 1).view(1, 6, 2, 4, 4),
    )
    torch.testing.assert_close(result.drops, reference.drops, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.heatmaps.double(), reference.heatmaps, rtol=1e-5, atol=1e-6)
