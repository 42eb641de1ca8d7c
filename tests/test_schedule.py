from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from lightning_ablationcam.run import schedule
from lightning_ablationcam.run.schedule import Schedule, ends_fit
from lightning_ablationcam.run.tolerance import PATIENCE, STEPS


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


class Run:
    """A fit of epochs of 60 s, in which passes at each tolerance cost what a table says.

    Attributes:
        taken: For each epoch the tolerance of its pass, or "skipped".
    """

    def __init__(self, monkeypatch, seconds, shares, max_overhead=0.1, epochs=None, other=0.0):
        self.clock = [0.0]
        monkeypatch.setattr(schedule.time, "perf_counter", lambda: self.clock[0])
        self.schedule = Schedule(1, max_overhead, "auto")
        self.seconds, self.shares, self.other = dict(seconds), dict(shares), other
        self.epochs, self.taken, self.spent = epochs, [], 0.0

    def go(self, epochs):
        for _ in range(epochs):
            self.clock[0] += 60.0
            trainer = running(len(self.taken), max_epochs=self.epochs or -1)
            costly = self.schedule.too_costly(forwards=False)
            if not self.schedule.due(trainer, too_costly=costly):
                self.taken.append("skipped")
                continue
            chosen = self.schedule.tolerance(forwards=False, last=ends_fit(trainer))
            explaining = self.seconds[chosen]
            took = explaining + self.other
            self.clock[0] += took
            self.spent += took
            self.schedule.took(
                took, explaining=explaining, tolerance=chosen, share=self.shares[chosen]
            )
            self.taken.append(chosen)
        return self.taken

    @property
    def overhead(self):
        return self.spent / self.clock[0]


SHARES = {0.1: 0.05, 0.05: 0.1, 0.02: 0.25, 0.01: 0.5, None: 1.0}


def by_share(of_all):
    return {tolerance: of_all * share for tolerance, share in SHARES.items()}


def changes(taken):
    return sum(one != other for one, other in pairwise(taken))


def test_where_exact_maps_are_cheap_they_come_at_once(monkeypatch):
    cheap = Run(monkeypatch, dict.fromkeys(STEPS, 1.0), dict.fromkeys(STEPS, 1.0))
    assert cheap.go(20) == [0.1] + [None] * 19


def test_it_climbs_to_what_the_time_between_two_validations_affords_and_stays(monkeypatch):
    # 10 % of 60 s are 6 s, and a little more as the passes count, too: exact maps take 18.
    run = Run(monkeypatch, by_share(18.0), SHARES, epochs=40)
    taken = run.go(40)
    # The next finer step is tried once, when what was saved pays for it; 0.02 can be kept up.
    assert taken[:-1] == [0.1, 0.05, 0.02, 0.01] + [0.02] * 35
    # What was saved goes to the last.
    assert taken[-1] is None
    assert run.overhead <= 0.1


@pytest.mark.parametrize(("exact", "tried"), [(20.0, 1), (100.0, 0)])
def test_a_step_that_costs_many_times_the_allowance_is_not_tried(monkeypatch, exact, tried):
    # 0.01 can be kept up, and in an hour what is saved would pay for a pass of 100 s.
    seconds = {0.1: 0.5, 0.05: 0.6, 0.02: 0.8, 0.01: 1.0, None: exact}
    shares = {one: each / exact for one, each in seconds.items()}
    run = Run(monkeypatch, seconds, shares)
    assert run.go(PATIENCE).count(None) == tried
    assert run.go(60).count(None) == tried
    assert set(run.taken[-60:]) <= {0.01, None}


@pytest.mark.parametrize("of_all", [1.0, 5.0, 8.0, 20.0, 40.0, 90.0, 400.0])
@pytest.mark.parametrize("max_overhead", [0.02, 0.1, 0.3])
def test_the_budget_is_kept_without_skipping_what_is_affordable(monkeypatch, of_all, max_overhead):
    run = Run(monkeypatch, by_share(of_all), SHARES, max_overhead, epochs=60, other=0.2)
    taken = run.go(60)
    coarsest = of_all * SHARES[0.1] + 0.2
    assert run.overhead <= max_overhead + (coarsest / run.clock[0])
    # Room for two has to be saved first: the pass itself and the last.
    if 2 * coarsest <= max_overhead * 60:
        assert "skipped" not in taken
    assert changes([one for one in taken if one != "skipped"]) <= 2 * 60 / PATIENCE


