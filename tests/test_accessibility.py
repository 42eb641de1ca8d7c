"""axe-core's rules on the page, in every view, at both widths and in both themes."""

from __future__ import annotations

import os

import pytest

from tests.browser import needs_browser, opened, show
from tests.tab_page import Tab, an_alarm, evolution, measured, served

if os.environ.get("REQUIRE_BROWSER") == "1":
    from axe_playwright_python import sync_playwright as axe
else:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = needs_browser

VIEWS = {
    "gallery": "",
    "side by side": "compare=side",
    "difference": "compare=difference",
    "nothing passes": "search=nobody",
    "maps side by side": "beside=roles",
    "runs side by side": "runs=second",
    "changes": "changes=all&pins=1",
    "large": "probe=1",
    "runs by steps": "probe=1&view=runs",
    "large, maps side by side": "probe=1&beside=roles&runs=second",
    "large, with changes": "probe=1&changes=flips",
    "large, compared": "probe=1&compare=side&bstep=first",
    "large, all looks": "probe=1&look=all",
    "large, wiped": "probe=1&compare=side&bstep=first&wipe=40&look=contour",
}


@pytest.fixture(scope="module")
def address():
    alarms = [an_alarm("border_heat", above=0.5, for_passes=2, of="any")]
    first = measured(evolution("first", probes=4, steps=8, roles=("rival",)), alarms=alarms)
    with served(Tab().put(first, evolution("second", probes=4, steps=8, seed=1))) as address:
        yield address


@pytest.fixture(scope="module", params=[400, 1400])
def sized(browser, request):
    with opened(browser, viewport={"width": request.param, "height": 900}) as (page, said):
        yield page
        assert said == []


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_rule_is_broken(sized, address, view, theme):
    sized.emulate_media(color_scheme=theme)
    show(sized, address, VIEWS[view])
    found = axe.Axe().run(sized)
    assert found.violations_count == 0, found.generate_report()
