"""What is taken away from the tab: pictures, animations and tables, read back."""

from __future__ import annotations

import base64
import csv
import io
import re
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from lightning_ablationcam import write_report
from tests.browser import card, expect, needs_browser, pixels, settled, show, watched
from tests.tab_events import EventFile
from tests.tab_page import CLASSES, Tab, evolution, measured, served, write_run
from tests.test_tab_page import (
    FAINT_TEXTS,
    HOSTILE,
    TINY_TARGETS,
    TOO_WIDE,
    expected,
    picture_of,
)

pytestmark = needs_browser

MARGIN = 16
"""Of a poster whose pictures are as large as those of cards."""

RECORD_TEXTS = """
  window.texts = [];
  const write = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.texts.push(text);
    return write.call(this, text, ...rest);
  };
"""


@pytest.fixture(scope="module")
def made():
    return evolution(probes=6, steps=8)


@pytest.fixture(scope="module")
def other():
    return evolution("runs/<b>other</b>", probes=6, steps=4, seed=3)


@pytest.fixture(scope="module")
def address(made, other):
    with served(Tab().put(made, other)) as url:
        yield url


def taken(page, button):
    """The file that a button downloads, its name and its content."""
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def of_view(page, name):
    """A button of the section "Share"."""
    return page.locator(".share").get_by_role("button", name=name, exact=True)


def of_probe(page, name):
    """A button of the large view's menu, which is opened first."""
    page.locator("dialog header .take-away .icon-button").click()
    return page.locator("dialog .menu").get_by_role("button", name=name)


def image_of(content):
    return Image.open(io.BytesIO(content))


def rgb(image):
    return np.asarray(image.convert("RGB"))


def frames_of(gif):
    frames, durations = [], []
    for i in range(gif.n_frames):
        gif.seek(i)
        frames.append(rgb(gif))
        durations.append(gif.info["duration"])
    return np.stack(frames), durations


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