def test_a_pass_that_exceeds_the_allowance_is_followed_by_coarser_ones(monkeypatch):
    run = Run(monkeypatch, by_share(18.0), SHARES)
    assert run.go(12)[-1] == 0.02
    run.seconds[0.02] = 12.0  # It was 4.5.
    taken = run.go(PATIENCE + 1)[12:]
    # One that is too dear, and no second try so soon.
    assert taken == [0.02] + [0.05] * PATIENCE
    # After that it tries again, finds the same, and falls again: one pass in ten.
    again = run.go(3 * (PATIENCE + 2))[12 + PATIENCE + 1 :]
    assert again.count(0.02) == 3
    assert changes(again) <= 6
    assert set(again) == {0.02, 0.05}
    # Once it is cheap again it stays.
    run.seconds[0.02] = 4.5
    assert run.go(20)[-5:] == [0.02] * 5


def test_exact_maps_that_are_cheaper_than_others_are_found(monkeypatch):
    # As where a network is small: predicting drops takes longer than computing them.
    seconds = {0.1: 0.72, 0.05: 1.02, 0.02: 1.58, 0.01: 1.41, None: 0.46}
    shares = {0.1: 0.094, 0.05: 0.229, 0.02: 0.492, 0.01: 0.625, None: 1.0}
    run = Run(monkeypatch, seconds, shares, max_overhead=0.03)
    assert run.go(20)[-15:] == [None] * 15


def test_passes_are_skipped_only_where_the_coarsest_is_too_dear(monkeypatch):
    run = Run(monkeypatch, by_share(400.0), SHARES)
    taken = run.go(30)
    assert taken[0] == 0.1
    assert set(taken) == {0.1, "skipped"}
    assert 0 < taken.count("skipped") < 29
    assert run.overhead <= 0.1


def test_forwards_of_measures_leave_less_for_exactness(monkeypatch):
    run = Run(monkeypatch, by_share(18.0), SHARES)
    run.go(10)
    run.clock[0] += 60.0
    assert run.schedule.tolerance(forwards=True) == 0.02
    # Now they are known to take 20 s, which are kept for the last pass.
    run.schedule.took(20.9, 20.0, explaining=0.9, tolerance=0.1, share=0.05)
    left = 0.1 * run.clock[0] - run.spent - 20.9
    run.clock[0] += 10 * (28.0 - left)  # Of 28 s that are left.
    assert run.schedule.tolerance(forwards=True) == 0.1
    assert run.schedule.tolerance(forwards=False) == 0.02
    assert run.schedule.tolerance(forwards=True, last=True) == 0.02


def test_a_resumed_fit_goes_on_at_the_same_step(monkeypatch):
    run = Run(monkeypatch, by_share(18.0), SHARES)
    run.go(12)
    state = run.schedule.state_dict()
    resumed = Run(monkeypatch, by_share(18.0), SHARES)
    resumed.clock[0] = 1e6  # Another process, with a clock of its own.
    resumed.schedule = Schedule(1, 0.1, "auto")
    resumed.schedule.load_state_dict(state)
    assert resumed.go(12) == [0.02] * 12
    # What is not automatic here, or was not there, begins by itself.
    assert Schedule(1, 0.1, 0.02).state_dict() is None
    fixed, fresh = Schedule(1, 0.1, 0.02), Schedule(1, 0.1, "auto")
    fixed.load_state_dict(state)
    fresh.load_state_dict(None)
    assert fixed.cost(forwards=True) == fresh.cost(forwards=True) == 0
    assert (fixed.tolerance(forwards=False), fresh.tolerance(forwards=False)) == (0.02, 0.1)


def test_a_failed_pass_says_nothing_of_what_steps_cost(monkeypatch):
    run = Run(monkeypatch, by_share(18.0), SHARES)
    run.go(5)
    before = run.schedule.state_dict()["ladder"]
    run.schedule.took(30.0, tolerance=None)
    assert run.schedule.state_dict()["ladder"] == before
    run.schedule.took(30.0, explaining=20.0, tolerance=0.02)  # It failed after that.
    assert run.schedule.state_dict()["ladder"] == before
    assert run.schedule.too_costly(forwards=False)  # It has cost what it has.
