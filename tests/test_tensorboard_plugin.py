"""The tab's server half, in real TensorBoards with both of their loaders."""

from __future__ import annotations

import gzip
import json
from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import urlencode

import grpc
import numpy as np
import pytest
from tensorboard.compat.proto import summary_pb2, types_pb2
from tensorboard.util import tensor_util

from lightning_ablationcam.outputs.tensorboard import summary_value
from lightning_ablationcam.records import format as records
from lightning_ablationcam.records import series as series_room
from lightning_ablationcam.records.format import encode_heat, encode_probes
from lightning_ablationcam.records.series import (
    MAX_STEPS,
    NothingToShowError,
    Stamped,
    assemble,
)
from lightning_ablationcam.render import encode_png
from lightning_ablationcam.tensorboard_plugin import Loader, packed, reading
from lightning_ablationcam.tensorboard_plugin.page import CONTENT_TYPES, read_file
from lightning_ablationcam.tensorboard_plugin.recent import MAX_SERIES, Kept, RecentSeries
from tests.board import Board
from tests.tab_events import FINGERPRINT, LIES, TAG, EventFile, a_tensor, further, heat, probes

STEPS = 300
COMPLETE = {
    "announced",
    "broken",
    "heat without probes",
    "long",
    "resumed",
    "rivals",
    "signed",
    "two/tags",
    "lying",
}
HERE = {"run": "long", "tag": TAG}


def write_logs(folder):
    write_runs(folder)
    # Read last: once it is loaded, everything else is.
    for run in COMPLETE:
        with EventFile(folder / run, 9) as file:
            file.value(summary_pb2.Summary.Value(tag="end", simple_value=1), 0, 1.0)


