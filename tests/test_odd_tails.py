"""Tails that few networks have: whatever follows the target layer, drops are those of replay."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from lightning_ablationcam import ablation_cam, interaction
from tests.tails import alive, images, network


class Lambda(nn.Module):
    def __init__(self, function, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function

    def forward(self, x):
        return self.function(x, *self.parts)


def of(function, *parts):
    return (Lambda(function, *parts),)


ORDER = torch.tensor([3, 1, 5, 0, 2, 4, 1, 3])
MASK = torch.rand(6, 6, generator=torch.Generator().manual_seed(3)) > 0.4


def channel_attention(x):
    query, key = x.flatten(2), x.flatten(2).softmax(-1)
    return ((query @ key.mT / 6).softmax(-1) @ query).view_as(x)


def positions(x, embedding):
    return x + embedding(torch.arange(36)).T.reshape(1, 6, 6, 6)


def roll_windows(x):
    x = x.roll((1, -2), (2, 3)).unfold(2, 3, 3).unfold(3, 3, 3)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).relu().mean((2, 3)).view(-1, 24)


TAILS = {
    "adaptive max pool": (nn.AdaptiveMaxPool2d(2),),
    "amax over space": of(lambda x: x.amax((2, 3))),
    "avg pool with ceil": (
        nn.AvgPool2d(4, 3, 1, ceil_mode=True, count_include_pad=False),
        nn.Tanh(),
    ),
    "bilinear": of(lambda x, b: b(x.mean((2, 3)), x.amax((2, 3))), nn.Bilinear(6, 6, 4)),
    "cat with itself": of(lambda x: torch.cat([x, x.flip(1), x * 2], 1).relu()),
    "cat over space": of(lambda x: torch.cat([x, x.flip(1)], 2).sigmoid()),
    "channel attention": of(channel_attention),
    "clamp": of(lambda x: x.clamp(0.2, 0.9)),
    "clamp with tensors": of(lambda x: torch.minimum(x, x.mean((2, 3), keepdim=True))),
    "cosine classifier": of(lambda x: F.linear(F.normalize(x.mean((2, 3))), torch.eye(6).to(x))),
    "cumsum over channels": of(lambda x: x.cumsum(1).tanh()),
    "cumsum over space": of(lambda x: x.cumsum(2).tanh()),
    "dilated": (nn.Conv2d(6, 4, 3, padding=2, dilation=2), nn.ReLU()),
    "einsum": of(lambda x: torch.einsum("nchw,ndhw->ncd", x, x).relu()),
    "einsum with a constant": of(lambda x: torch.einsum("nchw,hw->nc", x, MASK.to(x)).exp()),
    "embedding": of(positions, nn.Embedding(36, 6)),
    "expand": of(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 3, 3) + x[..., :3, :3]),
    "flip channels": of(lambda x: x.flip(1) * x),
    "gather": of(lambda x: x.gather(1, ORDER.view(1, 8, 1, 1).expand(len(x), 8, 6, 6)).relu()),
    "glu": (nn.GLU(dim=1),),
    "glu over space": (nn.GLU(dim=3),),
    "group norm": (nn.GroupNorm(2, 6), nn.ReLU()),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2), nn.SiLU()),
    "hardtanh": (nn.Hardtanh(0.1, 0.8),),
    "index by mask": of(lambda x: x[:, :, MASK].relu()),
    "index": of(lambda x: x[:, ORDER][:, :, 1:5:2].relu()),
    "instance norm": (nn.InstanceNorm2d(6), nn.GELU()),
    "interpolate": of(lambda x: F.interpolate(x, size=(9, 5), mode="bilinear").tanh()),
    "interpolate bicubic": of(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic").tanh()),
    "kaleidoscope": of(lambda x: (x + x.flip(3) + x.transpose(2, 3)).relu()),
    "local response norm": (nn.LocalResponseNorm(2), nn.ReLU()),
    "log softmax over space": of(lambda x: x.flatten(2).log_softmax(2)),
    "lp pool": (nn.LPPool2d(2, 3),),
    "max over channels": of(lambda x: x.max(1).values),
    "max pool with ceil": (nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Tanh()),
    "max pool with indices": of(
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2).tanh()
    ),
    "maxout": of(lambda x: x.view(len(x), 3, 2, 6, 6).amax(2)),
    "meshed": of(lambda x: x * x.mean(1, keepdim=True) + x.amax(1, keepdim=True)),
    "multiplied with itself": of(lambda x: x * x + x.square() - x / (1 + x.abs())),
    "normalise": of(lambda x: F.normalize(x, dim=1)),
    "one number": of(lambda x: x.square().mean((1, 2, 3)).tanh()[:, None]),
    "pad reflect": (nn.ReflectionPad2d(2), nn.ReLU()),
    "pad replicate": (nn.ReplicationPad2d((1, 0, 2, 1)), nn.Conv2d(6, 4, 3), nn.ReLU()),
    "pad constant": (nn.ConstantPad2d((1, 2, 0, 1), 0.7), nn.Conv2d(6, 4, 3), nn.ReLU()),
    "pad channels": of(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)).cos()),
    "pixel shuffle": of(lambda x: F.pixel_shuffle(x[:, :4], 2).relu()),
    "pixel unshuffle": (nn.PixelUnshuffle(3), nn.ReLU()),
    "prelu": (nn.PReLU(6),),
    "prelu, one": (nn.PReLU(), nn.Conv2d(6, 4, 1), nn.PReLU(4)),
    "rms norm": of(lambda x, n: n(x.movedim(1, -1)), nn.RMSNorm(6, elementwise_affine=False)),
    "roll channels": of(lambda x: (x.roll(1, 1) * x).relu()),
    "roll windows": of(roll_windows),
    "softmax over channels": of(lambda x: x.softmax(1) * x),
    "softmax pooling": of(lambda x: (x.flatten(2).softmax(2) * x.flatten(2)).sum(2)),
    "sort over channels": of(lambda x: x.sort(dim=1).values),
    "sort over space": of(lambda x: x.flatten(2).sort(dim=2).values.tanh()),
    "space to batch": of(
        lambda x: x.view(-1, 6, 2, 18).transpose(1, 2).flatten(0, 1).relu().reshape(-1, 216)
    ),
    "spectral norm": (parametrizations.spectral_norm(nn.Conv2d(6, 4, 3)), nn.ReLU()),
    "std over channels": of(lambda x: x.std(1)),
    "std over space": of(lambda x: x.std((2, 3))),
    "topk over channels": of(lambda x: x.topk(3, dim=1).values),
    "topk over space": of(lambda x: x.flatten(2).topk(4).values.square()),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1), nn.ReLU()),
    "transposed, grouped": (nn.ConvTranspose2d(6, 6, 3, groups=6, stride=2), nn.ReLU()),
    "transposed, paired": (nn.ConvTranspose2d(6, 4, 3, groups=2), nn.ReLU()),
    "triangle": of(lambda x: x.tril().relu() + x.triu().sigmoid()),
    "unfold": of(lambda x: F.unfold(x, 3).relu()),
    "fold": of(lambda x: F.fold(F.unfold(x, 3).relu(), 6, 3).tanh()),
    "var mean": of(lambda x: torch.cat(torch.var_mean(x, (2, 3)), 1)),
    "weight norm": (parametrizations.weight_norm(nn.Conv2d(6, 4, 3)), nn.ReLU()),
    "where": of(lambda x: torch.where(MASK, x, -x.flip(1)).relu()),
    "where, by value": of(lambda x: torch.where(x > x.mean(1, keepdim=True), x, x * 0.1)),
    "masked fill": of(lambda x: x.masked_fill(MASK, -1.0).relu()),
    "masked by value": of(lambda x: x * (x > 0.6)),
    "grid sample": of(
        lambda x: F.grid_sample(
            x,
            torch.linspace(-1, 1, 18).view(1, 3, 3, 2).expand(len(x), -1, -1, -1).to(x),
            align_corners=False,
        ).tanh()
    ),
    "depthwise multiplier": (
        nn.Conv2d(6, 12, 3, groups=6),
        nn.ReLU(),
        nn.Conv2d(12, 4, 1, groups=2),
    ),
    "mixed dtypes": of(lambda x: x.float().relu().to(x.dtype) * 2 + x),
    "complex": of(lambda x: torch.fft.rfft2(x).abs()),
    "bmm gram": of(lambda x: torch.bmm(x.flatten(2), x.flatten(2).mT)),
    "cdist": of(
        lambda x: torch.cdist(x.flatten(2).mT, torch.eye(6)[:3].expand(len(x), -1, -1).to(x))
    ),
    "median": of(lambda x: x.flatten(2).median(2).values),
    "prod": of(lambda x: x.prod(1)),
    "logsumexp": of(lambda x: x.logsumexp((1, 2))),
}


def model_of(tail):
    """The tail followed by a nonlinear classifier of whatever it returns."""
    body = alive(network(*tail)).double()
    with torch.no_grad():
        width = body(images().double()).flatten(1).shape[1]
    torch.manual_seed(2)
    head = nn.Sequential(nn.Flatten(), nn.Linear(width, 5)).double()
    return nn.Sequential(*body, *head).eval()


@pytest.mark.parametrize("name", TAILS)
def test_odd_tails(name):
    model, inputs = model_of(TAILS[name]), images().double()
    fast = ablation_cam(model, "1", inputs, engine="propagate")
    slow = ablation_cam(model, "1", inputs, engine="replay")
    assert (fast.engine, slow.engine) == ("propagate", "replay")
    largest = slow.drops.abs().amax(dim=1, keepdim=True)
    assert (largest > 1e-6 * slow.scores.abs()[:, None]).all(), "ablation has no effect"
    assert ((fast.drops - slow.drops).abs() / largest).max() <= 1e-9


@pytest.mark.parametrize("name", TAILS)
def test_pairs_in_odd_tails(name):
    model, inputs = model_of(TAILS[name]), images().double()
    fast, slow = (
        interaction(model, "1", inputs, channels=[4, 0, 5, 2], engine=engine)
        for engine in ("propagate", "replay")
    )
    assert (fast.engine, slow.engine) == ("propagate", "replay")
    largest = slow.joint.abs().amax()
    assert (fast.joint - slow.joint).abs().max() <= 1e-9 * largest
    assert (fast.drops - slow.drops).abs().max() <= 1e-9 * largest
