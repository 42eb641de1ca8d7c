"""The tab's page in a real browser: pixels, text, keyboard, address, a live run, a report."""

from __future__ import annotations

import io
import json
import time
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from cmap import Colormap
from PIL import Image

from lightning_ablationcam import write_report
from lightning_ablationcam.render import overlay
from tests.browser import (
    card,
    expect,
    needs_browser,
    pixels,
    settled,
    show,
    watched,
)
from tests.tab_events import EventFile
from tests.tab_page import CLASSES, Made, Tab, evolution, served, with_addresses, write_run

pytestmark = needs_browser
HOSTILE = '<img src=x onerror="document.title=1"> & "quotes" \N{ROCKET} \u202egnirts'


@pytest.fixture(scope="module")
def small():
    """Two runs that most tests only look at."""
    first = evolution(probes=6, steps=12)
    second = evolution("runs/<b>other</b>", probes=6, steps=8, seed=3)
    return first, second


@pytest.fixture(scope="module")
def tab(small):
    return Tab().put(*small)


@pytest.fixture(scope="module")
def address(tab):
    with served(tab) as url:
        yield url


def assert_state(page, **wanted):
    """The address holds this state, a moment later at most."""
    for _ in range(100):
        found = parse_qs(urlsplit(page.url).fragment)
        if found == {name: [value] for name, value in wanted.items()}:
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"{found} in the address; expected {wanted}")


def numbers(page):
    """What stands beside the curves of the large view, by their labels."""
    plots = page.locator("dialog .group .plot")
    labels = plots.locator(".plot-label").all_inner_texts()
    return dict(zip(labels, plots.locator(".value:not(.b)").all_inner_texts(), strict=True))


def step(page):
    return page.locator(".top .side-a .step").inner_text()


def shares(made, step, probe, scale):
    """The map as History.scaled defines it."""
    strengths = np.array([entry["balance"] for entry in made.data["steps"]], float)
    full = {
        "map": strengths[step, probe],
        "probe": strengths[:, probe].max(),
        "run": strengths.max(),
    }[scale]
    return made.maps[step, probe] / 255 * strengths[step, probe] / full


def picture_of(made, probe, size):
    image = Image.open(io.BytesIO(made.pictures[probe])).convert("RGB")
    # Digits stay squares; photographs are enlarged smoothly.
    crisp = max(image.size) <= 64
    way = Image.Resampling.NEAREST if crisp else Image.Resampling.BILINEAR
    return np.asarray(image.resize(size[::-1], way))


def smooth(cells, size):
    cells = Image.fromarray(cells.astype(np.float32))
    return np.asarray(cells.resize(size[::-1], Image.Resampling.BICUBIC)).clip(0, 1)


def opacity_of(strength):
    """The curve of lightning_ablationcam.render.overlays, written down once more."""
    curved = strength**0.75
    return curved**2 * (3 - 2 * curved)


def expected(made, step, probe, size, colors="viridis", opacity=0.8, scale="probe"):
    heat = smooth(shares(made, step, probe, scale), size)
    rgb = Colormap(colors)(heat)[..., :3] * 255
    alpha = opacity * opacity_of(heat)[..., None]
    return alpha * rgb + (1 - alpha) * picture_of(made, probe, size)


SIGNS = ["08306b", "2a66ad", "86b4e0", "f4f4f4", "f5c078", "e48a1c", "d06a00"]
"""The colours of differences, from more in B to more in A."""


def expected_difference(a, b, full, picture, opacity=0.8):
    """A difference map as it is defined: ``full`` has the full colour, the picture is pale."""
    more = ((a - b) / full).clip(-1, 1)
    anchors = np.array([list(bytes.fromhex(color)) for color in SIGNS], float)
    places = np.linspace(-1, 1, len(SIGNS))
    rgb = np.stack([np.interp(more, places, channel) for channel in anchors.T], axis=-1)
    alpha = opacity * opacity_of(np.abs(more))[..., None]
    pale = 190 + 60 / 255 * (picture @ [0.299, 0.587, 0.114])
    return alpha * rgb + (1 - alpha) * pale[..., None]


def assert_close(shown, wanted):
    """Equal but for rounding and for the browser's own enlargement of the heat."""
    difference = np.abs(shown.astype(float) - wanted)
    assert shown.std() > 10, "an empty canvas"
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99.5) < 14


class TestPixels:
    def test_an_overlay_is_the_one_that_the_callback_logs(self, page, address, small):
        made = small[0]
        show(page, address)
        for probe in (0, 4):
            shown = pixels(card(page, probe))
            heat = shares(made, -1, probe, "probe").astype(np.float32)
            assert_close(shown, overlay(picture_of(made, probe, shown.shape[:2]), heat))

    @pytest.mark.parametrize(
        ("colors", "name"),
        [("cividis", "cividis"), ("inferno", "inferno"), ("magma", "magma"), ("turbo", "turbo"),
         ("gray", "gray")],
    )  # fmt: skip
    def test_colour_scales(self, page, address, small, colors, name):
        show(page, address, f"colors={colors}&opacity=100&step=192")
        shown = pixels(card(page, 1))
        assert_close(shown, expected(small[0], 7, 1, shown.shape[:2], name, 1.0))

    @pytest.mark.parametrize("scale", ["map", "probe", "run"])
    def test_scales(self, page, address, small, scale):
        show(page, address, f"scale={scale}&step=120")
        for probe in (0, 2):
            shown = pixels(card(page, probe))
            assert_close(shown, expected(small[0], 4, probe, shown.shape[:2], scale=scale))

    def test_the_hottest_cell(self, page):
        made = evolution(probes=1, steps=1)
        made.maps[:] = 0
        made.maps[0, 0, 1, 5] = 255
        flat = io.BytesIO()
        Image.new("RGB", (224, 224), (9, 9, 9)).save(flat, "PNG")
        made.pictures[0] = flat.getvalue()
        with served(Tab().put(made)) as url:
            show(page, url, "opacity=50&colors=magma")
            shown = pixels(card(page, 0)).astype(int)
            hot = shown[48, 176]  # the middle of cell (1, 5) of 7 x 7
            wanted = 0.5 * Colormap("magma").lut(256)[-1, :3] * 255 + 0.5 * 9
            assert np.abs(hot - wanted).max() <= 3
            assert shown[200, 20].tolist() == [9, 9, 9]

    def test_opacity_slider(self, page, address, small):
        show(page, address)
        page.get_by_label("Opacity").fill("0")
        settled(page)
        shown = pixels(card(page, 0))
        assert_close(shown, picture_of(small[0], 0, shown.shape[:2]))
        assert_state(page, opacity="0")

    def test_side_by_side(self, page, address, small):
        made = small[0]
        show(page, address, "compare=side&bstep=96")
        left, right = pixels(card(page, 1, 0)), pixels(card(page, 1, 1))
        assert_close(left, expected(made, -1, 1, left.shape[:2]))
        assert_close(right, expected(made, 3, 1, right.shape[:2]))
        assert np.abs(left.astype(int) - right).mean() > 2

    def test_difference_map(self, page, address, small):
        made = small[0]
        show(page, address, "compare=difference&bstep=96&scale=map")
        shown = pixels(card(page, 2))
        size = shown.shape[:2]
        a, b = (smooth(shares(made, at, 2, "map"), size) for at in (-1, 3))
        full = (np.abs(made.maps.astype(float) - made.maps[3]) / 255).max()
        assert_close(shown, expected_difference(a, b, full, picture_of(made, 2, size)))

    def test_two_runs_share_one_scale(self, page, address, small):
        first, second = small
        other = second.data["run"]
        show(page, address, f"compare=side&brun={other}&step=192&scale=run")
        shown = pixels(card(page, 0, 1))
        peak = max(max(max(entry["balance"]) for entry in made.data["steps"]) for made in small)
        own = max(max(entry["balance"]) for entry in second.data["steps"])
        heat = shares(second, 7, 0, "run") * own / peak
        picture = picture_of(first, 0, shown.shape[:2])
        assert_close(shown, overlay(picture, heat.astype(np.float32)))
        texts = page.locator(".top .step").all_inner_texts()
        assert texts == ["Step 192", "Step 192"]
        # B follows, unless it is told not to.
        for label in ("B: step back", "Step of B"):
            expect(page.get_by_label(label).first).to_be_disabled()
        page.get_by_label("Same step in both runs").uncheck()
        page.get_by_role("button", name="B: step back").first.click()
        expect(page.locator(".top .side-b .count")).to_have_text("1 of 8")


