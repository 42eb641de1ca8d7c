"""A real small file system, and a real limit on the size of files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder, size="2m"):
    """A file system of that size at ``folder``; the test is skipped where none can be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder, mode):
    """Make a mounted file system read-only (``ro``) or writable (``rw``) at once."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


@contextlib.contextmanager
def file_limit(size):
    """Let files of this process grow to that many bytes only."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def filled(folder):
    """Another process's file fills the disk, except for some bytes of a block."""
    other = folder / "other"
    with other.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        other.unlink()


class Quota:
    """``os`` for a module whose writes find a quota exhausted, half of a write through."""

    def __init__(self, error=errno.EDQUOT):
        self.error, self.active = error, True
        self._begun = False

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, file, data):
        if not self.active:
            return os.write(file, data)
        self._begun = not self._begun
        if self._begun:
            return os.write(file, data[: len(data) // 2])
        raise OSError(self.error, os.strerror(self.error))
