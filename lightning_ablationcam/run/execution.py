"""How a module is run in a pass: by itself, or as its Trainer would run it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from torch import Tensor, nn

from lightning_ablationcam.lightning import LightningModule, Trainer
from lightning_ablationcam.network.inputs import Inputs, mapped
from lightning_ablationcam.network.isolation import without_autocast
from lightning_ablationcam.run.muted_logging import silenced


class Execution(Protocol):
    """How to run a module in a pass."""

    def inputs(self, inputs: Inputs) -> Inputs:
        """Turn the probes, (N, ...) on the CPU, into inputs that the module takes."""

    def forward(self) -> AbstractContextManager[None]:
        """The context around each call of the module."""

    def whole(self) -> AbstractContextManager[None]:
        """The context around the whole pass."""


class Alone:
    """Runs a module without a Trainer, such as one loaded from an old checkpoint.

    Args:
        module: The module.

    Example:
        >>> import torch
        >>> Alone(nn.Linear(2, 1).double()).inputs(torch.ones(1, 2)).dtype
        torch.float64
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def inputs(self, inputs: Inputs) -> Inputs:
        """Move inputs to the device of the module's parameters, and floats to their dtype."""
        like = next((p for p in self._module.parameters() if p.is_floating_point()), None)
        if like is None:
            return inputs
        device, dtype = like.device, like.dtype
        return mapped(inputs, lambda t: t.to(device, dtype if t.is_floating_point() else None))

    def forward(self) -> AbstractContextManager[None]:
        """No context: the module runs as it is."""
        return nullcontext()

    def whole(self) -> AbstractContextManager[None]:
        """No context either."""
        return nullcontext()


class UnderTrainer:
    """Runs a module in its Trainer's precision, and keeps it from logging.

    Tensors that the forward creates have the parameters' dtype, but autocast is off: half precision
    would lose most channels' drops.

    Args:
        trainer: The Trainer.
        module: The module.
    """

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self._trainer = trainer
        self._module = module

    def inputs(self, inputs: Inputs) -> Inputs:
        """Move inputs to the module's device, in the precision's dtype."""
        convert = self._trainer.precision_plugin.convert_input

        def placed(tensor: Tensor) -> Tensor:
            converted: Tensor = convert(tensor)
            return converted.to(self._module.device)

        return mapped(inputs, placed)

    @contextmanager
    def forward(self) -> Iterator[None]:
        """The Trainer's precision, without autocast."""
        precision = self._trainer.precision_plugin.forward_context()
        with precision, without_autocast({"cpu", self._module.device.type}):
            yield

    def whole(self) -> AbstractContextManager[None]:
        """The module logs nothing, and its metrics count nothing."""
        return silenced(self._module, self._trainer)
