"""``ablation_cam`` against the paper's loop in float64, and what it promises about its result."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ProbeSet, ablation_cam
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
from tests.reference import ablation_cam_reference

CLASSES = [2, 0, 3]
NCHW = [ConvBN, InplaceReLU, Skip, Dropouts]


def assert_equals_reference(result, reference, tolerance=1e-4):
    """Errors are judged against each image's largest drop, which must not be negligible."""
    largest = reference.drops.abs().amax(dim=1)
    assert (largest > 1e-3 * reference.scores.abs()).all()
    assert (largest > 1e-4).all()
    errors = (result.drops.double() - reference.drops).abs() / largest[:, None]
    assert errors.max() < tolerance
    torch.testing.assert_close(result.scores.double(), reference.scores, rtol=1e-5, atol=1e-5)
    weight_scale = reference.weights.abs().amax(dim=1, keepdim=True)
    assert ((result.weights.double() - reference.weights).abs() / weight_scale).max() < tolerance
    heat = reference.heatmaps.amax().clamp(min=1e-9)
    assert ((result.heatmaps.double() - reference.heatmaps).abs() / heat).max() < 10 * tolerance


def means_of(model, x):
    """(K,) each channel's mean over all images and positions."""
    kept = []
    handle = model.conv.register_forward_hook(lambda m, a, out: kept.append(out.double().clone()))
    with torch.no_grad():
        model.eval()(x)
    handle.remove()
    return kept[0].mean((0, 2, 3))


@pytest.mark.parametrize("network", NCHW)
@pytest.mark.parametrize("ablation", ["zero", "mean", 0.5, -1])
def test_equals_the_float64_loop(network, ablation):
    model, x = seeded(network()), images()
    ablate = {
        "zero": torch.zeros_like,
        "mean": lambda a: means_of(model, x).view(1, -1, 1, 1).expand_as(a),
    }.get(ablation, lambda a: a * ablation)
    reference = ablation_cam_reference(model, "conv", x, CLASSES, ablate=ablate)
    result = ablation_cam(model, "conv", x, CLASSES, ablation=ablation, engine="replay")
    assert_equals_reference(result, reference)
    assert result.heatmaps.amax() > 0
    assert (result.engine, result.layer, result.classes.tolist()) == ("replay", "conv", CLASSES)


@pytest.mark.parametrize("network", NCHW)
def test_is_exact_in_float64(network):
    model, x = seeded(network()).double(), images().double()
    reference = ablation_cam_reference(model, "conv", x, CLASSES)
    result = ablation_cam(model, "conv", x, CLASSES)
    assert result.drops.dtype == torch.float64
    assert result.heatmaps.dtype == torch.float32
    largest = reference.drops.abs().amax(dim=1, keepdim=True)
    assert ((result.drops - reference.drops).abs() / largest).max() < 1e-9


def test_channels_last_and_tokens_equal_the_float64_loop():
    model, x = seeded(ChannelsLast()), images()
    reference = ablation_cam_reference(
        model, "norm", x, CLASSES, channel_dim=3, to_maps=lambda a: a.permute(0, 3, 1, 2)
    )
    assert_equals_reference(ablation_cam(model, "norm", x, CLASSES), reference)
    assert_equals_reference(ablation_cam(model, "norm", x, CLASSES, layout="NHWC"), reference)

    model = seeded(TinyViT())
    reference = ablation_cam_reference(
        model,
        "blocks.1.norm1",
        x,
        CLASSES,
        channel_dim=2,
        to_maps=lambda a: a[:, 1:].reshape(-1, 4, 4, 8).permute(0, 3, 1, 2),
    )
    for layout in ("auto", "tokens", "tokens:1+4x4"):
        result = ablation_cam(model, "blocks.1.norm1", x, CLASSES, layout=layout)
        assert_equals_reference(result, reference)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [7, -3, 7, 0, -3, 7], [5] * 6])
