"""Find the drops of all pairs: choose an engine, check it, fall back to replay."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from torch import Tensor

from lightning_ablationcam.engine.experience import experience_of
from lightning_ablationcam.engine.memory import default_budget
from lightning_ablationcam.engine.narrowing import narrowed
from lightning_ablationcam.engine.predictor import (
    change_sizes,
    estimated_drops,
    is_reducible,
    over_groups,
)
from lightning_ablationcam.engine.program import Program, PropagationError
from lightning_ablationcam.engine.propagate import Propagation, layer_value
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.readout import Columns, Readout, ScoreReadout, affine_readout
from lightning_ablationcam.engine.replay import Replay, uses_batch_statistics
from lightning_ablationcam.engine.selfcheck import checked
from lightning_ablationcam.engine.tolerance import Partly, drops_within
from lightning_ablationcam.engine.work import work_of_forward, work_of_group
from lightning_ablationcam.network.inputs import shapes_of
from lightning_ablationcam.network.memory import is_out_of_memory

FORWARDS_WORTH_PREDICTING = 2.0
"""Drops are predicted where computing them all takes more work than so many forward passes,"""

WORK_WORTH_PREDICTING = 1e10
"""and more than so many multiplications, which a CPU does in a tenth of a second: less is faster
done than predicted."""

REDUCED_WORK_WORTH_PREDICTING = 1e12
"""The same on a device that computes predictions in reduced precision,"""

REDUCED_DENSITY_WORTH_PREDICTING = 80.0
"""where the multiplications for each number written are more than these: otherwise writing takes
the time, and that is not reduced. All three by ``bench_depth``."""


@dataclass(frozen=True, eq=False)
class Within:
    """How exact heatmaps have to be.

    Attributes:
        tolerance: What they may be off by, as a share of their maximum.
        maps: (N, K, ...) the channels' maps.
        absent: (N, Q) bool, where an image has no such class, and nothing is wanted.
    """

    tolerance: float
    maps: Tensor
    absent: Tensor


@dataclass(frozen=True, eq=False)
class Found:
    """The drops of all pairs, and where they come from.

    Attributes:
        drops: (N, G, Q), in the scores' dtype.
        computed: (N, G) bool, which of them are computed; the others are predicted.
        error: (N, Q) float64, what the heatmaps may be off by, as a share of their maximum.
        engine: ``"propagate"`` or ``"replay"``.
        fallback: Why ``engine="auto"`` had to replay, or None.
    """

    drops: Tensor
    computed: Tensor
    error: Tensor
    engine: str
    fallback: str | None = None


def find_drops(
    question: Question,
    tail: Program | PropagationError,
    *,
    engine: str,
    memory_budget: int | None,
    within: Within | None = None,
) -> Found:
    """Find the drop of every (image, group) pair, and say which engine found them.

    Args:
        question: The question to answer.
        tail: The program from the layer's output to the model's output (to the scores if
            ``question.scored``), or the error that says why there is none.
        engine: ``"auto"``, ``"propagate"`` or ``"replay"``.
        memory_budget: Bytes, or None for the default.
        within: How exact the heatmaps have to be; None computes every drop, and so does replay.

    Returns:
        The drops; with the reason if ``"auto"`` had to replay.

    Raises:
        RuntimeError: If ``engine="propagate"`` and the tail cannot be propagated.
    """
    budget = memory_budget or default_budget(question.activations.device)
    replay = Replay(question)
    if engine == "replay":
        return _found(Partly.whole(replay.drops(budget)), "replay")
    try:
        return _found(_propagated(question, tail, replay, budget, within), "propagate")
    except PropagationError as refusal:
        reason = refusal.explain(question.model)
        if engine == "propagate":
            raise RuntimeError(
                f"engine='propagate' cannot run here: {reason}; choose engine='auto' or 'replay'"
            ) from refusal
    # Outside the handler: its error would keep the failed propagation's tensors alive.
    return _found(Partly.whole(replay.drops(budget)), "replay", reason)


def _found(partly: Partly, engine: str, fallback: str | None = None) -> Found:
    return Found(partly.drops, partly.computed, partly.error, engine, fallback)


def predicts(question: Question, tail: Program | PropagationError, *, engine: str) -> bool:
    """Whether drops are predicted if heatmaps need not be exact.

    They are where the tail can be propagated, and computing them all takes much work. Elsewhere it
    would save next to nothing.
    """
    if isinstance(tail, PropagationError) or engine == "replay":
        return False
    if uses_batch_statistics(question.model):
        return False
    program = narrowed(tail)
    each, numbers = work_of_group(program, _readout(program, question).nodes)
    total = each * question.changed.shape[1]
    if is_reducible(question.activations):
        images = len(question.activations)
        large = total * images > REDUCED_WORK_WORTH_PREDICTING
        return large and each > REDUCED_DENSITY_WORTH_PREDICTING * numbers
    known = experience_of(question.model, ("forward", shapes_of(question.inputs)))
    if known.work is None:
        known.work = work_of_forward(question.model, question.inputs, question.forward)
    return total > max(FORWARDS_WORTH_PREDICTING * known.work, WORK_WORTH_PREDICTING)


def _propagated(
    question: Question,
    tail: Program | PropagationError,
    replay: Replay,
    memory_budget: int,
    within: Within | None,
) -> Partly:
    if isinstance(tail, PropagationError):
        raise tail
    if uses_batch_statistics(question.model):
        raise PropagationError("a batch norm uses the statistics of the batch")
    program = narrowed(tail)
    known = experience_of(question.model, _signature(program, question))
    propagation = Propagation(
        program,
        layer_value(question.activations, question.ablated, question.owners, question.channel_dim),
        _readout(program, question),
        question.changed,
        known,
        question.scores.shape[1],
        memory_budget=memory_budget,
    )
    if within is None or not predicts(question, tail, engine="propagate"):
        partly = Partly.whole(propagation.drops())
    else:
        partly = _within(program, question, propagation, within)
    del propagation  # The check needs memory, too.
    partly = replace(partly, drops=partly.drops.to(question.scores))
    checked(partly.drops, partly.computed, replay, known, memory_budget)
    return partly


def _within(
    program: Program, question: Question, propagation: Propagation, within: Within
) -> Partly:
    try:
        estimates = estimated_drops(program, question, propagation)
        if estimates is not None:
            return drops_within(
                propagation,
                estimates,
                change_sizes(question),
                over_groups(within.maps.flatten(2), question),
                question.changed,
                within.tolerance,
                within.absent,
            )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Without estimates, or without the memory that they take.
    return Partly.whole(propagation.drops())


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
