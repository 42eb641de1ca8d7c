"""Pictures into TensorBoard event files."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from lightning_ablationcam.arguments import is_a
from lightning_ablationcam.loggers.event_file import EventFile
from lightning_ablationcam.loggers.room import check_quota, check_room
from lightning_ablationcam.render import encode_jpeg

LONGEST_NAME = 120
"""Characters of a probe's name that its tag keeps."""


class TensorBoardImages:
    """Writes pictures as JPEG, which TensorBoard serves as it is, at a fifth of PNG's size.

    Args:
        logger: A ``TensorBoardLogger``.

    Attributes:
        takes_files: Whether image files can be written as they are.
    """

    def __init__(self, logger: Any) -> None:
        self._experiment: Any = logger.experiment
        self._file = EventFile(self._experiment)
        # tensorboardX writes the same files, but takes its own message types.
        self.takes_files = isinstance(self._experiment, SummaryWriter)
        if not self.takes_files:
            rank_zero_warn(
                "ablation_cam: the TensorBoardLogger writes with "
                f"{type(self._experiment).__module__}; pictures are written as PNG, about five "
                "times larger. Install tensorboard to have them as JPEG."
            )

    @property
    def directory(self) -> str:
        """Where the event file is."""
        return str(self._experiment.log_dir)

    def check_room(self) -> None:
        """Raise an ``OSError`` where there is too little room, before anything is drawn."""
        check_room(self.directory)
        check_quota(self.directory)

    def write(self, tag: str, picture: NDArray[np.uint8], step: int) -> None:
        """Write one picture, (H, W, 3) uint8."""
        if not self.takes_files:
            check_room(self.directory, picture.nbytes)
            self._experiment.add_image(tag, picture, step, dataformats="HWC")
            return
        self.write_file(tag, encode_jpeg(picture), step)

    def write_file(self, tag: str, file: bytes, step: int) -> None:
        """Write one image file as it is: JPEG, PNG or GIF, still or animated.

        TensorBoard finds out what it is from its bytes, and the browser shows it.

        Args:
            tag: The tag.
            file: The bytes of the image file.
            step: The step.

        Raises:
            RuntimeError: If the event writer takes no files, see :attr:`takes_files`.
        """
        if not self.takes_files:
            raise RuntimeError(
                f"tag={tag!r}: {type(self._experiment).__module__} takes no image files"
            )
        with Image.open(BytesIO(file)) as opened:
            width, height = opened.size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file)
        self._file.add(Summary(value=[Summary.Value(tag=tag, image=image)]), step)

    def flush(self) -> None:
        """Bring what was written to disk."""
        self._experiment.flush()


def has_tensorboard(loggers: Iterable[Any]) -> bool:
    """Whether a ``TensorBoardLogger`` is among a Trainer's loggers."""
    return any(is_a(logger, "TensorBoardLogger") for logger in loggers)


def tensorboard_images(loggers: Iterable[Any]) -> list[TensorBoardImages]:
    """One writer for each ``TensorBoardLogger`` among a Trainer's loggers."""
    return [TensorBoardImages(logger) for logger in loggers if is_a(logger, "TensorBoardLogger")]


def tag_names(names: Iterable[str]) -> list[str]:
    """Turn probe names into tags: printable, on one line, not too long, and still distinct.

    Example:
        >>> tag_names(["cat", "two\\nlines", ""])
        ['cat', 'two lines', 'probe']
    """
    tags: list[str] = []
    for name in names:
        printable = "".join(letter if letter.isprintable() else " " for letter in name)
        tag = stem = " ".join(printable.split())[:LONGEST_NAME] or "probe"
        repeat = 1
        while tag in tags:
            repeat += 1
            tag = f"{stem} ({repeat})"
        tags.append(tag)
    return tags