def write_runs(folder):
    with EventFile(folder / "long") as file:
        file.probes(probes())
        for step in range(STEPS):
            file.heat(heat(step), step)
            file.value(summary_pb2.Summary.Value(tag="loss", simple_value=step / 2), step, step)
        image = summary_pb2.Summary.Image(
            height=2,
            width=2,
            colorspace=3,
            encoded_image_string=encode_png(np.full((2, 2, 3), 7, np.uint8)),
        )
        file.value(summary_pb2.Summary.Value(tag="picture", image=image), 3, 1.0)
    with EventFile(folder / "rivals") as file:
        file.probes(probes())
        file.heat(heat(0), 0)
        for step in (1, 2):
            also = {"rival": further(step), "class 3": further(step + 50)}
            file.heat(heat(step, also=also), step)
    with EventFile(folder / "signed") as file:
        file.probes(probes())
        file.heat(heat(0), 0)
        layer = replace(
            further(1, h=6, w=8),
            shape=(2, 6, 8),
            against=bytes(range(96)),
            against_maxima=(1.0, None),
        )
        against = {"against": bytes(range(24)), "against_maxima": (1.0, None)}
        file.heat(heat(1, also={"layer3": layer}, **against), 1)
    with EventFile(folder / "two" / "tags") as file:
        for tag in ("a b/ü&", "b"):
            file.probes(probes(), tag=tag)
            file.heat(heat(4), 4, tag=tag)
    with EventFile(folder / "resumed", 1) as file:
        file.probes(probes())
        for step in range(0, 100, 10):
            file.heat(heat(step), step, 100.0 + step)
    with EventFile(folder / "resumed", 2) as file:
        file.probes(probes(), step=50, wall_time=1000.0)
        for step in range(50, 80, 10):
            file.heat(heat(step + 1), step, 1000.0 + step)
    with EventFile(folder / "broken") as file:
        file.probes(probes())
        file.heat(heat(0), 0)
        file.strings(f"{TAG}/heat", [b"{}", b""], 1, 2.0)
        file.value(a_tensor(types_pb2.DT_FLOAT, 2, float_val=[1, 2]), 2, 3.0)
        file.strings(f"{TAG}/heat", [encode_heat(heat(3))[0], b"short"], 3, 4.0)
        file.strings(f"{TAG}/probes", [b"\xff", b"\xff"], 3, 4.5)
        file.heat(heat(4), 4)
    with EventFile(folder / "lying") as file:
        file.probes(probes())
        file.heat(heat(0), 0)
        for step, lie in enumerate(LIES, 1):
            file.value(lie, step, 1.0 + step)
        file.heat(heat(len(LIES) + 1), len(LIES) + 1)
    with EventFile(folder / "heat without probes") as file:
        file.heat(heat(), 0)
    with EventFile(folder / "announced") as file:
        file.probes(probes())
        value = summary_value(f"{TAG}/heat", [])
        value.ClearField("tensor")
        file.value(value, 0, 1.0)
    with EventFile(folder / "flipped") as file:
        file.probes(probes())
        for step in range(10):
            file.heat(heat(step), step)
    content = bytearray(file.path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.path.write_bytes(content)


def runs_with(board, tag):
    status, _, content = board.raw("GET", "/data/plugin/scalars/tags")
    assert status == 200
    return {run for run, tags in json.loads(content).items() if tag in tags}


@pytest.fixture(scope="module", params=["fast", "slow"])
def board(request, tmp_path_factory):
    """TensorBoard over logs of all kinds; with the slow loader under a prefix."""
    folder = tmp_path_factory.mktemp(request.param)
    write_logs(folder / "logs")
    fast = request.param == "fast"
    flag, prefix = f"--load_fast={str(fast).lower()}", "" if fast else "/some/where"
    with Board(folder / "logs", folder / "said.txt", flag, prefix=prefix) as running:
        running.logs = folder / "logs"
        running.wait_for(lambda: runs_with(running, "end") >= COMPLETE)
        # The slow loader never comes to the end of this one.
        running.wait_for(lambda: running.get("data", run="flipped", tag=TAG)[0] == 200)
        yield running


def test_every_series_is_listed(board):
    answer = board.json("series")
    listed = [(entry["run"], entry["tag"]) for entry in answer["series"]]
    # The loaders differ on a tag that is announced and has no value.
    assert sorted(entry for entry in listed if entry[0] != "announced") == [
        ("broken", TAG),
        ("flipped", TAG),
        ("long", TAG),
        ("lying", TAG),
        ("resumed", TAG),
        ("rivals", TAG),
        ("signed", TAG),
        ("two/tags", "a b/ü&"),
        ("two/tags", "b"),
    ]
    assert (answer["version"], answer["message"]) == (1, None)


def test_every_step_is_served(board):
    data = board.json("data", **HERE)
    assert [step["step"] for step in data["steps"]] == list(range(STEPS))
    np.testing.assert_allclose(
        [step["maxima"] for step in data["steps"]],
        [heat(step).maxima for step in range(STEPS)],
        rtol=5e-6,
    )
    assert (data["run"], data["tag"], data["total_steps"]) == ("long", TAG, STEPS)
    assert data["notes"] == []
    assert data["fingerprint"] == FINGERPRINT
    expected = b"".join(heat(step).maps for step in range(STEPS))
    status, headers, maps = board.get(data["maps"])
    assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
    assert headers["Content-Encoding"] is None
    assert maps == expected
    status, headers, maps = board.get(data["maps"], headers={"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(maps) == expected


def test_what_the_browser_has_already_is_not_sent_again(board):
    data = board.json("data", **HERE)
    answers = ["series", f"data?{urlencode(HERE)}", data["maps"], data["pictures"][0]]
    tags = set()
    for url in [*answers, *CONTENT_TYPES]:
        _, headers, content = board.get(url, headers={"Accept-Encoding": "gzip"})
        tag = headers["ETag"]
        tags.add(tag)
        assert content
        known = {"If-None-Match": f'"other", {tag}', "Accept-Encoding": "gzip"}
        status, headers, content = board.get(url, headers=known)
        assert (status, headers["ETag"], content) == (304, tag, b"")
        status, _, content = board.get(url, headers={"If-None-Match": '"other"'})
        assert status == 200
        assert content
    assert len(tags) == len(answers) + len(CONTENT_TYPES)
    tag = board.get(data["maps"])[1]["ETag"]
    assert board.get("data", headers={"If-None-Match": tag})[0] == 400
    assert board.get(data["maps"][:-1], headers={"If-None-Match": tag})[0] == 409


@pytest.mark.parametrize("first", [0, 1, STEPS - 1, STEPS])
def test_maps_from_a_step_on(board, first):
    maps = board.json("data", **HERE)["maps"]
    status, _, content = board.get(f"{maps}&from={first}")
    assert status == 200
    assert content == b"".join(heat(step).maps for step in range(first, STEPS))


@pytest.mark.parametrize("first", [STEPS + 1, -1, "x", "", "1&from=1"])
def test_maps_from_a_step_there_is_not(board, first):
    maps = board.json("data", **HERE)["maps"]
    status, _, content = board.get(f"{maps}&from={first}")
    assert status == 400
    assert "Parameter from is" in json.loads(content)["error"]


def test_maps_of_further_classes(board):
    data = board.json("data", run="rivals", tag=TAG)
    assert list(data["also_maps"]) == ["rival", "class 3"]
    assert [list(step["also"]) for step in data["steps"]] == [[], *[["rival", "class 3"]] * 2]
    none = bytes(len(heat().maps))
    for role, shift in (("rival", 0), ("class 3", 50)):
        maps = [none, further(1 + shift).maps, further(2 + shift).maps]
        for first in range(4):
            start = f"&from={first}" if first else ""
            status, _, content = board.get(data["also_maps"][role] + start)
            assert (status, content) == (200, b"".join(maps[first:]))
        assert board.get(f"{data['also_maps'][role]}&from=4")[0] == 400
    assert board.get(data["maps"])[2] == b"".join(heat(step).maps for step in range(3))
    status, _, content = board.get(f"{data['maps']}&role=label")
    assert (status, json.loads(content)) == (404, {"error": "There are no such maps."})
    outdated = data["also_maps"]["rival"].replace(data["maps_key"], "0" * 32)
    assert board.get(outdated)[0] == 409


def test_maps_of_what_speaks_against(board):
    data = board.json("data", run="signed", tag=TAG)
    assert list(data["against_maps"]) == ["", "layer3"]
    assert data["also_shapes"] == {"layer3": [6, 8]}
    for role, of_second in (("", bytes(range(24))), ("layer3", bytes(range(96)))):
        status, _, content = board.get(data["against_maps"][role])
        assert (status, content) == (200, bytes(len(of_second)) + of_second)
        assert board.get(f"{data['against_maps'][role]}&from=1")[2] == of_second
    assert len(board.get(data["also_maps"]["layer3"])[2]) == 2 * 96
    for wrong in ("&side=against&role=rival", "&side=above", "&side="):
        status, _, content = board.get(f"{data['maps']}{wrong}")
        assert (status, json.loads(content)) == (404, {"error": "There are no such maps."})
    assert board.json("data", **HERE)["against_maps"] == {}


def test_pictures_are_served_and_kept_by_the_browser(board):
    data = board.json("data", **HERE)
    for url, picture, kind in zip(
        data["pictures"], probes().pictures, ("image/png", "image/jpeg"), strict=True
    ):
        status, headers, content = board.get(url)
        assert (status, content, headers["Content-Type"]) == (200, picture, kind)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "private, max-age=86400"


def test_addresses_hold_whatever_a_tag_is_called(board):
    data = board.json("data", run="two/tags", tag="a b/ü&")
    assert [step["step"] for step in data["steps"]] == [4]
    assert board.get(data["maps"])[2] == heat(4).maps
    assert board.get(data["pictures"][1])[2] == probes().pictures[1]


def test_a_resumed_run_shows_each_step_once_and_the_newest(board):
    data = board.json("data", run="resumed", tag=TAG)
    assert [(step["step"], step["epoch"]) for step in data["steps"]] == [
        *((step, step) for step in range(0, 50, 10)),
        *((step, step + 1) for step in range(50, 80, 10)),
    ]
    assert board.get(data["maps"])[2].endswith(heat(71).maps)


def test_what_cannot_be_read_is_left_out_and_said(board):
    data = board.json("data", run="broken", tag=TAG)
    assert [step["step"] for step in data["steps"]] == [0, 4]
    (note,) = data["notes"]
    assert note.startswith("4 records could not be read and are left out (step 3: the first part")
    assert board.get(data["maps"])[2] == heat(0).maps + heat(4).maps


def test_what_a_tensor_says_of_its_size_costs_nothing(board):
    board.json("data", **HERE)
    before = board.peak_memory
    data = board.json("data", run="lying", tag=TAG)
    assert [step["step"] for step in data["steps"]] == [0, len(LIES) + 1]
    (note,) = data["notes"]
    assert note.startswith(f"{len(LIES)} records could not be read and are left out (step 1: it ")
    assert "it states 9 strings, but holds 2" in note
    # Less than unpacking any of them would take: the smallest states 800 MB.
    assert board.peak_memory - before < 100 * 2**20


def test_a_record_that_is_too_large_is_left_out(monkeypatch):
    monkeypatch.setattr(packed, "MAX_RECORD_BYTES", 2000)
    provider = provided(3)
    provider.tensors[f"{TAG}/heat"].append(datum(3, [b"{}", bytes(2000)]))
    series = read(provider)
    assert len(series.steps) == 3
    assert "step 3: it has 2,002 bytes; the limit is 2,000" in series.notes[0]


def test_json_that_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(records, "MAX_JSON_BYTES", 1000)
    provider = provided(3)
    provider.tensors[f"{TAG}/heat"].append(datum(3, [b"[" * 1001, b""]))
    assert "its JSON has 1,001 bytes; the limit is 1,000" in read(provider).notes[0]


def test_a_file_damaged_on_disk_shows_what_is_left(board):
    data = board.json("data", run="flipped", tag=TAG)
    steps = [step["step"] for step in data["steps"]]
    # The fast loader leaves out the damaged record, the slow one all that come after it as well.
    assert set(steps) < set(range(10))
    assert steps[:3] == [0, 1, 2]
    for step, record in zip(steps, data["steps"], strict=True):
        assert record["maxima"] == pytest.approx(heat(step).maxima, rel=5e-6)


def test_a_run_that_grows(board):
    with EventFile(board.logs / "live") as file:
        file.probes(probes())
        file.heat(heat(0), 0)

        def data_with(steps):
            def ask():
                status, _, content = board.get("data", run="live", tag=TAG)
                data = json.loads(content)
                return status == 200 and len(data["steps"]) == steps and data

            return board.wait_for(ask)

        first = data_with(1)
        file.heat(heat(1), 1)
        second = data_with(2)
    assert second["maps_key"] != first["maps_key"]
    assert board.get(second["maps"])[2] == heat(0).maps + heat(1).maps
    # What a key stands for is served as long as the steps are the same.
    assert board.get(first["maps"])[2] == heat(0).maps
    status, _, content = board.get(first["maps"].replace(first["maps_key"], "0" * 32))
    assert status == 409
    assert "ask for its data again" in json.loads(content)["error"]


def test_the_maps_of_the_data_given_are_served_though_the_run_has_grown(board):
    with EventFile(board.logs / "growing") as file:
        file.probes(probes())
        file.heat(heat(0), 0)
        board.wait_for(lambda: board.get("data", run="growing", tag=TAG)[0] == 200)
        data = board.json("data", run="growing", tag=TAG)
        file.heat(heat(1), 1)
        file.value(summary_pb2.Summary.Value(tag="behind", simple_value=1), 1, 2.0)
        board.wait_for(lambda: "growing" in runs_with(board, "behind"))
        assert board.get(data["maps"])[2] == heat(0).maps
        assert len(board.json("data", run="growing", tag=TAG)["steps"]) == 2


def test_other_dashboards_are_served_as_ever(board):
    status, _, content = board.raw("GET", "/data/plugin/scalars/scalars?run=long&tag=loss")
    assert status == 200
    assert [value for _, _, value in json.loads(content)] == [step / 2 for step in range(STEPS)]
    status, _, content = board.raw("GET", "/data/plugin/images/images?run=long&tag=picture")
    assert [image["step"] for image in json.loads(content)] == [3]
    listing = json.loads(board.raw("GET", "/data/plugins_listing")[2])
    assert listing["scalars"]["enabled"]
    assert listing["images"]["enabled"]


def test_the_tab_is_listed_and_its_page_served(board):
    listed = json.loads(board.raw("GET", "/data/plugins_listing")[2])["ablation_cam"]
    assert listed["enabled"]
    assert listed["tab_name"] == "Ablation-CAM"
    assert listed["loading_mechanism"]["type"] == "IFRAME"
    assert listed["loading_mechanism"]["module_path"].endswith("/ablation_cam/index.js")
    status, _, page = board.raw("GET", "/data/plugin_entry.html?name=ablation_cam")
    assert status == 200
    assert b"./index.js" in page
    for name, kind in CONTENT_TYPES.items():
        status, headers, content = board.get(name)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert content == read_file(name)
    assert b"render" in board.get("index.js")[2]


UNKNOWN_KEY = "0" * 32


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("data", 400),
        ("data?run=long", 400),
        ("data?tag=ablation_cam", 400),
        ("data?run=long&run=long&tag=ablation_cam", 400),
        ("data?run=&tag=", 404),
        ("data?run=nowhere&tag=ablation_cam", 404),
        ("data?run=long&tag=loss", 404),
        ("data?run=announced&tag=ablation_cam", 404),
        ("data?run=heat+without+probes&tag=ablation_cam", 404),
        ("data?run=long&tag=ablation_cam/heat", 404),
        ("data?run=../long&tag=ablation_cam", 404),
        ("data?run=%ff%fe&tag=%00", 404),
        ("data?run=" + "x" * 20_000 + "&tag=ablation_cam", 404),
        ("maps?run=long&tag=ablation_cam", 400),
        (f"maps?run=long&tag=nothing&key={UNKNOWN_KEY}", 404),
        (f"maps?run=long&tag=ablation_cam&key={UNKNOWN_KEY}", 409),
        ("maps?run=long&tag=ablation_cam&key=%ff", 409),
        ("picture?run=long&tag=ablation_cam&index=0", 400),
        (f"picture?run=long&tag=ablation_cam&index=2&fingerprint={FINGERPRINT}", 404),
        (f"picture?run=long&tag=ablation_cam&index=-1&fingerprint={FINGERPRINT}", 400),
        (f"picture?run=long&tag=ablation_cam&index={'9' * 5000}&fingerprint={FINGERPRINT}", 400),
        (f"picture?run=long&tag=ablation_cam&index=%D9%A1&fingerprint={FINGERPRINT}", 400),
        (f"picture?run=long&tag=ablation_cam&index=1e0&fingerprint={FINGERPRINT}", 400),
        ("picture?run=long&tag=ablation_cam&index=0&fingerprint=other", 404),
        ("picture?run=nowhere&tag=ablation_cam&index=0&fingerprint=other", 404),
        ("plugin.py", 404),
        ("../plugin.py", 404),
        ("static/index.js", 404),
        ("static/maps.js", 404),
        ("page.py", 404),
        ("maps.js/../page.py", 404),
        ("index.js/../plugin.py", 404),
        ("%2e%2e/plugin.py", 404),
        ("index.js%00", 404),
        ("..%2f..%2f..%2f..%2fetc/passwd", 404),
        ("//etc/passwd", 404),
    ],
)
def test_hostile_requests_get_4xx_and_nothing_else(board, request_, status):
    given, headers, content = board.get(request_)
    assert given == status, content
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert len(content) < 30_000
    if headers["Content-Type"] == "application/json":
        assert json.loads(content).keys() == {"error"}
    else:
        assert (headers["Content-Type"], content) == ("text/plain; charset=utf-8", b"Not found")


@pytest.mark.parametrize("route", ["series", "data", "maps", "picture", *CONTENT_TYPES])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "NONSENSE"])
def test_only_get_is_answered(board, method, route):
    status, headers, _ = board.get(route, method=method, **HERE)
    # The web server itself does not know some methods.
    assert status == 405 or (method == "NONSENSE" and status in (400, 501))
    if status == 405:
        assert headers["Allow"] == "GET"


