from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_ablationcam.measures.change import drift
from lightning_ablationcam.measures.focus import HOTTEST_SHARE, concentration
from lightning_ablationcam.measures.registry import MEASURES, Maps, measured
from lightning_ablationcam.method.balance import balance_of


def random_maps(count=5, side=7, seed=0):
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(seed))


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


def test_a_pass_has_every_measure_that_is_known():
    before, now = random_maps(seed=1), random_maps(seed=2)
    balance = torch.linspace(0, 1, 5).double()
    first, second = measured(Maps(now, None)), measured(Maps(now, before, balance))
    assert first.keys() == {"concentration"}
    assert second.keys() == {measure.name for measure in MEASURES}
    assert torch.equal(second["drift"], drift(before, now))
    for measure in MEASURES:
        values = second[measure.name]
        assert values.shape == (5,)
        assert values.dtype == torch.float64
        assert measure.axis.low <= values.min() <= values.max() <= measure.axis.high
        assert measure.axis.low <= measure.neutral <= measure.axis.high


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
