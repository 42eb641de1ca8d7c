"""A difference that can be read: its scale, its colours, its numbers; and the wipe of A and B."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.browser import card, expect, needs_browser, pixels, settled, show
from tests.tab_page import Tab, evolution, served
from tests.test_tab_page import (
    assert_close,
    assert_state,
    expected,
    expected_difference,
    picture_of,
    smooth,
)

pytestmark = needs_browser

MINUS = "\N{MINUS SIGN}"
# Machado et al., "A physiologically-based model for simulation of color vision deficiency", 2009,
# at severity 1.
VISIONS = {
    "usual": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def flat(tone, size=224):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (tone, tone, tone)).save(buffer, "PNG")
    return buffer.getvalue()


def apart(most, probes=3, steps=4, cells=8):
    """A run whose first step differs from the others in a cell of each probe, by ``most[probe]``.

    The difference is the largest at the last step and half as large at those before.
    """
    made = evolution("apart", probes=probes, steps=steps, cells=cells)
    made.maps[:] = 100
    made.maps[:, :, 0, 0] = 255  # the maximum, which both have
    for probe, by in enumerate(most):
        made.maps[1:, probe, 2, 5] = 100 + by // 2
        made.maps[-1, probe, 2, 5] = 100 + by
        made.maps[-1, probe, 6, 1] = 100 - by // 2
        made.pictures[probe] = flat(9)
    return made


@pytest.fixture(scope="module")
def run():
    return apart([51, 102, 0])


@pytest.fixture(scope="module")
def two():
    first = evolution(probes=4, steps=12)
    # A and B of a wipe must not look alike at either side.
    first.maps[0, 1, :, :2] = first.maps[-1, 1, :, 5:] = 255
    return first, evolution("other", probes=4, steps=8, seed=3)


@pytest.fixture(scope="module")
def at(run, two):
    with served(Tab().put(run, *two)) as url:
        yield url


def ticks(legend):
    return legend.locator(".ticks span").all_inner_texts()


def lightness(rgb):
    """CIE L* a* b* of linear light."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    f = np.cbrt(to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