def test_tensorboard_finds_nothing_wrong_with_the_answers(board):
    for route in ("series", *CONTENT_TYPES):
        board.get(route)
        assert board.get(route, headers={"If-None-Match": "*"})[0] == 304
    assert "will become an error" not in board.said
    assert "Traceback" not in board.said


def test_an_empty_log_directory_says_what_to_do(tmp_path):
    (tmp_path / "logs").mkdir()
    with Board(tmp_path / "logs", tmp_path / "said.txt") as board:
        answer = board.json("series")
        listed = json.loads(board.raw("GET", "/data/plugins_listing")[2])["ablation_cam"]
    assert answer["series"] == []
    assert "AblationCAMMonitor" in answer["message"]
    assert str(tmp_path / "logs") in answer["message"]
    assert not listed["enabled"]


@pytest.mark.parametrize(
    "broken",
    [
        "lightning_ablationcam.tensorboard_plugin.plugin",
        "lightning_ablationcam.records.format",
    ],
)
def test_tensorboard_starts_without_a_tab_that_cannot_be_imported(tmp_path, broken):
    with EventFile(tmp_path / "logs") as file:
        file.probes(probes())
        file.heat(heat(), 0)
        file.value(summary_pb2.Summary.Value(tag="loss", simple_value=0.5), 3, 1.0)
    before = f"import sys; sys.modules[{broken!r}] = None; "
    with Board(tmp_path / "logs", tmp_path / "said.txt", before=before) as board:
        board.wait_for(lambda: runs_with(board, "loss") == {"."})
        scalars = board.raw("GET", "/data/plugin/scalars/scalars?run=.&tag=loss")[2]
        assert json.loads(scalars) == [[1.0, 3, 0.5]]
        listing = json.loads(board.raw("GET", "/data/plugins_listing")[2])
        assert board.raw("GET", "/")[0] == 200
        assert board.get("series")[0] == 404
        said = board.said
    assert listing["scalars"]["enabled"]
    assert "ablation_cam" not in listing
    assert "The Ablation-CAM tab cannot be shown; everything else works." in said
    assert broken in said


