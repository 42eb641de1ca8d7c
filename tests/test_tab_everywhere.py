"""Every view of the page in a real TensorBoard, as a frame of it and alone, and in the report."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from lightning_ablationcam import write_report
from tests.board import Board
from tests.browser import needs_browser, pixels, settled, watched
from tests.tab_events import TAG, EventFile
from tests.tab_page import an_alarm, evolution, measured, write_run

pytestmark = needs_browser

STEPS, PROBES = 8, 3
ALARMS = [an_alarm("border_heat", above=0.25, of="any")]


def visible(frame, selector):
    return frame.locator(f"{selector}:visible").count()


def words(frame, selector):
    return " ".join(frame.locator(f"{selector}:visible").all_inner_texts())


def kinds(frame, place):
    panes = frame.locator(f"{place} canvas:visible")
    return [one for one in panes.evaluate_all("all => all.map(c => c.dataset.kind)") if one]


# What an address shows: the state, and what has to be seen then.
VIEWS = {
    "gallery": ("", lambda f: visible(f, ".card") == PROBES),
    "maps side by side": ("beside=roles", lambda f: words(f, ".card").count("Rival:") == PROBES),
    "further runs": ("runs=second", lambda f: words(f, ".card").count("second") >= PROBES),
    "difference": (
        "compare=difference&bstep=first",
        lambda f: "more in A" in words(f, ".top .legend"),
    ),
    "changes": ("changes=all", lambda f: "What changed" in words(f, "#changes")),
    "alarms": ("changes=alarms", lambda f: "border heat" in words(f, "#changes").lower()),
    "pins": ("pins=2", lambda f: f.locator(".card").first.get_attribute("data-probe") == "2"),
    "large": ("probe=1", lambda f: kinds(f, "dialog .figures") == ["a"]),
    "looks": ("probe=1&look=all", lambda f: "Contour" in words(f, "dialog figcaption")),
    "wipe": (
        "probe=1&compare=side&bstep=first&wipe=40",
        lambda f: kinds(f, "dialog .figures") == ["a", "difference"],
    ),
    "large, maps side by side": (
        "probe=1&beside=roles",
        lambda f: kinds(f, "dialog .figures") == ["a", "a:rival"],
    ),
    "runs by steps": ("probe=1&view=runs", lambda f: "in all runs" in words(f, "dialog")),
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everywhere")
    first = evolution("first", probes=PROBES, steps=STEPS, roles=("rival",))
    first = measured(first, alarms=ALARMS)
    second = evolution("second", probes=PROBES, steps=STEPS, seed=3)
    for made in (first, second):
        with EventFile(folder / "logs" / made.data["run"]) as file:
            write_run(file, made)
    return folder


@pytest.fixture(scope="module")
def board(logs):
    def steps(run):
        status, _, _ = board.get("data", run=run, tag=TAG)
        return status == 200 and board.json("data", run=run, tag=TAG)["total_steps"]

    with Board(logs / "logs", logs / "said.txt") as board:
        for run in ("first", "second"):
            board.wait_for(lambda run=run: steps(run) == STEPS)
        yield board


@pytest.fixture(scope="module", params=["tab", "alone", "report"])
def opens(request, browser, logs):
    """Opens a state, and gives the frame that shows it."""
    with watched(browser, "Three.js") as page:
        if request.param == "report":
            address = f"{write_report(logs / 'logs', logs / 'report.html').as_uri()}#{{}}"
        else:
            url = request.getfixturevalue("board").url
            address = f"{url}data/plugin_entry.html?name=ablation_cam#{{}}"
            if request.param == "tab":
                address = f"{url}#ablation_cam&p.ablation_cam.view={{}}"

        def opens(state):
            page.goto("about:blank")
            inside = quote(state, safe="") if request.param == "tab" else state
            page.goto(address.format(inside))
            if request.param == "tab":
                page.frame_locator("iframe").locator("html[data-ready='1']").wait_for()
                (frame,) = [one for one in page.frames if "plugin_entry" in one.url]
            else:
                page.wait_for_selector("html[data-ready='1']")
                frame = page.main_frame
            settled(frame)
            return frame

        yield opens


@pytest.mark.parametrize("view", VIEWS)
def test_it_is_shown_there(opens, view):
    state, shows = VIEWS[view]
    frame = opens(f"run=first&step={24 * (STEPS - 1)}&{state}")
    assert shows(frame)
    # Pictures, and no empty places.
    for canvas in frame.locator(".card canvas:visible").all():
        assert pixels(canvas).std() > 5
