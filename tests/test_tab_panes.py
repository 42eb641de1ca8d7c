"""Maps side by side: those of a probe's classes and layers, and those of further runs."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import numpy as np
import pytest

from lightning_ablationcam import write_report
from tests.browser import expect, needs_browser, pixels, settled, show, watched
from tests.tab_events import EventFile
from tests.tab_page import CLASSES, Made, Tab, evolution, served, with_addresses, write_run
from tests.test_tab_page import assert_state

pytestmark = needs_browser
MINUS = "\N{MINUS SIGN}"
HOSTILE = '<img src=x onerror="document.title=1">, 50:50 100% & \N{ROCKET}'


def with_layer(made, shape=(14, 21)):
    """The same run with a further layer: of the same classes, in cells of another size."""
    scale = [side // cells for side, cells in zip(shape, made.data["shape"], strict=True)]
    finer = {
        **made.also,
        "layer3": np.kron(made.maps[..., ::-1, :], np.ones((1, 1, *scale), np.uint8)),
    }
    same = ("classes", "scores", "probabilities", "against", "regions")
    steps = [
        {
            **entry,
            "also": {
                **entry["also"],
                "layer3": {
                    **{key: entry[key] for key in same},
                    "maxima": [3 * value for value in entry["maxima"]],
                },
            },
        }
        for entry in made.data["steps"]
    ]
    shapes = {**made.data["also_shapes"], "layer3": list(shape)}
    data = with_addresses({**made.data, "steps": steps, "also_shapes": shapes})
    return replace(made, data=data, also=finer)


@pytest.fixture(scope="module")
def made():
    """A run with a rival and a further layer."""
    return with_layer(evolution(probes=5, steps=12, roles=("rival",)))


@pytest.fixture(scope="module")
def runs():
    """Runs with other steps, other probes, and a name that is hard on an address."""
    other = evolution("runs/other", probes=5, steps=7, seed=3, roles=("rival",))
    for i, entry in enumerate(other.data["steps"]):
        entry["step"] = 10 + 40 * i
    few = evolution(HOSTILE, "tag/two", probes=3, steps=9, seed=4)
    few.data["probes"] = [*reversed(few.data["probes"])]
    few.pictures.reverse()
    plain = [evolution(f"version_{i}", probes=5, steps=5, seed=i) for i in range(2, 7)]
    return [
        Made(with_addresses(one.data), one.maps, one.pictures, one.also)
        for one in (other, few, *plain)
    ]


@pytest.fixture(scope="module")
def tab(made, runs):
    return Tab().put(made, *runs)


@pytest.fixture(scope="module")
def at(tab):
    with served(tab) as url:
        yield url


def pane(page, kind, probe=1):
    """A pane's canvas on a card."""
    return page.locator(f".card[data-probe='{probe}'] .pane[data-pane='{kind}'] canvas")


def large(page, kind):
    return page.locator(f"dialog figure:visible canvas[data-kind='{kind}']")


def kinds(page, probe=1):
    panes = page.locator(f".card[data-probe='{probe}'] .pane:visible")
    return panes.evaluate_all("panes => panes.map(one => one.dataset.pane)")


def briefs(page, probe=1):
    texts = page.locator(f".card[data-probe='{probe}'] .brief:visible").all_inner_texts()
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts]


def captions(page):
    texts = page.locator("dialog figcaption:visible").all_inner_texts()
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts]


def readings(page, x, y):
    """What the figures say of a place, by kind."""
    frame = page.locator("dialog .frame:visible").first
    box = frame.bounding_box()
    frame.hover(position={"x": x * box["width"], "y": y * box["height"]})
    figures = page.locator("dialog figure:visible")
    return dict(
        figures.evaluate_all(
            """figures => figures.map((one) => [
              one.querySelector("canvas").dataset.kind,
              one.querySelector(".reading").innerText,
            ])"""
        )
    )


def of_scale(share):
    value = 100 * abs(share)
    return f"{value:.1f} %" if value < 9.95 and value % 1 else f"{round(value)} %"


def signed_of_scale(share):
    return f"{'-+'[int(share > 0)]}{of_scale(share)}".replace("-", MINUS) if share else "0 %"


