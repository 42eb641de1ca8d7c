"""A target is a value: what a module returns, is given, or what pointwise operations make of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.network.layers import LayerError
from lightning_ablationcam.network.targets import find_target
from tests.networks import images, seeded
from tests.reference import ablation_cam_reference

CLASSES = [1, 0, 2]


class Marked(nn.Module):
    """Every value that tests ask for passes a module of its own, for the reference."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.bn = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32, 4)
        self.mark = nn.ModuleDict({name: nn.Identity() for name in MARKS})
        self.bn.running_mean.uniform_(-0.5, 0.5)
        self.bn.running_var.uniform_(0.5, 2)
        nn.init.uniform_(self.bn.bias, 0.2, 0.5)

    def forward(self, x):
        x = self.mark["first"](self.act(self.mark["before first"](self.bn(self.conv(x)))))
        x = self.mark["second"](self.second(x))
        x = self.end(x)
        return self.head(self.pool(x).flatten(1))

    def end(self, x):
        return self.mark["end"](self.act(x))


class Functional(Marked):
    def end(self, x):
        return self.mark["end"](F.relu6(x + 0.1) * 0.5)


class Swish(Marked):
    """The value is read twice, but only by pointwise operations."""

    def end(self, x):
        return self.mark["end"](x * torch.sigmoid(x) + 0.3)


class Gated(Marked):
    """What follows is not pointwise: the gate depends on all positions."""

    def end(self, x):
        return self.mark["end"](x * x.mean((2, 3), keepdim=True).sigmoid())


class ReadAgain(Marked):
    """The value before the rectifier is read by something else, too."""

    def end(self, x):
        return self.mark["end"](x.relu() + x.mean((2, 3), keepdim=True))


class Skipping(Marked):
    """A constant is added: the sum is what goes on."""

    def end(self, x):
        shortcut = torch.linspace(-1, 1, x[0].numel(), dtype=x.dtype).view_as(x[0])
        x += shortcut
        return self.mark["end"](F.silu(x))


class InPlace(Marked):
    def end(self, x):
        return self.mark["end"](x.mul_(2).relu_())


class Recurrent(Marked):
    """The tail cannot be recorded: replay has to find the value as well."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 5, batch_first=True)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = self.mark["second"](self.second(self.act(self.conv(x))))
        x = self.mark["end"](F.gelu(x))
        return self.head(self.rnn(x.flatten(2).mT)[0][:, -1])


class Compiled(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.inside = torch.compile(inside)

    def forward(self, x):
        return self.inside(x)


MARKS = ("before first", "first", "second", "end")
ASKED = [
    # network, target, the module of the reference, the name it gets
    (Marked, "bn:activation", "mark.first", "bn:activation"),
    (Marked, "act#0", "mark.first", "act#0"),
    (Marked, "act#-1", "mark.end", "act#1"),
    (Marked, "act#0:input", "mark.before first", "act#0:input"),
    (Marked, "conv:activation", "mark.first", "conv:activation"),
    (Marked, "second", "mark.second", "second"),
    (Marked, "second:activation", "mark.end", "second:activation"),
    (Marked, "pool:input", "mark.end", "pool:input"),
    (Marked, "mark.end:activation", "mark.end", "mark.end"),
    (Functional, "second:activation", "mark.end", "second:activation"),
    (Functional, "auto", "mark.end", "second:activation"),
    (Swish, "second:activation", "mark.end", "second:activation"),
    (Gated, "second:activation", "mark.second", "second"),
    (ReadAgain, "second:activation", "mark.second", "second"),
    (Skipping, "second:activation", "mark.end", "second:activation"),
    (InPlace, "second:activation", "mark.end", "second:activation"),
    (Recurrent, "second:activation", "mark.end", "second:activation"),
]


def prepared(kind):
    torch.manual_seed(2)
    return kind().double().eval()


@pytest.mark.parametrize("engine", ["auto", "replay"])
@pytest.mark.parametrize(("kind", "target", "mark", "name"), ASKED)
@pytest.mark.filterwarnings("ignore:.*replays the network")
def test_equals_the_reference_at_that_value(kind, target, mark, name, engine):
    model, x = prepared(kind), images(3).double()
    result = ablation_cam(model, target, x, CLASSES, engine=engine)
    expected = ablation_cam_reference(model, mark, x, CLASSES)
    assert result.layer == name
    assert result.engine == ("replay" if kind is Recurrent or engine == "replay" else "propagate")
    largest = expected.drops.abs().max()
    assert largest > 1e-6
    assert (result.drops - expected.drops).abs().max() <= 1e-9 * largest
    torch.testing.assert_close(result.heatmaps.double(), expected.heatmaps, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_inside_a_compiled_module(engine):
    plain, x = prepared(Functional), images(2).double()
    expected = ablation_cam_reference(plain, "mark.end", x, CLASSES[:2])
    model = Compiled(plain)
    name = "inside._orig_mod.second:activation"
    result = ablation_cam(model, name, x, CLASSES[:2], engine=engine)
    largest = expected.drops.abs().max()
    assert (result.drops - expected.drops).abs().max() <= 1e-9 * largest


class Bare(nn.Module):
    """Written with functions: no module returns the value after the activation."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(F.relu(self.bn(self.conv(x))), 1).flatten(1))