class TestPicture:
    def test_it_holds_the_cards_in_sight_as_they_are_drawn(self, page, address):
        show(page, address, "step=120")
        name, content = taken(page, of_view(page, "Picture"))
        assert name == "ablation-cam_version-0_step-120.png"
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        poster = rgb(image_of(content))
        assert (poster[:MARGIN] == 255).all()
        shown = pixels(card(page, 0))
        height, width = shown.shape[:2]
        cut = poster[MARGIN : MARGIN + height, MARGIN : MARGIN + width]
        assert np.array_equal(cut, shown)
        beside = pixels(card(page, 1))
        left = MARGIN + 256 + 14
        assert np.array_equal(poster[MARGIN : MARGIN + height, left : left + width], beside)

    def test_it_says_what_it_is(self, browser, address, made):
        with watched(browser) as page:
            page.add_init_script(RECORD_TEXTS)
            show(page, address, "step=120")
            taken(page, of_view(page, "Picture"))
            texts = page.evaluate("texts")
        entry = made.data["steps"][4]
        assert made.data["probes"][0]["name"] in texts
        # The colours do not tell how strong a map is: its balance does.
        said = [text for text in texts if "balance" in text]
        predicted = CLASSES[entry["predicted"][0]]
        right = entry["predicted"][0] == made.data["probes"][0]["label"]
        assert any(
            text.startswith(f"{'✓' if right else '✗'} {predicted} ")
            and text.endswith(f"balance {100 * entry['balance'][0]:.1f} %")
            for text in said
        )
        caption = " ".join(texts[-4:])
        for words in ("Ablation-CAM, layer model.layer4, score: logit", "run version_0",
                      "step 120, epoch 4"):  # fmt: skip
            assert words in caption
        assert any("100 % is a map's maximum" in text for text in texts)

    def test_what_is_out_of_sight_is_left_out(self, browser):
        big = evolution(probes=40, steps=2)
        with served(Tab().put(big)) as url, watched(browser) as page:
            page.add_init_script(RECORD_TEXTS)
            show(page, url)
            page.locator("main").evaluate("node => { node.scrollTop = 700; }")
            settled(page)
            page.wait_for_timeout(300)
            taken(page, of_view(page, "Picture"))
            texts = set(page.evaluate("texts"))
            drawn = {i for i, one in enumerate(big.data["probes"]) if one["name"] in texts}
            seen = set(
                page.evaluate(
                    """() => [...document.querySelectorAll(".card")].filter((card) => {
                      const picture = card.querySelector(".picture");
                      const { top, bottom } = picture.getBoundingClientRect();
                      const under = document.querySelector(".top").getBoundingClientRect().bottom;
                      return (top + bottom) / 2 > under && (top + bottom) / 2 < innerHeight;
                    }).map((card) => Number(card.dataset.probe))"""
                )
            )
            assert drawn == seen
            assert 0 not in drawn

    def test_the_large_view_with_all_its_panes(self, browser, address, made, other):
        state = f"probe=2&compare=side&brun={quote(other.data['run'])}&step=96"
        with watched(browser) as page:
            page.add_init_script(RECORD_TEXTS)
            show(page, address, state)
            name, content = taken(page, of_probe(page, "Picture (PNG)"))
            texts = page.evaluate("texts")
            poster = rgb(image_of(content))
            panes = page.locator("dialog figure canvas")
            scale = poster.shape[1]
            for i in range(3):
                shown = pixels(panes.nth(i)).astype(float)
                height, width = shown.shape[:2]
                assert scale > 3 * width
                left = 2 * MARGIN + i * (512 + 8)
                cut = poster[2 * MARGIN : 2 * MARGIN + height, left : left + width]
                assert np.abs(cut - shown).mean() < 1
        assert name == "ablation-cam_version-0-vs-runs-b-other-b_step-96_coffee-2.png"
        assert any(text.startswith("A: Step 96") for text in texts)
        caption = " ".join(texts[-4:])
        assert "A: run version_0, step 96" in caption
        assert f"B: run {other.data['run']}, step 96" in caption

    def test_looks_and_zoom_are_taken_as_they_are_seen(self, browser, address):
        with watched(browser) as page:
            page.add_init_script(RECORD_TEXTS)
            show(page, address, "probe=2&look=heat&step=96")
            canvas = page.locator("dialog figure canvas").first
            before = None
            for enlarged in (False, True):
                if enlarged:
                    page.locator("dialog .frame").first.focus()
                    page.keyboard.press("+")
                    settled(page)
                poster = rgb(image_of(taken(page, of_probe(page, "Picture (PNG)"))[1]))
                url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
                heat = image_of(base64.b64decode(url.split(",")[1])).convert("RGBA")
                # Heat alone lies on nothing, here on paper.
                paper = Image.new("RGBA", heat.size, "white")
                shown = rgb(Image.alpha_composite(paper, heat)).astype(float)
                height, width = shown.shape[:2]
                cut = poster[2 * MARGIN : 2 * MARGIN + height, 2 * MARGIN : 2 * MARGIN + width]
                assert shown.std() > 10
                assert np.abs(cut - shown).mean() < 1
                assert before is None or np.abs(before - shown).mean() > 5
                before = shown
                assert ("; a part, enlarged" in " ".join(page.evaluate("texts"))) == enlarged

    def test_a_wipe_is_one_picture_of_both(self, browser, address, other):
        state = f"probe=2&compare=side&brun={quote(other.data['run'])}&step=96"
        with watched(browser) as page:
            show(page, address, state)
            whole = rgb(image_of(taken(page, of_probe(page, "Picture (PNG)"))[1]))
            show(page, address, f"{state}&wipe=40")
            wiped = rgb(image_of(taken(page, of_probe(page, "Picture (PNG)"))[1]))
        # The same pictures: A left of the line, B right of it.
        side, at = 384, int(0.4 * 384)
        top = slice(2 * MARGIN, 2 * MARGIN + side)
        a, b = (whole[top, left : left + side] for left in (2 * MARGIN, 2 * MARGIN + 520))
        both = wiped[top, 2 * MARGIN : 2 * MARGIN + side]
        assert np.array_equal(both[:, : at - 6], a[:, : at - 6])
        assert np.array_equal(both[:, at + 6 :], b[:, at + 6 :])
        assert not np.array_equal(a, b)

    def test_maps_that_stand_side_by_side_do_so_in_the_picture(self, page):
        one = evolution("x", probes=2, steps=3, roles=("rival",))
        two = evolution("y", probes=2, steps=3, roles=("rival",), seed=4)
        with served(Tab().put(one, two)) as url:
            show(page, url, "probe=1&beside=roles&compare=side&brun=y&step=48")
            poster = rgb(image_of(taken(page, of_probe(page, "Picture (PNG)"))[1]))
            panes = page.locator("dialog figure:visible canvas")
            assert panes.count() == 6, "A, B and their difference, of two maps each"
            shown = [pixels(panes.nth(i)).astype(float) for i in range(6)]
        size, tops = shown[0].shape[0], []
        for i, each in enumerate(shown):
            left = 2 * MARGIN + i % 3 * (512 + 8)
            apart = [
                np.abs(poster[top : top + size, left : left + size][::8] - each[::8]).mean()
                for top in range(poster.shape[0] - size)
            ]
            assert min(apart) < 2, i
            tops.append(int(np.argmin(apart)))
        # In as many columns and rows as in the large view.
        assert tops[:3] == [2 * MARGIN] * 3
        assert len(set(tops[3:])) == 1
        assert tops[3] > 2 * MARGIN + size

    def test_further_runs_and_roles_are_named(self, browser):
        one = evolution("x", probes=3, steps=3, roles=("rival",))
        two = evolution("y", probes=2, steps=3, roles=("rival",), seed=4)
        with served(Tab().put(one, two)) as url, watched(browser) as page:
            page.add_init_script(RECORD_TEXTS)
            show(page, url, "run=x&probe=2&runs=y&step=48&role=rival")
            taken(page, of_probe(page, "Picture (PNG)"))
            texts = page.evaluate("texts")
        assert any(text.startswith("x: ") for text in texts)
        assert "y: no such probe" in texts
        caption = " ".join(texts[-4:])
        assert "map of: rival" in caption
        assert "run x, step 48" in caption
        assert "run y, step 48" in caption

    def test_its_legends_are_those_of_what_it_shows(self, browser):
        one = evolution("x", probes=2, steps=3)
        one.maps[:, 0] = 100
        one.maps[:, 0, 0, 0] = 255  # the maximum of each
        one.maps[1:, 0, 2, 5] = 151
        with served(Tab().put(one)) as url, watched(browser) as page:
            page.add_init_script(RECORD_TEXTS)
            show(page, url, "probe=0&compare=side&scale=map")
            taken(page, of_probe(page, "Picture (PNG)"))
            texts = page.evaluate("texts.splice(0)")
            assert {"+20 %", "50", "more in A · 100 % is each map's own maximum"} <= {*texts}
            # Cards show no difference beside A and B, or nothing else.
            for compare, wanted in (("side", {"50"}), ("difference", {"more in B"})):
                show(page, url, f"compare={compare}&scale=map")
                taken(page, of_view(page, "Picture"))
                texts = page.evaluate("texts.splice(0)")
                assert {"50", "more in B"} & {*texts} == wanted

    def test_dark_or_not_it_is_on_white(self, page, address):
        page.emulate_media(color_scheme="dark")
        show(page, address, "step=120")
        dark = rgb(image_of(taken(page, of_view(page, "Picture"))[1]))
        page.emulate_media(color_scheme="light")
        show(page, address, "step=120")
        light = rgb(image_of(taken(page, of_view(page, "Picture"))[1]))
        assert np.array_equal(dark, light)
        assert light[5, 5].tolist() == [255, 255, 255]

    def test_without_a_probe_there_is_none(self, page, address):
        show(page, address, "search=zzz")
        of_view(page, "Picture").click()
        expect(page.locator(".toast")).to_contain_text("no probe")