def maps_asked(tab, **wanted):
    """How often the maps of a series were asked for, by run, role and side."""
    queries = [
        {key: value[0] for key, value in parse_qs(urlsplit(one).query).items()}
        for one in tab.asked
        if "/maps?" in one
    ]
    return [
        one for one in queries if all(one.get(key, "") == value for key, value in wanted.items())
    ]


def percent(share):
    return f"{100 * share:.1f} %"


class TestRoles:
    def test_each_pane_is_the_map_that_is_shown_alone(self, page, at):
        alone = {}
        for role in ("", "rival", "layer3"):
            show(page, at, f"step=192&scale=map&role={role.replace(' ', '+')}&probe=1")
            alone[role] = pixels(pane(page, "a")), pixels(large(page, "a"))
        assert np.abs(alone[""][0].astype(float) - alone["rival"][0]).mean() > 5
        assert np.abs(alone[""][0].astype(float) - alone["layer3"][0]).mean() > 5
        show(page, at, "step=192&scale=map&beside=roles&probe=1")
        assert kinds(page) == ["a", "a:rival", "a:layer3"]
        for kind, (small, big) in zip(kinds(page), alone.values(), strict=True):
            assert (pixels(pane(page, kind)) == small).all()
            assert (pixels(large(page, kind)) == big).all()

    def test_captions_say_the_class_and_how_probable_it_is_or_the_layer(self, page, at, made):
        show(page, at, "step=192&beside=roles&probe=1")
        entry = made.data["steps"][7]
        rival = entry["also"]["rival"]
        assert briefs(page) == [
            f"model.layer4, 7 \N{MULTIPLICATION SIGN} 7: "
            f"{CLASSES[entry['classes'][1]]} {percent(entry['probabilities'][1])}",
            f"Rival: {CLASSES[rival['classes'][1]]} {percent(rival['probabilities'][1])}",
            "layer3, 14 \N{MULTIPLICATION SIGN} 21",
        ]
        # What is measured of each map, and the step, stand where there is room.
        for text, brief in zip(captions(page), briefs(page), strict=True):
            first, drift, step = text.split(" \N{MIDDLE DOT} ")
            assert first == brief
            assert drift.startswith("drift 0.")
            assert step == "Step 192, epoch 7"

    def test_without_layers_the_class_explained_is_named_by_its_role(self, page):
        made = evolution(probes=2, steps=3, roles=("rival", "class 3"))
        with served(Tab().put(made)) as url:
            show(page, url, "beside=roles")
            names = [text.split(":")[0] for text in briefs(page)]
            assert names == ["Explained", "Rival", "Class 3"]
            # At the first step nothing was recorded of the others.
            show(page, url, "beside=roles&step=24")
            assert briefs(page)[1:] == [
                f"{name}: not recorded at this step" for name in ("Rival", "Class 3")
            ]

    def test_maps_are_asked_for_once_and_only_when_they_are_shown(self, page, at, tab):
        tab.asked.clear()
        show(page, at, "step=192")
        assert [one["run"] for one in maps_asked(tab)] == ["version_0"]
        choice = page.get_by_label("Map shown").first
        choice.select_option(label="Side by side")
        expect(page.locator(".summary")).to_contain_text("3 maps side by side")
        choice.select_option(label="Rival")
        choice.select_option(label="Side by side")
        expect(pane(page, "a:layer3")).to_be_visible()
        settled(page)
        asked = sorted(one.get("role", "") for one in maps_asked(tab))
        assert asked == ["", "layer3", "rival"]
        assert {one["run"] for one in maps_asked(tab)} == {"version_0"}

    def test_keys_and_the_address(self, page, at):
        show(page, at, "step=192")
        page.keyboard.press("R")
        expect(pane(page, "a:rival")).to_be_visible()
        assert_state(page, step="192", beside="roles")
        assert page.get_by_label("Map shown").first.input_value() == "*"
        # From all of them to the rival alone, and on to the class explained.
        page.keyboard.press("r")
        expect(page.locator(".summary")).to_contain_text("map of: rival")
        assert_state(page, step="192", role="rival")
        page.keyboard.press("R")
        expect(pane(page, "a:rival")).to_be_visible()
        # Back to what was shown before; also by the other key, which never goes past the rival.
        page.keyboard.press("R")
        expect(page.locator(".summary")).to_contain_text("map of: rival")
        page.keyboard.press("R")
        expect(pane(page, "a:rival")).to_be_visible()
        page.keyboard.press("r")
        expect(page.locator(".summary")).to_contain_text("map of: rival")
        assert_state(page, step="192", role="rival")
        page.keyboard.press("r")
        expect(page.locator(".summary")).not_to_contain_text("rival")
        assert kinds(page) == ["a"]

    def test_a_run_without_roles_has_one_map_and_no_choice(self, page, at):
        for state in ("run=version_2&beside=roles&probe=1", "run=version_2&beside=nonsense"):
            show(page, at, state)
            assert kinds(page) == ["a"]
            expect(page.get_by_label("Map shown")).to_have_count(0)
            expect(page.locator(".card .brief:visible")).to_have_count(0)

    def test_numbers_are_of_the_class_explained_and_each_curve_says_its_role(self, page, at, made):
        entry = made.data["steps"][7]
        show(page, at, "step=192&role=rival&beside=roles&probe=1")
        row = page.locator("dialog .facts").get_by_role("row", name="Explains")
        expect(row).to_contain_text(CLASSES[entry["classes"][1]])
        expect(page.locator("dialog .facts").get_by_role("row", name="Rival")).to_have_count(0)
        listed = page.locator("dialog .likeliest li")
        roles = {
            one.locator(".name").inner_text(): one.locator(".role").inner_text()
            for one in listed.all()
        }
        marked = {name: role for name, role in roles.items() if role}
        assert marked == {
            CLASSES[entry["classes"][1]]: "label, explained",
            CLASSES[entry["also"]["rival"]["classes"][1]]: "rival",
        }
        ticks = page.locator("dialog .large-time .flip").count()
        show(page, at, "step=192&probe=1")
        assert page.locator("dialog .large-time .flip").count() == ticks > 0

    def test_classes_share_a_scale_by_their_evidence_and_layers_do_not(self, page, made):
        # The rival is as probable as it is, but hardly any of the score goes by the heat.
        weak = replace(made, data={**made.data, "steps": [dict(one) for one in made.data["steps"]]})
        for entry in weak.data["steps"]:
            if "rival" in entry["also"]:
                rival = {**entry["also"]["rival"], "scores": [0.001] * 5}
                entry["also"] = {**entry["also"], "rival": rival}
        shown = {}
        with served(Tab().put(weak)) as url:
            for scale in ("map", "probe"):
                # The same probe at its strongest, so that its own colours are full ones.
                show(page, url, f"beside=roles&step=288&scale={scale}&probe=0")
                shown[scale] = [pixels(pane(page, kind, 0)) for kind in kinds(page, 0)]
                words = page.locator(".top .legend").inner_text()
                assert ("most evidence" in words) == (scale == "probe")
                own = ["own maximum" in text for text in captions(page)]
                assert own == [False, False, scale == "probe"]
            show(page, url, "opacity=0&step=288&probe=0")
            bare = pixels(pane(page, "a", 0)).astype(float)
        heat = {
            scale: [np.abs(one - bare).mean() for one in panes] for scale, panes in shown.items()
        }
        # Each has its own full colour, or the rival next to none.
        assert heat["map"][1] > 5
        assert heat["probe"][1] < 0.5
        assert heat["probe"][2] == pytest.approx(heat["map"][2])
        assert heat["probe"][0] > 5

    def test_both_signs_are_shown_of_all_that_have_them(self, page):
        made = evolution(probes=3, steps=4, roles=("rival",), signed=True)
        tab = Tab().put(made)
        with served(tab) as url:
            alone = []
            for role in ("", "rival"):
                show(page, url, f"scale=map&role={role}")
                alone.append(pixels(pane(page, "a")))
            tab.asked.clear()
            page.goto("about:blank")
            show(page, url, "scale=map&beside=roles")
            expect(page.locator(".top .legend")).to_contain_text("against")
            for kind, wanted in zip(kinds(page), alone, strict=True):
                assert (pixels(pane(page, kind)) == wanted).all()
            asked = [(one.get("role", ""), one.get("side", "")) for one in maps_asked(tab)]
            wanted = [("", ""), ("", "against"), ("rival", ""), ("rival", "against")]
            assert sorted(asked) == wanted
            page.keyboard.press("s")
            expect(page.locator(".top .legend")).not_to_contain_text("against")

    def test_a_run_that_grows_brings_the_new_maps_of_all_alone(self, page, made):
        tab = Tab().put(made.first(8))
        with served(tab) as url:
            show(page, url, "beside=roles&scale=map")
            tab.put(made)
            tab.asked.clear()
            show(page, url, "beside=roles&scale=map&step=288")
            expect(page.locator(".top .count").first).to_have_text("12 of 12")
            settled(page)
            asked = {one.get("role", ""): one.get("from") for one in maps_asked(tab)}
            assert asked == {"": "8", "rival": "8", "layer3": "8"}
            grown = [pixels(pane(page, kind)) for kind in kinds(page)]
            page.goto("about:blank")
            show(page, url, "beside=roles&scale=map&step=288")
            for kind, shown in zip(kinds(page), grown, strict=True):
                assert (pixels(pane(page, kind)) == shown).all()

    def test_what_is_stated_of_a_layer_stands_below_it(self, page):
        made = with_layer(evolution(probes=2, steps=3, roles=("rival",)))
        from lightning_ablationcam.measures import axis as axes

        made.data["measures"] = [*made.data["measures"], vars(axes.ERROR)]
        for entry in made.data["steps"]:
            entry["error"] = [0.5, 0.5]
            for role, further in entry["also"].items():
                entry["also"][role] = {
                    **further,
                    "error": [0.02, 0.02] if role == "layer3" else None,
                }
        with served(Tab().put(made)) as url:
            show(page, url, "beside=roles&probe=1")
            stated = ["within 50 %" in text for text in captions(page)]
            assert stated == [True, False, False]
            stated = ["within 2 %" in text for text in captions(page)]
            assert stated == [False, False, True]


