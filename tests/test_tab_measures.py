"""Measures and alarms on the tab's page in a real browser: groups, gaps, limits, marks, filters."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest

from lightning_ablationcam import write_report
from lightning_ablationcam.measures.axis import FAITHFULNESS, FOCUS
from lightning_ablationcam.records.format import encode_heat, encode_probes
from tests.browser import expect, needs_browser, settled, show, watched
from tests.tab_events import EventFile, heat, probes
from tests.tab_page import (
    ALL_MEASURES,
    Tab,
    an_alarm,
    evolution,
    measured,
    served,
    write_run,
)
from tests.test_tab_page import (
    FAINT_TEXTS,
    HOSTILE,
    TINY_TARGETS,
    TOO_WIDE,
    assert_state,
    numbers,
    step,
)

pytestmark = needs_browser

EVERY = 4
UNKNOWN = "\N{EN DASH}"
BORDER = an_alarm("border_heat", above=0.5, for_passes=2)
ANY_BORDER = an_alarm("border_heat", above=0.5, for_passes=2, of="any")
MASK = an_alarm("mask_heat", HOSTILE, below=0.3, for_passes=2, of="any")


@pytest.fixture(scope="module")
def made():
    """A run with all measures, some of them in every so many passes, and two alarms."""
    return measured(evolution(probes=6, steps=18), every=EVERY, alarms=[BORDER, MASK])


@pytest.fixture(scope="module")
def plain():
    """A run without alarms and masks, with further classes."""
    return measured(evolution("plain", probes=6, steps=18, roles=("rival",)), masks=False)


@pytest.fixture(scope="module")
def silent():
    """A run with all measures and no alarm."""
    return measured(evolution("silent", probes=6, steps=18))


@pytest.fixture(scope="module")
def other():
    """A run with an alarm on any probe."""
    rule = an_alarm("border_heat", "m", above=0.45, of="any")
    return measured(evolution("other", probes=6, steps=18), alarms=[rule], seed=3)


@pytest.fixture(scope="module")
def at(made, plain):
    with served(Tab().put(made, plain)) as url:
        yield url


def column(made, measure, probe):
    return [None if e[measure] is None else e[measure][probe] for e in made.data["steps"]]


def step_of(made, index):
    return made.data["steps"][index]["step"]


def ringing(made, index):
    return made.data["steps"][index]["alarms"]


def rang(made, name):
    return [i for i, entry in enumerate(made.data["steps"]) if name in entry["alarms"]]


def beginnings(made):
    """The steps at which an alarm rings that did not at the one before, and which these are."""
    found, before = {}, set()
    for i, entry in enumerate(made.data["steps"]):
        now = set(entry["alarms"])
        if now - before:
            found[i] = now - before
        before = now
    return found


def plot(page, label):
    label = re.compile(f"^{re.escape(label)}$")
    return page.locator("dialog .group .plot").filter(
        has=page.locator(".plot-label", has_text=label)
    )


def points(path):
    """The places of a path, in its box of 1000 x 100."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def heading(page, name):
    return page.locator("dialog .group").get_by_role("button", name=name)


def is_open(page):
    buttons = page.locator("dialog .group h3 button").all()
    return {b.inner_text(): b.get_attribute("aria-expanded") == "true" for b in buttons}


def test_the_fixture_has_what_the_tests_are_about(made):
    starts = beginnings(made)
    assert len(starts) >= 2
    assert {name for names in starts.values() for name in names} == {"border_heat", HOSTILE}
    beyond = {tuple(v) for e in made.data["steps"] for v in e["alarms"].values()}
    assert len(beyond) > 2
    assert () not in beyond
    assert rang(made, "border_heat") != rang(made, HOSTILE)
    assert ringing(made, 17) != ringing(made, 9)


