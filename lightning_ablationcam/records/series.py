"""Everything recorded under one tag of one run, as the tab and the report show it."""

from __future__ import annotations

import base64
import hashlib
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from lightning_ablationcam.records.format import (
    FurtherRecord,
    HeatRecord,
    ProbesRecord,
    RegionsRecord,
)
from lightning_ablationcam.records.numbers import Column, block_of, columns_of
from lightning_ablationcam.selection import steadily_chosen

VERSION = 1
"""Version of the data that the page gets."""

MAX_STEPS = 1000
"""How many steps of a series are shown at most; of a longer one every second, fourth ..."""

MAX_ROLE_BYTES = 256 * 2**20
"""How large the maps of all further classes may be together, over all steps, also those that have
none: one record with large ones must not make a thousand of them."""

Record = TypeVar("Record", ProbesRecord, HeatRecord)


class NothingToShowError(LookupError):
    """There is no such series, or nothing in it can be shown; the message says why."""


@dataclass(frozen=True)
class Stamped(Generic[Record]):
    """A record, its step and when it was written.

    Attributes:
        step: ``trainer.global_step``.
        wall_time: Seconds since the epoch of the clock, finite; None where not known.
        record: The record.
    """

    step: int
    wall_time: float | None
    record: Record


@dataclass(frozen=True)
class Series:
    """What is shown of one tag of one run.

    Attributes:
        run: The run.
        tag: The monitor's tag.
        probes: The probes.
        steps: At least one pass, each step once, ascending; all of one layer and one map shape.
        total_steps: How many steps there were before thinning.
        notes: Sentences on what is not shown.
    """

    run: str
    tag: str
    probes: ProbesRecord
    steps: tuple[Stamped[HeatRecord], ...]
    total_steps: int
    notes: tuple[str, ...]

    @property
    def key(self) -> str:
        """Identifies exactly these steps, in 32 hexadecimal digits."""
        return self.keys[-1]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of no step, of the first step alone, of the first two and so on.

        Of two states of a series, the steps up to the last key that both have are the same.
        """
        digest = hashlib.sha256()
        probes = self.probes
        shapes = (self.steps[0].record.shape, self.role_shapes, self.signed_roles)
        pictures = [hashlib.sha256(picture).digest() for picture in probes.pictures]
        about = [value for name, value in vars(probes).items() if name != "pictures"]
        for part in (self.run, self.tag, shapes, pictures, *about):
            digest.update(repr(part).encode("utf-8", "surrogatepass") + b"\n")
        found = [digest.hexdigest()[:32]]
        for stamped in self.steps:
            digest.update(f"{stamped.step} {stamped.wall_time!r}\n".encode())
            found.append(digest.hexdigest()[:32])
        return tuple(found)

    def known(self, keys: Iterable[str]) -> int:
        """How many of the first steps are as in an earlier state that has one of these keys."""
        wanted = set(keys)
        return max((i for i, key in enumerate(self.keys) if key in wanted), default=0)

    def same(self, keys: Iterable[str]) -> bool:
        """Whether all but the steps is as in an earlier state that has one of these keys."""
        return not set(self.keys).isdisjoint(keys)

    @property
    def roles(self) -> tuple[str, ...]:
        """The further classes that any step has maps of, such as ``"rival"``."""
        return tuple(self.role_shapes)

    @cached_property
    def role_shapes(self) -> dict[str, tuple[int, int, int]]:
        """The shape (N, h, w) of the maps of each further class, at the newest step that has any.

        Those that would be too large together with the ones before are left out.
        """
        found: dict[str, tuple[int, int, int]] = {}
        for stamped in self.steps:
            for role, further in stamped.record.also.items():
                found[role] = further.shape or stamped.record.shape
        room = MAX_ROLE_BYTES // len(self.steps)
        kept = {}
        for role, shape in found.items():
            if math.prod(shape) <= room:
                kept[role] = shape
                room -= math.prod(shape)
        return kept

    @cached_property
    def rules(self) -> dict[str, str]:
        """The rules of the alarms that the run has now, by name."""
        return {alarm.name: alarm.rule for alarm in self.probes.alarms}

    def rings(self, record: HeatRecord) -> dict[str, tuple[int, ...]]:
        """Which probes are beyond, for each alarm that rings by a rule that the run has now."""
        return {
            name: beyond
            for name, beyond in record.alarms.items()
            if name in self.rules and record.rules.get(name, self.rules[name]) == self.rules[name]
        }

    @cached_property
    def signed_roles(self) -> tuple[str, ...]:
        """Those of which any step says what speaks against them; "" is the class explained."""
        return tuple(
            role
            for role in ("", *self.roles)
            if any(_has_against(self.explained(stamped, role)) for stamped in self.steps)
        )

    def explained(
        self, stamped: Stamped[HeatRecord], role: str
    ) -> HeatRecord | FurtherRecord | None:
        """What a step holds of a role; None where it has none, or maps of another shape."""
        record = stamped.record
        if not role:
            return record
        further = record.also.get(role)
        if further is None or (further.shape or record.shape) != self.role_shapes.get(role):
            return None
        return further

    @property
    def maps(self) -> bytes:
        """The maps of all steps, steps x N x h x w bytes in C order."""
        return self.maps_from(0)

    def maps_from(
        self, index: int, role: str = "", *, against: bool = False, stop: int | None = None
    ) -> bytes:
        """The same of some of the steps.

        Args:
            index: The first step.
            role: Of which further class, one of :attr:`roles`; zeros where a step has none.
            against: Whether the maps are of what speaks against the classes.
            stop: The step after the last.
        """
        none = bytes(math.prod(self.role_shapes[role] if role else self.steps[0].record.shape))
        each = [self.explained(stamped, role) for stamped in self.steps[index:stop]]
        return b"".join(
            none if one is None else (one.against or none) if against else one.maps for one in each
        )

    def columns(self, stamped: Stamped[HeatRecord]) -> list[Column]:
        """The numbers of a step that the page gets apart from the rest."""
        roles = [role for role in self.roles if self.explained(stamped, role)]
        return columns_of(stamped.record, roles, [axis.name for axis in self.probes.measures])

    def numbers(self, start: int, stop: int) -> bytes:
        """The numbers of some of the steps, step by step."""
        return b"".join(block_of(self.columns(stamped)) for stamped in self.steps[start:stop])


def assemble(
    run: str,
    tag: str,
    probes: Sequence[Stamped[ProbesRecord]],
    heat: Sequence[Stamped[HeatRecord]],
    notes: Iterable[str] = (),
    *,
    total: int | None = None,
) -> Series:
    """Bring the records of one tag of one run together.

    The newest probes with any heat are shown. Heat of other probes, of another layer or of another
    map size than the newest is left out, and a note says so.

    Args:
        run: The run.
        tag: The monitor's tag.
        probes: The probes records, in the order in which they were written.
        heat: The heat records, likewise.
        notes: Sentences on what is already known to be missing.
        total: How many current passes there are, where ``heat`` is what :func:`thinned` chose.

    Returns:
        The series.

    Raises:
        NothingToShowError: If no heat belongs to any probes.
    """
    passes = current(heat)
    by_age = sorted(enumerate(probes), key=lambda entry: (_written(entry[1]), entry[0]))
    for _, stamped in reversed(by_age):
        mine = [a_pass for a_pass in passes if _belongs(a_pass.record, stamped.record)]
        if mine:
            break
    else:
        raise NothingToShowError(
            f"run {run!r} has {len(probes)} probes records and {len(passes)} passes under {tag!r}, "
            "but none that belong together"
        )
    shape = max(reversed(mine), key=_written).record.shape
    shown = [a_pass for a_pass in mine if a_pass.record.shape == shape]
    steps = thinned(shown, MAX_STEPS)
    found = list(notes)
    if others := len(passes) - len(shown):
        found.append(
            f"{_counted(others, 'pass', 'passes')} over other probes, at another layer or with "
            f"maps of another size {'is' if others == 1 else 'are'} left out."
        )
    count = total or len(shown)
    if len(steps) < count:
        stride = steadily_chosen(count, MAX_STEPS)[1]
        found.append(
            f"Shows {len(steps)} of {count} steps: every {_ordinal(stride)}, and the newest."
        )
    series = Series(run, tag, stamped.record, tuple(steps), count, tuple(found))
    series = replace(series, notes=(*series.notes, *_silenced(series)))
    named = dict.fromkeys(role for a_step in steps for role in a_step.record.also)
    large = [role for role in named if role not in series.roles]
    if not large:
        return series
    note = f"The maps of {', '.join(large)} are too large to be shown."
    return replace(series, notes=(*series.notes, note))


def _silenced(series: Series) -> list[str]:
    """What is to be said of alarms that rang and are not shown."""
    records = [stamped.record for stamped in series.steps]
    lost = dict.fromkeys(
        name for record in records for name in record.alarms if name not in series.rings(record)
    )
    gone = [name for name in lost if name not in series.rules]
    other = [name for name in lost if name in series.rules]
    notes = []
    if gone:
        notes.append(
            f"Alarms that the run had before and has no more are left out: {', '.join(gone)}."
        )
    if other:
        notes.append(
            "Rings of alarms under another rule than they have now are left out: "
            f"{', '.join(other)}."
        )
    return notes


class _Timed(Protocol):
    """What was written of a step at a time."""

    @property
    def step(self) -> int: ...

    @property
    def wall_time(self) -> float | None: ...


Timed = TypeVar("Timed", bound=_Timed)


def are_alike(passes: Sequence[HeatRecord]) -> bool:
    """Whether passes are over the same probes, at one layer, with maps of one size."""
    return len({(one.fingerprint, one.layer, one.shape) for one in passes}) < 2


def current(heat: Iterable[Timed]) -> list[Timed]:
    """The passes that are not outdated, by step.

    A run that is resumed, or started again, goes back to an earlier step. The passes that were
    written before at that step or later ones are outdated and dropped, as in TensorBoard's own
    dashboards. A clock that is set back removes nothing by itself.

    Args:
        heat: The passes in the order in which they were written.

    Returns:
        The passes, each step once, ascending.
    """
    kept: list[Timed] = []
    for new in heat:
        place = bisect_left(kept, new.step, key=lambda stamped: stamped.step)
        newer = [later for later in kept[place:] if _written(later) > _written(new)]
        if newer and newer[0].step == new.step:
            continue
        kept[place:] = [new, *newer]
    return kept


def thinned(items: Sequence[Timed], most: int) -> list[Timed]:
    """At most ``most`` items: every second, fourth, eighth ..., and the last."""
    return [items[index] for index in steadily_chosen(len(items), most)]


def page_data(
    series: Series,
    *,
    pictures: Sequence[str],
    maps: str,
    also_maps: Mapping[str, str] | None = None,
    against_maps: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the page gets about a series, ready for JSON.

    Args:
        series: The series.
        pictures: Address of each probe's picture.
        maps: Address of the maps.
        also_maps: Address of the maps of each further class.
        against_maps: Address of the maps of what speaks against them, and against the class
            explained, which is called "".

    Returns:
        The object that the tab's ``data`` route answers with and that the report embeds.
    """
    regions = _Regions()
    return {
        **_about(series, pictures),
        "steps": [_step(series, stamped, regions) for stamped in series.steps],
        "regions": regions.listed,
        "total_steps": series.total_steps,
        "notes": series.notes,
        "maps": maps,
        "also_maps": dict(also_maps or {}),
        "against_maps": dict(against_maps or {}),
        "maps_key": series.key,
    }


