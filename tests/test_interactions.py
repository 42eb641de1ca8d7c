"""``interaction`` against one forward pass for each pair in float64, and what it promises."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ablation_cam, interaction
from lightning_ablationcam.interactions import ChannelPair, _rounds
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
from tests.reference import interaction_reference

CLASSES = [2, 0, 3]


class StandIns(nn.Module):
    """Channels k and k + 3 of ``conv`` are the same, and the larger of the two goes on."""

    def __init__(self, copies=2):
        super().__init__()
        self.conv = nn.Conv2d(3, 3 * copies, 3, padding=1)
        self.mix = nn.Conv2d(3, 5, 3)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.conv(x)).unflatten(1, (-1, 3)).amax(1)
        return self.head(F.relu(self.mix(x)).mean((2, 3)))


def stand_ins(copies=2):
    model = seeded(StandIns(copies))
    model.conv.weight.data.copy_(model.conv.weight[:3].repeat(copies, 1, 1, 1))
    model.conv.bias.data.copy_(model.conv.bias[:3].repeat(copies))
    return model


class Saturating(nn.Module):
    """What goes on is at most what one of the channels gives."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(1, 4)

    def forward(self, x):
        return self.head(torch.tanh(20 * F.relu(self.conv(x)).mean((1, 2, 3)))[:, None])


def assert_equals_reference(result, reference, tolerance=1e-4):
    """Errors are judged against the largest joint drop of each image."""
    drops, joint, effect = reference
    largest = joint.abs().amax(dim=(1, 2))
    assert (largest > 1e-4).all()
    for found, expected in (
        (result.drops, drops),
        (result.joint, joint),
        (result.interaction, effect),
    ):
        errors = (found.double() - expected).abs().flatten(1).amax(1)
        assert (errors / largest).max() < tolerance


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize("network", [ConvBN, InplaceReLU, Skip, Dropouts, StandIns])
@pytest.mark.parametrize("channels", [[0, 1, 2, 3, 4, 5], [4, 1, 3], [5, 2]])
def test_equals_one_forward_pass_for_each_pair(network, engine, channels):
    model, x = seeded(network()), images()
    reference = interaction_reference(model, "conv", x, CLASSES, channels)
    result = interaction(model, "conv", x, CLASSES, channels=channels, engine=engine)
    assert_equals_reference(result, reference)
    assert (result.engine, result.layer, result.classes.tolist()) == (engine, "conv", CLASSES)
    assert result.channels.tolist() == channels


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize("network", [Skip, Dropouts, StandIns])
def test_is_exact_in_float64(network, engine):
    model, x = seeded(network()).double(), images().double()
    reference = interaction_reference(model, "conv", x, CLASSES, range(6))
    result = interaction(model, "conv", x, CLASSES, channels=range(6), engine=engine)
    assert result.joint.dtype == torch.float64
    assert_equals_reference(result, reference, 1e-10)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize("ablation", ["mean", "noise", 0.5])
