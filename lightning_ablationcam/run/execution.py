"""How a module is run in a pass: by itself, or as the Trainer that trains it would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from lightning_ablationcam.network.isolation import without_autocast
from lightning_ablationcam.run.muted_logging import silenced


class Execution(Protocol):
    """What has to be done so that a module can be run in a pass."""

    def inputs(self, inputs: Tensor) -> Tensor:
        """The probes, (N, ...) on the CPU, as the module takes them."""

    def forward(self) -> AbstractContextManager[None]:
        """Entered around each call of the module."""

    def whole(self) -> AbstractContextManager[None]:
        """Entered around the pass as a whole."""


class Alone:
    """Runs a module that nobody trains, such as one loaded from an old checkpoint.

    Args:
        module: The module.

    Example:
        >>> import torch
        >>> Alone(nn.Linear(2, 1).double()).inputs(torch.ones(1, 2)).dtype
        torch.float64
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def inputs(self, inputs: Tensor) -> Tensor:
        """On the device of the module's parameters, and floats in their dtype."""
        like = next((p for p in self._module.parameters() if p.is_floating_point()), None)
        if like is None:
            return inputs
        return inputs.to(like.device, like.dtype if inputs.is_floating_point() else None)

    def forward(self) -> AbstractContextManager[None]:
        """As it is."""
        return nullcontext()

    def whole(self) -> AbstractContextManager[None]:
        """Likewise."""
        return nullcontext()


class UnderTrainer:
    """Runs a module as its Trainer's precision has it, and lets it log nothing.

    Tensors that the forward creates are of the parameters' dtype, but autocast is off: in half
    precision most channels' drops would be lost.

    Args:
        trainer: The Trainer.
        module: The module.
    """

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self._trainer = trainer
        self._module = module

    def inputs(self, inputs: Tensor) -> Tensor:
        """On the module's device, in the precision's dtype."""
        converted: Tensor = self._trainer.precision_plugin.convert_input(inputs)
        return converted.to(self._module.device)

    @contextmanager
    def forward(self) -> Iterator[None]:
        """In the Trainer's precision, without autocast."""
        precision = self._trainer.precision_plugin.forward_context()
        with precision, without_autocast({"cpu", self._module.device.type}):
            yield

    def whole(self) -> AbstractContextManager[None]:
        """Without a sound."""
        return silenced(self._module, self._trainer)
