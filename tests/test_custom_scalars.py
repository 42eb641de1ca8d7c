"""The layout of TensorBoard's Custom Scalars, as TensorBoard reads it."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from torch.utils.tensorboard import SummaryWriter

from lightning_ablationcam import Alarm, ProbeSet
from lightning_ablationcam.measures.registry import MEASURES
from lightning_ablationcam.outputs import custom_scalars
from lightning_ablationcam.outputs.custom_scalars import (
    UnreadableError,
    find_layout,
    layout_of,
    merged,
)
from lightning_ablationcam.outputs.tensorboard import tensorboard
from tests.lightning import fit
from tests.networks import images
from tests.test_callback import monitor

AXES = [measure.axis for measure in MEASURES]
MINE = {"Losses": {"both": ["Multiline", ["train_loss", "val_loss"]]}}


def shown(folder):
    """What TensorBoard's own plugin makes of a log directory: the charts of each category."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    plugin = CustomScalarsPlugin(TBContext(logdir=str(folder), data_provider=provider))
    read = plugin.layout_impl(RequestContext(), "")
    found = json.loads(read) if isinstance(read, str) else read
    return {
        category["title"]: {c["title"]: c["multiline"]["tag"] for c in category["chart"]}
        for category in found.get("category", [])
    }


def test_each_measure_stands_in_one_chart_with_those_of_its_unit():
    layout = layout_of("a.b", AXES, ["alarm_drift"])
    titles = {c.title: [chart.title for chart in c.chart] for c in layout.category}
    assert titles == {
        "a.b: Change": ["Drift, Drift from first", "Shift (px)"],
        "a.b: Focus": ["Concentration, Border heat, Heat in mask, Pointing game"],
        "a.b: Evidence": ["Balance, Error"],
        "a.b: Faithfulness": [
            "Average drop, Increase in confidence, Average gain",
            "Insertion, Deletion",
        ],
        "a.b: Pass": ["Alarms", "Class score"],
    }
    tags = [tag for c in layout.category for chart in c.chart for tag in chart.multiline.tag]
    names = [*(axis.name for axis in AXES), "alarm_drift", "score"]
    for name in names:
        assert len([tag for tag in tags if re.match(tag, f"a.b/{name}")]) == 1
    assert not any(re.match(tag, "axb/drift") for tag in tags)


def test_a_fit_lays_out_its_scalars_once(tmp_path):
    probes = ProbeSet(images(3, seed=9), [0, 1, 2], masks=images(3)[:, 0] > 0)
    watching = monitor(probes=probes, alarms=[Alarm("drift", above=0.9)], measures=["deletion"])
    fit(tmp_path, watching)
    found = shown(tmp_path)
    assert list(found) == [
        f"ablation_cam: {name}" for name in ("Change", "Focus", "Evidence", "Faithfulness", "Pass")
    ]
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0}).Reload()
    assert len(events.Tensors("custom_scalars__config__")) == 1
    scalars = events.Tags()["scalars"]
    tags = [tag for charts in found.values() for group in charts.values() for tag in group]
    for tag in tags:
        assert len([name for name in scalars if re.match(tag, name)]) == 1, tag
    mine = {name for name in scalars if name.startswith("ablation_cam/")}
    assert {name for name in mine if not any(re.match(tag, name) for tag in tags)} == {
        "ablation_cam/seconds"
    }


def written(folder, tags=("cam",), before=None, after=None):
    logger = TensorBoardLogger(folder, name=None, version="run")
    if before is not None:
        logger.experiment.add_custom_scalars(before)
    for tag in tags:
        board = tensorboard(logger, tag)
        board.write_layout(AXES[:2], [], 3)
        board.flush()
    if after is not None:
        logger.experiment.add_custom_scalars(after)
    logger.experiment.close()
    return shown(folder)


def test_a_layout_of_the_users_stays_before_ours(tmp_path):
    found = written(tmp_path, before=MINE)
    assert list(found) == ["Losses", "cam: Change", "cam: Pass"]
    assert found["Losses"] == {"both": ["train_loss", "val_loss"]}


