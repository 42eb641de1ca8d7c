"""Check the drops of a new program against a few replayed pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_ablationcam.engine.experience import Experience
from lightning_ablationcam.engine.program import PropagationError
from lightning_ablationcam.engine.replay import Replay

LARGEST, SPREAD = 4, 4
"""How many pairs are replayed: with the largest drops, and evenly spread over all pairs."""

TOLERANCE = 2e-3
"""Error allowed in a drop, as a share of the largest; the replay's rounding is added to it."""

ROUNDING = 64
"""Rounding allowed in a replayed drop, in units of the last place of the largest score."""


def checked(
    drops: Tensor, computed: Tensor, replay: Replay, known: Experience, memory_budget: int
) -> None:
    """Compare some drops with replay, once for each program of a model.

    Args:
        drops: (N, G, Q) what propagation found.
        computed: (N, G) bool, which of them it computed; others are not compared.
        replay: The reference.
        known: What is known of the program; set to checked when the drops are right.
        memory_budget: Bytes that the replay may use.

    Raises:
        PropagationError: If they differ.
    """
    if known.checked:
        return
    question, scores = replay.question, replay.question.scores
    # Only finite drops are compared: NaN and infinity say nothing about the program.
    finite = drops.isfinite().all(dim=2) & scores.isfinite().all(dim=1)[:, None]
    compared = question.changed & finite & computed.to(drops.device)
    pairs = _sample(drops.abs().amax(dim=2), compared)
    if not len(pairs):
        return
    expected = replay.in_batches(pairs, replay.pairs_within(memory_budget))
    found = drops[pairs[:, 0], pairs[:, 1]]
    rounding = (
        ROUNDING
        * torch.finfo(question.activations.dtype).eps
        * scores[scores.isfinite()].abs().max()
    )
    allowed = TOLERANCE * torch.maximum(found.abs().max(), expected.abs().max()) + rounding
    off = float((found - expected).abs().max())
    if not off <= float(allowed):
        raise PropagationError(
            f"a check on {len(pairs)} pairs found a drop off by {off:.2g} from its replay"
        )
    known.checked = True


def _sample(drops: Tensor, changed: Tensor) -> Tensor:
    """(P, 2) the pairs with the largest drops and some spread over all that change."""
    live = changed.flatten().nonzero().flatten()
    if not len(live):
        return changed.nonzero()
    largest = live[drops.abs().flatten()[live].topk(min(LARGEST, len(live))).indices]
    steps = torch.linspace(0, len(live) - 1, min(SPREAD, len(live)), device=live.device)
    chosen = torch.unique(torch.cat([largest, live[steps.long()]]))
    return torch.stack([chosen // drops.shape[1], chosen % drops.shape[1]], dim=1)