class TestAnimation:
    @pytest.mark.parametrize(("speed", "delay"), [("4", 250), ("8", 120)])
    def test_a_frame_for_each_step_at_the_players_pace(self, page, address, made, speed, delay):
        show(page, address, f"probe=1&speed={speed}&step=48")
        name, content = taken(page, of_probe(page, "Animation (GIF)"))
        assert name == "ablation-cam_version-0_steps-24-192_cat-1.gif"
        frames, durations = frames_of(image_of(content))
        assert len(frames) == 8
        # In hundredths of a second; the last one stays to be looked at.
        assert all(abs(each - delay) <= 10 for each in durations[:-1])
        assert durations[-1] >= 1000
        side = picture_of(made, 1, (384, 384)).shape[0]
        top = 2 * MARGIN
        for i in (0, 3, 7):
            cut = frames[i][top : top + side, top : top + side].astype(float)
            difference = np.abs(cut - expected(made, i, 1, (side, side)))
            assert difference.mean() < 5, i
            others = [np.abs(cut - expected(made, j, 1, (side, side))).mean() for j in range(8)]
            assert np.argmin(others) == i
        # The view stays where it was.
        assert page.locator("dialog .step").first.inner_text() == "Step 48"

    def test_what_stays_the_same_keeps_its_colours(self, page, made):
        still = evolution(probes=2, steps=5)
        still.maps[:] = still.maps[:1]
        for entry in still.data["steps"]:
            entry["maxima"] = still.data["steps"][0]["maxima"]
            entry["balance"] = still.data["steps"][0]["balance"]
        # What else is in the frames does change.
        still.maps[2:, 1] = still.maps[2:, 1, ::-1]
        with served(Tab().put(still)) as url:
            show(page, url)
            frames, _ = frames_of(image_of(taken(page, of_view(page, "Animation"))[1]))
        side = 192
        first = frames[:, 2 * MARGIN : 2 * MARGIN + side, 2 * MARGIN : 2 * MARGIN + side]
        assert first.std() > 20
        assert (first == first[:1]).all()
        assert (frames[0] != frames[3]).any()

    def test_banding_is_small(self, page, address):
        show(page, address, "probe=1&step=96")
        shown = pixels(page.locator("dialog figure canvas").first).astype(float)
        frames, _ = frames_of(image_of(taken(page, of_probe(page, "Animation (GIF)"))[1]))
        side, top = shown.shape[0], 2 * MARGIN
        cut = frames[3][top : top + side, top : top + side]
        assert np.abs(cut - shown).mean() < 4

    def test_b_moves_along_where_the_runs_are_tied(self, page, address, other):
        run = quote(other.data["run"])
        show(page, address, f"probe=0&compare=side&brun={run}&colors=gray")
        frames, _ = frames_of(image_of(taken(page, of_probe(page, "Animation (GIF)"))[1]))
        height, width = frames.shape[1:3]
        panes = frames[:, : height // 2, width // 3 + 10 : 2 * width // 3 - 10].astype(float)
        # B has four steps, A eight, and the first four of them are the same.
        moved = np.abs(np.diff(panes, axis=0)).mean(axis=(1, 2, 3))
        assert (moved[:3] > 0.5).all()
        assert (moved[3:] < 0.1).all()

    def test_more_steps_than_a_gif_can_hold_are_thinned_out(self, browser):
        long = evolution(probes=1, steps=500, cells=3)
        with served(Tab().put(long)) as url, watched(browser) as page:
            show(page, url, "size=s&speed=32&search=astro")
            button = of_view(page, "Animation")
            with page.expect_download(timeout=120_000) as download:
                button.click()
                expect(page.locator(".toast")).to_contain_text("200 of 500 steps")
            gif = image_of(download.value.path().read_bytes())
            assert gif.n_frames == 200
            assert abs(gif.info["duration"] - 80) <= 10

    def test_it_can_be_cancelled_while_the_page_goes_on(self, browser):
        long = evolution(probes=9, steps=200)
        with served(Tab().put(long)) as url, watched(browser) as page:
            downloads = []
            page.on("download", lambda download: downloads.append(download))
            show(page, url)
            of_view(page, "Animation").click()
            toast = page.locator(".toast")
            bar = toast.locator("progress")
            page.wait_for_function("document.querySelector('.toast progress').value > 0.005")
            page.locator(".top .side-a input[type='range']").focus()
            page.keyboard.press("ArrowLeft")
            expect(page.locator(".top .side-a .count")).to_have_text("199 of 200")
            assert bar.is_visible(), "it has not ended meanwhile"
            assert bar.evaluate("node => node.value") < 1
            toast.get_by_role("button", name="Cancel").click()
            expect(toast).to_have_count(0)
            spoken = page.locator("#ablation-cam > [aria-live]")
            expect(spoken).to_have_text("The animation is not made")
            assert downloads == []

    def test_of_one_step_there_is_none(self, page):
        with served(Tab().put(evolution(probes=1, steps=1))) as url:
            show(page, url)
            of_view(page, "Animation").click()
            expect(page.locator(".toast")).to_contain_text("one step only")

    def test_a_report_makes_one_too(self, browser, made, tmp_path):
        with EventFile(tmp_path / "logs" / "version_0") as file:
            write_run(file, made)
        report = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser) as page:
            show(page, report.as_uri(), "probe=0")
            name, content = taken(page, of_probe(page, "Animation (GIF)"))
            assert name.endswith(".gif")
            assert image_of(content).n_frames == 8


