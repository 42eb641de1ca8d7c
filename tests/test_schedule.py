from __future__ import annotations

import pytest

from lightning_ablationcam import schedule
from lightning_ablationcam.schedule import Schedule


def test_every_n_and_the_last():
    every_third = Schedule(3)
    assert [every_third.due(ending=index == 7) for index in range(8)] == [
        True, False, False, True, False, False, True, True,
    ]  # fmt: skip
    assert not every_third.skipped
    assert not every_third.due(ending=False)
    assert every_third.skipped


@pytest.mark.parametrize(("max_overhead", "passes"), [(None, 100), (0.25, 24), (0.05, 5)])
def test_max_overhead_spaces_the_passes(monkeypatch, max_overhead, passes):
    clock = [0.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: clock[0])
    spaced = Schedule(1, max_overhead)
    spaced.start()
    ran = 0
    for _ in range(100):
        clock[0] += 1.0
        if spaced.due(ending=False):
            spaced.took(1.0)
            ran += 1
    assert ran == pytest.approx(passes, abs=1)
