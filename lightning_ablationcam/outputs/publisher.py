"""Write passes to a Trainer's loggers: the tab's records, pictures, animations and the report."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_ablationcam.outputs.backend import (
    Backend,
    TakesAnimations,
    TakesHeatmaps,
    TakesLayouts,
    TakesRecords,
    TakesReports,
)
from lightning_ablationcam.outputs.folder import Folder
from lightning_ablationcam.outputs.heatmaps import encode_heatmaps
from lightning_ablationcam.outputs.loggers import outlets_of
from lightning_ablationcam.outputs.outlets import Fault, Outlet, Outlets
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
from lightning_ablationcam.outputs.tensorboard import TensorBoard
from lightning_ablationcam.outputs.watched import Seen
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.records.format import (
    HEAT_TAG,
    PROBES_TAG,
    ProbesRecord,
    encode_heat,
    encode_probes,
)
from lightning_ablationcam.run.history import History, Pass, Scale
from lightning_ablationcam.run.measuring import Measuring, alarm_scalar


class Publisher:
    """Records and draws the passes of one fit, and writes them to its loggers' backends.

    Args:
        tag: The monitor's tag.
        scale: What 100 % of the colour scale is.
        score: What the class score is called.
        pictures: Whether pictures are drawn; without them there are the records and the report.
        measuring: What is measured, and what rings an alarm.
        files_in: The folder that files go to if no logger shows what is seen; default nowhere.
    """

    def __init__(
        self,
        tag: str,
        scale: Scale,
        score: str,
        *,
        pictures: bool = True,
        measuring: Measuring | None = None,
        files_in: str | Path | None = None,
    ) -> None:
        self.pictures = pictures
        self._measuring = Measuring() if measuring is None else measuring
        self._files_in = files_in
        self.tag = tag
        self.scale = scale
        self.score = score
        self._outlets: Outlets | None = None
        self._passes = 0
        self._strips_at = -1

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open files, so that the monitor can be copied during a fit."""
        return {**self.__dict__, "_outlets": None}

    @property
    def places(self) -> list[str]:
        """Where the pictures are."""
        return [backend.place for backend in self._backends]

    @property
    def has_tab(self) -> bool:
        """Whether any of the backends gets what TensorBoard's tab shows."""
        return any(isinstance(backend, TakesRecords) for backend in self._backends)

    @property
    def reports_in(self) -> list[str]:
        """Where the report will be at the end of the fit."""
        return [each.place for each in self._backends if isinstance(each, TakesReports)]

    @property
    def _backends(self) -> list[Backend]:
        return [] if self._outlets is None else self._outlets.backends

    def publish(
        self, loggers: Iterable[Any], probes: ProbeSet, history: History, step: int
    ) -> list[Fault]:
        """Write the newest pass, and flush it to disk.

        A strip is drawn anew when it has gained much: at the first pass, the second, the fourth,
        the eighth and so on, and by :meth:`finish`.

        Args:
            loggers: The Trainer's loggers; if there is nowhere to write to, nothing happens.
            probes: The probes.
            history: At least one pass over them.
            step: ``trainer.global_step``.

        Returns:
            What went wrong, one fault at most for each logger: the others got the whole pass.
        """
        outlets = self._begun(loggers)
        if not outlets.backends:
            return outlets.faults
        self._record(outlets, probes, history.passes[-1], step)
        self._lay_out(outlets, probes, step)
        self._passes += 1
        if self.pictures:
            drawn = draw_pass(probes, history, scale=self.scale, score=self.score)
            self._write(outlets, drawn, probes, step)
            # Powers of two have a single bit.
            if self._passes & (self._passes - 1) == 0:
                self._write_strips(outlets, probes, history, step)
        outlets.each(lambda outlet, backend: backend.flush())
        return outlets.faults

    def _write_strips(
        self, outlets: Outlets, probes: ProbeSet, history: History, step: int
    ) -> None:
        strips = draw_evolutions(probes, history, scale=self.scale)
        self._write(outlets, strips, probes, step)
        if not outlets.faults:
            self._strips_at = history.passes[-1].step

    def _write(
        self, outlets: Outlets, drawings: Iterable[Drawing], probes: ProbeSet, step: int
    ) -> None:
        spelled = _Spelled(probes)
        for drawing in drawings:

            def write(outlet: Outlet, backend: Backend, drawing: Drawing = drawing) -> None:
                name = "" if drawing.kind == "overview" else spelled.by(backend)[drawing.name]
                backend.write_picture(drawing.kind, name, drawing.picture, step)

            outlets.each(write)
            if not outlets.backends:
                return

    def _lay_out(self, outlets: Outlets, probes: ProbeSet, step: int) -> None:
        measures = [measure.axis for measure in self._measuring.taken(probes)]
        alarms = [alarm_scalar(alarm.name) for alarm in alarm_records(self._measuring, probes)]

        def lay_out(outlet: Outlet, backend: Backend) -> None:
            if isinstance(backend, TakesLayouts) and not outlet.laid_out:
                backend.write_layout(measures, alarms, step)
                outlet.laid_out = True

        outlets.each(lay_out)

    def _record(self, outlets: Outlets, probes: ProbeSet, seen: Pass, step: int) -> None:
        """Write the heat, and the probes if they or the layer are new; for the tab and as it is."""
        described = (probes.fingerprint, seen.layer)
        taking = [backend for backend in outlets.backends if isinstance(backend, TakesRecords)]
        boards = {_folder(each) for each in taking if isinstance(each, TensorBoard)}
        # TensorBoard's own file is there already: the tab would show the run twice.
        takers = [b for b in taking if not (isinstance(b, Folder) and _folder(b) in boards)]
        if takers:
            heat = encode_heat(heat_record(seen, fingerprint=probes.fingerprint))
            of_probes = encode_probes(self._probes_record(probes, seen))

        def record(outlet: Outlet, backend: Backend) -> None:
            if any(backend is taker for taker in takers) and isinstance(backend, TakesRecords):
                if outlet.described != described:
                    backend.write_record(PROBES_TAG, of_probes, step)
                backend.write_record(HEAT_TAG, heat, step)
                outlet.described = described
            if isinstance(backend, TakesHeatmaps):
                backend.write_heatmaps(encode_heatmaps(probes, seen), step)

        outlets.each(record)

    def _probes_record(self, probes: ProbeSet, seen: Pass) -> ProbesRecord:
        return probes_record(
            probes,
            layer=seen.layer,
            scale=self.scale,
            score=named_score(self.score, seen),
            map_shape=seen.map_shape,
            task=seen.task,
            measures=[measure.axis for measure in self._measuring.taken(probes)],
            alarms=alarm_records(self._measuring, probes),
        )

    def finish(
        self, loggers: Iterable[Any], probes: ProbeSet, history: History, step: int
    ) -> list[Fault]:
        """Write the whole story: a strip and an animation of each probe, and the report.

        There is no animation of fewer than two passes, since nothing would move.

        Args:
            loggers: The Trainer's loggers; if there is nowhere to write to, nothing happens.
            probes: The probes.
            history: The passes over them.
            step: ``trainer.global_step``.

        Returns:
            As :meth:`publish`.
        """
        if not history.passes:
            return []
        outlets = self._begun(loggers)
        if self.pictures and outlets.backends:
            if self._strips_at != history.passes[-1].step:
                self._write_strips(outlets, probes, history, step)
            if len(history.passes) > 1:
                self._write_animations(outlets, probes, history, step)
        self._report(outlets, probes, history, step)
        outlets.each(lambda outlet, backend: backend.flush())
        return outlets.faults

    def _write_animations(
        self, outlets: Outlets, probes: ProbeSet, history: History, step: int
    ) -> None:
        if not any(isinstance(backend, TakesAnimations) for backend in outlets.backends):
            return
        spelled = _Spelled(probes)
        drawn = draw_animations(probes, history, scale=self.scale, score=self.score)
        for name, file in drawn:

            def write(
                outlet: Outlet, backend: Backend, name: str = name, file: bytes = file
            ) -> None:
                if isinstance(backend, TakesAnimations):
                    backend.write_animation(spelled.by(backend)[name], file, step)

            outlets.each(write)

    def _report(self, outlets: Outlets, probes: ProbeSet, history: History, step: int) -> None:
        if not any(isinstance(backend, TakesReports) for backend in outlets.backends):
            return
        # Imported here: few runs need it, and it imports a good part of TensorBoard.
        from lightning_ablationcam.outputs.report import report_page

        seen = Seen(self.tag, self.scale, self.score, history, probes, self._measuring)
        page = report_page(seen)

        def write(outlet: Outlet, backend: Backend) -> None:
            if isinstance(backend, TakesReports):
                backend.write_report(page, step)

        outlets.each(write)

    def _begun(self, loggers: Iterable[Any]) -> Outlets:
        """The outlets, after asking each whether it has room."""
        if self._outlets is None:
            self._outlets = Outlets(outlets_of(loggers, self.tag, self._files_in))
        self._outlets.begin()
        return self._outlets


class _Spelled:
    """The probes' names as each backend spells them, spelled once."""

    def __init__(self, probes: ProbeSet) -> None:
        self._names = probes.names
        self._known: dict[int, dict[str, str]] = {}

    def by(self, backend: Backend) -> dict[str, str]:
        if id(backend) not in self._known:
            spelled = backend.spelled(self._names)
            self._known[id(backend)] = dict(zip(self._names, spelled, strict=True))
        return self._known[id(backend)]


def _folder(backend: Backend) -> str:
    return os.path.abspath(backend.place)
