"""What a pass must not say: the user's own logging and metrics inside ``forward``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import nn
from torchmetrics import Metric

from lightning_ablationcam.arguments import is_a

_LOGGING = ("log", "log_dict")
_ABSENT = object()


@contextmanager
def silenced(module: nn.Module) -> Iterator[None]:
    """Keep ``self.log`` in the user's forward from logging, and its metrics from counting.

    A pass feeds the network with ablated activations; what a forward logs or counts of them would
    end up in the user's curves and in what early stopping monitors. What metrics hold is given
    back by :func:`~lightning_ablationcam.module_state.kept_state`.

    Args:
        module: The LightningModule; modules inside it are silenced as well.
    """
    muted = [(part, name) for part in module.modules() for name in _voices(part)]
    before = [vars(part).get(name, _ABSENT) for part, name in muted]
    try:
        for part, name in muted:
            vars(part)[name] = _say_nothing
        yield
    finally:
        for (part, name), own in zip(muted, before, strict=True):
            if own is _ABSENT:
                del vars(part)[name]
            else:
                vars(part)[name] = own


def _voices(part: nn.Module) -> list[str]:
    """The attributes through which a module logs or counts."""
    if is_a(part, "LightningModule"):
        return list(_LOGGING)
    if isinstance(part, Metric):
        # Its checks of values would also keep the engine from recording the network.
        return ["update"]
    # ``self.part.log = self.log`` lets a part log through the LightningModule.
    return [name for name, value in vars(part).items() if _is_logging(value)]


def _is_logging(value: object) -> bool:
    if type(value) is not MethodType:
        return False
    return value.__name__ in _LOGGING and is_a(value.__self__, "LightningModule")


def _say_nothing(*_args: Any, **_kwargs: Any) -> None:
    """Take the place of ``self.log`` and of a metric's ``update``."""
