"""When a pass is due."""

from __future__ import annotations

import time

from pytorch_lightning import Trainer

from lightning_ablationcam.arguments import check_count, is_number, shown


class Schedule:
    """Counts the validations of a fit, from now on, and the time that passes take.

    Args:
        every: Run a pass at the first validation and at every ``every``-th after it.
        max_overhead: Share of the fit's wall time that passes may take; None for no limit. The
            first pass shows how long one takes; time is kept for the last, which always runs and
            takes the measures that cost forward passes.

    Attributes:
        validations: How many validations there were so far; part of the checkpoint.
        missed: ``(step, epoch)`` of the newest validation, if it got no pass.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range.
    """

    def __init__(self, every: int, max_overhead: float | None = None) -> None:
        check_count("every_n_validations", every)
        _check_max_overhead(max_overhead)
        self.every = every
        self.max_overhead = max_overhead
        self.missed: tuple[int, int] | None = None
        self.validations = 0
        self._started = time.perf_counter()
        self._spent = self._plain = self._forwards = 0.0

    def due(self, trainer: Trainer, *, too_costly: bool = False) -> bool:
        """Count this validation, and return whether it gets a pass.

        Args:
            trainer: The Trainer, at the end of a validation.
            too_costly: :meth:`too_costly`; with many ranks that of the first rank, since their
                clocks differ.
        """
        due = (self.wanted and not too_costly) or ends_fit(trainer)
        self.validations += 1
        self.missed = None if due else (trainer.global_step, trainer.current_epoch)
        return due

    @property
    def wanted(self) -> bool:
        """Whether the next validation is one of those that ``every`` asks for."""
        return self.validations % self.every == 0

    def cost(self, *, forwards: bool) -> float:
        """How many seconds the next pass will take, with measures that cost forwards or without."""
        return self._plain + (self._forwards if forwards else 0)

    def too_costly(self, *, forwards: bool) -> bool:
        """Whether the next pass, and after it the fit's last one, exceed ``max_overhead``.

        Args:
            forwards: Whether the next pass takes the measures that cost forward passes.
        """
        if self.max_overhead is None:
            return False
        elapsed = time.perf_counter() - self._started
        both = self.cost(forwards=forwards) + self.cost(forwards=True)
        return self._spent + both > self.max_overhead * elapsed

    def took(self, seconds: float, forwards: float = 0.0) -> None:
        """Note how long a pass took, and how much of that the forwards of measures did."""
        self._spent += seconds
        self._plain = seconds - forwards
        if forwards:
            self._forwards = forwards


def ends_fit(trainer: Trainer) -> bool:
    """Whether the validation that runs now is known to be the fit's last.

    A stop that is decided later (early stopping after this validation, a time limit) cannot be
    known; then the monitor makes up for the pass at the end of training.
    """
    if 0 <= trainer.max_steps <= trainer.global_step:
        return True
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return False
    next_epoch = trainer.current_epoch + (trainer.check_val_every_n_epoch or 1)
    last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return bool(last_batch) and next_epoch >= trainer.max_epochs


def _check_max_overhead(max_overhead: object) -> None:
    expected = "expected None or a share of the wall time above 0, such as 0.05"
    if max_overhead is not None and not is_number(max_overhead):
        raise TypeError(f"max_overhead={shown(max_overhead)}; {expected}")
    if max_overhead is not None and not 0 < max_overhead <= 1:  # type: ignore[operator]
        raise ValueError(f"max_overhead={shown(max_overhead)}; {expected}")
