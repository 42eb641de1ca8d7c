"""Write passes to a Trainer's loggers: the tab's records, pictures and animations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_ablationcam.arguments import is_a
from lightning_ablationcam.outputs.backend import (
    Backend,
    TakesAnimations,
    TakesLayouts,
    TakesRecords,
)
from lightning_ablationcam.outputs.folder import Folder
from lightning_ablationcam.outputs.pass_records import (
    alarm_records,
    heat_record,
    named_score,
    probes_record,
)
from lightning_ablationcam.outputs.pictures import (
    Drawing,
    draw_animations,
    draw_evolutions,
    draw_pass,
)
from lightning_ablationcam.outputs.tensorboard import TensorBoard, tensorboard
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.records.format import (
    HEAT_TAG,
    PROBES_TAG,
    encode_heat,
    encode_probes,
)
from lightning_ablationcam.run.history import History, Pass, Scale
from lightning_ablationcam.run.measuring import Measuring, alarm_scalar

SHOWING = ("TensorBoardLogger", "CSVLogger")
"""The loggers that have a backend."""


def backends_of(loggers: Iterable[Any], tag: str) -> list[Backend]:
    """The backend of each of a Trainer's loggers that has one.

    Args:
        loggers: The loggers; a ``CSVLogger`` gets a folder of files beside its own.
        tag: The monitor's tag.
    """
    found: list[Backend] = []
    for logger in loggers:
        if is_a(logger, "TensorBoardLogger"):
            found.append(tensorboard(logger, tag))
        elif is_a(logger, "CSVLogger"):
            found.append(Folder(Path(logger.log_dir), tag))
    return found


def has_backend(loggers: Iterable[Any]) -> bool:
    """Whether any of a Trainer's loggers has a backend."""
    return any(is_a(logger, name) for logger in loggers for name in SHOWING)


class Publisher:
    """Records and draws the passes of one fit, and writes them to its backends.

    Args:
        tag: The monitor's tag.
        scale: What 100 % of the colour scale is.
        score: What the class score is called.
        pictures: Whether pictures are drawn; without them there is the tab alone.
        measuring: What is measured, and what rings an alarm.
    """

    def __init__(
        self,
        tag: str,
        scale: Scale,
        score: str,
        *,
        pictures: bool = True,
        measuring: Measuring | None = None,
    ) -> None:
        self.pictures = pictures
        self._measuring = Measuring() if measuring is None else measuring
        self.tag = tag
        self.scale = scale
        self.score = score
        self._backends: list[Backend] | None = None
        self._described: tuple[str, str] | None = None
        self._passes = 0
        self._strips_at = -1

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open files, so that the monitor can be copied during a fit."""
        return {**self.__dict__, "_backends": None}

    @property
    def places(self) -> list[str]:
        """Where the pictures are."""
        return [backend.place for backend in self._backends or []]

    @property
    def has_tab(self) -> bool:
        """Whether any of the loggers gets what TensorBoard's tab shows."""
        return any(isinstance(backend, TensorBoard) for backend in self._backends or [])

    def publish(
        self, loggers: Iterable[Any], probes: ProbeSet, history: History, step: int
    ) -> None:
        """Write the newest pass, and flush it to disk.

        A strip is drawn anew when it has gained much: at the first pass, the second, the fourth,
        the eighth and so on, and by :meth:`finish`.

        Args:
            loggers: The Trainer's loggers; if none has a backend, nothing happens.
            probes: The probes.
            history: At least one pass over them.
            step: ``trainer.global_step``.

        Raises:
            OSError: If there is too little room on the disk.
        """
        backends = self._ready(loggers)
        if not backends:
            return
        self._record(probes, history.passes[-1], step)
        if not self._passes:
            self._lay_out(probes, step)
        self._passes += 1
        if self.pictures:
            drawn = draw_pass(probes, history, scale=self.scale, score=self.score)
            self._write(drawn, probes, step)
            # Powers of two have a single bit.
            if self._passes & (self._passes - 1) == 0:
                self._write_strips(probes, history, step)
        for backend in backends:
            backend.flush()

    def _write_strips(self, probes: ProbeSet, history: History, step: int) -> None:
        strips = draw_evolutions(probes, history, scale=self.scale)
        self._write(strips, probes, step)
        self._strips_at = history.passes[-1].step

    def _write(self, drawings: Iterable[Drawing], probes: ProbeSet, step: int) -> None:
        backends = self._backends or []
        names = [_names(backend, probes) for backend in backends]
        for drawing in drawings:
            for backend, spelled in zip(backends, names, strict=True):
                name = "" if drawing.kind == "overview" else spelled[drawing.name]
                backend.write_picture(drawing.kind, name, drawing.picture, step)

    def _lay_out(self, probes: ProbeSet, step: int) -> None:
        measures = [measure.axis for measure in self._measuring.taken(probes)]
        alarms = [alarm_scalar(alarm.name) for alarm in alarm_records(self._measuring, probes)]
        for backend in self._backends or []:
            if isinstance(backend, TakesLayouts):
                backend.write_layout(measures, alarms, step)

    def _record(self, probes: ProbeSet, seen: Pass, step: int) -> None:
        """Write what the tab shows: the heat, and the probes if they or the layer are new."""
        takers = [backend for backend in self._backends or [] if isinstance(backend, TakesRecords)]
        if not takers:
            return
        described = (probes.fingerprint, seen.layer)
        records = [(HEAT_TAG, encode_heat(heat_record(seen, fingerprint=probes.fingerprint)))]
        if described != self._described:
            record = probes_record(
                probes,
                layer=seen.layer,
                scale=self.scale,
                score=named_score(self.score, seen),
                map_shape=seen.map_shape,
                task=seen.task,
                measures=[measure.axis for measure in self._measuring.taken(probes)],
                alarms=alarm_records(self._measuring, probes),
            )
            records.insert(0, (PROBES_TAG, encode_probes(record)))
        for taker in takers:
            for suffix, strings in records:
                taker.write_record(suffix, strings, step)
        self._described = described

    def finish(self, loggers: Iterable[Any], probes: ProbeSet, history: History, step: int) -> None:
        """Write the whole story of each probe, as a strip and as an animation, and flush it.

        There is no animation of fewer than two passes, since nothing would move.

        Args:
            loggers: The Trainer's loggers; if none has a backend, nothing happens.
            probes: The probes.
            history: The passes over them.
            step: ``trainer.global_step``.

        Raises:
            OSError: If there is too little room on the disk.
        """
        backends = self._ready(loggers) if self.pictures and history.passes else []
        if backends and self._strips_at != history.passes[-1].step:
            self._write_strips(probes, history, step)
        takers = [backend for backend in backends if isinstance(backend, TakesAnimations)]
        if takers and len(history.passes) > 1:
            names = [_names(taker, probes) for taker in takers]
            drawn = draw_animations(probes, history, scale=self.scale, score=self.score)
            for name, file in drawn:
                for taker, spelled in zip(takers, names, strict=True):
                    taker.write_animation(spelled[name], file, step)
        for backend in backends:
            backend.flush()

    def _ready(self, loggers: Iterable[Any]) -> list[Backend]:
        """The backends, after checking that each has room on its disk."""
        if self._backends is None:
            self._backends = backends_of(loggers, self.tag)
        for backend in self._backends:
            backend.check_room()
        return self._backends


def _names(backend: Backend, probes: ProbeSet) -> dict[str, str]:
    return dict(zip(probes.names, backend.spelled(probes.names), strict=True))