def test_auto_takes_the_value_after_a_function():
    result = ablation_cam(seeded(Bare()), "auto", images(3))
    assert result.layer == "bn:activation"
    again = ablation_cam(seeded(Bare()), result.layer, images(3))
    assert torch.equal(again.drops, result.drops)
    # Zero is what a rectified channel is where it sees nothing: such a channel has no drop.
    before = ablation_cam(seeded(Bare()), "bn", images(3))
    assert not torch.allclose(before.heatmaps, result.heatmaps)


def test_ablations_and_groups_are_of_the_value_after():
    model, x = prepared(Functional), images(3).double()
    groups = [0, 1, 0, 1, 2, 2, 3, 3]
    result = ablation_cam(
        model, "second:activation", x, CLASSES, ablation=0.5, groups=groups, engine="propagate"
    )
    expected = ablation_cam_reference(
        model, "mark.end", x, CLASSES, ablate=lambda a: a / 2, groups=groups
    )
    largest = expected.drops.abs().max()
    assert (result.drops - expected.drops).abs().max() <= 1e-9 * largest


def test_a_name_with_a_colon_is_a_name():
    model = nn.Sequential()
    model.add_module("a:input", nn.Conv2d(3, 4, 3))
    model.add_module("b", nn.Flatten())
    assert str(find_target(model, "a:input")) == "a:input"
    assert find_target(model, "a:input").part == "output"
    assert find_target(model, "b:input").part == "input"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("act", "'act' ran 2 times .* name one of its calls, 'act#0' to 'act#-1'"),
        ("act:activation", "name one of its calls, 'act#0:activation' to 'act#-1:activation'"),
        ("act#2", "'act#2' asks for call 2, but the module ran 2 times"),
        ("act#-3", "'act#-3' asks for call -3, but the module ran 2 times"),
        ("act:activated", "asks for 'activated'; choose 'name:activation'"),
        ("acts:input", "'acts' is not a layer of Marked; closest names: 'act'"),
        ("head:input", r"'head:input' has no spatial map: it .* shape \(3, 32\)"),
        ("head", "'head' has no spatial map"),
    ],
)
def test_what_is_wrong_is_said(target, message):
    with pytest.raises(LayerError, match=message):
        ablation_cam(seeded(Marked()), target, images(3), CLASSES)


class Given(nn.Module):
    """A part that is called with keywords, and one that is given nothing."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 6, 3), Pool(), nn.Linear(6, 4)
        self.nothing = Nothing()

    def forward(self, x):
        return self.head(self.pool(maps=F.relu(self.conv(x)), power=2)) + self.nothing()


class Pool(nn.Module):
    def forward(self, maps, power):
        return maps.pow(power).mean((2, 3))


class Nothing(nn.Module):
    def forward(self):
        return 0


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_what_a_module_is_given_by_keyword(engine):
    model, x = seeded(Given()), images(3)
    result = ablation_cam(model, "pool:input", x, CLASSES, engine=engine)
    expected = ablation_cam(model, "conv:activation", x, CLASSES, engine=engine)
    torch.testing.assert_close(result.drops, expected.drops)
    with pytest.raises(LayerError, match="'nothing:input': the module is given nothing"):
        ablation_cam(model, "nothing:input", x, CLASSES)