class TestScale:
    def test_the_largest_on_show_has_the_full_colour(self, page, at, run):
        show(page, at, "run=apart&compare=difference&scale=map")
        legend = page.locator(".top .legend")
        assert ticks(legend) == [f"{MINUS}40 %", "0", "+40 %"]
        words = legend.inner_text().split("\n")
        assert (words[0], words[-1]) == (
            "more in B",
            "more in A · 100 % is each map's own maximum",
        )
        assert "40 %, the largest difference" in legend.get_attribute("aria-label")
        for probe in range(3):
            shown = pixels(card(page, probe))
            size = shown.shape[:2]
            a, b = (smooth(run.maps[step, probe] / 255, size) for step in (-1, 0))
            picture = np.full((*size, 3), 9.0)
            wanted = expected_difference(a, b, 102 / 255, picture)
            assert np.abs(shown - wanted).max() < 9, probe
        # Of the cards on show: without the second probe, the first one's is the largest.
        show(page, at, "run=apart&compare=difference&scale=map&search=astronaut")
        assert ticks(legend) == [f"{MINUS}20 %", "0", "+20 %"]

    def test_it_keeps_still_from_step_to_step(self, page, at, run):
        seen = set()
        for step in (24, 48, 72, 96):
            show(page, at, f"run=apart&compare=difference&scale=map&step={step}")
            seen.add(tuple(ticks(page.locator(".top .legend"))))
            assert pixels(card(page, 1))[112, 4].min() > 180, "no difference is light"
        assert seen == {(f"{MINUS}40 %", "0", "+40 %")}

    def test_the_large_view_has_the_scale_of_its_probe(self, page, at):
        show(page, at, "run=apart&compare=difference&scale=map&probe=0")
        heat, difference = page.locator("dialog .legend").all()
        assert ticks(difference) == [f"{MINUS}20 %", "0", "+20 %"]
        assert ticks(heat) == ["0", "50", "100 %"]
        assert ticks(page.locator(".top .legend")) == [f"{MINUS}40 %", "0", "+40 %"]
        shown = pixels(page.locator("dialog canvas[data-kind=difference]")).astype(int)
        most = shown[int(2.5 / 8 * len(shown)), int(5.5 / 8 * len(shown))]
        assert most[0] - most[2] > 120, "the largest has the full amber"

    def test_what_rounding_makes_is_not_blown_up(self, page):
        made = apart([1, 1, 0])
        with served(Tab().put(made)) as url:
            show(page, url, "compare=difference&scale=map")
            assert ticks(page.locator(".top .legend")) == [f"{MINUS}2 %", "0", "+2 %"]
            assert np.ptp(pixels(card(page, 0)).astype(int), axis=2).max() < 40

    def test_two_runs_that_move_together(self, page, at, two):
        first, second = two
        state = "run=version_0&brun=other&compare=difference&scale=map&step=72"
        beside = [min(i, 7) for i in range(12)]
        # Of the last, B's map of this step differs less from all of A's.
        for probe in (2, 3):
            show(page, at, f"{state}&probe={probe}")
            pairs = first.maps[:, probe].astype(float) - second.maps[beside, probe]
            most = f"{round(100 * np.abs(pairs).max() / 255)} %"
            assert ticks(page.locator("dialog .legend").nth(1)) == [MINUS + most, "0", f"+{most}"]

    def test_maps_of_other_sizes(self, page, two):
        coarse = evolution("coarse", probes=4, steps=3, cells=4)
        with served(Tab().put(two[0], coarse)) as url:
            show(page, url, "run=version_0&brun=coarse&compare=difference&scale=map&probe=1")
            frame = page.locator("dialog .frame").first
            frame.hover(position={"x": 5, "y": 5})
            texts = page.locator("dialog .reading").all_inner_texts()
            assert texts[0].startswith("Row 1 of 7, column 1 of 7: ")
            assert texts[1].startswith("Row 1 of 4, column 1 of 4: ")
            assert texts[2] == "A and B have other cells: no cell is in both"

    def test_the_signs_are_told_apart_with_every_colour_vision(self, page, at):
        show(page, at, "run=apart&compare=difference&scale=map")
        scale = pixels(page.locator(".top .legend canvas"))[8] / 255
        linear = np.where(scale <= 0.04045, scale / 12.92, ((scale + 0.055) / 1.055) ** 2.4)
        ends = {name: linear[at] for name, at in (("b", 0), ("middle", 128), ("a", 255))}
        for vision, matrix in VISIONS.items():
            b, middle, a = (lightness(np.array(matrix) @ ends[name]) for name in ends)
            for one, other in ((a, b), (a, middle), (b, middle)):
                assert np.linalg.norm(one - other) > 40, vision
        luminance = {name: rgb @ [0.2126, 0.7152, 0.0722] for name, rgb in ends.items()}
        assert luminance["middle"] > 0.6
        assert (luminance["a"] + 0.05) / (luminance["b"] + 0.05) > 2.2
        assert (luminance["middle"] + 0.05) / (luminance["a"] + 0.05) > 2


class TestNumbers:
    def test_the_heat_legend(self, page, at):
        show(page, at, "run=version_0")
        legend = page.locator(".top .legend")
        assert ticks(legend) == ["0", "50", "100 %"]
        expect(legend).to_contain_text("100 % is a map's maximum at its probe's largest balance")
        bar = legend.locator("canvas").bounding_box()
        middle = legend.locator(".ticks span").nth(1).bounding_box()
        off = middle["x"] + middle["width"] / 2 - bar["x"] - bar["width"] / 2
        assert abs(off) < 1

    def test_a_and_b_beside_their_curves(self, page, at, two):
        made = two[0]
        show(page, at, "run=version_0&compare=side&step=192&bstep=96&probe=1&groups=Evidence")
        plot = page.locator("dialog .group .plot", has_text="Score")
        a, b = plot.locator(".value:not(.b)"), plot.locator(".value.b")
        for node, step in ((a, 7), (b, 3)):
            value = float(node.inner_text().replace(MINUS, "-"))
            assert value == pytest.approx(float(f"{made.data['steps'][step]['scores'][1]:.3g}"))
        color = "node => getComputedStyle(node).color"
        before = "node => getComputedStyle(node, '::before').content"
        badges = page.locator("dialog .facts thead th")
        assert a.evaluate(color) == badges.first.evaluate(color)
        assert b.evaluate(color) == badges.last.evaluate(color)
        assert (a.evaluate(before), b.evaluate(before)) == ('"A " / "A: "', '"B " / "B: "')
        # On a card as well, one below the other.
        card_plot = page.locator(".card[data-probe='1'] .plot", has_text="Score")
        numbers = [card_plot.locator(one) for one in (".value:not(.b)", ".value.b")]
        assert [one.text_content() for one in numbers] == [a.inner_text(), b.inner_text()]
        assert [one.evaluate(color) for one in numbers] == [a.evaluate(color), b.evaluate(color)]
        above, below = (one.bounding_box() for one in numbers)
        assert below["y"] >= above["y"] + above["height"]
        # With two runs, each line has the colour of its number.
        show(page, at, "run=version_0&brun=other&compare=side&probe=1&groups=Evidence")
        stroke = "node => getComputedStyle(node).stroke"
        for line, number in (("a", ".value:not(.b)"), ("b", ".value.b")):
            drawn = plot.locator(f".line.{line}").evaluate(stroke)
            assert drawn == plot.locator(number).evaluate(color)