class TestTime:
    def test_slider_and_text(self, page, address, small):
        made = small[0]
        show(page, address)
        assert step(page) == "Step 288"
        page.locator(".top input[data-step=a]").fill("4")
        settled(page)
        assert step(page) == "Step 120"
        assert page.locator(".top .side-a .epoch").inner_text() == "Epoch 4"
        entry = made.data["steps"][4]
        for probe in (0, 3):
            text = page.locator(f".card[data-probe='{probe}']").inner_text()
            assert made.data["probes"][probe]["name"] in text
            assert f"{100 * entry['probabilities'][probe]:.1f} %" in text
            assert f"{entry['drift'][probe]:.3f}" in text
            score = page.locator(f".card[data-probe='{probe}'] .value:not(.b)").nth(1).inner_text()
            assert float(score.replace("\N{MINUS SIGN}", "-")) == pytest.approx(
                float(f"{entry['scores'][probe]:.3g}")
            )
        shown = pixels(card(page, 0))
        assert_close(shown, expected(made, 4, 0, shown.shape[:2]))
        assert_state(page, step="120")

    def test_play_goes_to_the_end_and_stops(self, page, address):
        show(page, address, "speed=32&step=24")
        page.get_by_role("button", name="Play").first.click()
        expect(page.get_by_role("button", name="Pause").first).to_be_visible()
        expect(page.locator(".top .step").first).to_have_text("Step 288")
        expect(page.get_by_role("button", name="Play").first).to_be_visible()
        expect(page.locator("[aria-live]").last).to_have_text("Paused at step 288, epoch 11")

    def test_keyboard(self, page, address):
        show(page, address)
        for key, wanted in [
            ("ArrowLeft", "Step 264"), ("ArrowLeft", "Step 240"), ("ArrowRight", "Step 264"),
            ("Home", "Step 24"), ("ArrowLeft", "Step 24"), ("End", "Step 288"),
        ]:  # fmt: skip
            page.keyboard.press(key)
            settled(page)
            assert step(page) == wanted
        page.keyboard.press("Home")
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Pause").first).to_be_visible()
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Play").first).to_be_visible()
        # In a field, the same keys are for the field.
        page.get_by_label("Search").fill("ca t")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Space")
        assert page.get_by_label("Search").input_value() == "ca  t"

    def test_curves_go_to_the_step_that_was_clicked(self, page, address):
        show(page, address)
        box = page.locator(".card .chart-box").first
        mark = box.locator(".mark.a")
        left, width = (box.bounding_box()[side] for side in ("x", "width"))

        def place():
            return (mark.bounding_box()["x"] - left) / width

        # The line is as wide as it is around its place.
        assert place() == pytest.approx(1, abs=0.01)
        box.click(position={"x": width * 5 / 11, "y": 8})
        settled(page)
        assert step(page) == "Step 144"
        assert place() == pytest.approx(5 / 11, abs=0.01)

    def test_one_step_and_a_thousand(self, page):
        once = evolution("once", probes=2, steps=1)
        long = evolution("long", probes=2, steps=1000, cells=4)
        with served(Tab().put(once, long)) as url:
            show(page, url)
            assert page.locator(".top .count").first.inner_text() == "1 of 1"
            page.keyboard.press("Space")
            show(page, url, "run=long&step=12000&probe=1")
            assert page.locator("dialog .count").first.inner_text() == "500 of 1000"
            assert page.locator(".strip button").count() == 1000


class TestProbes:
    def names(self, page):
        settled(page)
        return page.locator(".card h3").all_inner_texts()

    def test_search_class_and_clearing(self, page, address):
        show(page, address)
        assert len(self.names(page)) == 6
        page.get_by_label("Search").fill("ASTRO")
        assert self.names(page) == ["astronaut 0", "astronaut 5"]
        assert "2 of 6 probes" in page.locator(".summary").inner_text()
        page.get_by_label("Search").fill("nothing like it")
        assert self.names(page) == []
        page.get_by_role("button", name="Show all probes").click()
        assert len(self.names(page)) == 6
        page.get_by_label("Class").select_option(label="cat")
        assert self.names(page) == ["cat 1"]

    def test_prediction(self, page, address, small):
        steps = small[0].data["steps"]
        names = [probe["name"] for probe in small[0].data["probes"]]
        labels = [probe["label"] for probe in small[0].data["probes"]]
        show(page, address, "step=168&prediction=changed")
        now, first = steps[6]["predicted"], steps[0]["predicted"]
        wanted = [n for n, a, b in zip(names, now, first, strict=True) if a != b]
        assert 0 < len(wanted) < 6
        assert self.names(page) == wanted
        show(page, address, "step=168&prediction=wrong")
        wrong = [n for n, a, b in zip(names, now, labels, strict=True) if a != b]
        assert self.names(page) == wrong
        show(page, address, "step=168&bstep=144&compare=side&prediction=changed")
        other = steps[5]["predicted"]
        assert self.names(page) == [n for n, a, b in zip(names, now, other, strict=True) if a != b]

    def test_sorting(self, page, address, small):
        drift = np.array([[v or 0 for v in entry["drift"]] for entry in small[0].data["steps"]])
        names = np.array([probe["name"] for probe in small[0].data["probes"]])
        show(page, address, "sort=drift")
        assert self.names(page) == names[np.argsort(-drift.max(axis=0))].tolist()
        show(page, address, "sort=now&step=120")
        assert self.names(page) == names[np.argsort(-drift[4])].tolist()

    def test_two_sets_of_probes_are_matched_by_name(self, page, small):
        other = evolution("other", probes=5, steps=8, seed=4)
        other.data["probes"] = other.data["probes"][::-1]
        other = other.replaced(fingerprint="reversed")
        other.maps[:] = other.maps[:, ::-1]
        with served(Tab().put(small[0], other)) as url:
            show(page, url, "compare=side&brun=other&scale=map")
            shown = pixels(card(page, 0, 1))
            heat = (other.maps[-1, 4] / 255).astype(np.float32)
            picture = picture_of(small[0], 0, shown.shape[:2])
            assert_close(shown, overlay(picture, heat))
            assert "missing" in page.locator(".card[data-probe='5']").get_attribute("class")


