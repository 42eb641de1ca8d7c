"""Propagation against replay, which shares no code with it, and against the float64 loop."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine import propagate, rules
from tests.reference import ablation_cam_reference
from tests.tails import (
    ChannelNorm,
    DenseConcat,
    Residual,
    Shuffle,
    SplitAndJoin,
    SqueezeExcite,
    alive,
    images,
    network,
)

POOLED = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


def agree(model, inputs, layer="1", bound=1e-9, **options):
    """Largest error relative to the image's largest drop, in float64."""
    model, inputs = copy.deepcopy(model).double().eval(), inputs.double()
    fast = ablation_cam(model, layer, inputs, engine="propagate", **options)
    slow = ablation_cam(model, layer, inputs, engine="replay", **options)
    assert fast.engine == "propagate"
    assert slow.engine == "replay"
    largest = slow.drops.abs().amax(dim=1, keepdim=True)
    assert (largest > 1e-6 * slow.scores.abs()[:, None]).all(), "ablation has no effect"
    error = ((fast.drops - slow.drops).abs() / largest).max()
    assert error <= bound, f"off by {error:.1e}"
    return fast


TAILS = {
    "pool": POOLED,
    "batch norm": (nn.BatchNorm2d(6), nn.ReLU(inplace=True), *POOLED),
    "flatten": (nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 5)),
    "two linears": (nn.Flatten(), nn.Linear(216, 7), nn.ReLU(), nn.Linear(7, 5)),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6), nn.SiLU(), *POOLED[:2], nn.Linear(12, 5)),
    "grouped": (nn.Conv2d(6, 6, 3, groups=3), nn.ReLU(), *POOLED),
    "convolution": (nn.Conv2d(6, 6, 3, stride=2), nn.BatchNorm2d(6), nn.GELU(), *POOLED),
    "transposed": (nn.ConvTranspose2d(6, 6, 2, stride=2), nn.ReLU(), *POOLED),
    "residual": (Residual(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)), nn.ReLU(), *POOLED),
    "concatenation": (DenseConcat(nn.BatchNorm2d(6)), nn.ReLU(), *POOLED[:2], nn.Linear(12, 5)),
    "dense block": (DenseConcat(nn.Conv2d(6, 2, 1)), nn.ReLU(), *POOLED[:2], nn.Linear(8, 5)),
    "squeeze and excite": (SqueezeExcite(6), *POOLED),
    "shuffle": (Shuffle(), nn.BatchNorm2d(6), nn.ReLU(), *POOLED),
    "pixel shuffle": (nn.PixelShuffle(1), nn.PixelUnshuffle(2), *POOLED[:2], nn.Linear(24, 5)),
    "split": (SplitAndJoin(), *POOLED),
    "layer norm over channels": (ChannelNorm(6), *POOLED),
    "layer norm, then nonlinear": (ChannelNorm(6), nn.GELU(), *POOLED),
    "group norm": (nn.GroupNorm(3, 6), *POOLED),
    "group norm, one each": (nn.GroupNorm(6, 6), nn.ReLU(), *POOLED),
    "instance norm": (nn.InstanceNorm2d(6, affine=True), nn.ReLU(), *POOLED),
    "local response norm": (nn.LocalResponseNorm(3), *POOLED),
    "softmax over channels": (nn.Softmax(dim=1), nn.BatchNorm2d(6), *POOLED),
    "softmax over space": (nn.Flatten(2), nn.Softmax(dim=2), nn.Flatten(), nn.Linear(216, 5)),
    "dropout": (nn.Dropout2d(), *POOLED[:2], nn.Dropout(), POOLED[2]),
    "upsampling": (nn.Upsample(scale_factor=2, mode="bilinear"), nn.ReLU(), *POOLED),
    "padding": (nn.ZeroPad2d(1), nn.ReLU(), nn.AvgPool2d(2), *POOLED),
    "hardswish": (*POOLED[:2], nn.Linear(6, 9), nn.Hardswish(inplace=True), nn.Linear(9, 5)),
    "softmax at the end": (*POOLED, nn.Softmax(dim=1)),
    "convolutional classifier": (nn.Conv2d(6, 5, 1), nn.ReLU(), *POOLED[:2]),
}


