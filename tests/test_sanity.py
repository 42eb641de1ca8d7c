"""Maps must follow the parameters, and the model must not notice."""

from __future__ import annotations

import copy
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torchvision.ops import FrozenBatchNorm2d

from lightning_ablationcam import ProbeSet, ablation_cam, sanity_check
from lightning_ablationcam.network.layers import LayerError
from lightning_ablationcam.network.randomised import replaceable
from lightning_ablationcam.sanity import STAYS_CORRELATION, STAYS_SIMILARITY
from tests.networks import (
    BatchStatistics,
    ChannelsLast,
    ConvBN,
    Dropouts,
    InplaceReLU,
    Skip,
    TinyViT,
    images,
    seeded,
)


class Deep(nn.Module):
    """Registered in another order than it runs in."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 4)
        self.third = nn.Conv2d(8, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.unused = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.second(F.relu(self.first(x))))
        return self.head(F.relu(self.bn(self.third(x))).mean((2, 3)))


class Tied(nn.Module):
    """Two layers share a weight."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.low = nn.Conv2d(6, 6, 3, padding=1)
        self.high = nn.Conv2d(6, 6, 3, padding=1)
        self.high.weight = self.low.weight
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.high(F.relu(self.low(F.relu(self.stem(x))))))
        return self.head(x.mean((2, 3)))


def normalised(kind):
    """A network with reparametrised layers."""
    network = Skip()
    for name in ("stem", "mix", "head"):
        kind(getattr(network, name))
    return network


class Wrapped(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = ConvBN()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 5.0]))

    def forward(self, x):
        return self.model(x) * self.scale


class Attends(nn.Module):
    """The parameters of a module are used, which itself is not called."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        tokens = F.relu(self.conv(x)).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        steps = F.relu(self.conv(x)).mean(2).transpose(1, 2)
        return self.head(self.gru(steps)[0][:, -1])


class Strange(nn.Module):
    """Resets itself in ways that must not reach the model."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.weight = nn.Parameter(torch.linspace(-1, 1, 24).view(4, 6))
        self.bias = nn.Parameter(torch.linspace(-1, 1, 4))
        self.gain = nn.Parameter(torch.linspace(1, 2, 4))
        self.register_buffer("seen", torch.zeros(1))
        self.table, self.resets = torch.zeros(2), 0

    def reset_parameters(self):
        self.conv.reset_parameters()  # That of another module.
        self.weight = nn.Parameter(torch.randn(4, 6))  # Another object.
        self.bias.data.uniform_(7, 8)  # Past autograd.
        self.seen += 1
        self.table += 1
        self.resets += 1

    def forward(self, x):
        return F.linear(F.relu(self.conv(x)).mean((2, 3)), self.weight, self.bias) * self.gain


NETWORKS = {
    "conv_bn": (ConvBN, "conv"),
    "inplace": (InplaceReLU, "conv"),
    "skip": (Skip, "conv"),
    "dropouts": (Dropouts, "conv"),
    "channels_last": (ChannelsLast, "norm"),
    "vit": (TinyViT, "auto"),
    "batch_statistics": (BatchStatistics, "conv"),
    "deep": (Deep, "auto"),
    "tied": (Tied, "low"),
    "weight_norm": (lambda: normalised(parametrizations.weight_norm), "conv"),
    "spectral_norm": (lambda: normalised(parametrizations.spectral_norm), "conv"),
    "orthogonal": (lambda: normalised(parametrizations.orthogonal), "conv"),
    "lightning": (Wrapped, "model.conv"),
    "attends": (Attends, "conv"),
    "recurrent": (Recurrent, "conv"),
    "strange": (Strange, "conv"),
}


# What cannot be propagated is replayed, with a warning.
ENGINE = {"batch_statistics": "replay", "recurrent": "replay"}


def network(name):
    make, layer = NETWORKS[name]
    torch.manual_seed(0)
    return seeded(make()), layer