class TestCompared:
    """A and B, each with all of its maps."""

    def test_a_row_for_each_side_on_a_card(self, page, at, made):
        alone = {}
        for role in ("", "rival"):
            show(page, at, f"step=288&bstep=96&compare=side&scale=map&role={role}&probe=1")
            for kind in "ab":
                alone[kind + (role and f":{role}")] = pixels(pane(page, kind))
        show(page, at, "step=288&bstep=96&compare=side&scale=map&beside=roles&probe=1")
        assert kinds(page) == ["a", "a:rival", "a:layer3", "b", "b:rival", "b:layer3"]
        for kind, wanted in alone.items():
            assert (pixels(pane(page, kind)) == wanted).all()
        assert [text.split("\n")[0] for text in briefs(page)] == [*"AAABBB"]
        tops = [
            round(page.locator(f".card[data-probe='1'] [data-pane='{kind}']").bounding_box()["y"])
            for kind in kinds(page)
        ]
        assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4] == tops[5]

    def test_the_large_view_has_the_differences_too(self, page, at):
        def full():
            ticks = page.locator("dialog .legends .legend").last.locator(".ticks span")
            return float(ticks.last.inner_text().strip("+ %"))

        alone, most = {}, {}
        for role in ("", "rival", "layer3"):
            show(page, at, f"step=288&bstep=96&compare=side&scale=map&role={role}&probe=1")
            alone[role], most[role] = pixels(large(page, "difference")), full()
        show(page, at, "step=288&bstep=96&compare=side&scale=map&beside=roles&probe=1")
        # They share one scale, which is that of the largest among them.
        assert len(set(most.values())) > 1
        assert full() == max(most.values())
        for role, wanted in alone.items():
            kind = f"difference:{role}" if role else "difference"
            is_same = (pixels(large(page, kind)) == wanted).all()
            assert is_same == (most[role] == full())
        assert sum("amber is more in A" in text for text in captions(page)) == 3

    def test_cells_say_the_map_of_their_role(self, page, at, made):
        show(page, at, "step=288&bstep=96&compare=side&scale=map&beside=roles&probe=1")
        said = readings(page, 0.4, 0.3)
        for role, maps in (("", made.maps), *made.also.items()):
            rows, columns = maps.shape[2:]
            row, column = int(0.3 * rows), int(0.4 * columns)
            where = f"Row {row + 1} of {rows}, column {column + 1} of {columns}: "
            a, b = (maps[step, 1, row, column] / 255 for step in (11, 3))
            kind = f"difference:{role}".strip(":")
            of = f"(A {of_scale(a)}, B {of_scale(b)} of the full colour)"
            assert said[kind] == f"{where}{signed_of_scale(a - b)} {of}"
            for side, share in (("a", a), ("b", b)):
                text = said[f"{side}:{role}".strip(":")]
                assert text.startswith(f"{where}{of_scale(share)} of this map's maximum")

    def test_a_wipe_is_of_one_map_alone(self, page, at):
        show(page, at, "step=288&bstep=96&compare=side&beside=roles&probe=1&wipe=50")
        assert page.locator("dialog figure:visible").count() == 9
        expect(page.get_by_role("slider", name="Line between A and B")).to_be_hidden()
        expect(page.get_by_label("Wipe A | B")).to_be_hidden()

    def test_the_gallery_of_differences(self, page, at):
        show(page, at, "step=288&bstep=96&compare=difference&scale=map&role=rival")
        wanted = pixels(pane(page, "difference"))
        show(page, at, "step=288&bstep=96&compare=difference&scale=map&beside=roles")
        assert kinds(page) == ["difference", "difference:rival", "difference:layer3"]
        assert (pixels(pane(page, "difference:rival")) == wanted).all()

    def test_a_map_that_b_has_not_recorded_is_said_to_be_missing(self, page, at):
        show(page, at, "compare=side&brun=runs%2Fother&beside=roles&probe=1")
        assert briefs(page)[-1] == "B\nhas no map “layer3”"
        assert "B \N{MIDDLE DOT} has no map “layer3”" in captions(page)
        assert pixels(pane(page, "b:layer3")).std() == 0
        assert pixels(pane(page, "b:rival")).std() > 10


