"""Write summaries into a run's event file, so that a failed write does not harm the run."""

from __future__ import annotations

import os
import time
from io import BytesIO
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.io.gfile import LocalFileSystem
from tensorboard.summary.writer.record_writer import RecordWriter

from lightning_ablationcam.outputs.disk_space import check_room


class EventFile:
    """The event file of a ``SummaryWriter``.

    The writer passes what it gets to a thread, which ends at the first write that fails; from then
    on everything that the run logs raises. So summaries are appended to the file without the
    thread: if the disk fills meanwhile, they are removed again and the run goes on as without them.
    They do not get a file of their own, because TensorBoard reads the files of a run one after
    another, and some of its loaders never come back to an earlier one.

    This is only possible if the thread also opens the file by name for each append, that is for a
    local file and without TensorFlow. Otherwise the thread gets the summaries, if there is room.

    Args:
        writer: torch's ``SummaryWriter``.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, summary: Any, step: int) -> None:
        """Write a summary, whole or not at all.

        Args:
            summary: A ``Summary``.
            step: The step.

        Raises:
            OSError: If it cannot be written, or would take the room that the run itself needs.
        """
        # Looked up each time: a writer that was closed goes on with another file.
        events = self._writer._get_file_writer().event_writer
        path: str = events._file_name
        record = _record(Event(wall_time=time.time(), step=int(step), summary=summary))
        written = os.path.getsize(path) if os.path.exists(path) else 0
        check_room(os.path.dirname(path), len(record), written=written)
        if _appends_by_name(events):
            events.flush()  # So that what the run logged earlier comes first.
            append(path, record)
        else:
            self._writer._get_file_writer().add_summary(summary, step)


def append(path: str, record: bytes) -> None:
    """Append to a file, all or nothing.

    If that fails, what another thread appended meanwhile is removed as well.

    Args:
        path: An existing file.
        record: What to append.

    Raises:
        OSError: If there is no room for all of it.
    """
    before, whole = os.path.getsize(path), False
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        try:
            left = memoryview(record)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)  # Some file systems report only here that there was no room.
        whole = True
    finally:
        # Also after Ctrl-C: after half a record the rest of the file could not be read.
        if not whole and os.path.getsize(path) > before:
            os.truncate(path, before)


def _record(event: Any) -> bytes:
    file = BytesIO()
    RecordWriter(file).write(event.SerializeToString())
    return file.getvalue()


def _appends_by_name(events: Any) -> bool:
    file = getattr(events, "_general_file_writer", None)
    return isinstance(getattr(file, "fs", None), LocalFileSystem)