def test_the_user_says_how_many_steps_tensorboard_keeps(tmp_path):
    with EventFile(tmp_path / "logs") as file:
        file.probes(probes())
        for step in range(20):
            file.heat(heat(step), step)
        file.value(summary_pb2.Summary.Value(tag="end", simple_value=1), 20, 1.0)
    with Board(
        tmp_path / "logs", tmp_path / "said.txt", "--samples_per_plugin=ablation_cam=5"
    ) as board:
        board.wait_for(lambda: "." in runs_with(board, "end"))
        data = board.json("data", run=".", tag=TAG)
    assert len(data["steps"]) == 5
    assert data["steps"][-1]["step"] == 19
    (note,) = data["notes"]
    assert note.startswith("TensorBoard was started with --samples_per_plugin=ablation_cam=5")


def test_all_steps_are_kept_unless_the_user_says_how_many():
    for before, after in (
        ({}, {"ablation_cam": 0}),
        ({"images": 3}, {"images": 3, "ablation_cam": 0}),
        ({"ablation_cam": 7}, {"ablation_cam": 7}),
        (None, {"ablation_cam": 0}),
        ("images=3", "images=3"),
    ):
        flags = Namespace(samples_per_plugin=before)
        Loader().fix_flags(flags)
        assert flags.samples_per_plugin == after
    Loader().fix_flags(None)
    flags = Namespace()
    Loader().fix_flags(flags)
    assert flags.samples_per_plugin == {"ablation_cam": 0}


