"""The records in an event file that the tab and the report are made from.

Each record is a list of byte strings, the first of them JSON, written as one string tensor:

* probes, under ``<tag>/probes``: ``[json, picture_0, ..., picture_N-1]``, PNG or JPEG.
* heat, under ``<tag>/heat``, one for each pass: ``[json, maps]``; ``maps`` holds N x h x w bytes
  in C order, 255 = that map's own maximum. The maps of further classes follow, each in the same
  form, then what speaks against the classes and the regions explained, where the JSON says so.

Event files may come from anywhere, so decoding is strict: it trusts no size or type in them, and
raises a :class:`RecordError` that says what does not fit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.measures.axis import CONCENTRATION, DRIFT, Axis
from lightning_ablationcam.records.regions import MAX_SIDE, check_runs

VERSION = 4
"""Version of both records. Version 1 had drift and concentration in place of ``measures``, version
2 no labels in words, no task, no maps of another size, nothing against a class and no regions,
version 3 no unit, group, hint and worse end of a measure, and no alarms."""

READABLE = (1, 2, 3, VERSION)
"""The versions that can be read."""

PLUGIN_NAME = "ablation_cam"
"""TensorBoard's name for the owner of these records, part of the tab's address."""

PROBES_TAG = "/probes"
"""Suffix that follows the monitor's tag in the tag of its probes records."""

HEAT_TAG = "/heat"
"""Suffix that follows the monitor's tag in the tag of its heat records."""

MAX_INTEGER = 2**53
"""JavaScript represents whole numbers exactly up to here."""

MAX_JSON_BYTES = 8 * 2**20
"""How long the JSON of a record may be: parsed, it can take fifty times as much memory."""

MEASURES_OF_VERSION_1 = (DRIFT, CONCENTRATION)
"""The measures in records of version 1, which do not list their measures."""

_SCALES = ("map", "probe", "run")
_SCORES = (
    "logit",
    "probability",
    "contrast",
    "score",
    "mean logit",
    "value",
    "mean value",
    "similarity",
)
_RULES = ("mean", "any")
_ENDS = ("high", "low", "")
_TASKS = ("multiclass", "binary", "multilabel", "regression", "segmentation", "similarity")
_PICTURE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
# Words, or the name of a layer.
_ROLE = re.compile(r"(?!__proto__$)[A-Za-z0-9_][A-Za-z0-9_ .:#+-]{0,99}")
_MEASURE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Names that no measure may have: the page gets measures beside these fields of a step.
_FIELDS_OF_A_STEP = frozenset(
    (
        "step",
        "epoch",
        "wall_time",
        "maxima",
        "classes",
        "scores",
        "predicted",
        "probabilities",
        "top",
        "also",
        "against",
        "regions",
        "alarms",
    )
)
_MAX_ALARM_NAME = 200
# A fingerprint becomes part of addresses.
_FINGERPRINT = re.compile(r"[0-9A-Za-z_.-]{1,128}")

_T = TypeVar("_T")


class RecordError(ValueError):
    """A record is not valid; the message says why."""


@dataclass(frozen=True)
class AlarmRecord:
    """A rule of a run: when the values of a measure ring an alarm.

    It rings from the ``for_passes``-th pass in a row on in which they are beyond, of the passes in
    which the measure was taken.

    Attributes:
        name: Its name, in words.
        measure: The name of the measure.
        above: Values above this one are beyond; None where none are for being high.
        below: Values below this one are beyond; None where none are for being low.
        for_passes: In how many passes in a row, at least 1.
        of: What has to be beyond: ``"mean"``, the mean over the probes, or ``"any"``, one and the
            same probe.

    Raises:
        RecordError: If it is no such rule.
    """

    name: str
    measure: str
    above: float | None
    below: float | None
    for_passes: int
    of: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= _MAX_ALARM_NAME:
            raise RecordError(
                f"an alarm is called {self.name[:80]!r}; expected 1 to {_MAX_ALARM_NAME} characters"
            )
        _check_measure(self.measure)
        _check_choice("of", self.of, _RULES)
        if self.for_passes < 1:
            raise RecordError(f"for_passes is {self.for_passes}; expected 1 or more")
        limits = [limit for limit in (self.above, self.below) if limit is not None]
        if not limits or not all(map(math.isfinite, limits)):
            raise RecordError(
                f"alarm {self.name[:80]!r} is above {self.above} or below {self.below}; expected a "
                "number for one of them"
            )

    @property
    def rule(self) -> str:
        """All but the name, in a line: what tells it from another rule of the same name.

        Example:
            >>> AlarmRecord("far", "shift", above=9.0, below=None, for_passes=2, of="any").rule
            'any shift above 9 for 2'
        """
        limits = (("above", self.above), ("below", self.below))
        words = " or ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)
        return f"{self.of} {self.measure} {words} for {self.for_passes}"


