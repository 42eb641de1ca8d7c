"""Make the records of probes and of passes, for the tab and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.measures.axis import Axis
from lightning_ablationcam.records.format import (
    AlarmRecord,
    FurtherRecord,
    HeatRecord,
    ProbesRecord,
    RegionsRecord,
    quantised,
)
from lightning_ablationcam.records.regions import runs_of
from lightning_ablationcam.render import encode_jpeg, encode_png
from lightning_ablationcam.render.mosaic import flat_maps

if TYPE_CHECKING:
    from lightning_ablationcam.probes.probe_set import ProbeSet
    from lightning_ablationcam.run.history import Further, Pass, Scale
    from lightning_ablationcam.run.measuring import Measuring
    from lightning_ablationcam.run.regions import Regions

TASKS_WITHOUT_CLASSES = ("regression", "similarity")
"""What is explained there is a value: nothing is predicted, and no probability is known."""

MAX_SIDE = 256
"""Most pixels of a side of a probe's picture; larger pictures are reduced."""

MAX_PNG_PIXELS = 64 * 64
"""Pictures of at most this many pixels are PNG: exact, and still small."""


def probes_record(
    probes: ProbeSet,
    *,
    layer: str,
    scale: Scale,
    score: str,
    map_shape: Sequence[int] | None = None,
    task: str | None = None,
    measures: Sequence[Axis] | None = None,
    alarms: Sequence[AlarmRecord] = (),
) -> ProbesRecord:
    """Make the record of the probes of a run.

    Args:
        probes: The probes.
        layer: Dotted name of the target layer.
        scale: What 100 % of the colour scale is, see :meth:`History.scaled`.
        score: What the class score is, such as ``"logit"``.
        map_shape: Shape of the heatmaps that lie over the pictures, as
            :meth:`ProbeSet.pictures` takes it.
        task: What the model is for, such as ``"regression"``; None where that is not known.
        measures: How the measures of the passes are shown, in their order; None for all
            there are.
        alarms: The rules that ring an alarm, each of one of ``measures``.

    Returns:
        The record, with pictures of at most :data:`MAX_SIDE` pixels a side.

    Raises:
        RecordError: If ``scale``, ``score`` or ``task`` is not known, or an alarm is of a measure
            that is not among them.
    """
    # Imported here, since it imports torch, which a report of a log directory does not need.
    from lightning_ablationcam.measures.registry import MEASURES

    count = len(probes)
    if measures is None:
        measures = [measure.axis for measure in MEASURES]
    classes = probes.labels if probes.label_kind == "class" else None
    labels = [None] * count if classes is None else classes.tolist()
    texts = other_labels(probes)
    return ProbesRecord(
        fingerprint=probes.fingerprint,
        layer=layer,
        scale=scale,
        score=score,
        names=tuple(probes.names),
        labels=tuple(labels),
        pictures=tuple(_encoded(picture) for picture in probes.pictures(map_shape)),
        class_names=None if probes.class_names is None else tuple(probes.class_names),
        measures=tuple(measures),
        label_texts=None if texts is None else tuple(texts),
        task=task,
        alarms=tuple(alarms),
    )


def alarm_records(measuring: Measuring, probes: ProbeSet) -> list[AlarmRecord]:
    """The rules of alarms on what is measured of some probes."""
    # Imported here, since it imports torch, which a report of a log directory does not need.
    from lightning_ablationcam.run.alarms import record_of

    taken = {measure.name for measure in measuring.taken(probes)}
    return [record_of(alarm) for alarm in measuring.alarms if alarm.measure in taken]


def other_labels(probes: ProbeSet) -> Sequence[str | None] | None:
    """The labels that are no class index, in words; None where there are none."""
    texts = None if probes.label_kind == "class" else probes.label_texts()
    return None if texts is None or all(text is None for text in texts) else texts


