"""Write summaries into a run's event file, so that a failed write does not harm the run."""

from __future__ import annotations

import itertools
import os
import socket
import time
from io import BytesIO
from pathlib import Path
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


class OwnEventFile:
    """An event file of our own, in a folder that no logger of the run writes one to.

    It is made with the first summary. As with :class:`EventFile`, a write that fails leaves nothing
    behind; after that a new file is begun.

    Args:
        folder: Where to write it.

    Example:
        >>> import tempfile
        >>> from tensorboard.compat.proto.summary_pb2 import Summary
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     OwnEventFile(Path(folder)).add(Summary(), 7)
        ...     [file.name.split(".")[:3] for file in Path(folder).iterdir()]
        [['events', 'out', 'tfevents']]
    """

    _count = itertools.count()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    def add(self, summary: Any, step: int) -> None:
        """Write a summary, whole or not at all; arguments and errors as :meth:`EventFile.add`."""
        event = Event(wall_time=time.time(), step=int(step), summary=summary)
        path, self._path = self._path or self._begun(), None
        record = _record(event)
        check_room(str(self._folder), len(record), written=path.stat().st_size)
        append(str(path), record)
        self._path = path

    def _begun(self) -> Path:
        """A new file that holds the version of the format, under a name as TensorBoard's have."""
        now, host = time.time(), socket.gethostname()
        number = next(self._count)
        path = self._folder / f"events.out.tfevents.{int(now):010}.{host}.{os.getpid()}.{number}"
        self._folder.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)
        append(str(path), _record(Event(wall_time=now, file_version="brain.Event:2")))
        return path


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
