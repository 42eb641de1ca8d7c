"""One pass into every TensorBoardLogger of a Trainer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightning_ablationcam.drawing import draw
from lightning_ablationcam.history import History, Scale
from lightning_ablationcam.loggers.tensorboard import (
    TensorBoardImages,
    tag_names,
    tensorboard_images,
)
from lightning_ablationcam.probes import ProbeSet


class Publisher:
    """Draws passes and writes them under the monitor's tags.

    Args:
        tag: First part of all tags.
        scale: What 100 % of the colour scale is.
        score: What the class score is called.
    """

    def __init__(self, tag: str, scale: Scale, score: str) -> None:
        self.tag = tag
        self.scale = scale
        self.score = score
        self._writers: list[TensorBoardImages] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files, so that the monitor can be copied during a fit."""
        return {**self.__dict__, "_writers": None}

    @property
    def places(self) -> list[str]:
        """Where the pictures are."""
        return [writer.directory for writer in self._writers or []]

    def start(self) -> None:
        """Begin a fit, perhaps with other loggers."""
        self._writers = None

    def publish(
        self, loggers: Iterable[Any], probes: ProbeSet, history: History, step: int
    ) -> None:
        """Write the newest pass, and bring it to disk.

        Args:
            loggers: The Trainer's loggers; where none is a TensorBoardLogger nothing happens.
            probes: The probes.
            history: At least one pass over them.
            step: ``trainer.global_step``.

        Raises:
            OSError: If there is too little room on the disk.
        """
        if self._writers is None:
            self._writers = tensorboard_images(loggers)
        if not self._writers:
            return
        for writer in self._writers:
            writer.check_room()
        tags = dict(zip(probes.names, tag_names(probes.names), strict=True))
        for drawing in draw(probes, history, scale=self.scale, score=self.score):
            tag = f"{self.tag}/overview"
            if drawing.kind != "overview":
                tag = f"{self.tag}_{drawing.kind}/{tags[drawing.name]}"
            for writer in self._writers:
                writer.write(tag, drawing.picture, step)
        for writer in self._writers:
            writer.flush()
