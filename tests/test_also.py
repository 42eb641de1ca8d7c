"""Further classes from the same recording, and one class against another."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from tests.networks import (
    BatchStatistics,
    ChannelsLast,
    ConvBN,
    Dropouts,
    Skip,
    TinyViT,
    images,
    seeded,
)
from tests.reference import ablation_cam_reference

CLASSES = [2, 0, 3]
TARGETS = {
    ConvBN: "conv",
    Skip: "conv",
    Dropouts: "conv",
    ChannelsLast: "norm",
    TinyViT: "blocks.1.norm1",
    BatchStatistics: "conv",
}


def network(kind):
    return seeded(kind()).double(), images().double()


def same(result, expected, tolerance=1e-9):
    largest = expected.drops.abs().max()
    assert largest > 0
    assert (result.drops - expected.drops).abs().max() <= tolerance * largest
    torch.testing.assert_close(result.scores, expected.scores, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(result.heatmaps, expected.heatmaps, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("engine", ["auto", "replay"])
@pytest.mark.parametrize("score", ["logit", "probability", "contrast"])
@pytest.mark.filterwarnings("ignore:.*replays the network")
def test_each_class_is_what_it_is_alone(kind, engine, score):
    model, x = network(kind)
    also = ("rival", "predicted", 1, [0, 1, 2])
    options = {"engine": engine, "score": score}
    result = ablation_cam(model, TARGETS[kind], x, CLASSES, also=also, **options)
    assert [each.role for each in result.also] == ["rival", "predicted", "class 1", "classes"]
    for each in (result, *result.also):
        same(each, ablation_cam(model, TARGETS[kind], x, each.classes, **options))
    logits = model(x).detach()
    others = logits.scatter(1, torch.tensor(CLASSES)[:, None], -torch.inf).argmax(1)
    assert torch.equal(result.also[0].classes, others)
    assert torch.equal(result.also[1].classes, logits.argmax(1))
    assert result.also[3].classes.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", [ConvBN, Skip, TinyViT])
def test_a_contrast_is_one_logit_minus_another(kind):
    model, x = network(kind)
    result = ablation_cam(model, TARGETS[kind], x, CLASSES, score="contrast", engine="propagate")
    logits = model(x).detach()
    rivals = logits.scatter(1, torch.tensor(CLASSES)[:, None], -torch.inf).argmax(1)
    rival_of = dict(zip(CLASSES, rivals.tolist(), strict=True))
    options = {}
    if kind is TinyViT:
        side = result.heatmaps.shape[1]
        options = {
            "channel_dim": -1,
            "to_maps": lambda a: a[:, 1:].reshape(1, side, side, -1).movedim(-1, 1),
        }
    expected = ablation_cam_reference(
        model,
        TARGETS[kind],
        x,
        CLASSES,
        score=lambda output, c: output[0, c] - output[0, rival_of[c]],
        **options,
    )
    largest = expected.drops.abs().max()
    assert (result.drops - expected.drops).abs().max() <= 1e-9 * largest
    plain = ablation_cam(model, TARGETS[kind], x, CLASSES, also=("rival",))
    torch.testing.assert_close(result.drops, plain.drops - plain.also[0].drops)


def test_one_logit_has_the_other_side_for_a_rival():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 1))
    x = images()
    result = ablation_cam(model, "0", x, [0, 1, 1], also=("rival",))
    assert result.also[0].classes.tolist() == [1, 0, 0]
    torch.testing.assert_close(result.also[0].drops, -result.drops)
    contrast = ablation_cam(model, "0", x, [0, 1, 1], score="contrast")
    torch.testing.assert_close(contrast.drops, 2 * result.drops)
    assert torch.equal(result.top_classes[:, 0], result.predicted)
    torch.testing.assert_close(result.top_probabilities.sum(1), torch.ones(3).double())


def test_the_likeliest_classes_come_first():
    model, x = network(ConvBN)
    result = ablation_cam(model, "conv", x)
    probabilities = model(x).detach().softmax(1)
    expected = probabilities.sort(dim=1, descending=True)
    assert torch.equal(result.top_classes, expected.indices)
    torch.testing.assert_close(result.top_probabilities, expected.values)
    own = ablation_cam(model, "conv", x, 1, score=lambda output, c: output[:, 1])
    assert own.top_classes is None


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_batches_of_images_are_joined_class_by_class(engine):
    model, x = network(Skip)
    options = {"also": ("rival", [1, 2, 0]), "engine": engine}
    whole = ablation_cam(model, "conv", x, CLASSES, **options)
    parts = ablation_cam(model, "conv", x, CLASSES, memory_budget=1, **options)
    for one, other in zip((whole, *whole.also), (parts, *parts.also), strict=True):
        same(other, one)
        assert torch.equal(one.classes, other.classes)
        assert one.role == other.role


class Wrapped(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return {"logits": self.inside(x)}


def read(output, classes):
    return output["logits"].gather(1, classes[:, None])[:, 0]


def test_scores_of_your_own_explain_classes_that_are_given():
    model, x = network(Skip)
    wrapped = Wrapped(model)
    plain = ablation_cam(model, "conv", x, CLASSES, also=(1,))
    result = ablation_cam(
        wrapped, "inside.conv", x, CLASSES, also=(1,), score=read, engine="propagate"
    )
    same(result, plain)
    same(result.also[0], plain.also[0])
    with pytest.warns(UserWarning, match="no column for each class"):
        result = ablation_cam(wrapped, "inside.conv", x, CLASSES, also=("rival", 1), score=read)
    assert [each.role for each in result.also] == ["class 1"]
    assert result.engine == "propagate"


def test_scores_of_your_own_of_logits_have_a_rival():
    model, x = network(Skip)
    plain = ablation_cam(model, "conv", x, CLASSES, also=("rival",))
    result = ablation_cam(
        model,
        "conv",
        x,
        CLASSES,
        also=("rival",),
        score=lambda output, classes: output.gather(1, classes[:, None])[:, 0],
        engine="propagate",
    )
    same(result.also[0], plain.also[0], tolerance=1e-7)


@pytest.mark.parametrize(
    ("also", "error", "message"),
    [
        ("rival", TypeError, "also='rival'; expected a list of 'rival', 'predicted', 'label'"),
        (3, TypeError, "also=3; expected a list"),
        (("best",), ValueError, "asks for 'best'; expected a list"),
        ((None,), TypeError, "asks for None"),
        (("rival", "rival"), ValueError, "names 'rival' twice"),
        (range(9), ValueError, "has 9 entries; expected 8 at most"),
        (("label",), ValueError, "also='label': there are no such labels"),
        (([0, 1],), ValueError, r"also has shape \(2,\); expected None, an int or one int"),
        ((9,), ValueError, "classes contains 9"),
        (([0.5, 1.0, 2.0],), TypeError, "also="),
    ],
)
def test_what_is_wrong_with_also_is_said(also, error, message):
    with pytest.raises(error, match=message):
        ablation_cam(seeded(ConvBN()), "conv", images(), CLASSES, also=also)
