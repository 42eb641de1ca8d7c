"""Long runs over many probes: what is asked for, what is not sent twice, and what comes later."""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ablationcam.records.numbers import Integers, Numbers, columns_of, compact
from lightning_ablationcam.records.series import Stamped, assemble, page_data, page_news
from lightning_ablationcam.selection import steadily_chosen
from tests.board import Board
from tests.browser import card, expect, needs_browser, pixels, settled, show, watched
from tests.tab_events import TAG, EventFile, further, heat, probes
from tests.tab_page import Tab, evolution, served, write_run

PROBES, STEPS, SIDE = 6, 12, 7
FEW = 8
"""How many steps are shown at most where a test lowers it."""


@given(st.integers(1, 5000), st.integers(2, 40))
def test_what_is_chosen_stays_until_every_second_of_it_does(count, most):
    before, after = (steadily_chosen(n, most) for n in (count, count + 1))
    assert (before[0], before[-1], len(before) <= most) == (0, count - 1, True)
    assert len(before) > min(count, most) // 2
    strides = {b - a for a, b in pairwise(before[:-1])}
    assert len(strides) < 2
    # The newest makes way for a newer one; of the others all stay, or every second.
    stay = before[:-1]
    assert set(after) - {count} >= set(stay) - {0} or set(after) >= set(stay[::2])
    assert set(after) <= {*before, count}


@pytest.mark.parametrize(("count", "most"), [(-1, 8), (5, 1)])
def test_counts_that_nothing_can_be_chosen_of(count, most):
    with pytest.raises(ValueError, match=f"count={count}, most={most}"):
        steadily_chosen(count, most)


def unpacked(news, block, count):
    """What the page makes of a step's numbers, by its path."""
    (step,) = news["steps"]
    found, offset = {}, 0
    for kind, width, path in news["layouts"][step["layout"]]:
        array = np.frombuffer(
            block, f"<{kind.replace('b', 'i1')}".replace("<h", "<i2"), count * width, offset
        )
        offset += array.nbytes
        found[".".join(path)] = array.reshape(count, width)
    assert offset <= len(block) < offset + 8
    return found


def test_numbers_as_they_are_stored_are_those_of_the_page():
    more = {
        "top_classes": ((1, 0), (0, 300)),
        "top_probabilities": ((0.75, 0.25), (0.625, None)),
        "also": {"rival": further(7)},
        "scores": (1e300, None),
        "classes": (70000, -1),
        "predicted": None,
    }
    stamped = Stamped(7, 1.0, compact(heat(7, **more)))
    series = assemble("run", "tag", [Stamped(0, 1.0, probes())], [stamped])
    (whole,) = page_data(series, pictures=[], maps="")["steps"]
    news = json.loads(json.dumps(page_news(series, [], pictures=[], maps="", numbers="")))
    found = unpacked(news, series.numbers(0, 1), 2)
    assert found.keys() == {
        *("maxima", "classes", "scores", "probabilities", "drift", "concentration"),
        *("top.classes", "top.probabilities"),
        *(f"also.rival.{name}" for name in ("maxima", "classes", "scores", "probabilities")),
    }
    for path, array in found.items():
        expected = whole
        for name in path.split("."):
            expected = expected[name]
        expected = np.array(expected, float).reshape(array.shape)
        np.testing.assert_allclose(array, expected, rtol=1e-5, err_msg=path)


def test_little_room_changes_no_record():
    record = heat(
        3, also={"rival": further(3)}, top_classes=((1,), (0,)), top_probabilities=((0.5,), (0.25,))
    )
    small = compact(record)
    assert isinstance(small.scores, Numbers)
    assert isinstance(small.classes, Integers)
    assert small.classes == record.classes
    np.testing.assert_allclose(list(small.maxima), record.maxima, rtol=1e-6)
    assert (small.maps, small.also["rival"].maps) == (record.maps, record.also["rival"].maps)
    assert [c.path for c in columns_of(small, ["rival"], ["drift"])] == [
        c.path for c in columns_of(record, ["rival"], ["drift"])
    ]


def test_rows_of_different_lengths_are_left_out():
    record = heat(top_classes=((1, 0), (0,)), top_probabilities=((0.75, 0.25), (0.5,)))
    assert compact(record).top_classes == record.top_classes
    assert not [c for c in columns_of(record, [], []) if c.path[0] == "top"]


