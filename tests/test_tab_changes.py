"""What changed over the training, in the tab: the list, the marks on the time line, and pins."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from lightning_ablationcam import write_report
from tests.browser import expect, needs_browser, settled, show, watched
from tests.tab_events import EventFile
from tests.tab_page import CLASSES, Tab, an_alarm, evolution, measured, served, write_run
from tests.test_tab_page import FAINT_TEXTS, HOSTILE, TINY_TARGETS, TOO_WIDE, assert_state

pytestmark = needs_browser


@pytest.fixture(scope="module")
def made():
    """A run with flips, a jump of one probe, and alarms of the mean and of probes."""
    made = evolution(probes=6, steps=12, roles=("rival",))
    made.data["steps"][7]["drift"][2] = 0.83
    alarms = [an_alarm("balance", below=0.45), an_alarm("drift", "moved", above=0.8, of="any")]
    return measured(made, alarms=alarms)


@pytest.fixture(scope="module")
def address(made):
    with served(Tab().put(made, evolution("other", probes=6, steps=4, seed=5))) as url:
        yield url


def flips(made):
    """(index, probe, from, to) of every flip, by the definition."""
    predicted = np.array([entry["predicted"] for entry in made.data["steps"]])
    where = np.argwhere(predicted[1:] != predicted[:-1])
    return [(i + 1, p, predicted[i, p], predicted[i + 1, p]) for i, p in where.tolist()]


def jumps(made):
    """(index, probe) of every jump, by the rule that the list states."""
    found = []
    for probe in range(len(made.pictures)):
        drifts = [entry["drift"] for entry in made.data["steps"]]
        drifts = np.array([np.nan if one is None else one[probe] or np.nan for one in drifts])
        middle = np.nanmedian(drifts)
        limit = max(0.1, middle + 6 * np.nanmedian(np.abs(drifts - middle)))
        found += [(int(i), probe) for i in np.flatnonzero(drifts >= limit)]
    return sorted(found)


def entries(page):
    """(index of the step, probe or None, kind, text) of all in the list."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#changes .change")].map((node) => [
          Number(node.closest("section").dataset.index),
          node.dataset.probe === undefined ? null : Number(node.dataset.probe),
          node.dataset.kind, node.title])"""
    )


def choose(page, text):
    page.locator("#changes .segments label", has_text=re.compile(f"^{text}$")).click()
    settled(page)


def listed(page, url, state):
    """Open the page with the list; there may be a drawing of what was shown before it."""
    show(page, url, state)
    expect(page.locator("#changes")).to_be_visible()
    settled(page)


class TestList:
    def test_it_holds_every_flip_jump_and_beginning(self, page, address, made):
        listed(page, address, "changes=all")
        found = entries(page)
        expected = flips(made)
        assert len(expected) > 3
        shown = sorted((i, p) for i, p, kind, _ in found if kind == "flip")
        assert shown == sorted((i, p) for i, p, *_ in expected)
        assert sorted((i, p) for i, p, kind, _ in found if kind == "jump") == jumps(made)
        assert (7, 2) in jumps(made)
        alarms = [one for one in found if one[2] == "alarm"]
        assert [p for _, p, *_ in alarms].count(None) == 1
        assert [7, 2] in [one[:2] for one in alarms]
        button = page.locator(".changes-button")
        assert button.inner_text() == f"Changes {len(found)}"
        expect(page.locator("#changes h2")).to_have_text("What changed")

    def test_a_flip_says_from_what_to_what_and_which_was_right(self, page, address, made):
        listed(page, address, "changes=flips")
        texts = {(i, p): text for i, p, _, text in entries(page)}
        for index, probe, before, after in flips(made):
            label = made.data["probes"][probe]["label"]
            words = [
                f"{CLASSES[one]} ({'right' if one == label else 'wrong'})"
                for one in (before, after)
            ]
            name = made.data["probes"][probe]["name"]
            wanted = f"{name}: Prediction changed from {words[0]} to {words[1]}"
            assert texts[index, probe] == wanted
        marks = page.locator("#changes .class.right").first
        assert "✓" in marks.evaluate("node => getComputedStyle(node, '::before').content")

    def test_an_entry_goes_to_its_step_and_opens_its_probe(self, page, address, made):
        listed(page, address, "changes=jumps")
        steps = made.data["steps"]
        entry = page.locator("#changes section[data-index='7'] .change[data-probe='2']")
        entry.click()
        expect(page.locator("dialog[open] h2").first).to_have_text(made.data["probes"][2]["name"])
        assert_state(page, changes="jumps", step=str(steps[7]["step"]), probe="2")
        # It stays open beside the large view, and says where one is.
        expect(page.locator("dialog #changes")).to_be_visible()
        assert entry.get_attribute("aria-current") == "true"
        assert entry.evaluate("node => node === document.activeElement")
        other = page.locator("#changes .change").last
        other.click()
        assert page.locator("#changes [aria-current='true']").count() == 1
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(page.locator("#changes")).to_be_visible()
        assert other.evaluate("node => node === document.activeElement")

    def test_an_alarm_of_the_mean_goes_to_its_step(self, page, address, made):
        listed(page, address, "changes=alarms")
        mean = page.locator("#changes .change:not([data-probe])")
        index = int(mean.evaluate("node => node.closest('section').dataset.index"))
        mean.click()
        assert_state(page, changes="alarms", step=str(made.data["steps"][index]["step"]))
        assert page.locator("dialog[open]").count() == 0

    def test_orders_and_kinds(self, page, address, made):
        listed(page, address, "changes=all")
        all_of_them = entries(page)
        order = [index for index, *_ in all_of_them]
        assert order == sorted(order, reverse=True)
        choose(page, "Largest first")
        assert_state(page, changes="all:largest")
        counts = [order.count(index) for index in dict.fromkeys(i for i, *_ in entries(page))]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[-1]
        choose(page, "Jumps")
        assert_state(page, changes="jumps:largest")
        assert {kind for *_, kind, _ in entries(page)} == {"jump"}
        assert entries(page)[0][:2] == [7, 2]
        assert len(entries(page)) == len(jumps(made))

    def test_the_button_and_the_key_open_and_close_it(self, page, address):
        show(page, address)
        expect(page.locator("#changes")).to_be_hidden()
        button = page.locator(".changes-button")
        button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
        assert_state(page, changes="all")
        page.keyboard.press("c")
        expect(page.locator("#changes")).to_be_hidden()
        page.keyboard.press("c")
        page.get_by_role("complementary", name="What changed").get_by_role(
            "button", name="Close"
        ).click()
        expect(button).to_have_attribute("aria-expanded", "false")
        assert_state(page)

    def test_arrows_go_from_entry_to_entry(self, page, address):
        listed(page, address, "changes=flips")
        page.locator("#changes .list button").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        focused = "[...document.querySelectorAll('#changes .list button')]"
        focused += ".indexOf(document.activeElement)"
        assert page.evaluate(focused) == 2
        page.keyboard.press("ArrowUp")
        assert page.evaluate(focused) == 1

    def test_another_run_and_another_map_have_their_own(self, page, address, made):
        listed(page, address, "changes=all")
        before = entries(page)
        listed(page, address, "changes=all&role=rival")
        expect(page.locator("#changes .note")).to_contain_text("rival")
        ours = [one for one in before if one[2] == "flip"]
        assert [one for one in entries(page) if one[2] == "flip"] == ours
        listed(page, address, "changes=all&run=other")
        expect(page.locator(".top .side-a .count")).to_have_text("4 of 4")
        assert entries(page) != before
        listed(page, address, "changes=all&compare=side&brun=other")
        expect(page.locator("#changes h2")).to_have_text("What changed in A")

    def test_it_says_by_which_rule(self, page, address):
        listed(page, address, "changes=all")
        note = page.locator("#changes .note")
        for words in ("at least 0.1", "6 median absolute deviations", "where they begin"):
            expect(note).to_contain_text(words)

    def test_many_changes_come_bit_by_bit(self, page):
        made = evolution(probes=60, steps=40)
        for i, entry in enumerate(made.data["steps"]):
            entry["predicted"] = [(probe + i) % 5 for probe in range(60)]
        total = 60 * 39
        with served(Tab().put(made)) as url:
            listed(page, url, "changes=flips")
            assert 100 <= len(entries(page)) < 200
            more = page.locator("#changes .scroller button", has_text="Show all")
            assert more.inner_text() == f"Show all {total:,}"
            more.click()
            expect(more).to_be_hidden()
            assert len(entries(page)) < total
            for _ in range(60):
                page.evaluate(
                    "() => { const s = document.querySelector('#changes .scroller');"
                    " s.scrollTop = s.scrollHeight; }"
                )
                page.wait_for_timeout(30)
                if len(entries(page)) == total:
                    break
            assert sorted((i, p) for i, p, *_ in entries(page)) == sorted(
                (i, p) for i, p, *_ in flips(made)
            )

    def test_hostile_names_are_text(self, page):
        made = evolution(probes=3, steps=6)
        data = json.loads(json.dumps(made.data))
        data["class_names"] = [f"{HOSTILE}{i}" for i in range(5)]
        for i, probe in enumerate(data["probes"]):
            probe["name"] = f"{HOSTILE}{i}"
        made = made.replaced(**{k: data[k] for k in ("class_names", "probes")})
        with served(Tab().put(made)) as url:
            listed(page, url, "changes=all")
            assert entries(page)
            assert page.locator("#changes img").count() == 0
            assert HOSTILE in page.locator("#changes .change").first.get_attribute("title")

    def test_nonsense_in_the_address_is_left_out(self, page, address):
        for state in (
            "changes=everything",
            "changes=all:",
            "changes=%3Cimg%3E",
            "changes=:largest",
        ):
            show(page, address, state)
            expect(page.locator("#changes")).to_be_hidden()

    @pytest.mark.parametrize("width", [400, 800, 1280])
    def test_it_fits_and_can_be_read_and_touched(self, browser, address, width):
        size = {"width": width, "height": 800}
        with watched(browser, viewport=size, has_touch=True) as page:
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                listed(page, address, "changes=all&pins=1")
                assert page.evaluate(TOO_WIDE) == []
                assert page.evaluate(FAINT_TEXTS) == []
                assert page.evaluate(TINY_TARGETS) == []
            box = page.locator("#changes").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["height"] > 200
            page.locator("#changes .change[data-probe]").first.tap()
            expect(page.locator("dialog[open]")).to_be_visible()
            assert page.evaluate(TOO_WIDE) == []
            page.keyboard.press("Escape")
            expect(page.locator("#changes .change").first).to_be_visible()

    def test_a_report_has_it_too(self, browser, made, tmp_path):
        with EventFile(tmp_path / "logs" / made.data["run"]) as file:
            write_run(file, made)
        report = write_report(tmp_path / "logs", tmp_path / "report.html")
        with watched(browser) as page:
            listed(page, report.as_uri(), "changes=flips")
            assert len(entries(page)) == len(flips(made))


class TestTimeLine:
    def test_flips_are_marked_with_how_many(self, page, address, made):
        show(page, address)
        marks = page.locator(".top .side-a .flips.of-all .flip")
        texts = marks.evaluate_all("nodes => nodes.map((node) => node.title)")
        steps = [entry["step"] for entry in made.data["steps"]]
        by_step = {}
        for index, *_ in flips(made):
            by_step[index] = by_step.get(index, 0) + 1
        assert texts == [
            f"Prediction of {count} {'probe' if count == 1 else 'probes'} changed at step "
            f"{steps[index]}"
            for index, count in sorted(by_step.items())
        ]
        first = min(by_step)
        marks.first.click()
        assert_state(page, step=str(steps[first]))

    def test_marks_that_would_overlap_are_one(self, page):
        made = evolution(probes=3, steps=400)
        for entry in made.data["steps"]:
            entry["predicted"] = [0, 0, 0]
        for i in (100, 101):
            made.data["steps"][i]["predicted"] = [1, 2, 0] if i == 100 else [3, 2, 0]
        for i in range(102, 400):
            made.data["steps"][i]["predicted"] = [3, 2, 0]
        made.data["steps"][399]["predicted"] = [3, 2, 1]
        with served(Tab().put(made)) as url:
            show(page, url)
            marks = page.locator(".top .side-a .flips.of-all .flip")
            titles = marks.evaluate_all("nodes => nodes.map((node) => node.title)")
            assert titles == [
                "Prediction of 2 probes changed between steps 2,424 and 2,448",
                "Prediction of 1 probe changed at step 9,600",
            ]
            heights = marks.evaluate_all("nodes => nodes.map((node) => node.offsetHeight)")
            assert heights[0] > heights[1]


class TestPins:
    def order(self, page):
        cards = page.locator(".card")
        return [int(one) for one in cards.evaluate_all("n => n.map((c) => c.dataset.probe)")]

    def test_a_pinned_probe_comes_first_in_every_order(self, page, address):
        show(page, address)
        page.locator(".card[data-probe='4'] .pin").click()
        settled(page)
        assert self.order(page) == [4, 0, 1, 2, 3, 5]
        assert_state(page, pins="4")
        pin = page.locator(".card[data-probe='4'] .pin")
        assert pin.get_attribute("aria-pressed") == "true"
        assert pin.evaluate("node => node === document.activeElement")
        for sort in ("name", "drift", "score", "highest:balance"):
            show(page, address, f"pins=4&sort={sort}")
            assert self.order(page)[0] == 4
        pin.click()
        settled(page)
        assert pin.get_attribute("aria-pressed") == "false"

    def test_filters_do_not_hide_it_and_the_summary_says_so(self, page, address, made):
        show(page, address, "pins=1,3&search=astronaut")
        assert self.order(page) == [1, 3, 0, 5]
        summary = page.locator(".summary").inner_text()
        assert summary.startswith("4 of 6 probes · 2 of them only because pinned · ")
        show(page, address, "pins=0&search=astronaut")
        assert page.locator(".summary").inner_text().startswith("2 of 6 probes · 1 pinned · ")
        show(page, address, "search=astronaut")
        assert "pinned" not in page.locator(".summary").inner_text()

    def test_the_key_and_the_button_of_the_large_view(self, page, address):
        show(page, address, "probe=5")
        page.keyboard.press("p")
        assert_state(page, probe="5", pins="5")
        button = page.locator("dialog header .pin")
        assert button.get_attribute("aria-pressed") == "true"
        button.click()
        assert_state(page, probe="5")
        page.keyboard.press("Escape")
        page.keyboard.press("p")
        settled(page)
        assert page.locator(".pin[aria-pressed='true']").count() == 0

    def test_they_survive_a_reload(self, page, address):
        show(page, address, "pins=2-4&sort=name")
        assert self.order(page)[:3] == [3, 4, 2] or set(self.order(page)[:3]) == {2, 3, 4}
        page.reload()
        page.wait_for_selector("html[data-ready='1']")
        settled(page)
        assert set(self.order(page)[:3]) == {2, 3, 4}
        assert_state(page, pins="2-4", sort="name")

    def test_what_the_address_cannot_mean_harms_nothing(self, page, address):
        for pins in ("0-999999", "9,99", "3-1", "x", "1,,2", "-1", "1" * 40, ",".join("1" * 2000)):
            show(page, address, f"pins={pins}")
            assert sorted(self.order(page)) == list(range(6)), pins
