"""Which measures a pass has, and what stands for those that it has not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lightning_ablationcam import Alarm, ProbeSet
from lightning_ablationcam.measures import axis as axes
from lightning_ablationcam.measures.change import drift, shift
from lightning_ablationcam.measures.focus import border_heat, mask_heat, pointing_game
from lightning_ablationcam.measures.registry import FORWARDS, MEASURES, Maps, measured
from lightning_ablationcam.run.history import History, Pass
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.run.scalars import NEUTRAL, UNKNOWN_DIAGONAL, Scalars, finite_mean

COUNT = 5
ALWAYS = {"concentration", "border_heat"}
SINCE = {"drift", "drift_from_first", "shift"}
MASKED = {"mask_heat", "pointing_game"}


def maps(*sides, seed=0):
    return torch.rand(COUNT, *sides, generator=torch.Generator().manual_seed(seed))


def masks(*sides):
    inside = torch.zeros(COUNT, *sides, dtype=torch.bool)
    inside[..., : sides[-1] // 2] = True
    return inside


def all_of(*sides, picture):
    given = {name: torch.linspace(0, 1, COUNT).double() for name in (*FORWARDS, "balance", "error")}
    return Maps(
        maps(*sides, seed=1),
        maps(*sides, seed=2),
        maps(*sides, seed=3),
        (3, *picture),
        masks(*picture),
        given,
    )


def test_every_axis_is_a_measure():
    named = {value.name for value in vars(axes).values() if isinstance(value, axes.Axis)}
    assert [measure.name for measure in MEASURES] == list(
        dict.fromkeys(measure.name for measure in MEASURES)
    )
    assert {measure.name for measure in MEASURES} == named
    assert set(FORWARDS) == {"average_drop", "increase", "average_gain", "insertion", "deletion"}


@pytest.mark.parametrize(
    ("sides", "picture"),
    [((7, 7), (28, 28)), ((3, 4, 5), (6, 8, 10)), ((9,), (36,))],
    ids=["images", "volumes", "signals"],
)
def test_a_pass_has_every_measure_that_is_known(sides, picture):
    whole = all_of(*sides, picture=picture)
    found = measured(whole)
    assert list(found) == [measure.name for measure in MEASURES]
    for measure in MEASURES:
        values = found[measure.name]
        assert (values.shape, values.dtype) == ((COUNT,), torch.float64)
        high = math.hypot(*picture) if measure.axis.high is None else measure.axis.high
        assert measure.axis.low <= values.min() <= values.max() <= high, measure.name
    assert torch.equal(found["drift"], drift(whole.before, whole.now))
    assert torch.equal(found["drift_from_first"], drift(whole.first, whole.now))
    assert torch.equal(found["shift"], shift(whole.before, whole.now, picture))
    assert torch.equal(found["border_heat"], border_heat(whole.now))
    assert torch.equal(found["mask_heat"], mask_heat(whole.now, whole.masks))
    assert torch.equal(found["pointing_game"], pointing_game(whole.now, whole.masks))
    assert found["deletion"] is whole.given["deletion"]


def test_what_is_not_known_is_left_out():
    now = maps(7, 7)
    assert measured(Maps(now)).keys() == ALWAYS
    assert measured(Maps(now, now, now)).keys() == ALWAYS | SINCE - {"shift"}
    assert measured(Maps(now, now, now, (3, 28, 28))).keys() == ALWAYS | SINCE
    # Maps of a spectrogram that is made inside the model do not lie over the signal.
    assert "shift" not in measured(Maps(now, now, now, (28,)))
    assert measured(Maps(now, masks=masks(28))).keys() == ALWAYS


def seen(step, heat, **measures):
    zeros = np.zeros(len(heat), dtype=np.int64)
    given = {name: np.array(values, dtype=np.float64) for name, values in measures.items()}
    return Pass(step, 0, "layer", heat.numpy(), zeros, zeros.astype(float), measures=given)


def test_a_history_compares_with_the_pass_before_and_the_first():
    history = History()
    heats = [maps(7, 7, seed=seed) for seed in range(3)]
    found = [history.append(seen(step, heat), (3, 28, 28)) for step, heat in enumerate(heats)]
    assert [each.measures.keys() - ALWAYS for each in found] == [set(), SINCE, SINCE]
    for newest, before in ((1, 0), (2, 1)):
        expected = drift(heats[before], heats[newest]).numpy()
        np.testing.assert_array_equal(found[newest].measures["drift"], expected)
        moved = shift(heats[before], heats[newest], (28, 28)).numpy()
        np.testing.assert_array_equal(found[newest].measures["shift"], moved)
        since = drift(heats[0], heats[newest]).numpy()
        np.testing.assert_array_equal(found[newest].measures["drift_from_first"], since)
    # The same step again takes the place of the last.
    again = history.append(seen(2, heats[1]), (3, 28, 28))
    np.testing.assert_array_equal(again.measures["drift"], 0)


def test_neutral_values_are_the_worst_or_say_nothing():
    even = torch.ones(1, 10, 10)
    for measure in MEASURES:
        axis = measure.axis
        if measure.neutral is not None:
            assert axis.low <= measure.neutral <= axis.high
    assert NEUTRAL["border_heat"] == pytest.approx(border_heat(even).item())
    worst_low = {"mask_heat", "pointing_game", "increase", "average_gain", "insertion"}
    assert {NEUTRAL[name] for name in worst_low} == {0.0}
    worst_high = {"drift", "drift_from_first", "error", "average_drop", "deletion"}
    assert {NEUTRAL[name] for name in worst_high} == {1.0}
    assert NEUTRAL["shift"] == UNKNOWN_DIAGONAL


def test_what_is_logged_of_which_probes():
    images = torch.rand(2, 3, 30, 40)
    plain, masked = ProbeSet(images), ProbeSet(images, masks=torch.ones(2, 30, 40))
    base = ALWAYS | SINCE | {"balance", "score", "seconds"}
    assert Measuring().neutral(None).keys() == Measuring().neutral(plain).keys() == base
    assert Measuring().neutral(masked).keys() == base | MASKED
    more = Measuring(["insertion"], 1, [Alarm("deletion", above=0.5, name="gone")])
    assert more.neutral(plain).keys() == base | {"insertion", "deletion", "alarm_gone"}
    assert more.neutral(plain)["alarm_gone"] == 0
    tolerant = Measuring(alarms=[Alarm("error", above=0.1)], tolerant=True)
    assert tolerant.neutral(plain).keys() == base | {"error", "alarm_error"}
    assert tolerant.neutral(plain)["error"] == 1
    assert Measuring().neutral(plain)["shift"] == 50
    assert Measuring().neutral(ProbeSet(torch.rand(2, 1, 1000)))["shift"] >= 1000
    assert Measuring().neutral(ProbeSet(torch.rand(2, 1, 2, 3, 6)))["shift"] == 7


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"measures": ["error"]}, "measures: 'error'"),
        ({"alarms": [Alarm("error", above=0.1, name="off")]}, "alarms: 'off'"),
    ],
)
def test_an_error_needs_a_tolerance(asked, where):
    with pytest.raises(ValueError, match=f"{where} needs a tolerance.*give tolerance="):
        Measuring(**asked)
    assert Measuring(**asked, tolerant=True)


def test_scalars_hold_what_is_expected_and_nothing_else():
    scalars = Scalars()
    scalars.expect({"drift": 1.0, "score": 0.0})
    scalars.update(seen(0, torch.ones(2, 1, 1), drift=[0.2, np.nan], mask_heat=[1.0, 1.0]))
    assert scalars.values == {"drift": 0.2, "score": 0.0}
    assert scalars.known == {"drift", "score"}
    scalars.update(seen(1, torch.ones(2, 1, 1), drift=[np.nan, np.inf]))
    assert scalars.values["drift"] == 0.2
    scalars.expect({"drift": 1.0, "mask_heat": 0.5})
    assert scalars.values == {"drift": 0.2, "mask_heat": 0.5}
    assert scalars.known == {"drift"}
    assert scalars.state_dict() == {"drift": 0.2}
    later = Scalars()
    later.expect({"drift": 1.0, "score": 0.0})
    # A value may be measured and be the neutral one; a later version may keep others.
    later.load_state_dict({"drift": 1.0, "unheard of": 1.0})
    assert (later.values, later.known) == ({"drift": 1.0, "score": 0.0}, {"drift"})


def test_a_mean_is_never_beyond_all_of_its_values():
    assert np.mean([0.1, 0.1, 0.1]) > 0.1
    assert finite_mean(np.array([0.1, 0.1, 0.1])) == 0.1
    assert finite_mean(np.array([1e300, np.nan])) == np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"measures": "insertion"}, TypeError, "measures='insertion'; expected a list of names"),
        (
            {"measures": ["dift"]},
            ValueError,
            "measures='dift' is not known; choose 'drift', 'drift_from_first'",
        ),
        ({"every": 0}, ValueError, "measure_every_n_passes=0; expected a whole number"),
        ({"alarms": ["drift"]}, TypeError, r"alarms=\['drift'\] has a str; expected a list"),
    ],
)
def test_what_is_wrong_is_told(arguments, error, message):
    with pytest.raises(error, match=message):
        Measuring(**arguments)


def test_measures_that_are_taken_anyway_may_be_named():
    named = Measuring(["drift", "increase", "border_heat"])
    assert named.forwards == ("increase",)
    assert [m.name for m in named.taken(None)] == [
        m.name for m in Measuring(["increase"]).taken(None)
    ]


def test_masks_that_are_asked_for_in_vain_are_told_of():
    probes = ProbeSet(torch.rand(2, 3, 4, 4))
    problem = Measuring(["mask_heat", "pointing_game"]).problem(probes)
    assert problem.startswith("measures: 'mask_heat', 'pointing_game' need probes with masks")
    both = Measuring(["pointing_game"], alarms=[Alarm("mask_heat", below=0.1, name="lost")])
    assert both.problem(probes) == (
        "alarms: 'lost' and measures: 'pointing_game' need probes with masks; give "
        "ProbeSet(..., masks=...)"
    )
    inside = ProbeSet(torch.rand(2, 3, 4, 4), masks=torch.ones(2, 4, 4, dtype=torch.bool))
    assert Measuring(["mask_heat"]).problem(inside) is None


def test_it_keeps_no_list_of_the_callers():
    names = ["increase"]
    measuring = Measuring(names)
    names.append("deletion")
    assert measuring.forwards == ("increase",)


def test_forwards_come_in_the_first_pass_and_every_so_many_after_it():
    measuring = Measuring(["increase"], 3)
    assert [made for made in range(8) if measuring.is_due(made)] == [0, 3, 6]
    assert not any(Measuring((), 1).is_due(made) for made in range(3))