class TestGroups:
    def test_every_measure_stands_under_its_groups_name(self, page, at, made):
        show(page, at, f"probe=2&step={step_of(made, 12)}")
        groups = {}
        for axis in ALL_MEASURES:
            groups.setdefault(axis.group, []).append(axis.label)
        groups["Evidence"] = ["Score", "Probability", *groups["Evidence"]]
        found = {
            group.locator("h3").inner_text(): group.locator(".plot-label").all_inner_texts()
            for group in page.locator("dialog .group").all()
        }
        assert found == groups
        hints = {
            label.inner_text(): label.get_attribute("title")
            for label in page.locator("dialog .group .plot-label").all()
        }
        assert {axis.label: axis.hint for axis in ALL_MEASURES}.items() <= hints.items()

    def test_numbers_are_written_in_their_unit(self, page, at, made):
        show(page, at, f"probe=2&step={step_of(made, 12)}")
        shown, entry = numbers(page), made.data["steps"][12]
        assert 12 % EVERY == 0
        for axis in ALL_MEASURES:
            value = entry[axis.name][2]
            text = f"{100 * value:.1f} %" if axis.percent else f"{value:.3f}"
            assert shown[axis.label] == (f"{value:.1f} px" if axis.unit else text)
        most = max(v for v in column(made, "shift", 2) if v is not None)
        written = f"{float(f'{most:.3g}'):g}"
        expect(plot(page, "Shift").locator(".range")).to_have_text(f"0 px … {written} px")
        assert plot(page, "Concentration").locator(".range").inner_text().startswith("10 % … ")

    def test_what_is_not_known_in_the_whole_run_is_left_out(self, page, at):
        show(page, at, "run=plain&probe=0")
        labels = [axis.label for axis in ALL_MEASURES]
        shown = list(numbers(page))
        assert set(labels) - set(shown) == {"Heat in mask", "Pointing game"}
        options = page.get_by_label("Measure of the curves").locator("option").all_inner_texts()
        assert "Mean border heat" in options
        assert "Mean heat in mask" not in options

    def test_one_pass_has_no_drift(self, page):
        once = measured(evolution("once", probes=2, steps=1))
        with served(Tab().put(once)) as url:
            show(page, url, "probe=0")
            assert {"Drift", "Shift"} & set(numbers(page)) == set()
            assert numbers(page)["Insertion"] == f"{once.data['steps'][0]['insertion'][0]:.3f}"
            show(page, url)
            assert page.locator(".card .plot-label").first.inner_text() == "Drift from first"

    @pytest.mark.parametrize(
        ("run", "opened"), [("plain", {"Change"}), ("version_0", {"Change", "Focus"})]
    )
    def test_what_is_open_fits_on_a_screen(self, page, at, run, opened):
        show(page, at, f"run={run}&probe=1")
        assert {name for name, is_ in is_open(page).items() if is_} == opened
        body = page.locator(".large-body").bounding_box()
        end = body["y"] + body["height"]
        for part in (".group:last-child", ".figures canvas[data-kind=a]"):
            box = page.locator(f"dialog {part}").bounding_box()
            assert body["y"] <= box["y"]
            assert box["y"] + box["height"] <= end + 1, part
        assert plot(page, "Insertion").locator(".chart-box").is_hidden()
        assert plot(page, "Insertion").locator(".value").first.is_visible()

    def test_the_picture_stays_while_the_curves_are_scrolled(self, page, at):
        show(page, at, "probe=1&groups=Change,Focus,Evidence,Faithfulness")
        plot(page, "Deletion").evaluate("node => node.scrollIntoView({ block: 'end' })")
        assert page.locator(".large-body").evaluate("node => node.scrollTop") > 50
        body = page.locator(".large-body").bounding_box()
        picture = page.locator("dialog canvas[data-kind=a]").bounding_box()
        assert picture["y"] >= body["y"]

    def test_a_group_is_folded_and_the_address_knows(self, page, at):
        show(page, at, "probe=1")
        heading(page, "Focus").focus()
        page.keyboard.press("Enter")
        assert_state(page, probe="1", groups="Change")
        assert plot(page, "Border heat").locator(".chart-box").is_hidden()
        expect(heading(page, "Focus")).to_be_focused()
        # The step moves and the headings stay.
        page.keyboard.press("ArrowLeft")
        settled(page)
        expect(heading(page, "Focus")).to_be_focused()
        page.keyboard.press("End")
        heading(page, "Change").click()
        assert_state(page, probe="1", groups="none")
        assert not any(is_open(page).values())
        heading(page, FAITHFULNESS).click()
        assert_state(page, probe="1", groups=FAITHFULNESS)
        assert plot(page, "Insertion").locator(".chart-box").is_visible()
        heading(page, FAITHFULNESS).click()
        heading(page, "Change").click()
        heading(page, FOCUS).click()
        # The usual ones again.
        assert_state(page, probe="1")

    def test_a_shared_address_opens_the_same(self, page, at):
        show(page, at, "probe=1&groups=Faithfulness,nothing,%3Cb%3E")
        assert {name for name, is_ in is_open(page).items() if is_} == {FAITHFULNESS}

    def test_both_sides_have_their_numbers(self, page, at, made):
        a, b = 12, 8
        show(page, at, f"probe=3&compare=side&step={step_of(made, a)}&bstep={step_of(made, b)}")
        node = plot(page, "Border heat")
        for index, place in ((a, ".value:not(.b)"), (b, ".value.b")):
            value = made.data["steps"][index]["border_heat"][3]
            expect(node.locator(place)).to_have_text(f"{100 * value:.1f} %")
        show(page, at, f"probe=3&step={step_of(made, a)}")
        expect(plot(page, "Border heat").locator(".value.b")).to_be_hidden()

    def test_names_from_a_file_are_text(self, page, made):
        axes = [dict(axis) for axis in made.data["measures"]]
        axes[4] |= {"label": HOSTILE, "hint": HOSTILE, "group": f"{HOSTILE}, a"}
        with served(Tab().put(made.replaced(measures=axes, run="odd"))) as url:
            show(page, url, "probe=0&measure=border_heat&sort=highest:border_heat")
            name = f"{HOSTILE}, a"
            button = page.locator("dialog .group h3 button", has_text="onerror")
            assert button.get_attribute("aria-expanded") == "true"
            heading(page, FAITHFULNESS).click()
            button.click()
            expect(button).to_have_attribute("aria-expanded", "false")
            button.click()
            expect(button).to_have_attribute("aria-expanded", "true")
            assert name[:40] in button.inner_text()
            assert page.locator("img").count() == 0
            assert page.title() == "Ablation-CAM"


