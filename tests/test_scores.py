from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_ablationcam.scores import class_scores, resolve_classes

OUTPUT = torch.tensor([[1.0, 3.0, -2.0], [0.0, -1.0, 2.0]])


def test_logit_and_probability():
    classes = torch.tensor([1, 0])
    assert class_scores(OUTPUT, classes).tolist() == [3.0, 0.0]
    expected = [np.exp(3) / np.exp([1, 3, -2]).sum(), 1 / np.exp([0, -1, 2]).sum()]
    np.testing.assert_allclose(class_scores(OUTPUT, classes, "probability"), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_scores_have_at_least_float32(dtype, expected):
    assert class_scores(OUTPUT.to(dtype), torch.tensor([0, 0])).dtype == expected
    mean = class_scores(OUTPUT.to(dtype), torch.tensor([0, 0]), lambda out, c: out.mean(1))
    assert mean.dtype == expected


def test_resolve_classes_reads_predictions_only_when_asked():
    device = torch.device("cpu")
    assert resolve_classes(None, OUTPUT, 2, device).tolist() == [1, 2]
    assert resolve_classes(1, None, 2, device).tolist() == [1, 1]
    assert resolve_classes(np.array([2, 0]), None, 2, device).dtype == torch.int64


@pytest.mark.parametrize(
    ("output", "pattern"),
    [
        (torch.zeros(2), r"shape \(2,\)"),
        (torch.zeros(2, 3, 4, 4), r"shape \(2, 3, 4, 4\)"),
        (torch.zeros(2, 3, dtype=torch.int64), "int64"),
        (torch.zeros(1, 3), r"expected logits of shape \(2, classes\)"),
    ],
)
def test_outputs_that_are_no_logits(output, pattern):
    with pytest.raises(ValueError, match=pattern):
        class_scores(output, torch.tensor([0, 0]))


def test_negative_classes_are_out_of_range_and_single_outputs_get_a_hint():
    with pytest.raises(ValueError, match="classes contains -1"):
        class_scores(OUTPUT, torch.tensor([0, -1]))
    with pytest.raises(ValueError, match="single output"):
        class_scores(OUTPUT[:, :1], torch.tensor([0, 1]))
