from __future__ import annotations

import errno
import os

import pytest

from lightning_ablationcam.outputs import disk_space as room
from lightning_ablationcam.outputs.disk_space import (
    MIN_QUOTA,
    MIN_ROOM,
    check_quota,
    check_room,
)
from tests.disks import file_limit, filled, small_disk

RESERVES = pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="nothing can be reserved here"
)


def test_a_disk_with_room_is_left_as_it_was(tmp_path):
    check_room(str(tmp_path), 2**20)
    check_quota(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_small_disk_is_left_to_the_run(tmp_path):
    with small_disk(tmp_path), pytest.raises(OSError, match="only 2 MiB are free") as raised:
        check_room(str(tmp_path))
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path)


def test_the_last_bytes_of_a_small_disk_are_too(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MIN_ROOM", 2**20)
    with small_disk(tmp_path):
        check_room(str(tmp_path), 2**20)
        with pytest.raises(OSError, match="1 MiB to the run's own"):
            check_room(str(tmp_path), 2**20 + 1)
        with filled(tmp_path), pytest.raises(OSError, match="only 0 MiB are free"):
            check_room(str(tmp_path))
        check_room(str(tmp_path), 2**20)


@RESERVES
def test_what_cannot_be_reserved_is_refused(tmp_path, monkeypatch):
    with small_disk(tmp_path):
        # As if a quota were smaller than the free space.
        with pytest.raises(OSError, match="16 MiB cannot be reserved") as raised:
            check_quota(str(tmp_path))
        assert raised.value.errno == errno.ENOSPC
        assert not list(tmp_path.iterdir())
        monkeypatch.setattr(room, "MIN_QUOTA", 2**20)
        check_quota(str(tmp_path))


@RESERVES
@pytest.mark.parametrize(
    ("error", "refused"),
    [(errno.EDQUOT, True), (errno.EOPNOTSUPP, False), (errno.EACCES, False)],
)
def test_only_too_little_room_is_a_refusal(tmp_path, monkeypatch, error, refused):
    def reserve(file, offset, size):
        asked.append((offset, size))
        raise OSError(error, os.strerror(error))

    asked = []
    monkeypatch.setattr(os, "posix_fallocate", reserve)
    if refused:
        with pytest.raises(OSError, match="leave a quota to the run's own") as raised:
            check_quota(str(tmp_path))
        assert raised.value.errno == error
    else:
        check_quota(str(tmp_path))
    assert asked == [(0, MIN_QUOTA)]


def test_a_limit_on_files_counts_what_the_file_has(tmp_path):
    with file_limit(MIN_ROOM + 5000):
        check_room(str(tmp_path), 2000, written=3000)
        with pytest.raises(OSError, match=r"files are limited to 64\.\d+ MiB \(ulimit") as raised:
            check_room(str(tmp_path), 2000, written=3001)
    assert raised.value.errno == errno.EFBIG


def test_of_a_folder_elsewhere_nothing_is_known():
    check_room("s3://bucket/logs", 2**60)
    check_quota("s3://bucket/logs")