class TestGaps:
    def test_known_values_are_connected_and_have_a_point_each(self, page, at, made):
        show(page, at, "probe=2&groups=Faithfulness,Focus")
        values = column(made, "insertion", 2)
        taken = [i for i, value in enumerate(values) if value is not None]
        assert taken == list(range(0, 18, EVERY))
        node = plot(page, "Insertion")
        line = node.locator("path.line").get_attribute("d")
        assert line.count("M") == 1
        places = points(line)
        assert [x for x, _ in places] == pytest.approx([1000 * i / 17 for i in taken], abs=0.1)
        most = max(values[i] for i in taken)
        assert [y for _, y in places] == pytest.approx(
            [95 - 90 * values[i] / most for i in taken], abs=0.1
        )
        dots = node.locator("path.dots").get_attribute("d")
        assert points(dots) == places
        assert dots.count("h0.01") == len(taken)
        # What is taken in every pass has none, also where the first has no number.
        for label in ("Concentration", "Drift"):
            expect(plot(page, label).locator("path.dots")).to_have_count(0)

    def test_the_points_can_be_seen(self, page, at):
        show(page, at, "probe=2&groups=Faithfulness")
        node = plot(page, "Insertion")
        box = node.locator(".chart-box").bounding_box()
        x, y = points(node.locator("path.dots").get_attribute("d"))[2]
        around = {"x": box["x"] + x / 1000 * box["width"] - 6, "width": 12}
        around |= {"y": box["y"] + y / 100 * box["height"] - 6, "height": 12}
        pixels = seen(page, around)
        dark = pixels.min(axis=2) < 120
        # A dot is about as high as it is wide, and wider than the line.
        rows = np.nonzero(dark)[0]
        assert 4 <= np.ptp(rows) + 1 <= 12
        assert dark[:, 6].sum() >= 4

    def test_a_probe_that_is_not_known_in_a_pass_that_was_taken_leaves_a_gap(self, page):
        odd = measured(evolution("odd", probes=2, steps=6), every=1)
        odd.data["steps"][3]["insertion"][0] = None
        with served(Tab().put(odd)) as url:
            show(page, url, "probe=0&step=96&groups=Faithfulness")
            node = plot(page, "Insertion")
            assert node.locator("path.line").get_attribute("d").count("M") == 2
            expect(node.locator(".value").first).to_have_text(UNKNOWN)
            expect(node.locator(".since")).to_be_hidden()

    def test_the_newest_known_number_and_the_step_it_is_of(self, page, at, made):
        index = 14
        last = index // EVERY * EVERY
        show(page, at, f"probe=2&step={step_of(made, index)}&groups=Faithfulness")
        node, value = plot(page, "Insertion"), made.data["steps"][last]["insertion"][2]
        expect(node.locator(".value").first).to_have_text(f"{value:.3f}")
        expect(node.locator(".since")).to_have_text(f"of step {step_of(made, last)}")
        assert node.locator(".since").is_visible()
        # Folded, it is said once.
        show(page, at, f"probe=2&step={step_of(made, index)}&groups=none")
        assert [one.inner_text() for one in page.locator(".since").all() if one.is_visible()] == [
            f"of step {step_of(made, last)}"
        ]
        show(page, at, f"probe=2&step={step_of(made, last)}&groups=Faithfulness")
        expect(node.locator(".since")).to_be_hidden()

    def test_folded_each_step_is_said_once(self, page):
        mixed = measured(evolution("mixed", probes=2, steps=6), every=1)
        for name in ("average_drop", "increase"):
            mixed.data["steps"][5][name] = None
        for name in ("average_gain", "insertion"):
            mixed.data["steps"][4][name] = mixed.data["steps"][5][name] = None
        with served(Tab().put(mixed)) as url:
            show(page, url, "probe=0&groups=none")
            labels = ["Increase in confidence", "Insertion"]
            for axis in ALL_MEASURES:
                if axis.group == FAITHFULNESS:
                    since = plot(page, axis.label).locator(".since")
                    assert since.is_visible() == (axis.label in labels), axis.label
            texts = [plot(page, label).locator(".since").inner_text() for label in labels]
            assert texts == [f"of step {step_of(mixed, i)}" for i in (4, 3)]

    def test_a_map_without_heat_has_no_share_of_it(self, page):
        cold = measured(evolution("cold", probes=2, steps=6), every=1)
        cold.data["steps"][5]["maxima"][0] = 0.0
        cold.data["steps"][5]["pointing_game"][0] = None
        with served(Tab().put(cold)) as url:
            show(page, url, "probe=0&measure=border_heat")
            shown = numbers(page)
            focus = [axis.label for axis in ALL_MEASURES if axis.group == FOCUS]
            assert {shown[label] for label in focus} == {"no heat"}
            assert shown["Insertion"] != "no heat" != shown["Drift"]
            values = page.locator(".card .plot:first-child .value:not(.b)").all_inner_texts()
            assert values[0] == "no heat"
            assert values[1].endswith(" %")
            show(page, url, f"probe=0&step={step_of(cold, 4)}")
            assert "no heat" not in numbers(page).values()

    def test_before_the_first_nothing_is_known(self, page):
        late = measured(evolution("late", probes=2, steps=4), every=1)
        for entry in late.data["steps"][:2]:
            entry["insertion"] = None
        with served(Tab().put(late)) as url:
            show(page, url, "probe=0&step=48")
            assert numbers(page)["Insertion"] == UNKNOWN
            expect(plot(page, "Insertion").locator("path.dots")).to_have_count(0)


def seen(page, clip):
    """The pixels of a part of the window, as they are seen."""
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(page.screenshot(clip=clip)))
    return np.asarray(image.convert("RGB")).astype(int)