def snapshot(model):
    """All that must be the same afterwards."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    facts = {
        name: (
            id(t),
            t.data_ptr(),
            t._version,
            t.requires_grad,
            t.dtype,
            hash(t.detach().numpy().tobytes()),
            None
            if t.grad is None
            else (id(t.grad), t.grad._version, hash(t.grad.numpy().tobytes())),
        )
        for name, t in tensors.items()
    }
    modules = [
        (name, id(module), module.training, *(len(hooks) for hooks in hooks_of(module)))
        for name, module in model.named_modules()
    ]
    return facts, modules, random_state()


def assert_same(model, before):
    for found, expected in zip(snapshot(model), before, strict=True):
        if isinstance(found, dict):
            assert {n: found[n] for n in found if found[n] != expected[n]} == {}
        assert found == expected


def hooks_of(module):
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks


def random_state():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (kind, keys.tobytes(), *rest), torch.get_rng_state().numpy().tobytes()


def with_gradients(model):
    """As in the middle of training: in training mode, with gradients, one part frozen."""
    for place, parameter in enumerate(model.parameters()):
        if place % 3:
            parameter.grad = torch.full_like(parameter, 0.5)
        else:
            parameter.requires_grad_(False)
    return model.train()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_is_left_as_it_was(name):
    model, layer = network(name)
    with_gradients(model)
    before = snapshot(model)
    result = sanity_check(model, layer, images(4), stages=6, engine=ENGINE.get(name, "auto"))
    assert_same(model, before)
    assert len(result.stages) <= 6
    # What an optimizer would do now is what it would have done.
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_is_the_map_of_a_network_with_these_parameters(name):
    model, layer = network(name)
    held = dict(model.named_parameters())
    states = []

    def explain(model, inputs, classes):
        assert all(p is held[n] for n, p in model.named_parameters())
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return ablation_cam(model, where, inputs, classes, engine=engine).heatmaps

    inputs, engine = images(4), ENGINE.get(name, "auto")
    where = ablation_cam(model, layer, inputs, engine=engine).layer
    seen = sanity_check(model, where, inputs, explain=explain, stages=4, engine=engine)
    result = sanity_check(model, layer, inputs, stages=4, engine=engine)
    torch.testing.assert_close(result.maps, seen.maps)
    torch.testing.assert_close(result.intact, seen.intact)
    assert result.stages == seen.stages
    for maps, state in zip((result.intact, *result.maps), states, strict=True):
        other, _ = network(name)
        other.load_state_dict(state)
        found = ablation_cam(other, where, inputs, result.classes, engine=engine)
        torch.testing.assert_close(maps, found.heatmaps)
    changed = [
        {key for key in state if not torch.equal(state[key], states[place][key])} & set(held)
        for place, state in enumerate(states[1:])
    ]
    # In each stage the parameters of its modules change and no others, and in the end all.
    assert not set.intersection(*changed)
    kept = set(held) - set.union(*changed)
    assert all(name.startswith("unused.") or held[name].std(correction=0) == 0 for name in kept)
    # A shared parameter has several names.
    aliases = list(model.named_parameters(remove_duplicate=False))
    modules = dict(model.named_modules())
    for names, keys in zip(result.modules, changed, strict=True):
        for key in keys:
            mine = [alias for alias, p in aliases if p is held[key]]
            assert any(is_named(alias, names, modules) for alias in mine)


def is_named(parameter, names, modules):
    """Whether a stage says that a parameter becomes random in it."""
    owner, _, key = parameter.rpartition(".")
    if not any(list(child.parameters()) for child in modules[owner].children()):
        return (owner or type(modules[owner]).__name__) in names
    of_owner = [name.removeprefix(f"{owner}.") for name in names if name.startswith(owner)]
    return any(key in name.split("+") for name in of_owner)


def test_modules_are_taken_from_the_output_down():
    model = seeded(Deep())
    result = sanity_check(model, "third", images(4))
    assert result.stages == ("head", "bn", "third", "second", "first")
    assert result.modules == (("head",), ("bn",), ("third",), ("second",), ("first",))
    few = sanity_check(model, "third", images(4), stages=3)
    assert few.modules == (("head",), ("bn", "third"), ("second", "first"))
    assert few.stages == ("head", "third", "first")
    assert sanity_check(model, "third", images(4), stages=1).modules == (
        ("head", "bn", "third", "second", "first"),
    )
    # How many stages there are does not matter to what is random in the end.
    torch.testing.assert_close(few.maps[-1], result.maps[-1])
    torch.testing.assert_close(few.maps[0], result.maps[0])


def test_parameters_used_without_their_module_are_found():
    result = sanity_check(seeded(Attends()), "conv", images(4))
    inputs = "attention.in_proj_weight+in_proj_bias"
    assert result.stages == ("head", "attention.out_proj", inputs, "conv")
    assert sanity_check(seeded(TinyViT()), "auto", images(4)).stages[-2:] == ("token", "patches")


def test_modules_around_others_are_named_by_their_own_parameters():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)
            self.position = nn.Parameter(torch.randn(6, 6, 6))

        def forward(self, x):
            return F.relu(self.conv(x) + self.position)

    class Padded(nn.Conv2d):
        """What is inside has no parameters."""

        def __init__(self):
            super().__init__(6, 6, 3)
            self.pad = nn.ZeroPad2d(1)

        def forward(self, x):
            return super().forward(self.pad(x))

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.padded, self.head = Encoder(), Padded(), nn.Linear(6, 4)
            self.scale, self.shift = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

        def forward(self, x):
            return self.head(self.padded(self.encoder(x)).mean((2, 3))) * self.scale + self.shift

    stages = sanity_check(seeded(Whole()), "padded", images(4)).stages
    assert stages == ("scale+shift", "head", "padded", "encoder.position", "encoder.conv")
    bare = sanity_check(seeded(nn.Conv2d(3, 4, 8)), None, images(4), 0, explain=edges, task="auto")
    assert bare.stages == ("Conv2d",)


def test_shared_parameters_become_random_once():
    result = sanity_check(seeded(Tied()), "low", images(4))
    assert result.stages == ("head", "high", "low", "stem")
    seen = []
    sanity_check(
        model := seeded(Tied()),
        "low",
        images(4),
        explain=lambda model, inputs, _classes: (
            seen.append((model.low.weight is model.high.weight, model.low.weight.clone()))
            or inputs.mean(1)
        ),
    )
    assert all(is_shared for is_shared, _ in seen)
    weights = [weight for _, weight in seen]
    assert torch.equal(weights[0], weights[1])  # Only the head is random.
    assert not torch.equal(weights[1], weights[2])
    assert torch.equal(weights[2], weights[4])
    assert model.low.weight is model.high.weight


def states_of(model, layer="conv", **options):
    states = []

    def explain(model, inputs, classes):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return inputs.mean(1)

    sanity_check(model, layer, images(4), explain=explain, **options)
    return states


def test_what_a_module_resets_to_is_what_its_parameters_become():
    *_, last = states_of(seeded(ConvBN()))
    assert torch.equal(last["bn.weight"], torch.ones(6))
    assert torch.equal(last["bn.bias"], torch.zeros(6))
    bound = 1 / 27**0.5
    assert 0.9 * bound < last["conv.weight"].abs().max() <= bound
    *_, last = states_of(seeded(Strange()))
    assert (last["bias"] >= 7).all()
    assert (last["bias"] <= 8).all()
    assert last["seen"].item() == 0


def test_other_parameters_become_normal_numbers_of_their_mean_and_deviation():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 1)
            self.token = nn.Parameter(torch.rand(1, 6, 100) * 3 + 5)
            self.even = nn.Parameter(torch.full((6,), 2.0))
            self.steps = nn.Parameter(torch.arange(6), requires_grad=False)
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            x = F.relu(self.conv(x)) + self.token.mean(2)[..., None, None]
            return self.head(x.mean((2, 3)) * self.even + self.steps)

    first, *_, last = states_of(Tokens())
    before, after = first["token"], last["token"]
    assert after.mean().item() == pytest.approx(before.mean().item(), abs=0.2)
    assert after.std().item() == pytest.approx(before.std().item(), rel=0.1)
    assert after.max() > before.max() + 0.5  # Uniform numbers are bounded.
    assert torch.equal(last["even"], first["even"])
    assert torch.equal(last["steps"], first["steps"])


def test_batch_norms_take_their_statistics_anew_where_what_they_are_given_is_random():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.low_bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
            self.conv, self.bn = nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6, affine=False)
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            x = F.relu(self.low_bn(self.low(x)))
            return self.head(F.relu(self.bn(self.conv(x))).mean((2, 3)))

    torch.manual_seed(0)
    model = Two().eval()
    states = states_of(model)
    assert sanity_check(model, "conv", images(4)).stages == ("head", "conv", "low_bn", "low")
    # From conv on the upper one, from low_bn on the lower one too.
    for key, kept in (("bn.running_var", 2), ("low_bn.running_mean", 3), ("low_bn.running_var", 3)):
        same = [torch.equal(state[key], states[0][key]) for state in states]
        assert same == [place < kept for place in range(5)]
    for state in states[2:]:
        twin = Two()
        twin.load_state_dict(state)
        twin.eval()
        twin.bn.train()
        twin.bn.momentum = None
        twin.bn.reset_running_stats()
        twin(images(4))
        torch.testing.assert_close(twin.bn.running_mean, state["bn.running_mean"])
        torch.testing.assert_close(twin.bn.running_var, state["bn.running_var"])


class Interrupted(BaseException):
    """Such as Ctrl-C."""


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("calls", "error"), [(1, ValueError), (2, RuntimeError), (2, Interrupted)])
def test_the_model_is_left_as_it_was_when_an_explanation_raises(name, calls, error):
    model, layer = network(name)
    with_gradients(model)
    before, called = snapshot(model), []

    def explain(model, inputs, classes):
        torch.rand(3)
        model(inputs).sum().backward()  # Leaves gradients behind.
        called.append(snapshot(model))
        if len(called) > calls:
            raise error("in the middle")
        return inputs.mean(1)

    with pytest.raises(error, match="in the middle"):
        sanity_check(model, layer, images(4), 0, explain=explain)
    assert_same(model, before)
    assert called[-1][0] != before[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_replaced_is_given_back(name):
    model, _ = network(name)
    with_gradients(model)
    before = snapshot(model)
    with pytest.raises(Interrupted), replaceable(model):
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data + 1
        model.requires_grad_()
        assert all(parameter.grad is None for parameter in model.parameters())
        model(images(2)).sum().backward()
        for place, parameter in enumerate(model.parameters()):
            parameter.requires_grad_(place % 3 > 0)
        raise Interrupted
    # Of buffers that a forward writes to, the memory.
    for found, expected in zip(snapshot(model)[0].values(), before[0].values(), strict=True):
        assert (found[:2], found[3:]) == (expected[:2], expected[3:])


def test_the_model_is_left_as_it_was_when_a_reset_raises():
    class Refuses(nn.Linear):
        is_made = False

        def reset_parameters(self):
            super().reset_parameters()
            if self.is_made:
                raise RuntimeError("not twice")

    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), Refuses(6 * 36, 4))
    model[3].is_made = True
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="not twice"):
        sanity_check(model, "1", images(4))
    assert_same(model, before)


def test_values_are_given_back_where_others_write_to_parameters():
    class Reaches(nn.Linear):
        others = ()

        def reset_parameters(self):
            super().reset_parameters()
            for other in self.others:
                other.reset_parameters()

    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), Reaches(6 * 36, 4))
    model[3].others = [model[0]]

    def trains(model, inputs, classes):
        model.requires_grad_()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        model(inputs).square().sum().backward()
        optimizer.step()
        return inputs.mean(1)

    before = snapshot(model)
    for explain in (None, trains):
        sanity_check(model, "1", images(4), 0, explain=explain)
        after = snapshot(model)
        assert after[1:] == before[1:]
        for found, expected in zip(after[0].values(), before[0].values(), strict=True):
            assert (found[:2], found[3:]) == (expected[:2], expected[3:])


def test_between_forward_and_backward_autograd_notices_nothing():
    model = seeded(Skip()).train()
    loss = model(images(2)).square().sum()
    sanity_check(model, "conv", images(4))
    loss.backward()


def test_the_same_seed_gives_the_same_and_another_another():
    model = seeded(Deep())
    torch.manual_seed(1)
    first = sanity_check(model, "second", images(4), seed=3)
    torch.manual_seed(2)
    random.seed(5)
    np.random.seed(7)  # noqa: NPY002
    second = sanity_check(model.train(), "second", images(4), seed=3)
    torch.testing.assert_close(first.maps, second.maps)
    other = sanity_check(model, "second", images(4), seed=4)
    assert not torch.allclose(first.maps[-1], other.maps[-1])
    torch.testing.assert_close(first.intact, other.intact)
    assert (first.seed, other.seed) == (3, 4)


def test_an_explanation_that_draws_random_numbers_draws_the_same_in_all_stages():
    def noise(model, inputs, classes):
        drawn = random.random() + np.random.rand()  # noqa: NPY002
        return torch.rand(len(inputs), 5, 5) + drawn

    result = sanity_check(seeded(Skip()), "conv", images(4), explain=noise)
    assert (result.maps == result.intact).all()
    assert result.stays.all()
    assert torch.equal(
        result.maps, sanity_check(seeded(Skip()), "conv", images(4), explain=noise).maps
    )


def edges(model, inputs, classes):
    grey = inputs.mean(1)
    return (grey[:, 1:] - grey[:, :-1]).abs().numpy()


def test_a_map_that_ignores_the_network_stays():
    result = sanity_check(seeded(Deep()), "second", images(4), explain=edges)
    assert result.stays.tolist() == [True] * 4
    assert not result.passed
    assert (result.correlation == 1).all()
    torch.testing.assert_close(result.similarity, torch.ones_like(result.similarity))
    assert str(result).endswith("not passed: 4 of 4 maps stay, whatever the parameters")


def test_a_map_that_only_weakly_depends_on_the_network_stays_too():
    def mostly_edges(model, inputs, classes):
        gradient = torch.func.grad(lambda x: model(x).gather(1, classes[:, None]).sum())(inputs)
        return (
            torch.from_numpy(edges(model, inputs, classes)) + 0.01 * gradient.abs().mean(1)[:, 1:]
        )

    result = sanity_check(seeded(Deep()), "second", images(4), explain=mostly_edges)
    assert (result.maps[-1] != result.intact).any()
    assert result.stays.all()


def test_ablation_cam_follows_the_network():
    result = sanity_check(seeded(Deep()), "second", images(8, side=16))
    assert result.passed
    assert not result.stays.any()
    assert str(result).endswith("passed: all 8 maps follow the parameters")
    assert result.correlation.shape == result.similarity.shape == (5, 8)
    assert result.maps.shape == (5, *result.intact.shape)


def test_only_maps_like_the_intact_one_in_both_ways_stay():
    inputs = images(4)

    def explain(model, inputs, classes):
        is_intact = torch.equal(model.head.weight, weight)
        heat = torch.linspace(1, 2, 16).view(1, 4, 4).repeat(4, 1, 1)
        if not is_intact:
            heat[1] = heat[1] ** 50  # The same ranks, another look.
            heat[2] = 1.5 + 0.01 * torch.rand(4, 4)  # The other way round, nearly.
            heat[3] = heat[3] * 7
        return heat

    model = seeded(Deep())
    weight = model.head.weight.detach().clone()
    result = sanity_check(model, "second", inputs, explain=explain)
    assert result.stays.tolist() == [True, False, False, True]
    assert result.correlation[-1, 1] >= STAYS_CORRELATION
    assert result.similarity[-1, 1] < STAYS_SIMILARITY
    assert result.correlation[-1, 2] < STAYS_CORRELATION


def test_maps_that_say_nothing_cannot_be_compared():
    def explain(model, inputs, classes):
        maps = torch.rand(4, 5, 5)
        maps[0], maps[1], maps[2, 2, 2] = 0, 3, torch.nan
        return maps

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sanity_check(seeded(Skip()), "conv", images(4), explain=explain)
        text = str(result)
    assert result.correlation[:, :3].isnan().all()
    assert result.similarity[:, :3].isnan().all()
    assert result.stays.tolist() == [False, False, False, True]
    assert text.endswith(
        "not passed: 1 of 4 maps stays, whatever the parameters; 1 of 4 maps could be compared"
    )
    assert result.moved.tolist() == [-1, -1, -1, len(result.stages)]
    assert result.compared.tolist() == [False, False, False, True]
    only = sanity_check(seeded(Skip()), "conv", images(4), explain=lambda *_: torch.zeros(4, 5, 5))
    assert not only.passed
    assert str(only).endswith("no map of the intact network has heat, so that none can follow")
    assert only.cold.all()


def changing(intact, random):
    """An explanation that returns some maps of the intact network and others afterwards."""
    maps = iter([intact])
    return lambda *_: next(maps, random)


def test_maps_without_heat_in_the_last_stage_cannot_be_compared():
    intact, other = torch.rand(4, 5, 5), torch.rand(4, 5, 5)

    def check(last, count=4):
        explain = changing(intact[:count], last[:count])
        return sanity_check(seeded(Skip()), None, images(count), 0, explain=explain)

    for nothing in (torch.zeros(4, 5, 5), torch.full((4, 5, 5), 2.0)):
        result = check(nothing)
        assert not result.passed
        assert not result.stays.any()
        assert str(result).endswith(
            "not passed: after the last stage no map has heat, which says nothing"
        )
    some = other.clone()
    some[0], some[1, 0, 0] = 0, torch.inf
    for maps, compared in (
        (some, "2 of 4 maps could be compared, and follow the parameters"),
        (torch.cat([torch.zeros(3, 5, 5), other[3:]]), "1 of 4 maps could be compared, and"),
        (other, "all 4 maps follow the parameters"),
    ):
        result = check(maps)
        assert result.passed
        assert f"passed: {compared}" in str(result)
    assert str(check(other, 1)).endswith("passed: the map follows the parameters")
    assert str(check(intact, 1)).endswith("not passed: 1 of 1 map stays, whatever the parameters")


def chain(depth):
    """Convolutions, and a head."""
    torch.manual_seed(0)
    parts = [nn.Sequential(nn.Conv2d(3 if not i else 8, 8, 3), nn.ReLU()) for i in range(depth)]
    return nn.Sequential(*parts, nn.Flatten(), nn.LazyLinear(4))


def test_a_map_that_ignores_all_but_the_first_layers_stays():
    model = chain(4)
    model(images(4, side=16))

    def first_layer(model, inputs, classes):
        return model[0](inputs).mean(1)

    result = sanity_check(model, None, images(4, side=16), explain=first_layer)
    assert result.stages == ("5", "3.0", "2.0", "1.0", "0.0")
    assert (result.correlation[:4] == 1).all()
    assert (result.correlation[4] < STAYS_CORRELATION).all()
    assert result.moved.tolist() == [4] * 4
    assert result.stays.all()
    assert not result.passed
    assert str(result).endswith("not passed: 4 of 4 maps stay until '0.0' is random")
    # That reads half of them has left by then.
    half = sanity_check(
        model, None, images(4, side=16), explain=lambda m, i, c: m[:3](i).square().mean(1)
    )
    assert half.moved.tolist() == [2] * 4
    assert half.passed


def test_a_map_leaves_where_it_first_is_unlike_the_intact_one():
    like, unlike = torch.rand(4, 5, 5), torch.rand(4, 5, 5)
    # 1 is like the intact one in that stage; of five stages.
    course = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 1]])
    stages = iter([torch.ones(4), *course.T])

    def explain(*_):
        return torch.where(next(stages).view(4, 1, 1) > 0, like, unlike)

    result = sanity_check(seeded(Deep()), None, images(4), 0, explain=explain)
    assert result.moved.tolist() == [2, 0, 3, 0]
    assert result.stays.tolist() == [False, False, True, True]
    assert str(result).endswith("not passed: 2 of 4 maps stay at least until 'second' is random")
    course = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [0] * 5, [0] * 5])
    stages = iter([torch.ones(4), *course.T])
    result = sanity_check(seeded(Deep()), None, images(4), 0, explain=explain)
    assert result.moved.tolist() == [4, 3, 0, 0]
    assert str(result).endswith("not passed: 2 of 4 maps stay at least until 'second' is random")


@pytest.mark.parametrize("stages", [1, 2, 20])
def test_one_module_with_parameters(stages):
    class Only(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return F.relu(self.conv(x)).mean((2, 3))

    result = sanity_check(seeded(Only()), "conv", images(4), stages=stages)
    assert result.modules == (("conv",),)
    two = sanity_check(seeded(nn.Sequential(Only(), nn.Linear(4, 3))), "0.conv", images(4))
    assert two.modules == (("1",), ("0.conv",))


class Frozen(nn.Module):
    """A batch norm of buffers alone, as in detection backbones."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("weight", torch.linspace(0.5, 1.5, channels))
        self.register_buffer("bias", torch.linspace(-0.1, 0.1, channels))
        self.register_buffer("running_mean", torch.linspace(-1, 1, channels))
        self.register_buffer("running_var", torch.linspace(1, 2, channels))

    def forward(self, x):
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Scalar(nn.Module):
    """Buffers of the same names that are not a number for each channel."""

    def __init__(self):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(()))
        self.register_buffer("running_var", torch.ones(()))

    def forward(self, x):
        return (x - self.running_mean) / self.running_var


