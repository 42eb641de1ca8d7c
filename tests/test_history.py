from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.checkpoint import checked_state
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.history import MAX_PASSES, MIN_PASSES, Further, History, Pass
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.passes import Passes, _held
from lightning_ablationcam.run.regions import Regions


def seen(step, *balances, peak=4.0):
    cell = np.array([[0.0, peak / 2], [peak, 0.0]], dtype=np.float32)
    heatmaps = np.stack([cell if balance else cell * 0 for balance in balances])
    zeros = np.zeros(len(balances))
    measures = {"balance": np.array(balances, dtype=np.float64)}
    return Pass(step, 0, "layer", heatmaps, zeros.astype(np.int64), zeros, measures=measures)


def test_scales():
    history = History()
    # The first map is a thousand times as hot: heat cannot be compared over time, balance can.
    history.append(seen(1, 0.8, 0.2, peak=4000.0))
    history.append(seen(2, 0.4, 0.0))
    assert history.scaled(0, "map").max((1, 2)).tolist() == [1.0, 1.0]
    assert history.scaled(-1, "map").max((1, 2)).tolist() == [1.0, 0.0]
    assert history.scaled(-1, "probe").max((1, 2)).tolist() == [0.5, 0.0]
    assert history.scaled(0, "probe")[1, 0, 1] == 0.5
    assert history.scaled(0, "run").max((1, 2)).tolist() == [1.0, 0.25]


def test_passes_without_a_balance_are_drawn_on_scales_of_their_own():
    history = History()
    history.append(replace(seen(1, 0.5), measures={}))
    assert history.scaled(0, "run").max() == 1


def test_heat_that_is_not_finite_counts_as_none():
    history, bad = History(), seen(1, 0.5, 0.25)
    bad.heatmaps[0, 0, 0] = np.nan
    bad.heatmaps[1, 0, 0] = np.inf
    history.append(bad)
    history.append(replace(seen(2, 0.5, 0.25), measures={"balance": np.array([np.nan, 0.5])}))
    for scale in ("map", "probe", "run"):
        for index in (0, 1):
            assert np.isfinite(history.scaled(index, scale)).all()
    assert history.scaled(0, "run").max((1, 2)) == pytest.approx([0.5, 0.25])


def test_steps_that_go_back_are_another_run():
    history = History()
    history.append(seen(5, 0.9))
    history.append(seen(10, 0.9))
    history.append(seen(5, 0.1))
    assert [p.step for p in history.passes] == [5]
    assert history.strongest.tolist() == [0.1]


def test_the_same_step_replaces_and_size_is_bounded():
    history = History()
    history.append(seen(0, 0.9))
    history.append(seen(0, 0.1))
    assert len(history.passes) == 1
    for step in range(1, 1000):
        history.append(seen(step, 0.1))
        assert len(history.passes) <= MAX_PASSES
        assert (history.passes[0].step, history.passes[-1].step) == (0, step)
    steps = [p.step for p in history.passes]
    assert steps == sorted(set(steps))
    assert np.diff(steps).max() <= 2 * 1000 / (MAX_PASSES - 1)
    assert history.strongest.tolist() == [0.9]


@pytest.mark.parametrize("axes", [(), (3,), (2, 2, 3)])
def test_maps_of_any_number_of_dimensions_are_scaled_and_measured(axes):
    history, zeros = History(), np.zeros(2)
    for step in (1, 2):
        heatmaps = np.random.default_rng(step).random((2, 4, *axes)).astype(np.float32)
        measures = {"balance": np.array([0.8, 0.4]) / step}
        new = Pass(step, 0, "layer", heatmaps, zeros.astype(np.int64), zeros, measures=measures)
        seen = history.append(new)
    assert {"drift", "concentration"} <= seen.measures.keys()
    assert seen.measures["drift"].shape == (2,)
    peaks = [history.scaled(-1, scale).reshape(2, -1).max(1) for scale in ("map", "probe", "run")]
    assert np.allclose(peaks, [[1, 1], [0.5, 0.5], [0.5, 0.25]])
    assert History.from_state(history.state_dict()).passes[-1].heatmaps.shape == (2, 4, *axes)


def test_of_large_maps_fewer_are_held():
    history = History()
    heat = np.zeros((16, 224, 224), np.float32)
    zeros = np.zeros(16)
    for step in range(20):
        history.append(Pass(step, 0, "layer", heat, zeros.astype(np.int64), zeros))
    assert len(history.passes) == MIN_PASSES
    assert (history.passes[0].step, history.passes[-1].step) == (0, 19)


