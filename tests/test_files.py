from __future__ import annotations

import pytest

from lightning_ablationcam.files import replaced


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path):
    target = tmp_path / ("x" * 255)
    target.write_text("old")
    with replaced(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def fail():
        with replaced(target) as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
