from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ablationcam.measures.axis import ERROR
from lightning_ablationcam.records import series as series_room
from lightning_ablationcam.records.format import RegionsRecord
from lightning_ablationcam.records.regions import runs_of
from lightning_ablationcam.records.series import (
    MAX_STEPS,
    NothingToShowError,
    Stamped,
    assemble,
    current,
    page_data,
    thinned,
)
from tests.tab_events import an_alarm, further, heat, probes


def stamped(steps, start=100.0, **changes):
    return [Stamped(s, start + i, heat(s, **changes)) for i, s in enumerate(steps)]


def steps_of(series):
    return [entry.step for entry in series.steps]


def test_passes_of_the_probes_are_shown():
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], stamped([0, 5, 9]))
    assert steps_of(series) == [0, 5, 9]
    assert (series.total_steps, series.notes) == (3, ())
    assert series.maps == b"".join(heat(step).maps for step in (0, 5, 9))


def test_a_resumed_run_replaces_what_it_goes_back_over():
    resumed = [*stamped([0, 1, 2, 3, 4]), *stamped([2, 3], start=200.0)]
    kept = current(resumed)
    assert [(entry.step, entry.wall_time) for entry in kept] == [
        (0, 100.0),
        (1, 101.0),
        (2, 200.0),
        (3, 201.0),
    ]


def test_a_clock_that_goes_back_removes_nothing():
    kept = current([*stamped([0, 1, 2]), *stamped([3, 4], start=50.0)])
    assert [entry.step for entry in kept] == [0, 1, 2, 3, 4]


def test_an_older_record_read_later_does_not_replace_a_newer_one():
    kept = current([*stamped([0, 1, 2], start=200.0), *stamped([1], start=100.0)])
    assert [(entry.step, entry.wall_time) for entry in kept] == [(0, 200.0), (1, 201.0), (2, 202.0)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5))))
def test_each_step_counts_once_and_the_last_written_always(entries):
    # The clock moves on, now and then by nothing.
    times = accumulate(wait for _, wait in entries)
    record = heat()
    given_ = [Stamped(s, float(t), record) for (s, _), t in zip(entries, times, strict=True)]
    kept = [entry.step for entry in current(given_)]
    assert kept == sorted(set(kept))
    if given_:
        assert kept[-1] == given_[-1].step
        # Kept are the records that no later one went back to or before.
        expected = [
            entry.step
            for i, entry in enumerate(given_)
            if all(later.step > entry.step for later in given_[i + 1 :])
        ]
        assert kept == expected


def test_the_newest_probes_that_have_heat_count():
    old, new, bare = (probes(fingerprint=name) for name in ("old", "new", "bare"))
    seen = [*stamped([0, 1], fingerprint="old"), *stamped([2], start=200.0, fingerprint="new")]
    written = [Stamped(0, 1.0, old), Stamped(2, 2.0, new), Stamped(3, 3.0, bare)]
    series = assemble("run", "tag", written, seen)
    assert series.probes == new
    assert steps_of(series) == [2]
    assert series.notes == (
        "2 passes over other probes, at another layer or with maps of another size are left out.",
    )


@pytest.mark.parametrize("other", [{"layer": "net.layer3"}, {"h": 5}, {"n": 3}])
def test_passes_that_cannot_be_compared_are_left_out(other):
    seen = [*stamped([0], **other), *stamped([1, 2], start=200.0)]
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], seen)
    assert steps_of(series) == [1, 2]
    assert series.notes[0].startswith("1 pass over other probes")


def test_nothing_that_belongs_together():
    with pytest.raises(NothingToShowError, match="1 probes records and 2 passes under 'tag'"):
        assemble("run", "tag", [Stamped(0, 1.0, probes())], stamped([0, 1], fingerprint="other"))