def test_groups_are_ablated_together(labels):
    model, x = seeded(Skip()), images()
    reference = ablation_cam_reference(model, "conv", x, CLASSES, groups=labels)
    result = ablation_cam(model, "conv", x, CLASSES, groups=labels)
    assert_equals_reference(result, reference)
    for label in set(labels):
        members = [k for k, other in enumerate(labels) if other == label]
        assert (result.drops[:, members] == result.drops[:, members[:1]]).all()


def test_scores_probability_and_callable():
    model, x = seeded(InplaceReLU()), images()
    probability = ablation_cam_reference(
        model, "conv", x, CLASSES, score=lambda output, c: output.softmax(1)[0, c]
    )
    assert_equals_reference(
        ablation_cam(model, "conv", x, CLASSES, score="probability"), probability
    )
    margin = ablation_cam_reference(
        model, "conv", x, CLASSES, score=lambda output, c: output[0, c] - output[0].mean()
    )
    result = ablation_cam(
        model,
        "conv",
        x,
        CLASSES,
        score=lambda output, c: output.gather(1, c[:, None])[:, 0] - output.mean(dim=1),
    )
    assert_equals_reference(result, margin)


def test_probability_keeps_its_digits_near_one():
    class Sure(InplaceReLU):
        def forward(self, x):
            return super().forward(x) * 100

    model, x = seeded(Sure()), images(8, seed=5)
    predicted = ablation_cam(model, "conv", x).classes
    reference = ablation_cam_reference(
        model, "conv", x, predicted.tolist(), score=lambda output, c: output.softmax(1)[0, c]
    )
    sure = (reference.scores > 1 - 1e-9) & (reference.scores < 1)
    assert sure.any()
    result = ablation_cam(model, "conv", x, predicted, score="probability")
    error = (result.drops - reference.drops).abs().amax(1) / reference.drops.abs().amax(1)
    assert error[sure].max() < 1e-2


@settings(max_examples=15)
@given(
    order=st.permutations(range(4)),
    budget=st.integers(1, 400_000),
    split=st.integers(1, 3),
)
def test_batches_chunks_and_order_do_not_change_results(order, budget, split):
    model, x = seeded(Skip()), images(4)
    classes = torch.tensor([2, 0, 3, 1])
    whole = ablation_cam(model, "conv", x, classes)
    scale = whole.drops.abs().max()
    order = torch.tensor(order)
    shuffled = ablation_cam(model, "conv", x[order], classes[order], memory_budget=budget)
    assert ((shuffled.drops - whole.drops[order]).abs().max() / scale) < 1e-5
    parts = [
        ablation_cam(model, "conv", x[rows], classes[rows])
        for rows in (slice(None, split), slice(split, None))
    ]
    assert ((torch.cat([p.drops for p in parts]) - whole.drops).abs().max() / scale) < 1e-5
    torch.testing.assert_close(torch.cat([p.heatmaps for p in parts]), whole.heatmaps)


def test_batch_statistics_keep_the_image_batch_whole():
    model, x = seeded(BatchStatistics()).double(), images().double()
    result = ablation_cam(model, "conv", x, CLASSES, memory_budget=1, engine="replay")
    activations = model.conv(x)

    def tail(a):
        return model.head(F.relu(model.bn(F.relu(a))).mean((2, 3)))

    rows = torch.arange(3)
    for k in range(5):
        ablated = activations.clone()
        ablated[:, k] = 0
        expected = (tail(activations) - tail(ablated))[rows, torch.tensor(CLASSES)]
        torch.testing.assert_close(result.drops[:, k], expected.detach())


def test_a_negative_score_does_not_flip_the_map():
    """One channel that supports the class, at a logit that the bias makes negative."""
    model = seeded(InplaceReLU())
    model.head.bias.data -= 100
    result = ablation_cam(model, "conv", images(), CLASSES)
    assert (result.scores < 0).all()
    assert (result.weights.sign() == result.drops.sign()).all()


