"""What a backend, a place that pictures and records are written to, can do.

There is one module for each kind of backend. All of them take pictures; a backend that also takes
animations, records, maps or reports has the method for it. Whatever a method raises, the other
backends go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.measures.axis import Axis
from lightning_ablationcam.outputs.pictures import Kind


class Backend(Protocol):
    """Takes the pictures of one monitor."""

    @property
    def place(self) -> str:
        """Where to find them, for the user."""

    def spelled(self, names: Sequence[str]) -> list[str]:
        """The probes' names as they can be written here, still distinct."""

    def check_room(self) -> None:
        """Begin a pass: raise an ``OSError`` if there is too little room, before it is drawn."""

    def write_picture(self, kind: Kind, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Write one picture.

        Args:
            kind: What it shows.
            name: The probe's name, as :meth:`spelled` has it; empty for all probes.
            picture: (H, W, 3) uint8.
            step: ``trainer.global_step``.

        Raises:
            OSError: If there is too little room for it.
        """

    def flush(self) -> None:
        """End a pass: flush to disk, or send, what was written."""


@runtime_checkable
class TakesAnimations(Backend, Protocol):
    """A backend that shows animations."""

    def write_animation(self, name: str, animation: bytes, step: int) -> None:
        """Write a probe's GIF; arguments and errors as for :meth:`write_picture`."""


@runtime_checkable
class TakesRecords(Backend, Protocol):
    """A backend that keeps the data of the tab."""

    def write_record(self, suffix: str, strings: Sequence[bytes], step: int) -> None:
        """Write a record, see :mod:`~lightning_ablationcam.records.format`.

        Args:
            suffix: Follows the monitor's tag, one suffix for each kind of record.
            strings: The record.
            step: ``trainer.global_step``.
        """


@runtime_checkable
class TakesHeatmaps(Backend, Protocol):
    """A backend that keeps the newest heatmaps as they are, for other programs to read."""

    def write_heatmaps(self, file: bytes, step: int) -> None:
        """Write the file that :func:`~lightning_ablationcam.outputs.heatmaps.encode_heatmaps` made.

        Args:
            file: The npz file of the newest pass.
            step: ``trainer.global_step``.
        """


@runtime_checkable
class TakesReports(Backend, Protocol):
    """A backend that keeps the report of a whole run, as it has no tab."""

    def write_report(self, page: str, step: int) -> None:
        """Write the report, at the end of a fit.

        Args:
            page: The page, see :func:`~lightning_ablationcam.write_report`.
            step: ``trainer.global_step``.
        """


@runtime_checkable
class TakesLayouts(Backend, Protocol):
    """A backend that shows the run's scalars, and can group them."""

    def write_layout(self, measures: Sequence[Axis], alarms: Sequence[str], step: int) -> None:
        """Say which scalars belong together.

        Args:
            measures: The measures that are logged.
            alarms: The names of the alarms' scalars.
            step: ``trainer.global_step``.

        Raises:
            OSError: If there is too little room for it.
        """