def test_long_series_are_thinned_evenly():
    count = 3 * MAX_STEPS
    record = heat()
    seen = [Stamped(step, float(step), record) for step in range(count)]
    series = assemble("run", "tag", [Stamped(0, 0.0, probes())], seen)
    steps = steps_of(series)
    assert len(steps) == 3 * MAX_STEPS // 4 + 1
    assert (steps[0], steps[-1], series.total_steps) == (0, count - 1, count)
    assert {b - a for a, b in pairwise(steps[:-1])} == {4}
    assert series.notes == ("Shows 751 of 3000 steps: every 4th, and the newest.",)
    assert len(thinned(seen[:MAX_STEPS], MAX_STEPS)) == MAX_STEPS


def test_the_key_stands_for_the_steps():
    def key(steps, start=100.0, **changes):
        of = probes(**changes)
        return assemble("run", "tag", [Stamped(0, 1.0, of)], stamped(steps, start, **changes)).key

    keys = [
        key([0, 1]),
        key([0, 1, 2]),
        key([0, 2]),
        key([0, 1], start=101.0),
        key([0, 1], layer="other \ud800"),
        key([0, 1], fingerprint="other"),
    ]
    assert len(set(keys)) == len(keys)
    assert key([0, 1]) == keys[0]


def test_the_page_gets_what_was_agreed():
    more = {
        "top_classes": ((1, 0), (0, 1)),
        "top_probabilities": ((0.75, 0.25), (0.625, 1 / 3)),
        "also": {"rival": further(7)},
    }
    seen = stamped([7], **more)
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], seen, ["A note."])
    assert series.roles == ("rival",)
    at = {"pictures": ["p0", "p1"], "maps": "m", "also_maps": {"rival": "r"}}
    data = json.loads(json.dumps(page_data(series, **at)))
    assert data.pop("maps_key") == series.key
    assert data == {
        "version": 1,
        "run": "run",
        "tag": "tag",
        "fingerprint": probes().fingerprint,
        "layer": "net.layer4",
        "scale": "probe",
        "score": "logit",
        "task": None,
        "probes": [
            {"name": "probe 0", "label": 0, "text": None},
            {"name": "probe 1", "label": 1, "text": None},
        ],
        "class_names": ["cat", "<b>dog</b>"],
        "measures": [
            {
                "name": "drift",
                "label": "Drift",
                "low": 0.0,
                "high": 1.0,
                "percent": False,
                "unit": "",
                "group": "Change",
                "hint": "How much the map changed since the pass before: 1 - cosine",
                "worse": "high",
            },
            {
                "name": "concentration",
                "label": "Concentration",
                "low": 0.1,
                "high": 1.0,
                "percent": True,
                "unit": "",
                "group": "Focus",
                "hint": "Share of the heat in the hottest tenth of the area",
                "worse": "",
            },
        ],
        "alarms": [],
        "shape": [3, 4],
        "also_shapes": {"rival": [3, 4]},
        "regions": [],
        "steps": [
            {
                "step": 7,
                "epoch": 7,
                "wall_time": 100.0,
                "maxima": pytest.approx(heat(7).maxima, rel=5e-6),
                "classes": [1, 1],
                "scores": [7.5, 7.5],
                "predicted": [0, 0],
                "probabilities": [0.25, 0.25],
                "drift": [None, None],
                "concentration": [0.125, 0.125],
                "top": {
                    "classes": [[1, 0], [0, 1]],
                    "probabilities": [[0.75, 0.25], [0.625, 0.333333]],
                },
                "also": {
                    "rival": {
                        "maxima": pytest.approx(further(7).maxima, rel=5e-6),
                        "classes": [0, 0],
                        "scores": [0.25, None],
                        "probabilities": [0.125, 0.125],
                        "against": None,
                        "regions": None,
                        "error": None,
                    }
                },
                "against": None,
                "regions": None,
                "alarms": {},
            }
        ],
        "total_steps": 1,
        "notes": ["A note."],
        "pictures": ["p0", "p1"],
        "maps": "m",
        "also_maps": {"rival": "r"},
        "against_maps": {},
    }


