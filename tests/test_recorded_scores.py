"""Scores of the user's own are recorded with the tail, whatever the model returns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from tests.networks import images
from tests.reference import ablation_cam_reference

CLASSES = [1, 0, 2]


class Returning(nn.Module):
    """A small network that returns whatever ``wrap`` makes of its logits and embedding."""

    def __init__(self, wrap):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.embed = nn.Linear(6, 7)
        self.head = nn.Linear(7, 4)
        self.wrap = wrap

    def forward(self, inputs):
        embedding = self.embed(self.conv(inputs).relu().mean((2, 3)))
        return self.wrap(self.head(embedding.tanh()), embedding)


def picked(logits, classes):
    return logits.gather(1, classes[:, None])[:, 0]


OUTPUTS = {
    "a dict": (
        lambda logits, embedding: {"logits": logits, "embedding": embedding},
        lambda output, classes: picked(output["logits"], classes),
    ),
    "a tuple": (
        lambda logits, embedding: (embedding, [logits]),
        lambda output, classes: output[1][0][torch.arange(len(classes)), classes],
    ),
    "an object": (
        lambda logits, embedding: SimpleNamespace(logits=logits),
        lambda output, classes: picked(output.logits.log_softmax(1), classes),
    ),
    "two parts at once": (
        lambda logits, embedding: {"logits": logits, "embedding": embedding},
        lambda output, classes: (
            picked(output["logits"], classes) + output["embedding"].square().sum(1)
        ),
    ),
    "similarity to a vector": (
        lambda logits, embedding: embedding,
        lambda output, classes: nn.functional.cosine_similarity(
            output, torch.arange(7.0, dtype=output.dtype).expand_as(output)
        ),
    ),
    "written in place": (
        lambda logits, embedding: {"logits": logits},
        lambda output, classes: picked(output["logits"].mul_(2).sub_(1), classes),
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_any_output_is_propagated(name):
    wrap, score = OUTPUTS[name]
    torch.manual_seed(3)
    model, x = Returning(wrap).double(), images(3).double()
    result = ablation_cam(model, "conv", x, CLASSES, score=score, engine="propagate")
    expected = ablation_cam_reference(
        model, "conv", x, CLASSES, score=lambda output, c: score(output, torch.tensor([c]))[0]
    )
    largest = expected.drops.abs().max()
    assert (result.drops - expected.drops).abs().max() <= 1e-9 * largest
    assert (result.scores - expected.scores).abs().max() <= 1e-12 * expected.scores.abs().max()


def test_a_score_that_reads_values_is_replayed():
    def score(output, classes):
        return picked(output["logits"], classes) * output["logits"].max().item()

    model = Returning(OUTPUTS["a dict"][0])
    with pytest.warns(UserWarning, match="replays the network for every channel"):
        result = ablation_cam(model, "conv", images(3), CLASSES, score=score)
    assert result.engine == "replay"


def test_a_score_that_cannot_be_recorded_of_a_tensor_is_still_propagated():
    def score(output, classes):
        return torch.tensor([float(row[c]) for row, c in zip(output, classes, strict=True)])

    model = Returning(lambda logits, embedding: logits)
    result = ablation_cam(model, "conv", images(3), CLASSES, score=score)
    assert result.engine == "propagate"
    expected = ablation_cam(model, "conv", images(3), CLASSES)
    torch.testing.assert_close(result.drops, expected.drops, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*no channel moves the score by more than its rounding")
def test_the_drop_of_a_picked_logit_is_not_a_difference():
    # The scores are so large that float32 has no digit left for a difference of them.
    torch.manual_seed(0)
    model = Returning(lambda logits, embedding: {"logits": logits + 1e7})
    model.head.weight.data *= 1e-2
    result = ablation_cam(
        model, "conv", images(3), CLASSES, score=lambda o, c: picked(o["logits"], c)
    )
    assert result.engine == "propagate"
    plain = Returning(lambda logits, embedding: logits)
    plain.load_state_dict(model.state_dict())
    expected = ablation_cam(plain, "conv", images(3), CLASSES)
    torch.testing.assert_close(result.drops, expected.drops, rtol=1e-3, atol=1e-9)
