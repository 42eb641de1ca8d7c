"""Detectors return boxes; the strongest of a class is a score."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam, strongest_box
from tests.networks import images, seeded


class Detector(nn.Module):
    """Keeps the places where a class is likely, as many as there are."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, pictures):
        found = self.head(self.conv(pictures).relu()).flatten(2).softmax(1)
        scores, labels = found.max(1)
        return [
            {"scores": s[s > 0.5], "labels": c[s > 0.5]}
            for s, c in zip(scores, labels, strict=True)
        ]


def test_the_strongest_box_of_a_class_is_the_score():
    model, x = seeded(Detector()).double(), images().double()
    with pytest.warns(UserWarning, match="replays the network for every channel"):
        result = ablation_cam(model, "conv", x, 1, score=strongest_box)
    assert result.engine == "replay"
    activations = model.conv(x).detach()
    for channel in range(6):
        without = activations.clone()
        without[:, channel] = 0
        found = model.head(without.relu()).flatten(2).softmax(1).detach()
        scores, labels = found.max(1)
        best = torch.where((labels == 1) & (scores > 0.5), scores, 0).amax(1)
        torch.testing.assert_close(result.ablated_scores[:, channel], best)


def test_there_may_be_no_box():
    nothing = {"labels": torch.zeros(0, dtype=torch.long), "scores": torch.zeros(0)}
    assert strongest_box([nothing], torch.tensor([0])).tolist() == [0]


@pytest.mark.parametrize("output", [torch.zeros(2, 3), [{"labels": torch.zeros(1)}], {"labels": 1}])
def test_other_outputs_are_refused(output):
    with pytest.raises(TypeError, match=r"strongest_box got .*expected a list of dicts"):
        strongest_box(output, torch.tensor([0]))


def test_without_a_score_the_message_leads_there():
    with pytest.raises(ValueError, match=r"list of 3 without logits.*strongest_box"):
        ablation_cam(seeded(Detector()), "conv", images())