def test_classes_forms_agree():
    model, x = seeded(ConvBN()), images()
    one = ablation_cam(model, "conv", x, 2)
    for classes in (
        [2, 2, 2],
        torch.tensor(2),
        torch.tensor([2, 2, 2]),
        torch.full((3,), 2).numpy(),
    ):
        assert torch.equal(ablation_cam(model, "conv", x, classes).drops, one.drops)
    predicted = ablation_cam(model, "conv", x)
    assert torch.equal(predicted.classes, model(x).argmax(dim=1))
    assert torch.equal(predicted.predicted, predicted.classes)
    torch.testing.assert_close(
        predicted.probabilities.float(), model(x).softmax(1).amax(1).detach()
    )


def test_result_is_consistent_frozen_and_on_the_cpu():
    result = ablation_cam(seeded(ConvBN()), "conv", images())
    assert result.heatmaps.shape == (3, 8, 8)
    assert (result.heatmaps >= 0).all()
    torch.testing.assert_close(result.ablated_scores, result.scores[:, None] - result.drops)
    torch.testing.assert_close(result.weights, result.drops / result.scores.abs()[:, None])
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.layer = "other"


def test_auto_finds_the_last_layer_that_reaches_the_score():
    assert ablation_cam(seeded(ConvBN()), "auto", images()).layer == "bn:activation"
    assert ablation_cam(seeded(Skip()), "auto", images()).layer == "mix:activation"
    assert ablation_cam(seeded(ChannelsLast()), "auto", images()).layer == "norm:activation"
    vit = seeded(TinyViT())
    assert ablation_cam(vit, "auto", images()).layer == "blocks.1.norm1"
    vit.head.weight.data.zero_()
    assert not ablation_cam(vit, "auto", images()).heatmaps.any()


class AttentionOfModules(nn.Module):
    """Its heads, which have no picture's positions, pass through modules of their own."""

    def __init__(self):
        super().__init__()
        self.qkv, self.norm, self.softmax = nn.Linear(8, 24), nn.LayerNorm(4), nn.Softmax(-1)
        self.turn = Turn()

    def forward(self, x):
        q, k, v = self.qkv(x).view(len(x), -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        weights = self.softmax(self.norm(q) @ self.turn(k).mT)
        return (weights @ v).transpose(1, 2).flatten(2)


class Turn(nn.Module):
    def forward(self, x):
        return x.flip(-1)


class BlockOfModules(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(8), AttentionOfModules()
        self.norm2, self.mlp = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def test_auto_takes_no_heads_of_an_attention():
    vit = TinyViT()
    vit.blocks = nn.Sequential(BlockOfModules(), BlockOfModules())
    assert ablation_cam(seeded(vit), "auto", images()).layer == "blocks.1.norm1"


def test_auto_takes_the_last_block_where_all_tokens_are_pooled():
    class Pooled(TinyViT):
        """There is a class token, which nothing is read from."""

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x[:, 1:].mean(1)))

    vit = seeded(Pooled())
    assert ablation_cam(vit, "auto", images()).layer == "blocks.1"
    vit.blocks = nn.Sequential(BlockOfModules(), BlockOfModules())
    assert ablation_cam(seeded(vit), "auto", images()).layer == "blocks.1"


def test_auto_takes_a_linear_layer_of_tokens_with_an_activation_only():
    class Probed(nn.Module):
        """A learned query looks at the tokens; their keys and values are no features."""

        def __init__(self, activation):
            super().__init__()
            self.patches, self.norm = nn.Conv2d(3, 8, 2, stride=2), nn.LayerNorm(8)
            self.kv, self.head = nn.Linear(8, 16), nn.Linear(8, 4)
            self.query = nn.Parameter(torch.linspace(-1, 1, 8).view(1, 1, 8))
            self.activation = activation

        def forward(self, x):
            x = self.norm(self.patches(x).flatten(2).mT)
            k, v = self.activation(self.kv(x)).chunk(2, dim=-1)
            query = self.query.expand(len(x), -1, -1)
            return self.head(F.scaled_dot_product_attention(query, k, v)[:, 0])

    for activation, layer in [(nn.Identity(), "norm"), (F.gelu, "kv:activation")]:
        assert ablation_cam(seeded(Probed(activation)), "auto", images()).layer == layer


