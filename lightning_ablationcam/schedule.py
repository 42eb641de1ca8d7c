"""When a pass is due."""

from __future__ import annotations

import time

from pytorch_lightning import Trainer


class Schedule:
    """Counts validations and the time that passes took.

    Args:
        every: Run at the first validation and every so many after it.
        max_overhead: Share of the wall time since the first validation's start of training that
            passes may take; None for any.
    """

    def __init__(self, every: int, max_overhead: float | None = None) -> None:
        self.every = every
        self.max_overhead = max_overhead
        self.skipped = False
        self._validations = 0
        self._started = time.perf_counter()
        self._spent = 0.0
        self._last = 0.0

    def start(self) -> None:
        """Begin to measure the wall time."""
        self._started = time.perf_counter()
        self._spent = self._last = 0.0

    def due(self, ending: bool) -> bool:
        """Whether this validation gets a pass; counts it.

        Args:
            ending: Whether it is the last of the fit, which always does.
        """
        wanted = self._validations % self.every == 0
        self._validations += 1
        self.skipped = not (ending or (wanted and not self.too_costly))
        return not self.skipped

    @property
    def too_costly(self) -> bool:
        """Whether one more pass like the last would exceed ``max_overhead``."""
        if self.max_overhead is None:
            return False
        elapsed = time.perf_counter() - self._started
        return self._spent + self._last > self.max_overhead * elapsed

    def took(self, seconds: float) -> None:
        """Note how long a pass took."""
        self.skipped = False
        self._last = seconds
        self._spent += seconds


def ends_fit(trainer: Trainer) -> bool:
    """Whether the validation that runs now is known to be the fit's last.

    A stop that is decided later (early stopping after this validation, a time limit) cannot be
    known; the monitor catches up at the end of training then.
    """
    if trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step:
        return True
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return False
    next_epoch = trainer.current_epoch + (trainer.check_val_every_n_epoch or 1)
    last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return bool(last_batch) and next_epoch >= trainer.max_epochs
