"""Animations of what event files hold: whose maps they show, of which run, and how bright."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_ablationcam.outputs import recorded
from lightning_ablationcam.outputs.recorded import animate_records
from tests.tab_events import EventFile
from tests.tab_page import evolution, write_run

PROBES, STEPS = 3, 4


@pytest.fixture
def runs(tmp_path):
    made = {
        run: evolution(run=run, probes=PROBES, steps=STEPS, seed=seed, roles=["rival"])
        for seed, run in enumerate(("one", "two"))
    }
    for run, each in made.items():
        with EventFile(tmp_path / "logs" / run) as file:
            write_run(file, each)
    return tmp_path / "logs", made


@pytest.fixture
def films(monkeypatch):
    """What is drawn: the heats and captions of each film."""
    drawn = []
    draw = recorded.probe_animation

    def probe_animation(picture, heats, captions, *more):
        drawn.append((heats, captions))
        return draw(picture, heats, captions, *more)

    monkeypatch.setattr(recorded, "probe_animation", probe_animation)
    return drawn


def brightness(made, row, over):
    """Of each step: its balance beside the largest of the probes in ``over``."""
    balances = np.array([step["balance"] for step in made.data["steps"]])
    return balances[:, row] / balances[:, over].max()


def assert_heat(heats, maps, bright):
    assert len(heats) == len(maps)
    for heat, cells, share in zip(heats, maps, bright, strict=True):
        np.testing.assert_allclose(heat, cells / 255 * share, atol=1e-9)


def test_a_film_shows_the_maps_of_its_run_and_probe(runs, films, tmp_path):
    logs, made = runs
    files = animate_records(logs, tmp_path / "films", run="two", probes=["coffee 2", "cat 1"])
    names = [probe["name"] for probe in made["two"].data["probes"]]
    shown = [row for row, name in enumerate(names) if name in ("coffee 2", "cat 1")]
    assert len(files) == len(films) == len(shown) > 0
    for row, (heats, captions) in zip(shown, films, strict=True):
        assert_heat(heats, made["two"].maps[:, row], brightness(made["two"], row, [row]))
        assert {lines[0] for lines in captions} == {names[row]}


def test_a_film_of_the_rival_begins_where_that_was_recorded(runs, films, tmp_path):
    logs, made = runs
    animate_records(logs, tmp_path / "films", run="one", of="rival")
    for row, (heats, _) in enumerate(films):
        bright = brightness(made["one"], row, [row])
        assert_heat(heats, made["one"].also["rival"][1:, row], bright[1:])


def test_all_runs_have_films_named_by_them(runs, tmp_path):
    files = animate_records(runs[0], tmp_path / "films")
    assert len({file.name for file in files}) == 2 * PROBES
    assert sum(file.name.startswith("two_") for file in files) == PROBES