class Sent:
    """What a page has received, by route: addresses and bytes."""

    def __init__(self, page):
        self.page, self.bodies = page, []
        page.on("requestfinished", self._note)

    def _note(self, request):
        if "/plugin/ablation_cam/" in request.url and "?" in request.url:
            self.bodies.append(request)

    def clear(self):
        self.bodies.clear()

    def of(self, route):
        """The query and the size of each answer."""
        return [
            (
                {k: v[0] for k, v in parse_qs(urlsplit(request.url).query).items()},
                len(request.response().body()),
            )
            for request in self.bodies
            if f"/{route}?" in request.url
        ]


@contextmanager
def growing(tmp_path, made, stop, before=""):
    """A TensorBoard over a run that has not written all of its steps, and what writes the next."""
    logs = tmp_path / "logs"
    with EventFile(logs / "run") as live:
        write_run(live, made, stop=stop)
        with Board(logs, tmp_path / "said.txt", before=before) as board:

            def newest(count):
                status, _, content = board.get("data", run="run", tag=TAG, known="")
                number = made.data["steps"][count - 1]["step"]
                return status == 200 and json.loads(content)["steps"][-1]["step"] == number

            def write(start, stop):
                write_run(live, made, start, stop)
                board.wait_for(lambda: newest(stop))

            board.wait_for(lambda: newest(stop))
            yield board, write


def look_again(page):
    with page.expect_response(lambda response: "/data?" in response.url):
        page.evaluate("location.hash = location.hash === '#speed=2' ? '#speed=8' : '#speed=2'")
    page.wait_for_load_state("networkidle")
    settled(page)


def steps_in(board, known=""):
    return board.json("data", run="run", tag=TAG, known=known)