@pytest.mark.parametrize("by_keyword", [False, True])
@pytest.mark.parametrize("make", [nn.BatchNorm2d, Frozen, lambda _: Scalar()])
def test_norms_of_all_kinds_take_their_statistics_anew(make, by_keyword):
    name = "x" if make is not nn.BatchNorm2d else "input"

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn, self.head = nn.Conv2d(3, 6, 3), make(6), nn.Linear(6, 4)

        def forward(self, x):
            x = self.conv(x)
            x = self.bn(**{name: x}) if by_keyword else self.bn(x)
            return self.head(F.relu(x).mean((2, 3)))

    torch.manual_seed(0)
    model = Normed().eval()
    before = snapshot(model)
    _, first, *_, last = states_of(model)
    assert_same(model, before)
    conv = nn.Conv2d(3, 6, 3)
    conv.load_state_dict({key: last[f"conv.{key}"] for key in ("weight", "bias")})
    given = conv(images(4)).detach().movedim(1, 0).flatten(1)
    if isinstance(model.bn, Scalar):
        given = torch.tensor([-1.0, 1.0]) * 0.5**0.5  # Mean 0 and variance 1 stay.
    torch.testing.assert_close(last["bn.running_mean"], given.mean(-1))
    torch.testing.assert_close(last["bn.running_var"], given.var(-1))
    assert torch.equal(first["bn.running_mean"], model.bn.running_mean)


