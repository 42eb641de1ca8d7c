"""What is the same of services that get files: they are kept until a pass is whole, then sent."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.outputs.disk_space import check_room
from lightning_ablationcam.outputs.folder import REPORT, animation_file, file_stems, picture_file
from lightning_ablationcam.outputs.pictures import Kind
from lightning_ablationcam.outputs.tags import animation_tag, picture_tag
from lightning_ablationcam.render import encode_jpeg


@dataclass(frozen=True)
class Sent:
    """A file for a service.

    Attributes:
        tag: What it is called, as in TensorBoard.
        file: Its path, as in a :class:`~lightning_ablationcam.outputs.folder.Folder`.
        content: What it holds.
        step: ``trainer.global_step``.
    """

    tag: str
    file: str
    content: bytes
    step: int


class Service(ABC):
    """Takes pictures, animations and reports for a service, and hands them over pass by pass.

    A file is written below a folder for temporary ones first, since all services take files by
    path, and so get the bytes that other loggers get.

    Args:
        logger: The Trainer's logger.
        tag: The monitor's tag.
    """

    def __init__(self, logger: Any, tag: str) -> None:
        self._logger = logger
        # A path at the service: no part of it may lead elsewhere.
        self._tag = "/".join(file_stems([part])[0] for part in tag.split("/"))
        self._waiting: list[Sent] = []

    @property
    @abstractmethod
    def place(self) -> str:
        """Where to find them, for the user."""

    def spelled(self, names: Sequence[str]) -> list[str]:
        """The names as file names, see :func:`file_stems`."""
        return file_stems(names)

    def check_room(self) -> None:
        """Raise an ``OSError`` if there is too little room for temporary files."""
        self._waiting.clear()  # Those of a pass that could not be sent.
        check_room(tempfile.gettempdir())

    def write_picture(self, kind: Kind, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Keep one picture, (H, W, 3) uint8, until it is sent."""
        tag, file = picture_tag(self._tag, kind, name), picture_file(kind, name, step)
        self._waiting.append(Sent(tag, file, encode_jpeg(picture), step))

    def write_animation(self, name: str, animation: bytes, step: int) -> None:
        """Keep a GIF until it is sent."""
        tag = animation_tag(self._tag, name)
        self._waiting.append(Sent(tag, animation_file(name), animation, step))

    def write_report(self, page: str, step: int) -> None:
        """Keep the report until it is sent."""
        self._waiting.append(Sent(f"{self._tag}/report", REPORT, page.encode(), step))

    def flush(self) -> None:
        """Send what was kept."""
        if not self._waiting:
            return
        with tempfile.TemporaryDirectory(prefix="ablation_cam_") as folder:
            root = Path(folder)
            for one in self._waiting:
                path = root / one.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(one.content)
            self.send(self._waiting, root)
        self._waiting.clear()

    @abstractmethod
    def send(self, files: Sequence[Sent], root: Path) -> None:
        """Hand files over to the service's own library, which copies or sends them at once.

        Args:
            files: The files of one pass.
            root: The folder that they are in.

        Raises:
            Exception: Whatever the library raises.
        """