def runs_text(*names):
    return urlencode({"runs": ",".join(names)})


FEW = quote(HOSTILE, safe="/!'()*~") + ":tag/two"


class TestRuns:
    def test_each_stands_at_the_step_nearest_to_a(self, page, at, runs):
        show(page, at, "run=runs%2Fother&scale=map&step=170&probe=1")
        other = pixels(pane(page, "a")), pixels(large(page, "a"))
        show(page, at, "run=version_2&scale=map&step=120&probe=1")
        second = pixels(pane(page, "a")), pixels(large(page, "a"))
        show(page, at, f"step=168&scale=map&probe=1&{runs_text('runs/other', 'version_2')}")
        assert kinds(page) == ["a", "c", "d"]
        for kind, (small, big) in (("c", other), ("d", second)):
            assert (pixels(pane(page, kind)) == small).all()
            assert (pixels(large(page, kind)) == big).all()
        entry = runs[0].data["steps"][4]
        name = CLASSES[entry["classes"][1]]
        assert briefs(page)[1] == (
            f"runs/other\n{name} {percent(entry['probabilities'][1])}\nStep 170, epoch 4"
        )
        assert [text.split("\n")[0] for text in briefs(page)] == [
            "version_0",
            "runs/other",
            "version_2",
        ]
        assert captions(page)[2].endswith("Step 120, epoch 4")

    def test_they_share_a_scale(self, page, at, made, runs):
        # Of a run whose heat is always stronger nothing changes, of the others all does.
        show(page, at, "step=24&scale=run")
        alone = pixels(pane(page, "a")).astype(float)
        strong = max(max(entry["balance"]) for entry in runs[0].data["steps"])
        own = max(max(entry["balance"]) for entry in made.data["steps"])
        show(page, at, f"step=24&scale=run&{runs_text('runs/other')}")
        off = np.abs(pixels(pane(page, "a")) - alone).max()
        assert (off > 0) == (strong > own)
        words = page.locator(".top .legend").inner_text()
        assert percent(max(strong, own)) in words

    def test_they_are_added_and_removed_in_the_panel(self, page, at, tab):
        show(page, at, "step=168")
        tab.asked.clear()
        add = page.get_by_label("Beside")
        options = add.locator("option").all_inner_texts()
        assert options[0] == "Add a run …"
        assert "version_0" not in options
        add.select_option(label="version_2")
        expect(pane(page, "c")).to_be_visible()
        assert add.input_value() == ""
        assert_state(page, step="168", runs="version_2")
        add.select_option(index=2)
        expect(pane(page, "d")).to_be_visible()
        # Of what was shown before nothing is asked for again.
        assert {HOSTILE} <= {one["run"] for one in maps_asked(tab)} <= {"version_2", HOSTILE}
        assert len(maps_asked(tab)) == len({one["run"] for one in maps_asked(tab)})
        assert page.locator(".further-runs img").count() == 0
        page.get_by_role("button", name="Remove version_2").click()
        expect(pane(page, "d")).to_be_hidden()
        assert_state(page, step="168", runs=FEW)
        address = page.url
        assert briefs(page)[1].startswith(HOSTILE)
        # The address alone brings it back.
        show(page, at, "step=168")
        assert kinds(page) == ["a"]
        show(page, at, urlsplit(address).fragment)
        assert kinds(page) == ["a", "c"]

    def test_six_are_the_most(self, page, at):
        names = ["runs/other", *(f"version_{i}" for i in range(2, 7))]
        show(page, at, runs_text(*names))
        assert len(kinds(page)) == 6
        expect(page.get_by_label("Beside")).to_be_disabled()
        show(page, at, f"compare=side&brun=version_2&{runs_text(*names)}")
        # B is one of them, and stands there once.
        assert len(kinds(page)) == 6
        heads = [text.split("\n")[0] for text in briefs(page)]
        assert heads[:2] == ["A: version_0", "B: version_2"]
        assert len(set(heads)) == 6

    def test_probes_are_matched_by_name_and_missing_ones_said_to_be(self, page, at):
        show(page, at, "run=" + urlencode({"": HOSTILE})[1:] + "&tag=tag/two&scale=map&step=168")
        wanted = pixels(pane(page, "a", 2))
        show(page, at, f"step=168&scale=map&probe=4&{runs_text(FEW)}")
        # Its third is A's first.
        assert briefs(page, 0)[1].startswith(HOSTILE)
        assert (pixels(pane(page, "c", 0)) == wanted).all()
        assert briefs(page, 4)[1].endswith("has no such probe")
        assert pixels(pane(page, "c", 4)).std() == 0
        assert pixels(large(page, "c")).std() == 0
        assert captions(page)[1].endswith("has no such probe")

    def test_a_run_that_is_not_there_is_said_to_be(self, page, at):
        show(page, at, runs_text("gone", "version_2", "%E0%A4%A", "version_0"))
        assert kinds(page) == ["a", "c"]
        note = page.locator(".notes li")
        expect(note).to_have_text(
            "There is no run “gone” with tag “ablation_cam” to stand beside the others."
        )

    def test_differences_from_each(self, page, at):
        show(page, at, "step=168&compare=difference&brun=version_2&scale=map&probe=1")
        wanted = pixels(pane(page, "difference"))
        state = "step=168&compare=difference&brun=version_3&scale=map&probe=1"
        show(page, at, f"{state}&{runs_text('version_2')}")
        assert kinds(page) == ["difference", "difference:c"]
        assert (pixels(pane(page, "difference:c")) == wanted).all()
        expect(page.locator(".top .legend")).to_contain_text("more in the other")

    def test_a_difference_that_is_left_is_shown_large_with_its_legend(self, page, at):
        legend = page.locator("dialog .legends .legend").last
        # B, of other probes, lacks this one; a further run does not.
        lacks = f"step=168&compare=difference&scale=map&probe=4&brun={quote(HOSTILE)}&btag=tag/two"
        show(page, at, f"{lacks}&{runs_text('version_2')}")
        assert kinds(page, 4) == ["difference", "difference:c"]
        wanted = large(page, "difference:c")
        assert pixels(wanted).std() > 5
        expect(legend).to_be_visible()
        show(page, at, lacks)
        assert large(page, "difference").count() == 0
        expect(legend).to_be_hidden()

    def test_the_large_view_of_differences_from_each(self, page, at, made, runs):
        state = "step=168&compare=difference&brun=version_3&scale=map&probe=1"
        show(page, at, f"{state}&{runs_text('version_2')}")
        said = readings(page, 0.4, 0.3)
        assert list(said) == ["a", "b", "c", "difference", "difference:c"]
        a, c = (maps[1, 2, 2] / 255 for maps in (made.maps[6], runs[2].maps[4]))
        of = f"(A {of_scale(a)}, version_2 {of_scale(c)} of the full colour)"
        where = "Row 3 of 7, column 3 of 7"
        assert said["difference:c"] == f"{where}: {signed_of_scale(a - c)} {of}"
        assert ", B " in said["difference"]

    def test_their_scale_is_that_of_all_steps_though_b_stays(self, page, at, made, runs):
        state = "step=168&bstep=24&compare=difference&scale=map&probe=2"
        show(page, at, f"{state}&{runs_text('version_4')}")
        beside = [min(i, 4) for i in range(12)]
        pairs = made.maps[:, 2].astype(float) - runs[4].maps[beside, 2]
        most = f"+{round(100 * np.abs(pairs).max() / 255)} %"
        expect(page.locator("dialog .legend .ticks").last).to_contain_text(most)

    def test_roles_of_several_runs_stand_in_rows(self, page, at):
        show(page, at, f"beside=roles&step=168&scale=map&{runs_text('runs/other')}")
        assert kinds(page) == ["a", "a:rival", "a:layer3", "c", "c:rival", "c:layer3"]
        assert briefs(page)[-1] == "runs/other\nhas no map “layer3”"
        wanted = pixels(pane(page, "c:rival"))
        show(page, at, "run=runs%2Fother&role=rival&step=170&scale=map")
        assert (pixels(pane(page, "a")) == wanted).all()

    def test_they_move_with_a(self, page, at):
        show(page, at, f"step=168&{runs_text('runs/other')}")
        assert "Step 170" in briefs(page)[1]
        page.keyboard.press("Home")
        settled(page)
        assert "Step 10," in briefs(page)[1]
        page.keyboard.press("End")
        settled(page)
        assert "Step 250" in briefs(page)[1]