@dataclass(frozen=True)
class ProbesRecord:
    """The probes of a run.

    Attributes:
        fingerprint: The fingerprint of the :class:`~lightning_ablationcam.ProbeSet`.
        layer: Dotted name of the target layer.
        scale: What 100 % of the colour scale is: ``"map"``, ``"probe"`` or ``"run"``.
        score: What the class score is: ``"logit"``, ``"probability"``, ``"contrast"``,
            ``"score"``, ``"mean logit"``, ``"value"``, ``"mean value"`` or ``"similarity"``.
        names: N names.
        labels: N class indices, None for a probe without one.
        pictures: N PNG or JPEG files.
        class_names: Name of each class index, or None.
        measures: How to show the measures of each pass, in the order in which they appear.
        label_texts: N labels in words, for those that are no class index; None for the others.
        task: What the model is for: ``"multiclass"``, ``"binary"``, ``"multilabel"``,
            ``"regression"``, ``"segmentation"`` or ``"similarity"``; None where that is not known.
        alarms: The rules that ring an alarm, each of one of the measures and of a name of its own.

    Raises:
        RecordError: If the fields do not fit each other.
    """

    fingerprint: str
    layer: str
    scale: str
    score: str
    names: tuple[str, ...]
    labels: tuple[int | None, ...]
    pictures: tuple[bytes, ...]
    class_names: tuple[str, ...] | None = None
    measures: tuple[Axis, ...] = ()
    label_texts: tuple[str | None, ...] | None = None
    task: str | None = None
    alarms: tuple[AlarmRecord, ...] = ()

    def __post_init__(self) -> None:
        _check_fingerprint(self.fingerprint)
        _check_choice("scale", self.scale, _SCALES)
        _check_choice("score", self.score, _SCORES)
        if self.task is not None:
            _check_choice("task", self.task, _TASKS)
        if not self.names:
            raise RecordError("there is no probe")
        _check_length("labels", self.labels, len(self.names))
        if self.label_texts is not None:
            _check_length("label_texts", self.label_texts, len(self.names))
        _check_length("pictures", self.pictures, len(self.names))
        for picture in self.pictures:
            picture_type(picture)
        for axis in self.measures:
            _check_measure(axis.name)
            _check_choice("worse", axis.worse, _ENDS)
            if axis.high is not None and not axis.low < axis.high:
                raise RecordError(f"{axis.name} goes from {axis.low} to {axis.high}")
        _check_distinct("measures", [axis.name for axis in self.measures])
        _check_distinct("alarms", [alarm.name for alarm in self.alarms])
        for alarm in self.alarms:
            _check_choice("the measure of an alarm", alarm.measure, [a.name for a in self.measures])


@dataclass(frozen=True)
class RegionsRecord:
    """The region that is explained of each of N probes.

    Attributes:
        shape: Height and width in cells, each at most
            :data:`~lightning_ablationcam.records.regions.MAX_SIDE`, over the whole image.
        runs: N regions, as :func:`~lightning_ablationcam.records.regions.runs_of` makes them.

    Raises:
        RecordError: If they do not fit each other.
    """

    shape: tuple[int, int]
    runs: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or not all(1 <= side <= MAX_SIDE for side in self.shape):
            raise RecordError(
                f"the shape of regions is {list(self.shape)!r:.80}; expected two numbers from 1 to "
                f"{MAX_SIDE}"
            )
        for runs in self.runs:
            try:
                check_runs(runs, self.shape)
            except ValueError as error:
                raise RecordError(str(error)) from error