def test_the_signal_of_a_detection_backbone_lives_on():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d).eval()
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.running_mean.uniform_(50, 99)  # As of other activations.
    spread, inputs = [], images(4, side=32)

    def explain(model, inputs, classes):
        with Outputs(model, FrozenBatchNorm2d) as outputs:
            model(inputs)
        spread.append([each.var().item() for each in outputs])
        return outputs[0].mean(1)

    result = sanity_check(network, None, inputs, 0, explain=explain, stages=4)
    assert result.compared.all()
    # 1, but for the epsilon under the root, beside which a new module's variances are small.
    assert min(spread[-1]) > 0.5
    assert max(spread[-1]) < 1.01


class Outputs(list):
    """What the modules of a kind return in a ``with``."""

    def __init__(self, model, kind):
        super().__init__()
        self.modules = [module for module in model.modules() if isinstance(module, kind)]

    def __enter__(self):
        self.handles = [
            module.register_forward_hook(lambda _module, _args, output: self.append(output.clone()))
            for module in self.modules
        ]
        return self

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


def test_classes_stay_those_of_the_intact_network():
    model, inputs = seeded(Deep()), images(4)
    predicted = ablation_cam(model, "second", inputs).classes
    asked = []

    def explain(model, inputs, classes):
        asked.append(classes)
        return inputs.mean(1)

    for classes, expected in ((None, predicted), (2, [2] * 4), ([0, 1, 2, 3], [0, 1, 2, 3])):
        asked.clear()
        result = sanity_check(model, "second", inputs, classes, explain=explain)
        assert result.classes.tolist() == list(expected)
        assert len(asked) == 6
        assert all(each.tolist() == list(expected) for each in asked)
        assert sanity_check(model, "second", inputs, classes).classes.tolist() == list(expected)


