"""Mute the user's own logging and metrics inside ``forward`` during a pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import PurePath
from types import MethodType
from typing import Any, cast

from torch import nn
from torchmetrics import Metric

from lightning_ablationcam.arguments import is_a
from lightning_ablationcam.lightning import Trainer

_LOGGING = ("log", "log_dict")
_ABSENT = object()


@contextmanager
def silenced(module: nn.Module, trainer: Trainer) -> Iterator[None]:
    """Keep the user's forward from logging, and its metrics from counting.

    A pass feeds the network ablated activations; what a forward logs or counts from them would end
    up in the user's curves and in what early stopping monitors. So ``self.log``, ``self.logger``,
    ``self.loggers`` and whatever a module keeps of them are muted. The state of metrics is restored
    by :func:`~lightning_ablationcam.network.module_state.kept_state`.

    Args:
        module: The LightningModule; modules inside it are silenced as well.
        trainer: Its Trainer.
    """
    loggers: list[Any] = trainer.loggers
    voices = {id(voice): voice for logger in loggers for voice in _voices(logger)}
    quiet: list[tuple[Any, str, Any]] = [
        (part, name, stand_in)
        for part in module.modules()
        for name, stand_in in _stand_ins(part, voices)
    ]
    # Where ``self.log`` puts it: a partial of it, kept somewhere, is no attribute's to silence.
    results: Any = trainer._results
    if results is not None:
        quiet.append((results, "log", _say_nothing))
    before = [vars(part).get(name, _ABSENT) for part, name, _ in quiet]
    try:
        for part, name, stand_in in quiet:
            vars(part)[name] = stand_in
        trainer.loggers = cast(Any, [Mute(logger) for logger in loggers])
        yield
    finally:
        trainer.loggers = loggers
        for (part, name, _), own in zip(quiet, before, strict=True):
            if own is _ABSENT:
                del vars(part)[name]
            else:
                vars(part)[name] = own


class Mute:
    """Looks like a logger, or a part of one, and can be read; calls and writes do nothing.

    Args:
        voice: The logger, or part of one, that it stands in for.

    Example:
        >>> from pytorch_lightning.loggers import CSVLogger
        >>> logger = Mute(CSVLogger("logs", name="run"))
        >>> logger.log_metrics({"loss": 1.0})
        >>> isinstance(logger, CSVLogger), logger.name
        (True, 'run')
    """

    def __init__(self, voice: Any) -> None:
        object.__setattr__(self, "_voice", voice)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class of the voice, for ``isinstance``."""
        return type(self._voice)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._voice, name)
        if callable(value):
            # Getters are called, everything else does nothing.
            return _asking(value) if name.lstrip("_").startswith("get") else _say_nothing
        return _muted(value)

    def __setattr__(self, name: str, value: object) -> None:
        """Write nothing."""

    def __getitem__(self, key: object) -> Mute:
        """A muted part, even if there is none: some loggers create a part when it is named."""
        return self

    def __setitem__(self, key: object, value: object) -> None:
        """Write nothing."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


_READABLE = (bool, int, float, complex, str, bytes, PurePath, type(None))
_CONTAINERS = (list, tuple, dict, set, frozenset)


def _muted(value: Any) -> Any:
    """A value of a voice: itself if plain, a copy of a container, a :class:`Mute` of the rest."""
    if isinstance(value, _READABLE):
        return value
    return copy(value) if type(value) in _CONTAINERS else Mute(value)


def _asking(method: Any) -> Any:
    return lambda *args, **kwargs: _muted(method(*args, **kwargs))


def _voices(logger: Any) -> list[Any]:
    """A logger, and the writer it writes with if it already has one."""
    # Not ``logger.experiment``, which some loggers only create on first access.
    writer = getattr(logger, "_experiment", None)
    return [logger] if writer is None else [logger, writer]


def _stand_ins(part: nn.Module, voices: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """The attributes through which a module logs or counts, and their stand-ins."""
    if is_a(part, "LightningModule"):
        yield from ((name, _say_nothing) for name in _LOGGING)
        # Also at the end of a fit, where logging is refused.
        yield "_current_fx_name", "on_validation_epoch_end"
    if isinstance(part, Metric):
        # A metric's checks of values would also keep the engine from recording the network.
        yield "update", _say_nothing
    for name, value in vars(part).items():
        if id(value) in voices:
            yield name, Mute(value)
        elif _is_logging(value) and not is_a(part, "LightningModule"):
            # ``self.part.log = self.log`` lets a part log through the LightningModule.
            yield name, _say_nothing


def _is_logging(value: object) -> bool:
    if type(value) is not MethodType:
        return False
    return value.__name__ in _LOGGING and is_a(value.__self__, "LightningModule")


def _say_nothing(*_args: Any, **_kwargs: Any) -> None:
    """Stand in for ``self.log`` and for a metric's ``update``."""