class TestLargeView:
    def test_opens_steps_and_closes(self, page, address, small):
        made = small[0]
        show(page, address)
        page.get_by_role("button", name="Enlarge cat 1").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert dialog.locator("h2").inner_text() == "cat 1"
        assert dialog.locator(".strip button").count() == 12
        page.keyboard.press("ArrowLeft")
        settled(page)
        assert dialog.locator("figcaption").first.inner_text() == "Step 264, epoch 10"
        shown = pixels(dialog.locator("canvas[data-kind=a]"))
        assert max(shown.shape) == 384
        assert_close(shown, expected(made, 10, 1, shown.shape[:2]))
        frame = dialog.get_by_role("button", name="Step 48", exact=True)
        frame.scroll_into_view_if_needed()
        frame.click()
        settled(page)
        assert frame.get_attribute("aria-current") == "step"
        # The focus goes along, and what is said is said inside the dialog.
        page.keyboard.press("ArrowRight")
        expect(dialog.get_by_role("button", name="Step 72", exact=True)).to_be_focused()
        expect(dialog.locator("[aria-live]")).to_have_text("Step 72, epoch 2")
        page.keyboard.press("ArrowLeft")
        expect(frame).to_be_focused()
        shown = pixels(frame.locator("canvas"))
        assert shown.shape == (64, 64, 3)
        # The step stands below its frame, not beside it.
        above, below = (frame.locator(part).bounding_box() for part in ("canvas", "span"))
        assert below["y"] >= above["y"] + above["height"]
        page.get_by_role("button", name="Next probe").click()
        expect(dialog.locator("h2")).to_have_text("coffee 2")
        for _ in range(40):  # the focus stays inside
            page.keyboard.press("Tab")
            assert page.evaluate(
                "document.activeElement === document.body || "
                "!!document.activeElement.closest('dialog')"
            )
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert_state(page, step="48")

    def test_compares(self, page, address):
        show(page, address, "compare=difference&probe=3&bstep=48")
        captions = page.locator("dialog figcaption").all_inner_texts()
        assert captions[:2] == ["A: Step 288, epoch 11", "B: Step 48, epoch 1"]
        kinds = [pixels(page.locator(f"canvas[data-kind={k}]")) for k in ("a", "difference")]
        assert kinds[0].shape == kinds[1].shape


class TestAddress:
    def test_round_trip(self, page, address, small):
        state = {
            "run": small[1].data["run"], "tag": "ablation_cam", "step": "96", "compare": "side",
            "brun": "version_0", "btag": "ablation_cam", "bstep": "120", "together": "no",
            "colors": "magma", "opacity": "60", "scale": "run", "search": "a b&c=d#e", "class": "1",
            "role": "class 3", "sides": "for", "prediction": "wrong", "sort": "name", "size": "l",
            "speed": "8",
        }  # fmt: skip
        show(page, address)
        module = page.evaluate("document.querySelector('link').href").replace(
            "style.css", "state.js"
        )
        text = page.evaluate(
            "async ([module, state]) => (await import(module)).stateToText("
            "{...(await import(module)).DEFAULTS, ...state})",
            [module, state],
        )
        show(page, address, text)
        page.get_by_label("Search").fill("")
        page.get_by_label("Class").select_option("")
        page.get_by_label("Prediction").select_option("")
        left = {**state}
        for key in ("search", "class", "prediction"):
            left.pop(key)
        assert_state(page, **left)
        assert page.locator(".top .step").all_inner_texts() == ["Step 96", "Step 120"]
        assert page.get_by_label("Colours").input_value() == "magma"
        # A link typed or pasted into the same window, and the way back.
        for way, wanted in [
            ("location.hash = 'step=48'", "Step 48"), ("location.hash = 'step=72'", "Step 72"),
            ("history.back()", "Step 48"), ("history.back()", "Step 96"),
        ]:  # fmt: skip
            page.evaluate(way)
            expect(page.locator(".top .step").first).to_have_text(wanted)

    def test_nonsense_is_left_out(self, page, address):
        show(page, address, "step=x&colors=__proto__&opacity=999&probe=77&__proto__=1&size=xl")
        assert step(page) == "Step 288"
        assert page.locator(".card").count() == 6

    def test_a_run_that_is_gone(self, page, address):
        show(page, address, "run=gone")
        expect(page.locator(".notes")).to_contain_text("There is no run “gone”")
        show(page, address)
        expect(page.locator(".notes")).to_be_hidden()

    def test_link(self, browser, address):
        permissions = ["clipboard-read", "clipboard-write"]
        with watched(browser, permissions=permissions) as page:
            show(page, address, "step=48")
            page.get_by_role("button", name="Copy link").click()
            expect(page.locator(".toast")).to_contain_text("Link copied")
            assert page.evaluate("navigator.clipboard.readText()") == f"{address}#step=48"


