"""Multispectral images, whole numbers, signals and volumes as they look."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_ablationcam import AblationResult, ProbeSet
from lightning_ablationcam.probes.display import checked_bands
from lightning_ablationcam.render.curves import PAPER
from lightning_ablationcam.render.mosaic import flat_maps
from lightning_ablationcam.render.style import BACKGROUND


def test_bands_are_shown_in_their_order():
    levels = torch.tensor([0.0, 0.2, 0.4, 0.6, 1.0]).view(1, 5, 1, 1).expand(1, 5, 2, 2)
    shown = ProbeSet(levels, mean=0.0, std=1.0, bands=(3, 2, 1)).pictures()
    assert shown[0, 0, 0].tolist() == [153, 102, 51]
    assert ProbeSet(levels, mean=0, bands=[4]).pictures()[0, 0, 0].tolist() == [255] * 3
    assert ProbeSet(levels, mean=0, bands=2).pictures()[0, 0, 0].tolist() == [102] * 3
    # Stretched over the range of what is shown; before that, normalisation is undone by channel.
    assert ProbeSet(levels, bands=(3, 2, 1)).pictures()[0, 0, 0].tolist() == [255, 127, 0]
    means = [0, 0, 0.1, 0.2, 0.3]
    shown = ProbeSet(levels, mean=means, std=1, bands=(3, 2, 1)).pictures()
    assert shown[0, 0, 0].tolist() == [204, 128, 51]


def test_bands_are_checked():
    assert checked_bands(None, 3) is None
    assert checked_bands((5, 5, 5, 5), 6, signal=True) == (5, 5, 5, 5)
    with pytest.raises(ValueError, match=r"bands=.*; expected one or more of the channels 0 to"):
        checked_bands(np.array([], int), 6, signal=True)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.int64])
def test_whole_numbers_are_shown_over_their_own_range(dtype):
    raw = torch.tensor([100, 100 + 51, 100 + 255]).view(1, 1, 1, 3).to(dtype)
    assert ProbeSet(raw).pictures()[0, 0, :, 0].tolist() == [0, 51, 255]
    assert ProbeSet(raw, mean=0.5, std=0.5).pictures()[0, 0, :, 0].tolist() == [0, 51, 255]


def test_signals_are_drawn():
    probes = ProbeSet(torch.rand(2, 3, 90), bands=[0, 2])
    pictures = probes.pictures((1, 12))
    assert pictures.shape == (2, 168, 336, 3)
    assert (pictures != PAPER).any(axis=(1, 2, 3)).all()
    assert np.array_equal(pictures, probes.pictures())


def volumes():
    """Slice i of 16 is as bright as i."""
    levels = torch.arange(16.0).view(1, 1, 16, 1, 1).expand(2, 1, 16, 24, 24) / 15
    return ProbeSet(levels, mean=0, std=1)


def test_volumes_are_mosaics_with_the_tiles_of_the_map():
    drawn = volumes().pictures((4, 3, 3))
    assert drawn.shape == (2, 7 * 48, 7 * 48, 3)
    corners = [drawn[0, y, x, 0] for y in (0, 192) for x in (0, 192)]
    assert corners == [round(i / 15 * 255) for i in (2, 6, 10, 14)]
    assert (drawn[0, 144:192] == BACKGROUND).all()
    heat = flat_maps(np.ones((1, 4, 3, 3), np.float32))
    assert (heat.shape[1] * 48, heat.shape[2] * 48) == drawn.shape[1:3]


def test_slices_take_a_whole_number_of_pixels_for_each_cell():
    probes = ProbeSet(torch.rand(1, 1, 4, 100, 500))
    assert probes.pictures((2, 3, 7)).shape == (1, 7 * 33, 7 * 71, 3)


def test_small_slices_are_enlarged_by_pixels_and_larger_ones_smoothly():
    ramp = torch.linspace(0, 1, 8).expand(1, 1, 1, 8, 8)
    crisp = ProbeSet(ramp, mean=0).pictures((1, 8, 8))
    assert crisp.shape == (1, 336, 336, 3)
    assert len(np.unique(crisp)) == 8
    ramp = torch.linspace(0, 1, 200).expand(1, 1, 1, 200, 200)
    assert len(np.unique(ProbeSet(ramp, mean=0).pictures((1, 8, 8)))) > 200


def test_without_a_map_all_slices_are_shown():
    assert volumes().pictures().shape == (2, 35 * 9, 35 * 9, 3)


def test_maps_with_less_or_more_depth_than_the_picture():
    # A map without depth is of all slices together: the middle one stands for them.
    flat = volumes().pictures((6, 6))
    assert flat.shape == (2, 336, 336, 3)
    assert flat[0, 0, 0, 0] == round(8 / 15 * 255)
    image = ProbeSet(torch.rand(1, 3, 8, 8))
    assert image.pictures((4, 4)).shape == (1, 8, 8, 3)
    repeated = image.pictures((2, 4, 4))
    assert repeated.shape == (1, 4 * 37, 9 * 37, 3)
    assert np.array_equal(repeated[:, :, : 4 * 37], repeated[:, :, 5 * 37 :])


def result(heatmaps):
    count = len(heatmaps)
    zeros = torch.zeros(count, 1)
    return AblationResult(
        heatmaps, zeros, zeros, zeros[:, 0], zeros, torch.zeros(count).long(), "conv", "replay"
    )


def test_results_draw_signals_and_volumes():
    maps = torch.rand(2, 4, 3, 3)
    drawn = result(maps).draw(volumes().pictures(maps.shape[1:]))
    assert drawn.dtype == np.uint8
    signals = ProbeSet(torch.rand(2, 1, 60))
    assert result(torch.rand(2, 1, 6)).draw(signals.pictures()).dtype == np.uint8
    with pytest.raises(ValueError, match=r"pictures\(result.heatmaps.shape\[1:\]\)"):
        result(maps).draw(volumes().pictures())


def test_images_without_channels_are_grey_under_a_map_of_two_dimensions():
    grey = torch.rand(2, 8, 9)
    plain = ProbeSet(grey[:, None]).pictures((4, 4))
    assert (ProbeSet(grey).pictures((4, 4)) == plain).all()
    assert ProbeSet(grey).pictures((1, 9)).shape != plain.shape
