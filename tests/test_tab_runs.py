"""Many runs: their order, TensorBoard's selection of them, and one probe in all of them."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import numpy as np
import pytest

from tests.board import Board
from tests.browser import expect, needs_browser, pixels, settled, show, watched
from tests.tab_events import EventFile, heat, probes
from tests.tab_page import Tab, evolution, served
from tests.test_tab_page import turn_clock_until

THEIRS = "Three.js"
HOSTILE = "<b>run</b>"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    last = {"run 10": 5, "run 2": 5, "old": 2, "new": 9, HOSTILE: 4}
    for name, time in last.items():
        with EventFile(folder / "logs" / name) as file:
            file.probes(probes())
            for step in range(2):
                file.heat(heat(step), step, wall_time=1.7e9 + 60 * time + step)
    with Board(folder / "logs", folder / "said.txt") as running:
        running.wait_for(lambda: len(running.json("series")["series"]) == len(last))
        yield running


def test_the_run_that_wrote_last_comes_first(board):
    listed = [one["run"] for one in board.json("series")["series"]]
    assert listed == ["new", "run 2", "run 10", HOSTILE, "old"]


def options(frame):
    return frame.locator(".top .side-a select.series option")


def framed(page):
    frame = page.frame_locator("iframe[src*='name=ablation_cam']")
    expect(frame.locator(".side-a select.series")).to_be_visible()
    return frame


@needs_browser
@pytest.mark.parametrize("where", ["time series", "older dashboards"])
def test_what_tensorboard_hides_is_hidden_and_said(board, browser, where):
    ticked = base64.b64encode(json.dumps({"new": False, "old": False}).encode()).decode()
    search = "?runFilter=RUN" if where == "time series" else ""
    rest = "" if search else f"&runSelectionState={quote(ticked)}"
    with watched(browser, THEIRS) as page:
        page.goto(f"{board.url}{search}#ablation_cam{rest}")
        note = "2 more are hidden by TensorBoard's selection of runs"
        frame = framed(page)
        expect(options(frame)).to_have_text(["run 2", "run 10", HOSTILE, note])
        expect(frame.locator(".side-a select.series")).to_have_value("0")
    with watched(browser, THEIRS) as page:
        view = quote("run=old")
        page.goto(f"{board.url}{search}#ablation_cam&p.ablation_cam.view={view}{rest}")
        frame = framed(page)
        # What the address names is there all the same.
        note = "1 more is hidden by TensorBoard's selection of runs"
        expect(options(frame)).to_have_text(["run 2", "run 10", HOSTILE, "old", note])
        expect(frame.locator(".side-a select.series option:checked")).to_have_text("old")


def in_runs(*names, **changes):
    return [
        evolution(run=name, probes=4, steps=steps, seed=seed, **changes)
        for seed, (name, steps) in enumerate(names)
    ]


@needs_browser
def test_the_run_on_show_stays_when_another_writes(browser):
    one, other = in_runs(("one", 3), ("other", 4))
    tab = Tab().put(one, other)
    with served(tab) as url, watched(browser) as page:
        page.clock.install()
        page.goto(url)
        count = page.locator(".top .count").first
        turn_clock_until(page, lambda: count.text_content() == "3 of 3")
        # Now the other one is listed first.
        tab.series = dict(reversed(tab.series.items()))
        tab.asked.clear()
        page.clock.run_for(15_100)
        turn_clock_until(page, lambda: any("data?" in asked for asked in tab.asked))
        assert all("run=one" in asked for asked in tab.asked if "data?" in asked)
        expect(options(page)).to_have_text(["other", "one"])
        assert count.text_content() == "3 of 3"
        # An address that names none begins anew.
        page.evaluate("location.hash = 'speed=8'")
        turn_clock_until(page, lambda: count.text_content() == "4 of 4")


@needs_browser
def test_many_runs_stand_by_folder(page):
    names = [(f"{folder}/version_{i}", 2) for i in range(6) for folder in ("a", "b")]
    with served(Tab().put(*in_runs(*names))) as url:
        show(page, url)
        groups = page.locator(".side-a select.series optgroup")
        assert [group.get_attribute("label") for group in groups.all()] == ["a", "b"]
        assert groups.first.locator("option").all_text_contents() == [
            f"a/version_{i}" for i in range(6)
        ]
        page.locator(".side-a select.series").select_option(label="b/version_3")
        page.wait_for_function("location.hash.includes('version_3')")
        settled(page)
        assert (
            page.locator(".top .side-a select.series option:checked").text_content()
            == "b/version_3"
        )


def grid(page):
    return page.locator("dialog.run-grid")


def drawn(cell):
    return cell.evaluate("canvas => canvas.width > 1 && !canvas.classList.contains('waiting')")


@needs_browser
def test_one_probe_in_all_runs(page):
    made = in_runs(("long", 40), (HOSTILE, 20), ("long 2", 40))
    with served(Tab().put(*made)) as url:
        show(page, url, "probe=1")
        page.get_by_role("button", name="All runs", exact=True).click()
        rows = grid(page).locator("tbody tr")
        expect(rows).to_have_count(3)
        expect(grid(page).locator(".run-progress")).to_have_text("")
        assert rows.locator(".run-name").all_text_contents() == ["long", HOSTILE, "long 2"]
        # The shorter run has no step near the later columns.
        expect(rows.nth(1).locator("td button")).to_have_count(4)
        expect(rows.nth(1).locator(".gap")).to_have_count(4)
        cells = rows.nth(2).locator("canvas")
        expect(cells).to_have_count(8)
        page.wait_for_function(
            "[...document.querySelectorAll('.run-grid canvas')].every(c => c.width > 1)"
        )
        assert all(drawn(cell) for cell in cells.all())
        assert (pixels(cells.nth(7)) != pixels(cells.nth(0))).any()
        assert (pixels(cells.nth(7)) != pixels(rows.nth(0).locator("canvas").nth(7))).any()
        first = rows.nth(0).locator("td button").first
        first.focus()
        for key in ("ArrowRight", "ArrowDown", "End", "ArrowUp"):
            page.keyboard.press(key)
        focused = page.evaluate("document.activeElement.title")
        expected = rows.nth(0).locator("td button").nth(3).get_attribute("title")
        assert focused == expected
        expect(page.locator(".top .count").first).to_have_text("40 of 40")
        steps = [entry["step"] for entry in made[2].data["steps"]]
        cells.nth(0).click()
        expect(grid(page)).to_be_hidden()
        expect(page.get_by_role("dialog").locator("h2")).to_have_text("cat 1")
        page.wait_for_function("location.hash.includes('long+2')")
        assert f"step={steps[0]}" in page.url
        assert "view" not in page.url


@needs_browser
def test_a_run_without_the_probe_says_so(page):
    made, other = in_runs(("one", 5), ("other", 5))
    renamed = [{**probe, "name": f"else {i}"} for i, probe in enumerate(other.data["probes"])]
    other = other.replaced(probes=renamed, fingerprint="others")
    with served(Tab().put(made, other)) as url:
        show(page, url, "view=runs")
        expect(grid(page).locator("tbody tr").nth(1)).to_contain_text("does not have the probe")
        page.keyboard.press("Escape")
        expect(grid(page)).to_be_hidden()
        page.get_by_role("button", name="One probe in all runs").click()
        expect(grid(page)).to_be_visible()


@needs_browser
def test_all_rows_have_one_scale(page):
    strong, weak = in_runs(("strong", 5), ("weak", 5))
    for entry in weak.data["steps"]:
        entry["balance"] = [0.1] * 4
    weak.maps[:] = strong.maps
    with served(Tab().put(strong, weak)) as url:
        show(page, url, "view=runs&probe=1&scale=probe")
        expect(grid(page).locator(".run-scale")).to_contain_text("one scale for all rows")
        last = grid(page).locator("tbody tr").nth(1).locator("canvas").last
        page.wait_for_function(
            "[...document.querySelectorAll('.run-grid canvas')].every(c => c.width > 1)"
        )
        rows = grid(page).locator("tbody tr")
        hot, cold = (pixels(rows.nth(i).locator("canvas").last).astype(int) for i in (0, 1))
        assert np.abs(hot - cold).max() > 40
        show(page, url, "view=runs&probe=1&scale=map")
        expect(grid(page).locator(".run-scale")).to_contain_text("on its own scale")
        settled(page)
        np.testing.assert_array_equal(pixels(last), pixels(rows.nth(0).locator("canvas").last))


@needs_browser
def test_the_grid_stays_in_front_and_follows_what_is_shown(page):
    made = [
        evolution(name, probes=3, steps=4, roles=("rival",), seed=i)
        for i, name in enumerate(("one", "other"))
    ]
    with served(Tab().put(*made)) as url:
        show(page, url, "view=runs")
        rows = grid(page).locator("tbody tr")
        expect(rows.nth(1).locator("canvas")).to_have_count(4)
        explained = pixels(rows.nth(1).locator("canvas").last)
        grid(page).get_by_role("button", name="Next probe").click()
        expect(grid(page).locator("h2")).to_contain_text("in all runs")
        assert page.evaluate("document.querySelectorAll('dialog:modal').length") == 1
        grid(page).get_by_role("button", name="Previous probe").click()
        page.keyboard.press("r")
        # The other run's maps of the rival come by themselves.
        last = rows.nth(1).locator("canvas").last
        page.wait_for_function(
            "[...document.querySelectorAll('.run-grid tbody tr')].at(1).querySelectorAll('canvas')"
            ".length === 4"
        )
        settled(page)
        assert (pixels(last) != explained).any()