class TestLive:
    def test_grows_without_losing_the_place(self, browser):
        whole = evolution(probes=3, steps=10)
        tab = Tab().put(whole.first(4))
        with served(tab) as url, watched(browser) as page:
            page.clock.install()
            page.goto(f"{url}#step=48")
            ready = "document.documentElement.dataset.ready === '1'"
            turn_clock_until(page, lambda: page.evaluate(ready))
            assert page.locator(".top .count").first.inner_text() == "2 of 4"
            tab.asked.clear()
            page.clock.run_for(15_100)
            turn_clock_until(page, lambda: any("data?" in asked for asked in tab.asked))
            page.clock.run_for(15_100)
            turn_clock_until(page, lambda: sum("data?" in asked for asked in tab.asked) == 2)
            # Nothing new: neither maps nor pictures.
            assert len(tab.asked) == 4
            tab.put(whole.first(8))
            page.clock.run_for(15_100)
            expect(page.locator(".top .count").first).to_have_text("2 of 8")
            assert [asked for asked in tab.asked if "picture?" in asked] == []
            (maps,) = [asked for asked in tab.asked if "maps?" in asked]
            assert maps.endswith("&from=4")
            page.keyboard.press("End")
            tab.put(whole)
            page.clock.run_for(15_100)
            expect(page.locator(".top .count").first).to_have_text("10 of 10")
            page.clock.run_for(100)
            shown = pixels(card(page, 0))
            assert_close(shown, expected(whole, 9, 0, shown.shape[:2]))

    def test_a_run_that_starts_again_is_loaded_anew(self, page):
        before = evolution(probes=2, steps=8)
        after = evolution(probes=2, steps=6, seed=7)
        for entry in after.data["steps"][3:]:
            entry["wall_time"] += 1e6
        # The first three steps are those from before.
        after.maps[:3] = before.maps[:3]
        after.data["steps"][:3] = before.data["steps"][:3]
        tab = Tab().put(before)
        with served(tab) as url:
            show(page, url)
            tab.put(Made(with_addresses(after.data), after.maps, after.pictures))
            show(page, url, "step=144")
            expect(page.locator(".top .count").first).to_have_text("6 of 6")
            assert tab.asked[-1].endswith("&from=3")
            settled(page)
            shown = pixels(card(page, 1))
            assert_close(shown, expected(after, 5, 1, shown.shape[:2]))

    def test_maps_of_another_moment_are_asked_for_again(self, browser):
        whole = evolution(probes=2, steps=6)
        tab = Tab().put(whole.first(3))
        answer, grown = tab._answer, []

        def grows(address):
            if "/maps?" in address and not grown:
                grown.append(tab.put(whole))
            return answer(address)

        tab._answer = grows
        with served(tab) as url, watched(browser, "409") as page:
            show(page, url)
            assert page.locator(".top .count").first.inner_text() == "6 of 6"

    def test_a_server_that_is_gone_keeps_what_was_there(self, browser, small):
        tab = Tab().put(small[0])
        with served(tab) as url, watched(browser, "500") as page:
            tab.broken["series"] = 500
            show(page, url)
            alert = page.get_by_role("alert")
            expect(alert).to_contain_text("TensorBoard answered 500 to “series” (forced to fail).")
            # The message must not be announced again at every attempt.
            page.evaluate("document.querySelector('.alert p').id = 'same'")
            page.get_by_role("button", name="Try again").click()
            page.wait_for_timeout(100)
            assert page.locator("#same").count() == 1
            tab.broken.clear()
            page.get_by_role("button", name="Try again").click()
            expect(page.locator(".card")).to_have_count(6)
            expect(alert).to_be_hidden()
            tab.broken["data"] = 500
            page.get_by_label("Run A").evaluate("node => node.dispatchEvent(new Event('change'))")
            page.evaluate("location.hash = 'step=24'")
            expect(alert).to_contain_text("What was loaded before is still shown.")
            expect(page.locator(".card")).to_have_count(6)

    def test_the_reason_the_plugin_gives_is_shown_alone(self, browser, small):
        tab = Tab().put(small[0])
        with served(tab) as url, watched(browser, "404") as page:
            show(page, url)
            reason = 'run "<b>x" has no heat that can be read'
            tab.broken["data"] = 404
            tab.reason = json.dumps({"error": reason}).encode()
            page.evaluate("location.hash = 'step=48'")
            expect(page.get_by_role("alert").locator("p")).to_have_text(
                'Run "<b>x" has no heat that can be read. What was loaded before is still shown.'
            )

    def test_broken_maps_and_pictures(self, page, small):
        cut = evolution("cut", probes=2, steps=3)
        cut.maps = cut.maps[:2]
        bad = evolution("bad", probes=2, steps=3)
        bad.pictures[1] = b"no picture"
        with served(Tab().put(bad, cut)) as url:
            show(page, url)
            expect(page.locator(".summary")).to_contain_text("1 picture could not be loaded")
            show(page, url, "run=cut")
            expect(page.get_by_role("alert")).to_contain_text("incomplete: 196 bytes of 294")

    def test_empty(self, page):
        tab = Tab(message="Log with AblationCAMMonitor first.")
        with served(tab) as url:
            show(page, url)
            assert "No heatmaps yet" in page.locator("main").inner_text()
            assert tab.message in page.locator("main").inner_text()
        with served(Tab().put(evolution().first(0))) as url:
            show(page, url)
            assert "have not been written yet" in page.locator("main").inner_text()


def turn_clock_until(page, condition):
    for _ in range(200):
        page.clock.run_for(50)
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("never")


@pytest.fixture(scope="module")
def made():
    """A run with maps of further classes."""
    return evolution(probes=6, steps=12, roles=("rival", "class 3"))


@pytest.fixture(scope="module")
def tab_with_roles(made, small):
    return Tab().put(made, small[1])


@pytest.fixture(scope="module")
def at(tab_with_roles):
    with served(tab_with_roles) as url:
        yield url