def page_news(
    series: Series, keys: Iterable[str], *, pictures: Sequence[str], **addresses: Any
) -> dict[str, Any]:
    """What the page gets about a series of which it knows an earlier state, ready for JSON.

    As :func:`page_data`, but the numbers of the steps come apart from it, and what is known is left
    out: of ``first`` steps all, and if these are of the same probes all that concerns them.

    Args:
        series: The series.
        keys: Keys of the earlier state; none where nothing is known.
        pictures: Address of each probe's picture.
        addresses: Further addresses: ``maps``, ``also_maps``, ``against_maps`` and ``numbers``.
    """
    known = list(keys)
    first = series.known(known)
    regions, layouts = _Regions(), dict[Any, int]()
    steps: list[dict[str, Any]] = []
    kept = 0
    for i, stamped in enumerate(series.steps):
        rest = _rest(series, stamped, regions)
        if i < first:
            kept = len(regions.listed)
            continue
        layout = tuple(column.layout for column in series.columns(stamped))
        rest["layout"] = layouts.setdefault(layout, len(layouts))
        steps.append(rest)
    return {
        **({} if series.same(known) else _about(series, pictures)),
        "first": first,
        "steps": steps,
        "layouts": list(layouts),
        "regions": regions.listed[kept:],
        "first_region": kept,
        "total_steps": series.total_steps,
        "notes": series.notes,
        "maps_key": series.key,
        # That of all but the newest step, which makes way for a newer one where steps are left out.
        "stem": series.keys[-2],
        **addresses,
    }