def test_one_that_the_user_writes_later_wins(tmp_path):
    assert list(written(tmp_path, after=MINE)) == ["Losses"]


def test_two_monitors_and_two_runs_stand_beside_each_other(tmp_path):
    expected = ["a: Change", "a: Pass", "b: Change", "b: Pass"]
    assert list(written(tmp_path, ("a", "b"))) == expected
    # A resumed run writes another file, and nothing that is there already.
    assert list(written(tmp_path, ("a", "b"))) == expected
    events = sorted((tmp_path / "run").glob("events*"))
    assert len(events) == 2
    assert b"custom_scalars" in events[0].read_bytes()
    assert b"custom_scalars" not in events[1].read_bytes()
    # A user's that comes last is what counts.
    assert list(written(tmp_path, ("a", "b"), before=MINE)) == ["Losses", *expected]


def test_where_a_layout_cannot_be_looked_for_none_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(custom_scalars, "MAX_BYTES", 10)
    monkeypatch.setattr(find_layout, "__defaults__", (10,))
    assert list(written(tmp_path, before=MINE)) == ["Losses"]


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UnreadableError, match="nowhere"):
        find_layout(tmp_path / "nowhere")
    assert find_layout(tmp_path) is None
    writer = SummaryWriter(tmp_path)
    writer.add_custom_scalars(MINE)
    writer.add_scalar("custom_scalars__config__ in a tag", 1, 1)
    writer.close()
    (path,) = tmp_path.glob("events*")
    whole = path.read_bytes()
    assert [c.title for c in find_layout(tmp_path).category] == ["Losses"]
    with pytest.raises(UnreadableError, match=f"have {len(whole)} bytes, and at most 5 are read"):
        find_layout(tmp_path, 5)
    path.write_bytes(whole[:-3])  # Of a record that is being written nothing is known yet.
    assert [c.title for c in find_layout(tmp_path).category] == ["Losses"]
    place = whole.index(b"Losses")
    path.write_bytes(whole[: place - 2] + b"\xff\xff" + whole[place:])
    with pytest.raises(UnreadableError, match="damaged"):
        find_layout(tmp_path)


def test_ours_takes_the_place_of_ours():
    first, second = layout_of("a", AXES[:1], []), layout_of("a", AXES[:3], [])
    assert merged(None, first) is first
    assert merged(first, second) == second
    other = layout_of("b", AXES[:1], [])
    assert merged(merged(first, other), second) == merged(second, other)


def test_other_backends_have_no_layout(tmp_path):
    from lightning_ablationcam.outputs.backend import TakesLayouts
    from lightning_ablationcam.outputs.folder import Folder

    assert not isinstance(Folder(tmp_path, "cam"), TakesLayouts)
    assert not isinstance(SimpleNamespace(), TakesLayouts)


def test_a_prefix_of_the_logger_is_a_part_of_the_tags(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="run", prefix="exp.1")
    watching = monitor(probes=ProbeSet(images(3, seed=9), [0, 1, 2]))
    fit(tmp_path, watching, logger=logger)
    scalars = EventAccumulator(str(tmp_path / "run")).Reload().Tags()["scalars"]
    assert "exp.1-ablation_cam/drift" in scalars
    (change,) = (v for name, v in shown(tmp_path).items() if name.endswith("Change"))
    assert [re.match(tag, "exp.1-ablation_cam/shift") is None for tag in change["Shift (px)"]] == [
        False
    ]


def test_where_no_layout_is_written_it_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("lightning_ablationcam.outputs.tensorboard.find_layout", unreadable)
    watching = monitor(probes=ProbeSet(images(3, seed=9), [0, 1, 2]))
    with caplog.at_level("INFO"):
        fit(tmp_path, watching)
    assert "the Custom Scalars are left as they are: too large" in caplog.text
    assert shown(tmp_path) == {}


def unreadable(directory):
    raise UnreadableError("too large")
