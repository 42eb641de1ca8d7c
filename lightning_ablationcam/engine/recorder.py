"""One intact forward pass, and what has to be kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.program import Program, PropagationError
from lightning_ablationcam.engine.tape import Tape
from lightning_ablationcam.network.isolation import NotInitialisedError
from lightning_ablationcam.network.layers import check_layer_output
from lightning_ablationcam.network.memory import is_out_of_memory

Forward: TypeAlias = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Recording:
    """The intact forward pass.

    Attributes:
        activations: The target layer's output, copied before the next module could overwrite it.
        output: What the model returned.
        tail: The program from the layer's output to the model's, or why there is none.
        scores: (N,) the class scores, where reading them off was recorded as well.
        scored: The program from the layer's output to them, if there is one.
    """

    activations: Tensor
    output: Any
    tail: Program | PropagationError
    scores: Tensor | None = None
    scored: Program | None = None


def call(model: nn.Module, inputs: Any) -> Any:
    """The default ``forward``: call the model."""
    return model(inputs)


def record(
    model: nn.Module,
    name: str,
    layer: nn.Module,
    inputs: Tensor,
    forward: Forward,
    *,
    tail: bool = True,
    read: Callable[[Any], Tensor] | None = None,
) -> Recording:
    """Run the model once, unchanged; keep what the target layer returned and what followed.

    The layer's output is handed on as a copy, as a replay does: what else refers to the original
    (a skip connection around an identity, say) is not the layer's output.

    Args:
        model: The model.
        name: The target layer's dotted name, for messages.
        layer: The target layer.
        inputs: (N, ...) what the model is fed.
        forward: ``(model, inputs) -> output``.
        tail: Whether to record the program of the tail.
        read: Reads class scores off the model's output, and is recorded too; for outputs that are
            no tensor, and scores that are no column of it.

    Returns:
        The recording.

    Raises:
        RuntimeError: If the model rejects the inputs.
        ValueError: If the layer did not run, or has no spatial map.
    """
    outputs: list[Any] = []
    with ExitStack() as modes:

        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            outputs.append(_copied(output))
            if not isinstance(output, Tensor):
                return output
            handed_on = output.clone()
            if tail and len(outputs) == 1:
                tapes.append(modes.enter_context(Tape(handed_on)))
            return handed_on

        tapes: list[Tape] = []
        handle = layer.register_forward_hook(hook)
        modes.callback(handle.remove)
        output = run(model, inputs, forward)
        program = _program(tapes, output)
        scores = None if read is None else read(output)
        scored = None if scores is None else _program(tapes, scores)
    activations = check_layer_output(name, outputs, len(inputs))
    if not isinstance(scored, Program):
        scored = None  # What reads scores off can be called for each counterfactual instead.
    return Recording(activations, output, program, scores, scored)


def _program(tapes: list[Tape], output: Any) -> Program | PropagationError:
    try:
        return tapes[0].program(output) if tapes else PropagationError("was not recorded")
    except PropagationError as refusal:
        return refusal


def run(model: nn.Module, inputs: Tensor, forward: Forward) -> Any:
    """Run the user's model; an error of its own is passed on with the inputs' description.

    The model gets a copy, since it may write into what it is fed. Rows that share their memory
    cannot be written to, so that they need none.
    """
    try:
        # Also where an earlier forward switched gradients on.
        with torch.no_grad():
            return forward(model, inputs if 0 in inputs.stride() else inputs.clone())
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, NotInitialisedError):
            raise
        reason = str(error) or type(error).__name__
        raise RuntimeError(
            f"{type(model).__name__} rejected the inputs of shape {tuple(inputs.shape)}, dtype "
            f"{inputs.dtype} on {inputs.device}: {reason}. They must be "
            "what the model is fed in training; pass forward=(model, inputs) -> logits if it is "
            "called in another way"
        ) from error


@contextmanager
def replaced_output(layer: nn.Module, activations: Tensor) -> Iterator[None]:
    """Make the layer return other activations for as long as the context lasts."""
    handle = layer.register_forward_hook(lambda _module, _args, _output: activations.clone())
    try:
        yield
    finally:
        handle.remove()


def _copied(output: Any) -> Any:
    return output.detach().clone() if isinstance(output, Tensor) else output