def test_auto_takes_no_columns_of_a_map_for_a_class_token_and_a_grid():
    class Columns(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), Rows())
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            return self.head(self.body(x).mean(1))

    class Rows(nn.Module):
        def forward(self, x):
            return x.relu().mean(2).mT

    model = seeded(Columns())
    assert ablation_cam(model, "auto", images(side=17)).layer == "body.1:activation"


def test_auto_asks_what_reaches_the_score_and_feeds_finite_values():
    class TwoHeads(InplaceReLU):
        """A reconstruction that ends later than what the score is read from."""

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(6, track_running_stats=False)
            self.decoder = nn.Conv2d(6, 3, 1)

        def forward(self, x):
            assert torch.isfinite(x).all()
            features = self.relu(self.conv(x))
            assert torch.isfinite(features).all()
            return self.head(self.norm(features.mean((2, 3)))), self.decoder(features)

    result = ablation_cam(
        seeded(TwoHeads()),
        "auto",
        images(),
        [2, 0, 3],
        score=lambda output, classes: output[0].gather(1, classes[:, None])[:, 0],
        engine="replay",
    )
    assert result.layer == "relu"
    assert result.drops.any()


def test_torchscript_elsewhere_in_the_model_is_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(nn.Conv2d(3, 3, 1).eval(), images()))
    model = nn.Sequential(frozen, seeded(InplaceReLU()))
    by_name = ablation_cam(model, "1.conv", images(), engine="replay")
    assert ablation_cam(model, "auto", images(), engine="replay").layer == "1.relu"
    assert by_name.drops.any()


def test_module_as_target_and_forward():
    model, x = seeded(ConvBN()), images()
    by_name = ablation_cam(model, "conv", x)
    assert torch.equal(ablation_cam(model, model.conv, x).drops, by_name.drops)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x, key):
            return {"out": self.net(x)}

    result = ablation_cam(Wrapped(), "net.conv", x, forward=lambda m, x: m(x, key=1)["out"])
    assert torch.equal(result.drops, by_name.drops)


@pytest.mark.parametrize("case", ["one channel", "one pixel", "dead layer"])
def test_degenerate_networks(case):
    model, x = seeded(InplaceReLU()), images()
    if case == "one channel":
        model.conv, model.head = nn.Conv2d(3, 1, 1), nn.Linear(1, 4)
        model = seeded(model)
    if case == "one pixel":
        x = x[..., :1, :1]
    if case == "dead layer":
        model.conv.weight.data.zero_()
        model.conv.bias.data.zero_()
    result = ablation_cam(model, "conv", x, CLASSES)
    reference = ablation_cam_reference(model, "conv", x, CLASSES)
    torch.testing.assert_close(result.drops.double(), reference.drops, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.heatmaps.double(), reference.heatmaps, atol=1e-4, rtol=1e-3)
    if case == "dead layer":
        assert not result.drops.any()
        assert not result.weights.any()


def test_works_under_inference_mode_and_autocast():
    model, x = seeded(Skip()), images()
    plain = ablation_cam(model, "conv", x, CLASSES)
    with torch.inference_mode():
        inferred = ablation_cam(model, "conv", x * 1, CLASSES)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ablation_cam(model, "conv", x, CLASSES)
    # Not to the last bit: how kernels round may depend on where memory was given. In bfloat16
    # drops would differ in the second digit.
    for other in (inferred, mixed):
        torch.testing.assert_close(other.drops, plain.drops, rtol=1e-5, atol=1e-7)
    assert not inferred.drops.is_inference()


def test_half_precision_parameters_are_used_as_they_are():
    model, x = seeded(Skip()).bfloat16(), images().bfloat16()
    result = ablation_cam(model, "conv", x, CLASSES)
    assert result.drops.dtype == torch.float32
    assert torch.isfinite(result.heatmaps).all()