class TestWipe:
    STATE = "run=version_0&compare=side&step=288&bstep=24&scale=map&probe=1"

    def halves(self, page, made, share):
        """How far the picture is from A and from B, left and right of a line."""
        shown = pixels(page.locator("dialog canvas[data-kind=a]"))
        size = shown.shape[:2]
        at = round(share * size[1])
        a, b = (expected(made, step, 1, size, scale="map") for step in (-1, 0))
        off = [np.abs(shown - one).mean(axis=(0, 2)) for one in (a, b)]
        return [[one[: at - 1].mean(), one[at + 1 :].mean()] for one in off]

    def assert_wiped(self, page, made, share):
        settled(page)
        (a_left, a_right), (b_left, b_right) = self.halves(page, made, share)
        assert a_left < 2 < b_left
        assert b_right < 2 < a_right

    def test_lines_are_as_wide_on_both_sides(self, page, at):
        same = "run=version_0&compare=side&step=288&bstep=288&scale=map&probe=1&look=contour"
        canvas = page.locator("dialog canvas[data-kind=a]")
        # All of it is of A, then all of it of B, which is the same step.
        for wiped in (100, 0):
            show(page, at, f"{same}&wipe={wiped}")
            settled(page)
            shown = pixels(canvas)
            if wiped:
                of_a = shown
        assert (shown == of_a).all()

    def test_a_left_of_the_line_b_right_of_it(self, page, at, two):
        show(page, at, self.STATE)
        frames = page.locator("dialog .frame:visible")
        assert frames.count() == 3
        page.get_by_label("Wipe A | B").check()
        settled(page)
        assert frames.count() == 2
        self.assert_wiped(page, two[0], 0.5)
        captions = page.locator("dialog figcaption:visible").all_inner_texts()
        assert captions[0] == "A: Step 288, epoch 11 | B: Step 24, epoch 0"
        line = page.get_by_role("slider", name="Line between A and B")
        box = frames.first.bounding_box()
        mark = line.bounding_box()
        assert mark["x"] + mark["width"] / 2 == pytest.approx(box["x"] + box["width"] / 2, abs=1)
        # The cell under the pointer is of the one that is seen there.
        for share, side, step in ((0.2, "A", -1), (0.8, "B", 0)):
            frames.first.hover(position={"x": share * box["width"], "y": 0.4 * box["height"]})
            text = page.locator("dialog .reading").first.inner_text()
            level = two[0].maps[step, 1, 2, int(share * 7)] / 255
            found = re.fullmatch(rf"{side}: Row 3 of 7, column \d of 7: ([\d.]+) % .*", text)
            assert float(found[1]) == pytest.approx(100 * level, abs=0.51), text
        page.get_by_label("Wipe A | B").uncheck()
        settled(page)
        assert frames.count() == 3

    def test_by_mouse(self, page, at, two):
        show(page, at, f"{self.STATE}&wipe=50")
        box = page.locator("dialog .frame").first.bounding_box()
        y = box["y"] + 0.2 * box["height"]  # anywhere on the line
        page.mouse.move(box["x"] + box["width"] / 2, y)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.3 * box["width"], y, steps=3)
        self.assert_wiped(page, two[0], 0.3)
        page.mouse.up()
        assert_state(
            page, run="version_0", compare="side", bstep="24", scale="map", probe="1",
            step="288", wipe="30",
        )  # fmt: skip

    def test_by_touch(self, page, at, two):
        show(page, at, f"{self.STATE}&wipe=50")
        box = page.locator("dialog .frame").first.bounding_box()
        session = page.context.new_cdp_session(page)
        y = box["y"] + 0.6 * box["height"]
        for kind, share in (("touchStart", 0.5), ("touchMove", 0.6), ("touchMove", 0.75)):
            points = [{"x": box["x"] + share * box["width"], "y": y}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        self.assert_wiped(page, two[0], 0.75)
        session.detach()

    def test_by_keys(self, page, at, two):
        show(page, at, f"{self.STATE}&wipe=50")
        line = page.get_by_role("slider", name="Line between A and B")
        line.focus()
        for key, wanted in (
            ("ArrowLeft", 48), ("PageUp", 58), ("ArrowRight", 60), ("Home", 0), ("ArrowLeft", 0),
            ("End", 100), ("PageDown", 90),
        ):  # fmt: skip
            page.keyboard.press(key)
            settled(page)
            assert line.get_attribute("aria-valuenow") == str(wanted)
            # The last key of steps would lead back to where they were.
            assert page.locator("dialog .side-a .step").inner_text() == "Step 288"
        self.assert_wiped(page, two[0], 0.9)
        # The keys moved the line, not the step.
        assert page.locator("dialog .side-a .step").inner_text() == "Step 288"

    def test_enlarged_it_divides_what_is_in_sight(self, page, at):
        show(page, at, f"{self.STATE}&wipe=50")
        frame = page.locator("dialog .frame").first
        line = page.get_by_role("slider", name="Line between A and B")
        scale = page.get_by_role("button", name="Show all of the picture")
        box = frame.bounding_box()
        line.dblclick()
        assert scale.inner_text() == "100 %", "a double click on the line"
        frame.dblclick(position={"x": box["width"] - 3, "y": 9})
        settled(page)
        assert scale.inner_text() == "300 %"

        def read(share):
            frame.hover(position={"x": share * box["width"], "y": 0.2 * box["height"]})
            return page.locator("dialog .reading").first.inner_text()

        assert read(0.2).startswith("A: Row 1 of 7, column 6 ")
        assert read(0.8).startswith("B: Row 1 of 7, column 7 ")
        cell = page.locator("dialog .cell:visible").first
        before = cell.bounding_box()
        # The line is dragged, and not the picture below it.
        y = box["y"] + 0.2 * box["height"]
        page.mouse.move(box["x"] + 0.5 * box["width"], y)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.7 * box["width"], y, steps=3)
        page.mouse.up()
        settled(page)
        assert line.get_attribute("aria-valuenow") == "70"
        assert read(0.6).startswith("A: ")
        assert read(0.8).startswith("B: ")
        assert cell.bounding_box() == pytest.approx(before, abs=0.1)
        page.keyboard.press("0")

    def test_there_is_none_without_two(self, page, at):
        show(page, at, "run=version_0&probe=1&wipe=50")
        assert page.locator("dialog .frame:visible").count() == 1
        expect(page.get_by_label("Wipe A | B")).to_be_hidden()
        expect(page.get_by_role("slider", name="Line between A and B")).to_be_hidden()

    def test_there_is_none_of_several_looks(self, page, at):
        show(page, at, f"{self.STATE}&wipe=50&look=all")
        assert page.locator("dialog .frame:visible").count() == 6
        expect(page.get_by_label("Wipe A | B")).to_be_hidden()
        expect(page.get_by_role("slider", name="Line between A and B")).to_be_hidden()


def test_an_overlay_is_what_it_was(page, at, two):
    show(page, at, "run=version_0&probe=1&compare=difference&step=192")
    shown = pixels(page.locator("dialog canvas[data-kind=a]"))
    assert_close(shown, expected(two[0], 7, 1, shown.shape[:2]))
    assert picture_of(two[0], 1, shown.shape[:2]).std() > 10