class TestTable:
    @pytest.fixture
    def clipboard(self, browser):
        with watched(browser, permissions=["clipboard-read", "clipboard-write"]) as page:
            yield page

    def read(self, page):
        return page.evaluate("navigator.clipboard.readText()")

    def test_the_probes_at_this_step(self, clipboard, address, made):
        page = clipboard
        show(page, address, "step=120&sort=name&search=a")
        of_view(page, "Table").click()
        expect(page.locator(".toast")).to_contain_text("Table of 3 probes copied")
        rows = rows_of(self.read(page))
        cards = page.locator(".card h3").all_inner_texts()
        assert [row["Probe"] for row in rows] == cards
        entry = made.data["steps"][4]
        names = [probe["name"] for probe in made.data["probes"]]
        for row in rows:
            probe = names.index(row["Probe"])
            assert (row["Run"], row["Step"], row["Epoch"]) == ("version_0", "120", "4")
            assert row["Label"] == CLASSES[made.data["probes"][probe]["label"]]
            assert row["Predicted"] == CLASSES[entry["predicted"][probe]]
            right = entry["predicted"][probe] == made.data["probes"][probe]["label"]
            assert row["Right or wrong"] == ("right" if right else "wrong")
            for title, field in (("Score", "scores"), ("Largest heat", "maxima"),
                                 ("Balance", "balance"), ("Drift", "drift"),
                                 ("Explained: probability", "probabilities")):  # fmt: skip
                assert float(row[title]) == entry[field][probe], "in full"

    def test_a_probe_at_all_steps(self, clipboard, address, made):
        page = clipboard
        show(page, address, "probe=3&step=120")
        of_probe(page, "Copy table of all steps").click()
        expect(page.locator("dialog .toast")).to_contain_text("Table of 8 steps copied")
        rows = rows_of(self.read(page))
        assert [int(row["Step"]) for row in rows] == [one["step"] for one in made.data["steps"]]
        assert [float(row["Score"]) for row in rows] == [
            one["scores"][3] for one in made.data["steps"]
        ]
        assert rows[0]["Drift"] == "", "not known is empty"
        assert {row["Probe"] for row in rows} == {"rocket 3"}

    def test_both_sides_have_rows(self, clipboard, address, other):
        page = clipboard
        run = other.data["run"]
        show(page, address, f"compare=side&brun={quote(run)}&step=48")
        of_view(page, "Table").click()
        expect(page.locator(".toast")).to_contain_text("copied")
        rows = rows_of(self.read(page))
        assert [row["Run"] for row in rows] == ["version_0", run] * 6
        assert rows[0]["Drift from A"] == ""
        # Four digits of the map's own bytes are beyond what is tested here: it is a number.
        assert 0 < float(rows[1]["Drift from A"]) < 1
        scores = other.data["steps"][1]["scores"]
        assert [float(row["Score"]) for row in rows[1::2]] == scores

    def test_a_measure_that_was_not_taken_at_this_step_is_empty(self, clipboard):
        page = clipboard
        costly = measured(evolution(probes=2, steps=6), every=5)
        with served(Tab().put(costly)) as url:
            show(page, url, "step=48")
            of_view(page, "Table").click()
            expect(page.locator(".toast")).to_contain_text("copied")
            (first, _) = rows_of(self.read(page))
            assert costly.data["steps"][1]["insertion"] is None
            assert first["Insertion"] == ""
            assert float(first["Border heat"]) == costly.data["steps"][1]["border_heat"][0]

    def test_a_name_is_one_cell_and_no_formula(self, clipboard):
        page = clipboard
        nasty = evolution(probes=3, steps=2)
        names = ["=HYPERLINK(1)", "two\tcells\nand rows", HOSTILE]
        for probe, name in zip(nasty.data["probes"], names, strict=True):
            probe["name"] = name
        with served(Tab().put(nasty)) as url:
            show(page, url)
            of_view(page, "Table").click()
            expect(page.locator(".toast")).to_contain_text("copied")
            text = self.read(page)
        rows = rows_of(text)
        assert [row["Probe"] for row in rows] == ["'=HYPERLINK(1)", "two cells and rows", HOSTILE]
        assert len({line.count("\t") for line in text.splitlines()}) == 1

    def test_without_a_clipboard_it_can_be_copied_by_hand(self, browser, address):
        with watched(browser) as page:
            page.add_init_script(
                "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
            )
            show(page, address, "probe=3")
            of_probe(page, "Copy table of all steps").click()
            area = page.locator("dialog .toast textarea")
            expect(area).to_be_visible()
            assert len(rows_of(area.input_value())) == 8
            chosen = area.evaluate("node => node.selectionEnd - node.selectionStart")
            assert chosen == len(area.input_value())
            page.locator("dialog .toast").get_by_role("button", name="Close").click()
            of_probe(page, "Copy link").click()
            expect(page.locator("dialog .toast input")).to_have_value(re.compile("probe=3$"))