def test_errors_go_to_the_page():
    rival = replace(further(7), error=(0.04, None))
    stated = {"measures": {"error": (0.0, 0.0123456789)}, "also": {"rival": rival}}
    seen = [*stamped([7]), *stamped([8], start=200.0, **stated)]
    of = probes(measures=(ERROR,))
    series = assemble("run", "tag", [Stamped(0, 1.0, of)], seen)
    before, after = json.loads(json.dumps(page_data(series, pictures=[], maps="")))["steps"]
    assert before["error"] is None
    assert after["error"] == [0, 0.0123457]
    assert after["also"]["rival"]["error"] == [0.04, None]


def test_alarms_and_who_is_beyond_go_to_the_page():
    of = probes(alarms=(an_alarm(), an_alarm("<b>", above=None, below=0.5, of="any")))
    seen = [
        *stamped([0]),
        *stamped([1], start=200.0, alarms={"wide": (0, 1), "<b>": ()}),
    ]
    series = assemble("run", "tag", [Stamped(0, 1.0, of)], seen)
    data = json.loads(json.dumps(page_data(series, pictures=[], maps="")))
    rule = {"name": "wide", "measure": "concentration", "above": 0.25, "below": None}
    assert data["alarms"] == [
        rule | {"for_passes": 2, "of": "mean"},
        rule | {"name": "<b>", "above": None, "below": 0.5, "for_passes": 2, "of": "any"},
    ]
    assert [step["alarms"] for step in data["steps"]] == [{}, {"wide": [0, 1], "<b>": []}]
    assert series.notes == ()


def test_an_alarm_without_a_rule_is_left_out_and_said():
    seen = stamped([0, 1], alarms={"old": (0,), "wide": (1,)})
    series = assemble("run", "tag", [Stamped(0, 1.0, probes(alarms=(an_alarm(),)))], seen)
    data = page_data(series, pictures=[], maps="")
    assert [step["alarms"] for step in data["steps"]] == [{"wide": (1,)}] * 2
    assert series.notes == ("Alarms that the run had before and has no more are left out: old.",)


def test_what_rang_by_another_rule_of_the_same_name_is_left_out_and_said():
    before, now = an_alarm(), an_alarm(above=0.75)
    seen = [
        *stamped([0], alarms={"wide": (0,)}, rules={"wide": before.rule}),
        *stamped([1], start=200.0, alarms={"wide": (1,)}, rules={"wide": now.rule}),
        *stamped([2], start=300.0, alarms={"wide": (0, 1)}, rules={"wide": before.rule}),
    ]
    series = assemble("run", "tag", [Stamped(0, 1.0, probes(alarms=(now,)))], seen)
    data = page_data(series, pictures=[], maps="")
    assert [step["alarms"] for step in data["steps"]] == [{}, {"wide": (1,)}, {}]
    assert series.notes == (
        "Rings of alarms under another rule than they have now are left out: wide.",
    )


def test_what_speaks_against_has_maps_of_its_own():
    against = {"against": bytes(range(24)), "against_maxima": (1 / 3, None)}
    rival = replace(further(1), **against)
    seen = [
        *stamped([0]),
        *stamped([1], start=200.0, also={"rival": rival, "label": further(1)}, **against),
    ]
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], seen)
    assert series.signed_roles == ("", "rival")
    for role in series.signed_roles:
        assert series.maps_from(0, role, against=True) == bytes(24) + bytes(range(24))
    first, second = page_data(series, pictures=[], maps="", against_maps={"": "a"})["steps"]
    assert (first["against"], second["against"]) == (None, [0.333333, None])
    assert second["also"]["rival"]["against"] == [0.333333, None]
    assert second["also"]["label"]["against"] is None