class TestLimits:
    def test_the_limit_stands_in_the_curve_with_its_number(self, page, made):
        rules = [ANY_BORDER, MASK]
        with served(Tab().put(measured(made, every=EVERY, alarms=rules))) as url:
            show(page, url, "probe=1")
            values = column(made, "border_heat", 1)
            high = max(max(values), 0.5 * 1.15)
            y = 95 - 90 * 0.5 / high
            node = plot(page, "Border heat")
            line = points(node.locator("path.limit").get_attribute("d"))
            assert line[0][1] == pytest.approx(y, 0.01)
            beyond = node.locator("rect.beyond")
            assert float(beyond.get_attribute("y")) == 0
            assert float(beyond.get_attribute("height")) == pytest.approx(y, abs=0.1)
            number = node.locator(".limit-value")
            assert number.inner_text() == "50 %"
            title = "Alarm: border heat of any probe above 50 % for 2 passes"
            assert number.get_attribute("title") == title
            below = plot(page, "Heat in mask").locator("rect.beyond")
            assert float(below.get_attribute("y")) + float(below.get_attribute("height")) == 100
            # No other curve has one.
            expect(page.locator("dialog rect.beyond")).to_have_count(2)

    def test_a_limit_of_the_mean_is_not_that_of_a_probe(self, page, at):
        show(page, at, "probe=1")
        node = plot(page, "Border heat")
        expect(node.locator("path.limit.of-mean")).to_have_count(1)
        expect(node.locator("rect.beyond")).to_have_count(0)
        expect(node.locator("path.dots.beyond")).to_have_count(0)
        number = node.locator(".limit-value")
        assert number.inner_text() == "50 % (mean)"
        title = (
            "Alarm: mean border heat above 50 % for 2 passes\n"
            "The limit is that of the mean over all probes, not of this one"
        )
        assert number.get_attribute("title") == title
        assert title in node.locator(".chart-box").get_attribute("title")

    def test_a_limit_of_any_probe_is_not_that_of_the_mean(self, page, at, made):
        show(page, at, "measure=mask_heat")
        overview = page.locator(".side-a .overview")
        for part in ("path.limit", "rect.beyond", ".limit-value", "path.dots.beyond"):
            expect(overview.locator(part)).to_have_count(0)
        title = overview.locator(".chart-box").get_attribute("title")
        assert title.endswith(
            f"\nAlarm: {HOSTILE}: heat in mask of any probe below 30 % for 2 passes"
        )
        # When it rang is told all the same.
        ticks = points(overview.locator("path.rang").get_attribute("d"))
        assert len(ticks) == len(rang(made, HOSTILE))
        assert page.locator(".card path.limit").count() > 0

    def test_two_limits_of_a_rule_do_not_cover_each_other(self, page, made):
        rule = an_alarm("border_heat", above=0.36, below=0.34)
        with served(Tab().put(measured(made, alarms=[rule]))) as url:
            for state, where in (("", ".side-a .overview"), ("probe=1", "dialog")):
                show(page, url, state)
                one, other = (n.bounding_box() for n in page.locator(f"{where} .limit-value").all())
                apart = one["x"] + one["width"] <= other["x"] or (
                    other["x"] + other["width"] <= one["x"]
                )
                assert apart, (one, other)

    def test_what_is_beyond_is_tinted(self, page, at):
        show(page, at, "step=24")
        node = page.locator(".side-a .overview")
        box = node.locator(".chart-box").bounding_box()
        y = float(node.locator("rect.beyond").get_attribute("height")) / 100 * box["height"]
        # Left of where the curve rises.
        clip = {"x": box["x"] + box["width"] * 0.12, "width": 10, "y": box["y"]}
        above = seen(page, clip | {"height": y - 2}).reshape(-1, 3)
        # 9 % of #c62828 over white.
        assert np.abs(np.median(above, axis=0) - [250, 236, 236]).max() <= 1
        below = seen(page, clip | {"y": box["y"] + y + 3, "height": 5}).reshape(-1, 3)
        assert (np.median(below, axis=0) == 255).all()

    def test_a_limit_that_no_value_reaches_is_in_sight(self, page, made):
        rule = an_alarm("average_drop", above=0.9, of="any")
        high = measured(made.replaced(run="high"), alarms=[rule])
        with served(Tab().put(high)) as url:
            show(page, url, "probe=1")
            node = plot(page, "Average drop")
            # The greatest value there is.
            expect(node.locator(".range")).to_have_text("0 % … 100 %")
            assert 0 < float(node.locator("rect.beyond").get_attribute("height")) < 20
            assert heading(page, FAITHFULNESS).get_attribute("aria-expanded") == "true"
            # Its number is below the line, since there is no room above it.
            number, box = (
                node.locator(part).bounding_box() for part in (".limit-value", ".chart-box")
            )
            assert number["y"] >= box["y"]

    @pytest.mark.parametrize("probe", [0, 3])
    def test_steps_at_which_the_probe_was_in_an_alarm_are_marked(self, page, at, made, probe):
        show(page, at, f"probe={probe}")
        for label, measure, rule in (
            ("Border heat", "border_heat", BORDER),
            ("Heat in mask", "mask_heat", MASK),
        ):
            rings = rang(made, rule["name"])
            mine = [i for i in rings if probe in ringing(made, i)[rule["name"]]]
            card = page.locator(f".card[data-probe='{probe}'] .plot").first
            for node in (plot(page, label), *([card] if rule is BORDER else [])):
                found = node.locator("path.rang")
                ticks = points(found.get_attribute("d")) if mine else []
                places = [1000 * i / 17 for i in mine]
                assert [x for x, _ in ticks] == pytest.approx(places, abs=0.1)
                assert found.count() == bool(mine)
            node = plot(page, label)
            dots = node.locator("path.dots.beyond")
            if not mine or rule is BORDER:
                expect(dots).to_have_count(0)
                continue
            curve = points(node.locator("path.line").get_attribute("d"))
            assert points(dots.get_attribute("d")) == [curve[i] for i in mine]
            assert column(made, measure, probe)[mine[0]] is not None

    def test_another_class_has_no_limits(self, page, made):
        rule = an_alarm("drift", above=0.01, of="any")
        run = evolution("roles", probes=3, steps=8, roles=("rival",))
        with served(Tab().put(measured(run, alarms=[rule]))) as url:
            show(page, url, "probe=0")
            assert page.locator("dialog rect.beyond").count() == 1
            badges = page.locator(".in-alarm:visible").count()
            show(page, url, "probe=0&role=rival")
            expect(page.locator(".summary")).to_contain_text("map of: rival")
            settled(page)
            assert page.locator("dialog rect.beyond").count() == 0
            # The run is in alarm all the same.
            assert page.locator(".in-alarm:visible").count() == badges > 0
            for title in (
                page.locator(".in-alarm:visible").first.get_attribute("title"),
                page.locator("dialog .in-alarms li").first.inner_text(),
            ):
                assert title.endswith("(of the class explained)")