class TestRoles:
    """A series with maps of further classes, and what is said of classes at all."""

    def of_role(self, made, role):
        """The same series as if the role's classes had been explained."""
        nothing = dict.fromkeys(("maxima", "classes", "scores", "probabilities"))
        steps = [{**entry, **entry["also"].get(role, nothing)} for entry in made.data["steps"]]
        for entry in steps:
            entry["maxima"] = entry["maxima"] or [0] * len(made.pictures)
        return Made({**made.data, "steps": steps}, made.also[role], made.pictures)

    def test_the_switch_shows_the_rivals_map_and_numbers(self, page, at, made, tab_with_roles):
        tab_with_roles.asked.clear()
        show(page, at, "step=192")
        assert_close(pixels(card(page, 1)), expected(made, 7, 1, (192, 192)))
        assert [asked for asked in tab_with_roles.asked if "role=" in asked] == []
        page.get_by_label("Map shown").first.select_option(label="Rival")
        expect(page.locator(".summary")).to_contain_text("map of: rival")
        settled(page)
        assert_state(page, step="192", role="rival")
        rival = self.of_role(made, "rival")
        assert_close(pixels(card(page, 1)), expected(rival, 7, 1, (192, 192)))
        entry = rival.data["steps"][7]
        facts = page.locator(".card[data-probe='1'] .facts")
        share = f"{100 * entry['probabilities'][1]:.1f} %"
        expect(facts.get_by_role("row", name="Rival")).to_contain_text(
            f"{CLASSES[entry['classes'][1]]} {share}"
        )
        score = page.locator(".card[data-probe='1'] .value:not(.b)").nth(1).inner_text()
        shown = float(score.replace("\N{MINUS SIGN}", "-"))
        assert shown == pytest.approx(float(f"{entry['scores'][1]:.3g}"))
        # Support is the explained class's.
        expect(facts.get_by_role("row", name="Support")).to_have_count(0)
        # Once here, the maps are not asked for again.
        page.keyboard.press("r")
        expect(page.locator(".summary")).not_to_contain_text("rival")
        page.keyboard.press("r")
        expect(page.locator(".summary")).to_contain_text("map of: rival")
        assert len([asked for asked in tab_with_roles.asked if "role=" in asked]) == 1

    def test_a_step_without_it_has_no_heat_and_no_numbers(self, page, at, made):
        show(page, at, "step=24&role=class+3&probe=2")
        assert page.locator("dialog .role").first.input_value() == "class 3"
        shown = pixels(page.locator("dialog canvas[data-kind=a]"))
        assert_close(shown, picture_of(made, 2, shown.shape[:2]))
        facts = page.locator("dialog .facts")
        for row in ("Explains", "Largest heat"):
            expect(facts.get_by_role("row", name=row)).to_contain_text("\N{EN DASH}")
        assert numbers(page) == {
            "Drift": "\N{EN DASH}",
            "Score": "\N{EN DASH}",
            "Probability": "\N{EN DASH}",
        }

    @pytest.mark.parametrize("compare", ["side", "difference"])
    def test_it_is_compared_sorted_and_enlarged(self, page, at, made, compare):
        state = "step=288&bstep=96&scale=map&role=rival&sort=now"
        show(page, at, f"{state}&compare={compare}&probe=1")
        rival = self.of_role(made, "rival")
        for kind, step in (("a", 11), ("b", 3)):
            shown = pixels(page.locator(f"dialog canvas[data-kind={kind}]"))
            assert_close(shown, expected(rival, step, 1, shown.shape[:2], scale="map"))
        a, b = (rival.maps[step].reshape(6, -1).astype(float) for step in (11, 3))
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        drift = 1 - (a * b).sum(1) / norms
        row = page.locator("dialog .facts").get_by_role("row", name="Drift A to B")
        expect(row).to_contain_text(f"{drift[1]:.3f}")
        names = [made.data["probes"][i]["name"] for i in np.argsort(-drift)]
        assert page.locator(".card h3").all_inner_texts() == names
        frame = page.locator(".strip button").nth(5).locator("canvas")
        frame.scroll_into_view_if_needed()
        settled(page)
        # A browser reduces pictures in a way of its own; the heat is what is asked for.
        off = [
            np.abs(pixels(frame) - expected(one, 5, 1, (64, 64), scale="map")).mean()
            for one in (rival, made)
        ]
        assert off[0] < 6 < off[1]

    def test_another_run_without_it_has_no_heat_beside_it(self, page, at, made, small):
        show(page, at, f"compare=side&brun={small[1].data['run']}&step=192&role=rival&scale=map")
        shown = pixels(card(page, 0, 1))
        assert_close(shown, picture_of(made, 0, shown.shape[:2]))

    def test_no_switch_without_roles(self, page, address):
        show(page, address, "role=rival&probe=1")
        expect(page.get_by_label("Map shown")).to_have_count(0)
        expect(page.get_by_text("rival")).to_be_hidden()
        expect(page.locator("dialog .facts").get_by_role("row", name="Explains")).to_be_visible()
        page.keyboard.press("r")
        expect(page.locator(".summary")).not_to_contain_text("rival")

    @pytest.mark.parametrize("role", ["label", "__proto__", "RIVAL", "constructor"])
    def test_an_unknown_role_is_the_explained_one(self, page, at, made, role):
        show(page, at, f"step=192&role={role}")
        assert_close(pixels(card(page, 1)), expected(made, 7, 1, (192, 192)))
        assert page.get_by_label("Map shown").first.input_value() == ""

    def test_every_number_stands_beside_its_own_class(self, page, at, made):
        show(page, at, "step=120&probe=1")
        entry = made.data["steps"][4]
        differs = 0
        for probe in range(6):
            rows = page.locator(f".card[data-probe='{probe}'] .facts tbody tr:visible")
            label, predicts, explains, balance = rows.all_inner_texts()
            top = entry["top"]
            spread = dict(zip(top["classes"][probe], top["probabilities"][probe], strict=True))
            predicted, explained = entry["predicted"][probe], entry["classes"][probe]
            differs += predicted != explained
            shares = spread[predicted], entry["probabilities"][probe]
            assert label.split() == ["Label", CLASSES[made.data["probes"][probe]["label"]]]
            for row, name, index, share in zip(
                (predicts, explains), ("Predicts", "Explains"), (predicted, explained), shares,
                strict=True,
            ):  # fmt: skip
                assert row.split() == [name, CLASSES[index], f"{100 * share:.1f}", "%"]
            assert balance.split() == ["Balance", f"{100 * entry['balance'][probe]:.1f}", "%"]
        assert differs, "a prediction that is not the class explained"
        label = page.locator("dialog .plot-label", has_text="Balance")
        assert "speaks for the class" in label.get_attribute("title")

    def test_the_probability_of_a_class_that_was_not_recorded_is_unknown(self, page):
        made = evolution(probes=2, steps=2)
        for entry in made.data["steps"]:
            entry.update(top=None, balance=[None] * 2, predicted=[2, entry["classes"][1]])
        with served(Tab().put(made)) as url:
            show(page, url, "probe=0")
            rows = page.locator(".card .facts").get_by_role("row", name="Predicts")
            assert rows.nth(0).inner_text().split()[1:] == ["coffee", "\N{EN DASH}"]
            share = made.data["steps"][1]["probabilities"][1]
            assert rows.nth(1).inner_text().split()[-2] == f"{100 * share:.1f}"
            expect(page.locator("dialog .likeliest")).to_be_hidden()
            balance = page.locator(".card .facts").get_by_role("row", name="Balance")
            assert balance.nth(0).inner_text().split()[1:] == ["\N{EN DASH}"]

    def test_the_likeliest_classes_have_curves(self, page, at, made):
        show(page, at, "step=288&probe=1")
        plot = page.locator("dialog .likeliest")
        entries = plot.locator("li").all_inner_texts()
        lines = plot.locator("path.line[d*='L']")
        most = {}
        for entry in made.data["steps"]:
            top = entry["top"]
            for index, share in zip(top["classes"][1], top["probabilities"][1], strict=True):
                most[index] = max(share, most.get(index, 0))
        order = sorted(most, key=lambda index: -most[index])
        assert len(order) == 5
        assert [text.split()[0] for text in entries] == [CLASSES[index] for index in order]
        assert plot.locator(".chart .curves path").count() == 5
        last = made.data["steps"][-1]
        marked = [text for text in entries if "label, explained" in text]
        assert [text.split()[0] for text in marked] == [CLASSES[last["classes"][1]]]
        # A step at which a class is not among the likeliest leaves a gap.
        for place, index in enumerate(order):
            there = [index in entry["top"]["classes"][1] for entry in made.data["steps"]]
            starts = sum(now and not before for before, now in pairwise([False, *there]))
            assert (
                plot.locator(f"path.likely-{place}").first.get_attribute("d").count("M") == starts
            )
        assert lines.count() >= 2

    def test_flips_are_marked(self, page, at, made):
        show(page, at, "step=288&probe=1")
        texts, before = [], None
        for entry in made.data["steps"]:
            now = CLASSES[entry["predicted"][1]]
            if before not in (None, now):
                step = f"{entry['step']:,}"
                texts.append(f"Prediction changed from {before} to {now} at step {step}")
            before = now
        assert texts
        for place in (".likeliest .flip", ".large-time .side-a .flip", ".strip .flipped"):
            found = page.locator(f"dialog {place}")
            assert [one.get_attribute("title") for one in found.all()] == texts, place
        described = page.locator("dialog .strip .flipped").first
        assert described.get_attribute("aria-description") == texts[0]

    def test_a_live_run_brings_the_new_maps_of_the_role_alone(self, page):
        whole = evolution(probes=2, steps=8, roles=("rival",))
        tab = Tab().put(whole.first(4))
        with served(tab) as url:
            show(page, url, "role=rival")
            tab.put(whole)
            tab.asked.clear()
            show(page, url, "role=rival&step=192")
            expect(page.locator(".top .count").first).to_have_text("8 of 8")
            maps = [asked for asked in tab.asked if "maps?" in asked]
            assert [one.endswith("&from=4") for one in maps] == [True, True]
            settled(page)
            shown = pixels(card(page, 1))
            rival = self.of_role(whole, "rival")
            assert_close(shown, expected(rival, 7, 1, shown.shape[:2]))

    def test_a_report_has_it_too(self, browser, made, tmp_path):
        with EventFile(tmp_path / "logs" / "version_0") as file:
            write_run(file, made)
        path = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser, offline=True) as page:
            show(page, path.as_uri(), "step=192&role=rival&probe=2")
            shown = pixels(card(page, 2))
            rival = self.of_role(made, "rival")
            # Its balance is not recorded, so that its maps are on scales of their own.
            assert_close(shown, expected(rival, 7, 2, shown.shape[:2], scale="map"))
            assert page.locator("dialog .likeliest li").count() == 5

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_contrast_names_and_targets(self, page, at, theme):
        page.emulate_media(color_scheme=theme)
        for state in ("role=rival", "probe=1&role=rival", "compare=side&probe=1"):
            show(page, at, state)
            assert page.evaluate(FAINT_TEXTS) == []
            assert page.evaluate(TINY_TARGETS) == []

    @pytest.mark.parametrize("width", [1900, 1280, 800, 400])
    def test_no_horizontal_scrolling(self, browser, at, width):
        with watched(browser, viewport={"width": width, "height": 800}) as page:
            for state in ("size=s", "compare=side&size=s", "probe=1", "compare=side&probe=2"):
                show(page, at, f"{state}&role=rival")
                assert page.evaluate(TOO_WIDE) == [], state