@pytest.mark.parametrize("name", TAILS)
def test_tails(name):
    agree(alive(network(*TAILS[name])), images())


@pytest.mark.parametrize("ablation", ["mean", 0.5, torch.Tensor.flip])
@pytest.mark.parametrize("name", ["flatten", "two linears", "convolution", "softmax over channels"])
def test_ablations(name, ablation):
    if callable(ablation):
        ablation = lambda activations: activations.flip(-1) * 0.3  # noqa: E731
    agree(alive(network(*TAILS[name])), images(), ablation=ablation)


@pytest.mark.parametrize(
    "name", ["flatten", "two linears", "convolution", "layer norm over channels"]
)
@pytest.mark.parametrize("groups", [[0, 1, 0, 2, 2, 2], [5, 5, 5, 5, 5, 5], [3, 1, 2, 0, 5, 4]])
def test_groups(name, groups):
    agree(alive(network(*TAILS[name])), images(), groups=groups)


@pytest.mark.parametrize(
    "score", ["probability", lambda output, classes: output.square().sum(1) * (classes + 1)]
)
@pytest.mark.parametrize("name", ["pool", "two linears", "convolution"])
def test_scores(name, score):
    agree(alive(network(*TAILS[name])), images(), score=score, classes=[1, 4])


@pytest.mark.parametrize("dimensions", [1, 3])
def test_other_dimensions(dimensions):
    torch.manual_seed(0)
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dimensions]
    pool = {1: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveAvgPool3d}[dimensions]
    most = {1: nn.MaxPool1d, 3: nn.MaxPool3d}[dimensions]
    tail = (most(2), conv(4, 5, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(5, 3))
    model = nn.Sequential(conv(2, 4, 3), nn.Softplus(), *tail)
    options = {"layout": "NCHW"} if dimensions == 1 else {}
    inputs = torch.rand(2, 2, *[9] * dimensions)
    agree(model, inputs, **options)
    found = ablation_cam(model, "auto", inputs)
    assert found.layer == "4"
    assert found.heatmaps.shape == (2, *([1] * (dimensions == 1) + [3] * dimensions))


def test_channels_last():
    model = alive(network(*TAILS["convolution"])).to(memory_format=torch.channels_last)
    agree(model, images().contiguous(memory_format=torch.channels_last))


class SkipAroundTarget(nn.Module):
    def __init__(self, *, in_place: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 1)
        self.target = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)
        self.in_place = in_place

    def forward(self, x):
        x = self.stem(x)
        y = self.target(x)
        if self.in_place:
            x += y
        else:
            x = x + y * 2
        return self.head(x.relu_().mean((2, 3)))


@pytest.mark.parametrize("in_place", [False, True])
def test_a_skip_connection_around_the_target_is_constant(in_place):
    agree(SkipAroundTarget(in_place=in_place), images(), layer="target")


def test_a_constant_that_depends_on_the_image():
    agree(SkipAroundTarget(), images(3), layer="target", classes=[0, 1, 2])


def test_unchanged_channels_have_a_drop_of_exactly_zero():
    model = alive(network(*TAILS["convolution"]))
    model[0].weight.data[2] = 0
    model[0].bias.data[2] = 0
    model[1] = nn.ReLU()
    result = ablation_cam(model, "1", images(), engine="propagate")
    assert (result.drops[:, 2] == 0).all()
    assert (result.drops != 0).any()


def test_nothing_is_left_when_every_channel_is_dead():
    model = network(nn.Conv2d(6, 6, 3), nn.ReLU(), *POOLED)
    model[1] = nn.Threshold(1e9, 0.0)
    result = ablation_cam(model, "1", images(), engine="propagate")
    assert (result.drops == 0).all()


def test_one_channel_and_one_pixel():
    agree(network(nn.Flatten(), nn.Linear(1, 5), channels=1), torch.rand(2, 3, 1, 1))


def test_against_the_float64_loop_in_float32():
    model = alive(network(*TAILS["convolution"]))
    inputs = images()
    reference = ablation_cam_reference(model, "1", inputs, [1, 2])
    largest = reference.drops.abs().amax(dim=1, keepdim=True)

    def error(engine):
        drops = ablation_cam(model, "1", inputs, [1, 2], engine=engine).drops
        return float(((drops.double() - reference.drops).abs() / largest).max())

    assert error("propagate") <= min(1e-3, 2 * error("replay"))


