"""One pass into every TensorBoardLogger of a Trainer: the tab's records and the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightning_ablationcam.drawing import draw
from lightning_ablationcam.history import History, Pass, Scale
from lightning_ablationcam.loggers.tab import TensorBoardTab, tensorboard_tabs
from lightning_ablationcam.loggers.tensorboard import (
    TensorBoardImages,
    tag_names,
    tensorboard_images,
)
from lightning_ablationcam.probes import ProbeSet
from lightning_ablationcam.recording import heat_record, probes_record


class Publisher:
    """Records and draws passes, and writes them under the monitor's tags.

    Args:
        tag: First part of all tags.
        scale: What 100 % of the colour scale is.
        score: What the class score is called.
    """

    def __init__(self, tag: str, scale: Scale, score: str) -> None:
        self.tag = tag
        self.scale = scale
        self.score = score
        self.start()

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files, so that the monitor can be copied during a fit."""
        return {**self.__dict__, "_writers": None, "_tabs": []}

    @property
    def places(self) -> list[str]:
        """Where the pictures are."""
        return [writer.directory for writer in self._writers or []]

    def start(self) -> None:
        """Begin a fit, perhaps with other loggers."""
        self._writers: list[TensorBoardImages] | None = None
        self._tabs: list[TensorBoardTab] = []
        self._described: tuple[str, str] | None = None

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
            loggers = list(loggers)
            self._writers = tensorboard_images(loggers)
            self._tabs = tensorboard_tabs(loggers, self.tag)
        if not self._writers:
            return
        for writer in self._writers:
            writer.check_room()
        self._record(probes, history.passes[-1], step)
        self._draw(self._writers, probes, history, step)
        for writer in self._writers:
            writer.flush()

    def _record(self, probes: ProbeSet, seen: Pass, step: int) -> None:
        """What the tab shows: the probes where they or the layer are new, and the heat."""
        described = (probes.fingerprint, seen.layer)
        for tab in self._tabs:
            if described != self._described:
                record = probes_record(probes, layer=seen.layer, scale=self.scale, score=self.score)
                tab.write_probes(record, step)
            tab.write_heat(heat_record(seen, fingerprint=probes.fingerprint), step)
        self._described = described

    def _draw(
        self, writers: list[TensorBoardImages], probes: ProbeSet, history: History, step: int
    ) -> None:
        tags = dict(zip(probes.names, tag_names(probes.names), strict=True))
        for drawing in draw(probes, history, scale=self.scale, score=self.score):
            tag = f"{self.tag}/overview"
            if drawing.kind != "overview":
                tag = f"{self.tag}_{drawing.kind}/{tags[drawing.name]}"
            for writer in writers:
                writer.write(tag, drawing.picture, step)