class TestSurroundings:
    def test_hostile_names_make_harmless_files(self, page):
        nasty = evolution(f"../../etc/{HOSTILE}", probes=1, steps=2)
        nasty.data["probes"][0]["name"] = "..\\..\\CON: *?\0" + "x" * 300
        with served(Tab().put(nasty)) as url:
            show(page, url, "probe=0")
            name, _ = taken(page, of_probe(page, "Picture (PNG)"))
        assert re.fullmatch(r"[\w.-]+\.png", name)
        assert ".." not in name
        assert len(name) < 200

    @pytest.mark.parametrize("width", [400, 1280])
    def test_the_menu_fits_and_can_be_touched(self, browser, address, width):
        size = {"width": width, "height": 800}
        with watched(browser, viewport=size, has_touch=True) as page:
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                show(page, address, "probe=1")
                page.locator("dialog .take-away .icon-button").tap()
                box = page.locator("dialog .menu").bounding_box()
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width
                assert page.evaluate(TINY_TARGETS) == []
                assert page.evaluate(FAINT_TEXTS) == []
                assert page.evaluate(TOO_WIDE) == []
                page.keyboard.press("Escape")
                expect(page.locator("dialog .menu")).to_be_hidden()
                expect(page.locator("dialog[open]")).to_be_visible()
