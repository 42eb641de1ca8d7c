"""Read records through TensorBoard's data provider, of any kind."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tensorboard.data.provider import RunTagFilter

from lightning_ablationcam.records.format import (
    HEAT_TAG,
    PLUGIN_NAME,
    PROBES_TAG,
    HeatRecord,
    ProbesRecord,
    RecordError,
    decode_heat,
    decode_probes,
)
from lightning_ablationcam.records.numbers import compact
from lightning_ablationcam.records.series import (
    MAX_STEPS,
    NothingToShowError,
    Series,
    Stamped,
    are_alike,
    assemble,
    current,
    thinned,
)
from lightning_ablationcam.tensorboard_plugin.packed import Packed, TooMuchError, read_packed
from lightning_ablationcam.tensorboard_plugin.recent import Kept, Key

MAX_BYTES = 240 * 2**20
"""How much of one series is read at once: TensorBoard's fast loader sends at most 256 MiB."""

# More records than any series has, so that the provider leaves none out; 0 would ask for none.
_ALL = 2**30

# As many records as a series has at most for which it pays to ask again for half of them.
_MANY = 2**14

# More digits than any number has that is counted up; Python refuses to convert thousands of them.
_DIGITS = re.compile("([0-9]{1,18})")

_Record = TypeVar("_Record", ProbesRecord, HeatRecord)


@dataclass(frozen=True)
class Source:
    """Where records are read from.

    Attributes:
        provider: A ``tensorboard.data.provider.DataProvider``.
        context: The ``RequestContext`` of the request that is answered.
        experiment: The experiment's id, usually empty.
    """

    provider: Any
    context: Any
    experiment: str


def list_series(source: Source) -> list[tuple[str, str]]:
    """The run and tag of each monitor that wrote probes and heat, those that wrote last first."""
    found = [
        (_age(series.max_wall_time), run, tag.removesuffix(HEAT_TAG))
        for run, tags in _listed(source).items()
        for tag, series in tags.items()
        if tag.endswith(HEAT_TAG) and tag.removesuffix(HEAT_TAG) + PROBES_TAG in tags
    ]
    # The monitors of a run stand together.
    newest: dict[str, float] = {}
    for age, run, _ in found:
        newest[run] = min(age, newest.get(run, math.inf))
    found.sort(key=lambda each: (newest[each[1]], _natural(each[1]), _natural(each[2])))
    return [(run, tag) for _, run, tag in found]


def _age(wall_time: float) -> float:
    return -float(wall_time) if math.isfinite(wall_time) else math.inf


def _natural(name: str) -> list[tuple[int, int, str]]:
    """What a name is sorted by: "run 2" before "run 10"."""
    parts = _DIGITS.split(name)
    # Every second part is a number.
    return [(i % 2, int(part) if i % 2 else 0, part) for i, part in enumerate(parts)]


def read_series(source: Source, run: str, tag: str) -> Series:
    """Read what is to be shown of one tag of one run.

    Args:
        source: Where to read from.
        run: The run.
        tag: The monitor's tag.

    Returns:
        The series. Records that cannot be read are left out; a note counts them.

    Raises:
        NothingToShowError: If there is no such series, or nothing in it can be shown.
    """
    return read_again(source, run, tag, {}).series


def read_again(
    source: Source, run: str, tag: str, known: Mapping[Key, Stamped[HeatRecord]]
) -> Kept:
    """The same, and the records it was made from, in little room.

    Args:
        source: Where to read from.
        run: The run.
        tag: The monitor's tag.
        known: The records of an earlier state: they are not decoded again.
    """
    probes, probes_problems, _ = _decoded(_all(source, run, tag + PROBES_TAG)[0], decode_probes)
    packed, sampled = _all(source, run, tag + HEAT_TAG)
    if sampled and known:
        packed = _only_newer(packed, known)
    chosen, total = _chosen(packed)
    heat, heat_problems, records = _heat(chosen, known)
    if total is not None and (heat_problems or not are_alike([one.record for one in heat])):
        # Not all are shown, so that the others count.
        total = None
        heat, heat_problems, records = _heat(packed, known)
    notes = _on_problems([*probes_problems, *heat_problems])
    if sampled:
        notes.append(
            f"The series is too large to be read at once: {len(heat)} of its steps, which "
            "TensorBoard chose at random, are read."
        )
    if not probes or not heat:
        what = "probes" if not probes else "heat"
        raise NothingToShowError(
            " ".join([f"run {run!r} has no {what} under {tag!r} that can be read.", *notes])
        )
    # Of a random choice it is not known how many there were.
    total = None if sampled else total
    return Kept(assemble(run, tag, probes, heat, notes, total=total), records)


def _key(datum: Packed) -> Key:
    return int(datum.step), float(datum.wall_time), datum.nbytes