def test_ablations(engine, ablation):
    model, x, others = seeded(Skip()), images(), images(5, seed=8)
    over = {} if ablation == 0.5 else {"reference": others}
    kept = []
    with torch.no_grad():
        handle = model.conv.register_forward_hook(lambda m, a, out: kept.append(out.double()))
        model(others)
        handle.remove()
    drawn = torch.randn(6, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2020))
    means = kept[0].mean((0, 2, 3), keepdim=True)
    spread = kept[0].std((0, 2, 3), correction=0, keepdim=True)
    ablate = {
        "mean": lambda a: means.expand_as(a),
        "noise": lambda a: (means + spread * drawn).expand_as(a),
        0.5: lambda a: a / 2,
    }[ablation]
    reference = interaction_reference(model, "conv", x, CLASSES, [0, 2, 5], ablate=ablate)
    result = interaction(
        model, "conv", x, CLASSES, channels=[0, 2, 5], ablation=ablation, engine=engine, **over
    )
    assert_equals_reference(result, reference)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_scores(engine):
    model, x = seeded(Skip()), images()

    def assert_score(score, of_one):
        reference = interaction_reference(model, "conv", x, CLASSES, range(4), score=of_one)
        result = interaction(
            model, "conv", x, CLASSES, channels=range(4), score=score, engine=engine
        )
        assert_equals_reference(result, reference)

    assert_score("probability", lambda output, c: output.softmax(1)[0, c])
    assert_score(
        lambda output, c: output.gather(1, c[:, None])[:, 0] - output.mean(dim=1),
        lambda output, c: output[0, c] - output[0].mean(),
    )
    with torch.no_grad():
        others = model(x).scatter(1, torch.tensor(CLASSES)[:, None], -torch.inf).argmax(1)
    rivals = dict(zip(CLASSES, others.tolist(), strict=True))
    assert_score("contrast", lambda output, c: output[0, c] - output[0, rivals[c]])


