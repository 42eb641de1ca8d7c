"""What tolerances may be asked for, and what their steps cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_ablationcam import AblationCAMMonitor
from lightning_ablationcam.measures.change import drift
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.notices import exactness
from lightning_ablationcam.run.tolerance import (
    PATIENCE,
    STEPS,
    Ladder,
    check_asked_tolerance,
    share_computed,
)

FREE = st.floats(0.001, 1)

SHARE = "or a share of a heatmap's maximum above 0 and below 1, such as 0.02"
CHOICES = f"expected None, which is exact, 'auto', {SHARE}"


def costs(ladder):
    return [ladder.cost(step) for step in range(len(STEPS))]


def test_before_any_pass_nothing_is_known():
    ladder = Ladder()
    assert not ladder.knows
    assert costs(ladder) == [0] * 5


def test_a_finer_step_costs_at_most_what_all_channels_do():
    ladder = Ladder()
    ladder.took(0.1, seconds=2.0, share=0.01)
    steep = [2, 2 * 2**1.5, 2 * 5**1.5, 2 * 10**1.5, 200]
    assert costs(ladder) == pytest.approx(steep)
    ladder.took(0.1, seconds=2.0, share=0.25)
    assert costs(ladder) == pytest.approx([2, 2 * 2**1.5, 8, 8, 8])
    ladder.took(0.1, seconds=2.0, share=1.0)
    assert costs(ladder) == [2] * 5
    ladder.took(0.1, seconds=0.0, share=0.0)
    assert costs(ladder) == [0] * 5


def test_what_was_taken_is_known_and_what_is_finer_and_too_long_ago_is_not():
    ladder = Ladder()
    ladder.took(0.1, seconds=1.0, share=0.125)
    ladder.took(0.05, seconds=7.0, share=0.25)
    # Twice as many channels for half of it, so 2.5 and 5 times as many for the next two.
    assert costs(ladder) == pytest.approx([1, 7, 17.5, 28, 28])
    for _ in range(PATIENCE):
        ladder.took(0.1, seconds=2.0, share=0.125)
        assert costs(ladder) == pytest.approx([2, 7, 16, 16, 16])
    ladder.took(0.1, seconds=2.0, share=0.125)
    assert costs(ladder) == pytest.approx([2, 2 * 2**1.5, 16, 16, 16])
    # A coarser one stays what it was, as that is less than what the newest took.
    for _ in range(2 * PATIENCE):
        ladder.took(0.02, seconds=9.0, share=0.5)
    assert costs(ladder) == pytest.approx([2, 7, 9, 9 * 2**0.756471, 18], rel=1e-4)
    untaken = Ladder()
    untaken.took(0.02, seconds=3.0, share=0.5)
    assert costs(untaken) == pytest.approx([3, 3, 3, 6, 6])


def test_what_warms_up_in_the_first_pass_is_forgotten():
    ladder = Ladder()
    ladder.took(0.1, seconds=30.0, share=0.125)
    ladder.took(0.05, seconds=2.0, share=0.25)
    assert costs(ladder)[:2] == [2, 2]
    ladder.took(0.02, seconds=9.0, share=0.5)
    assert costs(ladder)[:3] == [9, 2, 9]


def test_new_is_what_is_finer_and_was_never_taken():
    ladder = Ladder()
    assert [ladder.is_new(step) for step in range(5)] == [False, True, True, True, True]
    ladder.took(None, seconds=1.0, share=1.0)
    assert not any(map(ladder.is_new, range(5)))
    for _ in range(2 * PATIENCE):
        ladder.took(0.05, seconds=1.0, share=0.5)
    assert [ladder.is_new(step) for step in range(5)] == [False, False, True, True, False]


def test_a_share_that_did_not_grow_says_nothing_of_exact_maps():
    ladder = Ladder()
    for tolerance in (0.1, 0.05):
        ladder.took(tolerance, seconds=2.0, share=0.25)
    assert costs(ladder) == [2, 2, 2, 2, 8]
    ladder.took(None, seconds=6.0, share=1.0)
    assert costs(ladder) == [2, 2, 6, 6, 6]


@given(st.lists(st.tuples(st.sampled_from(STEPS), FREE, FREE), max_size=12))
def test_a_ladder_goes_on_from_its_state(taken):
    ladder, other = Ladder(), Ladder()
    for tolerance, seconds, share in taken:
        ladder.took(tolerance, seconds=seconds, share=share)
    other.load_state_dict(ladder.state_dict())
    for _ in range(2):
        assert (other.at, other.knows, costs(other)) == (ladder.at, ladder.knows, costs(ladder))
        for each in (ladder, other):
            each.took(0.05, seconds=1.0, share=0.5)


def layer(*computed):
    if not computed:
        return SimpleNamespace(computed=None)
    (flags,) = computed
    return SimpleNamespace(computed=torch.tensor(flags), drops=torch.ones(len(flags)))


def test_the_share_is_that_of_all_layers():
    few, many = layer([True, False]), layer([True] * 6 + [False] * 2)
    assert share_computed(SimpleNamespace(layers=[few, many])) == 7 / 10
    few.drops[0] = 0
    assert share_computed(SimpleNamespace(layers=[few, many])) == 6 / 9
    few.drops[0] = 1
    many.drops[:] = 0
    assert share_computed(SimpleNamespace(layers=[many])) == 1
    # What says nothing of itself was computed.
    assert share_computed(SimpleNamespace(layers=[layer()])) == 1
    assert share_computed(SimpleNamespace(layers=[few, layer()])) == 1 / 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.0213, "tolerance 0.05: maps within 2.2 % of exact (99 %), 50 % of the drops computed"),
        (0.05, "tolerance 0.05: maps within 5 % of exact (99 %), 50 % of the drops computed"),
        (0.00101, "tolerance 0.05: maps within 0.11 % of exact (99 %), 50 % of the drops computed"),
        (0.0, "tolerance 0.05: maps are exact"),
        (float("nan"), "tolerance 0.05: maps are exact"),
    ],
)
def test_a_bound_is_rounded_up(error, expected):
    assert exactness(erring(layer([True, False]), 0.0, error), 0.05) == expected


def erring(result, *error, also=(), further=()):
    result.error, result.also = torch.tensor(error) if error else None, also
    result.layers = [result, *further]
    return result


def test_the_bound_is_that_of_all_maps():
    def text(first, rival, second, second_rival):
        also = [erring(layer([True, False]), 0.0, each) for each in (rival, second_rival)]
        further = erring(layer([True, False]), second, 0.0, also=also[1:])
        return exactness(
            erring(layer([True, False]), first, 0.0, also=also[:1], further=[further]), 0.05
        )

    nan = float("nan")
    for errors in ((1, 2, 3, 4), (1, 4, 3, nan), (1, 2, 4, 3), (4, nan, 1, 1)):
        said = text(*(each / 100 for each in errors))
        assert said.startswith("tolerance 0.05: maps within 4 % of exact (99 %), 50 %")
    assert text(0.01, float("inf"), 0.01, 0.01) == (
        "tolerance 0.05: how exact maps are is not known, 50 % of the drops computed"
    )


def test_where_nothing_is_explained_nothing_is_known():
    result = erring(layer([True, False]), float("nan"), float("nan"))
    assert exactness(result, 0.05).startswith("tolerance 0.05: how exact maps are is not known, ")


def test_an_exact_pass_says_so():
    assert exactness(erring(layer()), None) == "no tolerance: maps are exact"


@pytest.mark.parametrize(
    ("tolerance", "error", "message"),
    [
        (True, TypeError, f"tolerance=True; {CHOICES}"),
        ([0.1], TypeError, r"tolerance=\[0.1\]; expected"),
        (float("nan"), TypeError, "tolerance=nan; expected"),
        ("fast", ValueError, f"tolerance='fast' is not known; {CHOICES}"),
        ("0.1", ValueError, "tolerance='0.1' is not known"),
        (0, ValueError, "tolerance=0; expected"),
        (1, ValueError, "tolerance=1; expected"),
        (2.0, ValueError, "tolerance=2.0; expected"),
        (-0.1, ValueError, "tolerance=-0.1; expected"),
        ("auto", ValueError, "tolerance='auto' needs max_overhead.*max_overhead=, such as 0.05"),
    ],
)
def test_what_is_no_tolerance_is_an_error_at_construction(tolerance, error, message):
    with pytest.raises(error, match=message):
        check_asked_tolerance(tolerance, None)
    with pytest.raises(error, match=message):
        AblationCAMMonitor(tolerance=tolerance)


@pytest.mark.parametrize(
    ("tolerance", "error"), [("auto", TypeError), (True, TypeError), (0, ValueError)]
)
def test_maps_by_themselves_take_the_same_shares_but_no_auto(tolerance, error):
    with pytest.raises(error, match=f"^tolerance=.*; expected None, which is exact, {SHARE}$"):
        Options(tolerance=tolerance)


@pytest.mark.parametrize("tolerance", [None, 0.02, 0.999, "auto"])
def test_what_is_one(tolerance):
    monitor = AblationCAMMonitor(tolerance=tolerance, max_overhead=0.05)
    assert monitor.tolerance == tolerance
    assert monitor.options.tolerance == (None if tolerance == "auto" else tolerance)


@given(st.floats(0.001, 0.1), st.integers(0, 10**6))
def test_the_drift_that_is_no_news_is_as_documented(error, seed):
    generator = torch.Generator().manual_seed(seed)
    heat = torch.rand(1, 7, 7, generator=generator, dtype=torch.float64) ** 4
    heat /= heat.amax()
    # The worst that an error at every place can do: at right angles to the map.
    off = torch.randn(1, 7, 7, generator=generator, dtype=torch.float64)
    off -= heat * (off * heat).sum() / heat.square().sum()
    off *= error / off.abs().amax()
    most = error**2 / (2 * heat.square().mean())
    assert float(drift(heat, heat + off)) <= float(most) + 1e-12