def test_bad_arguments_name_argument_value_and_choices():
    model, x = seeded(ConvBN()), images()

    def message(error, **changes):
        arguments = {"model": model, "target_layer": "conv", "inputs": x, **changes}
        with pytest.raises(error) as caught:
            ablation_cam(**arguments)
        return str(caught.value)

    assert "closest names: 'conv'" in message(ValueError, target_layer="convs")
    assert "'bn'" in message(ValueError, target_layer="zzzzzz")
    assert "not part of the model" in message(ValueError, target_layer=nn.ReLU())
    assert "expected 'auto', a dotted name" in message(TypeError, target_layer=3)
    assert "no spatial map: it returned shape (3, 4)" in message(ValueError, target_layer="head")
    assert "classes contains 9" in (text := message(ValueError, classes=9))
    assert "choose 0 to 3" in text
    assert "shape (2,)" in message(ValueError, classes=[0, 1])
    assert "float" in message(TypeError, classes=[0.5, 1.0, 2.0])
    assert "score='margin'" in (text := message(ValueError, score="margin"))
    assert "'logit', 'probability'" in text
    assert "returned (3, 4)" in message(ValueError, score=lambda output, classes: output)
    assert "ablation='one'" in message(ValueError, ablation="one")
    assert "returned (1,)" in message(ValueError, ablation=lambda a: a.new_zeros(1))
    assert "layout='CHW'" in message(ValueError, layout="CHW")
    assert "engine='fast'" in message(ValueError, engine="fast")
    assert "memory_budget=0" in message(ValueError, memory_budget=0)
    assert "6 channels" in message(ValueError, groups=[0, 1])
    assert "classes='predicted'" in message(TypeError, classes="predicted")
    assert "groups=['a'" in message(TypeError, groups=list("abcdef"))
    assert "memory_budget='1GB'" in message(TypeError, memory_budget="1GB")
    assert "inputs='cat.png'; expected a tensor" in message(TypeError, inputs="cat.png")
    assert "rejected the inputs '0' (3, 3, 8, 8)" in message(RuntimeError, inputs=[x])
    assert "model=3; expected an nn.Module" in message(TypeError, model=3)
    text = message(RuntimeError, inputs=x[:, :1])
    assert "rejected the inputs of shape (3, 1, 8, 8)" in text
    assert "forward=" in text


def test_an_output_without_logits_says_how_to_pass_forward():
    class Output(ConvBN):
        def forward(self, x):
            return {"boxes": [], "loss": super().forward(x).mean()}

    with pytest.raises(ValueError, match=r"dict with keys \['boxes', 'loss'\].*forward="):
        ablation_cam(seeded(Output()), "conv", images())


def test_layers_that_cannot_be_targets_say_why():
    class Odd(InplaceReLU):
        def __init__(self):
            super().__init__()
            self.unused = nn.Conv2d(3, 3, 1)
            self.pair = Pair()

        def forward(self, x):
            self.pair(x)
            return super().forward(self.relu(x))

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    model = seeded(Odd())
    with pytest.raises(ValueError, match="'unused' did not run"):
        ablation_cam(model, "unused", images())
    with pytest.raises(ValueError, match="'relu' ran 2 times"):
        ablation_cam(model, "relu", images())
    with pytest.raises(ValueError, match="'pair' returned a tuple"):
        ablation_cam(model, "pair", images())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ablation": "mean", "reference": images()},
        {"ablation": "noise", "reference": images()},
        {"score": "probability"},
    ],
)
def test_an_image_that_is_not_finite_does_not_spoil_the_others(bad, engine, options):
    model, inputs = seeded(ConvBN()), images(3)
    expected = ablation_cam(model, "conv", inputs, [0, 1, 2], engine=engine, **options)
    inputs[1, 0, 2, 2] = bad
    result = ablation_cam(seeded(ConvBN()), "conv", inputs, [0, 1, 2], engine=engine, **options)
    assert result.engine == engine
    assert not result.heatmaps[1].isfinite().all() or not result.scores[1].isfinite()
    for name in ("heatmaps", "drops", "scores"):
        one, other = getattr(result, name)[[0, 2]], getattr(expected, name)[[0, 2]]
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["propagate", "replay", "auto"])
@pytest.mark.parametrize("target", ["conv", "auto"])
def test_a_network_that_diverged_gives_nan_and_no_error(engine, target):
    model = seeded(ConvBN())
    model.head.weight.data.fill_(torch.nan)
    result = ablation_cam(model, target, images(2), 0, engine=engine)
    assert result.scores.isnan().all()
    assert result.heatmaps.isnan().any()