def _about(series: Series, pictures: Sequence[str]) -> dict[str, Any]:
    """What the page gets about a series that does not change with its steps."""
    probes, shape = series.probes, series.steps[0].record.shape
    texts = probes.label_texts or (None,) * len(probes.names)
    named = zip(probes.names, probes.labels, texts, strict=True)
    return {
        "version": VERSION,
        "run": series.run,
        "tag": series.tag,
        "fingerprint": probes.fingerprint,
        "layer": probes.layer,
        "scale": probes.scale,
        "score": probes.score,
        "task": probes.task,
        "probes": [{"name": name, "label": label, "text": text} for name, label, text in named],
        "class_names": probes.class_names,
        "measures": [vars(axis) for axis in probes.measures],
        "alarms": [vars(alarm) for alarm in probes.alarms],
        "shape": shape[1:],
        "also_shapes": {role: shape[1:] for role, shape in series.role_shapes.items()},
        "pictures": list(pictures),
    }


class _Regions:
    """The regions of a series, each listed once however many steps have it.

    Attributes:
        listed: For each its height, its width and its runs in base 64.
    """

    def __init__(self) -> None:
        self.listed: list[tuple[int, int, str]] = []
        self._places: dict[tuple[tuple[int, int], bytes], int] = {}

    def places(self, record: RegionsRecord | None) -> list[int] | None:
        """Where each probe's region is in the list."""
        if record is None:
            return None
        return [self._place(record.shape, runs) for runs in record.runs]

    def _place(self, shape: tuple[int, int], runs: bytes) -> int:
        key = (shape, runs)
        if key not in self._places:
            self._places[key] = len(self.listed)
            self.listed.append((*shape, base64.b64encode(runs).decode("ascii")))
        return self._places[key]


