from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lightning_ablationcam import measures
from lightning_ablationcam.measures import (
    agreement,
    border_heat,
    concentration,
    drift,
    mask_heat,
    pointing_game,
    rank_correlation,
    shift,
    structural_similarity,
)
from lightning_ablationcam.measures.focus import HOTTEST_SHARE
from lightning_ablationcam.measures.registry import MEASURES
from lightning_ablationcam.method.balance import balance_of


def random_maps(count=5, side=7, seed=0):
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(seed))


def random_heat(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def one_hot(shape, *place, heat=1.0):
    heatmap = torch.zeros(1, *shape)
    heatmap[(0, *place)] = heat
    return heatmap


def overlap(a, a_cells, b, b_cells):
    """Of cell ``a`` of ``a_cells``, the share that cell ``b`` of ``b_cells`` covers."""
    low = max(Fraction(a, a_cells), Fraction(b, b_cells))
    high = min(Fraction(a + 1, a_cells), Fraction(b + 1, b_cells))
    return max(high - low, Fraction(0)) * a_cells


def places(shape):
    return itertools.product(*map(range, shape))


SHAPES = [(1,), (9,), (4, 4), (7, 7), (5, 13), (3, 4, 5)]


def test_drift_is_one_minus_the_cosine():
    before, after = random_maps(seed=1), random_maps(seed=2)
    a, b = before.double().flatten(1).numpy(), after.double().flatten(1).numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(drift(before, after), 1 - cosine, atol=1e-12)


@given(st.floats(1e-30, 1e30), st.integers(0, 100))
def test_drift_does_not_see_how_hot_a_map_is(factor, seed):
    maps = random_maps(seed=seed)
    assert drift(maps, (maps.double() * factor).float()).max() < 1e-12
    other = random_maps(seed=seed + 1)
    torch.testing.assert_close(drift(maps, other * factor), drift(maps, other), atol=1e-7, rtol=0)
    assert torch.equal(drift(maps, other), drift(other, maps))


def test_drift_of_cold_and_broken_maps():
    cold, warm, broken = torch.zeros(1, 2, 2), torch.ones(1, 2, 2), torch.full((1, 2, 2), torch.nan)
    assert drift(cold, cold) == 0
    assert drift(cold, warm) == drift(warm, cold) == 1
    assert drift(warm, warm) == 0
    assert drift(broken, warm).isnan()
    assert drift(cold, broken).isnan()
    assert drift(warm, warm * torch.inf).isnan()


def test_drift_needs_one_shape():
    with pytest.raises(ValueError, match=r"before has shape \(1, 2, 2\), after \(1, 3, 3\)"):
        drift(torch.ones(1, 2, 2), torch.ones(1, 3, 3))


def test_concentration_is_the_share_of_the_hottest_tenth():
    maps = random_maps(side=10)
    flat = np.sort(maps.double().flatten(1).numpy(), axis=1)
    np.testing.assert_allclose(concentration(maps), flat[:, -10:].sum(1) / flat.sum(1))


def test_concentration_counts_a_part_of_the_last_position():
    # A tenth of 7 x 7 positions are 4.9.
    maps = random_maps()
    flat = np.sort(maps.double().flatten(1).numpy(), axis=1)[:, ::-1]
    expected = (flat[:, :4].sum(1) + 0.9 * flat[:, 4]) / flat.sum(1)
    np.testing.assert_allclose(concentration(maps), expected)


@given(st.integers(1, 30), st.floats(1e-30, 1e30))
def test_concentration_of_even_heat_is_a_tenth(side, factor):
    even = torch.full((1, side, side), factor)
    assert concentration(even).item() == pytest.approx(0.1)
    assert concentration(even * 0).item() == 0.1


def test_concentration_of_one_hot_place_and_of_broken_maps():
    point = torch.zeros(1, 4, 4)
    point[0, 1, 2] = 3
    assert concentration(point) == 1
    point[0, 0, 0] = torch.nan
    assert concentration(point).isnan()
    assert concentration(torch.full((1, 4, 4), torch.inf)).isnan()


def test_concentration_goes_from_the_share_of_heat_that_is_spread_evenly():
    [axis] = [measure.axis for measure in MEASURES if measure.name == "concentration"]
    assert axis.low == HOTTEST_SHARE


def test_balance_is_the_share_that_speaks_for_the_class():
    drops = torch.tensor([[3.0, -1.0, 0.0], [0.0, 0.0, 0.0], [-2.0, -1.0, 0.0], [1.0, 0.0, 2.0]])
    assert balance_of(drops).tolist() == [0.75, 0.5, 0.0, 1.0]
    for scale in (1e38, 1e-30):
        torch.testing.assert_close(balance_of(drops * scale), balance_of(drops))
    drops[0, 0] = torch.nan
    assert balance_of(drops)[0].isnan()


# ---- change --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_agreement_is_the_cosine(shape):
    first, second = random_heat((4, *shape), 1), random_heat((4, *shape), 2)
    for each, (a, b) in zip(agreement(first, second), zip(first, second, strict=True), strict=True):
        a, b = a.double().flatten().tolist(), b.double().flatten().tolist()
        expected = math.sumprod(a, b) if hasattr(math, "sumprod") else sum(map(float.__mul__, a, b))
        expected /= math.hypot(*a) * math.hypot(*b)
        assert each.item() == pytest.approx(expected, abs=1e-12)


def test_agreement_is_what_drift_leaves():
    first, second = random_maps(seed=1), random_maps(seed=2)
    assert torch.equal(agreement(first, second), 1 - drift(first, second))
    cold = torch.zeros_like(first)
    assert agreement(cold, cold).tolist() == [1.0] * 5
    assert agreement(first, cold).tolist() == [0.0] * 5
    assert agreement(first * torch.nan, first).isnan().all()


def test_agreement_takes_what_histories_hold():
    first, second = random_maps(seed=1).numpy(), random_maps(seed=2).numpy()
    first.flags.writeable = False
    expected = agreement(torch.tensor(first), torch.tensor(second))
    assert torch.equal(agreement(first, second), expected)
    assert torch.equal(
        agreement(torch.tensor(first), second[::-1]),
        expected.new_tensor(
            [
                agreement(torch.tensor(a)[None], torch.tensor(b)[None])
                for a, b in zip(first, second[::-1], strict=True)
            ]
        ),
    )


def test_two_grids_do_not_agree():
    for measure in (agreement, drift):
        with pytest.raises(
            ValueError, match=r"has shape \(2, 3, 3\), .* \(2, 4, 4\); expected heat"
        ):
            measure(torch.ones(2, 3, 3), torch.ones(2, 4, 4))
    with pytest.raises(ValueError, match=r"before has shape \(2, 3\), after \(2, 4\)"):
        shift(torch.ones(2, 3), torch.ones(2, 4), (8,))


@pytest.mark.parametrize("shape", SHAPES)
def test_shift_is_how_far_the_mean_place_moved(shape):
    size = [7, 30, 224][: len(shape)]
    before, after = random_heat((3, *shape), 1), random_heat((3, *shape), 2)

    def center(heat):
        total = sum(heat[place].item() for place in places(shape))
        return [
            sum(heat[p].item() * (p[axis] + 0.5) * size[axis] / shape[axis] for p in places(shape))
            / total
            for axis in range(len(shape))
        ]

    expected = [
        math.dist(center(a), center(b))
        for a, b in zip(before.double(), after.double(), strict=True)
    ]
    np.testing.assert_allclose(shift(before, after, size), expected, rtol=1e-9, atol=1e-12)


def test_shift_by_hand():
    # From the middle of the first cell, 28 pixels down and right, to 3 cells down and 4 right.
    before = one_hot((4, 5), 0, 0, heat=3.0)
    assert shift(before, one_hot((4, 5), 3, 4), (4, 5)).item() == 5
    assert shift(before, one_hot((4, 5), 3, 4), (40, 50)).item() == 50
    assert shift(before, before * 7, (40, 50)).item() == 0
    two = one_hot((4, 5), 0, 0) + one_hot((4, 5), 0, 2, heat=3.0)
    assert shift(before, two, (4, 5)).item() == 1.5


def test_shift_without_a_centre():
    warm, cold = torch.ones(1, 4, 4), torch.zeros(1, 4, 4)
    assert shift(cold, cold, (8, 8)).item() == 0
    assert shift(cold, warm, (8, 8)).isnan()
    assert shift(warm, cold, (8, 8)).isnan()
    for broken in (warm * torch.nan, warm * torch.inf, one_hot((4, 4), 1, 1, heat=torch.inf)):
        assert shift(broken, warm, (8, 8)).isnan()
        assert shift(warm, broken, (8, 8)).isnan()
        assert shift(cold, broken, (8, 8)).isnan()


def test_shift_needs_the_size_of_pictures():
    warm = torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match=r"size=\(8,\) has 1 numbers, .* shape \(1, 4, 4\)"):
        shift(warm, warm, (8,))
    with pytest.raises(ValueError, match="size=0; expected a whole number of at least 1"):
        shift(warm, warm, (8, 0))
    with pytest.raises(TypeError, match=r"size=8\.5; expected a whole number"):
        shift(warm, warm, (8, 8.5))