class TestTimeLine:
    def test_marks_where_an_alarm_began_to_ring(self, page, at, made):
        show(page, at)
        marks = page.locator(".top .side-a .ring")
        starts = beginnings(made)
        assert marks.count() == len(starts)
        for mark, (index, names) in zip(marks.all(), starts.items(), strict=True):
            lines = mark.get_attribute("title").split("\n")
            for rule, words in (
                (BORDER, "mean border heat above 50 % for 2 passes"),
                (MASK, f"{HOSTILE}: heat in mask of any probe below 30 % for 2 passes"),
            ):
                count = len(ringing(made, index).get(rule["name"], []))
                line = f"{words}: {count} probe{'s' * (count != 1)}"
                line += "" if rule is BORDER else ", not the measure drawn"
                assert (line in lines) == (rule["name"] in names)
            # Those of the measure drawn stand out.
            is_other = "other" in mark.get_attribute("class")
            assert is_other == ("border_heat" not in names)
            assert mark.get_attribute("aria-label").startswith(f"Step {step_of(made, index)}: ")
            box, chart = mark.bounding_box(), page.locator(".side-a .overview .chart-box")
            middle = box["x"] + box["width"] / 2 - chart.bounding_box()["x"]
            assert middle == pytest.approx(chart.bounding_box()["width"] * index / 17, abs=1)
        index = list(starts)[-1]
        marks.last.click(position={"x": 12, "y": 4})
        expect(page.locator(".top .side-a .step")).to_have_text(f"Step {step_of(made, index)}")
        assert_state(page, step=str(step_of(made, index)))

    def test_a_click_on_a_mark_and_one_below_it(self, page):
        run = evolution("long", probes=3, steps=90)
        long = measured(run, alarms=[an_alarm("border_heat", above=0.5)])
        with served(Tab().put(long)) as url:
            show(page, url)
            mark = page.locator(".side-a .ring").first
            mark.click(position={"x": 1, "y": 6})
            index = min(beginnings(long))
            now = page.locator(".top .side-a .step")
            expect(now).to_have_text(f"Step {step_of(long, index):,}")
            # There it is one on the curve.
            box, chart = mark.bounding_box(), page.locator(".side-a .overview .chart-box")
            page.mouse.click(box["x"] + 1, box["y"] + 20)
            share = (box["x"] + 1 - chart.bounding_box()["x"]) / chart.bounding_box()["width"]
            beside = round(share * 89)
            assert beside != index
            expect(now).to_have_text(f"Step {step_of(long, beside):,}")

    def test_marks_that_would_overlap_are_one(self, page):
        rules = [an_alarm("border_heat", above=0.5), an_alarm("mask_heat", "m", above=0.0)]
        run = measured(evolution("close", probes=3, steps=90), alarms=rules)
        for i, entry in enumerate(run.data["steps"]):
            entry["alarms"] = {"border_heat": [0]} if i == 40 else {"m": [1]} if i == 42 else {}
        with served(Tab().put(run)) as url:
            show(page, url, "step=24")
            (mark,) = page.locator(".side-a .ring").all()
            assert mark.get_attribute("title").split("\n") == [
                f"Step {step_of(run, 40)}: mean border heat above 50 %: 1 probe",
                f"Step {step_of(run, 42)}: m: mean heat in mask above 0 %: 1 probe, not the measure"
                " drawn",
            ]
            mark.click(position={"x": 12, "y": 4})
            expect(page.locator(".top .side-a .step")).to_have_text(f"Step {step_of(run, 40):,}")

    def test_they_are_seen_in_forced_colours(self, browser, at):
        with watched(browser, forced_colors="active") as page:
            show(page, at)
            box = page.locator(".side-a .ring").first.bounding_box()
            part = {"x": box["x"] + 11, "y": box["y"] + 1, "width": 2, "height": 3}
            beside = {"x": box["x"] + 1, "y": box["y"] + 1, "width": 3, "height": 3}
            assert np.abs(seen(page, part).mean() - seen(page, beside).mean()) > 100

    def test_a_key_goes_from_one_to_the_next(self, page, at, made):
        show(page, at, f"step={step_of(made, 0)}")
        page.evaluate("document.activeElement.blur()")
        starts = list(beginnings(made))
        order = [i for i in starts if i > 0] + starts[:1]
        for index in order:
            page.keyboard.press("a")
            settled(page)
            assert step(page) == f"Step {step_of(made, index)}"
        said = page.locator("#ablation-cam > [aria-live]").inner_text()
        assert said.startswith(f"Step {step_of(made, order[-1])}, alarm: ")
        # It is said where it can be read, and not where there are none.
        assert "next alarm" in page.locator(".keys").inner_text()
        show(page, at, "run=plain")
        page.keyboard.press("a")
        settled(page)
        assert_state(page, run="plain")
        assert "alarm" not in page.locator(".keys").inner_text()
        expect(page.locator(".ring")).to_have_count(0)

    def test_the_slider_and_the_summary_tell_of_what_rings(self, page, at, made):
        index = rang(made, "border_heat")[0]
        show(page, at, f"step={step_of(made, index)}")
        count = len(ringing(made, index)["border_heat"])
        slider = page.locator(".top input[data-step=a]")
        words = f"alarm: mean border heat above 50 % for 2 passes: {count} probes"
        assert words in slider.get_attribute("aria-valuetext")
        assert f"alarm: Border heat ({count} probes)" in page.locator(".summary").inner_text()
        index = next(i for i in range(18) if not ringing(made, i))
        show(page, at, f"step={step_of(made, index)}")
        assert "alarm" not in page.locator(".summary").inner_text()

    def test_it_rings_on_where_its_measure_is_not_taken(self, page):
        rule = an_alarm("average_drop", above=0.1)
        made = measured(evolution("on", probes=3, steps=10), every=3, alarms=[rule])
        with served(Tab().put(made)) as url:
            show(page, url)
            (start, *others) = beginnings_of_taken(made, 3)
            assert page.locator(".side-a .ring").count() == 1 + len(others)
            show(page, url, f"step={step_of(made, start + 1)}")
            assert page.locator(".in-alarm:visible").count() == len(
                ringing(made, start)["average_drop"]
            )

    def test_a_live_run_brings_new_marks(self, page, made):
        few = next(i for i in range(1, 18) if len(beginnings(made.first(i))) == 1)
        tab = Tab().put(made.first(few))
        with served(tab) as url:
            show(page, url)
            assert page.locator(".side-a .ring").count() == 1
            tab.put(made)
            show(page, url, "step=24")
            expect(page.locator(".side-a .ring")).to_have_count(len(beginnings(made)))


def beginnings_of_taken(made, every):
    rings = [bool(entry["alarms"]) for entry in made.data["steps"][::every]]
    return [every * i for i, (a, b) in enumerate(pairwise([False, *rings])) if b and not a]