def named_score(score: str, seen: Pass) -> str:
    """What the class score of a pass is called, by what the model is for."""
    if score != "logit" or seen.task is None:
        return score
    value = "value" if seen.regions is None else "mean value"
    named = {"segmentation": "mean logit", "regression": value, "similarity": "similarity"}
    return named.get(seen.task, score)


def heat_record(seen: Pass, *, fingerprint: str) -> HeatRecord:
    """Make the record of one pass.

    Args:
        seen: The pass, over N probes.
        fingerprint: The fingerprint of the probes.

    Returns:
        The record; numbers are kept to seven digits, and are None if they are not finite.

    Raises:
        RecordError: If the lengths do not fit each other.
    """
    maps, maxima = quantised(flat_maps(seen.heatmaps))
    against, against_maxima = _against(seen.signed)
    count, height, width = maps.shape
    return HeatRecord(
        fingerprint=fingerprint,
        layer=seen.layer,
        epoch=int(seen.epoch),
        shape=(count, height, width),
        maps=maps.tobytes(),
        maxima=_numbers(maxima),
        classes=_integers(seen.classes),
        scores=_numbers(seen.scores),
        predicted=None if seen.predicted is None else _integers(seen.predicted),
        probabilities=None if seen.probabilities is None else _numbers(seen.probabilities),
        measures={name: _numbers(values) for name, values in seen.measures.items()},
        top_classes=None if seen.top_classes is None else tuple(map(_integers, seen.top_classes)),
        top_probabilities=None
        if seen.top_probabilities is None
        else tuple(map(_numbers, seen.top_probabilities)),
        also={role: _further(each, maps.shape) for role, each in seen.also.items()},
        against=against,
        against_maxima=against_maxima,
        regions=_regions(seen.regions),
        alarms={name: _integers(np.flatnonzero(beyond)) for name, beyond in seen.alarms.items()},
        rules=dict(seen.rules),
    )


def _further(each: Further, shape_of_pass: tuple[int, ...]) -> FurtherRecord:
    # Of a probe that has no such class nothing is known.
    none = (each.classes < 0)[:, None, None]
    maps, maxima = quantised(np.where(none, np.nan, flat_maps(each.heatmaps)))
    count, height, width = maps.shape
    against, against_maxima = _against(each.signed, none)
    return FurtherRecord(
        maps=maps.tobytes(),
        shape=None if maps.shape == shape_of_pass else (count, height, width),
        against=against,
        against_maxima=against_maxima,
        regions=_regions(each.regions),
        error=None if each.error is None else _numbers(each.error),
        maxima=_numbers(maxima),
        classes=_integers(each.classes),
        scores=_numbers(each.scores),
        probabilities=None if each.probabilities is None else _numbers(each.probabilities),
    )


def _against(
    signed: NDArray[Any] | None, unknown: NDArray[np.bool_] | None = None
) -> tuple[bytes | None, tuple[float | None, ...] | None]:
    """What speaks against the classes, as maps of its own and their maxima."""
    if signed is None:
        return None, None
    flat = -flat_maps(signed)
    maps, maxima = quantised(flat if unknown is None else np.where(unknown, np.nan, flat))
    return maps.tobytes(), _numbers(maxima)


def _regions(regions: Regions | None) -> RegionsRecord | None:
    if regions is None:
        return None
    return RegionsRecord(regions.shape, tuple(map(runs_of, regions.masks())))


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    height, width, _ = picture.shape
    if max(height, width) > MAX_SIDE:
        image = Image.fromarray(picture)
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC)
        picture = np.asarray(image)
    small = picture.shape[0] * picture.shape[1] <= MAX_PNG_PIXELS
    return encode_png(picture) if small else encode_jpeg(picture)


def _integers(values: Sequence[int] | NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _numbers(values: Sequence[float] | NDArray[Any]) -> tuple[float | None, ...]:
    # float32 holds seven digits; the other ten are noise and would double the record.
    return tuple(float(f"{v:.7g}") if math.isfinite(v) else None for v in map(float, values))