def test_two_memory_budgets_give_the_same_result():
    model = alive(network(*TAILS["convolution"]))
    small, large = (
        ablation_cam(model, "1", images(), engine="propagate", memory_budget=budget).drops
        for budget in (1, 10**9)
    )
    torch.testing.assert_close(small, large)


def test_chunks_are_halved_when_memory_runs_out(monkeypatch):
    model = alive(network(*TAILS["convolution"]))
    whole = ablation_cam(model, "1", images(), engine="propagate").drops
    sizes = []
    run = propagate._Tail.run_mixed

    def short_of_memory(self, groups):
        sizes.append(len(groups))
        if len(groups) > 2:
            raise torch.OutOfMemoryError
        return run(self, groups)

    monkeypatch.setattr(propagate._Tail, "run_mixed", short_of_memory)
    halved = ablation_cam(model, "1", images(), engine="propagate").drops
    # The pass before found out that all six fit.
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]
    torch.testing.assert_close(halved, whole)


@pytest.mark.parametrize("op", ["relu", "mean", "addcmul"])
def test_a_wrong_rule_is_caught(monkeypatch, op):
    model = alive(network(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.ReLU(), *POOLED))
    aten = torch.ops.aten
    if op == "relu":
        monkeypatch.setitem(
            rules.RULES.of_linear_parts, aten.relu.default, lambda node, shapes: node
        )
    elif op == "mean":
        monkeypatch.setitem(
            rules.RULES.of_owners, aten.convolution.default, rules.pointwise.entry_by_entry
        )
    else:
        monkeypatch.setitem(rules.RULES.of_linear_parts, aten.mean.dim, lambda node, shapes: None)
        monkeypatch.setitem(
            rules.RULES.of_owners,
            aten.addcmul.default,
            lambda bound: bound.channelwise()[0].owner.flip(1),
        )
    with pytest.raises(RuntimeError, match="off by"):
        ablation_cam(model, "1", images(), engine="propagate")
    with pytest.warns(UserWarning, match="off by"):
        result = ablation_cam(model, "1", images())
    assert result.engine == "replay"


@pytest.mark.parametrize("shut", [0, 24, 40])
def test_units_that_stay_shut_are_left_out_of_products(monkeypatch, shut):
    tail = (nn.Flatten(), nn.Linear(216, 40), nn.ReLU(), nn.Linear(40, 30), nn.Tanh())
    model = network(*tail, nn.Linear(30, 5))
    with torch.no_grad():
        model[3].bias.fill_(1.0)[:shut] = -1e3
    monkeypatch.setattr(rules.mixing, "MIN_PRODUCT", 1)
    monkeypatch.setattr(rules.mixing, "GATHERED_BYTES", 16 * 8 * 12)
    sizes = []
    gathered = rules.mixing._gathered
    monkeypatch.setattr(
        rules.mixing,
        "_gathered",
        lambda matrix, live: sizes.append((len(live), matrix.shape[1])) or gathered(matrix, live),
    )
    if shut < 40:
        agree(model, images())
    else:
        assert not ablation_cam(model, "1", images(), engine="propagate").drops.any()
    assert {live for live, _ in sizes} == ({40 - shut} if shut else set())
    # In blocks of the matrix, the last of which is smaller.
    assert {width for _, width in sizes} >= ({12, 6} if shut == 24 else set())


def test_a_program_is_checked_once(monkeypatch):
    from lightning_ablationcam.engine.replay import Replay

    model = alive(network(*TAILS["batch norm"]))
    calls = []
    monkeypatch.setattr(
        Replay,
        "pair_drops",
        lambda self, *args, run=Replay.pair_drops: calls.append(1) or run(self, *args),
    )
    for _ in range(3):
        ablation_cam(model, "1", images(), engine="propagate")
    assert len(calls) == 1
    ablation_cam(model, "1", images(3), engine="propagate")
    assert len(calls) == 2


class Custom(nn.Module):
    def forward(self, x):
        return x * 2 if float(x.sum()) > 0 else x


