"""Written-out copies: their order in memory, and that none is overwritten while it is needed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine import rules
from lightning_ablationcam.engine.values import Channelwise, laid_out
from tests.tails import SqueezeExcite, alive, images, network
from tests.test_propagate import agree


class Reads(nn.Module):
    """Reads the result of a convolution in several ways."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        return self.second(self.how(self.first(x))).mean((2, 3))


HOW = {
    "before and after an activation": lambda x: x + F.relu(x),
    "after and before an activation": lambda x: F.relu(x) + x,
    "before and after a clamp": lambda x: x * 0.5 + F.relu6(x * 8),
    "the same twice": lambda x: x + x,
    "its square": lambda x: x * x,
    "scaled and itself": lambda x: (x * 3) + x,
    "itself and scaled": lambda x: x.sub(x * 0.3).relu(),
    "gated": lambda x: x * torch.sigmoid(x),
    "gated by a smaller one": lambda x: x * x.mean((2, 3), keepdim=True).tanh() + x,
    "gated from the left": lambda x: x.mean((2, 3), keepdim=True).sigmoid() * x,
    "gated by one of fewer dimensions": lambda x: (x[None] * x.sigmoid())[0],
    "a view and itself": lambda x: F.silu(x.transpose(2, 3)) + x,
    "itself and a view": lambda x: F.relu(x) + x.flip(1) * x.view(-1, 6, 36).view(-1, 6, 6, 6),
    "a part in place": lambda x: torch.cat([x[:, :3].relu(), x[:, 3:]], 1) + x,
    "padded with nothing": lambda x: F.pad(x, (0, 0)).relu() + x,
    "padded unevenly": lambda x: F.pad(x, (0, 1, 2, 0)).relu(),
    "a sum that widens": lambda x: x.mean((2, 3), keepdim=True) + x,
    "a constant that widens": lambda x: x * torch.arange(4.0, dtype=x.dtype).view(4, 1, 1, 1, 1),
    "clamped to limits": lambda x: F.hardtanh(x, -0.2, max_val=0.3) + F.hardtanh(x),
    "leaky": lambda x: F.leaky_relu(x, 0.2) + F.elu(x, 0.5),
    "hard": lambda x: F.hardswish(x) + F.hardsigmoid(x) + F.mish(x) + F.gelu(x, approximate="tanh"),
}


@pytest.mark.parametrize("name", HOW)
def test_values_that_are_read_again_are_not_overwritten(name):
    how = HOW[name]
    if name == "a constant that widens":
        how = lambda x: HOW[name](x).sum(0)  # noqa: E731
    agree(network(Reads(how)), images())


@pytest.mark.parametrize("name", ["gated", "before and after an activation", "clamped to limits"])
def test_one_copy_at_a_time(name):
    model = network(Reads(HOW[name]))
    small, large = (
        ablation_cam(model, "1", images(), engine="propagate", memory_budget=budget).drops
        for budget in (1, 10**9)
    )
    torch.testing.assert_close(small, large)


def test_maps_keep_their_channels_last(monkeypatch):
    seen, op = [], torch.ops.aten.convolution.default
    run = rules.RULES.of_changes[op]

    def spied(node, context):
        value = context.value(node.args[0].index)
        change = run(node, context)
        copies = [found for found in (value, change) if not isinstance(found, Channelwise)]
        seen.extend(found.delta.flatten(0, 1) for found in copies)
        seen.append(context.base(node.defined()[0]))
        return change

    monkeypatch.setitem(rules.RULES.of_changes, op, spied)
    tail = (
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(8, 8, 3, groups=8, stride=2), nn.SiLU(), SqueezeExcite(8), nn.AvgPool2d(2, 1),
        nn.MaxPool2d(2, 1), nn.Conv2d(8, 8, 1), nn.Hardtanh(), nn.Conv2d(8, 8, 3, dilation=2),
        nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    agree(alive(network(*tail)), images(2, size=16))
    assert len(seen) > 10
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)


def test_what_is_laid_out():
    maps = torch.rand(2, 3, 4, 5)
    assert laid_out(maps).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(laid_out(maps), maps)
    for other in (torch.rand(2, 3, 4), maps.bfloat16(), maps > 0.5, maps.to("meta")):
        assert laid_out(other) is other
