"""The large view as a place to work: the way back, looks, zoom, and what a cell says."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cmap import Colormap
from PIL import Image, ImageFilter

from lightning_ablationcam import write_report
from tests.board import Board
from tests.browser import card, expect, needs_browser, pixels, settled, show, watched
from tests.tab_events import TAG, EventFile
from tests.tab_page import Tab, evolution, served, write_run
from tests.test_tab_page import (
    assert_close,
    assert_state,
    expected,
    picture_of,
    shares,
    smooth,
)

pytestmark = needs_browser

A = "dialog canvas[data-kind=a]"
MINUS = "\N{MINUS SIGN}"


def flat(tone, size=224):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (tone, tone, tone)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def made():
    return evolution(probes=4, steps=12)


@pytest.fixture(scope="module")
def ramp():
    """Heat that grows evenly from left to right; in the first step, from top to bottom."""
    ramp = evolution("ramp", probes=2, steps=2, cells=8)
    along = np.rint(np.linspace(0, 255, 8))
    ramp.maps[1], ramp.maps[0] = along[None], along[:, None]
    for entry in ramp.data["steps"]:
        entry["maxima"] = [0.7, 0.7]
    ramp.pictures = [flat(128), flat(255)]
    return ramp


@pytest.fixture(scope="module")
def at(made, ramp):
    signed = evolution("signed", probes=2, steps=3, signed=True)
    with served(Tab().put(made, ramp, signed)) as url:
        yield url


def frame(page, which=0):
    return page.locator("dialog .frame:visible").nth(which)


def readings(page):
    return page.locator("dialog figure:visible .reading").all_inner_texts()


def fresh(page, url, state):
    """The same as show, with nothing left of an earlier test: no zoom, no cell."""
    page.mouse.move(2, 2)
    show(page, url, "search=x")
    show(page, url, state)


def dialog(page):
    return page.get_by_role("dialog")


class TestWayBack:
    def assert_in_grid(self, page, **state):
        expect(dialog(page)).to_be_hidden()
        assert_state(page, **state)

    def test_back_closes_and_forward_opens_again(self, page, at):
        show(page, at, "run=version_0&step=96")
        path = page.url.split("#")[0]
        length = page.evaluate("history.length")
        page.get_by_role("button", name="Enlarge cat 1").click()
        expect(dialog(page)).to_be_visible()
        assert_state(page, run="version_0", step="96", probe="1")
        assert page.evaluate("history.length") == length + 1
        page.keyboard.press("ArrowRight")
        page.get_by_role("button", name="Next probe").click()
        expect(dialog(page).locator("h2")).to_have_text("coffee 2")
        assert_state(page, run="version_0", step="120", probe="2")
        page.go_back()
        # One way back from any number of probes, and the step that was gone to stays.
        self.assert_in_grid(page, run="version_0", step="120")
        page.go_forward()
        expect(dialog(page).locator("h2")).to_have_text("coffee 2")
        assert_state(page, run="version_0", step="120", probe="2")
        settled(page)
        page.go_back()
        self.assert_in_grid(page, run="version_0", step="120")
        assert page.evaluate("history.length") == length + 1
        assert page.url.split("#")[0] == path

    @pytest.mark.parametrize("way", ["Escape", "button", "backdrop"])
    def test_closing_leaves_no_dead_entry(self, page, at, way):
        show(page, at, "run=version_0&step=48")
        page.evaluate("location.hash = 'run=version_0&step=72'")
        expect(page.locator(".top .step").first).to_have_text("Step 72")
        page.get_by_role("button", name="Enlarge cat 1").click()
        page.keyboard.press("ArrowRight")
        if way == "button":
            page.get_by_role("button", name="Close").click()
        elif way == "backdrop":
            page.mouse.click(3, 3)
        else:
            page.keyboard.press("Escape")
        self.assert_in_grid(page, run="version_0", step="96")
        expect(page.get_by_role("button", name="Enlarge cat 1")).to_be_focused()
        # The way back now leads to what there was before the large view.
        page.go_back()
        expect(page.locator(".top .step").first).to_have_text("Step 48")
        expect(dialog(page)).to_be_hidden()

    def test_a_link_to_a_probe_closes_to_the_grid(self, page, at):
        for close in (page.go_back, lambda: page.keyboard.press("Escape")):
            show(page, at, "run=version_0&step=48&probe=1")
            expect(dialog(page)).to_be_visible()
            close()
            self.assert_in_grid(page, run="version_0", step="48")
            page.evaluate("location.hash = ''")
            expect(page.locator(".top .step").first).to_have_text("Step 288")

    def test_a_probe_named_by_hand_closes_where_it_is(self, page, at):
        show(page, at, "run=version_0&step=48")
        page.evaluate("location.hash = 'run=version_0&step=72&probe=1'")
        expect(dialog(page)).to_be_visible()
        length = page.evaluate("history.length")
        page.keyboard.press("Escape")
        self.assert_in_grid(page, run="version_0", step="72")
        assert page.evaluate("history.length") == length

    def test_closed_and_opened_again_at_once(self, page, at):
        show(page, at, "run=version_0&step=96")
        page.get_by_role("button", name="Enlarge cat 1").click()
        assert_state(page, run="version_0", step="96", probe="1")
        length = page.evaluate("history.length")
        close = page.get_by_role("button", name="Close").element_handle()
        # The way back takes its time, and the page is faster.
        page.evaluate(
            """close => {
              const again = document.querySelector("[aria-label^='Enlarge coffee 2']");
              const closed = () => again.click();
              close.closest("dialog").addEventListener("close", closed, { once: true });
              close.click();
            }""",
            close,
        )
        page.wait_for_timeout(600)
        expect(dialog(page).locator("h2")).to_have_text("coffee 2")
        assert_state(page, run="version_0", step="96", probe="2")
        assert page.evaluate("history.length") == length
        page.keyboard.press("Escape")
        self.assert_in_grid(page, run="version_0", step="96")

    def test_after_a_reload(self, page, at):
        show(page, at, "run=version_0&step=48")
        page.get_by_role("button", name="Enlarge cat 1").click()
        assert_state(page, run="version_0", step="48", probe="1")
        page.reload()
        expect(dialog(page)).to_be_visible()
        page.keyboard.press("Escape")
        self.assert_in_grid(page, run="version_0", step="48")
        page.go_forward()
        expect(dialog(page)).to_be_visible()

    def test_in_a_report(self, browser, tmp_path, made):
        with EventFile(tmp_path / "logs" / "run") as file:
            write_run(file, made)
        report = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser) as page:
            show(page, f"file://{report}", "step=96")
            page.get_by_role("button", name="Enlarge cat 1").click()
            expect(dialog(page)).to_be_visible()
            page.go_back()
            self.assert_in_grid(page, step="96")
            page.go_forward()
            expect(dialog(page)).to_be_visible()

    def test_in_tensorboard(self, browser, tmp_path, made):
        with EventFile(tmp_path / "logs" / "run") as file:
            write_run(file, made)
        view = "p.ablation_cam.view="
        with (
            Board(tmp_path / "logs", tmp_path / "said.txt") as board,
            watched(browser, "Three.js") as page,
        ):
            board.wait_for(lambda: board.get("data", run="run", tag=TAG)[0] == 200)
            page.goto(f"{board.url}#ablation_cam&{view}step%3D96")
            tab = page.frame_locator("iframe")
            tab.locator("html[data-ready='1']").wait_for()
            (inner,) = [one for one in page.frames if "plugin_entry" in one.url]
            length = page.evaluate("history.length")
            shown = inner.get_by_role("dialog")
            for _ in range(2):
                inner.get_by_role("button", name="Enlarge cat 1").click()
                expect(shown).to_be_visible()
                page.wait_for_function("location.hash.includes('probe%3D1')")
                assert page.evaluate("history.length") == length + 1
                page.evaluate("history.back()")
                expect(shown).to_be_hidden()
                page.wait_for_function("!location.hash.includes('probe')")
                assert page.url.endswith(f"#ablation_cam&{view}step%3D96")
            page.evaluate("history.forward()")
            expect(shown).to_be_visible()
            expect(inner.locator(".top .step").first).to_have_text("Step 96")
            page.keyboard.press("Escape")
            expect(shown).to_be_hidden()
            page.wait_for_function("!location.hash.includes('probe')")
            # TensorBoard shows another tab, and ours again, as ever.
            page.evaluate("location.hash = '#timeseries'")
            inner.wait_for_function("innerHeight === 0")
            page.evaluate("history.back()")
            inner.wait_for_function("innerHeight > 0")
            expect(inner.locator(".top .step").first).to_have_text("Step 96")
            expect(shown).to_be_hidden()
        # A link to a probe.
        with (
            Board(tmp_path / "logs", tmp_path / "said.txt") as board,
            watched(browser, "Three.js") as page,
        ):
            board.wait_for(lambda: board.get("data", run="run", tag=TAG)[0] == 200)
            page.goto(f"{board.url}#ablation_cam&{view}step%3D96%26probe%3D1")
            shown = page.frame_locator("iframe").get_by_role("dialog")
            expect(shown).to_be_visible()
            page.evaluate("history.back()")
            expect(shown).to_be_hidden()
            assert page.url.endswith(f"#ablation_cam&{view}step%3D96")


def white_at(row):
    """Where a row of pixels has white lines with dark edges: the middle and width of each."""
    is_white = row.min(axis=1) > 160
    starts = np.flatnonzero(np.diff(is_white.astype(int)) == 1) + 1
    ends = np.flatnonzero(np.diff(is_white.astype(int)) == -1) + 1
    for start, end in zip(starts, ends, strict=True):
        assert row[start - 3 : start].min() < 60 > row[end : end + 3].min(), "a dark edge"
    return [((start + end) / 2, end - start) for start, end in zip(starts, ends, strict=True)]


class TestLooks:
    def test_contours_are_at_their_levels(self, page, at):
        show(page, at, "run=ramp&step=48&probe=0&scale=map&look=contour")
        shown = pixels(page.locator(A))
        lines = white_at(shown[len(shown) // 3].astype(int))
        # The middles of the cells have their values; between them they grow evenly.
        wanted = [(share * 7 + 0.5) / 8 * shown.shape[1] for share in (0.25, 0.5, 0.75)]
        assert [place for place, _ in lines] == pytest.approx(wanted, abs=2)
        widths = [width for _, width in lines]
        assert widths == sorted(widths)
        assert widths[0] < widths[2]
        assert (shown[0, 5] == 128).all(), "the picture beneath has its own colours"
        legend = page.locator("dialog .legend").first
        expect(legend).to_contain_text("lines at 25, 50, 75 % · 100 % is each map's own maximum")
        bar = pixels(legend.locator("canvas"))[8]
        assert [place for place, _ in white_at(bar.astype(int))] == pytest.approx(
            [64, 128, 192], abs=1
        )
        # At the probe's scale the same map is weaker: fewer lines, elsewhere.
        show(page, at, "run=ramp&step=24&probe=0&scale=map&look=contour")
        shown = pixels(page.locator(A)).swapaxes(0, 1)
        assert len(white_at(shown[len(shown) // 3].astype(int))) == 3

    def test_contours_go_around_what_is_hotter(self, page, at, made):
        fresh(page, at, "run=version_0&step=192&probe=1&scale=map&look=original")
        bare = pixels(page.locator(A)).astype(int)
        show(page, at, "run=version_0&step=192&probe=1&scale=map&look=contour")
        drawn = np.abs(pixels(page.locator(A)) - bare).max(axis=2) > 0
        heat = smooth(shares(made, 7, 1, "map"), drawn.shape)
        wanted = np.zeros_like(drawn)
        for level in (0.25, 0.5, 0.75):
            over = heat > level
            wanted[:-1] |= over[:-1] != over[1:]
            wanted[:, :-1] |= over[:, :-1] != over[:, 1:]

        def near(mask, size):
            widest = ImageFilter.MaxFilter(size)
            return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(widest)) > 0

        assert drawn[wanted].mean() > 0.99, "every line is closed"
        assert near(wanted, 11)[drawn].mean() > 0.99, "and there are no others"

    def test_contours_stay_as_wide_where_the_picture_is_enlarged(self, page, at):
        fresh(page, at, "run=ramp&step=48&probe=0&scale=map&look=contour")
        widths = []
        for _ in range(2):
            shown = pixels(page.locator(A)).astype(int)
            lines = dict(white_at(shown[len(shown) // 3]))
            widths.append(lines[min(lines, key=lambda place: abs(place - shown.shape[1] / 2))])
            for _ in range(3):
                page.keyboard.press("+")
            settled(page)
        assert widths[1] == pytest.approx(widths[0], abs=1)

    def test_contours_are_seen_on_white(self, page, at):
        show(page, at, "run=ramp&step=48&probe=1&scale=map&look=contour")
        shown = pixels(page.locator(A))
        row = shown[len(shown) // 3].astype(int).min(axis=1)
        dark = np.flatnonzero(np.diff((row < 90).astype(int)) == 1)
        assert len(dark) == 6, "an edge at both sides of each line"

    def test_contours_of_both_signs(self, page, at):
        show(page, at, "run=signed&probe=0&scale=map&look=contour")
        shown = pixels(page.locator(A)).reshape(-1, 3).astype(int)
        for color in ("befda5", "ffcdfd"):
            near = np.abs(shown - list(bytes.fromhex(color))).max(axis=1) < 12
            assert near.sum() > 50, color

    def test_original_and_heat(self, page, at, made):
        show(page, at, "run=version_0&step=192&probe=1&look=original")
        shown = pixels(page.locator(A))
        assert_close(shown, picture_of(made, 1, shown.shape[:2]))
        dialog(page).get_by_role("radio", name="Heat").check()
        settled(page)
        assert_state(page, run="version_0", step="192", probe="1", look="heat")
        heat = smooth(shares(made, 7, 1, "probe"), shown.shape[:2])
        assert_close(pixels(page.locator(A)), Colormap("viridis")(heat)[..., :3] * 255)
        # The gallery stays as it is.
        assert_close(pixels(card(page, 1)), expected(made, 7, 1, (192, 192)))
        dialog(page).get_by_role("radio", name="Overlay").check()
        assert_state(page, run="version_0", step="192", probe="1")

    def test_all_side_by_side(self, page, at, made):
        show(page, at, "run=version_0&step=192&probe=1&look=all")
        looks = page.locator("dialog .frame:visible canvas[data-look]")
        assert [one.get_attribute("data-look") for one in looks.all()] == [
            "original", "overlay", "contour",
        ]  # fmt: skip
        original, overlay, contour = (pixels(one) for one in looks.all())
        assert_close(original, picture_of(made, 1, original.shape[:2]))
        assert_close(overlay, expected(made, 7, 1, overlay.shape[:2]))
        changed = np.abs(contour.astype(int) - original).max(axis=2) > 0
        assert 0.01 < changed.mean() < 0.2
        tops = [one.bounding_box()["y"] for one in looks.all()]
        assert len(set(tops)) == 1
        show(page, at, "run=version_0&step=192&probe=1&look=all&compare=side")
        captions = page.locator("dialog figure:visible figcaption").all_inner_texts()
        assert captions == [
            "Original",
            "A: Step 192, epoch 7 · Overlay",
            "A: Step 192, epoch 7 · Contour: 25, 50, 75 %",
            "B: Step 24, epoch 0 · Overlay",
            "B: Step 24, epoch 0 · Contour: 25, 50, 75 %",
            f"A {MINUS} B: amber is more in A, blue more in B",
        ]

    def test_the_original_as_long_as_a_key_is_held(self, page, at, made):
        show(page, at, "run=version_0&step=192&probe=1&compare=side&look=contour")
        before = pixels(page.locator(A))
        original = picture_of(made, 1, before.shape[:2])
        page.keyboard.down("o")
        settled(page)
        for kind in ("a", "b", "difference"):
            canvas = page.locator(f"dialog canvas[data-kind={kind}]:visible")
            assert_close(pixels(canvas), original)
        page.keyboard.down("o")  # as keys repeat
        page.keyboard.up("o")
        settled(page)
        assert np.array_equal(pixels(page.locator(A)), before)
        # Whoever closes while it is held finds the heat again.
        page.keyboard.down("o")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Enlarge cat 1").click()
        settled(page)
        assert np.array_equal(pixels(page.locator(A)), before)
        page.keyboard.up("o")

    def test_a_key_let_go_in_another_window_is_let_go(self, page, at):
        show(page, at, "run=version_0&step=192&probe=1")
        page.keyboard.down("o")
        settled(page)
        assert page.locator(A).get_attribute("data-look") == "original"
        page.evaluate("window.dispatchEvent(new Event('blur'))")
        settled(page)
        assert page.locator(A).get_attribute("data-look") == "overlay"
        page.keyboard.up("o")

    def test_the_legend_of_differences_goes_with_them(self, page, at):
        legends = page.locator("dialog .legends .legend:visible")
        for more, count in (("&compare=side", 2), ("", 1)):
            show(page, at, f"run=version_0&step=192&probe=1{more}")
            assert legends.count() == count

    @pytest.mark.parametrize("way", ["mouse", "touch", "key"])
    def test_the_original_as_long_as_a_button_is_held(self, page, at, made, way):
        show(page, at, "run=version_0&step=192&probe=1")
        button = page.get_by_role("button", name="Hold: original")
        box = button.bounding_box()
        place = {"x": box["x"] + 9, "y": box["y"] + 9}
        session = page.context.new_cdp_session(page)
        touch = lambda kind, points: session.send(  # noqa: E731
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )
        if way == "mouse":
            page.mouse.move(**place)
            page.mouse.down()
        elif way == "touch":
            touch("touchStart", [place])
        else:
            button.focus()
            page.keyboard.down(" ")
        settled(page)
        shown = pixels(page.locator(A))
        assert_close(shown, picture_of(made, 1, shown.shape[:2]))
        if way == "mouse":
            page.mouse.up()
        elif way == "touch":
            touch("touchEnd", [])
        else:
            page.keyboard.up(" ")
        settled(page)
        shown = pixels(page.locator(A))
        assert_close(shown, expected(made, 7, 1, shown.shape[:2]))
        session.detach()


class TestZoom:
    STATE = "run=version_0&step=192&probe=1"

    def scale(self, page):
        settled(page)
        return page.get_by_role("button", name="Show all of the picture").inner_text()

    def crop(self, image, scale, x, y):
        """The part of an image that is in sight, as large as all of it was."""
        height, width = image.shape[:2]
        box = [x * width, y * height, (x + 1 / scale) * width, (y + 1 / scale) * height]
        part = Image.fromarray(image.clip(0, 255).astype(np.uint8)).resize(
            (width, height), Image.Resampling.BILINEAR, box=box
        )
        return np.asarray(part).astype(float)

    def test_keys_and_buttons(self, page, at):
        fresh(page, at, self.STATE)
        assert self.scale(page) == "100 %"
        page.keyboard.press("+")
        assert self.scale(page) == "150 %"
        page.get_by_role("button", name="Zoom in").click()
        assert self.scale(page) == "225 %"
        page.keyboard.press("-")
        assert self.scale(page) == "150 %"
        page.get_by_role("button", name="Zoom out").click()
        assert self.scale(page) == "100 %"
        for _ in range(9):
            page.keyboard.press("+")
        assert self.scale(page) == "800 %"
        page.keyboard.press("0")
        assert self.scale(page) == "100 %"
        # Another probe is seen as a whole, the same one stays as it is at every step.
        page.keyboard.press("+")
        page.keyboard.press("ArrowRight")
        assert self.scale(page) == "150 %"
        page.get_by_role("button", name="Next probe").click()
        assert self.scale(page) == "100 %"

    def test_all_figures_show_the_same_part(self, page, at, made):
        fresh(page, at, f"{self.STATE}&compare=side&bstep=24")
        canvases = [page.locator(f"dialog canvas[data-kind={k}]") for k in ("a", "b", "difference")]
        before = [pixels(one).astype(float) for one in canvases]
        box = frame(page).bounding_box()
        # Its corner at the top left keeps its place.
        frame(page, 1).dblclick(position={"x": 3, "y": 3})
        assert self.scale(page) == "300 %"
        for one, whole in zip(canvases, before, strict=True):
            shown = pixels(one).astype(float)
            assert shown.shape == whole.shape
            off = np.abs(shown - self.crop(whole, 3, 0, 0)).mean()
            assert 3 * off < np.abs(shown - whole).mean()
        assert frame(page).bounding_box() == box
        frame(page).dblclick(position={"x": 50, "y": 50})
        assert self.scale(page) == "100 %"
        assert np.array_equal(pixels(canvases[0]), before[0])

    def test_a_picture_is_drawn_as_fine_as_it_is(self, page, at, made):
        """Enlarged from what there is, not from what was drawn."""
        picture = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
        fine = evolution("fine", probes=2, steps=2)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        fine.pictures[0] = buffer.getvalue()
        with served(Tab().put(fine)) as url:
            show(page, url, "probe=0&look=original")
            frame(page).dblclick(position={"x": 0, "y": 0})
            settled(page)
            shown = pixels(page.locator(A)).astype(int)
            assert shown.shape == (512, 512, 3)
            # 1.5 pixels of the canvas for each of the picture: noise stays noise.
            assert shown.std() > 45

    def test_ctrl_and_wheel(self, page, at):
        fresh(page, at, self.STATE)
        body = page.locator(".large-body")
        box = frame(page).bounding_box()
        page.mouse.move(box["x"] + 100, box["y"] + 100)
        page.keyboard.down("Control")
        page.mouse.wheel(0, -320)
        page.keyboard.up("Control")
        assert self.scale(page) == "272 %"
        assert body.evaluate("node => node.scrollTop") == 0

    def test_a_wheel_alone_scrolls_the_page(self, page, at):
        fresh(page, at, self.STATE)
        body = page.locator(".large-body")
        box = frame(page).bounding_box()
        page.mouse.move(box["x"] + 100, box["y"] + 100)
        page.mouse.wheel(0, 60)
        page.wait_for_function("document.querySelector('.large-body').scrollTop > 0")
        assert self.scale(page) == "100 %"
        # What began as scrolling stays that, though the picture gets the focus.
        page.mouse.wheel(0, -60)
        page.wait_for_function("document.querySelector('.large-body').scrollTop === 0")
        assert self.scale(page) == "100 %"
        # Who works in the picture zooms it, and scrolls where there is nothing to zoom out of.
        frame(page).focus()
        page.wait_for_timeout(450)
        page.mouse.wheel(0, -320)
        page.wait_for_function("!document.querySelector('.zoom').textContent.includes('100 %')")
        assert body.evaluate("node => node.scrollTop") == 0
        page.keyboard.press("0")
        page.mouse.wheel(0, 60)
        page.wait_for_function("document.querySelector('.large-body').scrollTop > 0")
        assert self.scale(page) == "100 %"

    def turn(self, page, *events):
        """Turn a wheel, all at once; and whether each turn was kept from the page around."""
        return frame(page).evaluate(
            """(node, events) => events.map(({ focus, ...event }) => {
              if (focus) node.focus({ preventScroll: true });
              return !node.dispatchEvent(new WheelEvent("wheel", { cancelable: true, ...event }));
            })""",
            list(events),
        )

    def test_what_began_as_scrolling_does_not_zoom_when_the_focus_comes(self, page, at):
        fresh(page, at, self.STATE)
        assert self.turn(page, {"deltaY": 60}, {"deltaY": -60, "focus": True}) == [False, False]
        assert self.scale(page) == "100 %"
        page.wait_for_timeout(450)
        assert self.turn(page, {"deltaY": -320}) == [True]
        assert self.scale(page) == "272 %"

    def test_wheels_that_count_lines_and_touchpads(self, page, at):
        fresh(page, at, self.STATE)
        self.turn(page, {"deltaY": -20, "deltaMode": 1, "ctrlKey": True})
        assert self.scale(page) == "272 %"
        page.keyboard.press("0")
        self.turn(page, *[{"deltaY": -10, "ctrlKey": True}] * 8)
        assert self.scale(page) == "272 %"

    def test_drag_and_shifted_arrows_move_it(self, page, at):
        fresh(page, at, self.STATE)
        whole = pixels(page.locator(A)).astype(float)
        box = frame(page).bounding_box()
        width = box["width"]
        page.mouse.move(box["x"] + width / 2, box["y"] + width / 2)
        page.keyboard.press("+")
        page.mouse.down()
        page.mouse.move(box["x"] + width / 2 + 0.9 * width, box["y"] + width / 2, steps=4)
        page.mouse.up()
        settled(page)

        def assert_at(x, y):
            settled(page)
            shown = pixels(page.locator(A)).astype(float)
            assert np.abs(shown - self.crop(whole, 1.5, x, y)).mean() < 4, (x, y)

        rest = (1 - 1 / 1.5) / 2
        assert_at(0, rest)
        frame(page).focus()
        page.keyboard.press("Shift+ArrowRight")
        assert_at(0.2 / 1.5, rest)
        page.keyboard.press("Shift+ArrowUp")
        page.keyboard.press("Shift+ArrowUp")
        assert_at(0.2 / 1.5, 0)
        assert page.locator("dialog .step").first.inner_text() == "Step 192"

    def test_pinch(self, page, at):
        fresh(page, at, self.STATE)
        box = frame(page).bounding_box()
        session = page.context.new_cdp_session(page)

        def fingers(kind, *shares):
            points = [
                {"x": box["x"] + share * box["width"], "y": box["y"] + 100, "id": i}
                for i, share in enumerate(shares)
            ]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        fingers("touchStart", 0.45)
        fingers("touchStart", 0.45, 0.55)
        for apart in (0.1, 0.15, 0.2):
            fingers("touchMove", 0.5 - apart, 0.5 + apart)
        fingers("touchEnd")
        assert self.scale(page) == "400 %"
        assert page.evaluate("visualViewport.scale") == 1
        session.detach()

    def test_what_is_between_two_fingers_stays_there(self, page, at):
        fresh(page, at, "run=ramp&step=48&probe=0&scale=map")
        for _ in range(2):
            page.keyboard.press("+")
        assert self.scale(page) == "225 %"
        box = frame(page).bounding_box()
        session = page.context.new_cdp_session(page)
        fingers = [("touchStart", 0.3), ("touchStart", 0.3, 0.4), ("touchMove", 0.2, 0.4)]
        for kind, *across in fingers:
            points = [
                {"x": box["x"] + share * box["width"], "y": box["y"] + 100, "id": i}
                for i, share in enumerate(across)
            ]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        session.detach()
        assert self.scale(page) == "450 %"
        frame(page).hover()
        cell = page.locator("dialog .cell:visible").bounding_box()
        column = int(readings(page)[0].split("column ")[1][0]) - 1
        seen_from = column / 8 - (cell["x"] - box["x"]) / box["width"] / 4.5
        # Of the picture, what was below the right finger still is, and twice as large.
        before = (1 - 1 / 2.25) / 2 + 0.4 / 2.25
        assert seen_from + 0.4 / 4.5 == pytest.approx(before, abs=0.005)

    def test_two_fingers_are_kept_from_the_browser(self, page, at):
        fresh(page, at, self.STATE)
        prevented = frame(page).evaluate(
            """node => [1, 2].map((count) => {
              const touches = Array.from({ length: count }, (_, identifier) =>
                new Touch({ identifier, target: node }));
              const event = new TouchEvent("touchstart", { touches, cancelable: true });
              return !node.dispatchEvent(event);
            })"""
        )
        assert prevented == [False, True]

    def test_one_finger_drags_what_is_enlarged(self, page, at):
        fresh(page, at, self.STATE)
        whole = pixels(page.locator(A)).astype(float)
        box = frame(page).bounding_box()
        page.keyboard.press("+")
        session = page.context.new_cdp_session(page)
        for kind, share in (("touchStart", 0.2), ("touchMove", 0.6), ("touchMove", 0.9)):
            points = [{"x": box["x"] + share * box["width"], "y": box["y"] + 90}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        settled(page)
        shown = pixels(page.locator(A)).astype(float)
        assert np.abs(shown - self.crop(whole, 1.5, 0, (1 - 1 / 1.5) / 2)).mean() < 4
        session.detach()


class TestCells:
    def test_under_the_pointer(self, page, at):
        fresh(page, at, "run=ramp&step=48&probe=0&scale=map")
        assert readings(page) == [""]
        box = frame(page).bounding_box()
        side = box["width"] / 8
        frame(page).hover(position={"x": 4.9 * side, "y": 2.1 * side})
        # 146 of 255: the cell's own value, not that of the pixel beside its edge.
        text = "Row 3 of 8, column 5 of 8: 57 % of this map's maximum (0.401)"
        assert readings(page) == [text]
        cell = page.locator("dialog .cell:visible").bounding_box()
        wanted = {"x": box["x"] + 4 * side, "y": box["y"] + 2 * side, "width": side, "height": side}
        assert cell == pytest.approx(wanted, abs=0.1)
        page.mouse.move(2, 2)
        assert readings(page) == [""]
        expect(page.locator("dialog .cell")).to_be_hidden()

    def test_under_a_finger(self, browser, at):
        with watched(browser, viewport={"width": 400, "height": 800}, has_touch=True) as page:
            show(page, at, "run=ramp&step=48&bstep=24&probe=0&scale=map&compare=side")
            side = frame(page).bounding_box()["width"] / 8
            frame(page).tap(position={"x": 4.5 * side, "y": 0.5 * side})
            # It stays when the finger has gone.
            assert [text.split(":")[0] for text in readings(page)] == [
                "Row 1 of 8, column 5 of 8"
            ] * 3
            frame(page, 1).tap(position={"x": 0.5 * side, "y": 6.5 * side})
            assert readings(page)[1].startswith("Row 7 of 8, column 1 of 8: 86 %")

    def test_enlarged(self, page, at):
        fresh(page, at, "run=ramp&step=48&probe=0&scale=map")
        box = frame(page).bounding_box()
        side = box["width"] / 8
        frame(page).dblclick(position={"x": 8 * side - 1, "y": 8 * side - 1})
        settled(page)
        frame(page).hover(position={"x": 7 * side, "y": 4 * side})
        # A third is in sight, from 5 1/3 cells on.
        found = "Row 7 of 8, column 8 of 8: 100 % of this map's maximum (0.7)"
        assert readings(page) == [found]
        cell = page.locator("dialog .cell:visible").bounding_box()
        assert cell["width"] == pytest.approx(3 * side, abs=0.1)
        assert cell["x"] == pytest.approx(box["x"] + (7 - 16 / 3) * 3 * side, abs=3)

    def test_b_and_the_difference_say_the_same_place(self, page, at):
        fresh(page, at, "run=ramp&step=48&bstep=24&probe=0&scale=map&compare=side")
        side = frame(page).bounding_box()["width"] / 8
        frame(page).hover(position={"x": 4.5 * side, "y": 0.5 * side})
        assert readings(page) == [
            "Row 1 of 8, column 5 of 8: 57 % of this map's maximum (0.401)",
            "Row 1 of 8, column 5 of 8: 0 % of this map's maximum (0)",
            "Row 1 of 8, column 5 of 8: +57 % (A 57 %, B 0 % of the full colour)",
        ]
        frame(page, 2).hover(position={"x": 0.5 * side, "y": 7.5 * side})
        assert readings(page)[2] == (
            f"Row 8 of 8, column 1 of 8: {MINUS}100 % (A 0 %, B 100 % of the full colour)"
        )
        assert page.locator("dialog .cell:visible").count() == 3

    def test_by_keyboard(self, page, at):
        fresh(page, at, "run=ramp&step=48&probe=0&scale=map")
        frame(page).focus()
        assert readings(page) == [""]
        spoken = dialog(page).locator("[aria-live]")
        for key, place in [
            ("ArrowRight", "Row 5 of 8, column 5 of 8: 57 %"),
            ("ArrowRight", "Row 5 of 8, column 6 of 8: 71 %"),
            ("ArrowUp", "Row 4 of 8, column 6 of 8: 71 %"),
            ("ArrowLeft", "Row 4 of 8, column 5 of 8: 57 %"),
            ("ArrowDown", "Row 5 of 8, column 5 of 8: 57 %"),
        ]:
            page.keyboard.press(key)
            assert readings(page)[0].startswith(place)
            expect(spoken).to_contain_text(place)
        assert page.locator("dialog .step").first.inner_text() == "Step 48"
        # Enlarged, the cell is followed; steps and their values stay in reach.
        for _ in range(6):
            page.keyboard.press("+")
        for _ in range(9):
            page.keyboard.press("ArrowRight")
        settled(page)
        assert readings(page)[0].startswith("Row 5 of 8, column 8 of 8: 100 %")
        box, cell = (
            one.bounding_box() for one in (frame(page), page.locator("dialog .cell:visible"))
        )
        assert cell["x"] + cell["width"] == pytest.approx(box["x"] + box["width"], abs=1)
        page.keyboard.press("Home")
        settled(page)
        assert readings(page)[0].startswith("Row 5 of 8, column 8 of 8: 57 %")
        page.keyboard.press("Tab")
        assert readings(page) == [""]

    def test_both_signs(self, page, at):
        fresh(page, at, "run=signed&probe=0&scale=map&step=24")
        box = frame(page).bounding_box()
        said = set()
        for x in range(7):
            for y in range(7):
                side = box["width"] / 7
                page.mouse.move(box["x"] + (x + 0.5) * side, box["y"] + (y + 0.5) * side)
                settled(page)
                said.add(" ".join(readings(page)[0].split()[-4:-1]))
        assert {"against the class", "for the class"} <= said

    def test_signed_shares_are_of_the_larger_of_both(self, page):
        signed = evolution("signed", probes=1, steps=2, signed=True)
        for maps, place in ((signed.maps, 1), (signed.against[""], 5)):
            maps[:] = 0
            maps[:, 0, 3, place] = 255
        for entry in signed.data["steps"]:
            entry |= {"maxima": [0.4], "against": [0.8]}
        with served(Tab().put(signed)) as url:
            show(page, url, "probe=0&scale=map&compare=side&step=48&bstep=24")
            box = frame(page).bounding_box()
            for column, said, share in (
                (1, "50 % of this map's largest value for the class", "+50 %"),
                (5, "100 % of this map's largest value against the class", f"{MINUS}100 %"),
            ):
                place = {"x": (column + 0.5) / 7 * box["width"], "y": box["height"] / 2}
                frame(page).hover(position=place)
                where = f"Row 4 of 7, column {column + 1} of 7: "
                a, b, difference = readings(page)
                assert a.startswith(where + said)
                assert b == a
                assert difference == f"{where}0 % (A {share}, B {share} of the full colour)"

    def test_no_heat(self, page, made):
        cold = evolution("cold", probes=1, steps=1)
        cold.maps[:] = 0
        cold.data["steps"][0]["maxima"] = [0.0]
        with served(Tab().put(cold)) as url:
            show(page, url, "probe=0")
            frame(page).hover(position={"x": 5, "y": 5})
            assert readings(page) == ["Row 1 of 7, column 1 of 7: no heat in this map"]


@pytest.mark.parametrize("state", ["probe=1", "probe=1&compare=side&wipe=50", "probe=1&look=all"])
def test_everything_is_reached_at_400_pixels(browser, at, state):
    with watched(browser, viewport={"width": 400, "height": 800}, has_touch=True) as page:
        show(page, at, f"run=version_0&{state}")
        body = page.locator(".large-body")
        assert body.evaluate("node => node.scrollWidth <= node.clientWidth")
        controls = page.locator("dialog .figures :is(button, input, [tabindex='0']):visible")
        assert controls.count() >= 10
        for control in controls.all():
            control.scroll_into_view_if_needed()
            box = control.bounding_box()
            assert box["x"] >= 0, control
            assert box["x"] + box["width"] <= 400, control
        # By keyboard, in the order in which they are seen: looks, zoom, pictures, steps.
        page.locator("dialog input[data-step=a]").focus()
        order = []
        for _ in range(20):
            page.keyboard.press("Tab")
            order.append(
                page.evaluate(
                    "[document.activeElement.name?.split('-')[0] || document.activeElement"
                    ".className || document.activeElement.ariaLabel || 'check']"
                )[0]
            )
        wanted = ["segments", "hold", "Show all of the picture (0)", "frame"]
        places = [order.index(one) for one in wanted]
        assert places == sorted(places)
        if "wipe" in state:
            assert "wipe-handle" in order
