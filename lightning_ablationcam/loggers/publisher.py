"""What a Trainer's TensorBoardLoggers get: the tab's records, pictures and animations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightning_ablationcam.drawing import draw, draw_animations
from lightning_ablationcam.loggers.tab import TensorBoardTab, tensorboard_tabs
from lightning_ablationcam.loggers.tensorboard import (
    TensorBoardImages,
    tag_names,
    tensorboard_images,
)
from lightning_ablationcam.probes import ProbeSet
from lightning_ablationcam.recording import heat_record, probes_record
from lightning_ablationcam.run.history import History, Pass, Scale


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
        self._writers: list[TensorBoardImages] | None = None
        self._tabs: list[TensorBoardTab] = []
        self._described: tuple[str, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files, so that the monitor can be copied during a fit."""
        return {**self.__dict__, "_writers": None, "_tabs": []}

    @property
    def places(self) -> list[str]:
        """Where the pictures are."""
        return [writer.directory for writer in self._writers or []]

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
        writers = self._ready(loggers)
        if not writers:
            return
        self._record(probes, history.passes[-1], step)
        tags = _tags(probes)
        for drawing in draw(probes, history, scale=self.scale, score=self.score):
            tag = f"{self.tag}/overview"
            if drawing.kind != "overview":
                tag = f"{self.tag}_{drawing.kind}/{tags[drawing.name]}"
            for writer in writers:
                writer.write(tag, drawing.picture, step)
        for writer in writers:
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

    def publish_animations(
        self, loggers: Iterable[Any], probes: ProbeSet, history: History, step: int
    ) -> None:
        """Write all passes as one animation of each probe, and bring them to disk.

        Nothing is written of fewer than two passes: nothing moves.

        Args:
            loggers: The Trainer's loggers; where none is a TensorBoardLogger nothing happens.
            probes: The probes.
            history: The passes over them.
            step: ``trainer.global_step``.

        Raises:
            OSError: If there is too little room on the disk.
        """
        writers = [writer for writer in self._ready(loggers) if writer.takes_files]
        if not writers or len(history.passes) < 2:
            return
        tags = _tags(probes)
        for name, file in draw_animations(probes, history, scale=self.scale, score=self.score):
            for writer in writers:
                writer.write_file(f"{self.tag}_animation/{tags[name]}", file, step)
        for writer in writers:
            writer.flush()

    def _ready(self, loggers: Iterable[Any]) -> list[TensorBoardImages]:
        """The writers, each with room on its disk."""
        if self._writers is None:
            loggers = list(loggers)
            self._writers = tensorboard_images(loggers)
            self._tabs = tensorboard_tabs(loggers, self.tag)
        for writer in self._writers:
            writer.check_room()
        return self._writers


def _tags(probes: ProbeSet) -> dict[str, str]:
    return dict(zip(probes.names, tag_names(probes.names), strict=True))
