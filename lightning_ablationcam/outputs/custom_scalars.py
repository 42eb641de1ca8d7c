"""The layout of TensorBoard's Custom Scalars: the monitor's scalars, those of one unit in a chart.

TensorBoard shows one layout for each run, the one written last. So ours is added to one that is
there, such as the user's own, and is not written where that cannot be found out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.custom_scalar import layout_pb2, metadata

from lightning_ablationcam.measures.axis import Axis

MAX_BYTES = 64 * 2**20
"""Bytes of a run's event files that are read for a layout; of larger ones none is written."""

_HEADER = struct.Struct("<Q4x")
_CHECKSUM_BYTES = 4


def layout_of(tag: str, measures: Sequence[Axis], alarms: Sequence[str]) -> Any:
    """The layout of a monitor's scalars: a category for each group of measures, and what is left.

    Measures of one group and unit share a chart, so that lines can be compared.

    Args:
        tag: The monitor's tag, as the scalars have it: after the logger's prefix.
        measures: The measures that are logged.
        alarms: The names of the alarms' scalars.

    Returns:
        A ``Layout``.

    Example:
        >>> from lightning_ablationcam.measures.axis import DRIFT, DRIFT_FROM_FIRST, SHIFT
        >>> layout = layout_of("cam", [DRIFT, DRIFT_FROM_FIRST, SHIFT], [])
        >>> [(c.title, [chart.title for chart in c.chart]) for c in layout.category]
        [('cam: Change', ['Drift, Drift from first', 'Shift (px)']), ('cam: Pass', ['Class score'])]
        >>> list(layout.category[0].chart[1].multiline.tag)
        ['^cam/shift$']
    """
    categories: dict[str, list[Any]] = {}
    for group in dict.fromkeys(axis.group for axis in measures):
        mine = [axis for axis in measures if axis.group == group]
        for unit in dict.fromkeys((axis.unit, axis.percent) for axis in mine):
            of_unit = [axis for axis in mine if (axis.unit, axis.percent) == unit]
            title = ", ".join(axis.label for axis in of_unit) + (f" ({unit[0]})" if unit[0] else "")
            chart = _chart(title, tag, [axis.name for axis in of_unit])
            categories.setdefault(f"{tag}: {group}", []).append(chart)
    of_pass = [_chart("Class score", tag, ["score"])]
    if alarms:
        of_pass.insert(0, _chart("Alarms", tag, alarms))
    categories[f"{tag}: Pass"] = of_pass
    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(title=title, chart=charts) for title, charts in categories.items()
        ]
    )


def _chart(title: str, tag: str, names: Iterable[str]) -> Any:
    tags = [f"^{re.escape(f'{tag}/{name}')}$" for name in names]
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))


def merged(found: Any | None, ours: Any) -> Any:
    """A layout that was found, with ours: in place of categories of the same names, or after all.

    Args:
        found: A ``Layout``, or None.
        ours: Ours.
    """
    if found is None:
        return ours
    categories = {category.title: category for category in (*found.category, *ours.category)}
    whole = layout_pb2.Layout()
    whole.CopyFrom(found)
    del whole.category[:]
    whole.category.extend(categories.values())
    return whole


def summary_of(layout: Any) -> Any:
    """A layout as TensorBoard keeps it."""
    kept = summary_pb2.SummaryMetadata.FromString(
        metadata.create_summary_metadata().SerializeToString()
    )
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, string_val=[layout.SerializeToString()]
    )
    value = summary_pb2.Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, metadata=kept, tensor=tensor)
    return summary_pb2.Summary(value=[value])


class UnreadableError(Exception):
    """Whether a run has a layout cannot be found out; the message says why."""


def find_layout(directory: str | Path, most: int = MAX_BYTES) -> Any | None:
    """The layout that a run has.

    Args:
        directory: The folder of its event files.
        most: Bytes that they may have.

    Returns:
        The ``Layout`` written last, or None.

    Raises:
        UnreadableError: If they are larger, not on this machine, or damaged.
    """
    try:
        files = sorted(path for path in Path(directory).iterdir() if "tfevents" in path.name)
        size = sum(path.stat().st_size for path in files)
    except OSError as error:
        raise UnreadableError(str(error)) from error
    if size > most:
        raise UnreadableError(f"the event files have {size} bytes, and at most {most} are read")
    found = None
    for path in files:
        for record in _records(path):
            layout = _layout_in(record)
            found = found if layout is None else layout
    return found


def _records(path: Path) -> Iterator[bytes]:
    """The records of an event file that may hold a layout."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise UnreadableError(str(error)) from error
    place, tag = 0, metadata.CONFIG_SUMMARY_TAG.encode()
    while place + _HEADER.size <= len(data):
        (length,) = _HEADER.unpack_from(data, place)
        start = place + _HEADER.size
        place = start + length + _CHECKSUM_BYTES
        if place > len(data):  # Another process may be writing it.
            return
        record = bytes(data[start : start + length])
        if tag in record:
            yield record


def _layout_in(record: bytes) -> Any | None:
    found = None
    try:
        for value in Event.FromString(record).summary.value:
            if value.tag == metadata.CONFIG_SUMMARY_TAG and value.tensor.string_val:
                found = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    except DecodeError as error:
        raise UnreadableError(f"a layout is damaged: {error}") from error
    return found
