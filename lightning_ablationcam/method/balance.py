"""How much of what channels do to a score speaks for it."""

from __future__ import annotations

import torch
from torch import Tensor


def balance_of(drops: Tensor) -> Tensor:
    """The share of the channels' influence on a score that speaks for the class.

    The strength of a map, as a number that may be compared over time and between runs. Heat itself
    may not: it grows with the activations and with 1 / |score|, and an early map with a score near
    zero can be a hundred times as hot as all later ones. Of the strengths tried on three trainings
    (``tests/benchmarks/bench_scale.py``), this one goes along with the probability in all of them,
    means the same in all of them, and also holds for ``score="probability"``, whose drops vanish
    once a network is sure.

    Args:
        drops: (N, G) score minus ablated score, of each group of channels.

    Returns:
        (N,) float64, sum(max(drop, 0)) / sum(|drop|), in 0 (all speaks against the class) ... 1
        (all speaks for it). 0.5 where no channel matters; NaN where a drop is not finite.

    Example:
        >>> balance_of(torch.tensor([[3.0, -1.0], [0.0, 0.0]]))
        tensor([0.7500, 0.5000], dtype=torch.float64)
    """
    drops = drops.double()
    largest = drops.abs().amax(dim=1, keepdim=True)
    # By the largest first: a sum of very large drops would leave the range of numbers.
    shares = drops / torch.where(largest > 0, largest, 1)
    total = shares.abs().sum(dim=1)
    balance = shares.clamp(min=0).sum(dim=1) / torch.where(total > 0, total, 1)
    return torch.where(total == 0, 0.5, balance)
