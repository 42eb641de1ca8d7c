from __future__ import annotations

from types import SimpleNamespace

import pytest

from lightning_ablationcam.run import schedule
from lightning_ablationcam.run.schedule import Schedule, ends_fit


def running(epoch=0, *, last_batch=True, **changes):
    """A Trainer at the end of an epoch of ten steps, without limits."""
    settings = {
        "global_step": 10 * (epoch + 1),
        "current_epoch": epoch,
        "max_steps": -1,
        "max_epochs": -1,
        "check_val_every_n_epoch": 1,
        **changes,
    }
    progress = SimpleNamespace(is_last_batch=last_batch)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    return SimpleNamespace(fit_loop=loop, **settings)


def test_every_n_and_the_last():
    every_third = Schedule(3)
    due = [every_third.due(running(epoch, max_epochs=8)) for epoch in range(8)]
    assert due == [True, False, False, True, False, False, True, True]
    assert every_third.missed is None
    assert not every_third.due(running(8))
    assert every_third.missed == (90, 8)
    assert Schedule(3).due(running(0))


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        (running(4, max_epochs=5), True),
        (running(3, max_epochs=5), False),
        (running(4, max_epochs=5, last_batch=False), False),
        (running(3, max_epochs=5, check_val_every_n_epoch=2), True),
        (running(4, max_epochs=5, check_val_every_n_epoch=None), True),
        (running(0, max_steps=10), True),
        (running(0, max_steps=11), False),
        (running(0, max_epochs=None), False),
        (running(50), False),
    ],
)
def test_ends_fit(trainer, expected):
    assert ends_fit(trainer) is expected


@pytest.mark.parametrize(("max_overhead", "passes"), [(None, 100), (0.25, 24), (0.05, 4)])
def test_max_overhead_spaces_the_passes(monkeypatch, max_overhead, passes):
    clock = [0.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: clock[0])
    spaced = Schedule(1, max_overhead)
    ran = 0
    for epoch in range(100):
        clock[0] += 1.0
        if spaced.due(running(epoch), too_costly=spaced.too_costly(forwards=False)):
            spaced.took(1.0)
            ran += 1
    assert ran == passes
    # Room is left for the last one.
    assert spaced.due(running(0, max_epochs=1), too_costly=spaced.too_costly(forwards=False))


def test_costly_measures_do_not_starve_the_passes_without_them(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: clock[0])
    spaced, ran = Schedule(1, 0.25), []
    for epoch in range(100):
        clock[0] += 1.0
        forwards = len(ran) % 10 == 0  # As measure_every_n_passes=10.
        if spaced.due(running(epoch), too_costly=spaced.too_costly(forwards=forwards)):
            spaced.took(5.0 if forwards else 0.1, 4.9 if forwards else 0.0)
            ran.append(epoch)
    # The first takes 5 s, and 5 s are kept for the last: that of the 40th second and after it has
    # room for cheap ones, one after another, until the next costly one is due.
    assert ran == [0, *range(40, 49), *range(63, 73), *range(87, 97)]
    assert spaced.cost(forwards=False) == pytest.approx(0.1)
    assert spaced.cost(forwards=True) == pytest.approx(5.0)