class Normalises(nn.Module):
    """Writes into its input."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place, self.body = in_place, seeded(ConvBN())

    def forward(self, x):
        return self.body(x.sub_(0.3).mul_(2) if self.in_place else (x - 0.3) * 2)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize("target", ["body.conv", "auto"])
def test_a_network_that_writes_into_its_inputs(engine, target):
    inputs = images(3)
    given = inputs.clone()
    expected = ablation_cam(Normalises(False), target, inputs, [0, 1, 2], engine=engine)
    result = ablation_cam(Normalises(True), target, inputs, [0, 1, 2], engine=engine)
    assert torch.equal(inputs, given)
    torch.testing.assert_close(result.drops, expected.drops, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.heatmaps, expected.heatmaps, rtol=1e-4, atol=1e-5)


def test_a_result_draws_itself():
    model, x = seeded(Skip()), images()
    result = ablation_cam(model, "conv", x, CLASSES)
    pictures = ProbeSet(x).pictures()
    drawn = result.draw(pictures, ["cat", "dog", "cup", "rocket", "boat"])
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] > 3 * 224
    cold = dataclasses.replace(
        result, heatmaps=torch.zeros_like(result.heatmaps), probabilities=None
    )
    assert not np.array_equal(cold.draw(pictures), drawn)
    with pytest.raises(ValueError, match="one entry for each of the 2 pictures"):
        result.draw(pictures[:2])
    with pytest.raises(ValueError, match="do not show the slices of the maps"):
        dataclasses.replace(result, heatmaps=torch.zeros(3, 2, 2, 2)).draw(pictures)


def pooled():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )


def own_mean(activations):
    return activations.mean((2, 3), keepdim=True).expand_as(activations)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_a_map_of_rounding_is_not_drawn(engine):
    # A channel's mean over its own image changes nothing before global average pooling.
    model, x = pooled(), images()
    with pytest.warns(UserWarning, match=r"more than its rounding in 3 of 3 images at '1'"):
        result = ablation_cam(model, "1", x, ablation=own_mean, engine=engine)
    assert not result.heatmaps.any()
    assert result.vanished.all()
    told = ablation_cam(model, "1", x, ablation="mean", engine=engine)
    assert told.heatmaps.amax() > 0
    assert not told.vanished.any()


def test_means_are_those_of_the_reference_set():
    model, x = pooled(), images()
    others = images(8, seed=5)
    with torch.no_grad():
        means = model[:2](others).mean((0, 2, 3))
    expected = ablation_cam(
        model, "1", x, ablation=lambda a: means.view(1, -1, 1, 1).expand_as(a).contiguous()
    )
    for reference in (others, ProbeSet(others)):
        result = ablation_cam(model, "1", x, ablation="mean", reference=reference)
        torch.testing.assert_close(result.drops, expected.drops)


def test_means_do_not_depend_on_how_images_are_batched():
    model, x = pooled(), images()
    whole = ablation_cam(model, "1", x, ablation="mean")
    parts = ablation_cam(model, "1", x, ablation="mean", memory_budget=1)
    torch.testing.assert_close(parts.drops, whole.drops)
    broken = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    beside = ablation_cam(model, "1", broken, ablation="mean")
    torch.testing.assert_close(beside.drops[:3], whole.drops)


@pytest.mark.parametrize(
    ("reference", "ablation", "error", "message"),
    [
        (3, "mean", TypeError, "reference=3; expected a tensor"),
        (torch.rand(0, 3, 8, 8), "mean", ValueError, "holds no image"),
        (torch.rand(2, 3, 8, 8), "zero", ValueError, "goes with ablation='mean' or 'noise' only"),
    ],
)
def test_what_is_wrong_with_a_reference_is_said(reference, ablation, error, message):
    with pytest.raises(error, match=message):
        ablation_cam(pooled(), "1", images(), ablation=ablation, reference=reference)
