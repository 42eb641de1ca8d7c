"""The tab as its users have it: the page, the plugin, TensorBoard and event files together."""

from __future__ import annotations

import numpy as np
import pytest

from tests.board import Board
from tests.browser import card, expect, needs_browser, opened, pixels, settled, watched
from tests.tab_events import TAG, EventFile, heat, probes
from tests.tab_page import evolution, write_run
from tests.test_tab_page import HOSTILE, assert_close, expected

pytestmark = needs_browser

STEPS = 10
WRITTEN = 6
LONG = 3000
# Messages of TensorBoard's own scripts.
THEIRS = "Three.js"


@pytest.fixture(scope="module")
def runs():
    first = evolution("first", probes=4, steps=STEPS)
    first.data["probes"][2]["name"] = HOSTILE
    first.data["class_names"] = [HOSTILE, *first.data["class_names"][1:]]
    second = evolution("runs/<b>other</b>", probes=4, steps=8, seed=3)
    # The run that wrote last is shown first.
    for step in second.data["steps"]:
        step["wall_time"] -= 24 * 60 * 60
    return first, second


@pytest.fixture(scope="module", params=["fast", "slow"])
def board(request, tmp_path_factory, runs):
    """TensorBoard over a run that grows, another and a long one; once below a prefix."""
    folder = tmp_path_factory.mktemp(request.param)
    first, second = runs
    flag = f"--load_fast={str(request.param == 'fast').lower()}"
    prefix = "/below/this" if request.param == "fast" else ""
    with EventFile(folder / "logs" / "first") as live:
        write_run(live, first, stop=WRITTEN)
        with EventFile(folder / "logs" / second.data["run"]) as file:
            write_run(file, second)
        with EventFile(folder / "logs" / "long") as file:
            file.probes(probes())
            for step in range(LONG):
                file.heat(heat(step % 50), step)
        with Board(folder / "logs", folder / "said.txt", flag, prefix=prefix) as running:
            running.live = live
            for run, count in (("first", WRITTEN), (second.data["run"], 8), ("long", LONG)):
                running.wait_for(lambda run=run, count=count: steps_of(running, run) == count)
            yield running


def steps_of(board, run):
    status, _, _ = board.get("data", run=run, tag=TAG)
    return status == 200 and board.json("data", run=run, tag=TAG)["total_steps"]


@pytest.fixture(scope="module")
def tab(board, browser):
    """TensorBoard's page, the frame of the tab in it, and what that has come to ask."""
    with watched(browser, THEIRS) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{board.url}#ablation_cam")
        yield page, framed(page), asked


def framed(page):
    page.frame_locator("iframe").locator("html[data-ready='1']").wait_for()
    (frame,) = [frame for frame in page.frames if "plugin_entry" in frame.url]
    settled(frame)
    return frame


def count(frame, side="a"):
    return frame.locator(f".top .side-{side} .count")


def shows(frame, made, step, probe, which=0):
    settled(frame)
    shown = pixels(card(frame, probe, which))
    assert_close(shown, expected(made, step, probe, shown.shape[:2]))


def test_it_shows_the_newest_step(tab, runs):
    _, frame, _ = tab
    expect(count(frame)).to_have_text(f"{WRITTEN} of {WRITTEN}")
    made = runs[0].first(WRITTEN)
    for probe in (0, 3):
        shows(frame, made, WRITTEN - 1, probe)
    names = frame.locator(".card h3").all_inner_texts()
    assert names == [probe["name"] for probe in made.data["probes"]]
    assert HOSTILE in frame.locator(".card tbody").first.text_content()
    assert frame.locator("img").count() == 0
    assert frame.title() == "Ablation-CAM"


def test_the_slider_moves_the_heat_and_the_address(tab, runs):
    page, frame, _ = tab
    frame.locator(".top input[data-step=a]").fill("2")
    expect(frame.locator(".top .side-a .step")).to_have_text("Step 72")
    shows(frame, runs[0].first(WRITTEN), 2, 0)
    page.wait_for_function("location.hash.includes('p.ablation_cam.view=step%3D72')")
    assert page.url.split("#")[1].startswith("ablation_cam&")


def test_it_plays_to_the_end(tab, runs):
    _, frame, _ = tab
    frame.get_by_label("Speed").first.select_option("32")
    frame.get_by_role("button", name="Play").first.click()
    expect(count(frame)).to_have_text(f"{WRITTEN} of {WRITTEN}")
    expect(frame.get_by_role("button", name="Play").first).to_be_visible()
    shows(frame, runs[0].first(WRITTEN), WRITTEN - 1, 1)


def test_two_runs_side_by_side_and_as_a_difference(tab, runs):
    first, second = runs[0].first(WRITTEN), runs[1]
    _, frame, _ = tab
    frame.get_by_role("radio", name="A | B").check()
    frame.get_by_role("radio", name="Map").check()
    frame.get_by_label("Run B").select_option(label=second.data["run"])
    expect(frame.locator(".top .side-b .count")).to_have_text("6 of 8")
    settled(frame)
    for which, made in enumerate((first, second)):
        shown = pixels(card(frame, 1, which))
        assert_close(shown, expected(made, 5, 1, shown.shape[:2], scale="map"))
    frame.get_by_role("radio", name="A \N{MINUS SIGN} B").check()
    settled(frame)
    shown = pixels(card(frame, 1)).astype(int)
    assert np.ptp(shown, axis=2).max() > 40, "neither amber nor blue"
    assert np.percentile(shown.min(axis=2), 90) > 150, "the picture beneath is pale"
    frame.get_by_role("radio", name="One").check()
    frame.get_by_role("radio", name="Probe").check()


