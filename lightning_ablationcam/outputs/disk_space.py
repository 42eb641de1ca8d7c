"""Check that pictures leave room on the disk for the run's own logs and checkpoints."""

from __future__ import annotations

import errno
import math
import os
import shutil
import sys
import tempfile

if sys.platform != "win32":
    import resource

MIN_ROOM = 64 * 2**20
"""Bytes that pictures leave free on the disk, and below a limit on the size of files."""

MIN_QUOTA = 16 * 2**20
"""Bytes that must be left of a quota before pictures are written. Less than :data:`MIN_ROOM`: where
a file system cannot reserve them, the C library writes to each of their blocks instead."""


def check_room(directory: str, size: int = 0, *, written: int = 0) -> None:
    """Raise an ``OSError`` if pictures would take the room that the run itself needs.

    No room is reserved: another process may still take it meanwhile.

    Args:
        directory: Where the pictures go; a folder that is not on this machine cannot be checked.
        size: The bytes of the pictures.
        written: The bytes that their file already has.

    Raises:
        OSError: If the disk or a limit on the size of files leaves too little room.
    """
    try:
        free = shutil.disk_usage(directory).free
    except OSError:
        return
    if free < size + MIN_ROOM:
        raise OSError(
            errno.ENOSPC,
            f"only {free >> 20} MiB are free, and pictures leave {MIN_ROOM >> 20} MiB to the "
            "run's own logs and checkpoints",
            directory,
        )
    most = _most_bytes_of_a_file()
    if most < written + size + MIN_ROOM:
        raise OSError(
            errno.EFBIG,
            f"files are limited to {most / 2**20:g} MiB (ulimit -f), and pictures leave "
            f"{MIN_ROOM >> 20} MiB of that to the run's own logs",
            directory,
        )


def check_quota(directory: str) -> None:
    """Raise an ``OSError`` if a quota leaves fewer than :data:`MIN_QUOTA` bytes.

    The bytes are reserved and released, since no file system tells how much of a quota is left.

    Args:
        directory: Where pictures go; a folder that is not on this machine cannot be checked.

    Raises:
        OSError: If that many bytes could not be written there.
    """
    reserve = getattr(os, "posix_fallocate", None)
    if reserve is None:
        return
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            reserve(probe.fileno(), 0, MIN_QUOTA)
            probe.truncate(0)  # The blocks need not be sent to a server any more.
    except OSError as error:
        # Other errors say nothing about room: perhaps no new file may be created here, but the
        # existing one may be written.
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"{MIN_QUOTA >> 20} MiB cannot be reserved ({os.strerror(error.errno)}), and "
                "pictures leave a quota to the run's own logs and checkpoints below that",
                directory,
            ) from error


def _most_bytes_of_a_file() -> float:
    if sys.platform == "win32":
        return math.inf
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return math.inf if soft == resource.RLIM_INFINITY else soft