class TestOverview:
    def test_the_mean_of_a_chosen_measure(self, page, at, made):
        show(page, at, "measure=drift")
        select = page.get_by_label("Measure of the curves")
        assert select.input_value() == "drift"
        select.select_option(label="Mean border heat")
        assert_state(page, measure="border_heat")
        settled(page)
        means = [np.mean(entry["border_heat"]) for entry in made.data["steps"]]
        high = max(*means, 0.5 * 1.15)
        overview = page.locator(".side-a .overview")
        curve = points(overview.locator("path.line").get_attribute("d"))
        assert [y for _, y in curve] == pytest.approx([95 - 90 * m / high for m in means], abs=0.1)
        assert overview.locator(".limit-value").inner_text() == "50 %"
        ticks = points(overview.locator("path.rang").get_attribute("d"))
        rings = rang(made, "border_heat")
        assert [x for x, _ in ticks] == pytest.approx([1000 * i / 17 for i in rings], abs=0.1)
        assert points(overview.locator("path.dots.beyond").get_attribute("d")) == [
            curve[i] for i in rings
        ]
        title = f"Mean border heat of all probes: {100 * means[-1]:.1f} %"
        assert overview.locator(".chart-box").get_attribute("title") == title
        # The cards have its curve, too.
        label, value = (page.locator(f".card .{part}").first for part in ("plot-label", "value"))
        assert label.inner_text() == "Border heat"
        assert value.inner_text() == f"{100 * made.data['steps'][-1]['border_heat'][0]:.1f} %"

    def test_at_first_it_is_the_measure_that_an_alarm_is_on(self, page, at):
        show(page, at)
        assert page.get_by_label("Measure of the curves").input_value() == "border_heat"
        assert page.locator(".card .plot-label").first.inner_text() == "Border heat"
        show(page, at, "run=plain")
        assert page.get_by_label("Measure of the curves").input_value() == "drift"

    def test_the_mean_of_one_with_gaps(self, page, at, made):
        show(page, at, "measure=insertion")
        overview = page.locator(".side-a .overview")
        means = [np.mean(entry["insertion"]) for entry in made.data["steps"][::EVERY]]
        line = overview.locator("path.line").get_attribute("d")
        assert line.count("M") == 1
        assert [y for _, y in points(line)] == pytest.approx(
            [95 - 90 * m / max(means) for m in means], abs=0.1
        )
        assert points(overview.locator("path.dots").get_attribute("d")) == points(line)
        text, since = f"{means[-1]:.3f}", f", of step {step_of(made, 16)}"
        title = overview.locator(".chart-box").get_attribute("title")
        assert title == f"Mean insertion of all probes: {text}{since}"
        number = page.locator(".side-a .mean")
        assert number.inner_text() == text
        assert number.get_attribute("title") == title
        slider = page.locator(".top input[data-step=a]")
        assert f", mean insertion {text}{since}" in slider.get_attribute("aria-valuetext")
        # Grey, and so on the cards.
        value = page.locator(".card .value:not(.b)").first
        for node in (number, value):
            expect(node).to_have_class(re.compile(r"\bold\b"))
        assert value.get_attribute("title") == since[2:]
        show(page, at, f"measure=insertion&step={step_of(made, 16)}")
        for node in (number, value):
            expect(node).not_to_have_class(re.compile(r"\bold\b"))
        assert number.get_attribute("title").endswith(text)

    def test_a_side_that_lacks_the_measure_of_a_says_so(self, page, made):
        few = evolution("few", probes=6, steps=18)
        with served(Tab().put(made, few)) as url:
            show(page, url, "compare=side&brun=few&measure=border_heat")
            assert page.locator(".side-b span.measure").inner_text() == "Mean border heat"
            assert page.locator(".side-b .mean").inner_text() == "not measured"
            assert page.locator(".side-b .overview path.line").get_attribute("d") == ""
            show(page, url, "compare=side&brun=few&measure=border_heat&probe=1")
            other = plot(page, "Border heat").locator(".value.b")
            assert other.inner_text() == "not measured"
            other = plot(page, "Concentration").locator(".value.b")
            assert other.inner_text().endswith(" %")

    def test_both_sides_show_the_same_measure(self, page, at):
        show(page, at, "compare=side&measure=shift")
        assert page.locator(".side-b span.measure").inner_text() == "Mean shift"
        tracks = [page.locator(f".top .side-{side} .track").bounding_box() for side in "ab"]
        assert tracks[0]["x"] == pytest.approx(tracks[1]["x"], abs=1)
        assert tracks[0]["width"] == pytest.approx(tracks[1]["width"], abs=1)

    @pytest.mark.parametrize("measure", ["nothing", "mask_heat", "constructor"])
    def test_one_that_is_not_there_is_the_first(self, page, at, measure):
        show(page, at, f"run=plain&measure={measure}")
        assert page.get_by_label("Measure of the curves").input_value() == "drift"
        assert page.locator(".card .plot-label").first.inner_text() == "Drift"

    def test_of_another_class_it_is_of_the_classes_explained(self, page, at, plain):
        show(page, at, "run=plain&measure=border_heat&role=rival")
        expect(page.locator(".summary")).to_contain_text("map of: rival")
        settled(page)
        mean = np.mean(plain.data["steps"][-1]["border_heat"])
        title = page.locator(".side-a .overview .chart-box").get_attribute("title")
        assert title.endswith(f": {100 * mean:.1f} % (of the class explained)")
        select = page.get_by_label("Measure of the curves")
        assert select.locator("option:checked").inner_text().endswith("(of the class explained)")
        # Nothing else takes its place.
        label, value = (page.locator(f".card .{part}").first for part in ("plot-label", "value"))
        assert label.inner_text() == "Border heat"
        assert value.inner_text() == UNKNOWN
        assert "class explained" in label.get_attribute("title")
        select.select_option("drift")
        settled(page)
        assert select.locator("option:checked").inner_text() == "Mean drift"
        assert value.inner_text() != UNKNOWN


