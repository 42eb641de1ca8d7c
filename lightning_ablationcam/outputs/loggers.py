"""Which loggers show what a monitor sees, and how: one line for each.

To add one, write a module beside this with a :class:`~lightning_ablationcam.outputs.backend.\
Backend`, most easily a :class:`~lightning_ablationcam.outputs.sent.Service`, and name it here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from lightning_ablationcam.arguments import is_a
from lightning_ablationcam.outputs.backend import Backend
from lightning_ablationcam.outputs.comet import Comet
from lightning_ablationcam.outputs.folder import csv_folder, numbered_folder
from lightning_ablationcam.outputs.mlflow import MLflow
from lightning_ablationcam.outputs.outlets import Outlet
from lightning_ablationcam.outputs.tensorboard import tensorboard
from lightning_ablationcam.outputs.weights_and_biases import WeightsAndBiases

BACKENDS: dict[str, Callable[[Any, str], Backend]] = {
    "TensorBoardLogger": tensorboard,
    "CSVLogger": csv_folder,
    "WandbLogger": WeightsAndBiases,
    "MLFlowLogger": MLflow,
    "CometLogger": Comet,
}
"""What makes the backend of a logger, given the logger and the monitor's tag, by its class."""

_SILENT = ("DummyLogger",)
"""Loggers that stand for logging nothing, as in ``Trainer(fast_dev_run=True)``."""

FILES = "files"
"""What the outlet is called that no logger stands for."""


def outlets_of(loggers: Iterable[Any], tag: str, files_in: str | Path | None) -> list[Outlet]:
    """An outlet for each logger that has a backend; if there is none, one for files.

    Args:
        loggers: The Trainer's loggers.
        tag: The monitor's tag.
        files_in: The folder that files go to, or None for no files.
    """
    loggers = list(loggers)
    known = [(logger, name) for logger in loggers if (name := _known(logger))]
    outlets = [Outlet(name, partial(BACKENDS[name], logger, tag)) for logger, name in known]
    if files_in is not None and needs_files(loggers):
        outlets.append(Outlet(FILES, partial(numbered_folder, files_in, tag)))
    return outlets


def needs_files(loggers: Iterable[Any]) -> bool:
    """Whether what is seen goes to files of their own: no logger shows it, or wants nothing."""
    loggers = list(loggers)
    unknown = unknown_loggers(loggers)
    return not any(map(_known, loggers)) and (bool(unknown) or not loggers)


def unknown_loggers(loggers: Iterable[Any]) -> list[str]:
    """The classes of loggers that show nothing, each once."""
    others = [
        type(logger).__name__
        for logger in loggers
        if not _known(logger) and not any(is_a(logger, name) for name in _SILENT)
    ]
    return list(dict.fromkeys(others))


def _known(logger: Any) -> str | None:
    return next((name for name in BACKENDS if is_a(logger, name)), None)