def signed_shares(made, step, probe, scale="map", role=""):
    """Shares of the colour scale, what speaks against below 0: by the largest of both signs."""
    entry = made.data["steps"][step]
    one, maps = (entry, made.maps) if not role else (entry["also"][role], made.also[role])
    most, against = one["maxima"][probe], one["against"][probe]
    heat = maps[step, probe] * most - made.against[role][step, probe].astype(float) * against
    strengths = np.array([entry["balance"] for entry in made.data["steps"]], float)
    full = {"map": strengths[step, probe], "probe": strengths[:, probe].max()}[scale]
    return heat / 255 / max(most, against) * strengths[step, probe] / full


@pytest.fixture(scope="module")
def two_sided():
    """A run with what speaks against the classes, and one without."""
    return evolution(probes=4, steps=6, roles=("rival",), signed=True), evolution("plain", probes=4)


@pytest.fixture(scope="module")
def tab_of_two_sides(two_sided):
    return Tab().put(*two_sided)


@pytest.fixture(scope="module")
def sides(tab_of_two_sides):
    with served(tab_of_two_sides) as url:
        yield url


class TestTwoSides:
    """A series with what speaks against the classes."""

    @pytest.mark.parametrize("scale", ["map", "probe"])
    def test_it_opens_with_both_as_the_pictures_show_them(self, page, sides, two_sided, scale):
        made = two_sided[0]
        show(page, sides, f"scale={scale}&step=72")
        for probe in (0, 1):
            shown = pixels(card(page, probe))
            heat = signed_shares(made, 2, probe, scale).astype(np.float32)
            picture = picture_of(made, probe, shown.shape[:2])
            assert_close(shown, overlay(picture, heat, signed=True))
            assert np.abs(shown - overlay(picture, heat).astype(float)).mean() > 3
        legend = page.locator(".top .legend")
        low, *ticks, high = legend.inner_text().split("\n")
        assert (low, ticks) == ("against", ["100 %", "0", "100 %"])
        assert high.startswith("for · 100 % is ")
        assert "pink speaks against" in legend.get_attribute("aria-label")
        expect(page.get_by_label("Colours")).to_be_disabled()

    def test_the_switch_shows_what_speaks_for_it_alone(self, page, sides, two_sided):
        show(page, sides, "scale=map&step=72")
        page.get_by_label("Evidence").first.select_option(label="For alone")
        expect(page.locator(".top .legend")).not_to_contain_text("against")
        settled(page)
        assert_state(page, scale="map", step="72", sides="for")
        shown = pixels(card(page, 1))
        assert_close(shown, expected(two_sided[0], 2, 1, shown.shape[:2], scale="map"))
        expect(page.get_by_label("Colours")).to_be_enabled()
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("s")
        expect(page.locator(".top .legend")).to_contain_text("against")
        assert_state(page, scale="map", step="72")
        page.keyboard.press("s")
        assert_state(page, scale="map", step="72", sides="for")

    def test_what_is_not_shown_is_not_asked_for(self, page, sides, tab_of_two_sides):
        page.goto("about:blank")  # a page that holds nothing yet
        tab_of_two_sides.asked.clear()
        show(page, sides, "sides=for&step=24")
        assert [asked for asked in tab_of_two_sides.asked if "side=" in asked] == []
        page.evaluate("document.activeElement.blur()")
        for legend in ("against", "maximum", "against"):
            page.keyboard.press("s")
            expect(page.locator(".top .legend")).to_contain_text(legend)
        assert len([asked for asked in tab_of_two_sides.asked if "side=" in asked]) == 1

    def test_the_rivals_map_has_two_sides_too(self, page, sides, two_sided):
        made = two_sided[0]
        show(page, sides, "scale=map&step=96&role=rival&probe=1")
        for canvas in (card(page, 1), page.locator("dialog canvas[data-kind=a]")):
            shown = pixels(canvas)
            heat = signed_shares(made, 3, 1, role="rival").astype(np.float32)
            assert_close(shown, overlay(picture_of(made, 1, shown.shape[:2]), heat, signed=True))

    def test_a_difference_of_two_sides(self, page, sides, two_sided):
        made = two_sided[0]
        show(page, sides, "compare=difference&bstep=24&step=144&scale=map")
        shown = pixels(card(page, 2))
        size = shown.shape[:2]
        a, b = (
            np.asarray(
                Image.fromarray(signed_shares(made, at, 2).astype(np.float32)).resize(
                    size[::-1], Image.Resampling.BICUBIC
                )
            ).clip(-1, 1)
            for at in (5, 0)
        )
        each = [
            [signed_shares(made, at, probe) for at in range(len(made.data["steps"]))]
            for probe in range(len(made.pictures))
        ]
        full = max(np.abs(np.array(one) - one[0]).max() for one in each)
        assert_close(shown, expected_difference(a, b, full, picture_of(made, 2, size)))

    def test_a_run_without_it_stands_beside_as_it_is(self, page, sides, two_sided):
        plain = two_sided[1]
        show(page, sides, "compare=side&brun=plain&step=96&scale=map")
        shown = pixels(card(page, 1, 1))
        heat = shares(plain, 3, 1, "map").astype(np.float32)
        picture = picture_of(plain, 1, shown.shape[:2])
        assert_close(shown, overlay(picture, heat, signed=True))

    def test_no_switch_where_nothing_was_recorded(self, page, sides):
        show(page, sides, "run=plain&probe=1")
        expect(page.locator("select.sides")).to_have_count(0)
        page.keyboard.press("s")
        assert_state(page, run="plain", probe="1")

    def test_a_report_opens_with_both(self, browser, two_sided, tmp_path):
        made = two_sided[0].replaced(scale="map")
        with EventFile(tmp_path / "logs" / "version_0") as file:
            write_run(file, made)
        path = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser, offline=True) as page:
            show(page, path.as_uri(), "step=72")
            shown = pixels(card(page, 1))
            heat = signed_shares(made, 2, 1).astype(np.float32)
            assert_close(shown, overlay(picture_of(made, 1, shown.shape[:2]), heat, signed=True))
            show(page, path.as_uri(), "step=72&sides=for")
            assert_close(pixels(card(page, 1)), expected(made, 2, 1, shown.shape[:2], scale="map"))

    def test_a_live_run_brings_the_new_maps_of_both(self, page):
        whole = evolution(probes=2, steps=6, signed=True)
        tab = Tab().put(whole.first(3))
        with served(tab) as url:
            show(page, url, "scale=map")
            tab.put(whole)
            tab.asked.clear()
            show(page, url, "scale=map&step=144")
            expect(page.locator(".top .count").first).to_have_text("6 of 6")
            maps = [asked for asked in tab.asked if "maps?" in asked]
            assert [one.endswith("&from=3") for one in maps] == [True, True]
            settled(page)
            shown = pixels(card(page, 1))
            heat = signed_shares(whole, 5, 1).astype(np.float32)
            picture = picture_of(whole, 1, shown.shape[:2])
            assert_close(shown, overlay(picture, heat, signed=True))

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_contrast_names_and_targets(self, page, sides, theme):
        page.emulate_media(color_scheme=theme)
        for state in ("", "probe=1&role=rival", "compare=side&probe=1"):
            show(page, sides, state)
            assert page.evaluate(FAINT_TEXTS) == []
            assert page.evaluate(TINY_TARGETS) == []

    @pytest.mark.parametrize("width", [1280, 800, 400])
    def test_no_horizontal_scrolling_and_a_title(self, browser, sides, width):
        with watched(browser, viewport={"width": width, "height": 800}) as page:
            for state in ("", "compare=side", "probe=1"):
                show(page, sides, state)
                assert page.evaluate(TOO_WIDE) == [], state
            assert page.locator("dialog h2").bounding_box()["width"] > 80


