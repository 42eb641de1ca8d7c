from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.method.heads.classes import MultiClass, OneLogit
from lightning_ablationcam.method.heads.meaning import Meaning
from tests.networks import images, seeded
from tests.reference import ablation_cam_reference


def head_of(output, count, activation=None):
    return Meaning().head(output, count, activation)


OUTPUT = torch.tensor([[1.0, 3.0, -2.0], [0.0, -1.0, 2.0]])
LOGITS = torch.tensor([[2.0], [-3.0], [0.0]])
SIDES = torch.tensor([1, 0, 1])


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values)))


def test_logit_and_probability_of_several_classes():
    head, classes = head_of(OUTPUT, 2), torch.tensor([1, 0])
    assert isinstance(head, MultiClass)
    assert head.predicted(OUTPUT, 2).tolist() == [1, 2]
    assert head.scores(OUTPUT, classes).tolist() == [3.0, 0.0]
    expected = [np.exp(3) / np.exp([1, 3, -2]).sum(), 1 / np.exp([0, -1, 2]).sum()]
    np.testing.assert_allclose(head.scores(OUTPUT, classes, "probability"), expected, rtol=1e-12)


def test_one_logit_takes_sides():
    head = head_of(LOGITS, 3)
    assert isinstance(head, OneLogit)
    assert head.predicted(LOGITS, 3).tolist() == [1, 0, 0]
    assert head.scores(LOGITS, SIDES).tolist() == [2.0, 3.0, 0.0]
    found = head.scores(LOGITS, SIDES, "probability")
    np.testing.assert_allclose(found, sigmoid([2, 3, 0]), rtol=1e-12)


def test_outputs_that_are_probabilities_already():
    one, several = head_of(LOGITS.sigmoid(), 3, "sigmoid"), head_of(OUTPUT, 2, "softmax")
    assert one.predicted(LOGITS.sigmoid(), 3).tolist() == [1, 0, 0]
    expected = sigmoid([2, 3, 0])
    for score in ("logit", "probability"):
        found = one.scores(LOGITS.sigmoid(), SIDES, score)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    shares = OUTPUT.softmax(1)
    found = several.scores(shares, torch.tensor([1, 0]), "probability")
    np.testing.assert_allclose(found, shares[[0, 1], [1, 0]], rtol=1e-6)


def test_a_softmax_of_one_column_says_nothing():
    assert head_of(LOGITS, 3, "softmax").activation is None


def test_what_captions_say():
    own = lambda output, classes: output[:, 0]  # noqa: E731
    assert MultiClass().says(OUTPUT, torch.tensor([1, 0]), own, 5).probabilities is None
    sure = MultiClass("sigmoid")
    assert sure.says(OUTPUT, torch.tensor([1, 0]), own, 5).probabilities.tolist() == [3, 0]
    assert sure.says(OUTPUT, torch.tensor([1, 7]), own, 5).probabilities is None
    said = OneLogit().says(LOGITS, SIDES, own, 5)
    assert said.predicted.tolist() == [1, 0, 0]
    np.testing.assert_allclose(said.probabilities, sigmoid([2, 3, 0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_scores_have_at_least_float32(dtype, expected):
    head = MultiClass()
    assert head.scores(OUTPUT.to(dtype), torch.tensor([0, 0])).dtype == expected
    mean = head.scores(OUTPUT.to(dtype), torch.tensor([0, 0]), lambda out, c: out.mean(1))
    assert mean.dtype == expected


@pytest.mark.parametrize(
    ("output", "pattern"),
    [
        (torch.zeros(2), r"shape \(2,\)"),
        (torch.zeros(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.zeros(2, 3, dtype=torch.int64), "int64"),
        (torch.zeros(1, 3), r"expected logits of shape \(2, classes\)"),
    ],
)
def test_outputs_that_are_no_logits(output, pattern):
    with pytest.raises(ValueError, match=pattern):
        head_of(output, 2).scores(output, torch.tensor([0, 0]))


def test_classes_out_of_range():
    with pytest.raises(ValueError, match="classes contains -1"):
        MultiClass().scores(OUTPUT, torch.tensor([0, -1]))
    with pytest.raises(ValueError, match="classes contains 2, but the model's output has 2"):
        OneLogit().scores(LOGITS, torch.tensor([0, 1, 2]))


class Binary(nn.Module):
    """One logit, or what an activation makes of it."""

    def __init__(self, activation=nn.Identity, columns=1):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.head = nn.Linear(6, columns)
        self.activation = activation()

    def forward(self, x):
        return self.activation(self.head(F.relu(self.conv(x)).mean((2, 3))))


def hinted(output, classes):
    """What an error once advised for networks of one logit."""
    return output[:, 0] * (2 * classes - 1)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize("score", ["logit", hinted], ids=["logit", "hinted"])
def test_a_network_of_one_logit(engine, score):
    model, x = seeded(Binary()).double(), images(6).double()
    logits = model(x)[:, 0].detach()
    assert 0 < int((logits > 0).sum()) < 6
    result = ablation_cam(model, "conv", x, engine=engine, score=score)
    sides = (logits > 0).long()
    assert torch.equal(result.predicted, sides)
    assert torch.equal(result.classes, sides)
    torch.testing.assert_close(result.scores, logits.abs())
    torch.testing.assert_close(result.probabilities, logits.abs().sigmoid())
    other = ablation_cam(model, "conv", x, 1 - sides, engine=engine, score=score)
    torch.testing.assert_close(other.drops, -result.drops)
    two = nn.Sequential(model, Both())
    reference = ablation_cam_reference(two, "0.conv", x, sides)
    torch.testing.assert_close(result.drops, reference.drops, rtol=1e-9, atol=1e-12)


class Both(nn.Module):
    """One logit as a column for each side."""

    def forward(self, logit):
        return torch.cat([-logit, logit], dim=1)


@pytest.mark.parametrize(
    ("network", "probabilities"),
    [
        (Binary(nn.Sigmoid), lambda logits: logits.abs().sigmoid()[:, 0]),
        (Binary(nn.Sigmoid, columns=4), lambda logits: logits.sigmoid().amax(1)),
        (Binary(lambda: nn.Softmax(1), columns=4), lambda logits: logits.softmax(1).amax(1)),
        (Binary(columns=4), lambda logits: logits.softmax(1).amax(1)),
    ],
    ids=["sigmoid of one", "sigmoids", "softmax", "logits"],
)
def test_networks_that_end_in_an_activation_are_captioned_with_what_it_says(network, probabilities):
    model, x = seeded(network), images(6)
    logits = model.head(F.relu(model.conv(x)).mean((2, 3))).detach()
    result = ablation_cam(model, "conv", x)
    predicted = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
    assert torch.equal(result.predicted, predicted)
    torch.testing.assert_close(result.probabilities.float(), probabilities(logits))
