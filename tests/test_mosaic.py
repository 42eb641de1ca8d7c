"""Slices of volumes beside each other, and signals as curves."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_ablationcam.render.curves import PAPER, curve_picture
from lightning_ablationcam.render.mosaic import MAX_SIDE, MAX_TILES, MIN_SIDE, Mosaic, flat_maps

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("depth", "height", "width", "columns", "rows"),
    [
        (1, 4, 4, 1, 1),
        (2, 4, 4, 2, 1),
        (4, 4, 4, 2, 2),
        (8, 4, 4, 3, 3),
        (16, 7, 7, 4, 4),
        (100, 4, 4, 4, 4),
        (4, 2, 8, 1, 4),
        (4, 8, 2, 4, 1),
        (3, 1, 1, 2, 2),
    ],
)
def test_tiles_are_as_near_to_a_square_as_possible(depth, height, width, columns, rows):
    mosaic = Mosaic(depth, height, width)
    assert (mosaic.columns, mosaic.rows) == (columns, rows)
    assert mosaic.cells == (rows * (height + 1) - 1, columns * (width + 1) - 1)


def test_of_many_depth_positions_some_are_shown():
    shown = Mosaic(50, 2, 2).shown
    assert len(shown) == MAX_TILES
    assert (shown[0], shown[-1]) == (0, 49)
    assert Mosaic(5, 2, 2).shown == [0, 1, 2, 3, 4]


def test_a_tile_shows_the_slice_in_the_middle_of_its_depth_position():
    assert Mosaic(4, 2, 2).slices(16) == [2, 6, 10, 14]
    assert Mosaic(4, 2, 2).slices(4) == [0, 1, 2, 3]
    assert Mosaic(4, 2, 2).slices(1) == [0, 0, 0, 0]
    assert Mosaic(1, 2, 2).slices(9) == [4]


def test_maps_lie_in_their_tiles_with_a_cell_between_them():
    maps = np.arange(1, 2 * 3 * 2 * 2 + 1, dtype=np.float32).reshape(2, 3, 2, 2)
    flat = flat_maps(maps)
    assert flat.shape == (2, 5, 5)
    assert flat.dtype == np.float32
    assert flat[0].tolist() == [
        [1, 2, 0, 5, 6],
        [3, 4, 0, 7, 8],
        [0, 0, 0, 0, 0],
        [9, 10, 0, 0, 0],
        [11, 12, 0, 0, 0],
    ]
    assert np.array_equal(flat[1, :2, :2], maps[1, 0])


def test_maps_of_one_and_two_dimensions_stay_as_they_are():
    maps = RANDOM.random((2, 3, 4))
    assert flat_maps(maps) is maps
    assert flat_maps(maps[:, 0]).shape == (2, 1, 4)
    for shape in ((2,), (2, 1, 1, 1, 1)):
        with pytest.raises(ValueError, match="one to three spatial dimensions"):
            flat_maps(np.zeros(shape))


def test_the_tiles_of_pictures_coincide_with_those_of_maps():
    mosaic = Mosaic(5, 3, 4)
    cell = mosaic.cell_pixels((90, 132))
    assert cell == (30, 33)
    tiles = RANDOM.integers(1, 255, (1, 5, 90, 132, 3), np.uint8)
    picture = mosaic.laid_out(tiles, cell, (7, 8, 9))[0]
    inside = flat_maps(np.ones((1, 5, 3, 4)))[0].astype(bool)
    covered = np.kron(inside, np.ones(cell, bool))
    assert covered.shape == picture.shape[:2]
    assert (picture[~covered] == (7, 8, 9)).all()
    assert (picture[covered].sum(axis=1) != 24).any()
    assert mosaic.fits(picture[None])
    assert not mosaic.fits(RANDOM.integers(1, 255, picture[None].shape))
    assert not mosaic.fits(picture[None, :-1])
    assert not mosaic.fits(picture)
    assert Mosaic(1, 3, 4).fits(np.zeros((2, 6, 8, 3)))


def test_mosaics_are_legible_and_bounded_and_keep_their_proportions():
    mosaic = Mosaic(16, 8, 8)
    large = mosaic.cell_pixels((2000, 500))
    assert MAX_SIDE - 35 <= max(np.multiply(mosaic.cells, large)) <= MAX_SIDE
    assert large[0] / large[1] == pytest.approx(4, rel=0.2)
    small = mosaic.cell_pixels((8, 16))
    assert MIN_SIDE - 35 <= max(np.multiply(mosaic.cells, small)) <= MIN_SIDE
    assert Mosaic(1, 1000, 1000).cell_pixels((10, 10)) == (1, 1)


def ink(picture):
    return (picture != PAPER).any(axis=2)


def test_a_curve_lies_where_its_samples_are():
    signal = np.zeros((1, 8))
    signal[0, 5] = 1
    drawn = ink(curve_picture(signal))
    assert drawn.shape == (168, 336)
    top = np.flatnonzero(drawn[:60].any(axis=0))
    # The sixth of eight parts is the pixels 210 to 251.
    assert abs((top.min() + top.max()) / 2 - 231) < 3
    assert drawn[150:, 30:180].any(axis=0).all()


def test_up_to_three_channels_share_a_scale_and_more_have_lanes():
    rising = np.linspace(0, 1, 100)
    together = curve_picture(np.stack([rising, rising / 10]))
    assert ink(together)[:, 300:].any(axis=1).sum() > 8
    lanes = curve_picture(np.stack([rising * factor for factor in range(1, 13)]))
    assert lanes.shape == (336, 336, 3)
    assert all(ink(lanes)[top : top + 28].any() for top in range(0, 336, 28))
    assert curve_picture(np.ones((40, 10))).shape == (336, 336, 3)


def test_long_signals_keep_their_peaks():
    signal = np.zeros((1, 100_000))
    signal[0, 77_777] = 1
    drawn = ink(curve_picture(signal))
    assert drawn[:40, 255:268].any()


@pytest.mark.parametrize("length", [1, 20, 5000])
def test_what_is_not_finite_is_left_out(length):
    signal = np.ones((2, length))
    signal[0] = np.nan
    signal[1, : length // 2] = np.inf
    drawn = ink(curve_picture(signal))
    assert drawn.any()
    assert not drawn[:, : 336 // 2 - 20].any()
    assert not ink(curve_picture(np.full((1, length), np.nan))).any()