def test_the_layer_and_the_region_stay_those_of_the_intact_network():
    class Segments(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, padding=1)
            self.head = nn.Conv2d(6, 4, 1)

        def forward(self, x):
            return self.head(F.relu(self.conv(x)))

    model, inputs = seeded(Segments()), images(4)
    intact = ablation_cam(model, "conv", inputs)
    assert intact.task == "segmentation"
    result = sanity_check(model, "conv", inputs)
    again = sanity_check(model, "conv", inputs, masks=intact.regions)
    torch.testing.assert_close(result.maps, again.maps)


def test_a_probe_set_is_taken_too():
    model = seeded(Deep())
    probes = ProbeSet(images(4), names=["a", "b", "c", "d"])
    result = sanity_check(model, "second", probes)
    torch.testing.assert_close(result.maps, sanity_check(model, "second", images(4)).maps)
    drawn = result.draw(probes.pictures(), probes.names)
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    # Other names make another picture, and long ones are no wider.
    longer = replace(result, stages=tuple(f"encoder.layers.0.{name}" for name in result.stages))
    other = longer.draw(probes.pictures(), probes.names)
    assert other.shape[1] == drawn.shape[1]
    assert other.shape[0] > drawn.shape[0]
    with pytest.raises(ValueError, match="names has 1 entries; expected one for each of 4"):
        result.draw(probes.pictures(), ["a"])
    with pytest.raises(ValueError, match="pictures has 2 entries; expected one for each of 4"):
        result.draw(probes.pictures()[:2])