def two_signs(step, balance=0.5, signed=True):
    maps = np.array([[[3.0, -6.0], [0.0, 1.5]]], dtype=np.float32)
    one = seen(step, balance)
    return replace(one, heatmaps=maps.clip(min=0), signed=maps if signed else None)


def test_both_signs_are_on_one_scale():
    history = History()
    history.append(two_signs(1, 0.8))
    history.append(two_signs(2, 0.4))
    assert history.signed
    assert history.scaled(0, "map", signed=True).tolist() == [[[0.5, -1.0], [0.0, 0.25]]]
    assert history.scaled(1, "probe", signed=True).tolist() == [[[0.25, -0.5], [0.0, 0.125]]]
    assert history.scaled(0, "map").tolist() == [[[1.0, 0.0], [0.0, 0.5]]]


def test_a_pass_that_does_not_hold_both_signs_shows_one():
    history = History()
    history.append(two_signs(1, signed=False))
    assert not history.signed
    history.append(two_signs(2))
    assert history.scaled(0, "map", signed=True).tolist() == [[[1.0, 0.0], [0.0, 0.5]]]


def test_signs_and_regions_come_back_from_a_state():
    masks = torch.rand(1, 9, 5) > 0.5
    regions = Regions.of(masks)
    other = Further(np.ones((1, 4, 4), np.float32), np.array([-1]), np.zeros(1), regions=regions)
    history = History()
    history.append(replace(two_signs(1), regions=regions, also={"layer3": other}))
    state = {"version": 1, "history": history.state_dict(), "scalars": {}, "validations": 1}
    state["probes"] = {"fingerprint": "f", "kept": None}
    (back,) = History.from_state(checked_state(state)["history"]).passes
    assert np.array_equal(back.signed, two_signs(1).signed)
    further = back.also["layer3"]
    assert (further.heatmaps.shape, further.signed) == ((1, 4, 4), None)
    for one in (back.regions, further.regions):
        assert np.array_equal(one.masks(), masks.numpy())
    assert back.nbytes == 2 * 16 + 6 + 64 + 6


def test_large_maps_are_held_as_means_of_areas():
    pool = nn.AdaptiveAvgPool2d(1)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), pool, nn.Flatten(), nn.Linear(2, 2))
    probes, passes = ProbeSet(torch.rand(2, 3, 256, 130)), Passes()
    result = passes.look(
        model, probes, Explainer("0", 1, Options()), Notices(), step=1, epoch=0, signed=True
    )
    (seen,) = passes.history.passes
    assert result.heatmaps.shape == (2, 256, 130)
    assert seen.heatmaps.shape == seen.signed.shape == (2, 128, 128)
    assert float(seen.heatmaps.mean()) == pytest.approx(float(result.heatmaps.mean()), rel=0.02)
    halves = _held(torch.arange(256.0).view(1, 256, 1))
    assert halves[0, :2, 0].tolist() == [0.5, 2.5]


def test_passes_that_grow_leave_no_more_than_their_bound():
    history = History()
    for step in range(MAX_PASSES):
        history.append(seen(step, 0.5, 0.5))
    assert len(history.passes) == MAX_PASSES
    large = {"rival": Further(np.ones((2, 1024, 1024), np.float32), *[np.ones(2)] * 2)}
    history.append(replace(seen(MAX_PASSES, 0.5, 0.5), also=large))
    assert len(history.passes) == MIN_PASSES


def test_the_error_of_large_maps_is_a_share_of_what_is_held_of_them():
    model = nn.Sequential(
        nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    probes = ProbeSet(torch.rand(4, 3, 256, 256))
    result = Explainer("0", 1, Options()).explain(model, probes, None, lambda text: None)
    signed = torch.zeros(4, 256, 256)
    signed[0] = 3.0  # As hot everywhere.
    signed[1, 8, 8] = 4.0  # A mean of four is a quarter of it.
    signed[1, 100:, 100:] = -9.0  # Beside heat this does not count.
    signed[2, 8, 8:10] = -6.0
    result = replace(
        result, signed=signed, heatmaps=signed.relu(), error=torch.full((4,), 0.01).double()
    )
    result = replace(result, also=(replace(result, role="rival"),))
    passes = Passes(Measuring(tolerant=True))
    passes.add(result, 1, 0, Notices())
    (seen,) = passes.history.passes
    assert seen.measures["error"] == pytest.approx([0.01, 0.04, 0.02, 0.01])
    assert seen.also["rival"].error == pytest.approx([0.01, 0.04, 0.02, 0.01])
    off = np.abs(seen.heatmaps - _held(result.heatmaps * 1.01)).max((1, 2))
    assert (off <= seen.measures["error"] * seen.heatmaps.max((1, 2)) + 1e-6).all()
