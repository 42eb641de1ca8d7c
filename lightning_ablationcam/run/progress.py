"""Say in Lightning's progress bar that a pass is being made, where that takes a while."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning_ablationcam.arguments import is_a

LOGGER = logging.getLogger("lightning_ablationcam")

LONG = 2.0
"""Seconds beyond which a pass is shown."""

TEXT = "Ablation-CAM pass"
"""What is shown."""


@contextmanager
def announced(trainer: Any, seconds: float | None) -> Iterator[None]:
    """Have the bar of the validation say that a pass is being made, until it is.

    Only the text before that bar is changed, which Lightning writes anew at each validation and
    whose bar it takes away after it; without such a bar nothing is.

    Args:
        trainer: The Trainer.
        seconds: How long the pass will take; None where that is not known, as of the first.
    """
    write = None if seconds is not None and seconds <= LONG else _writer(trainer)
    before = None if write is None else _said(write, TEXT)
    try:
        yield
    finally:
        if write is not None and before is not None:
            _said(write, before)


def _said(write: Callable[[str], str], text: str) -> str | None:
    """What stood there before; None where a bar of the user's own kind does not take it."""
    try:
        return write(text)
    except Exception:  # Nothing of the pass depends on it.
        LOGGER.debug("the progress bar does not take a text", exc_info=True)
        return None


def _writer(trainer: Any) -> Callable[[str], str] | None:
    """What changes the text of the validation's bar, and returns the one before."""
    callback = trainer.progress_bar_callback
    if is_a(callback, "TQDMProgressBar") and callback.is_enabled:
        return lambda text: _in_tqdm(callback, text)
    if is_a(callback, "RichProgressBar") and callback.is_enabled:
        return lambda text: _in_rich(callback, text)
    return None


def _in_tqdm(callback: Any, text: str) -> str:
    bar = callback.val_progress_bar
    before = str(bar.desc or "").removesuffix(": ")
    bar.set_description(text)
    return before


def _in_rich(callback: Any, text: str) -> str:
    task = next(each for each in callback.progress.tasks if each.id == callback.val_progress_bar_id)
    before = str(task.description)
    callback.progress.update(task.id, description=text)
    callback.refresh()
    return before
