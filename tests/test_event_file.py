from __future__ import annotations

import errno
import os

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from lightning_ablationcam.outputs import event_file
from lightning_ablationcam.outputs.event_file import EventFile, append
from tests.disks import Quota, file_limit, filled, small_disk


def number(tag, value, blob=b""):
    return Summary(
        value=[
            Summary.Value(tag=tag, simple_value=value),
            Summary.Value(tag="blob", image=Summary.Image(encoded_image_string=blob)),
        ]
    )


def events_in(folder):
    (path,) = folder.glob("events*")
    return path


def steps_in(path):
    events = EventAccumulator(str(path)).Reload()
    return {tag: [one.step for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_ours_and_the_runs_stand_in_one_file_in_order(tmp_path):
    writer = SummaryWriter(tmp_path)
    ours = EventFile(writer)
    for step in range(20):
        writer.add_scalar("run", step, step)
        ours.add(number("ours", step), step)
    writer.flush()
    assert steps_in(events_in(tmp_path)) == {"run": [*range(20)], "ours": [*range(20)]}
    writer.close()
    assert steps_in(events_in(tmp_path))["run"] == [*range(20)]


def test_a_writer_that_was_closed_goes_on_with_another_file(tmp_path):
    writer = SummaryWriter(tmp_path)
    ours = EventFile(writer)
    ours.add(number("ours", 1), 1)
    writer.close()
    ours.add(number("ours", 2), 2)
    assert sorted(steps_in(path)["ours"] for path in tmp_path.glob("events*")) == [[1], [2]]


def fails(name, folder, monkeypatch):
    """A context manager that makes our writes fail halfway."""
    if name == "limit":
        return file_limit(4096)
    if name == "full":
        return filled(folder)
    quota = Quota()
    monkeypatch.setattr(event_file, "os", quota)
    return monkeypatch.context()


@pytest.mark.parametrize(
    ("name", "error"),
    [("limit", errno.EFBIG), ("full", errno.ENOSPC), ("quota", errno.EDQUOT)],
)
def test_a_write_that_fails_is_taken_back_and_not_the_runs(tmp_path, monkeypatch, name, error):
    # Skips the check for room: as if the disk had filled after it.
    monkeypatch.setattr(event_file, "check_room", lambda *arguments, **options: None)
    with small_disk(tmp_path):
        writer = SummaryWriter(tmp_path)
        ours = EventFile(writer)
        writer.add_scalar("run", 0, 0)
        ours.add(number("ours", 0), 0)
        before = events_in(tmp_path).read_bytes()
        with fails(name, tmp_path, monkeypatch):
            with pytest.raises(OSError) as raised:  # noqa: PT011
                ours.add(number("ours", 1, os.urandom(2**20)), 1)
            assert events_in(tmp_path).read_bytes() == before
            # There is room for these few bytes of the run.
            writer.add_scalar("run", 1, 1)
            writer.flush()
        assert raised.value.errno == error
        writer.add_scalar("run", 2, 2)
        writer.flush()
        assert steps_in(events_in(tmp_path)) == {"run": [0, 1, 2], "ours": [0]}


def test_after_ctrl_c_half_a_record_is_taken_back(tmp_path, monkeypatch):
    class Interrupted(Quota):
        def write(self, file, data):
            os.write(file, data[:3])
            raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_bytes(b"whole")
    monkeypatch.setattr(event_file, "os", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        append(str(path), b"record")
    assert path.read_bytes() == b"whole"


def test_a_short_write_is_gone_on_with(tmp_path, monkeypatch):
    class Short(Quota):
        def write(self, file, data):
            return os.write(file, data[:2])

    path = tmp_path / "file"
    path.write_bytes(b"whole")
    monkeypatch.setattr(event_file, "os", Short())
    append(str(path), b"record")
    assert path.read_bytes() == b"wholerecord"


def test_a_file_that_was_deleted_is_not_begun_without_its_header(tmp_path):
    with pytest.raises(FileNotFoundError):
        append(str(tmp_path / "gone"), b"record")
    assert not list(tmp_path.iterdir())


def test_where_the_thread_keeps_the_file_open_it_writes_ours_too(tmp_path, monkeypatch):
    monkeypatch.setattr(event_file, "append", None)
    writer = SummaryWriter(tmp_path)
    # Like TensorFlow's, which would overwrite what was appended without it.
    monkeypatch.setattr(event_file, "LocalFileSystem", type("Other", (), {}))
    EventFile(writer).add(number("ours", 3), 3)
    writer.flush()
    assert steps_in(events_in(tmp_path)) == {"ours": [3]}


def test_what_leaves_no_room_is_not_written(tmp_path, monkeypatch):
    def refuse(directory, size, *, written):
        asked.append((directory, written))
        raise OSError(errno.ENOSPC, "refused")

    asked = []
    writer = SummaryWriter(tmp_path)
    before = events_in(tmp_path).stat().st_size
    monkeypatch.setattr(event_file, "check_room", refuse)
    with pytest.raises(OSError, match="refused"):
        EventFile(writer).add(number("ours", 3), 3)
    assert asked == [(str(tmp_path), before)]
    assert events_in(tmp_path).stat().st_size == before