def _has_against(explained: HeatRecord | FurtherRecord | None) -> bool:
    return explained is not None and explained.against is not None


def _step(series: Series, stamped: Stamped[HeatRecord], regions: _Regions) -> dict[str, Any]:
    record = stamped.record
    rest = _rest(series, stamped, regions)
    return {
        **rest,
        "maxima": _rounded(record.maxima),
        "classes": list(record.classes),
        "scores": _rounded(record.scores),
        "predicted": record.predicted and list(record.predicted),
        "probabilities": _rounded(record.probabilities),
        **{axis.name: _rounded(record.measures.get(axis.name)) for axis in series.probes.measures},
        "top": _top(record),
        "against": _rounded(record.against_maxima),
        "also": {
            role: {**_further(record.also[role]), **of_role}
            for role, of_role in rest["also"].items()
        },
    }


def _rest(series: Series, stamped: Stamped[HeatRecord], regions: _Regions) -> dict[str, Any]:
    """What the page gets of a step, but for the numbers that each probe has."""
    record = stamped.record
    return {
        "step": stamped.step,
        "epoch": record.epoch,
        "wall_time": stamped.wall_time,
        "regions": regions.places(record.regions),
        "alarms": series.rings(record),
        "also": {
            role: {"regions": regions.places(record.also[role].regions)}
            for role in series.roles
            if series.explained(stamped, role)
        },
    }


def _top(record: HeatRecord) -> dict[str, Any] | None:
    if record.top_classes is None or record.top_probabilities is None:
        return None
    likely = [_rounded(values) for values in record.top_probabilities]
    return {"classes": [list(row) for row in record.top_classes], "probabilities": likely}


def _further(further: FurtherRecord) -> dict[str, Any]:
    return {
        "maxima": _rounded(further.maxima),
        "classes": list(further.classes),
        "scores": _rounded(further.scores),
        "probabilities": _rounded(further.probabilities),
        "against": _rounded(further.against_maxima),
        "error": _rounded(further.error),
    }


def _rounded(values: Sequence[float | None] | None) -> list[float | None] | None:
    # Six digits are enough to read a float32, and half as long as writing it out in full.
    if values is None:
        return None
    return [None if value is None else float(f"{value:.6g}") for value in values]


def _belongs(heat: HeatRecord, probes: ProbesRecord) -> bool:
    return (heat.fingerprint, heat.layer, heat.shape[0]) == (
        probes.fingerprint,
        probes.layer,
        len(probes.names),
    )


def _written(stamped: _Timed) -> float:
    return -math.inf if stamped.wall_time is None else stamped.wall_time


def _ordinal(stride: int) -> str:
    """A power of two in words: 2nd, 4th ..."""
    return f"{stride}{'nd' if stride % 10 == 2 and stride % 100 != 12 else 'th'}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