def squares(steps, probes, side=48):
    """A region of each probe that moves to the right from step to step."""
    masks = np.zeros((steps, probes, side, side), bool)
    for step in range(steps):
        left = side // 8 + step * side // 2 // max(1, steps - 1)
        masks[step, :, side // 4 : side * 3 // 4, left : left + side // 4] = True
    return masks


def assert_outlined(shown, plain, mask):
    """Something was drawn where the region ends, and nothing elsewhere."""
    rows, columns = np.nonzero(mask)
    height, width = shown.shape[:2]
    drawn = np.abs(shown.astype(int) - plain).max(axis=2) > 50
    found = np.nonzero(drawn)
    box = [found[0].min(), found[0].max() + 1, found[1].min(), found[1].max() + 1]
    sides = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
    scaled = np.array(sides) / mask.shape[0] * [height, height, width, width]
    assert np.abs(box - scaled).max() <= 5
    inside = drawn[box[0] + 9 : box[1] - 9, box[2] + 9 : box[3] - 9]
    assert inside.size
    assert not inside.any()


@pytest.fixture(scope="module")
def watched_regions():
    """A run whose probes have regions."""
    return evolution(probes=3, steps=5, roles=("rival",)).with_regions(squares(5, 3))


class TestRegions:
    @pytest.fixture
    def made(self, watched_regions):
        return watched_regions

    @pytest.fixture
    def at(self, made):
        with served(Tab().put(made)) as url:
            yield url

    @pytest.mark.parametrize("role", ["", "rival"])
    def test_each_step_has_its_own(self, page, at, made, role):
        for step in (1, 4):
            show(page, at, f"scale=map&step={24 * (step + 1)}&role={role}&opacity=0&probe=1")
            for canvas in (card(page, 1), page.locator("dialog canvas[data-kind=a]")):
                shown = pixels(canvas)
                plain = picture_of(made, 1, shown.shape[:2])
                assert_outlined(shown, plain, squares(5, 3)[step, 1])
                found = shown[np.abs(shown.astype(int) - plain).max(axis=2) > 50]
                assert found.max() > 230, "light"
                assert found.min() < 30, "with dark edges"

    def test_the_strip_has_them_too(self, page, at):
        show(page, at, "opacity=0&probe=1")
        page.locator(".strip").scroll_into_view_if_needed()
        page.wait_for_function(
            "document.querySelector('.strip button:last-child canvas').width > 9"
        )
        settled(page)
        frames = [pixels(page.locator(".strip button canvas").nth(i)) for i in (0, 4)]
        lit = [np.nonzero((frame.min(axis=2) > 200).any(axis=0))[0].mean() for frame in frames]
        assert lit[1] - lit[0] > 15

    def test_a_report_has_them_too(self, browser, made, tmp_path):
        with EventFile(tmp_path / "logs") as file:
            write_run(file, made)
        path = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser, offline=True) as page:
            show(page, path.as_uri(), "step=48&opacity=0")
            shown = pixels(card(page, 2))
            plain = picture_of(made, 2, shown.shape[:2])
            assert_outlined(shown, plain, squares(5, 3)[1, 2])

    def test_what_does_not_fit_harms_nothing(self, page, made):
        odd = made.with_regions(squares(5, 3))
        odd.data["regions"][:3] = [[9, 9, ""], [9, 9, "////"], [1, 1, "AQEBAQEB"]]
        odd.data["steps"][4]["regions"] = [10**9, -1, None]
        with served(Tab().put(odd)) as url:
            for state in ("step=24", "step=120", "probe=0&step=24"):
                show(page, url, state)
                assert page.locator(".card").count() == 3


class TestWords:
    """Labels in words, values, probes with fewer labels, and maps of other layers."""

    def test_a_label_in_words_is_text(self, page):
        made = evolution(probes=3, steps=3)
        texts = ["cat, dog", HOSTILE, None]
        probes = [
            {**probe, "label": None, "text": text}
            for probe, text in zip(made.data["probes"], texts, strict=True)
        ]
        with served(Tab().put(made.replaced(probes=probes, task="multilabel"))) as url:
            show(page, url, "probe=1")
            rows = page.locator(".card .facts").get_by_role("row", name="Label")
            assert rows.nth(0).inner_text().split("\t")[-1].strip() == "cat, dog"
            assert HOSTILE in rows.nth(1).text_content()
            assert rows.count() == 2
            assert page.locator("img").count() == 0
            show(page, url)
            page.get_by_label("Class").select_option(label="cat, dog")
            expect(page.locator(".card")).to_have_count(1)
            assert_state(page, **{"class": "=cat, dog"})

    def test_a_value_is_shown_without_predictions(self, page):
        made = evolution(probes=2, steps=3)
        for entry in made.data["steps"]:
            entry.update(predicted=None, probabilities=None, top=None, classes=[0, 0])
        probes = [{"name": f"p{i}", "label": None, "text": f"{20 + i}.0"} for i in range(2)]
        plain = made.replaced(task="regression", score="value", class_names=None, probes=probes)
        named = made.replaced(
            run="named", task="regression", score="value", class_names=["age"], probes=probes
        )
        with served(Tab().put(plain, named)) as url:
            show(page, url, "probe=0&class=3&prediction=wrong")
            card_text = page.locator(".card").first.inner_text()
            assert [line for line in card_text.split() if line in ("Label", "20.0", "Value")]
            for text in (card_text, page.locator("dialog").inner_text()):
                for word in ("Predicts", "Probability", "Explains", "class 0", "Prediction"):
                    assert word not in text
            rows = page.locator("dialog .facts tbody tr:visible").all_inner_texts()
            value = made.data["steps"][2]["scores"][0]
            assert rows[0].split() == ["Label", "20.0"]
            assert float(numbers(page)["Value"]) == pytest.approx(value, rel=0.01)
            expect(page.locator(".card")).to_have_count(2)
            for label in ("Class", "Prediction"):
                expect(page.get_by_label(label, exact=True)).to_be_hidden()
            show(page, url, "run=named")
            row = page.locator(".card .facts").get_by_role("row", name="Explains").first
            assert row.inner_text().split() == ["Explains", "age"]

    def test_a_probe_with_fewer_labels_says_so(self, page):
        made = evolution(probes=2, steps=3, roles=("label 2",))
        for entry in made.data["steps"][1:]:
            entry["also"]["label 2"] = {
                **entry["also"]["label 2"], "classes": [-1, 1],
                "maxima": [None, 1.0], "scores": [None, 1.0], "probabilities": [None, 0.5],
            }  # fmt: skip
        with served(Tab().put(made)) as url:
            show(page, url, "role=label+2&probe=0")
            assert page.get_by_label("Map shown").first.input_value() == "label 2"
            rows = page.locator(".card .facts").get_by_role("row", name="Explains")
            assert rows.nth(0).inner_text().split("\t")[-1].strip() == "no second label"
            assert rows.nth(1).inner_text().split()[1:] == ["cat", "50.0", "%"]
            shown = pixels(card(page, 0))
            assert_close(shown, picture_of(made, 0, shown.shape[:2]))
            assert "class -1" not in page.locator("body").inner_text()

    def test_a_layer_has_maps_of_its_own_size(self, page):
        made = evolution(probes=2, steps=4, roles=("layer3",), signed=True)
        for layers in (made.also, made.against):
            layers["layer3"] = np.kron(layers["layer3"], np.ones((1, 1, 2, 3), np.uint8))
        made.data["also_shapes"]["layer3"] = [14, 21]
        tab = Tab().put(made.first(3))
        with served(tab) as url:
            for grown, step in ((False, 2), (True, 3)):
                if grown:
                    tab.put(made)
                show(page, url, f"role=layer3&scale=map&step={24 * (step + 1)}&sides=for")
                expect(page.locator(".summary")).to_contain_text("map of: layer3")
                expect(page.locator(".top .step").first).to_have_text(f"Step {24 * (step + 1)}")
                settled(page)
                shown = pixels(card(page, 1))
                heat = (made.also["layer3"][step, 1] / 255).astype(np.float32)
                picture = picture_of(made, 1, shown.shape[:2])
                assert_close(shown, overlay(picture, heat))
            show(page, url, "role=layer3&scale=map&step=96")
            expect(page.locator(".top .legend")).to_contain_text("against")
            settled(page)
            heat = signed_shares(made, 3, 1, role="layer3").astype(np.float32)
            assert_close(pixels(card(page, 1)), overlay(picture, heat, signed=True))
            options = page.get_by_label("Map shown").first.locator("option").all_inner_texts()
            assert options == ["Explained", "layer3", "Side by side"]