@pytest.mark.parametrize(("make", "size"), [(nn.Conv1d, (20,)), (nn.Conv3d, (6, 8, 8))])
def test_signals_and_volumes(make, size):
    torch.manual_seed(0)
    model = nn.Sequential(make(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    inputs = torch.rand(4, 2, *size)
    model(inputs)
    result = sanity_check(model, "1", inputs)
    assert result.correlation.isfinite().any()
    pictures = ProbeSet(inputs).pictures(result.intact.shape[1:])
    assert result.draw(pictures).dtype == np.uint8


def test_a_compiled_module_runs_eagerly():
    model = seeded(Skip())
    compiled = torch.compile(model, backend="eager")
    compiled(images(2))
    before = snapshot(model)
    result = sanity_check(compiled, "conv", images(4))
    assert_same(model, before)
    torch.testing.assert_close(result.maps, sanity_check(model, "conv", images(4)).maps)


def test_old_weight_norm():
    model = seeded(Skip())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(model.mix)
        nn.utils.spectral_norm(model.head)
    model(images(2))
    before = snapshot(model)
    weight = model.mix.weight.detach().clone()
    result = sanity_check(model, "conv", images(4))
    assert result.modules[1] == ("mix",)
    assert_same(model, before)
    model(images(2))
    assert torch.equal(model.mix.weight, weight)


class Sharded(torch.Tensor):
    """A tensor of a kind of its own."""


def test_parameters_that_cannot_be_replaced_are_refused():
    model = seeded(Skip())
    model.head.weight = nn.Parameter(torch.ones(4, 5).as_subclass(Sharded))
    with pytest.raises(TypeError, match=r"model has a parameter 'head\.weight' that is a Sharded"):
        sanity_check(model, "conv", images(4), 0, explain=lambda m, x, c: x.mean(1))


def test_a_model_without_parameters_cannot_be_checked():
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten())
    with pytest.raises(ValueError, match="model uses no parameters in its forward"):
        sanity_check(model, "0", images(4))


def test_lazy_layers_are_refused_by_name():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(RuntimeError, match="2 is a LazyLinear that has no parameters yet"):
        sanity_check(model, "0", images(4))


def test_an_explanation_must_return_heatmaps_of_one_shape():
    model = seeded(Skip())
    for wrong, error in (
        (None, TypeError),
        ([1.0], TypeError),
        (torch.ones(3, 4, 4), ValueError),
        (torch.ones(4), ValueError),
        (torch.ones(4, 1, 2, 3, 4), ValueError),
    ):
        with pytest.raises(error, match=r"explain returned .*; expected heatmaps of shape \(4, h"):
            sanity_check(model, "conv", images(4), explain=lambda *_, wrong=wrong: wrong)
    sizes = iter([4, 4, 5])
    with pytest.raises(ValueError, match=r"returned shape \(4, 5, 5\) after \(4, 4, 4\)"):
        sanity_check(model, "conv", images(4), explain=lambda *_: torch.rand(4, *[next(sizes)] * 2))
    sizes = iter([4, 5])
    with pytest.raises(ValueError, match=r"returned shape \(4, 5, 5\) after \(4, 4, 4\)"):
        sanity_check(model, "conv", images(4), explain=lambda *_: torch.rand(4, *[next(sizes)] * 2))


def test_what_explanations_do_to_what_they_are_given_stays_theirs():
    inputs = images(4)
    before = inputs.clone()

    def explain(model, inputs, classes):
        found = inputs.mean(1).clone()
        inputs.zero_()
        classes.fill_(0)
        return found

    result = sanity_check(seeded(Skip()), "conv", inputs, [1, 2, 3, 0], explain=explain)
    assert torch.equal(inputs, before)
    assert result.classes.tolist() == [1, 2, 3, 0]
    assert torch.equal(result.maps[-1], before.mean(1))


def test_an_explanation_of_another_kind_needs_no_layer():
    class Flat(nn.Module):
        """No layer has a spatial value."""

        def __init__(self):
            super().__init__()
            self.low, self.high = nn.Linear(3 * 64, 6), nn.Linear(6, 4)
            self.forwards = 0

        def forward(self, x):
            self.forwards += 1
            return self.high(F.relu(self.low(x.flatten(1))))

    model, inputs, called = seeded(Flat()), images(4), []
    predicted = model(inputs).argmax(1)

    def forward(model, inputs):
        called.append(len(inputs))
        return model(inputs)

    asked = []

    def explain(model, inputs, classes):
        asked.append(classes.tolist())
        return inputs.mean(1)

    result = sanity_check(model, None, inputs, explain=explain, forward=forward)
    assert result.classes.tolist() == predicted.tolist()
    assert asked == [predicted.tolist()] * 3
    assert called == [4] * 2  # The predictions, and what is used when.
    sanity_check(model, "auto", inputs, 0, explain=explain, forward=forward)
    assert called == [4] * 3
    with pytest.raises(LayerError, match="target_layer='hihg' is not a layer of Flat"):
        sanity_check(model, "hihg", inputs, 0, explain=explain)
    with pytest.raises(LayerError, match="is not part of the model"):
        sanity_check(model, nn.Linear(2, 2), inputs, 0, explain=explain)
    with pytest.raises(TypeError, match="target_layer=None goes with explain= only"):
        sanity_check(model, None, inputs)


@pytest.mark.parametrize("task", ["binary", "multilabel", "regression", "segmentation"])
def test_predictions_are_those_of_ablation_cam(task):
    class Any(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 1 if task == "binary" else 4, 1)

        def forward(self, x):
            x = self.head(F.relu(self.conv(x)))
            return x if task == "segmentation" else x.mean((2, 3)).sigmoid()

    model, inputs = seeded(Any()), images(8)
    found = ablation_cam(model, "conv", inputs, task=task)
    seen = sanity_check(model, None, inputs, task=task, explain=lambda m, x, c: x.mean(1))
    assert seen.classes.tolist() == found.classes.tolist()


def test_one_layer_only():
    with pytest.raises(TypeError, match=r"target_layer=.*; expected one layer, not several"):
        sanity_check(seeded(Skip()), ["stem", "conv"], images(4))


def test_what_is_told_is_told_once():
    def odd(model, inputs):
        return model(inputs).sort(dim=1).values.flip(1) * torch.rand(1)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        sanity_check(seeded(Skip()), "conv", images(4), 0, engine="auto", forward=odd)
    messages = [str(each.message) for each in told]
    assert len(messages) == len(set(messages))


def test_a_copy_of_the_model_gives_the_same():
    model = seeded(Deep())
    first, second = (
        sanity_check(each, "second", images(4)) for each in (model, copy.deepcopy(model))
    )
    torch.testing.assert_close(first.maps, second.maps)
