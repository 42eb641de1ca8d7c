from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightning_ablationcam import AblationCAMMonitor, ProbeSet, write_animations
from lightning_ablationcam.outputs import animations
from lightning_ablationcam.outputs.folder import MAX_STEM_LENGTH, file_stems
from lightning_ablationcam.run.history import Pass

HOSTILE = [
    "a/b\nc",
    "../../up",
    "猫",
    "<b>bold</b>",
    "x" * 10_000,
    "x" * 9_999,
    "",
    "nul",
    "\ud800",
]


def watched(names=("p", "q"), passes=3, **options):
    """A monitor that has seen some passes."""
    probes = ProbeSet(torch.rand(len(names), 3, 16, 16), names=list(names))
    monitor = AblationCAMMonitor("conv", probes, classes="predicted", **options)
    for step in range(passes):
        heat = np.zeros((len(names), 4, 4), np.float32)
        heat[:, step % 4] = step + 1
        classes, scores = np.zeros(len(names), np.int64), np.full(len(names), 0.5)
        monitor.history.append(Pass(step, step, "conv", heat, classes, scores, classes))
    monitor._fit.source.build(SimpleNamespace(), None)
    return monitor


def test_one_animation_of_each_probe(tmp_path):
    files = write_animations(watched(passes=5), tmp_path / "new" / "folder")
    assert files == [tmp_path / "new" / "folder" / name for name in ("p.gif", "q.gif")]
    for file in files:
        with Image.open(file) as opened:
            assert (opened.format, opened.n_frames) == ("GIF", 5)
    assert sorted(files[0].parent.iterdir()) == files


def test_a_string_is_a_folder_and_files_are_replaced(tmp_path):
    monitor = watched(["p"])
    (file,) = write_animations(monitor, str(tmp_path))
    before = file.read_bytes()
    monitor.history.append(
        Pass(9, 9, "conv", np.ones((1, 4, 4), np.float32), np.array([0]), np.array([1.0]))
    )
    assert write_animations(monitor, tmp_path) == [file]
    assert file.read_bytes() != before


def test_scale_and_score_are_the_monitors(tmp_path, monkeypatch):
    seen = []

    def drawn(probes, history, *, scale, score):
        seen.append((probes, history, scale, score))
        return [(name, b"") for name in probes.names]

    monkeypatch.setattr(animations, "draw_animations", drawn)
    monitor = watched(scale="run", score="probability")
    write_animations(monitor, tmp_path)
    write_animations(watched(score=lambda output, classes: output[:, 0]), tmp_path)
    assert seen[0] == (monitor.probes, monitor.history, "run", "probability")
    assert seen[1][2:] == ("map", "score")


def test_hostile_names_stay_in_the_folder(tmp_path):
    place = tmp_path / "here"
    files = write_animations(watched(HOSTILE, passes=2), place)
    assert list(tmp_path.iterdir()) == [place]
    assert sorted(place.iterdir()) == sorted(files)
    assert len({file.name for file in files}) == len(HOSTILE)
    assert [file.stem for file in files[:4]] == ["a_b_c", "up", "Mao", "b_bold_b"]


@given(st.lists(st.text(), max_size=8))
def test_stems_are_safe_and_distinct(names):
    stems = file_stems(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    for stem in stems:
        assert stem.isascii()
        assert stem.replace("_", "").replace("-", "").replace(".", "").isalnum()
        assert 1 <= len(stem) <= MAX_STEM_LENGTH + 10
        assert stem[0] not in ".-"


def test_stems_are_short_where_letters_have_long_spellings():
    (stem,) = file_stems(["😀" * 10_000])
    assert stem.startswith("grinning_grinning_")
    assert len(stem) <= MAX_STEM_LENGTH


def test_stems_that_differ_in_case_alone_or_name_a_device():
    assert file_stems(["A", "a", "a_2", "CON", "com1.x", "console"]) == [
        "A",
        "a_2",
        "a_2_2",
        "probe_CON",
        "probe_com1.x",
        "console",
    ]


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path, monkeypatch):
    monitor = watched(["p"])
    (file,) = write_animations(monitor, tmp_path)
    before = file.read_bytes()

    def full(self, content):
        with open(self, "wb") as opened:
            opened.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_animations(monitor, tmp_path)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_files_can_be_read_by_whom_the_system_says(tmp_path):
    (file,) = write_animations(watched(["p"]), tmp_path)
    plain = tmp_path / "plain"
    plain.touch()
    assert os.stat(file).st_mode == os.stat(plain).st_mode


def test_wrong_arguments(tmp_path):
    with pytest.raises(TypeError, match=r"monitor=History\(.*; expected an AblationCAMMonitor"):
        write_animations(watched().history, tmp_path)
    with pytest.raises(TypeError, match=r"folder=None; expected a path"):
        write_animations(watched(), None)
    with pytest.raises(ValueError, match="monitor has no pass yet"):
        write_animations(watched(passes=0), tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match=r"folder='.*file' is a file; expected a folder"):
        write_animations(watched(), file)