def test_the_warning_names_op_and_module():
    model = network(Custom(), *POOLED)
    with pytest.warns(UserWarning, match=r"aten\._local_scalar_dense.*in 2, a Custom") as caught:
        result = ablation_cam(model, "1", images())
    assert len(caught) == 1
    assert result.engine == "replay"
    with pytest.raises(RuntimeError, match=r"engine='propagate' cannot run here.*choose"):
        ablation_cam(model, "1", images(), engine="propagate")


def test_a_rule_that_fails_names_its_op(monkeypatch):
    def fails(node, context):
        raise KeyError("unexpected")

    monkeypatch.setitem(rules.RULES.of_changes, torch.ops.aten.convolution.default, fails)
    model = alive(network(*TAILS["convolution"]))
    with pytest.warns(UserWarning, match=r"aten\.convolution.*unexpected.*in 2, a Conv2d"):
        assert ablation_cam(model, "1", images()).engine == "replay"


def test_batch_statistics_are_replayed():
    model = network(nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU(), *POOLED)
    with pytest.warns(UserWarning, match="statistics of the batch"):
        assert ablation_cam(model, "1", images()).engine == "replay"


def test_the_default_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ablation_cam(network(*POOLED), "1", images()).engine == "propagate"


KEEPING = {
    "conv": lambda c: nn.Conv2d(c, c, 3, padding=1),
    "pointwise": lambda c: nn.Conv2d(c, c, 1),
    "depthwise": lambda c: nn.Conv2d(c, c, 3, padding=1, groups=c),
    "bn": nn.BatchNorm2d,
    "relu": lambda c: nn.ReLU(),
    "relu_": lambda c: nn.ReLU(inplace=True),
    "silu": lambda c: nn.SiLU(),
    "hardswish_": lambda c: nn.Hardswish(inplace=True),
    "gelu": lambda c: nn.GELU(),
    "max pool": lambda c: nn.MaxPool2d(3, stride=1, padding=1),
    "avg pool": lambda c: nn.AvgPool2d(3, stride=1, padding=1),
    "se": SqueezeExcite,
    "residual": lambda c: Residual(nn.Conv2d(c, c, 1), nn.BatchNorm2d(c)),
    "residual norm": lambda c: Residual(nn.BatchNorm2d(c), nn.ReLU()),
    "concat": lambda c: nn.Sequential(DenseConcat(nn.Conv2d(c, c, 1)), nn.Conv2d(2 * c, c, 1)),
    "shuffle": lambda c: Shuffle(),
    "split": lambda c: SplitAndJoin(),
    "layer norm": ChannelNorm,
    "group norm": lambda c: nn.GroupNorm(2, c),
}
HEADS = {
    "pool": lambda c: (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 4)),
    "flatten": lambda c: (nn.Flatten(), nn.Linear(16 * c, 4)),
    "deep": lambda c: (nn.Flatten(), nn.Linear(16 * c, 5), nn.Tanh(), nn.Linear(5, 4)),
    "norm": lambda c: (nn.Flatten(2), nn.LayerNorm(16), nn.Flatten(), nn.Linear(16 * c, 4)),
}


@settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    blocks=st.lists(st.sampled_from(sorted(KEEPING)), max_size=6),
    head=st.sampled_from(sorted(HEADS)),
    groups=st.one_of(st.none(), st.lists(st.integers(0, 3), min_size=4, max_size=4)),
    ablation=st.sampled_from(["zero", "mean", 0.25]),
    score=st.sampled_from(["logit", "probability"]),
)
def test_random_networks(blocks, head, groups, ablation, score):
    tail = [*(KEEPING[name](4) for name in blocks), *HEADS[head](4)]
    model = alive(network(*tail, channels=4)).double()
    inputs = images(size=4).double()
    options = {"groups": groups, "ablation": ablation, "score": score}
    fast = ablation_cam(model, "1", inputs, engine="propagate", **options).drops
    slow = ablation_cam(model, "1", inputs, engine="replay", **options).drops
    rounding = 1e-13 if slow.abs().max() < 1e-9 else 0
    assert (fast - slow).abs().max() <= 1e-9 * slow.abs().max() + rounding