def test_dark_mode_follows_tensorboard(tab):
    page, frame, _ = tab
    theme = "document.documentElement.dataset.theme"
    background = "getComputedStyle(document.body).backgroundColor"
    assert frame.evaluate(theme) == "light"
    light = frame.evaluate(background)
    page.get_by_label("Menu for changing light or dark theme").click()
    page.get_by_role("menuitem", name="Dark").click()
    frame.wait_for_function(f"{theme} === 'dark'")
    assert (light, frame.evaluate(background)) == ("rgb(245, 245, 245)", "rgb(48, 48, 48)")
    fonts = "[...document.fonts].some(f => f.family === 'Roboto' && f.status === 'loaded')"
    assert frame.evaluate(fonts)


def test_reload_brings_what_is_new_and_no_more(tab, board, runs):
    page, frame, asked = tab
    frame.locator(".top input[data-step=a]").fill("3")
    expect(count(frame)).to_have_text(f"4 of {WRITTEN}")
    # Nothing is new: the browser has all of it.
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    statuses = []
    session.on(
        "Network.responseReceivedExtraInfo", lambda event: statuses.append(event["statusCode"])
    )
    with page.expect_response(lambda response: "/data?" in response.url):
        page.locator("app-header-reload button").click()
    settled(frame)
    assert 304 in statuses
    write_run(board.live, runs[0], WRITTEN)
    board.wait_for(lambda: steps_of(board, "first") == STEPS)
    asked.clear()
    page.locator("app-header-reload button").click()
    expect(count(frame)).to_have_text(f"4 of {STEPS}")
    (maps,) = [url for url in asked if "/maps?" in url]
    assert maps.endswith(f"&from={WRITTEN}")
    assert [url for url in asked if "/picture?" in url] == []
    shows(frame, runs[0], 3, 0)
    frame.locator(".top input[data-step=a]").press("End")
    expect(count(frame)).to_have_text(f"{STEPS} of {STEPS}")
    shows(frame, runs[0], STEPS - 1, 0)


def test_behind_another_tab_it_asks_for_nothing(tab):
    page, frame, asked = tab
    page.evaluate("location.hash = location.hash.replace('ablation_cam', 'timeseries')")
    frame.wait_for_function("innerHeight === 0")
    asked.clear()
    with page.expect_response(lambda response: "plugins_listing" in response.url):
        page.locator("app-header-reload button").click()
    page.wait_for_timeout(200)
    assert [url for url in asked if "/plugin/ablation_cam/" in url] == []
    page.evaluate("location.hash = '#ablation_cam&p.ablation_cam.view=step%3D48'")
    expect(count(frame)).to_have_text(f"2 of {STEPS}")
    assert any("/data?" in url for url in asked)


def test_a_link_shows_someone_else_the_same(board, browser, runs):
    view = "run%3Dfirst%26step%3D96%26probe%3D1"
    with watched(browser, THEIRS) as page:
        page.goto(f"{board.url}#ablation_cam&p.ablation_cam.view={view}")
        frame = framed(page)
        expect(count(frame)).to_have_text(f"4 of {STEPS}")
        expect(frame.get_by_role("dialog").locator("h2")).to_have_text("cat 1")
        alone = frame.locator("a", has_text="Open alone").get_attribute("href")
    with watched(browser) as page:
        page.goto(alone)
        page.wait_for_selector("html[data-ready='1']")
        expect(count(page)).to_have_text(f"4 of {STEPS}")
        shows(page, runs[0], 3, 0)


def test_a_long_run_says_what_it_leaves_out(board, browser):
    data = board.json("data", run="long", tag=TAG)
    steps = [entry["step"] for entry in data["steps"]]
    assert (len(steps), steps[0], steps[-1]) == (751, 0, LONG - 1)
    with watched(browser) as page:
        page.goto(f"{board.url}data/plugin_entry.html?name=ablation_cam#run=long")
        page.wait_for_selector("html[data-ready='1']")
        note = "Shows 751 of 3000 steps: every 4th, and the newest."
        expect(page.locator(".notes")).to_contain_text(note)
        expect(count(page)).to_have_text("751 of 751")
        page.keyboard.press("Home")
        expect(page.locator(".top .step").first).to_have_text("Step 0")
        page.keyboard.press("End")
        expect(page.locator(".top .step").first).to_have_text("Step 2,999")


def test_a_series_that_cannot_be_read_says_why(board, browser):
    with opened(browser) as (page, _):
        page.route("**/data?*", lambda route: route.continue_(url=route.request.url + "x"))
        page.goto(f"{board.url}data/plugin_entry.html?name=ablation_cam#run=long")
        expect(page.get_by_role("alert").locator("p")).to_have_text(
            "Run 'long' has no Ablation-CAM data under 'ablation_camx/probes'."
        )