class Provider:
    """A data provider over lists; notes how many records it was asked for."""

    def __init__(self, **tensors):
        self.tensors = {f"{TAG}/{name}": data for name, data in tensors.items()}
        self.asked = []

    def read_tensors(self, context, *, experiment_id, plugin_name, downsample, run_tag_filter):
        (run,), (tag,) = run_tag_filter.runs, run_tag_filter.tags
        self.asked.append(downsample)
        return {run: {tag: self.tensors[tag][-downsample:]}} if tag in self.tensors else {}


def datum(step, strings, wall_time=1.0):
    return SimpleNamespace(step=step, wall_time=wall_time, numpy=np.array(strings, object))


def read(provider):
    return reading.read_series(reading.Source(provider, None, ""), "run", TAG)


def provided(count, **changes):
    record = encode_heat(heat())
    return Provider(
        probes=[datum(0, encode_probes(probes()))],
        heat=[datum(step, record, **changes) for step in range(count)],
    )


def test_more_than_fits_is_not_read_at_once(monkeypatch):
    size = sum(map(len, encode_heat(heat())))
    monkeypatch.setattr(reading, "MAX_BYTES", 20 * size)
    provider = provided(50)
    series = read(provider)
    assert provider.asked[-1] == 20
    assert len(series.steps) == 20
    assert series.notes == (
        "The series is too large to be read at once: 20 of its steps, which TensorBoard chose at "
        "random, are read.",
    )