class TestCards:
    def names(self, page):
        settled(page)
        return page.locator(".card h3").all_inner_texts()

    def wanted(self, made, index, *alarms):
        rings = ringing(made, index)
        beyond = {i for name in alarms or rings for i in rings.get(name, [])}
        return [p["name"] for i, p in enumerate(made.data["probes"]) if i in beyond]

    def test_badges_say_which_alarms(self, page, at, made):
        some = 0
        for index in (rang(made, "border_heat")[0], rang(made, HOSTILE)[-1], 0):
            show(page, at, f"step={step_of(made, index)}&size=s")
            for probe in range(6):
                badge = page.locator(f".card[data-probe='{probe}'] .in-alarm")
                mine = [name for name, who in ringing(made, index).items() if probe in who]
                some += len(mine)
                if not mine:
                    expect(badge).to_be_hidden()
                    continue
                text = "Alarm" if len(mine) == 1 else f"{len(mine)} alarms"
                assert badge.inner_text() == text
                lines = badge.get_attribute("title").split("\n")
                assert len(lines) == len(mine)
                assert ("border_heat" in mine) == any("mean border heat" in x for x in lines)
        assert some > 4

    def test_the_large_view_says_it_in_words(self, page, at, made):
        index = rang(made, "border_heat")[0]
        probe = ringing(made, index)["border_heat"][0]
        show(page, at, f"probe={probe}&step={step_of(made, index)}")
        texts = page.locator("dialog .in-alarms li").all_inner_texts()
        assert any(text.startswith("mean border heat above 50 % for 2 passes: ") for text in texts)
        mine = [name for name, who in ringing(made, index).items() if probe in who]
        assert len(texts) == len(mine)
        none = next(i for i in range(18) if not any(probe in v for v in ringing(made, i).values()))
        show(page, at, f"probe={probe}&step={step_of(made, none)}")
        expect(page.locator("dialog .in-alarms")).to_be_hidden()

    def test_both_sides_tell_of_their_alarms(self, page, silent, other):
        with served(Tab().put(silent, other)) as url:
            index = next(i for i in rang(other, "m") if i < 17)
            who = ringing(other, index)["m"]
            at_step = f"step={step_of(other, index)}&compare=side&brun=other"
            show(page, url, at_step)
            for probe in range(6):
                badge = page.locator(f".card[data-probe='{probe}'] .in-alarm")
                if probe not in who:
                    expect(badge).to_be_hidden()
                    continue
                assert badge.inner_text() == "B: Alarm"
                words = "B: m: border heat of any probe above 45 %: "
                assert badge.get_attribute("title").startswith(words)
            summary = page.locator(".summary").inner_text()
            assert f"B: alarm: m ({len(who)} probe" in summary
            assert "A: alarm" not in summary
            show(page, url, f"{at_step}&alarm=any")
            assert self.names(page) == self.wanted(other, index)
            show(page, url, f"{at_step}&probe={who[0]}")
            (line,) = page.locator("dialog .in-alarms li").all_inner_texts()
            assert line.startswith("B: m: border heat of any probe above 45 %: ")
            node = plot(page, "Border heat")
            values = column(other, "border_heat", who[0])
            mine = [i for i in rang(other, "m") if who[0] in ringing(other, i)["m"]]
            curve = points(node.locator("path.line.b").get_attribute("d"))
            dots = points(node.locator("path.dots.beyond").get_attribute("d"))
            assert dots == [curve[i] for i in mine if values[i] is not None]
            ticks = points(node.locator("path.rang.b").get_attribute("d"))
            assert [x for x, _ in ticks] == pytest.approx([1000 * i / 17 for i in mine], abs=0.1)
            assert node.locator(".limit-value").inner_text() == "B: 45 %"

    def test_the_key_goes_to_alarms_of_b(self, page, silent, other):
        with served(Tab().put(silent, other)) as url:
            starts = list(beginnings(other))
            show(page, url, f"step={step_of(other, 0)}&compare=side&brun=other")
            page.keyboard.press("a")
            settled(page)
            first = next(i for i in starts if i > 0)
            assert step(page) == f"Step {step_of(other, first)}"
            said = page.locator("#ablation-cam > [aria-live]").inner_text()
            assert "alarm: B: m: " in said
            page.get_by_label("Same step in both runs").uncheck()
            page.evaluate("document.activeElement.blur()")
            settled(page)
            assert "of B" in page.locator(".keys").inner_text()
            show(page, url, "step=24&compare=side&brun=other&together=no&bstep=first")
            page.keyboard.press("Shift+A")
            settled(page)
            assert step(page) == "Step 24"
            now = page.locator(".top .side-b .step")
            expect(now).to_have_text(f"Step {step_of(other, first)}")

    def test_the_filter(self, page, at, made):
        index = next(i for i in rang(made, "border_heat") if len(ringing(made, i)) == 2)
        show(page, at, f"step={step_of(made, index)}")
        assert len(self.names(page)) == 6
        select = page.get_by_label("Alarm", exact=True)
        select.select_option(label="In an alarm at this step")
        assert self.names(page) == self.wanted(made, index)
        assert_state(page, step=str(step_of(made, index)), alarm="any")
        select.select_option(label="In “Border heat”")
        assert self.names(page) == self.wanted(made, index, "border_heat")
        select.select_option(value=f"={HOSTILE}")
        found = self.wanted(made, index, HOSTILE)
        assert self.names(page) == found
        assert found != self.wanted(made, index, "border_heat")
        assert page.locator("img").count() == 0
        quiet = next(i for i in range(18) if not ringing(made, i))
        show(page, at, f"step={step_of(made, quiet)}&alarm=any")
        assert self.names(page) == []
        page.get_by_role("button", name="Show all probes").click()
        assert len(self.names(page)) == 6

    def test_there_is_none_without_alarms(self, page, at):
        show(page, at, "run=plain&alarm=any")
        expect(page.get_by_label("Alarm", exact=True)).to_be_hidden()
        assert len(self.names(page)) == 6
        show(page, at, "alarm=%3Dgone")
        assert len(self.names(page)) == 6
        assert page.get_by_label("Alarm", exact=True).input_value() == ""

    def test_sorting_by_a_measure(self, page, at, made):
        names = np.array([probe["name"] for probe in made.data["probes"]])
        show(page, at, f"step={step_of(made, 10)}")
        select = page.get_by_label("Sort")
        labels = select.locator("option").all_inner_texts()
        assert labels[:5] == [
            "As logged",
            "Name",
            "Largest drift at any step",
            "Largest drift at this step",
            "Lowest score at this step",
        ]
        assert len(labels) == 5 + len(ALL_MEASURES)
        select.select_option(label="Highest border heat at this step")
        values = np.array(made.data["steps"][10]["border_heat"])
        assert self.names(page) == names[np.argsort(-values)].tolist()
        # It is shown, too.
        chosen = {"sort": "highest:border_heat", "measure": "border_heat"}
        assert_state(page, step=str(step_of(made, 10)), **chosen)
        select.select_option(label="Lowest heat in mask at this step")
        values = np.array(made.data["steps"][10]["mask_heat"])
        assert self.names(page) == names[np.argsort(values)].tolist()
        assert page.locator(".card .plot-label").first.inner_text() == "Heat in mask"
        # Of one that is not taken here, the newest numbers.
        select.select_option(label="Lowest insertion at this step")
        values = np.array(made.data["steps"][8]["insertion"])
        assert self.names(page) == names[np.argsort(values)].tolist()

    def test_an_order_that_is_not_there_is_the_first(self, page, at, plain):
        names = [probe["name"] for probe in plain.data["probes"]]
        for order in ("lowest:mask_heat", "highest:nothing", "sideways:drift"):
            show(page, at, f"run=plain&sort={order}")
            assert page.get_by_label("Sort").input_value() == "logged"
            if order != "lowest:mask_heat":
                assert self.names(page) == names


