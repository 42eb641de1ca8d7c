"""The tab is found and used at once: names, titles of what is cut off, keys without a click."""

from __future__ import annotations

import pytest

from tests.board import Board
from tests.browser import expect, needs_browser, opened, settled, show
from tests.tab_events import EventFile
from tests.tab_page import CLASSES, Tab, evolution, served, write_run
from tests.test_tab_page import HOSTILE

pytestmark = needs_browser


def automatic(classes=CLASSES, probes=7):
    """A run whose probes have the names that probes get by themselves."""
    made = evolution(probes=probes, steps=4)
    for i, probe in enumerate(made.data["probes"]):
        probe["name"] = f"{i:02d}_{classes[probe['label']]}"
    return made.replaced(class_names=classes)


def titles(page):
    return page.locator(".card h3").all_inner_texts()


class TestNames:
    def test_an_automatic_name_is_that_of_its_class(self, page):
        with served(Tab().put(automatic())) as url:
            show(page, url)
            expected = ["astronaut 1", "cat 1", "coffee 1", "rocket 1", "digit 1"]
            assert titles(page) == [*expected, "astronaut 2", "cat 2"]
            # TensorBoard's other tabs have it under the name that was logged.
            title = page.locator(".card[data-probe='6'] h3").get_attribute("title")
            assert title == "cat 2, logged as 06_cat"
            for sought in ("06_c", "cat 2"):
                page.get_by_label("Search").fill(sought)
                settled(page)
                assert titles(page) == ["cat 2"]
            show(page, url, "probe=5")
            heading = page.locator("dialog h2").first
            expect(heading).to_have_text("astronaut 2")
            assert heading.get_attribute("title") == "astronaut 2, logged as 05_astronaut"

    def test_a_class_that_is_a_number_is_told_from_that_of_the_probe(self, page):
        with served(Tab().put(automatic(["0", "1", "resnet50", "x", HOSTILE]))) as url:
            show(page, url)
            expected = ["class 0 #1", "class 1 #1", "resnet50 #1", "x 1", f"{HOSTILE} 1"]
            assert titles(page) == [*expected, "class 0 #2", "class 1 #2"]
            assert page.locator(".card img").count() == 0

    def test_names_of_the_users_own_stay(self, page):
        made = automatic()
        made.data["probes"][3]["name"] = "my rocket"
        logged = [probe["name"] for probe in made.data["probes"]]
        with served(Tab().put(made)) as url:
            show(page, url)
            assert titles(page) == logged

    def test_without_names_of_classes_they_stay(self, page):
        made = evolution(probes=3, steps=2)
        for i, probe in enumerate(made.data["probes"]):
            probe["name"] = f"{i:02d}_class{i}"
        with served(Tab().put(made.replaced(class_names=None))) as url:
            show(page, url)
            assert titles(page) == ["00_class0", "01_class1", "02_class2"]


def test_a_choice_that_is_cut_off_has_a_title(page):
    made = evolution("experiments/" + "a_long_name_of_a_run/" * 6 + "version_12", probes=2, steps=2)
    with served(Tab().put(made)) as url:
        show(page, url, "sort=lowest:balance")
        assert page.locator(".top .side-a .series").get_attribute("title") == made.data["run"]
        sort = page.get_by_label("Sort")
        assert sort.get_attribute("title") == "Lowest balance at this step"
        sort.select_option("name")
        settled(page)
        assert sort.get_attribute("title") == "Name"
        speed = page.locator(".top .side-a .speed")
        assert speed.get_attribute("title") == "Steps a second", "a title of its own stays"


def test_a_map_without_a_balance_of_its_own_says_so(page):
    with served(Tab().put(evolution(probes=2, steps=3, roles=("rival",)))) as url:
        show(page, url, "role=rival")
        row = page.locator(".card").first.locator("tr", has_text="Balance")
        expect(row.locator("td").first).to_have_text("not measured")
        assert "class explained alone" in row.locator("th").get_attribute("title")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    with EventFile(folder / "logs" / "first") as file:
        write_run(file, evolution("first", probes=2, steps=5))
    with Board(folder / "logs", folder / "said.txt") as running:
        running.wait_for(lambda: running.json("series")["series"])
        yield running


class TestKeysAtOnce:
    def frame_of(self, page):
        page.frame_locator("iframe").locator("html[data-ready='1']").wait_for()
        (frame,) = [frame for frame in page.frames if "plugin_entry" in frame.url]
        return frame

    def test_they_work_without_a_click(self, board, browser):
        with opened(browser) as (page, _):
            page.goto(f"{board.url}#ablation_cam")
            frame = self.frame_of(page)
            count = frame.locator(".top .side-a .count")
            expect(count).to_have_text("5 of 5")
            page.keyboard.press("ArrowLeft")
            expect(count).to_have_text("4 of 5")
            # And again when it was hidden meanwhile; the mouse has been on the tabs.
            page.evaluate("location.hash = '#timeseries'")
            frame.wait_for_function("innerHeight === 0")
            page.locator("[role=tab]").filter(has_text="Ablation-CAM").first.click()
            frame.wait_for_function("innerHeight > 0")
            page.wait_for_function("document.activeElement.tagName === 'IFRAME'")
            page.keyboard.press("ArrowLeft")
            expect(count).to_have_text("3 of 5")

    def test_fields_of_tensorboards_own_keep_the_focus(self, board, browser):
        with opened(browser) as (page, _):
            page.goto(f"{board.url}#ablation_cam")
            frame = self.frame_of(page)
            page.evaluate("location.hash = '#timeseries'")
            frame.wait_for_function("innerHeight === 0")
            page.evaluate(
                """() => {
                  const field = document.createElement("input");
                  field.id = "theirs";
                  document.body.prepend(field);
                  field.focus();
                  location.hash = "#ablation_cam";
                }"""
            )
            frame.wait_for_function("innerHeight > 0")
            page.wait_for_timeout(300)
            assert page.evaluate("document.activeElement.id") == "theirs"
