"""When a pass is due."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lightning_ablationcam.arguments import check_count, is_number, shown
from lightning_ablationcam.lightning import Trainer
from lightning_ablationcam.run.tolerance import STEPS, Ladder, Tolerance, check_asked_tolerance

MARGIN = 0.8
"""What of the allowance a finer step may cost by estimate."""

DEAREST_TRIAL = 4
"""How many times the allowance a step may cost by estimate that is tried for the first time."""


class Schedule:
    """Counts the validations of a fit, from now on, and the time that passes take.

    With ``tolerance="auto"`` it also says how exact each pass is, so that the budget of
    ``max_overhead`` is spent on exactness before passes are skipped:

    * The first pass takes the coarsest of the :data:`~.tolerance.STEPS`; it shows what they cost.
    * After it each takes the finest step whose explanation fits into the allowance, which is the
      budget of the mean time between two wanted validations: for a step finer than the pass before
      with a :data:`MARGIN` to spare, as its cost is an estimate, and for the others as it is, so
      that a pass that exceeds the allowance is followed by coarser ones. A step that was too dear
      is not tried again while its cost is remembered, see :class:`~.tolerance.Ladder`.
    * What was saved so far has to cover it as well, and the fit's last pass at the coarsest step.
      The next finer step than that of the pass before needs no more than that if it was never
      taken and costs at most :data:`DEAREST_TRIAL` times the allowance by estimate: it is tried
      once, as what it costs is not known otherwise, and a finer step may even be cheaper.
    * The last pass takes the finest step for which what was saved is enough.
    * Passes are skipped where even the coarsest step is too costly.

    Args:
        every: Run a pass at the first validation and at every ``every``-th after it.
        max_overhead: Share of the fit's wall time that passes may take; None for no limit. The
            first pass shows how long one takes; time is kept for the last, which always runs and
            takes the measures that cost forward passes.
        tolerance: The tolerance of all passes, or ``"auto"``; None for exact ones.

    Attributes:
        validations: How many validations there were so far; part of the checkpoint.
        missed: ``(step, epoch)`` of the newest validation, if it got no pass.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, every: int, max_overhead: float | None = None, tolerance: Tolerance = None
    ) -> None:
        check_count("every_n_validations", every)
        _check_max_overhead(max_overhead)
        check_asked_tolerance(tolerance, max_overhead)
        self.every = every
        self.max_overhead = max_overhead
        self.is_auto = tolerance == "auto"
        self._tolerance = tolerance
        self._ladder = Ladder()
        self.missed: tuple[int, int] | None = None
        self.validations = 0
        self._started = time.perf_counter()
        self._spent = self._explaining = self._other = self._forwards = 0.0
        self._chances = 0

    def due(self, trainer: Trainer, *, too_costly: bool = False) -> bool:
        """Count this validation, and return whether it gets a pass.

        Args:
            trainer: The Trainer, at the end of a validation.
            too_costly: :meth:`too_costly`; with many ranks that of the first rank, since their
                clocks differ.
        """
        due = (self.wanted and not too_costly) or ends_fit(trainer)
        self._chances += self.wanted
        self.validations += 1
        self.missed = None if due else (trainer.global_step, trainer.current_epoch)
        return due

    @property
    def wanted(self) -> bool:
        """Whether the next validation is one of those that ``every`` asks for."""
        return self.validations % self.every == 0

    def cost(self, *, forwards: bool, step: int = 0) -> float:
        """How many seconds the next pass will take.

        Args:
            forwards: Whether it takes the measures that cost forward passes.
            step: Of which step of the tolerances it is, where that is automatic.
        """
        explaining = self._ladder.cost(step) if self.is_auto else self._explaining
        return explaining + self._other + (self._forwards if forwards else 0)

    def too_costly(self, *, forwards: bool) -> bool:
        """Whether the next pass, and after it the fit's last one, exceed ``max_overhead``.

        Args:
            forwards: Whether the next pass takes the measures that cost forward passes.
        """
        return not self._covers(self.cost(forwards=forwards) + self.cost(forwards=True))

    def _covers(self, seconds: float) -> bool:
        """Whether so many more seconds keep within ``max_overhead`` of the time so far."""
        if self.max_overhead is None:
            return True
        return self._spent + seconds <= self.max_overhead * self._elapsed

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self._started

    def tolerance(self, *, forwards: bool, last: bool = False) -> float | None:
        """The tolerance of the pass that is made now; with many ranks that of the first rank.

        Args:
            forwards: Whether it takes the measures that cost forward passes.
            last: Whether it is the fit's last one.
        """
        if not self.is_auto:
            return self._tolerance  # type: ignore[return-value]
        finest = range(len(STEPS) - 1, 0, -1) if self._ladder.knows else ()
        return STEPS[next((s for s in finest if self._affords(s, forwards, last)), 0)]

    def _affords(self, step: int, forwards: bool, last: bool) -> bool:
        assert self.max_overhead is not None
        cost = self.cost(forwards=forwards or last, step=step)
        if last:
            return self._covers(cost)
        allowance = self.max_overhead * self._elapsed / max(1, self._chances)
        margin = MARGIN if step > self._ladder.at else 1
        alone = self.cost(forwards=False, step=step)
        is_next = step == self._ladder.at + 1 and self._ladder.is_new(step)
        is_tried = is_next and alone <= DEAREST_TRIAL * allowance
        is_wanted = is_tried or alone <= margin * allowance
        return is_wanted and self._covers(cost + self.cost(forwards=True))

    def took(
        self,
        seconds: float,
        forwards: float = 0.0,
        *,
        explaining: float = 0.0,
        tolerance: float | None = None,
        share: float | None = None,
    ) -> None:
        """Note how long a pass took.

        Args:
            seconds: All of it.
            forwards: What of it the forwards of measures took.
            explaining: What of it explaining the probes took; 0 where that failed.
            tolerance: The tolerance that it had.
            share: The share of the channels' drops that it computed; None where the pass failed
                before that was found, which says nothing of what the tolerance costs.
        """
        self._spent += seconds
        explaining = 0.0 if self.is_auto and share is None else explaining
        if not explaining and self._ladder.knows:
            return  # What it costs where it does not fail is known.
        self._explaining, self._other = explaining, seconds - forwards - explaining
        if self.is_auto and explaining and share is not None:
            self._ladder.took(tolerance, seconds=explaining, share=share)
        if forwards:
            self._forwards = forwards

    def state_dict(self) -> dict[str, Any] | None:
        """What a resumed fit goes on from at the same step, if the tolerance is automatic."""
        if not self.is_auto:
            return None
        costs = {"other": self._other, "forwards": self._forwards, "chances": self._chances}
        account = {"spent": self._spent, "elapsed": self._elapsed, **costs}
        return {**account, "ladder": self._ladder.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Go on from what :meth:`state_dict` described, if the tolerance is automatic here too."""
        if not self.is_auto or state is None:
            return
        self._spent, self._chances = state["spent"], state["chances"]
        self._other, self._forwards = state["other"], state["forwards"]
        self._started = time.perf_counter() - state["elapsed"]
        self._ladder.load_state_dict(state["ladder"])


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
