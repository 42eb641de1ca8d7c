"""Alarms: when the values of a measure should not be what they are."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_ablationcam.arguments import (
    check_choice,
    check_count,
    check_flag,
    is_number,
    shown,
)
from lightning_ablationcam.measures.axis import Axis
from lightning_ablationcam.measures.registry import MEASURES
from lightning_ablationcam.records.format import AlarmRecord
from lightning_ablationcam.run.scalars import finite_mean

RULES = ("mean", "any")
"""What has to be beyond: the mean over the probes, or one and the same probe."""

MAX_NAMED = 5
"""How many probes the warning of an alarm names."""

TOLERANCE = 1e-9
"""Values are beyond a limit by more than this: less is rounding."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_AXES = {measure.name: measure.axis for measure in MEASURES}


@dataclass(frozen=True)
class Alarm:
    """Rings where a measure of the passes goes beyond a limit.

    It counts the passes in which the measure is taken, and rings from the ``for_passes``-th in a
    row that is beyond until one is not. Then the monitor warns, names the probes and logs
    ``<tag>/alarm_<name>``, which is 1 while it rings and 0 else.

    Args:
        measure: The name of a measure, such as ``"border_heat"``, ``"mask_heat"``, ``"drift"`` or
            ``"average_drop"``. Shares are 0 ... 1.
        above: Values above this are beyond, by more than 1e-9, which is rounding.
        below: Values below this are beyond, likewise.
        for_passes: In how many passes in a row.
        of: What has to be beyond, the ``"mean"`` over the probes or ``"any"`` one of them, in all
            those passes the same.
        stop: Whether it asks the fit to end, in a pass of the fit in which it rings and the measure
            was taken. The fit goes on as long as ``min_epochs`` or ``min_steps`` say.
        name: Its name in the log, a letter followed by letters, digits and ``_``, ``.`` or ``-``;
            default that of the measure. Two alarms of one monitor need two.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range, such as a limit that no value goes beyond.

    Example:
        >>> Alarm("border_heat", above=0.5, for_passes=3).name
        'border_heat'
        >>> Alarm("border_heat", above=50)
        Traceback (most recent call last):
        ValueError: above=50; no border_heat is: its values are 0 ... 1
    """

    measure: str
    _: KW_ONLY
    above: float | None = None
    below: float | None = None
    for_passes: int = 1
    of: Literal["mean", "any"] = "mean"
    stop: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        check_choice("measure", self.measure, tuple(_AXES))
        if self.above is None and self.below is None:
            raise ValueError(
                f"above=None and below=None, of the alarm on {self.measure!r}; expected a number "
                "for one of them"
            )
        _check_limits(self.above, self.below, _AXES[self.measure])
        check_count("for_passes", self.for_passes)
        if self.for_passes > MAX_PASSES:
            raise ValueError(f"for_passes={shown(self.for_passes)}; expected {MAX_PASSES} at most")
        check_choice("of", self.of, RULES)
        check_flag("stop", self.stop)
        if self.name is None:
            object.__setattr__(self, "name", self.measure)
        expected = "expected a letter followed by at most 99 letters, digits and '_', '.' or '-'"
        if not isinstance(self.name, str):
            raise TypeError(f"name={shown(self.name)}; {expected}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name={shown(self.name)}; {expected}")
        # Numbers of other libraries are no JSON.
        for name, limit in (("above", self.above), ("below", self.below)):
            object.__setattr__(self, name, None if limit is None else float(limit))
        object.__setattr__(self, "for_passes", int(self.for_passes))

    @property
    def called(self) -> str:
        """The name, which always is one."""
        assert self.name is not None
        return self.name

    @property
    def limit(self) -> str:
        """The limit in words, such as ``"above 0.5"``."""
        limits = (("above", self.above), ("below", self.below))
        return " or ".join(f"{word} {limit:.9g}" for word, limit in limits if limit is not None)

    def is_beyond(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values are beyond; one that is not a number is not.

        Example:
            >>> Alarm("drift", above=0.4, below=0.1).is_beyond(np.array([0.0, 0.4, 0.5, np.nan]))
            array([ True, False,  True, False])
        """
        beyond: NDArray[np.bool_] = self.distance(values) > TOLERANCE
        return beyond

    def distance(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far values are beyond; below 0 of those that are not."""
        far: NDArray[np.float64] = np.full(np.shape(values), -np.inf)
        if self.above is not None:
            far = np.maximum(far, values - self.above)
        return far if self.below is None else np.maximum(far, self.below - values)

    def written(self, value: float) -> str:
        """A value in three digits, or as many as tell it from the limit that it is beyond.

        Example:
            >>> Alarm("drift", above=0.5).written(0.8), Alarm("drift", above=0.5).written(0.50012)
            ('0.8', '0.5001')
        """
        beyond = bool(self.is_beyond(np.array(value)))
        texts = (f"{value:.{digits}g}" for digits in range(3, 17))
        fitting = (text for text in texts if self.is_beyond(np.array(float(text))) == beyond)
        return next(fitting, repr(float(value)))


MAX_PASSES = 2**31
"""More passes than any fit has."""


@dataclass(eq=False)
class _State:
    """How one alarm stands with N probes.

    Attributes:
        in_a_row: (N,) int64, for how many passes in a row each probe has been beyond, or the mean
            over all of them.
        before: (N,) int64, the same before the newest step in which the measure was taken: another
            pass at that step takes the place of the first.
        step: That step, or None for a pass that none takes the place of.
        beyond: (N,) bool, which probes were beyond when the measure was last taken; where the mean
            is judged, on its side.
    """

    in_a_row: NDArray[np.int64]
    before: NDArray[np.int64]
    step: int | None
    beyond: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ring:
    """An alarm that rings in a pass in which its measure was taken.

    Attributes:
        alarm: Which.
        values: (N,) those of its measure.
        beyond: (N,) bool, the probes for which it rings.
    """

    alarm: Alarm
    values: NDArray[np.float64]
    beyond: NDArray[np.bool_]

    @property
    def reason(self) -> str:
        """Why it rings, such as ``"mean drift is 0.7, above 0.5"``."""
        alarm, count, mean = self.alarm, int(self.beyond.sum()), finite_mean(self.values)
        if alarm.of == "any":
            probes = "1 probe" if count == 1 else f"{count} probes"
            what = f"{alarm.measure} of {probes} is {alarm.limit}"
        else:
            assert mean is not None
            what = f"mean {alarm.measure} is {alarm.written(mean)}, {alarm.limit}"
        passes = alarm.for_passes
        return what + (f", for {passes} passes in a row" if passes > 1 else "")

    def text(self, names: Sequence[str]) -> str:
        """What the user is told of N probes."""
        alarm = self.alarm
        far = np.where(self.beyond, alarm.distance(self.values), -np.inf)
        worst = [int(i) for i in np.argsort(-far, kind="stable") if self.beyond[i]]
        listed = ", ".join(
            f"{names[i]} ({alarm.written(self.values[i])})" for i in worst[:MAX_NAMED]
        )
        more = len(worst) - MAX_NAMED
        return (
            f"alarm {alarm.called!r}: {self.reason}"
            + (f"; beyond: {listed}" if alarm.of == "mean" else f": {listed}")
            + (f" and {more} more" if more > 0 else "")
        )


@dataclass(eq=False)
class Alarms:
    """The alarms of a monitor, and how they stand after a pass.

    Args:
        rules: The alarms, each of a name of its own.

    Example:
        >>> alarms = Alarms([Alarm("drift", above=0.5, for_passes=2)])
        >>> drift = {"drift": np.array([0.9, 0.3])}
        >>> [ring.alarm.name for _ in range(3) for ring in alarms.update(drift)]
        ['drift']
        >>> alarms.ringing
        {'drift': array([ True, False])}
    """

    rules: Sequence[Alarm] = ()
    _states: dict[str, _State] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _heard: list[Ring] = field(default_factory=list)

    @property
    def ringing(self) -> dict[str, NDArray[np.bool_]]:
        """For each alarm that rings, by name, (N,) bool: the probes for which it does.

        Of ``of="mean"`` those that were beyond when the measure was last taken, of ``of="any"``
        those that have been so for ``for_passes`` passes in a row.
        """
        return {
            alarm.called: state.beyond if alarm.of == "mean" else long
            for alarm in self.rules
            if (state := self._states.get(alarm.called)) is not None
            and (long := state.in_a_row >= alarm.for_passes).any()
        }

    def rules_of(self, names: Container[str]) -> dict[str, str]:
        """The rules of some of them in a line each, by name."""
        return {alarm.called: _rule(alarm) for alarm in self.rules if alarm.called in names}

    @property
    def asking(self) -> list[Ring]:
        """Those that ask the fit to end: they ring in the newest pass, which took their measure."""
        return [ring for ring in self._heard if ring.alarm.stop]

    def update(
        self, measures: Mapping[str, NDArray[np.float64]], step: int | None = None
    ) -> list[Ring]:
        """Count a pass.

        Args:
            measures: (N,) float64 of each measure that was taken, by name.
            step: The step of the pass, which takes the place of an earlier one at that step; None
                for a pass of its own.

        Returns:
            The alarms that have begun to ring, or still ring and were not told yet.
        """
        # Where no probe has a number the measure was not taken: then all stays as it is.
        taken = {name: values for name, values in measures.items() if np.isfinite(values).any()}
        for alarm in self.rules:
            if alarm.measure in taken:
                self._count(alarm, taken[alarm.measure], step)
        ringing = self.ringing
        self._heard = [
            Ring(alarm, taken[alarm.measure], ringing[alarm.called])
            for alarm in self.rules
            if alarm.called in ringing and alarm.measure in taken
        ]
        self._told &= ringing.keys()
        new = [ring for ring in self._heard if ring.alarm.called not in self._told]
        self._told.update(ring.alarm.called for ring in new)
        return new

    def _count(self, alarm: Alarm, values: NDArray[np.float64], step: int | None) -> None:
        state = self._states.get(alarm.called)
        before = np.zeros(len(values), dtype=np.int64)
        if state is not None:
            again = step is not None and step == state.step
            before = state.before if again else state.in_a_row
        beyond, judged = _judged(alarm, values)
        in_a_row = np.where(judged, np.where(beyond, before + 1, 0), before)
        self._states[alarm.called] = _State(in_a_row, before, step, _to_name(alarm, values))

    def forget_told(self) -> None:
        """Tell of those that ring once more, as in another fit."""
        self._told.clear()

    def copy(self) -> Alarms:
        """Alarms that stand as these, and count on for themselves; nothing was told of them."""
        return Alarms(self.rules, dict(self._states))

    def state_dict(self) -> dict[str, Any]:
        """How they stand, in tensors and primitives, with the rules that this is of."""
        return {
            alarm.called: {
                "rule": _rule(alarm),
                "in_a_row": torch.from_numpy(state.in_a_row.copy()),
                "before": torch.from_numpy(state.before.copy()),
                "step": state.step,
                "beyond": torch.from_numpy(state.beyond.copy()),
            }
            for alarm in self.rules
            if (state := self._states.get(alarm.called)) is not None
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from an earlier state; alarms of another rule since are counted afresh."""
        for alarm in self.rules:
            found = state.get(alarm.called)
            if found is not None and found["rule"] == _rule(alarm):
                self._states[alarm.called] = _State(
                    in_a_row=_array(found["in_a_row"]),
                    before=_array(found["before"]),
                    step=found["step"],
                    beyond=_array(found["beyond"]),
                )


def _judged(
    alarm: Alarm, values: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each probe whether it counts as beyond, and whether it can be judged."""
    if alarm.of == "any":
        return alarm.is_beyond(values), np.isfinite(values)
    mean = finite_mean(values)
    judged = np.full(len(values), np.nan if mean is None else mean)
    return alarm.is_beyond(judged), np.isfinite(judged)


def record_of(alarm: Alarm) -> AlarmRecord:
    """The rule of an alarm, as it is recorded."""
    return AlarmRecord(
        name=alarm.called,
        measure=alarm.measure,
        above=alarm.above,
        below=alarm.below,
        for_passes=alarm.for_passes,
        of=alarm.of,
    )


def _to_name(alarm: Alarm, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which probes are beyond, of a mean that is too high not those that are too low."""
    mean = finite_mean(values)
    if alarm.of == "mean" and alarm.above is not None and alarm.below is not None:
        assert mean is not None
        high = replace(alarm, below=None)
        if high.is_beyond(np.array(mean)):
            return high.is_beyond(values)
        return replace(alarm, above=None).is_beyond(values)
    return alarm.is_beyond(values)


def _rule(alarm: Alarm) -> str:
    """What the count depends on."""
    return record_of(alarm).rule


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.numpy()
    return array


def _check_limits(above: Any, below: Any, axis: Axis) -> None:
    high = np.inf if axis.high is None else axis.high
    for name, limit in (("above", above), ("below", below)):
        if limit is None:
            continue
        if not is_number(limit):
            raise TypeError(f"{name}={shown(limit)}; expected None or a number")
        goes = axis.low <= limit < high if name == "above" else axis.low < limit <= high
        if not goes:
            ends = f"{axis.low:g} or more" if axis.high is None else f"{axis.low:g} ... {high:g}"
            always = limit < axis.low if name == "above" else limit > high
            which = "any" if always else "no"
            raise ValueError(
                f"{name}={shown(limit)}; {which} {axis.name} is: its values are {ends}"
            )
    if above is not None and below is not None and below > above:
        raise ValueError(f"below={below:g} and above={above:g}; expected below to be the lesser")


def check_alarms(alarms: object) -> tuple[Alarm, ...]:
    """The ``alarms`` of a monitor.

    Raises:
        TypeError: If they are anything but alarms.
        ValueError: If two are of one name.

    Example:
        >>> check_alarms([Alarm("drift", above=0.5), Alarm("drift", below=0.01)])
        Traceback (most recent call last):
        ValueError: alarms: two are named 'drift'; give one of them another name=
    """
    is_list = isinstance(alarms, Sequence) and not isinstance(alarms, (str, bytes, bytearray))
    listed: list[Any] = list(alarms) if is_list else [alarms]  # type: ignore[call-overload]
    wrong = [each for each in listed if not isinstance(each, Alarm)]
    if wrong:
        raise TypeError(
            f"alarms={shown(alarms)} has a {type(wrong[0]).__name__}; expected a list of Alarm(...)"
        )
    names = [alarm.called for alarm in listed]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"alarms: two are named {twice!r}; give one of them another name=")
    return tuple(listed)