@needs_browser
def test_a_new_step_sends_itself_alone(tmp_path, browser):
    made = evolution(run="run", probes=PROBES, steps=STEPS)
    with growing(tmp_path, made, STEPS - 1) as (board, write), watched(browser) as page:
        sent = Sent(page)
        show(page, f"{board.url}data/plugin_entry.html?name=ablation_cam")
        page.wait_for_load_state("networkidle")
        ((first, all_numbers),) = sent.of("numbers")
        ((_, all_maps),) = sent.of("maps")
        assert "from" not in first
        assert all_maps == (STEPS - 1) * PROBES * SIDE**2
        ((_, whole),) = sent.of("data")
        sent.clear()
        look_again(page)
        assert [sent.of(route) for route in ("numbers", "maps", "picture")] == [[], [], []]
        ((_, nothing),) = sent.of("data")
        assert nothing < whole / 4
        sent.clear()
        write(STEPS - 1, STEPS)
        look_again(page)
        expect(page.locator(".top .count").first).to_have_text(f"{STEPS} of {STEPS}")
        ((numbers, size),) = sent.of("numbers")
        assert (numbers["from"], size) == (str(STEPS - 1), all_numbers // (STEPS - 1))
        ((maps, size),) = sent.of("maps")
        assert (maps["from"], size) == (str(STEPS - 1), PROBES * SIDE**2)
        assert sent.of("picture") == []
        ((_, grown),) = sent.of("data")
        assert grown < whole / 3


@needs_browser
def test_a_longer_run_keeps_what_it_has_chosen(tmp_path, browser):
    steps = 2 * FEW + 4
    made = evolution(run="run", probes=PROBES, steps=steps)
    lower = f"from lightning_ablationcam.records import series; series.MAX_STEPS = {FEW}; "
    with growing(tmp_path, made, FEW + 2, lower) as (board, write), watched(browser) as page:
        sent = Sent(page)
        show(page, f"{board.url}data/plugin_entry.html?name=ablation_cam")
        page.wait_for_load_state("networkidle")
        at = {entry["step"]: i for i, entry in enumerate(made.data["steps"])}
        shown = [at[entry["step"]] for entry in steps_in(board)["steps"]]
        for count in range(FEW + 3, steps + 1):
            sent.clear()
            write(count - 1, count)
            look_again(page)
            newest = made.data["steps"][count - 1]["step"]
            expect(page.locator(".top .step").first).to_have_text(f"Step {newest}")
            now = [at[entry["step"]] for entry in steps_in(board)["steps"]]
            assert now == steadily_chosen(count, FEW)
            fresh = set(now) - set(shown)
            assert fresh == {count - 1}
            assert sum(size for _, size in sent.of("maps")) == PROBES * SIDE**2
            assert len(sent.of("numbers")) == 1
            shown = now
        page.keyboard.press("Home")
        settled(page)
        expect(page.locator(".notes")).to_contain_text(f"Shows 6 of {steps} steps: every 4th")
        # What was kept stands at the right places.
        page.keyboard.press("ArrowRight")
        settled(page)
        here = pixels(card(page, 0))
        number = made.data["steps"][4]["step"]
        expect(page.locator(".top .step").first).to_have_text(f"Step {number}")
        with watched(browser) as other:
            show(other, f"{board.url}data/plugin_entry.html?name=ablation_cam", f"step={number}")
            np.testing.assert_array_equal(pixels(card(other, 0)), here)


LONG, MANY = 600, 64
"""Steps and probes of a run whose maps come in four pieces."""


@needs_browser
def test_maps_on_their_way_are_drawn_when_they_come(browser):
    made = evolution(probes=MANY, steps=LONG)
    tab = Tab().put(made)
    with served(tab) as url, watched(browser) as page:
        held = []

        def hold(route):
            # The first piece comes, of the newest steps; those after it wait for the test.
            if "maps?" in route.request.url and "to=" in route.request.url:
                held.append(route)
            else:
                route.continue_()

        page.route("**/maps?*", hold)
        # B, of the same run, stays at the newest step.
        show(page, url, "compare=side&bstep=newest")
        newest = pixels(card(page, 0))
        expect(card(page, 0)).not_to_have_class("waiting")
        page.wait_for_timeout(100)
        assert len(held) == 1
        page.keyboard.press("Home")
        expect(card(page, 0)).to_have_class("waiting")
        bare = pixels(card(page, 0))
        held.pop(0).continue_()
        page.wait_for_timeout(300)
        # Now it is the turn of the step that was gone to, before all others.
        assert len(held) == 1
        query = parse_qs(urlsplit(held[0].request.url).query)
        assert "from" not in query
        held.pop(0).continue_()
        expect(card(page, 0)).not_to_have_class("waiting")
        first = pixels(card(page, 0))
        assert (first != bare).any()
        assert (first != newest).any()
        page.unroute("**/maps?*")
        page.wait_for_load_state("networkidle")
        pieces = [asked for asked in tab.asked if "maps?" in asked]
        assert len(pieces) == 4
        show(page, url, "compare=side&bstep=newest&step=24")
        np.testing.assert_array_equal(pixels(card(page, 0)), first)


@needs_browser
def test_a_difference_waits_for_all_maps_and_is_drawn_when_they_are_here(browser):
    made = evolution(probes=MANY, steps=LONG)
    with served(Tab().put(made)) as url, watched(browser) as page:
        held = []

        def hold(route):
            # The first piece comes, which has both steps.
            held.append(route) if "to=" in route.request.url else route.continue_()

        page.route("**/maps?*", hold)
        page.goto(f"{url}#compare=difference&bstep={24 * (LONG - 100)}")
        expect(card(page, 0)).to_have_class("waiting")
        page.wait_for_timeout(300)
        # What is full colour is known with the last one alone.
        assert page.locator("html[data-ready]").count() == 0
        page.unroute("**/maps?*", hold)
        page.wait_for_selector("html[data-ready='1']")
        # Nobody moves or asks for anything meanwhile.
        expect(card(page, 0)).not_to_have_class("waiting", timeout=100)
        assert np.abs(np.diff(pixels(card(page, 0)).astype(int), axis=2)).max() > 20, "in colour"


@needs_browser
def test_cards_near_what_is_in_sight_catch_up_when_steps_rest(browser):
    made = evolution(probes=MANY, steps=STEPS)
    with served(Tab().put(made)) as url, watched(browser) as page:
        show(page, url, "step=24")
        tops = page.locator(".card").evaluate_all(
            "cards => cards.map((card) => card.getBoundingClientRect().top)"
        )
        # Below what is in sight, and near enough to be drawn.
        probe, top = next((i, top) for i, top in enumerate(tops) if top > tops[0])
        page.set_viewport_size({"width": 1280, "height": round(top) - 60})
        page.wait_for_timeout(300)
        slide = """async ([probe, steps]) => {
          const canvas = document.querySelector(`[data-probe="${probe}"] canvas`);
          const slider = document.querySelector("input[data-step=a]");
          const drawn = [];
          for (let i = 0; i < steps; i++) {
            slider.value = i;
            slider.dispatchEvent(new Event("input"));
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            drawn.push(canvas.toDataURL());
          }
          return drawn;
        }"""
        drawn = page.evaluate(slide, [probe, STEPS])
        in_sight = page.evaluate(slide, [0, STEPS])
        assert len(set(in_sight)) == STEPS, "in sight every step is drawn"
        assert len(set(drawn)) < STEPS
        now = "probe => document.querySelector(`[data-probe='${probe}'] canvas`).toDataURL()"
        page.wait_for_timeout(400)
        last = page.evaluate(now, probe)
        assert last not in drawn[: STEPS - 1]
        show(page, url, f"step={24 * STEPS}")
        assert page.evaluate(now, probe) == last
