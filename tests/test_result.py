"""Results in files: nothing is lost, nothing is run, and other files are told apart."""

from __future__ import annotations

import json
import os
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from lightning_ablationcam import AblationResult, ablation_cam

IMAGES = 3


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * 16, 6),
    ).eval()  # fmt: skip


def explained(**options):
    return ablation_cam(network(), ["1", "3"], torch.randn(IMAGES, 3, 8, 8), **options)


def assert_same(one, other, path="result"):
    for name in (field.name for field in fields(AblationResult)):
        mine, found = getattr(one, name), getattr(other, name)
        assert type(mine) is type(found), f"{path}.{name}"
        if isinstance(mine, torch.Tensor):
            assert mine.dtype == found.dtype, f"{path}.{name}"
            # NaN where nothing is explained is the same, to the last bit.
            assert mine.numpy().tobytes() == found.numpy().tobytes(), f"{path}.{name}"
            assert mine.shape == found.shape, f"{path}.{name}"
        elif isinstance(mine, tuple):
            assert len(mine) == len(found), f"{path}.{name}"
            for i, (a, b) in enumerate(zip(mine, found, strict=True)):
                assert_same(a, b, f"{path}.{name}[{i}]")
        else:
            assert mine == found, f"{path}.{name}"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"also": ["rival", 2]},
        {"score": "probability"},
        {"score": lambda output, classes: output.sum(1)},
        {"engine": "replay"},
        {"tolerance": 0.05},
    ],
    ids=["plain", "also", "probability", "own score", "replay", "tolerance"],
)
def test_a_result_comes_back_to_the_last_bit(tmp_path, options):
    result = explained(**options)
    assert result.further, "several layers"
    assert_same(result, AblationResult.load(result.save(tmp_path / "maps.npz")))


def test_a_network_in_float64(tmp_path):
    result = ablation_cam(network().double(), "1", torch.randn(2, 3, 8, 8).double())
    assert result.drops.dtype == torch.float64
    assert_same(result, AblationResult.load(result.save(tmp_path / "maps.npz")))


def test_the_names_are_those_of_the_attributes(tmp_path):
    result = explained(also=["rival"])
    with np.load(result.save(tmp_path / "maps.npz")) as file:
        np.testing.assert_array_equal(file["heatmaps"], result.heatmaps.numpy())
        rival = file["further/0/also/0/heatmaps"]
        np.testing.assert_array_equal(rival, result.further[0].also[0].heatmaps.numpy())
        about = json.loads(str(file["about"]))
    assert (about["kind"], about["layer"]) == ("AblationResult", result.layer)
    assert about["also"][0]["role"] == "rival"


def test_a_suffix_is_added_and_a_file_is_replaced(tmp_path):
    (tmp_path / "cat.v2.npz").write_text("before")
    file = explained().save(str(tmp_path / "cat.v2"))
    assert file == tmp_path / "cat.v2.npz"
    assert AblationResult.load(file).scores.shape == (IMAGES,)
    assert [each.name for each in tmp_path.iterdir()] == ["cat.v2.npz"]


def test_what_was_there_stays_where_nothing_can_be_written(tmp_path, monkeypatch):
    file = explained().save(tmp_path / "a.npz")
    before = file.read_bytes()

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        explained().save(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


class Leaves:
    """Whoever unpickles it leaves a folder behind."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_pickles_are_not_read(tmp_path):
    file, place = tmp_path / "evil.npz", tmp_path / "left"
    np.savez(file, about=np.array([Leaves(place)], dtype=object))
    with pytest.raises(ValueError, match=r"evil\.npz' holds no AblationResult"):
        AblationResult.load(file)
    assert not place.exists()


def other_arrays(file):
    np.savez(file, x=np.arange(3))


def half_of_it(file):
    content = explained().save(file).read_bytes()
    file.write_bytes(content[: len(content) // 2])


def text(file):
    file.write_text("heat")


def nothing(file):
    file.write_bytes(b"")


def one_array(file):
    with file.open("wb") as opened:
        np.save(opened, np.arange(3))


def without_heat(file):
    with np.load(explained().save(file)) as opened:
        arrays = {name: opened[name] for name in opened.files if name != "heatmaps"}
    np.savez(file, **arrays)


@pytest.mark.parametrize("make", [other_arrays, half_of_it, text, nothing, one_array, without_heat])
def test_a_file_of_something_else(tmp_path, make):
    make(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.npz' holds no (whole )?AblationResult"):
        AblationResult.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"version": 99}, r"later version .*\(format 99;"), ({"kind": "Soup"}, "holds a Soup, not a")],
)
def test_a_later_version_and_another_kind(tmp_path, change, said):
    file = explained().save(tmp_path / "a.npz")
    with np.load(file) as opened:
        arrays = {name: opened[name] for name in opened.files}
    about = json.loads(str(arrays["about"])) | change
    np.savez(file, **{**arrays, "about": np.array(json.dumps(about))})
    with pytest.raises(ValueError, match=said):
        AblationResult.load(file)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        AblationResult.load(tmp_path / "none.npz")
