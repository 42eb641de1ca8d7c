"""What is measured in the passes of a fit, and what of it rings an alarm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_ablationcam.arguments import check_choice, check_count, shown
from lightning_ablationcam.measures.axis import ERROR
from lightning_ablationcam.measures.registry import FORWARDS, MEASURES, Measure
from lightning_ablationcam.options import Options
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.run.alarms import Alarm, check_alarms
from lightning_ablationcam.run.scalars import NEUTRAL


@dataclass(frozen=True, eq=False)
class Measuring:
    """What is measured; checks itself.

    Attributes:
        measures: Names of measures to be taken. Those that cost no forward pass, and those that an
            alarm needs, are taken anyway.
        every: They are taken in the first pass and every so many after it.
        alarms: The alarms.
        tolerant: Whether passes have a tolerance, and so an error to be stated.

    Raises:
        TypeError: If one is of the wrong kind.
        ValueError: If one is out of range.

    Example:
        >>> measuring = Measuring(["insertion"], alarms=[Alarm("average_drop", above=0.5)])
        >>> measuring.forwards
        ('average_drop', 'insertion')
        >>> measuring.is_due(0), Measuring(["insertion"], every=2).is_due(1)
        (True, False)
    """

    measures: Sequence[str] = ()
    every: int = 1
    alarms: Sequence[Alarm] = ()
    tolerant: bool = False

    def __post_init__(self) -> None:
        _check_measures(self.measures)
        object.__setattr__(self, "measures", tuple(self.measures))
        check_count("measure_every_n_passes", self.every)
        object.__setattr__(self, "alarms", check_alarms(self.alarms))
        self._check_tolerant()

    def _check_tolerant(self) -> None:
        """Raise a ``ValueError`` where an error is asked for that no pass states."""
        lost = {
            "measures": [name for name in self.measures if name == ERROR.name],
            "alarms": [alarm.called for alarm in self.alarms if alarm.measure == ERROR.name],
        }
        for where, names in lost.items():
            if names and not self.tolerant:
                raise ValueError(
                    f"{where}: {', '.join(map(repr, names))} needs a tolerance, since maps are "
                    "exact without one; give tolerance=, such as 0.05"
                )

    @property
    def forwards(self) -> tuple[str, ...]:
        """The measures that cost forward passes and are taken, in the order of all."""
        wanted = {*self.measures, *(alarm.measure for alarm in self.alarms)}
        return tuple(name for name in FORWARDS if name in wanted)

    def is_due(self, made: int) -> bool:
        """Whether they are taken in the next pass, after so many."""
        return bool(self.forwards) and made % self.every == 0

    def taken(self, probes: ProbeSet | None) -> list[Measure]:
        """The measures that passes over some probes have.

        Those of masks only where there are any, and the error only where there is a tolerance.

        Args:
            probes: The probes, or None while they are not known.
        """
        masked = probes is not None and probes.masks is not None
        forwards = self.forwards
        return [
            measure
            for measure in MEASURES
            if (masked or not measure.masked)
            and (measure.name in forwards or not measure.forwards)
            and (self.tolerant or not measure.tolerant)
        ]

    def judged(self, probes: ProbeSet | None) -> list[Alarm]:
        """The alarms on what passes over some probes have, see :meth:`taken`."""
        taken = {measure.name for measure in self.taken(probes)}
        return [alarm for alarm in self.alarms if alarm.measure in taken]

    def neutral(self, probes: ProbeSet | None) -> dict[str, float]:
        """What is logged while nothing is known, by the name of each number that is logged."""
        found = {measure.name: NEUTRAL[measure.name] for measure in self.taken(probes)}
        if probes is not None:
            sides = probes.images.shape[1:]
            # Of three sides the first are channels; two are a signal's, or a picture's without any.
            diagonal = math.hypot(*(sides[1:] if len(sides) > 2 else sides))
            found |= {m.name: diagonal for m in self.taken(probes) if m.neutral is None}
        found |= {name: NEUTRAL[name] for name in ("score", "seconds")}
        return found | {alarm_scalar(alarm.called): 0.0 for alarm in self.alarms}

    def check_options(self, options: Options) -> None:
        """Raise a ``ValueError`` where what is explained can have no class probabilities."""
        if not self.forwards:
            return
        without = None
        if callable(options.score):
            without = f"a score of your own, score={shown(options.score)}"
        elif options.embeddings is not None:
            without = f"embeddings={shown(options.embeddings)}"
        elif options.task in ("regression", "similarity"):
            without = f"task={options.task!r}"
        if without is not None:
            raise ValueError(
                f"measures={list(self.forwards)}: they need class probabilities, and {without} has "
                "none; leave them and alarms on them out"
            )

    def problem(self, probes: ProbeSet) -> str | None:
        """What was asked for in vain where probes have no masks, in words; or None.

        Example:
            >>> import torch
            >>> probes = ProbeSet(torch.rand(2, 1, 4, 4))
            >>> Measuring().problem(probes) is None
            True
            >>> Measuring(alarms=[Alarm("mask_heat", below=0.2)]).problem(probes)
            "alarms: 'mask_heat' needs probes with masks; give ProbeSet(..., masks=...)"
        """
        if probes.masks is not None:
            return None
        masked = {measure.name for measure in MEASURES if measure.masked}
        asked = {
            "alarms": [alarm.called for alarm in self.alarms if alarm.measure in masked],
            "measures": [name for name in self.measures if name in masked],
        }
        lost = [name for names in asked.values() for name in names]
        if not lost:
            return None
        which = " and ".join(
            f"{where}: {', '.join(map(repr, names))}" for where, names in asked.items() if names
        )
        needs = "needs" if len(lost) == 1 else "need"
        return f"{which} {needs} probes with masks; give ProbeSet(..., masks=...)"


def alarm_scalar(name: str) -> str:
    """What the scalar of an alarm is called."""
    return f"alarm_{name}"


def _check_measures(measures: object) -> None:
    names = tuple(measure.name for measure in MEASURES)
    if isinstance(measures, (str, bytes, bytearray)) or not isinstance(measures, Sequence):
        expected = f"expected a list of names among {', '.join(map(repr, names))}"
        raise TypeError(f"measures={shown(measures)}; {expected}")
    for name in measures:
        check_choice("measures", name, names)