def test_a_region_is_listed_once():
    one, other = runs_of(np.eye(3, dtype=bool)), runs_of(np.ones((3, 3), bool))
    regions = [RegionsRecord((3, 3), each) for each in ((one, other), (other, other), (one, one))]
    also = {"rival": replace(further(), regions=regions[0])}
    seen = [
        *stamped([0], regions=regions[0]),
        *stamped([1], start=200.0),
        *stamped([2], start=300.0, regions=regions[1], also=also),
    ]
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], seen)
    data = page_data(series, pictures=[], maps="")
    assert [(h, w, base64.b64decode(runs)) for h, w, runs in data["regions"]] == [
        (3, 3, one),
        (3, 3, other),
    ]
    assert [step["regions"] for step in data["steps"]] == [[0, 1], None, [1, 1]]
    assert data["steps"][2]["also"]["rival"]["regions"] == [0, 1]


def test_the_newest_shape_of_a_role_counts():
    small, large = further(1), replace(further(2, h=6, w=8), shape=(2, 6, 8))
    seen = [
        *stamped([0], also={"layer3": small}),
        *stamped([1], start=200.0, also={"layer3": large}),
        *stamped([2], start=300.0),
    ]
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], seen)
    assert series.role_shapes == {"layer3": (2, 6, 8)}
    assert series.maps_from(0, "layer3") == bytes(96) + large.maps + bytes(96)
    data = page_data(series, pictures=[], maps="")
    assert data["also_shapes"] == {"layer3": (6, 8)}
    assert [list(step["also"]) for step in data["steps"]] == [[], ["layer3"], []]


def test_one_large_map_does_not_become_a_thousand(monkeypatch):
    monkeypatch.setattr(series_room, "MAX_ROLE_BYTES", 3 * (96 + 24))
    large = replace(further(2, h=6, w=8), shape=(2, 6, 8))
    also = {"a": large, "b": large, "rival": further()}
    seen = [*stamped([0, 1]), *stamped([2], start=200.0, also=also)]
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], seen)
    assert series.roles == ("a", "rival")
    assert series.notes == ("The maps of b are too large to be shown.",)


def test_labels_in_words_stand_beside_indices():
    of = probes(task="multilabel", label_texts=("cat, dog", None))
    series = assemble("run", "tag", [Stamped(0, 1.0, of)], stamped([7]))
    data = page_data(series, pictures=[], maps="")
    assert data["task"] == "multilabel"
    assert [(each["label"], each["text"]) for each in data["probes"]] == [
        (0, "cat, dog"),
        (1, None),
    ]


def test_what_was_not_recorded_is_none_or_empty():
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], stamped([7]))
    data = page_data(series, pictures=[], maps="")
    (step,) = data["steps"]
    assert (step["top"], step["also"], data["also_maps"]) == (None, {}, {})


def test_a_role_has_empty_maps_where_a_step_has_none():
    seen = [*stamped([0]), *stamped([1, 2], start=200.0, also={"rival": further(1)})]
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], seen)
    none, rival = bytes(len(heat().maps)), further(1).maps
    assert series.maps_from(0, "rival") == none + rival + rival
    assert series.maps_from(2, "rival") == rival


def test_numbers_have_six_digits():
    values = (1 / 3, -2e-9 / 3, 1234567.8, 0.0, None)
    record = heat(
        n=5, maxima=tuple(abs(v or 0) for v in values), scores=values, classes=(10**9,) * 5
    )
    of = probes(5, labels=(None,) * 5)
    series = assemble("run", "tag", [Stamped(0, 1.0, of)], [Stamped(7, 1.7e9 + 0.125, record)])
    (step,) = page_data(series, pictures=[], maps="")["steps"]
    assert step["scores"] == [0.333333, -6.66667e-10, 1234570.0, 0.0, None]
    assert step["maxima"] == [0.333333, 6.66667e-10, 1234570.0, 0.0, 0.0]
    assert (step["classes"], step["wall_time"]) == ([10**9] * 5, 1.7e9 + 0.125)