@dataclass(frozen=True)
class FurtherRecord:
    """What one pass found for a further class of each of N probes.

    Attributes:
        maps: N x h x w bytes, as in :class:`HeatRecord`.
        maxima: N maxima, likewise, as are the others.
        classes: N classes; -1 for a probe that has none.
        scores: N class scores.
        probabilities: N probabilities, or None.
        shape: (N, h, w) of the maps, where it is another than that of the pass.
        against: N x h x w bytes, or None, as in :class:`HeatRecord`.
        against_maxima: Their maxima.
        regions: The regions explained, where they are others than those of the pass.
        error: N shares of their maximum that the maps may be off by; None where not stated.
    """

    maps: bytes
    maxima: tuple[float | None, ...]
    classes: tuple[int, ...]
    scores: tuple[float | None, ...]
    probabilities: tuple[float | None, ...] | None
    shape: tuple[int, int, int] | None = None
    against: bytes | None = None
    against_maxima: tuple[float | None, ...] | None = None
    regions: RegionsRecord | None = None
    error: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class HeatRecord:
    """One pass over N probes.

    Attributes:
        fingerprint: The fingerprint of the probes.
        layer: Dotted name of the target layer.
        epoch: Epoch of the pass.
        shape: (N, h, w).
        maps: N x h x w bytes in C order, 255 = that map's own maximum.
        maxima: N maxima, at least 0; None for a map without a finite value.
        classes: N classes explained.
        scores: N class scores, in the unit of the probes' ``score``; None where not finite.
        predicted: N predicted classes, or None.
        probabilities: N softmax probabilities of ``classes``, or None.
        measures: N numbers for each measure's name; None where not known.
        top_classes: For each probe the classes with the highest scores, the highest first, or None.
        top_probabilities: Their probabilities, or None.
        also: What was found for further classes, by role, such as ``"rival"``.
        against: N x h x w bytes, likewise, of what speaks against the classes; None where that was
            not recorded.
        against_maxima: Their N maxima.
        regions: The regions explained; None where that is the whole image.
        alarms: For each alarm that rings, by name, which probes are beyond: their indices,
            ascending.
        rules: Of these the rule by which each rings, see :attr:`AlarmRecord.rule`.

    Raises:
        RecordError: If the fields do not fit each other.
    """

    fingerprint: str
    layer: str
    epoch: int
    shape: tuple[int, int, int]
    maps: bytes
    maxima: tuple[float | None, ...]
    classes: tuple[int, ...]
    scores: tuple[float | None, ...]
    predicted: tuple[int, ...] | None
    probabilities: tuple[float | None, ...] | None
    measures: Mapping[str, tuple[float | None, ...]]
    top_classes: tuple[tuple[int, ...], ...] | None = None
    top_probabilities: tuple[tuple[float | None, ...], ...] | None = None
    also: Mapping[str, FurtherRecord] = field(default_factory=dict)
    against: bytes | None = None
    against_maxima: tuple[float | None, ...] | None = None
    regions: RegionsRecord | None = None
    alarms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_fingerprint(self.fingerprint)
        _check_shape(self.shape)
        _check_explained(self, self.shape)
        for name, values in self.measures.items():
            _check_measure(name)
            _check_length(name, values, self.shape[0])
        for name in ("predicted", "top_classes", "top_probabilities"):
            if getattr(self, name) is not None:
                _check_length(name, getattr(self, name), self.shape[0])
        for name, beyond in self.alarms.items():
            _check_beyond(name, beyond, self.shape[0])
        for name in self.rules:
            _check_choice("a rule's alarm", name, tuple(self.alarms))
        for role, further in self.also.items():
            if not _ROLE.fullmatch(role):
                raise RecordError(f"a further class is called {role[:80]!r}; expected a role")
            shape = further.shape or self.shape
            _check_shape(shape)
            if shape[0] != self.shape[0]:
                raise RecordError(f"{role[:80]!r} has maps of {shape[0]} of {self.shape[0]} probes")
            _check_explained(further, shape)
            if further.error is not None:
                _check_length("error", further.error, shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all maps and regions."""
        return sum(map(len, _blobs(self)))


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise RecordError(f"shape is {list(shape)!r:.80}; expected [N, h, w], all above 0")


def _check_explained(explained: HeatRecord | FurtherRecord, shape: tuple[int, int, int]) -> None:
    for maps in (explained.maps, explained.against):
        if maps is not None and len(maps) != math.prod(shape):
            raise RecordError(f"shape is {list(shape)}, but there are {len(maps)} bytes")
    if (explained.against is None) != (explained.against_maxima is None):
        raise RecordError("there is but one of against and against_maxima")
    for name in ("maxima", "classes", "scores", "probabilities", "against_maxima"):
        values = getattr(explained, name)
        if name not in ("probabilities", "against_maxima") or values is not None:
            _check_length(name, values, shape[0])
    for maxima in (explained.maxima, explained.against_maxima or ()):
        if any(maximum is not None and maximum < 0 for maximum in maxima):
            raise RecordError("maxima holds a negative number")
    if explained.regions is not None:
        _check_length("regions", explained.regions.runs, shape[0])


def quantised(heatmaps: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Heatmaps as bytes, each map on a scale of its own.

    Heat that is not finite counts as none. A map without a finite value becomes all zero with
    maximum NaN (null in the record), which means unknown; a map without heat has maximum 0.

    Args:
        heatmaps: (N, h, w), not normalised; negative heat counts as none.

    Returns:
        (N, h, w) uint8, 255 = that map's maximum, and the (N,) maxima.

    Raises:
        ValueError: If ``heatmaps`` is not three-dimensional or has no element.

    Example:
        >>> maps, maxima = quantised(np.array([[[0.0, 1.0], [2.0, np.nan]]]))
        >>> maps.tolist(), maxima.tolist()
        ([[[0, 128], [255, 0]]], [2.0])
    """
    heat = np.asarray(heatmaps, dtype=np.float64)
    if heat.ndim != 3 or not heat.size:
        raise ValueError(f"heatmaps has shape {heat.shape}; expected (N, h, w), each above 0")
    finite = np.isfinite(heat)
    heat = np.where(finite & (heat > 0), heat, 0)
    maxima = heat.max(axis=(1, 2))
    shares = heat / np.where(maxima > 0, maxima, 1)[:, None, None]
    maps = np.rint(shares * 255).astype(np.uint8)
    return maps, np.where(finite.any(axis=(1, 2)), maxima, np.nan)


def picture_type(picture: bytes) -> str:
    """The content type of an image file.

    Raises:
        RecordError: If it is neither PNG nor JPEG.

    Example:
        >>> picture_type(b"\\xff\\xd8\\xff\\xe0")
        'image/jpeg'
    """
    for start, kind in _PICTURE_TYPES.items():
        if picture.startswith(start):
            return kind
    raise RecordError(f"a picture starts with {picture[:8]!r}; expected PNG or JPEG")


def encode_probes(record: ProbesRecord) -> list[bytes]:
    """The strings of a probes record."""
    probes = [
        {"name": name, "label": label}
        for name, label in zip(record.names, record.labels, strict=True)
    ]
    fields = {
        "fingerprint": record.fingerprint,
        "layer": record.layer,
        "scale": record.scale,
        "score": record.score,
        "probes": probes,
        "class_names": record.class_names,
        "measures": [vars(axis) for axis in record.measures],
        "label_texts": record.label_texts,
        "task": record.task,
        "alarms": [vars(alarm) for alarm in record.alarms],
    }
    return [_json(fields), *record.pictures]


def decode_probes(strings: Sequence[bytes]) -> ProbesRecord:
    """Read the strings of a probes record.

    Raises:
        RecordError: If they are anything but a probes record.
    """
    if not strings:
        raise RecordError("the record is empty")
    fields = _Fields(strings[0])
    probes = [_Fields.of(probe) for probe in fields.list_of("probes", _anything)]
    return ProbesRecord(
        fingerprint=fields.one("fingerprint", _text),
        layer=fields.one("layer", _text),
        scale=fields.one("scale", _text),
        score=fields.one("score", _text),
        names=tuple(probe.one("name", _text) for probe in probes),
        labels=tuple(probe.one("label", _optional(_integer)) for probe in probes),
        pictures=tuple(strings[1:]),
        class_names=fields.optional_list_of("class_names", _text),
        measures=_axes(fields),
        label_texts=fields.list_or_none("label_texts", _optional(_text)),
        task=fields.one_or_none("task", _text),
        alarms=_alarms(fields),
    )


def encode_heat(record: HeatRecord) -> list[bytes]:
    """The strings of a heat record. Numbers that are not finite become null.

    Example:
        >>> record = HeatRecord(
        ...     "f00d", "layer4", 3, (1, 1, 2), b"\\x00\\xff", maxima=(0.5,), classes=(7,),
        ...     scores=(float("nan"),), predicted=None, probabilities=None,
        ...     measures={"drift": (None,)},
        ... )
        >>> decode_heat(encode_heat(record)).scores
        (None,)
    """
    fields = {
        "fingerprint": record.fingerprint,
        "layer": record.layer,
        "epoch": record.epoch,
        "shape": record.shape,
        "maxima": _finite(record.maxima),
        "classes": record.classes,
        "scores": _finite(record.scores),
        "predicted": record.predicted,
        "probabilities": _finite(record.probabilities),
        "measures": {name: _finite(values) for name, values in record.measures.items()},
        "top_classes": record.top_classes,
        "top_probabilities": record.top_probabilities
        and [_finite(values) for values in record.top_probabilities],
        "also": [
            {
                "role": role,
                "maxima": _finite(further.maxima),
                "classes": further.classes,
                "scores": _finite(further.scores),
                "probabilities": _finite(further.probabilities),
                "shape": further.shape,
                "error": _finite(further.error),
                **_layers(further),
            }
            for role, further in record.also.items()
        ],
        "alarms": record.alarms,
        "rules": record.rules,
        **_layers(record),
    }
    return [_json(fields), *_blobs(record)]


def _layers(explained: HeatRecord | FurtherRecord) -> dict[str, Any]:
    """What the JSON says of the optional layers of maps."""
    regions = explained.regions
    return {
        "against_maxima": _finite(explained.against_maxima),
        "regions": regions
        and {"shape": regions.shape, "sizes": [len(runs) for runs in regions.runs]},
    }


def _blobs(record: HeatRecord) -> list[bytes]:
    """What follows the JSON: all maps, then the optional layers of each."""
    explained: list[HeatRecord | FurtherRecord] = [record, *record.also.values()]
    against = [each.against for each in explained if each.against is not None]
    regions = [b"".join(each.regions.runs) for each in explained if each.regions is not None]
    return [*(each.maps for each in explained), *against, *regions]


def decode_heat(strings: Sequence[bytes]) -> HeatRecord:
    """Read the strings of a heat record.

    Raises:
        RecordError: If they are anything but a heat record.
    """
    if len(strings) < 2:
        raise RecordError(f"the record has {len(strings)} parts; expected 2, JSON and maps")
    fields = _Fields(strings[0])
    also = [_Fields.of(each) for each in fields.list_or_none("also", _anything) or ()]
    explained = [fields, *also]
    against = [each.list_or_none("against_maxima", _optional(_number)) for each in explained]
    outlines = [each.one_or_none("regions", _Fields.of) for each in explained]
    expected = 2 + len(also) + sum(each is not None for each in (*against, *outlines))
    if len(strings) != expected:
        raise RecordError(
            f"the record has {len(strings)} parts; expected {expected}, JSON and maps"
        )
    parts = iter(strings[2 + len(also) :])
    layers: list[dict[str, Any]] = [
        {"against": None if maxima is None else next(parts), "against_maxima": maxima}
        for maxima in against
    ]
    for layer, outline in zip(layers, outlines, strict=True):
        layer["regions"] = None if outline is None else _read_regions(outline, next(parts))
    shape = fields.list_of("shape", _integer)
    if len(shape) != 3:
        raise RecordError(f"shape is {list(shape)!r:.80}; expected [N, h, w]")
    return HeatRecord(
        fingerprint=fields.one("fingerprint", _text),
        layer=fields.one("layer", _text),
        epoch=fields.one("epoch", _integer),
        shape=(shape[0], shape[1], shape[2]),
        maps=strings[1],
        maxima=fields.list_of("maxima", _optional(_number)),
        classes=fields.list_of("classes", _integer),
        scores=fields.list_of("scores", _optional(_number)),
        predicted=fields.optional_list_of("predicted", _integer),
        probabilities=fields.optional_list_of("probabilities", _optional(_number)),
        measures=_measures(fields),
        top_classes=fields.list_or_none("top_classes", _list_of(_integer)),
        top_probabilities=fields.list_or_none("top_probabilities", _list_of(_optional(_number))),
        **layers[0],
        also={
            further.one("role", _text): FurtherRecord(
                **layer,
                shape=_shape_or_none(further),
                error=further.list_or_none("error", _optional(_number)),
                maps=maps,
                maxima=further.list_of("maxima", _optional(_number)),
                classes=further.list_of("classes", _integer),
                scores=further.list_of("scores", _optional(_number)),
                probabilities=further.optional_list_of("probabilities", _optional(_number)),
            )
            for further, maps, layer in zip(also, strings[2:], layers[1:], strict=False)
        },
        alarms=_beyond(fields),
        rules=_rules(fields),
    )


def _shape_or_none(further: _Fields) -> tuple[int, int, int] | None:
    shape = further.list_or_none("shape", _integer)
    if shape is None:
        return None
    if len(shape) != 3:
        raise RecordError(f"shape is {list(shape)!r:.80}; expected [N, h, w]")
    return (shape[0], shape[1], shape[2])


def _read_regions(fields: _Fields, runs: bytes) -> RegionsRecord:
    sizes, shape = fields.list_of("sizes", _integer), fields.list_of("shape", _integer)
    if any(size < 0 for size in sizes) or sum(sizes) != len(runs):
        raise RecordError(f"regions are of other sizes than the {len(runs)} bytes there are")
    if len(shape) != 2:
        raise RecordError(f"the shape of regions is {list(shape)!r:.80}; expected [h, w]")
    ends = list(accumulate(sizes, initial=0))
    return RegionsRecord(
        (shape[0], shape[1]), tuple(runs[start:end] for start, end in pairwise(ends))
    )


def _axes(fields: _Fields) -> tuple[Axis, ...]:
    if fields.version == 1:
        return MEASURES_OF_VERSION_1
    return tuple(
        Axis(
            name=axis.one("name", _text),
            label=axis.one("label", _text),
            low=axis.one("low", _number),
            high=axis.one("high", _optional(_number)),
            percent=axis.one("percent", _truth),
            unit=axis.one_or_none("unit", _text) or "",
            group=axis.one_or_none("group", _text) or "",
            hint=axis.one_or_none("hint", _text) or "",
            worse=axis.one_or_none("worse", _end) or "",
        )
        for axis in map(_Fields.of, fields.list_of("measures", _anything))
    )


def _alarms(fields: _Fields) -> tuple[AlarmRecord, ...]:
    return tuple(
        AlarmRecord(
            name=alarm.one("name", _text),
            measure=alarm.one("measure", _text),
            above=alarm.one("above", _optional(_number)),
            below=alarm.one("below", _optional(_number)),
            for_passes=alarm.one("for_passes", _integer),
            of=alarm.one("of", _text),
        )
        for alarm in map(_Fields.of, fields.list_or_none("alarms", _anything) or ())
    )


def _beyond(fields: _Fields) -> dict[str, tuple[int, ...]]:
    inner = fields.one_or_none("alarms", _Fields.of)
    return {} if inner is None else {name: inner.list_of(name, _integer) for name in inner.names}


def _rules(fields: _Fields) -> dict[str, str]:
    inner = fields.one_or_none("rules", _Fields.of)
    return {} if inner is None else {name: inner.one(name, _text) for name in inner.names}


def _measures(fields: _Fields) -> dict[str, tuple[float | None, ...]]:
    if fields.version == 1:
        return {
            axis.name: fields.list_of(axis.name, _optional(_number))
            for axis in MEASURES_OF_VERSION_1
        }
    inner = _Fields.of(fields.one("measures", _anything))
    return {name: inner.list_of(name, _optional(_number)) for name in inner.names}


class _Fields:
    """The fields of a JSON object, each read as the type it must have."""

    def __init__(self, text: bytes) -> None:
        if len(text) > MAX_JSON_BYTES:
            raise RecordError(f"its JSON has {len(text):,} bytes; the limit is {MAX_JSON_BYTES:,}")
        try:
            values = json.loads(text.decode("utf-8"))
        # Both decoders raise ValueError; deeply nested brackets exhaust the stack.
        except (ValueError, RecursionError) as error:
            raise RecordError(f"the first part is no JSON ({type(error).__name__})") from error
        self._values = _object(values)
        self.version = self._values.get("version")
        if self.version not in READABLE or isinstance(self.version, bool):
            raise RecordError(
                f"version is {self.version!r:.80}, but this lightning_ablationcam reads versions "
                f"up to {VERSION}; install the version that wrote it in TensorBoard's environment"
            )

    @classmethod
    def of(cls, values: Any) -> _Fields:
        """The fields of an object inside another."""
        inner = cls.__new__(cls)
        inner._values = _object(values)
        return inner

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all fields."""
        return tuple(self._values)

    def one(self, name: str, read: Callable[[Any], _T]) -> _T:
        if name not in self._values:
            raise RecordError(f"{name} is missing")
        try:
            return read(self._values[name])
        except RecordError as error:
            raise RecordError(f"{name} {error}") from error

    def one_or_none(self, name: str, read: Callable[[Any], _T]) -> _T | None:
        """A value, or None where there is none, also in records that do not know of it."""
        return self.one(name, _optional(read)) if name in self._values else None

    def list_of(self, name: str, read: Callable[[Any], _T]) -> tuple[_T, ...]:
        return self.one(name, _list_of(read))

    def list_or_none(self, name: str, read: Callable[[Any], _T]) -> tuple[_T, ...] | None:
        """A list, or None where there is none, also in records that do not know of it."""
        return self.optional_list_of(name, read) if name in self._values else None

    def optional_list_of(self, name: str, read: Callable[[Any], _T]) -> tuple[_T, ...] | None:
        if name in self._values and self._values[name] is None:
            return None
        return self.list_of(name, read)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unlike(value, "an object")
    return value


def _anything(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _unlike(value, "text")
    return value


def _end(value: Any) -> Literal["high", "low", ""]:
    return cast(Literal["high", "low", ""], _text(value))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _unlike(value, "true or false")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_INTEGER:
        raise _unlike(value, "a whole number")
    return value


def _number(value: Any) -> float:
    # Python's JSON parser also accepts NaN and Infinity, and reads 1e999 as infinite.
    if isinstance(value, float) and math.isfinite(value):
        return value
    return float(_integer(value))


def _list_of(read: Callable[[Any], _T]) -> Callable[[Any], tuple[_T, ...]]:
    def read_all(value: Any) -> tuple[_T, ...]:
        if not isinstance(value, list):
            raise _unlike(value, "a list")
        return tuple(read(entry) for entry in value)

    return read_all


def _optional(read: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    return lambda value: None if value is None else read(value)


def _unlike(value: Any, expected: str) -> RecordError:
    # Not the value itself: turning a huge one into text can fail or take long.
    return RecordError(f"is or holds a {type(value).__name__}; expected {expected}")


def _check_measure(name: str) -> None:
    if not _MEASURE.fullmatch(name) or name in _FIELDS_OF_A_STEP:
        raise RecordError(f"a measure is called {name[:80]!r}; expected a name not yet in use")


def _check_beyond(name: str, beyond: tuple[int, ...], count: int) -> None:
    ascending = all(one < other for one, other in pairwise(beyond))
    if not ascending or not all(0 <= probe < count for probe in beyond):
        raise RecordError(
            f"alarm {name[:80]!r} names the probes {list(beyond)!r:.80}; expected indices below "
            f"{count}, ascending"
        )


def _check_distinct(what: str, names: Sequence[str]) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise RecordError(f"{what} has {twice[:80]!r} twice; expected names of their own")


def _check_fingerprint(fingerprint: str) -> None:
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise RecordError(f"fingerprint is {fingerprint[:80]!r}; expected a hash")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise RecordError(f"{name} is {value[:80]!r}; expected one of {', '.join(choices)}")


def _check_length(name: str, values: Sequence[object], expected: int) -> None:
    if len(values) != expected:
        raise RecordError(f"{name} has {len(values)} entries for {expected} probes")


def _finite(values: Sequence[float | None] | None) -> list[float | None] | None:
    if values is None:
        return None
    return [None if value is None or not math.isfinite(value) else value for value in values]


def _json(fields: dict[str, Any]) -> bytes:
    text = json.dumps({"version": VERSION, **fields}, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")