def test_tasks_and_inputs():
    class Segments(Skip):
        def forward(self, image, shift):
            x = F.relu(self.conv(F.relu(self.stem(image))))
            x = F.relu(self.mix(x + shift.view(-1, 1, 1, 1)))
            return {"logits": self.head(x.movedim(1, -1)).movedim(-1, 1)}

    model, x, shift = seeded(Segments()), images(), torch.tensor([0.1, 0.2, 0.3])
    masks = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(4)) > 0.5
    given = {"channels": range(4), "masks": masks, "task": "segmentation"}
    result = interaction(model, "conv", {"image": x, "shift": shift}, CLASSES, **given)

    class Fed(nn.Module):
        """The same for one image, whose number is in its corner."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, image):
            (row,) = (k for k in range(3) if torch.equal(image[0], x[k].to(image)))
            maps = self.model(image, shift[row : row + 1].to(image))["logits"]
            return maps[:, :, masks[row]].mean(2)

    reference = interaction_reference(Fed(), "model.conv", x, CLASSES, range(4))
    assert_equals_reference(result, reference)
    slow = interaction(
        model, "conv", {"image": x, "shift": shift}, CLASSES, engine="replay", **given
    )
    assert_equals_reference(slow, reference)


def test_layouts():
    x = images()
    model = seeded(ChannelsLast())
    reference = interaction_reference(
        model, "norm", x, CLASSES, range(5), channel_dim=3, to_maps=lambda a: a.movedim(-1, 1)
    )
    assert_equals_reference(interaction(model, "norm", x, CLASSES, channels=range(5)), reference)
    model = seeded(TinyViT())
    reference = interaction_reference(
        model,
        "blocks.1.norm1",
        x,
        CLASSES,
        range(5),
        channel_dim=2,
        to_maps=lambda a: a.movedim(-1, 1),
    )
    for engine in ("propagate", "replay"):
        result = interaction(model, "blocks.1.norm1", x, CLASSES, channels=range(5), engine=engine)
        assert_equals_reference(result, reference)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_channels_that_stand_in_for_each_other_are_found(engine):
    model, x = stand_ins(), images()
    alone = ablation_cam(model, "conv", x, CLASSES)
    assert not alone.drops.any()
    result = interaction(model, "conv", x, CLASSES, engine=engine)
    assert sorted(result.channels.tolist()) == list(range(6))
    assert (result.drops.abs() < 1e-6).all()
    for image in range(3):
        found = result.pairs(image)
        assert {tuple(sorted(pair.channels)) for pair in found} == {(0, 3), (1, 4), (2, 5)}
        assert {pair.kind for pair in found} == {"stand in for each other"}
        sizes = [abs(pair.interaction) for pair in found]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_channels_that_stand_in_for_each_other_are_among_the_most_important(engine):
    """Six more channels have small drops of their own, which those of the stand-ins are not."""

    class Among(StandIns):
        def __init__(self):
            super().__init__()
            self.more = nn.Linear(6, 4, bias=False)

        def forward(self, x):
            maps = F.relu(self.conv(x))
            largest = maps[:, :6].unflatten(1, (2, 3)).amax(1)
            return self.head(F.relu(self.mix(largest)).mean((2, 3))) + self.more(
                maps[:, 6:].mean((2, 3))
            )

    model = Among()
    model.conv = nn.Conv2d(3, 12, 3, padding=1)
    model = seeded(model)
    model.conv.weight.data[3:6], model.conv.bias.data[3:6] = (
        model.conv.weight[:3],
        model.conv.bias[:3],
    )
    model.more.weight.data *= 0.02
    x = images()
    drops = ablation_cam(model, "conv", x, CLASSES).drops.abs().sum(0)
    assert drops.topk(6).indices.min() >= 6
    result = interaction(model, "conv", x, CLASSES, channels=6, engine=engine)
    assert sorted(result.channels.tolist()) == list(range(6))


def test_of_three_that_stand_in_for_one_another_a_pair_shows_nothing():
    model, x = stand_ins(3), images()
    result = interaction(model, "conv", x, CLASSES, channels=range(9))
    assert not result.joint.any()
    groups = [k % 3 for k in range(9)]
    assert ablation_cam(model, "conv", x, CLASSES, groups=groups).drops.any()


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_a_saturated_tail(engine):
    model, x = seeded(Saturating()), images()
    reference = interaction_reference(model, "conv", x, CLASSES, range(6))
    result = interaction(model, "conv", x, CLASSES, channels=range(6), engine=engine)
    assert_equals_reference(result, reference, 1e-3)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_nothing_interacts_where_the_score_is_a_sum(engine):
    model, x = seeded(InplaceReLU()), images()
    result = interaction(model, "conv", x, CLASSES, engine=engine)
    assert (result.interaction.abs() <= result.rounding).all()
    assert (result.rounding < 1e-3 * result.joint.abs().amax()).all()
    assert result.pairs(0) == []
    assert interaction(model, "conv", x, CLASSES, score="probability").pairs(0)


def test_the_ranking_is_what_it_says():
    model, x = seeded(Skip()).double(), images().double()
    generator = torch.Generator().manual_seed(2020)
    half = torch.randperm(6, generator=generator) < 3
    kept = []
    handle = model.conv.register_forward_hook(lambda m, a, out: kept.append(out.clone()))
    with torch.no_grad():
        model(x)
    handle.remove()

    def score(present):
        handle = model.conv.register_forward_hook(
            lambda m, a, out: kept[0] * present[:, None, None]
        )
        with torch.no_grad():
            found = model(x)[torch.arange(3), torch.tensor(CLASSES)]
        handle.remove()
        return found

    strengths = torch.zeros(6, dtype=torch.float64)
    for k in range(6):
        toggled = torch.arange(6) == k
        for share, present in ((1, torch.ones(6).bool()), (0.5, half), (0.5, ~half)):
            effect = score(present) - score(present ^ toggled)
            strengths[k] += share * effect.abs().sum()
    for engine in ("propagate", "replay"):
        for m in (2, 4, 6):
            result = interaction(model, "conv", x, CLASSES, channels=m, engine=engine)
            assert result.channels.tolist() == strengths.argsort(descending=True)[:m].tolist()


def test_one_recording_answers_all():
    model, x, rows = seeded(Skip()), images(), []

    def forward(model, inputs):
        rows.append(len(inputs))
        return model(inputs)

    first = interaction(model, "conv", x, CLASSES, forward=forward)
    # Recorded once; two halves; besides, the checks of three kinds of question.
    assert rows[0] == 3
    rows.clear()
    again = interaction(model, "conv", x, CLASSES, forward=forward)
    assert rows == [3, 3, 3]
    torch.testing.assert_close(first.joint, again.joint, rtol=1e-4, atol=1e-6)
    rows.clear()
    interaction(model, "conv", x, CLASSES, channels=[1, 4, 2], forward=forward)
    assert len(rows) > 1
    rows.clear()
    interaction(model, "conv", x, CLASSES, channels=[5, 0, 3], forward=forward)
    assert rows == [3]


@pytest.mark.parametrize("budget", [1, 200_000, 10**9])
@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_batches_do_not_change_results(budget, engine):
    model, x = seeded(Skip()), images(5)
    whole = interaction(model, "conv", x, 1, channels=4)
    parts = interaction(model, "conv", x, 1, channels=4, memory_budget=budget, engine=engine)
    assert parts.channels.tolist() == whole.channels.tolist()
    scale = whole.joint.abs().max()
    for name in ("drops", "joint", "interaction", "rounding", "scores"):
        one, other = getattr(parts, name), getattr(whole, name)
        assert ((one - other).abs().max() / scale) < 1e-5


def test_batch_statistics_keep_the_image_batch_whole():
    model, x = seeded(BatchStatistics()).double(), images().double()
    model.conv.weight.data[0], model.conv.bias.data[0] = 0, 0
    with pytest.warns(UserWarning, match="replays the network"):
        result = interaction(model, "conv", x, CLASSES, memory_budget=1)
    assert result.fallback is not None
    activations, rows = model.conv(x), torch.arange(3)

    def tail(a):
        return model.head(F.relu(model.bn(F.relu(a))).mean((2, 3)))

    for i, j in itertools.combinations(range(5), 2):
        ablated = activations.clone()
        ablated[:, result.channels[[i, j]]] = 0
        expected = (tail(activations) - tail(ablated))[rows, torch.tensor(CLASSES)]
        torch.testing.assert_close(result.joint[:, i, j], expected.detach())


def test_what_cannot_be_propagated_is_replayed_with_one_warning():
    class Decides(Skip):
        def forward(self, x):
            x = F.relu(self.conv(F.relu(self.stem(x))))
            x = x * 2 if float(x.sum()) > -1e9 else x
            return self.head(F.relu(self.mix(x)).mean((2, 3)))

    model, x = seeded(Decides()), images()
    reference = interaction_reference(model, "conv", x, CLASSES, range(4))
    with pytest.warns(UserWarning, match="replays the network") as caught:
        result = interaction(model, "conv", x, CLASSES, channels=range(4))
    assert len(caught) == 1
    assert_equals_reference(result, reference)
    assert result.engine == "replay"
    with pytest.raises(RuntimeError, match="engine='propagate' cannot run here"):
        interaction(model, "conv", x, CLASSES, engine="propagate")


def test_an_image_that_is_not_finite_does_not_spoil_the_others():
    model, x = seeded(Skip()), images()
    expected = interaction(model, "conv", x, CLASSES, channels=4)
    broken = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    result = interaction(model, "conv", broken, [*CLASSES, 0], channels=4)
    assert result.channels.tolist() == expected.channels.tolist()
    torch.testing.assert_close(result.joint[:3], expected.joint)
    assert result.joint[3].isnan().any()
    assert result.pairs(3) == []


def test_dead_channels_do_not_interact():
    model, x = seeded(Skip()), images()
    model.conv.weight.data[2:], model.conv.bias.data[2:] = 0, 0
    result = interaction(model, "conv", x, CLASSES, channels=range(6))
    assert not result.interaction[:, 2:].any()
    assert torch.equal(result.joint[:, 0, 3], result.drops[:, 0])
    assert {pair.channels for pair in result.pairs(0)} <= {(0, 1)}


def test_one_channel_is_no_pair():
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    result = interaction(model, "1", images(), 0)
    assert result.joint.shape == (3, 1, 1)
    assert result.joint[:, 0, 0].tolist() == result.drops[:, 0].tolist()
    assert not result.interaction.any()
    assert result.pairs(0) == []


def test_results_are_consistent_and_on_the_cpu():
    result = interaction(seeded(Skip()), "conv", images())
    for name in ("joint", "interaction", "rounding"):
        found = getattr(result, name)
        assert torch.equal(found, found.mT)
        assert found.shape == (3, 6, 6)
    assert torch.equal(result.joint.diagonal(dim1=1, dim2=2), result.drops)
    assert not result.interaction.diagonal(dim1=1, dim2=2).any()
    assert len(result.pairs(1)) == 10
    assert result.pairs(1, 3) == result.pairs(1)[:3]


@given(st.integers(1, 33))
def test_every_pair_meets_once_in_rounds_of_disjoint_pairs(count):
    rounds = _rounds(count)
    assert len(rounds) == (0 if count == 1 else count - 1 + count % 2)
    for pairs in rounds:
        assert len({place for pair in pairs for place in pair}) == 2 * len(pairs)
        assert len(pairs) == count // 2
    met = sorted(tuple(sorted(pair)) for pairs in rounds for pair in pairs)
    assert met == list(itertools.combinations(range(count), 2))


@pytest.mark.parametrize(
    ("drops", "joint", "kind"),
    [
        ((0.01, -0.02), 1.5, "stand in for each other"),
        ((-0.01, -0.02), -1.5, "stand in for each other"),
        ((1.0, 1.0), 1.0, "need each other"),
        ((-1.0, -1.0), -1.0, "need each other"),
        ((1.0, -1.0), 0.5, None),
        ((1.0, 1.0), -1.0, None),
    ],
)
def test_how_a_pair_goes_together(drops, joint, kind):
    pair = ChannelPair((1, 2), drops, joint, joint - sum(drops))
    assert pair.kind == kind
    assert str(pair).startswith(f"1 + 2: together {joint:.3g}, alone")
    assert str(pair).endswith(kind or f"{drops[1]:.3g}")


def test_bad_arguments_name_argument_value_and_choices():
    model, x = seeded(Skip()), images()

    def message(error, **changes):
        arguments = {"model": model, "target_layer": "conv", "inputs": x, **changes}
        with pytest.raises(error) as caught:
            interaction(**arguments)
        return str(caught.value)

    expected = "expected how many channels to pair, at least 2, or a list of their indices"
    assert message(ValueError, channels=1) == f"channels=1; {expected}"
    assert message(TypeError, channels=True) == f"channels=True; {expected}"
    assert message(ValueError, channels=[3]) == f"channels=[3]; {expected}"
    assert message(ValueError, channels=[3, -1]) == f"channels=[3, -1]; {expected}"
    assert "channels=[1, 2, 1] names a channel twice" in message(ValueError, channels=[1, 2, 1])
    text = message(ValueError, channels=[0, 6])
    assert "channels=[0, 6] contains 6" in text
    assert "choose 0 to 5" in text
    assert "channels='all'; expected how many" in message(TypeError, channels="all")
    assert "top=0; expected a whole number" in message(ValueError, top=0)
    assert "closest names: 'conv'" in message(ValueError, target_layer="convs")
    assert "target_layer=3" in message(TypeError, target_layer=3)
    assert "expected one layer, not several" in message(TypeError, target_layer=["conv", "mix"])
    assert "inputs=3" in message(TypeError, inputs=3)
    assert "classes contains 9" in message(ValueError, classes=9)
    result = interaction(model, "conv", x)
    for error, arguments, text in [
        (TypeError, (1.0,), "image=1.0; expected an image from 0 to 2"),
        (ValueError, (3,), "image=3; expected an image from 0 to 2"),
        (ValueError, (0, 0), "top=0; expected"),
    ]:
        with pytest.raises(error, match=text):
            result.pairs(*arguments)


def test_the_model_is_left_as_it_was_found():
    model, x = seeded(Dropouts()).train(), images()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    interaction(model, "conv", x)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