# ---- focus ---------------------------------------------------------------------------------------


def border_of(place, shape):
    """How much of a cell lies within a tenth of the whole of any side."""
    inside = Fraction(1)
    for at, cells in zip(place, shape, strict=True):
        low = max(Fraction(at, cells), Fraction(1, 10))
        high = min(Fraction(at + 1, cells), Fraction(9, 10))
        inside *= max(high - low, Fraction(0)) * cells
    return float(1 - inside)


@pytest.mark.parametrize("shape", [*SHAPES, (20, 20), (14, 14)])
def test_border_heat_counts_parts_of_cells(shape):
    heat = random_heat((3, *shape))
    expected = [
        sum(border_of(p, shape) * each[p].item() for p in places(shape)) / each.sum().item()
        for each in heat.double()
    ]
    np.testing.assert_allclose(border_heat(heat), expected, rtol=0, atol=1e-12)


def test_border_heat_by_hand():
    # Of 4 x 4 cells the border is 0.4 wide.
    heat = one_hot((4, 4), 1, 2, heat=3.0) + one_hot((4, 4), 0, 1) + one_hot((4, 4), 3, 3)
    assert border_heat(heat).item() == pytest.approx((0.4 + (1 - 0.6 * 0.6)) / 5)
    # Of 7 x 7 cells 0.7, of 20 x 20 cells two.
    assert border_heat(one_hot((7, 7), 0, 3)).item() == pytest.approx(0.7)
    assert border_heat(one_hot((20, 20), 1, 3)).item() == 1
    assert border_heat(one_hot((20, 20), 2, 17)).item() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_border_heat_of_even_and_of_no_heat(shape):
    even = 1 - 0.8 ** len(shape)
    assert border_heat(torch.ones(1, *shape)).item() == pytest.approx(even)
    assert border_heat(torch.zeros(1, *shape)).item() == pytest.approx(even)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("finer", [1, 0.5, 2, 2.7])
