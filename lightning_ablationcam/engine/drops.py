"""Choose an engine, check it, fall back: the drops of all pairs."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from lightning_ablationcam.engine.experience import experience_of
from lightning_ablationcam.engine.narrowing import narrowed
from lightning_ablationcam.engine.program import Program, PropagationError
from lightning_ablationcam.engine.propagate import layer_value, propagate_drops
from lightning_ablationcam.engine.readout import Readout, ScoreReadout, class_readout
from lightning_ablationcam.engine.recorder import Recording
from lightning_ablationcam.engine.replay import Replay, uses_batch_statistics
from lightning_ablationcam.engine.selfcheck import checked
from lightning_ablationcam.scores import Score

DEFAULT_MEMORY_SHARE = 0.25
"""Share of a CUDA device's free memory that a pass may use where no ``memory_budget`` is given."""

DEFAULT_MEMORY_BUDGET = 512 * 2**20
"""Bytes that a pass may use elsewhere: on a CPU larger batches are not faster."""


def find_drops(
    replay: Replay,
    recording: Recording,
    columns: tuple[Tensor, Tensor],
    scores: Tensor,
    score: Score,
    *,
    engine: str,
    memory_budget: int | None,
) -> tuple[Tensor, str, str | None]:
    """The drop of every (image, group) pair, the engine that found it, and why not the other.

    Args:
        replay: The reference engine, set up.
        recording: The intact pass.
        columns: (N,) int64, where the logits explained are in the output, and (N,) their signs.
        scores: (N,) the class scores.
        score: How a score is read.
        engine: ``"auto"``, ``"propagate"`` or ``"replay"``.
        memory_budget: Bytes, or None for the default.

    Returns:
        (N, G) drops; ``"propagate"`` or ``"replay"``; where ``"auto"`` had to replay, the reason.

    Raises:
        RuntimeError: If ``engine="propagate"`` and the tail cannot be propagated.
    """
    budget = memory_budget or _default_budget(recording.activations.device)
    if engine == "replay":
        return replay.drops(budget), "replay", None
    try:
        return _propagated(replay, recording, columns, scores, score, budget), "propagate", None
    except PropagationError as refusal:
        reason = refusal.explain(replay.model)
        if engine == "propagate":
            raise RuntimeError(
                f"engine='propagate' cannot run here: {reason}; choose engine='auto' or 'replay'"
            ) from refusal
    # Not in the handler, whose error would keep alive what the failed propagation computed.
    return replay.drops(budget), "replay", reason


def _propagated(
    replay: Replay,
    recording: Recording,
    columns: tuple[Tensor, Tensor],
    scores: Tensor,
    score: Score,
    memory_budget: int,
) -> Tensor:
    program = recording.tail
    if isinstance(program, PropagationError):
        raise program
    if uses_batch_statistics(replay.model):
        raise PropagationError("a batch norm uses the statistics of the batch")
    program = narrowed(program)
    start = layer_value(replay.activations, replay.ablated, replay.owners, replay.channel_dim)
    readout = _readout(program, recording, replay, columns[0], score)
    known = experience_of(replay.model, _signature(program, replay, score))
    drops = propagate_drops(
        program, start, readout, replay.changed, known, memory_budget=memory_budget
    )
    drops = drops.to(scores.dtype)
    if score == "logit":
        drops = drops * columns[1][:, None]
    checked(drops, scores, replay, known, memory_budget)
    return drops


def _readout(
    program: Program, recording: Recording, replay: Replay, columns: Tensor, score: Score
) -> Readout:
    if score == "logit":
        return class_readout(program, columns)
    return ScoreReadout(
        program.nodes,
        (program.output,),
        recording.output,
        replay.score_of,
        precise=score == "probability",
    )


def _signature(program: Program, replay: Replay, score: Score) -> Hashable:
    kind = score if isinstance(score, str) else "callable"
    return program.signature(), replay.channel_dim, tuple(replay.owners.tolist()), kind


def _default_budget(device: torch.device) -> int:
    if device.type == "cuda":
        return int(DEFAULT_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0])
    return DEFAULT_MEMORY_BUDGET
