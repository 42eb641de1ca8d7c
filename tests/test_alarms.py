"""When an alarm rings, for which probes, and what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_ablationcam import Alarm
from lightning_ablationcam.measures.registry import MEASURES
from lightning_ablationcam.run.alarms import Alarms, check_alarms

NAN = math.nan


def rings(alarm, passes):
    """For each pass of one measure whether the alarm rings, and whether it begins to."""
    alarms = Alarms([alarm])
    told = [len(alarms.update({} if p is None else {alarm.measure: np.array(p)})) for p in passes]
    again = Alarms([alarm])
    ringing = []
    for values in passes:
        again.update({} if values is None else {alarm.measure: np.array(values)})
        ringing.append(bool(again.ringing))
    return ringing, told


def test_it_rings_from_the_nth_pass_in_a_row_until_one_is_not_beyond():
    alarm = Alarm("drift", above=0.5, for_passes=2)
    passes = [[0.6], [0.5], [0.6], [0.7], [0.8], [0.5], [0.9], [0.9]]
    ringing, told = rings(alarm, passes)
    assert ringing == [False, False, False, True, True, False, False, True]
    assert told == [0, 0, 0, 1, 0, 0, 0, 1]


def test_passes_in_which_the_measure_is_not_taken_do_not_count():
    alarm = Alarm("average_drop", above=0.5, for_passes=2)
    passes = [[0.6], None, [NAN], [0.6], None, [0.1], None]
    assert rings(alarm, passes)[0] == [False, False, False, True, True, False, False]


def test_of_the_mean_and_of_any():
    one_after_another = [[0.9, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.9, 0.3]]
    assert rings(Alarm("drift", above=0.35), one_after_another)[0] == [False, False, True]
    assert rings(Alarm("drift", above=0.5, of="any"), one_after_another)[0] == [True] * 3
    twice = Alarm("drift", above=0.5, of="any", for_passes=2)
    # One and the same probe, in both passes.
    assert rings(twice, one_after_another)[0] == [False, False, True]


def test_which_probes_it_rings_for():
    mean = Alarms([Alarm("drift", above=0.3)])
    mean.update({"drift": np.array([0.9, 0.1, 0.4])})
    assert mean.ringing["drift"].tolist() == [True, False, True]
    some = Alarms([Alarm("drift", above=0.3, of="any", for_passes=2)])
    some.update({"drift": np.array([0.9, 0.1, NAN])})
    some.update({"drift": np.array([0.9, 0.9, 0.9])})
    assert some.ringing["drift"].tolist() == [True, False, False]
    some.update({"drift": np.array([NAN, 0.9, 0.9])})
    assert some.ringing["drift"].tolist() == [True, True, True]


def test_of_a_mean_that_is_too_high_it_names_no_probe_that_is_too_low():
    band = Alarms([Alarm("border_heat", above=0.25, below=0.1)])
    (ring,) = band.update({"border_heat": np.array([0.9, 0.0, 0.2])})
    assert ring.beyond.tolist() == [True, False, False]
    assert "beyond: a (0.9)" in ring.text(["a", "b", "c"])
    (ring,) = Alarms(band.rules).update({"border_heat": np.array([0.26, 0.0, 0.0])})
    assert ring.beyond.tolist() == [False, True, True]


def test_a_pass_that_takes_the_place_of_another_is_counted_once():
    alarms, drift = Alarms([Alarm("drift", above=0.5, for_passes=3)]), {"drift": np.array([0.9])}
    for _ in range(4):
        alarms.update(drift, _)
        alarms.update(drift, _)
        assert bool(alarms.ringing) == (_ > 1)
    calm = {"drift": np.array([0.1])}
    alarms.update(calm, 3)
    assert not alarms.ringing
    alarms.update(drift, 3)
    assert alarms.ringing
    alarms.update({}, 4), alarms.update(drift, 4), alarms.update({}, 4), alarms.update(calm, 4)
    assert not alarms.ringing


def test_a_pass_in_between_that_does_not_take_the_measure_does_not_count_another_twice():
    alarms, high = Alarms([Alarm("increase", below=0.9, for_passes=2)]), {"increase": np.zeros(2)}
    alarms.update(high, 5), alarms.update({}, 5), alarms.update(high, 5)
    assert not alarms.ringing
    again = Alarms(alarms.rules)
    again.load_state_dict(alarms.state_dict())
    again.update(high, 5)
    assert not again.ringing
    again.update(high, 6)
    assert again.ringing


def test_rounding_is_not_beyond():
    assert 1 - 0.8**2 > 0.36 - 1e-12
    alarm = Alarm("border_heat", above=0.36, below=0.1)
    assert not alarm.is_beyond(np.array([0.36000000000000004, 0.36 + 9e-10, 0.1 - 9e-10])).any()
    assert alarm.is_beyond(np.array([0.36 + 2e-9, 0.1 - 2e-9, np.inf, -np.inf])).all()
    one_sided = Alarm("border_heat", above=0.36).is_beyond(np.array([np.inf, -np.inf, NAN]))
    assert one_sided.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "value", "text"),
    [
        ({"above": 0.5}, 0.50012, "mean drift is 0.5001, above 0.5"),
        ({"above": 0.5}, 0.5 + 2e-9, "mean drift is 0.500000002, above 0.5"),
        ({"below": 0.5}, 0.4999, "mean drift is 0.4999, below 0.5"),
        ({"below": 0.5}, 0.49996, "mean drift is 0.49996, below 0.5"),
        ({"above": 0.12345678}, 0.123456785, "mean drift is 0.1235, above 0.12345678"),
    ],
)
def test_it_tells_the_value_from_the_limit(arguments, value, text):
    (ring,) = Alarms([Alarm("drift", **arguments)]).update({"drift": np.array([value] * 2)})
    written = text.split()[3].rstrip(",")
    assert ring.text("ab") == f"alarm 'drift': {text}; beyond: a ({written}), b ({written})"


def test_numbers_of_other_libraries_become_plain():
    alarm = Alarm("concentration", above=np.float32(0.2), for_passes=np.int64(2))
    assert (type(alarm.above), type(alarm.for_passes), alarm.below) == (float, int, None)
    assert type(Alarm("shift", below=np.float64(3)).below) is float
    assert type(Alarm("shift", above=3).above) is float


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from([0.1, 0.6, NAN]), min_size=2, max_size=2), max_size=8),
    st.integers(1, 3),
    st.sampled_from(["mean", "any"]),
)
def test_it_is_as_counted_by_hand(passes, for_passes, of):
    alarm = Alarm("drift", above=0.5, for_passes=for_passes, of=of)
    rows = [0] * 2 if of == "any" else [0]
    expected = []
    for values in passes:
        finite = [v for v in values if not math.isnan(v)]
        judged = values if of == "any" else [sum(finite) / len(finite) if finite else NAN]
        for place, value in enumerate(judged):
            if not math.isnan(value):
                rows[place] = rows[place] + 1 if value > 0.5 else 0
        expected.append(max(rows) >= for_passes)
    assert rings(alarm, passes)[0] == expected


def test_what_it_says():
    names = list("abcdefg")
    values = np.array([0.1, 0.9, 0.7, 0.8, 0.95, 0.6, 0.75])
    (ring,) = Alarms([Alarm("drift", above=0.5, name="lost", stop=True)]).update({"drift": values})
    assert ring.text(names) == (
        "alarm 'lost': mean drift is 0.686, above 0.5; beyond: e (0.95), b (0.9), d (0.8), "
        "g (0.75), c (0.7) and 1 more"
    )
    alarms = Alarms([Alarm("mask_heat", below=0.2, of="any", for_passes=2)])
    for _ in range(2):
        told = alarms.update({"mask_heat": np.array([0.1, NAN, 0.3])})
    assert told[0].text(names) == (
        "alarm 'mask_heat': mask_heat of 1 probe is below 0.2, for 2 passes in a row: a (0.1)"
    )
    both = Alarm("balance", below=0.25, above=0.75)
    (ring,) = Alarms([both]).update({"balance": np.array([0.22, 0.9, 1.0, 0.95])})
    assert ring.text(names).endswith("beyond: c (1), d (0.95), b (0.9)")


def test_a_band_has_two_limits():
    both = Alarm("balance", below=0.25, above=0.75)
    assert rings(both, [[0.2], [0.5], [0.8]])[0] == [True, False, True]
    (ring,) = Alarms([both]).update({"balance": np.array([0.2])})
    assert "mean balance is 0.2, above 0.75 or below 0.25; beyond: x (0.2)" in ring.text("x")


def test_those_that_stop_ask_in_passes_that_took_their_measure():
    alarms = Alarms([Alarm("drift", above=0.5), Alarm("drift", above=0.8, stop=True, name="far")])
    for drift, asks in ((0.6, False), (0.9, True), (NAN, False), (0.9, True), (0.6, False)):
        alarms.update({"drift": np.array([drift])})
        assert [ring.alarm.called for ring in alarms.asking] == ["far"] * asks
    alarms.update({"drift": np.array([0.9])})
    (ring,) = alarms.asking
    assert ring.reason == "mean drift is 0.9, above 0.8"
    alarms.update({"increase": np.array([0.9])})
    assert "far" in alarms.ringing
    assert not alarms.asking


def test_a_copy_counts_for_itself():
    alarms, drift = Alarms([Alarm("drift", above=0.5, for_passes=2)]), {"drift": np.array([0.9])}
    alarms.update(drift)
    other = alarms.copy()
    assert len(other.update(drift)) == 1
    assert not alarms.ringing
    assert len(alarms.update(drift)) == 1
    assert len(alarms.copy().update(drift)) == 1


def test_its_state_goes_on_and_another_rule_starts_afresh():
    alarm, drift = Alarm("drift", above=0.5, for_passes=3), {"drift": np.array([0.9, 0.2])}
    before = Alarms([alarm])
    before.update(drift), before.update(drift)
    state = before.state_dict()
    assert torch.equal(state["drift"]["in_a_row"], torch.tensor([2, 2]))
    same, other = Alarms([alarm]), Alarms([Alarm("drift", above=0.51, for_passes=3)])
    for alarms, told in ((same, 1), (other, 0)):
        alarms.load_state_dict(state)
        assert len(alarms.update(drift)) == told
    # stop= does not change what was counted, and one that still rings is told again.
    stops = Alarms([Alarm("drift", above=0.5, for_passes=3, stop=True)])
    stops.load_state_dict(same.state_dict())
    assert stops.ringing
    assert not stops.asking
    assert len(stops.update({})) == 0
    assert not stops.asking
    assert len(stops.update(drift)) == 1
    assert len(stops.asking) == 1
    assert len(stops.update(drift)) == 0
    stops.forget_told()
    assert len(stops.update(drift)) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"measure": "dift", "above": 1},
            ValueError,
            "measure='dift' is not known; choose 'drift'",
        ),
        ({}, ValueError, "above=None and below=None, of the alarm on 'border_heat'"),
        ({"above": 50}, ValueError, r"above=50; no border_heat is: its values are 0 ... 1"),
        ({"above": 1.0}, ValueError, "above=1.0; no border_heat is"),
        ({"below": 0}, ValueError, "below=0; no border_heat is"),
        ({"below": 1.5}, ValueError, "below=1.5; any border_heat is"),
        ({"above": -1}, ValueError, "above=-1; any border_heat is"),
        ({"measure": "shift", "above": -1}, ValueError, r"any shift is: its values are 0 or more"),
        ({"above": 0.2, "below": 0.3}, ValueError, "below=0.3 and above=0.2; expected below"),
        ({"above": "0.5"}, TypeError, "above='0.5'; expected None or a number"),
        ({"above": NAN}, TypeError, "above=nan; expected None or a number"),
        ({"above": 0.5, "for_passes": 0}, ValueError, "for_passes=0"),
        ({"above": 0.5, "for_passes": 2.0}, TypeError, "for_passes=2.0"),
        ({"above": 0.5, "of": "all"}, ValueError, "of='all' is not known; choose 'mean', 'any'"),
        ({"above": 0.5, "stop": 1}, TypeError, "stop=1; expected True or False"),
        ({"above": 0.5, "name": "a b"}, ValueError, "name='a b'; expected a letter"),
        ({"above": 0.5, "name": "__proto__"}, ValueError, "name='__proto__'; expected a letter"),
        ({"above": 0.5, "name": 3}, TypeError, "name=3; expected a letter"),
    ],
)
def test_what_is_wrong_is_told(arguments, error, message):
    with pytest.raises(error, match=message):
        Alarm(**{"measure": "border_heat", **arguments})


def test_any_limit_that_can_be_crossed_is_taken():
    for measure in MEASURES:
        axis = measure.axis
        high = 10.0 if axis.high is None else axis.high
        assert Alarm(axis.name, above=axis.low).above == axis.low
        assert Alarm(axis.name, below=high).below == high


def test_two_of_one_name_are_refused():
    one, two = Alarm("drift", above=0.5), Alarm("drift", above=0.9)
    with pytest.raises(ValueError, match="alarms: two are named 'drift'; give one of them"):
        check_alarms([one, two])
    assert check_alarms([one, Alarm("drift", above=0.9, name="far")])[1].called == "far"
    with pytest.raises(TypeError, match="has a dict; expected a list of Alarm"):
        check_alarms([{"measure": "drift"}])
    with pytest.raises(TypeError, match="alarms=3 has a int; expected a list of Alarm"):
        check_alarms(3)