def test_mask_heat_counts_parts_of_cells(shape, finer):
    size = [max(1, int(cells * finer)) for cells in shape]
    heat, masks = random_heat((3, *shape), 1), random_heat((3, *size), 2) > 0.6
    masks.flatten(1)[:, 0] = True
    expected = []
    for each, mask in zip(heat.double(), masks, strict=True):
        inside = sum(
            each[place].item()
            * sum(
                float(math.prod(map(overlap, place, shape, pixel, size)))
                for pixel in places(size)
                if mask[pixel]
            )
            for place in places(shape)
        )
        expected.append(inside / each.sum().item())
    np.testing.assert_allclose(mask_heat(heat, masks), expected, rtol=1e-10)


def test_mask_heat_by_hand():
    heat = one_hot((4, 4), 0, 0, heat=3.0) + one_hot((4, 4), 2, 3)
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 0, :2] = mask[0, 4:6, 6:] = True  # Half of the first cell, and the whole other.
    assert mask_heat(heat, mask).item() == (1.5 + 1) / 4
    coarse = torch.tensor([[[True, False], [False, False]]])
    assert mask_heat(heat, coarse).item() == 3 / 4
    # The edge at a third of 4 cells runs through the second.
    third = torch.tensor([[[True, False, False]] * 3])
    assert mask_heat(one_hot((4, 4), 1, 1), third).item() == pytest.approx(1 / 3)


def test_mask_heat_of_no_heat_and_in_no_mask():
    mask = torch.zeros(1, 6, 6, dtype=torch.bool)
    warm, cold = random_heat((1, 4, 4)), torch.zeros(1, 4, 4)
    assert mask_heat(warm, mask).isnan()
    assert mask_heat(cold, mask).isnan()
    mask[0, :2, :3] = True
    assert mask_heat(cold, mask).item() == pytest.approx(6 / 36)
    assert mask_heat(torch.ones(1, 4, 4), mask).item() == pytest.approx(6 / 36)
    assert mask_heat(warm, torch.ones_like(mask)).item() == pytest.approx(1)


