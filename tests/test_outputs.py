"""Logits are found in whatever a model returns."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.method.outputs import OutputError, check_output, picked
from tests.networks import ConvBN, images, seeded
from tests.reference import ablation_cam_reference

LOGITS, FEATURES = torch.rand(3, 4), torch.rand(3, 7)
MAPS = torch.rand(3, 5, 8, 8)
Named = namedtuple("Named", "features logits")


@dataclass
class Returned:
    loss: object
    prediction: torch.Tensor


@pytest.mark.parametrize(
    "returned",
    [
        LOGITS,
        {"features": FEATURES, "logits": LOGITS},
        {"logits_per_image": LOGITS, "logits_per_text": LOGITS.T, "image_embeds": FEATURES},
        OrderedDict(out=LOGITS, aux=FEATURES),
        {"pred": LOGITS, "loss": torch.tensor(1.0)},
        (LOGITS, MAPS),
        [LOGITS, None, "name"],
        ({"deep": [LOGITS]}, 3),
        Named(FEATURES, LOGITS),
        Returned(None, LOGITS),
    ],
)
def test_logits_are_found_by_convention(returned):
    assert picked(returned, None, 3) is LOGITS


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        ((FEATURES, LOGITS), 1),
        ((FEATURES, LOGITS), "1"),
        ({"a": {"b": (FEATURES, LOGITS)}}, "a.b.1"),
        (Named(LOGITS, FEATURES), "features"),
        (Named(LOGITS, FEATURES), 0),
        (Returned(FEATURES, LOGITS), "prediction"),
    ],
)
def test_logits_are_named(returned, output):
    assert picked(returned, output, 3) is LOGITS


def test_one_number_an_image_is_one_column():
    assert picked(torch.rand(3), None, 3).shape == (3, 1)
    assert picked({"y": torch.rand(3)}, None, 3).shape == (3, 1)
    assert picked(torch.tensor(0.5), None, 1).shape == (1, 1)
    assert picked(torch.arange(3), None, 3).shape == (3,)  # No score: heads refuse it.


def test_what_is_unclear_is_listed():
    with pytest.raises(OutputError, match=r"could be '0' \(3, 7\), '1' \(3, 4\).*output='0'"):
        picked((FEATURES, LOGITS), None, 3)
    with pytest.raises(OutputError, match=r"output='logit' is not in what.*'logits' \(3, 4\)"):
        picked({"logits": LOGITS}, "logit", 3)
    with pytest.raises(OutputError, match=r"output='a' is a dict with keys \['b'\]; expected"):
        picked({"a": {"b": LOGITS}}, "a", 3)
    with pytest.raises(OutputError, match=r"a list of 3 without logits for 3 images: '0.boxes'"):
        picked([{"boxes": torch.rand(5, 4), "labels": torch.arange(5)}] * 3, None, 3)
    many = {f"part{i}": FEATURES + i for i in range(12)}
    with pytest.raises(OutputError, match="and 4 more; say which"):
        picked(many, None, 3)


@pytest.mark.parametrize("output", [1.5, True, ["logits"], b"logits"])
def test_output_is_a_name_or_a_place(output):
    with pytest.raises(TypeError, match="output="):
        check_output(output)


@pytest.mark.parametrize("output", ["", -1, 10**9])
def test_a_place_counts_from_zero(output):
    with pytest.raises(ValueError, match=r"output=.*a place such as 0"):
        check_output(output)


class Returning(ConvBN):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(super().forward(x))


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda y: {"logits": y, "hidden": y.mean((1,))}, None),
        (lambda y: (y[:, :3], y), 1),
        (lambda y: Named(y * 2, y), None),
        (lambda y: Returned(None, y), None),
    ],
)
def test_drops_of_packed_logits_are_those_of_the_logits(engine, wrap, output):
    model, x = seeded(Returning(wrap)).double(), images().double()
    result = ablation_cam(model, "conv", x, 1, engine=engine, output=output)
    bare = seeded(ConvBN()).double()
    reference = ablation_cam_reference(bare, "conv", x, [1] * 3)
    torch.testing.assert_close(result.drops, reference.drops, rtol=1e-9, atol=1e-12)
    assert (result.engine, result.task) == (engine, "multiclass")
    assert result.probabilities is not None


def test_a_score_of_ones_own_reads_everything_unless_a_part_is_named():
    model, x = seeded(Returning(lambda y: {"logits": y, "twice": 2 * y})), images()
    seen = []

    def score(output, classes):
        seen.append(type(output).__name__)
        return (output["twice"] if isinstance(output, dict) else output)[:, 0]

    both = ablation_cam(model, "conv", x, 0, score=score)
    one = ablation_cam(model, "conv", x, 0, score=score, output="logits")
    torch.testing.assert_close(both.drops, 2 * one.drops)
    assert set(seen) == {"dict", "Tensor"}
    assert both.engine == one.engine == "propagate"


def test_a_name_that_holds_classes_holds_no_logits():
    assert picked({"preds": LOGITS.argmax(1), "probs": LOGITS}, None, 3) is LOGITS
