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
        above: Values above this are beyond.
        below: Values below this are beyond.
        for_passes: In how many passes in a row.
        of: What has to be beyond, the ``"mean"`` over the probes or ``"any"`` one of them, in all
            those passes the same.
        stop: Whether it ends the fit.
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

    @property
    def called(self) -> str:
        """The name, which always is one."""
        assert self.name is not None
        return self.name

    @property
    def limit(self) -> str:
        """The limit in words, such as ``"above 0.5"``."""
        limits = (("above", self.above), ("below", self.below))
        return " or ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)

    def is_beyond(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values are beyond; one that is not a number is not.

        Example:
            >>> Alarm("drift", above=0.4, below=0.1).is_beyond(np.array([0.0, 0.4, 0.5, np.nan]))
            array([ True, False,  True, False])
        """
        above = np.inf if self.above is None else self.above
        below = -np.inf if self.below is None else self.below
        beyond: NDArray[np.bool_] = (values > above) | (values < below)
        return beyond

    def distance(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far values are beyond."""
        above = np.inf if self.above is None else self.above
        below = -np.inf if self.below is None else self.below
        far: NDArray[np.float64] = np.maximum(values - above, below - values)
        return far


MAX_PASSES = 2**31
"""More passes than any fit has."""


@dataclass(eq=False)
class _State:
    """How one alarm stands with N probes.

    Attributes:
        in_a_row: (N,) int64, for how many passes in a row each probe has been beyond, or the mean
            over all of them.
        beyond: (N,) bool, which probes were beyond when the measure was last taken; where the mean
            is judged, on its side.
    """

    in_a_row: NDArray[np.int64]
    beyond: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ring:
    """An alarm that has begun to ring.

    Attributes:
        alarm: Which.
        values: (N,) those of its measure.
        beyond: (N,) bool, the probes for which it rings.
    """

    alarm: Alarm
    values: NDArray[np.float64]
    beyond: NDArray[np.bool_]

    def text(self, names: Sequence[str]) -> str:
        """What the user is told of N probes."""
        alarm, passes = self.alarm, self.alarm.for_passes
        far = np.where(self.beyond, alarm.distance(self.values), -np.inf)
        worst = [int(i) for i in np.argsort(-far, kind="stable") if self.beyond[i]]
        listed = ", ".join(f"{names[i]} ({self.values[i]:.3g})" for i in worst[:MAX_NAMED])
        more = len(worst) - MAX_NAMED
        count = "1 probe" if len(worst) == 1 else f"{len(worst)} probes"
        what = f"mean {alarm.measure} is {finite_mean(self.values):.3g}, {alarm.limit}"
        if alarm.of == "any":
            what = f"{alarm.measure} of {count} is {alarm.limit}"
        return (
            f"alarm {alarm.called!r}: {what}"
            + (f", for {passes} passes in a row" if passes > 1 else "")
            + (f"; beyond: {listed}" if alarm.of == "mean" else f": {listed}")
            + (f" and {more} more" if more > 0 else "")
            + ("; the fit ends here (stop=True)" if alarm.stop else "")
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
    def stop(self) -> bool:
        """Whether one rings that ends the fit."""
        ringing = self.ringing
        return any(alarm.stop and alarm.called in ringing for alarm in self.rules)

    def update(
        self,
        measures: Mapping[str, NDArray[np.float64]],
        replaced: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> list[Ring]:
        """Count a pass.

        Args:
            measures: (N,) float64 of each measure that was taken, by name.
            replaced: Those of the newest pass so far, if this one takes its place.

        Returns:
            The alarms that have begun to ring, or went on from a checkpoint in which they rang.
        """
        for alarm in self.rules:
            self._count(alarm, measures.get(alarm.measure), (replaced or {}).get(alarm.measure))
        ringing = self.ringing
        self._told &= ringing.keys()
        new = [
            Ring(alarm, measures[alarm.measure], ringing[alarm.called])
            for alarm in self.rules
            if alarm.called in ringing.keys() - self._told and alarm.measure in measures
        ]
        self._told.update(ring.alarm.called for ring in new)
        return new

    def _count(
        self,
        alarm: Alarm,
        values: NDArray[np.float64] | None,
        replaced: NDArray[np.float64] | None,
    ) -> None:
        # Where no probe has a number the measure was not taken: then all stays as it is.
        if values is None or not np.isfinite(values).any():
            return
        none = np.zeros(len(values), dtype=np.int64)
        state = self._states.get(alarm.called)
        in_a_row = none if state is None else state.in_a_row
        if replaced is not None:
            in_a_row = np.maximum(in_a_row - _judged(alarm, replaced)[0], 0)
        beyond, taken = _judged(alarm, values)
        in_a_row = np.where(taken, np.where(beyond, in_a_row + 1, 0), in_a_row)
        self._states[alarm.called] = _State(in_a_row, _to_name(alarm, values))

    def state_dict(self) -> dict[str, Any]:
        """How they stand, in tensors and primitives, with the rules that this is of."""
        return {
            alarm.called: {
                "rule": _rule(alarm),
                "in_a_row": torch.from_numpy(state.in_a_row.copy()),
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
                in_a_row, beyond = _array(found["in_a_row"]), _array(found["beyond"])
                self._states[alarm.called] = _State(in_a_row, beyond)


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
        if mean > alarm.above:
            return replace(alarm, below=None).is_beyond(values)
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