def hottest_places(heat, size):
    """The hottest pixels of a map enlarged bilinearly: numpy only, an axis after the other."""
    for axis, pixels in enumerate(size):
        cells = heat.shape[axis]
        at = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
        low = np.minimum(at.astype(int), max(cells - 2, 0))
        part = (at - low).reshape([-1 if each == axis else 1 for each in range(heat.ndim)])
        high = np.minimum(low + 1, cells - 1)
        heat = heat.take(low, axis) * (1 - part) + heat.take(high, axis) * part
    return np.argwhere(np.isclose(heat, heat.max(), rtol=1e-10, atol=0)).tolist()


@pytest.mark.parametrize("shape", [(9,), (4, 4), (5, 13), (3, 4, 5)])
@pytest.mark.parametrize(("tolerance", "masked"), [(0, 0.5), (1, 0.1), (2.5, 0.02), (100, 0.02)])
def test_pointing_game_asks_where_the_hottest_place_is(shape, tolerance, masked):
    size = [31, 17, 23][: len(shape)]
    heat, masks = random_heat((12, *shape), 1), random_heat((12, *size), 2) < masked
    masks.flatten(1)[:, 0] = True
    expected = []
    for each, mask in zip(heat.double().numpy(), masks, strict=True):
        inside, hottest = mask.nonzero().tolist(), hottest_places(each, size)
        near = [min(math.dist(at, pixel) for pixel in inside) <= tolerance for at in hottest]
        expected.append(np.mean(near))
    np.testing.assert_allclose(pointing_game(heat, masks, tolerance), expected)
    assert max(expected) > min(expected) or tolerance == 100


def test_pointing_game_by_hand():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1:3, 1] = True
    assert pointing_game(one_hot((4, 4), 1, 1), mask).item() == 1
    assert pointing_game(one_hot((4, 4), 1, 3), mask).item() == 0
    assert pointing_game(one_hot((4, 4), 1, 3), mask, tolerance=1.9).item() == 0
    assert pointing_game(one_hot((4, 4), 1, 3), mask, tolerance=2).item() == 1
    # A diagonal step is longer than 1.
    assert pointing_game(one_hot((4, 4), 0, 0), mask, tolerance=1).item() == 0
    assert pointing_game(one_hot((4, 4), 0, 0), mask, tolerance=1.5).item() == 1
    assert pointing_game(one_hot((4, 4), 0, 3), mask, tolerance=2).item() == 0
    assert pointing_game(one_hot((4, 4), 0, 3), mask, tolerance=2.24).item() == 1


def test_pointing_game_where_places_tie():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :, :1] = True
    two = one_hot((4, 4), 1, 0) + one_hot((4, 4), 1, 3)
    assert pointing_game(two, mask).item() == pointing_game(two.flip(2), mask).item() == 0.5
    assert pointing_game(torch.ones(1, 4, 4), mask).item() == 0.25
    # A third is not a whole number of pixels: rounding must not choose between the two sides.
    fine = torch.zeros(1, 30, 30, dtype=torch.bool)
    fine[0, :, :15] = True
    middle = one_hot((7, 7), 3, 3)
    assert pointing_game(middle, fine).item() == 0.5


def test_pointing_game_without_a_hottest_place_or_a_mask():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    warm = random_heat((1, 4, 4))
    assert pointing_game(warm, mask).isnan()
    assert pointing_game(warm, mask, tolerance=100).isnan()
    mask[0, 3, 3] = True
    assert pointing_game(torch.zeros(1, 4, 4), mask).isnan()
    assert not pointing_game(warm, mask).isnan()
    for place in places((4, 4)):
        warm[(0, *place)] = torch.nan
        assert pointing_game(warm, mask).isnan()
        warm[(0, *place)] = torch.inf
        assert pointing_game(warm, mask).isnan()
        warm[(0, *place)] = 0.5


def test_pointing_game_needs_a_tolerance_of_pixels():
    heat, mask = torch.ones(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="tolerance=-1; expected at least 0 pixels"):
        pointing_game(heat, mask, -1)
    for tolerance in ("15", None, torch.nan, True):
        with pytest.raises(TypeError, match=r"tolerance=.*; expected a number of pixels"):
            pointing_game(heat, mask, tolerance)


@pytest.mark.parametrize("measure", [mask_heat, pointing_game])
def test_masks_must_be_bool_and_fit(measure):
    heat = torch.ones(2, 4, 4)
    with pytest.raises(TypeError, match=r"masks=.* has dtype torch.float32; expected bool"):
        measure(heat, torch.ones(2, 4, 4))
    for shape in ((1, 4, 4), (2, 4), (2, 1, 4, 4), ()):
        with pytest.raises(ValueError, match=r"masks has shape .* heatmaps \(2, 4, 4\); expected"):
            measure(heat, torch.ones(shape, dtype=torch.bool))


