"""Regions: kept small in a run, and smaller in records."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_ablationcam.records.regions import check_runs, runs_of
from lightning_ablationcam.run.regions import MAX_SIDE, Regions

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))


def cells_of(runs, shape):
    """The cells that runs describe, read without any of the package's code."""
    lengths, length, shift = [], 0, 0
    for byte in runs:
        length += (byte % 128) << shift
        shift += 7
        if byte < 128:
            lengths.append(length)
            length = shift = 0
    cells = [bool(turn % 2) for turn, length in enumerate(lengths) for _ in range(length)]
    return np.array(cells, bool).reshape(shape)


@given(MASKS)
def test_runs_come_back_as_they_were(mask):
    runs = runs_of(mask)
    check_runs(runs, mask.shape)
    assert np.array_equal(cells_of(runs, mask.shape), mask)


def test_long_runs_take_several_bytes():
    for cells in (127, 128, 16383, 16384):
        mask = np.zeros((1, cells), bool)
        runs = runs_of(mask)
        assert len(runs) == (1 if cells < 128 else 2 if cells < 16384 else 3)
        assert np.array_equal(cells_of(runs, mask.shape), mask)


@pytest.mark.parametrize(
    "runs", [b"", b"\x05", b"\x07", b"\x86", b"\xff\xff\xff\xff\xff\x01", b"\x06\x80", b"\x03\x04"]
)
def test_runs_that_do_not_fill_the_cells_are_refused(runs):
    check_runs(b"\x06", (2, 3))
    with pytest.raises(ValueError, match="does not fill 2 x 3 cells"):
        check_runs(runs, (2, 3))


def test_an_outline_takes_a_few_hundred_bytes():
    y, x = np.mgrid[0:MAX_SIDE, 0:MAX_SIDE]
    assert len(runs_of((y - 64) ** 2 + (x - 50) ** 2 < 40**2)) < 200


@given(arrays(np.bool_, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))))
def test_small_regions_are_kept_as_they_are(masks):
    regions = Regions.of(torch.from_numpy(masks))
    assert np.array_equal(regions.masks(), masks)
    assert regions.bits.shape == (len(masks), -(-masks[0].size // 8))


def test_large_regions_are_reduced_and_none_is_lost():
    masks = torch.zeros(3, 512, 1024, dtype=torch.bool)
    masks[0, 128:384, 256:512] = True
    masks[1, 7, 9] = True
    small = Regions.of(masks).masks()
    assert small.shape == (3, 64, 128)
    expected = np.zeros((64, 128), bool)
    expected[16:48, 32:64] = True
    assert np.array_equal(small[0], expected)
    assert np.argwhere(small[1]).tolist() == [[0, 1]]
    assert not small[2].any()
