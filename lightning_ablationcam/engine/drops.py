"""Find the drops of all pairs: choose an engine, check it, fall back to replay."""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor

from lightning_ablationcam.engine.experience import experience_of
from lightning_ablationcam.engine.memory import default_budget
from lightning_ablationcam.engine.narrowing import narrowed
from lightning_ablationcam.engine.program import Program, PropagationError
from lightning_ablationcam.engine.propagate import layer_value, propagate_drops
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.readout import Columns, Readout, ScoreReadout, affine_readout
from lightning_ablationcam.engine.replay import Replay, uses_batch_statistics
from lightning_ablationcam.engine.selfcheck import checked


def find_drops(
    question: Question,
    tail: Program | PropagationError,
    *,
    engine: str,
    memory_budget: int | None,
) -> tuple[Tensor, str, str | None]:
    """Find the drop of every (image, group) pair, and say which engine found them.

    Args:
        question: The question to answer.
        tail: The program from the layer's output to the model's output (to the scores if
            ``question.scored``), or the error that says why there is none.
        engine: ``"auto"``, ``"propagate"`` or ``"replay"``.
        memory_budget: Bytes, or None for the default.

    Returns:
        (N, G, Q) drops; ``"propagate"`` or ``"replay"``; the reason if ``"auto"`` had to replay.

    Raises:
        RuntimeError: If ``engine="propagate"`` and the tail cannot be propagated.
    """
    budget = memory_budget or default_budget(question.activations.device)
    replay = Replay(question)
    if engine == "replay":
        return replay.drops(budget), "replay", None
    try:
        return _propagated(question, tail, replay, budget), "propagate", None
    except PropagationError as refusal:
        reason = refusal.explain(question.model)
        if engine == "propagate":
            raise RuntimeError(
                f"engine='propagate' cannot run here: {reason}; choose engine='auto' or 'replay'"
            ) from refusal
    # Outside the handler: its error would keep the failed propagation's tensors alive.
    return replay.drops(budget), "replay", reason


def _propagated(
    question: Question, tail: Program | PropagationError, replay: Replay, memory_budget: int
) -> Tensor:
    if isinstance(tail, PropagationError):
        raise tail
    if uses_batch_statistics(question.model):
        raise PropagationError("a batch norm uses the statistics of the batch")
    program = narrowed(tail)
    start = layer_value(
        question.activations, question.ablated, question.owners, question.channel_dim
    )
    known = experience_of(question.model, _signature(program, question))
    drops = propagate_drops(
        program,
        start,
        _readout(program, question),
        question.changed,
        known,
        question.scores.shape[1],
        memory_budget=memory_budget,
    ).to(question.scores.dtype)
    checked(drops, replay, known, memory_budget)
    return drops


def _readout(program: Program, question: Question) -> Readout:
    if question.columns is not None:
        return affine_readout(program, Columns(*question.columns), question.activations.device)
    if question.linear is not None:
        return affine_readout(program, question.linear, question.activations.device)
    return ScoreReadout(
        program.nodes,
        (program.output,),
        question.output,
        question.score_of,
        precise=question.precise,
    )


def _signature(program: Program, question: Question) -> Hashable:
    affine = (question.columns is not None, question.linear is not None)
    kind = (*affine, question.precise, question.scores.shape[1])
    owners = question.alike or tuple(question.owners.tolist())
    return program.signature(), question.channel_dim, owners, kind