def test_a_resumed_run_that_is_too_large_shows_its_new_passes(monkeypatch):
    size = sum(map(len, encode_heat(heat())))
    monkeypatch.setattr(reading, "MAX_BYTES", 20 * size)
    provider = provided(30)
    source = reading.Source(provider, None, "")
    before = reading.read_again(source, "run", TAG, {})
    # From step 10 on once more, and later than all that was read.
    again = [datum(step, encode_heat(heat()), wall_time=9.0) for step in range(10, 20)]
    provider.tensors[f"{TAG}/heat"] = [*provider.tensors[f"{TAG}/heat"][:10], *again]
    after = reading.read_again(source, "run", TAG, before.records).series
    assert [entry.step for entry in after.steps][-10:] == list(range(10, 20))
    assert {entry.wall_time for entry in after.steps if entry.step >= 10} == {9.0}


def test_what_is_read_of_a_random_choice_stays_what_it_is_said_to_be(monkeypatch):
    size = sum(map(len, encode_heat(heat())))
    monkeypatch.setattr(reading, "MAX_BYTES", 20 * size)
    monkeypatch.setattr(reading, "MAX_STEPS", 8)
    monkeypatch.setattr(series_room, "MAX_STEPS", 8)
    source = reading.Source(provided(50), None, "")
    before = reading.read_again(source, "run", TAG, {})
    after = reading.read_again(source, "run", TAG, before.records)
    for kept in (before, after):
        assert not any("every" in note for note in kept.series.notes)
        assert kept.series.total_steps == len(kept.series.steps)
    assert [one.step for one in after.series.steps] == [one.step for one in before.series.steps]


