"""One intact forward pass, and what has to be kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_ablationcam.layers import check_layer_output

Forward: TypeAlias = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Recording:
    """The intact forward pass.

    Attributes:
        activations: The target layer's output, copied before the next module could overwrite it.
        output: What the model returned.
        bytes_per_image: The memory of the largest intermediate results, an estimate of what one
            more image in a batch costs.
    """

    activations: Tensor
    output: Any
    bytes_per_image: int


def call(model: nn.Module, inputs: Any) -> Any:
    """The default ``forward``: call the model."""
    return model(inputs)


def record(
    model: nn.Module, name: str, layer: nn.Module, inputs: Tensor, forward: Forward
) -> Recording:
    """Run the model once, unchanged, and keep what the target layer returned.

    Args:
        model: The model.
        name: The target layer's dotted name, for messages.
        layer: The target layer.
        inputs: (N, ...) what the model is fed.
        forward: ``(model, inputs) -> output``.

    Returns:
        The recording.

    Raises:
        RuntimeError: If the model rejects the inputs.
        ValueError: If the layer did not run, or has no spatial map.
    """
    outputs: list[Any] = []
    handle = layer.register_forward_hook(lambda _m, _a, output: outputs.append(_copied(output)))
    try:
        with _measured(model) as sizes:
            output = run(model, inputs, forward)
    finally:
        handle.remove()
    activations = check_layer_output(name, outputs, len(inputs))
    largest = sum(sorted(sizes, reverse=True)[:3])
    per_image = (largest + inputs.nbytes + 2 * activations.nbytes) // len(inputs)
    return Recording(activations, output, max(1, per_image))


def run(model: nn.Module, inputs: Tensor, forward: Forward) -> Any:
    """Run the user's model; an error of its own is passed on with the inputs' description."""
    try:
        return forward(model, inputs)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"{type(model).__name__} rejected the inputs of shape {tuple(inputs.shape)}, dtype "
            f"{inputs.dtype} on {inputs.device}: {error or type(error).__name__}. They must be "
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


@contextmanager
def _measured(model: nn.Module) -> Iterator[list[int]]:
    """Collect the sizes in bytes of what the model's leaf modules return."""
    sizes: list[int] = []

    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.nbytes)

    leaves = [module for module in model.modules() if next(module.children(), None) is None]
    handles = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()


def _copied(output: Any) -> Any:
    return output.detach().clone() if isinstance(output, Tensor) else output