# ---- likeness ------------------------------------------------------------------------------------


def loop_ranks(values):
    """The rank of each value; of equal ones the mean."""
    return [
        sum(other < each for other in values) + (sum(other == each for other in values) + 1) / 2
        for each in values
    ]


@pytest.mark.parametrize("shape", [(9,), (4, 4), (5, 13), (3, 4, 5)])
def test_rank_correlation_is_that_of_ranks_with_ties(shape):
    first, second = random_heat((4, *shape), 1), random_heat((4, *shape), 2)
    first, second = (first * 9).round(), (second - 0.5).relu()  # Both have ties.
    expected = [
        np.corrcoef(loop_ranks(a.flatten().tolist()), loop_ranks(b.flatten().tolist()))[0, 1]
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(rank_correlation(first, second), expected, atol=1e-12)
    spearman = pytest.importorskip("torchmetrics.functional").spearman_corrcoef
    theirs = spearman(first.flatten(1).T.contiguous(), second.flatten(1).T.contiguous())
    np.testing.assert_allclose(rank_correlation(first, second), theirs, atol=1e-4)


def test_rank_correlation_by_hand():
    first = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert rank_correlation(first, first.exp()).item() == 1
    assert rank_correlation(first, -first).item() == -1
    assert rank_correlation(first, torch.tensor([[2.0, 1.0, 4.0, 3.0]])).item() == pytest.approx(
        0.6
    )


def test_rank_correlation_of_maps_that_rank_nothing():
    rising, even = torch.arange(16.0).view(1, 4, 4), torch.ones(1, 4, 4)
    assert rank_correlation(even, even * 0).item() == 1
    assert rank_correlation(rising, even).item() == rank_correlation(even, rising).item() == 0
    for broken in (even * torch.nan, even * torch.inf, one_hot((4, 4), 1, 1, heat=torch.nan)):
        assert rank_correlation(rising, broken).isnan()
        assert rank_correlation(broken, rising).isnan()
        assert structural_similarity(rising, broken).isnan()
        assert structural_similarity(broken, rising).isnan()


def loop_similarity(a, b):
    """SSIM of two maps of 32 x 32 or more: a Gaussian window at each place, mirrored at the rim."""
    a, b = a / a.max(), b / b.max()
    steps = np.arange(-5, 6)
    window = np.exp(-(steps**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    a_wide, b_wide = np.pad(a, 5, mode="reflect"), np.pad(b, 5, mode="reflect")
    found = []
    for top, left in np.ndindex(a.shape):
        x, y = (wide[top : top + 11, left : left + 11] for wide in (a_wide, b_wide))
        mean_x, mean_y = (window * x).sum(), (window * y).sum()
        var_x, var_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
        both = (window * (x - mean_x) * (y - mean_y)).sum()
        light = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
        found.append(light * (2 * both + 0.03**2) / (var_x + var_y + 0.03**2))
    return np.mean(found)


def test_structural_similarity_is_that_of_a_loop():
    first, second = random_heat((2, 32, 40), 1) * 3, random_heat((2, 32, 40), 2)
    second[1] = first[1] + second[1]
    expected = [
        loop_similarity(a, b)
        for a, b in zip(first.double().numpy(), second.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(structural_similarity(first, second), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(7, 7), (40, 33), (5, 6, 7)])
def test_structural_similarity_is_that_of_torchmetrics(shape):
    ssim = pytest.importorskip("torchmetrics.functional.image").structural_similarity_index_measure
    first, second = random_heat((2, *shape), 1), random_heat((2, *shape), 2)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    large = [
        F.interpolate(
            (heat / heat.flatten(1).amax(1).view(-1, *[1] * len(shape)))[:, None],
            [max(32, side) for side in shape],
            mode=mode,
        )
        for heat in (first, second)
    ]
    theirs = ssim(*large, data_range=1.0, reduction="none")
    np.testing.assert_allclose(structural_similarity(first, second), theirs, atol=1e-4)


@pytest.mark.parametrize("shape", [(1,), (9,), (1, 1), (4, 4), (7, 7), (2, 3, 4)])
def test_structural_similarity_of_small_maps(shape):
    first, second = random_heat((2, *shape), 1), random_heat((2, *shape), 2)
    cold = torch.zeros_like(first)
    torch.testing.assert_close(structural_similarity(first, first * 1e30), torch.ones(2).double())
    torch.testing.assert_close(structural_similarity(cold, cold), torch.ones(2).double())
    assert (structural_similarity(first, cold) < 0.1).all()
    if first[0].numel() > 1:
        found = structural_similarity(first, second)
        assert (found < 0.95).all()
        torch.testing.assert_close(found, structural_similarity(second, first))


@pytest.mark.parametrize("measure", [rank_correlation, structural_similarity])
def test_likeness_needs_one_shape(measure):
    assert measure(torch.ones(0, 4, 4), torch.ones(0, 4, 4)).shape == (0,)
    with pytest.raises(ValueError, match=r"first has shape \(1, 2, 2\), second \(1, 3, 3\)"):
        measure(torch.ones(1, 2, 2), torch.ones(1, 3, 3))


# ---- all of them ---------------------------------------------------------------------------------


def every_measure(heat, other, masks):
    """(M, N) every measure of heatmaps, by name."""
    size = [32] * (heat.ndim - 1)
    return {
        "drift": drift(heat, other),
        "agreement": agreement(heat, other),
        "shift": shift(heat, other, size),
        "concentration": concentration(heat),
        "border_heat": border_heat(heat),
        "mask_heat": mask_heat(heat, masks),
        "pointing_game": pointing_game(heat, masks),
        "pointing_game_near": pointing_game(heat, masks, tolerance=2),
    }


def test_the_measures_of_heat_are_all_tested_here():
    heat, masks = torch.ones(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    tested = {name.removesuffix("_near") for name in every_measure(heat, heat, masks)}
    assert tested == {name for name, home in measures._HOMES.items() if home in ("change", "focus")}


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.sampled_from([1.0, 1e38, 1e-38, 1e-45]),
    st.integers(0, 1000),
)
def test_neither_scale_nor_company_matter(shape, factor, seed):
    heat, other = random_heat((5, *shape), seed), random_heat((5, *shape), seed + 1)
    if factor < 1e-40:
        heat = (heat > 0.5).float()  # Of subnormal numbers there are too few for more.
    heat[0] = 0
    heat[3], other[3] = torch.nan, torch.inf
    masks = random_heat((5, *[4 * side for side in shape]), seed) > 0.5
    masks.flatten(1)[:, 0] = True
    expected = every_measure(heat, other, masks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = every_measure(heat * factor, other, masks)
    backwards = every_measure(heat.flip(0), other.flip(0), masks.flip(0))
    for name, values in expected.items():
        assert values.shape == (5,)
        assert values.dtype == torch.float64
        torch.testing.assert_close(scaled[name], values, rtol=1e-5, atol=1e-5, equal_nan=True)
        torch.testing.assert_close(backwards[name].flip(0), values, equal_nan=True)
        known = values[values.isfinite()]
        assert (known >= 0).all()
        assert name == "shift" or (known <= 1 + 1e-12).all()
        assert not values.isinf().any()
        assert values[3].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_dtype_of_heat_and_arrays(dtype):
    heat, other = (random_maps(seed=seed).to(dtype) for seed in (1, 2))
    masks = random_heat((5, 20, 20)) > 0.5
    expected = every_measure(heat.double(), other.double(), masks)
    for name, values in every_measure(heat, other, masks).items():
        assert torch.equal(values, expected[name])
    if dtype is not torch.bfloat16:
        arrays = every_measure(heat.numpy(), other.numpy(), masks.numpy())
        for name, values in arrays.items():
            assert torch.equal(values, expected[name])


def test_no_probes_have_no_measures():
    heat, masks = torch.ones(0, 4, 4), torch.ones(0, 4, 4, dtype=torch.bool)
    for values in every_measure(heat, heat, masks).values():
        assert values.shape == (0,)


def test_the_package_holds_every_function():
    for name in measures.__all__:
        assert getattr(measures, name).__name__ == name
        assert name in dir(measures)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        measures.nothing  # noqa: B018


@pytest.mark.parametrize("side", [1, 2, 3, 6, 7, 9, 13, 14, 18, 22, 28])
def test_no_limit_is_crossed_by_rounding(side):
    even, cold = torch.ones(1, side, side), torch.zeros(1, side, side)
    assert border_heat(even) == border_heat(cold) == 0.36
    assert mask_heat(even, torch.ones(1, 5, 5, dtype=torch.bool)) == 1
    if side > 3:  # Of fewer than ten places a tenth is no place.
        assert concentration(even) == concentration(cold) == 0.1
