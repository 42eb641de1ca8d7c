from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_ablationcam.method.heatmaps import signed_heatmaps
from lightning_ablationcam.method.weights import SCORE_FLOOR, channel_weights


def test_equals_the_paper_where_the_score_is_positive():
    drops = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    scores = torch.tensor([4.0, 2.0])
    torch.testing.assert_close(channel_weights(drops, scores), drops / scores[:, None])


def test_a_negative_score_does_not_turn_the_weights_around():
    drops = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(channel_weights(drops, torch.tensor([-4.0])), drops / 4)


def test_a_score_near_zero_does_not_explode():
    weights = channel_weights(torch.tensor([[2.0, -1.0]]), torch.tensor([0.0]))
    torch.testing.assert_close(weights, torch.tensor([[1 / SCORE_FLOOR, -0.5 / SCORE_FLOOR]]))


def test_a_broken_score_does_not_look_calm_nor_spoil_the_others():
    weights = channel_weights(
        torch.tensor([[1.0, float("nan")], [1.0, 0.0]]), torch.tensor([float("nan"), 2.0])
    )
    assert weights[0].isnan().all()
    assert weights[1].tolist() == [0.5, 0.0]


def test_nothing_matters():
    assert channel_weights(torch.zeros(1, 3), torch.zeros(1)).tolist() == [[0.0, 0.0, 0.0]]


@given(st.floats(1e-3, 1e3), st.integers(0, 5))
def test_the_scale_of_the_score_cancels(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    drops = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    scores = torch.tensor([1e-5, 3.0], dtype=torch.float64)
    torch.testing.assert_close(
        channel_weights(drops * scale, scores * scale), channel_weights(drops, scores)
    )


def test_heatmaps_for_any_number_of_spatial_dimensions():
    weights = torch.tensor([[1.0, -2.0]])
    for shape in ((3,), (2, 3), (2, 3, 4)):
        maps = torch.rand(1, 2, *shape, generator=torch.Generator().manual_seed(0))
        expected = maps[:, 0] - 2 * maps[:, 1]
        torch.testing.assert_close(signed_heatmaps(weights, maps), expected)
    assert signed_heatmaps(weights.double(), torch.rand(1, 2, 3)).dtype == torch.float64