class TestLayout:
    @pytest.mark.parametrize("width", [400, 800, 1400])
    @pytest.mark.parametrize(
        "state",
        [
            "beside=roles",
            "beside=roles&compare=side",
            "runs=runs/other,version_2,version_3,version_4,version_5",
            "beside=roles&runs=runs/other&size=s",
        ],
    )
    def test_panes_fit_and_can_be_told_apart(self, browser, at, width, state):
        size = {"width": width, "height": 900}
        with watched(browser, viewport=size) as page:
            for more in ("", "&probe=1"):
                show(page, at, state + more)
                where = "dialog figure" if more else ".card[data-probe='1'] .pane"
                boxes = [one.bounding_box() for one in page.locator(f"{where}:visible").all()]
                assert len(boxes) > 2
                for box in boxes:
                    assert box["width"] >= 88
                    assert box["x"] >= 0
                    assert box["x"] + box["width"] <= width
                # As many in a row as there is room for.
                in_first = [box for box in boxes if abs(box["y"] - boxes[0]["y"]) < 1]
                assert len(in_first) >= 2
                overflow = "document.scrollingElement.scrollWidth - window.innerWidth"
                assert page.evaluate(overflow) <= 0

    def test_a_wide_card_has_its_numbers_side_by_side(self, browser, at):
        with watched(browser, viewport={"width": 1400, "height": 900}) as page:
            show(page, at, "beside=roles&runs=version_2")
            facts, plots = (
                page.locator(f".card[data-probe='1'] {part}").bounding_box()
                for part in (".facts", ".plots")
            )
            assert plots["x"] >= facts["x"] + facts["width"]


def test_a_report_shows_them_without_a_server(browser, made, runs, tmp_path):
    for one in (made, runs[0]):
        with EventFile(tmp_path / "logs" / one.data["run"]) as file:
            write_run(file, one)
    path = write_report(tmp_path / "logs", tmp_path / "report.html")
    with watched(browser, offline=True) as page:
        show(page, path.as_uri(), "run=version_0&role=layer3&step=168&scale=map")
        wanted = pixels(pane(page, "a"))
        show(page, path.as_uri(), "run=version_0&beside=roles&runs=runs/other&step=168&scale=map")
        assert kinds(page) == ["a", "a:rival", "a:layer3", "c", "c:rival", "c:layer3"]
        assert (pixels(pane(page, "a:layer3")) == wanted).all()
