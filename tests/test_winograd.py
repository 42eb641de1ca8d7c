"""Convolutions with fewer multiplications, against the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine import propagate, winograd
from lightning_ablationcam.engine.winograd import Winograd, suits
from tests.tails import Residual, alive, images, network

SIZES = [(7, 7), (14, 14), (7, 5), (3, 4), (13, 6), (8, 9), (1, 2), (28, 11)]


def kernel(out=5, channels=4, side=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(out, channels, side, side, generator=generator, dtype=dtype)


@pytest.mark.parametrize("padding", [(1, 1), (2, 1), (0, 0)])
@pytest.mark.parametrize("size", SIZES)
def test_equals_a_convolution(size, padding):
    if min(side + 2 * zeros for side, zeros in zip(size, padding, strict=True)) < 3:
        pytest.skip("the kernel is larger than the map")
    maps = torch.randn(3, 4, *size, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.conv2d(maps, kernel(), padding=padding)
    found = Winograd(kernel(), padding)(maps)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 * float(expected.abs().max()))
    assert found.is_contiguous(memory_format=torch.channels_last)
    laid_out = maps.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(Winograd(kernel(), padding)(laid_out), found, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(7, 7), (14, 14)])
def test_rounds_little_more_than_a_convolution(size):
    weight = kernel(256, 256)
    maps = torch.randn(2, 256, *size, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.conv2d(maps, weight, padding=1)

    def error(result):
        return float((result - expected).abs().max() / expected.abs().max())

    direct = error(torch.conv2d(maps.float(), weight.float(), padding=1))
    assert error(Winograd(weight.float(), (1, 1))(maps.float())) < max(8 * direct, 4e-6)


def test_where_it_pays():
    assert suits(torch.empty(256, 512, 3, 3), (7, 7), (1, 1))
    assert not suits(torch.empty(128, 512, 3, 3), (7, 7), (1, 1))
    assert not suits(torch.empty(256, 256, 5, 5), (7, 7), (2, 2))
    assert not suits(torch.empty(256, 256, 3, 3, dtype=torch.bfloat16), (7, 7), (1, 1))
    # One result takes nine multiplications either way, and too small a map gives none.
    assert not suits(torch.empty(256, 256, 3, 3), (1, 1), (1, 1))
    assert not suits(torch.empty(256, 256, 3, 3), (2, 9), (0, 0))
    assert not suits(torch.empty(256, 256, 3, 3, device="meta"), (7, 7), (1, 1))


TAIL = (
    nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
    Residual(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1)),
    nn.ReLU(), nn.ZeroPad2d(1), nn.Conv2d(8, 8, 3), nn.GELU(),
    nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 2, 2), nn.ReLU(),
    nn.Conv2d(8, 8, 3, 1, 1, groups=2), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
)  # fmt: skip


@pytest.fixture
def used(monkeypatch):
    """The shapes that were convolved, with kernels of any number of channels."""
    monkeypatch.setattr(propagate, "WORTH_TRANSFORMING", 0)
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    shapes, run = [], Winograd.__call__
    monkeypatch.setattr(
        Winograd, "__call__", lambda self, maps: shapes.append(maps.shape[1:]) or run(self, maps)
    )
    return shapes


def test_only_plain_convolutions_of_a_pass_are_replaced(used):
    model = alive(network(*TAIL)).double()
    inputs = images(2, size=7).double()
    slow = ablation_cam(model, "1", inputs, engine="replay").drops
    found = ablation_cam(model, "1", inputs, engine="propagate", memory_budget=10**8)
    assert (found.drops - slow).abs().max() <= 1e-9 * slow.abs().max()
    # Two in the block and the padded one; not those with a stride, dilation or groups.
    assert set(used) == {(8, 7, 7)}
    assert len(used) % 3 == 0
    in_small_chunks = ablation_cam(model, "1", inputs, engine="propagate", memory_budget=200_000)
    torch.testing.assert_close(in_small_chunks.drops, found.drops)


def test_kernels_are_kept_within_the_budget(used, monkeypatch):
    model = alive(network(*TAIL))
    tails = {}
    transform = propagate._Tail.transform_kernels

    def spied(self, budget):
        transform(self, budget)
        tails[budget] = self

    monkeypatch.setattr(propagate._Tail, "transform_kernels", spied)
    for budget in (10**8, 20_000, 1):
        ablation_cam(model, "1", images(2, size=7), engine="propagate", memory_budget=budget)
        assert tails[budget].kernel_bytes <= propagate.KERNELS_SHARE * budget
    # Not the first convolution, which takes each channel apart.
    assert [len(tail.fast) for tail in tails.values()] == [3, 0, 0]
    large = tails[10**8]
    plain = sum(kernel.nbytes for kernel in large.fast.values())
    assert plain < large.kernel_bytes < large.bytes_kept()