def _only_newer(
    packed: Sequence[Packed], known: Mapping[Key, Stamped[HeatRecord]]
) -> Sequence[Packed]:
    """What was chosen at random before, and what is newer, in place of another random choice."""
    # A run that was resumed goes back to earlier steps; a clock may go back, too.
    last_step = max(step for step, _, _ in known)
    last_time = max(wall_time for _, wall_time, _ in known)
    before = [Packed(step, wall_time, None, size) for step, wall_time, size in known]
    newer = (one for one in packed if one.step > last_step or one.wall_time > last_time)
    return [*before, *newer]


def _chosen(packed: Sequence[Packed]) -> tuple[Sequence[Packed], int | None]:
    """Those that are shown, where there are more and all are alike, and how many there are."""
    if len(packed) <= MAX_STEPS or not all(math.isfinite(datum.wall_time) for datum in packed):
        return packed, None
    passes = current(packed)
    return thinned(passes, MAX_STEPS), len(passes)


def _heat(
    packed: Sequence[Packed], known: Mapping[Key, Stamped[HeatRecord]]
) -> tuple[list[Stamped[HeatRecord]], list[str], dict[Key, Stamped[HeatRecord]]]:
    """The passes, what is wrong with others, and all of them by their keys."""
    records = {key: known[key] for key in map(_key, packed) if key in known}
    fresh = [datum for datum in packed if _key(datum) not in records]
    decoded, problems, places = _decoded(fresh, decode_heat)
    for place, stamped in zip(places, decoded, strict=True):
        small = Stamped(stamped.step, stamped.wall_time, compact(stamped.record))
        records[_key(fresh[place])] = small
    passes = [records[key] for key in map(_key, packed) if key in records]
    return passes, problems, records


def _listed(source: Source) -> dict[str, Any]:
    """The tags of each run."""

    def ask(runs: list[str] | None) -> dict[str, Any]:
        found: dict[str, Any] = source.provider.list_tensors(
            source.context,
            experiment_id=source.experiment,
            plugin_name=PLUGIN_NAME,
            run_tag_filter=RunTagFilter(runs),
        )
        return found

    try:
        return ask(None)
    # The slow loader raises it while a tag is announced but has no value yet. The other runs must
    # still be listed.
    except KeyError:
        listed: dict[str, Any] = {}
        for run in source.provider.list_runs(source.context, experiment_id=source.experiment):
            with contextlib.suppress(KeyError):
                listed.update(ask([run.run_name]))
        return listed


def _all(source: Source, run: str, tag: str) -> tuple[Sequence[Packed], bool]:
    """The records of one tag, as many as can be read at once, and whether more exist."""
    newest = _packed(source, run, tag, 1)
    if not newest:
        raise NothingToShowError(f"run {run!r} has no Ablation-CAM data under {tag!r}")
    most = min(_ALL, max(2, MAX_BYTES // max(1, newest[-1].nbytes)))
    while True:
        try:
            data = _packed(source, run, tag, most)
        except TooMuchError:
            # Others are larger than the newest, as before all numbers of a run became NaN.
            most = min(most, _MANY) // 2
        else:
            return data, len(data) >= most


def _decoded(
    packed: Sequence[Packed], decode: Callable[[Sequence[bytes]], _Record]
) -> tuple[list[Stamped[_Record]], list[str], list[int]]:
    """The readable records, what is wrong with the others, and where the readable ones stood."""
    records, problems, places = [], [], []
    for place, datum in enumerate(packed):
        try:
            if not math.isfinite(datum.wall_time):
                raise RecordError("its wall time is not a number")
            record = decode(datum.strings())
        except RecordError as error:
            problems.append(f"step {datum.step}: {error}")
        else:
            records.append(Stamped(int(datum.step), float(datum.wall_time), record))
            places.append(place)
    return records, problems, places


def _packed(source: Source, run: str, tag: str, most: int) -> Sequence[Packed]:
    try:
        return read_packed(
            source.provider,
            source.context,
            experiment=source.experiment,
            run=run,
            tag=tag,
            most=most,
        )
    except TooMuchError as error:
        if most > 1:
            raise
        raise NothingToShowError(
            f"TensorBoard cannot send a single record of run {run!r} under {tag!r}"
        ) from error
    # From a provider that unpacks, and then unpacks a whole series. KeyError: see _listed.
    except (KeyError, ValueError, TypeError, MemoryError) as error:
        raise NothingToShowError(
            f"TensorBoard cannot unpack what run {run!r} has under {tag!r}: {error}"
        ) from error


def _on_problems(problems: Iterable[str]) -> list[str]:
    listed = list(problems)
    if not listed:
        return []
    if len(listed) == 1:
        return [f"1 record could not be read and is left out ({listed[0]})."]
    return [f"{len(listed)} records could not be read and are left out ({listed[0]}; ...)."]
