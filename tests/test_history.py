from __future__ import annotations

import numpy as np

from lightning_ablationcam.run.history import MAX_PASSES, MIN_PASSES, History, Pass


def seen(step, *maxima):
    heatmaps = np.stack([np.array([[0.0, m / 2], [m, 0.0]], dtype=np.float32) for m in maxima])
    zeros = np.zeros(len(maxima))
    return Pass(step, 0, "layer", heatmaps, zeros.astype(np.int64), zeros)


def test_scales():
    history = History()
    history.append(seen(1, 4.0, 1.0))
    history.append(seen(2, 2.0, 0.0))
    assert history.scaled(-1, "map").max((1, 2)).tolist() == [1.0, 0.0]
    assert history.scaled(-1, "probe").max((1, 2)).tolist() == [0.5, 0.0]
    assert history.scaled(0, "run").max((1, 2)).tolist() == [1.0, 0.25]
    assert history.scaled(0, "probe")[1, 0, 1] == 0.5


def test_heat_that_is_not_finite_counts_as_none():
    history, bad = History(), seen(1, 4.0, 2.0)
    bad.heatmaps[0, 0, 0] = np.nan
    bad.heatmaps[1, 0, 0] = np.inf
    history.append(bad)
    assert history.maxima.tolist() == [4.0, 2.0]
    assert np.isfinite(history.scaled(-1, "run")).all()


def test_steps_that_go_back_are_another_run():
    history = History()
    history.append(seen(5, 9.0))
    history.append(seen(10, 9.0))
    history.append(seen(5, 1.0))
    assert [p.step for p in history.passes] == [5]
    assert history.maxima.tolist() == [1.0]


def test_the_same_step_replaces_and_size_is_bounded():
    history = History()
    history.append(seen(0, 9.0))
    history.append(seen(0, 1.0))
    assert len(history.passes) == 1
    for step in range(1, 1000):
        history.append(seen(step, 1.0))
        assert len(history.passes) <= MAX_PASSES
        assert (history.passes[0].step, history.passes[-1].step) == (0, step)
    steps = [p.step for p in history.passes]
    assert steps == sorted(set(steps))
    assert np.diff(steps).max() <= 2 * 1000 / (MAX_PASSES - 1)
    assert history.maxima.tolist() == [9.0]


def test_of_large_maps_fewer_are_held():
    history = History()
    heat = np.zeros((16, 224, 224), np.float32)
    zeros = np.zeros(16)
    for step in range(20):
        history.append(Pass(step, 0, "layer", heat, zeros.astype(np.int64), zeros))
    assert len(history.passes) == MIN_PASSES
    assert (history.passes[0].step, history.passes[-1].step) == (0, 19)