class TestText:
    def test_hostile_names_are_text(self, browser):
        made = evolution(HOSTILE, "tag/" + HOSTILE, probes=3, steps=3)
        made.data["probes"][0]["name"] = HOSTILE
        made.data["probes"][1]["name"] = "x" * 10_000
        made.data["probes"][2]["name"] = "\N{FAMILY}" * 5_000
        classes = [HOSTILE, "y" * 10_000, "", "\x00", "{{7*7}}"]
        made = made.replaced(
            class_names=classes, layer=HOSTILE, notes=[HOSTILE, "z" * 10_000], score=HOSTILE
        )
        with served(Tab(message=HOSTILE).put(made)) as url:
            for width in (1280, 800):
                with watched(browser, viewport={"width": width, "height": 800}) as page:
                    show(page, url, "probe=0&compare=side")
                    assert page.locator("img").count() == 0
                    assert page.title() == "Ablation-CAM"
                    assert page.locator(".card h3").first.inner_text() == HOSTILE
                    assert page.locator("dialog h2").inner_text() == HOSTILE
                    assert page.locator(".notes li").first.text_content() == HOSTILE
                    assert HOSTILE in page.locator(".card tbody td").nth(2).text_content()
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width

    def test_notes_are_shown(self, page):
        made = evolution(probes=2, steps=3).replaced(notes=["Shows 3 of 5000 steps."])
        with served(Tab().put(made)) as url:
            show(page, url)
            assert page.locator(".notes").inner_text().endswith("Shows 3 of 5000 steps.")

    def test_what_is_not_known(self, page):
        made = evolution(probes=2, steps=3)
        for entry in made.data["steps"]:
            entry.update(predicted=None, probabilities=None, scores=[None, 1.0])
            entry["maxima"] = [None, 1.0]
        made = made.replaced(class_names=None)
        made.data["probes"][0]["label"] = None
        with served(Tab().put(made)) as url:
            show(page, url, "probe=0")
            text = page.locator(".card").first.inner_text()
            assert "class 0" in text
            assert "\N{EN DASH}" in text
            expect(page.get_by_label("Prediction", exact=True)).to_be_disabled()
            shown = pixels(card(page, 0))
            assert_close(shown, picture_of(made, 0, shown.shape[:2]))

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_contrast(self, page, address, theme):
        """Every text that stands on the page has 4.5 to 1 (WCAG AA)."""
        page.emulate_media(color_scheme=theme)
        for state in ("compare=side", "probe=1&compare=difference", "search=zzz", "run=gone"):
            show(page, address, state)
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            assert page.evaluate(FAINT_TEXTS) == []

    def test_targets_are_large_enough(self, page, address, small):
        """24 by 24 pixels (WCAG 2.2 AA); what has a label is as large as that."""
        other = small[1].data["run"]
        for state in (f"compare=side&brun={other}", "probe=1"):
            show(page, address, state)
            assert page.evaluate(TINY_TARGETS) == []

    def test_every_control_has_a_name(self, page, address):
        show(page, address, "compare=side&probe=1")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, input, select, a')].filter(node =>
            !(node.labels?.length || node.getAttribute('aria-label') ||
              node.textContent.trim())).map(node => node.outerHTML)"""
        )
        assert nameless == []


TINY_TARGETS = """() => [...document.querySelectorAll("button, input, select, a")].filter(node => {
  const target = node.closest("label") ?? node;
  const { width, height } = target.getBoundingClientRect();
  return target.checkVisibility() && (width < 24 || height < 24);
}).map((node) => node.outerHTML.slice(0, 80))"""

TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll(
  "main, aside, dialog, .large-body, .card, .large > header")].filter(
  (n) => n.clientWidth && n.scrollWidth > n.clientWidth + 1).map((n) => n.className || n.tagName)"""

FAINT_TEXTS = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (node) => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("#ablation-cam *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !node.checkVisibility() || node.closest(".unseen, option")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(under(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([node.className, node.textContent.slice(0, 30), ratio]);
  }
  return faint;
}"""


class TestSurroundings:
    def test_report_from_disk(self, browser, small, tmp_path):
        for made in small:
            with EventFile(tmp_path / "logs" / made.data["run"]) as file:
                write_run(file, made)
        path = write_report(tmp_path / "logs", tmp_path / "report <1>.html")
        with watched(browser, offline=True) as page:
            asked = []
            page.on("request", lambda request: asked.append(request.url))
            show(page, path.as_uri(), "run=version_0&step=144")
            shown = pixels(card(page, 2))
            assert_close(shown, expected(small[0], 5, 2, shown.shape[:2]))
            page.get_by_label("Run A").select_option(label=small[1].data["run"])
            expect(page.locator(".top .count").first).to_have_text("6 of 8")
            settled(page)
            shown = pixels(card(page, 0))
            assert_close(shown, expected(small[1], 5, 0, shown.shape[:2]))
            outside = [url for url in asked if not url.startswith(("data:", "about:"))]
            assert [url[:5] for url in outside] == ["file:"]

    @pytest.mark.parametrize("width", [1280, 800, 400])
    def test_no_horizontal_scrolling(self, browser, address, width):
        with watched(browser, viewport={"width": width, "height": 800}) as page:
            for state in ("", "compare=side", "compare=difference&probe=2"):
                show(page, address, state)
                assert page.evaluate(TOO_WIDE) == [], state

    def test_only_what_is_seen_is_drawn(self, page):
        made = evolution(probes=64, steps=3)
        with served(Tab().put(made)) as url:
            show(page, url, "size=s")
            drawn = page.evaluate(
                "[...document.querySelectorAll('.card canvas:first-child')]"
                ".filter(canvas => canvas.width !== 300).length"
            )
            assert 6 <= drawn < 40
