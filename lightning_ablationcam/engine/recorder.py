"""One intact forward pass, and what has to be kept of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.program import Program, PropagationError
from lightning_ablationcam.engine.tap import (
    Tap,
    check_runs,
    made_of,
    pointwise_end,
    starting_at,
    tapped,
)
from lightning_ablationcam.engine.tape import Tape
from lightning_ablationcam.method.outputs import OutputError
from lightning_ablationcam.network.inputs import Inputs, copied, count_of, described
from lightning_ablationcam.network.isolation import NotInitialisedError
from lightning_ablationcam.network.layers import LayerError, check_value
from lightning_ablationcam.network.memory import is_out_of_memory
from lightning_ablationcam.network.targets import Target

Forward: TypeAlias = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Recording:
    """The intact forward pass.

    Attributes:
        tap: Where the value was taken.
        activations: The value, copied before the next module could overwrite it.
        output: What the model returned.
        tail: The program from the layer's output to the model's, or why there is none.
        scores: (N, Q) class scores, where reading them off was recorded as well.
        scored: The program from the layer's output to them, if there is one.
    """

    tap: Tap
    activations: Tensor
    output: Any
    tail: Program | PropagationError
    scores: Tensor | None = None
    scored: Program | None = None


class RejectedError(RuntimeError):
    """The model does not take what it was fed."""


def record(
    model: nn.Module,
    target: Target,
    inputs: Inputs,
    forward: Forward,
    *,
    tail: bool = True,
    read: Callable[[Any], Tensor | None] | None = None,
) -> Recording:
    """Run the model once, unchanged; keep the target's value and what followed.

    Args:
        model: The model.
        target: The value to explain.
        inputs: What the model is fed for N images.
        forward: ``(model, inputs) -> output``.
        tail: Whether to record the program of the tail.
        read: Reads class scores off the model's output, and is recorded too; for outputs that are
            no tensor, and scores that are no column of it.

    Returns:
        The recording.

    Raises:
        RuntimeError: If the model rejects the inputs.
        ValueError: If the target was not met, or has no spatial map.
    """
    (recording,) = record_all(model, [target], inputs, forward, tail=tail, read=read)
    return recording


def record_all(
    model: nn.Module,
    targets: Sequence[Target],
    inputs: Inputs,
    forward: Forward,
    *,
    tail: bool = True,
    read: Callable[[Any], Tensor | None] | None = None,
) -> list[Recording]:
    """:func:`record` several targets in one forward pass, each with a tape of its own.

    Each value is handed on as a copy, as a replay does: what else refers to the original (a skip
    connection around an identity, say) is not the target.
    """
    with ExitStack() as modes:
        watched = [_Watched(target, modes, count_of(inputs), tail) for target in targets]
        output = run(model, inputs, forward)
        programs = [each.program(output) for each in watched]
        scores = None if read is None else read(output)
        scored = [None if scores is None else each.program(scores) for each in watched]
    return [
        each.recording(output, program, scores, of_scores)
        for each, program, of_scores in zip(watched, programs, scored, strict=True)
    ]


class _Watched:
    """One target in a forward pass."""

    def __init__(self, target: Target, modes: ExitStack, count: int, tail: bool) -> None:
        self.target = target
        self._count = count
        self._taken: list[Any] = []
        self._tapes: list[Tape] = []

        def take(value: Any) -> Any:
            self._taken.append(_copied(value))
            if not isinstance(value, Tensor):
                return value
            handed_on = value.clone()
            if tail or target.part == "activation":
                self._tapes.append(modes.enter_context(Tape(handed_on)))
            return handed_on

        self._runs = modes.enter_context(tapped(target, take))

    def program(self, output: Any) -> Program | PropagationError:
        """The program that leads to an output, or why there is none."""
        if not self._tapes:
            return PropagationError("was not recorded")
        try:
            return self._tapes[0].program(output)
        except PropagationError as refusal:
            return refusal

    def recording(
        self,
        output: Any,
        program: Program | PropagationError,
        scores: Tensor | None,
        scored: Program | PropagationError | None,
    ) -> Recording:
        """What is kept of it."""
        check_runs(self.target, *self._runs)
        value = check_value(str(self.target), self._taken[0], self._count)
        if not isinstance(scored, Program):
            scored = None  # What reads scores off can be called for each counterfactual instead.
        recording = Recording(Tap(self.target), value, output, program, scores, scored)
        follow = self.target.part == "activation"
        return _followed(recording, self._tapes[0]) if follow else recording


def _followed(recording: Recording, tape: Tape) -> Recording:
    """The same from the value on that the pointwise ops after the module end in."""
    tail, scored = recording.tail, recording.scored
    found = tail if scored is None else scored
    program = found if isinstance(found, Program) else None
    end = pointwise_end(tape, program)
    if end is None:
        return recording
    (place,) = (place for place, node in enumerate(tape.nodes) if end in node.defined())
    rest = None if program is None else starting_at(program, end)
    return replace(
        recording,
        tap=replace(recording.tap, place=place),
        activations=made_of(recording.activations, tape.nodes, end),
        tail=rest if rest is not None and scored is None else tail,
        scored=None if scored is None else rest,
    )


def run(model: nn.Module, inputs: Inputs, forward: Forward) -> Any:
    """Run the user's model; an error of its own is passed on with the inputs' description.

    The model gets a copy, since it may write into what it is fed.
    """
    try:
        # Also where an earlier forward switched gradients on.
        with torch.no_grad():
            return forward(model, copied(inputs))
    except Exception as error:
        own = (NotInitialisedError, LayerError, OutputError)
        if is_out_of_memory(error) or isinstance(error, own):
            raise
        reason = str(error) or type(error).__name__
        raise RejectedError(
            f"{type(model).__name__} rejected the inputs {described(inputs)}: {reason}. They must "
            "be what the model is fed in training; pass forward=(model, inputs) -> logits if it is "
            "called in another way"
        ) from error


def _copied(output: Any) -> Any:
    return output.detach().clone() if isinstance(output, Tensor) else output