class Limited:
    """The server behind the fast loader; it sends at most so many records at once."""

    def __init__(self, records, most):
        self.records, self.most, self.asked = records, most, []

    def ReadTensors(self, request):  # noqa: N802
        count = request.downsample.num_points
        self.asked.append(count)
        (tag,) = request.run_tag_filter.tags.names
        found = self.records[tag][-count:]
        if len(found) > self.most:
            error = grpc.RpcError()
            error.code = lambda: grpc.StatusCode.RESOURCE_EXHAUSTED
            raise error
        data = SimpleNamespace(
            step=[step for step, _ in found],
            wall_time=[1.0] * len(found),
            value=[tensor_util.make_tensor_proto(strings) for _, strings in found],
        )
        return SimpleNamespace(runs=[SimpleNamespace(tags=[SimpleNamespace(data=data)])])


def limited(most):
    records = {
        f"{TAG}/probes": [(0, encode_probes(probes()))],
        f"{TAG}/heat": [(step, encode_heat(heat())) for step in range(40)],
    }
    return SimpleNamespace(_stub=Limited(records, most))


def test_where_older_records_are_larger_than_the_newest_fewer_are_read():
    provider = limited(most=20)
    series = read(provider)
    assert [entry.step for entry in series.steps] == list(range(24, 40))
    assert provider._stub.asked[-1] == 16
    assert "too large to be read at once: 16 of its steps" in series.notes[0]


def test_a_record_that_cannot_be_sent_is_an_error_with_a_reason():
    with pytest.raises(NothingToShowError, match="cannot send a single record of run 'run'"):
        read(limited(most=0))


def test_a_long_series_is_thinned_and_never_asked_for_with_0():
    provider = provided(MAX_STEPS + 500)
    series = read(provider)
    assert [entry.step for entry in series.steps] == [*range(0, 1500, 2), 1499]
    assert series.total_steps == MAX_STEPS + 500
    assert min(provider.asked) == 1
    assert max(provider.asked) > 10**5


def test_a_record_of_no_time_is_left_out():
    provider = provided(3)
    provider.tensors[f"{TAG}/heat"][1].wall_time = float("nan")
    assert [entry.step for entry in read(provider).steps] == [0, 2]


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), ()])
def test_a_record_of_another_shape_is_left_out(shape):
    provider = provided(2)
    strings = np.array(encode_heat(heat())[: max(1, 2 * len(shape))], object)
    provider.tensors[f"{TAG}/heat"][0].numpy = strings.reshape(shape)
    series = read(provider)
    assert [entry.step for entry in series.steps] == [1]
    assert f"object of shape {shape}; expected a list of strings" in series.notes[0]


def series_of(count):
    return assemble(
        "r", "t", [Stamped(0, 1.0, probes())], [Stamped(i, 1.0 + i, heat()) for i in range(count)]
    )


KEYED = {(0, 1.0, 700): Stamped(0, 1.0, heat()), (1, 2.0, 800): Stamped(1, 2.0, heat())}


def test_few_series_are_kept_in_memory():
    recent = RecentSeries()
    for index in range(MAX_SERIES + 1):
        recent.keep(("", str(index), "t"), Kept(series_of(1), {}))
        recent.get(("", "0", "t"))
    kept = [recent.get(("", str(index), "t")) is not None for index in range(MAX_SERIES + 1)]
    assert kept == [True, False, *[True] * (MAX_SERIES - 1)]


def test_few_bytes_are_kept_in_memory_but_always_the_newest_series():
    recent = RecentSeries(most_bytes=1)
    for name in ("a", "b"):
        recent.keep(("", name, "t"), Kept(series_of(2), KEYED))
    assert recent.get(("", "a", "t")) is None
    assert recent.get(("", "b", "t")) is not None
