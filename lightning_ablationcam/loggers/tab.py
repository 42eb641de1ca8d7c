"""The data of the Ablation-CAM tab into TensorBoard event files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from torch.utils.tensorboard import SummaryWriter

from lightning_ablationcam.arguments import is_a
from lightning_ablationcam.loggers.event_file import EventFile
from lightning_ablationcam.records import (
    HEAT_TAG,
    PLUGIN_NAME,
    PROBES_TAG,
    HeatRecord,
    ProbesRecord,
    encode_heat,
    encode_probes,
)


class TensorBoardTab:
    """Writes the records of one monitor.

    Args:
        logger: A ``TensorBoardLogger`` that writes with torch's ``SummaryWriter``.
        tag: The monitor's tag.
    """

    def __init__(self, logger: Any, tag: str) -> None:
        self._file = EventFile(logger.experiment)
        self._tag = tag

    def write_probes(self, record: ProbesRecord, step: int) -> None:
        """Write what is watched: at the first pass of a fit, and when the layer is another."""
        self._write(self._tag + PROBES_TAG, encode_probes(record), step)

    def write_heat(self, record: HeatRecord, step: int) -> None:
        """Write what a pass saw."""
        self._write(self._tag + HEAT_TAG, encode_heat(record), step)

    def flush(self) -> None:
        """Bring what was written to disk."""
        self._file.flush()

    def _write(self, tag: str, strings: Sequence[bytes], step: int) -> None:
        self._file.add(summary_pb2.Summary(value=[summary_value(tag, strings)]), step)


def tensorboard_tabs(loggers: Iterable[Any], tag: str) -> list[TensorBoardTab]:
    """One writer for each ``TensorBoardLogger`` among a Trainer's loggers.

    tensorboardX takes its own message types, so there nothing is written;
    :class:`~lightning_ablationcam.loggers.tensorboard.TensorBoardImages` warns of that writer.
    """
    boards = [logger for logger in loggers if is_a(logger, "TensorBoardLogger")]
    return [TensorBoardTab(b, tag) for b in boards if isinstance(b.experiment, SummaryWriter)]


def summary_value(tag: str, strings: Sequence[bytes]) -> Any:
    """A record as TensorBoard keeps it: one string tensor that belongs to the tab."""
    # Without a data class the series is invisible to plugins.
    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME),
        data_class=summary_pb2.DATA_CLASS_TENSOR,
    )
    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=len(strings))]
    )
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=strings
    )
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
