"""Write pictures, animations and the data of the tab into the event file of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from torch.utils.tensorboard import SummaryWriter

from lightning_ablationcam.lightning import rank_zero_info, rank_zero_warn
from lightning_ablationcam.measures.axis import Axis
from lightning_ablationcam.outputs.backend import Backend
from lightning_ablationcam.outputs.custom_scalars import (
    UnreadableError,
    find_layout,
    layout_of,
    merged,
    summary_of,
)
from lightning_ablationcam.outputs.disk_space import check_quota, check_room
from lightning_ablationcam.outputs.event_file import EventFile
from lightning_ablationcam.outputs.pictures import Kind
from lightning_ablationcam.outputs.tags import animation_tag, picture_tag
from lightning_ablationcam.records.format import PLUGIN_NAME
from lightning_ablationcam.render import encode_jpeg

MAX_NAME_LENGTH = 120
"""Characters of a probe's name that its tag keeps at most."""


class _Board(ABC):
    """What is the same whatever writes the event file.

    Args:
        logger: A ``TensorBoardLogger``.
        tag: The monitor's tag.
    """

    def __init__(self, logger: Any, tag: str) -> None:
        self._writer: Any = logger.experiment
        self._tag = tag
        self.place = str(self._writer.log_dir)

    def spelled(self, names: Sequence[str]) -> list[str]:
        """Each on one line, see :func:`tag_names`."""
        return tag_names(names)

    def check_room(self) -> None:
        """Raise an ``OSError`` where there is too little room, before anything is drawn."""
        check_room(self.place)
        check_quota(self.place)

    @abstractmethod
    def write_picture(self, kind: Kind, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Write one picture, (H, W, 3) uint8."""

    def flush(self) -> None:
        """Bring what was written to disk."""
        self._writer.flush()


class TensorBoard(_Board):
    """Writes pictures as JPEG, which TensorBoard serves as it is, at a fifth of PNG's size.

    Args:
        logger: A ``TensorBoardLogger`` that writes with torch's ``SummaryWriter``.
        tag: The monitor's tag.
    """

    def __init__(self, logger: Any, tag: str) -> None:
        super().__init__(logger, tag)
        self._file = EventFile(self._writer)
        # As the logger writes what is logged.
        prefix = getattr(logger, "_prefix", "")
        self._logged = f"{prefix}{logger.LOGGER_JOIN_CHAR}{tag}" if prefix else tag

    def write_picture(self, kind: Kind, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Write one picture, (H, W, 3) uint8."""
        self._write_image(picture_tag(self._tag, kind, name), encode_jpeg(picture), step)

    def write_animation(self, name: str, animation: bytes, step: int) -> None:
        """Write a GIF: TensorBoard detects its type, and the browser shows it."""
        self._write_image(animation_tag(self._tag, name), animation, step)

    def write_record(self, suffix: str, strings: Sequence[bytes], step: int) -> None:
        """Write a record of the tab."""
        self._write(summary_value(self._tag + suffix, strings), step)

    def write_layout(self, measures: Sequence[Axis], alarms: Sequence[str], step: int) -> None:
        """Group the scalars in Custom Scalars, beside what the run has there already."""
        self._writer.flush()  # What the user laid out may still be on its way to the file.
        try:
            found = find_layout(self.place)
        except UnreadableError as error:
            # A layout of the user's might be lost.
            rank_zero_info(f"ablation_cam: the Custom Scalars are left as they are: {error}")
            return
        layout = merged(found, layout_of(self._logged, measures, alarms))
        if layout != found:
            self._file.add(summary_of(layout), step)

    def _write_image(self, tag: str, file: bytes, step: int) -> None:
        with Image.open(BytesIO(file)) as opened:
            width, height = opened.size
        image = summary_pb2.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=file
        )
        self._write(summary_pb2.Summary.Value(tag=tag, image=image), step)

    def _write(self, value: Any, step: int) -> None:
        self._file.add(summary_pb2.Summary(value=[value]), step)


class PlainTensorBoard(_Board):
    """Writes pictures through any writer that has ``add_image``, such as tensorboardX's.

    Such a writer makes the same files, but takes only its own message types; so it gets neither
    animations nor the data of the tab.

    Args:
        logger: A ``TensorBoardLogger``.
        tag: The monitor's tag.
    """

    def __init__(self, logger: Any, tag: str) -> None:
        super().__init__(logger, tag)
        rank_zero_warn(
            f"ablation_cam: the TensorBoardLogger writes with {type(self._writer).__module__}; "
            "pictures are written as PNG, about five times larger, and there is no Ablation-CAM "
            "tab. Install tensorboard to have both."
        )

    def write_picture(self, kind: Kind, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Write one picture, (H, W, 3) uint8."""
        check_room(self.place, picture.nbytes)
        self._writer.add_image(picture_tag(self._tag, kind, name), picture, step, dataformats="HWC")


def tensorboard(logger: Any, tag: str) -> Backend:
    """The backend of a ``TensorBoardLogger``, chosen by the writer that it uses."""
    kind = TensorBoard if isinstance(logger.experiment, SummaryWriter) else PlainTensorBoard
    return kind(logger, tag)


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


def tag_names(names: Iterable[str]) -> list[str]:
    """Turn probe names into tags: printable, on one line, not too long, and still distinct.

    Example:
        >>> tag_names(["cat", "two\\nlines", ""])
        ['cat', 'two lines', 'probe']
    """
    tags: list[str] = []
    for name in names:
        printable = "".join(letter if letter.isprintable() else " " for letter in name)
        tag = stem = " ".join(printable.split())[:MAX_NAME_LENGTH] or "probe"
        repeat = 1
        while tag in tags:
            repeat += 1
            tag = f"{stem} ({repeat})"
        tags.append(tag)
    return tags