class TestOlderRecords:
    """What was written before measures had a group and a hint, and runs had alarms."""

    def lowered(self, strings, version):
        text, *rest = strings
        fields = json.loads(text) | {"version": version}
        if version == 1:
            fields |= fields.pop("measures") if isinstance(fields["measures"], dict) else {}
            fields.pop("measures", None)
        elif isinstance(fields["measures"], list):
            for axis in fields["measures"]:
                for name in ("unit", "group", "hint", "worse"):
                    del axis[name]
        del fields["alarms"]
        return [json.dumps(fields).encode(), *rest]

    @pytest.mark.parametrize("version", [1, 2, 3])
    def test_they_are_shown_with_names_and_hints(self, browser, tmp_path, version):
        with EventFile(tmp_path / "logs") as file:
            file.strings("a/probes", self.lowered(encode_probes(probes()), version), 0, 1.0)
            for i in range(3):
                values = {"drift": (0.25 * i, 0.5), "concentration": (0.5, 0.125)}
                strings = encode_heat(heat(i, measures=values))
                file.strings("a/heat", self.lowered(strings, version), 10 * i, 2.0 + i)
        path = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser, offline=True) as page:
            show(page, path.as_uri(), "probe=0")
            shown = numbers(page)
            assert (shown["Drift"], shown["Concentration"]) == ("0.500", "50.0 %")
            assert list(is_open(page)) == ["Change", "Focus", "Evidence"]
            for label, hint in (("Drift", "1 - cosine"), ("Concentration", "hottest tenth")):
                title = plot(page, label).locator(".plot-label").get_attribute("title")
                assert hint in title
            expect(page.get_by_label("Alarm", exact=True)).to_be_hidden()


class TestReport:
    def test_it_shows_the_same(self, browser, made, tmp_path):
        with EventFile(tmp_path / "logs" / "version_0") as file:
            write_run(file, made)
        path = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser, offline=True) as page:
            index = rang(made, "border_heat")[0]
            state = f"step={step_of(made, index)}&measure=border_heat"
            show(page, path.as_uri(), state)
            assert page.locator(".side-a .ring").count() == len(beginnings(made))
            beyond = {i for who in ringing(made, index).values() for i in who}
            assert page.locator(".in-alarm:visible").count() == len(beyond)
            assert page.locator(".side-a .overview .limit-value").inner_text() == "50 %"
            show(page, path.as_uri(), f"{state}&probe=1")
            entry = made.data["steps"][index]
            assert numbers(page)["Border heat"] == f"{100 * entry['border_heat'][1]:.1f} %"
            last = index // EVERY * EVERY
            assert numbers(page)["Insertion"] == f"{made.data['steps'][last]['insertion'][1]:.3f}"
            limit = plot(page, "Border heat").locator(".limit-value")
            assert limit.inner_text() == "50 % (mean)"


class TestForAll:
    STATES = (
        "step=240",
        "compare=side&measure=border_heat",
        "probe=1&step=240&groups=Change,Focus,Evidence,Faithfulness",
        "probe=1&step=240&groups=none",
        "probe=3&compare=side&step=240",
    )

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_contrast_names_and_targets(self, page, at, theme):
        page.emulate_media(color_scheme=theme)
        for state in self.STATES:
            show(page, at, state)
            assert page.evaluate(FAINT_TEXTS) == [], state
            assert page.evaluate(TINY_TARGETS) == [], state
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, select')].filter(node =>
            !(node.labels?.length || node.getAttribute('aria-label') ||
              node.textContent.trim())).map(node => node.outerHTML)"""
        )
        assert nameless == []

    @pytest.mark.parametrize("width", [1900, 1280, 800, 400])
    def test_no_horizontal_scrolling(self, browser, at, width):
        with watched(browser, viewport={"width": width, "height": 800}) as page:
            for state in self.STATES:
                show(page, at, state)
                assert page.evaluate(TOO_WIDE) == [], state
                cut = page.evaluate(
                    """() => [...document.querySelectorAll('.card .value:not(.b)')]
                    .filter(node => node.scrollWidth > node.clientWidth + 1)
                    .map(node => node.textContent)"""
                )
                assert cut == [], state
