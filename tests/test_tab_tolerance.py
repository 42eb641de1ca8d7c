"""How exact maps are, on the tab's page in a real browser."""

from __future__ import annotations

import json
import math

import pytest

from lightning_ablationcam import write_report
from lightning_ablationcam.measures.axis import ERROR
from lightning_ablationcam.records.format import encode_heat, encode_probes
from tests.browser import needs_browser, show, watched
from tests.tab_events import EventFile, further, heat, probes
from tests.tab_page import Tab, evolution, served, tolerant, write_run

pytestmark = needs_browser

STEPS = 13


@pytest.fixture(scope="module")
def made():
    """A run that stated no error at first, then smaller and smaller ones, and was exact at last."""
    return tolerant(evolution(probes=4, steps=STEPS, roles=("rival",)))


@pytest.fixture(scope="module")
def plain():
    return evolution("plain", probes=4, steps=STEPS)


@pytest.fixture(scope="module")
def at(made, plain):
    with served(Tab().put(made, plain)) as address:
        yield address


def words(error):
    """What the page says of an error: at most so many per cent, in two digits."""
    if not error:
        return "exact"
    percent = 100 * error
    unit = 10.0 ** (math.floor(math.log10(percent)) - 1)
    return f"within {math.ceil(percent / unit - 1e-6) * unit:.3g} % (99 %)"


def rows(place, name="Map"):
    """The cells of a row of a card or of the large view; none where it is not shown."""
    row = place.locator(".facts tr:visible").filter(
        has=place.page.get_by_role("rowheader", name=name, exact=True)
    )
    return [
        cell for line in row.all() for cell in line.locator("td:visible .name").all_inner_texts()
    ]


def card(page, probe):
    return page.locator(f".card[data-probe='{probe}']")


def state(made, index, more=""):
    return f"run={made.data['run']}&step={made.data['steps'][index]['step']}{more}"


def test_each_card_says_how_exact_its_map_is(page, at, made):
    seen = set()
    for index in (2, STEPS // 2, STEPS - 2, STEPS - 1):
        show(page, at, state(made, index))
        for probe, error in enumerate(made.data["steps"][index]["error"]):
            assert rows(card(page, probe)) == [words(error)]
            seen.add(words(error))
        row = card(page, 0).locator(".facts tr:visible", has_text="Map")
        assert row.locator("th").get_attribute("title") == ERROR.hint
    assert {"exact", "within 10 % (99 %)", "within 8.4 % (99 %)", "within 1.3 % (99 %)"} <= seen


def test_nothing_is_said_where_nothing_is_stated(page, at, made, plain):
    for one, index in ((made, 0), (plain, 5)):
        show(page, at, state(one, index))
        assert rows(card(page, 1), "Predicts")
        assert rows(card(page, 1)) == []


def test_the_large_view_says_it_of_the_map_shown_and_draws_its_curve(page, at, made):
    index, probe = STEPS // 2, 1
    entry = made.data["steps"][index]
    dialog = page.locator("dialog")
    for role, error in (("", entry["error"]), ("rival", entry["also"]["rival"]["error"])):
        show(page, at, state(made, index, f"&probe={probe}&role={role}&groups=Evidence"))
        assert rows(dialog) == [words(error[probe])]
        plot = dialog.locator(".group .plot").filter(has_text="Error")
        assert f"{100 * error[probe]:.1f} %" in plot.inner_text()


def test_two_sides_say_it_each(page, at, made):
    step = made.data["steps"][2]["step"]
    show(page, at, state(made, STEPS - 1, f"&compare=side&stepb={step}"))
    both = rows(card(page, 0))
    assert both[0] == "exact"
    assert len(both) == 2
    # Of an older pass, or a picture of which nothing is explained, there is nothing to say.
    step = made.data["steps"][0]["step"]
    show(page, at, state(made, STEPS - 1, f"&compare=side&stepb={step}"))
    assert rows(card(page, 0)) == ["exact", ""]


def test_the_report_says_the_same(browser, made, tmp_path):
    with EventFile(tmp_path / "logs" / "version_0") as file:
        write_run(file, made)
    path = write_report(tmp_path / "logs", tmp_path / "report.html")
    with watched(browser, offline=True) as page:
        show(page, path.as_uri(), state(made, 4))
        assert rows(card(page, 1)) == [words(made.data["steps"][4]["error"][1])]
        show(page, path.as_uri(), state(made, 4, "&role=rival"))
        assert rows(card(page, 1)) == [words(made.data["steps"][4]["also"]["rival"]["error"][1])]


def test_records_from_before_there_were_tolerances_are_shown(browser, tmp_path):
    with EventFile(tmp_path / "logs") as file:
        file.strings("a/probes", encode_probes(probes()), 0, 1.0)
        for i in range(2):
            text, *rest = encode_heat(heat(i, also={"rival": further(i)}))
            fields = json.loads(text)
            assert [each.pop("error") for each in fields["also"]] == [None]
            file.strings("a/heat", [json.dumps(fields).encode(), *rest], i, 2.0 + i)
    path = write_report(tmp_path / "logs", tmp_path / "report.html")
    with watched(browser, offline=True) as page:
        show(page, path.as_uri(), "role=rival")
        assert rows(card(page, 0), "Rival")
        assert rows(card(page, 0)) == []
