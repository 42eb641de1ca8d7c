"""From score drops to channel weights."""

from __future__ import annotations

import torch
from torch import Tensor

SCORE_FLOOR = 1e-3
"""The smallest |score| that a drop is divided by, as a share of the image's largest |drop|.

Weights therefore never exceed 1 / SCORE_FLOOR, and the floor moves with the score's own scale:
multiplying all logits by a constant leaves the weights as they are.
"""


def channel_weights(drops: Tensor, scores: Tensor) -> Tensor:
    """The weight of each channel: its relative drop, (y - y_k) / max(|y|, floor).

    The paper divides by y. Where y is negative, as the logit of an untrained class often is, that
    would flip the map, and where y is near zero explode it; dividing by the floored |y| equals the
    paper wherever y is positive and above the floor.

    Args:
        drops: (N, K) score minus ablated score.
        scores: (N,) class score y of the intact model.

    Returns:
        (N, K) weights, in the dtype of ``drops``. All zero for an image where no channel matters;
        NaN where the score is, so that a broken network does not look like a calm one.

    Source:
        Desai & Ramaswamy, "Ablation-CAM", WACV 2020, equation of the slope and its simplification.

    Example:
        >>> channel_weights(torch.tensor([[1.0, -0.5]]), torch.tensor([2.0]))
        tensor([[ 0.5000, -0.2500]])
    """
    floor = SCORE_FLOOR * drops.abs().amax(dim=1)
    divisor = torch.maximum(scores.abs().to(drops.dtype), floor)
    nothing = (divisor == 0)[:, None]
    return torch.where(nothing, torch.zeros_like(drops), drops / divisor[:, None])
