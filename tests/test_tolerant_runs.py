"""The monitor's tolerance in real fits, with an engine that says what it was asked for."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam import AblationCAMMonitor, Alarm, ProbeSet, callback, write_report
from lightning_ablationcam.records.format import decode_heat, decode_probes
from lightning_ablationcam.run import explainer, schedule
from lightning_ablationcam.run import passes as passes_module
from tests.lightning import BATCHES, Module, fit, from_yaml, loaders, trainer
from tests.networks import images, seeded
from tests.test_unnoticed import Deep
from tests.tolerances import STATED, Engine


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setattr(explainer, "explain_classes", engine)
    return engine


@pytest.fixture
def slow(monkeypatch):
    """An engine for which all drops take 18 s, on a clock that only it and training move."""
    engine = Engine([0.0], 18.0)
    clock = SimpleNamespace(perf_counter=lambda: engine.clock[0])
    for module in (callback, passes_module, schedule):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(explainer, "explain_classes", engine)
    return engine


class Trains(Callback):
    """Each epoch takes a minute."""

    def __init__(self, engine, seconds=60.0):
        self.engine, self.seconds = engine, seconds

    def on_train_epoch_start(self, trainer, pl_module):
        self.engine.clock[0] += self.seconds


def monitor(**options):
    probes = ProbeSet(images(3, seed=9), labels=[0, 1, 2], names=["ant", "bee", "cat"])
    return AblationCAMMonitor("model.conv", **{"probes": probes, "on_error": "raise", **options})


def scalars(folder, name):
    events = EventAccumulator(str(folder / "run")).Reload()
    if f"ablation_cam/{name}" not in events.Tags()["scalars"]:
        return None
    return [each.value for each in events.Scalars(f"ablation_cam/{name}")]


def said(caplog):
    texts = [record.getMessage() for record in caplog.records]
    return [text for text in texts if "maps are exact" in text or "maps within" in text]


def mean_error(tolerance):
    return STATED * tolerance * np.mean([1, 1 / 2, 1 / 3])


def test_a_tolerance_goes_to_the_engine_and_its_error_everywhere(tmp_path, engine, caplog):
    watching = monitor(tolerance=0.04)
    with caplog.at_level("INFO"):
        fit(tmp_path, watching)
    assert engine.asked == [0.04] * 3
    assert scalars(tmp_path, "error") == pytest.approx([mean_error(0.04)] * 3)
    (line,) = said(caplog)
    assert "engine, " in line
    # The rival's are off by more than those of the class explained.
    expected = "; tolerance 0.04: maps within 3.6 % of exact (99 %), 100 % of the drops computed"
    assert expected in line
    for seen in watching.history.passes:
        np.testing.assert_allclose(seen.measures["error"], [0.03, 0.015, 0.01])
        np.testing.assert_allclose(seen.also["rival"].error, [0.036, 0.018, 0.012])
    assert watching.table()["error"] == pytest.approx([0.03, 0.015, 0.01] * 3)
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0}).Reload()
    (described,) = events.Tensors("ablation_cam/probes")
    assert "error" in [m.name for m in decode_probes(described.tensor_proto.string_val).measures]
    for event in events.Tensors("ablation_cam/heat"):
        record = decode_heat(event.tensor_proto.string_val)
        assert record.measures["error"] == pytest.approx((0.03, 0.015, 0.01))
        assert record.also["rival"].error == pytest.approx((0.036, 0.018, 0.012))


def test_where_nothing_is_explained_no_error_is_stated(tmp_path, engine, caplog):
    engine.nothing = 1
    watching = monitor(tolerance=0.04)
    with caplog.at_level("INFO"):
        fit(tmp_path, watching)
    (line,) = said(caplog)
    assert "maps within 3.6 % of exact" in line
    assert scalars(tmp_path, "error") == pytest.approx([0.0225] * 3)
    assert watching.table()["error"] == [pytest.approx(0.03), pytest.approx(0.015), None] * 3
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0}).Reload()
    for event in events.Tensors("ablation_cam/heat"):
        record = decode_heat(event.tensor_proto.string_val)
        assert record.measures["error"][2] is record.also["rival"].error[2] is None


def test_further_layers_state_their_own_and_the_largest_is_told(tmp_path, engine, caplog):
    probes = monitor().probes
    watching = AblationCAMMonitor(["model.conv", "model.drop2d"], probes, tolerance=0.04)
    with caplog.at_level("INFO"):
        fit(tmp_path, watching, max_epochs=1)
    assert "maps within 3.6 % of exact" in said(caplog)[0]
    (seen,) = watching.history.passes
    np.testing.assert_allclose(seen.also["model.drop2d"].error, [0.024, 0.012, 0.008])
    assert scalars(tmp_path, "error") == pytest.approx([mean_error(0.04)])


def test_without_one_nothing_is_new(tmp_path, engine, caplog):
    watching = monitor()
    with caplog.at_level("INFO"):
        fit(tmp_path, watching)
    # The engine states an error of 0, as it does of exact results.
    assert not watching.result.error.any()
    assert engine.asked == [None] * 3
    assert scalars(tmp_path, "error") is None
    assert said(caplog) == []
    assert "error" not in watching.table()
    assert all("error" not in seen.measures for seen in watching.history.passes)
    assert all(seen.also["rival"].error is None for seen in watching.history.passes)
    assert watching.state_dict()["budget"] is None
    assert (
        '"error"' not in write_report(watching, tmp_path / "r.html").read_text().split("steps")[0]
    )


def test_callbacks_find_the_worst_error_before_the_first(tmp_path, engine):
    class Metrics(Callback):
        found = ()

        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                self.found = (*self.found, float(trainer.callback_metrics["ablation_cam/error"]))

    def breaks(module, inputs):
        if module.trainer.current_epoch == 0:
            raise RuntimeError("injected")
        return module(inputs)

    watching, metrics = monitor(tolerance=0.04, forward=breaks, on_error="warn"), Metrics()
    stopping = EarlyStopping("ablation_cam/error", patience=9)
    with pytest.warns(UserWarning, match="injected"):
        fit(tmp_path, watching, metrics, stopping)
    assert metrics.found == pytest.approx((1.0, mean_error(0.04), mean_error(0.04)))


def test_an_alarm_on_the_error_rings(tmp_path, engine):
    watching = monitor(tolerance=0.04, alarms=[Alarm("error", above=0.02, of="any")])
    with pytest.warns(UserWarning, match="alarm 'error'.*ant"):
        fit(tmp_path, watching)
    assert watching.table()["alarm_error"] == [True, False, False] * 3


def test_auto_climbs_to_what_the_budget_affords_and_says_so(tmp_path, slow, caplog):
    watching = monitor(tolerance="auto", max_overhead=0.12)
    with caplog.at_level("INFO"):
        fit(tmp_path, Trains(slow), watching, max_epochs=6)
    # 7 s may be spent in a minute. At 0.1 a pass takes 3 s, and at 0.05 it is thought to take 8.5,
    # which the first two minutes pay for, but takes 6. At 0.02 it would be 15, since the share of
    # channels has doubled for half the tolerance. What is saved goes to the last, which is exact.
    assert slow.asked == [0.1] + [0.05] * 4 + [None]
    lines = said(caplog)
    assert len(lines) == 3
    assert "tolerance 0.1: maps within 9 % of exact (99 %), 17 % of the drops" in lines[0]
    assert lines[1:] == [
        f"ablation_cam: from step {2 * BATCHES} on tolerance 0.05: maps within 4.5 % of exact "
        "(99 %), 33 % of the drops computed, 6.0 s a pass",
        f"ablation_cam: from step {6 * BATCHES} on no tolerance: maps are exact, 18.0 s a pass",
    ]
    expected = [mean_error(tolerance or 0) for tolerance in slow.asked]
    assert scalars(tmp_path, "error") == pytest.approx(expected)
    assert sum(scalars(tmp_path, "seconds")) / slow.clock[0] <= 0.12


def test_passes_are_skipped_only_where_the_coarsest_is_too_dear(tmp_path, slow, caplog):
    watching = monitor(tolerance="auto", max_overhead=0.03)
    with caplog.at_level("INFO"):
        fit(tmp_path, Trains(slow), watching, max_epochs=8)
    # Of 60 s 1.8 may be spent, and a pass takes 3, and so much is kept for the last.
    assert slow.asked == [0.1] * 4
    assert [seen.epoch for seen in watching.history.passes] == [0, 4, 6, 7]
    (told,) = [r.getMessage() for r in caplog.records if "skipping passes" in r.getMessage()]
    assert "a pass takes 3 s; skipping passes that would take more than max_overhead=0.03" in told
    assert len(said(caplog)) == 1


def test_a_fit_that_ends_unannounced_makes_up_with_what_is_left(tmp_path, slow):
    class Stops(Callback):
        def on_validation_end(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 3

    watching = monitor(tolerance="auto", max_overhead=0.12, every_n_validations=3)
    fit(tmp_path, Trains(slow), watching, Stops(), max_epochs=20, min_epochs=1)
    # Epochs 0 and 3 were wanted, and so none was missed.
    assert slow.asked == [0.1, 0.05]
    watching = monitor(tolerance="auto", max_overhead=0.12, every_n_validations=2)
    slow.asked.clear()
    fit(tmp_path / "b", Trains(slow), watching, Stops(), max_epochs=20, min_epochs=1)
    assert [seen.epoch for seen in watching.history.passes] == [0, 2, 3]
    # 30 s may be spent in four minutes, and those before have taken 9 of them.
    assert slow.asked == [0.1, 0.05, None]


def test_a_resumed_fit_goes_on_at_the_same_step(tmp_path, slow):
    def run(epochs, checkpoint=None, tolerance="auto"):
        slow.asked.clear()
        watching = monitor(tolerance=tolerance, max_overhead=0.12)
        keep = ModelCheckpoint(
            tmp_path, filename="{epoch}", save_top_k=-1, every_n_epochs=1, monitor=None
        )
        runner = trainer(
            tmp_path / f"{epochs}",
            Trains(slow),
            watching,
            keep,
            max_epochs=epochs,
            enable_checkpointing=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runner.fit(Module(), *loaders(), ckpt_path=checkpoint)
        return watching

    run(8)
    whole = list(slow.asked)
    assert whole[:7] == [0.1, 0.05, 0.05, 0.05, 0.05, 0.02, 0.01]
    slow.clock[0] += 1e5  # Some time passes between the two.
    watching = run(8, tmp_path / "epoch=4.ckpt")
    assert [seen.epoch for seen in watching.history.passes] == list(range(8))
    assert slow.asked == whole[5:]
    # Another tolerance, or none, goes on with the history alone.
    for tolerance in (0.02, None):
        watching = run(6, tmp_path / "epoch=4.ckpt", tolerance)
        assert [seen.epoch for seen in watching.history.passes] == list(range(6))
        assert slow.asked == [tolerance]
        assert watching.table()["error"][0] == pytest.approx(0.075)


def test_a_failed_pass_changes_nothing(tmp_path, slow, monkeypatch):
    def breaks(module, inputs):
        if module.trainer.current_epoch == 2:
            slow.clock[0] += 1.0
            raise RuntimeError("injected")
        return module(inputs)

    watching = monitor(tolerance="auto", max_overhead=0.12, forward=breaks, on_error="warn")
    with pytest.warns(UserWarning, match="injected"):
        fit(tmp_path, Trains(slow), watching, max_epochs=6)
    # It has cost what it has, and what others cost is as known as before.
    assert slow.asked[:5] == [0.1, 0.05, 0.05, 0.05, 0.05]
    assert len(slow.asked) == 6
    assert [seen.epoch for seen in watching.history.passes] == [0, 1, 3, 4, 5]


def test_a_pass_that_fails_once_it_has_explained_teaches_nothing(tmp_path, slow, monkeypatch):
    add = passes_module.Passes.add

    def breaks(passes, result, step, epoch, *others, **more):
        if epoch >= 2:
            raise RuntimeError("injected")
        add(passes, result, step, epoch, *others, **more)

    monkeypatch.setattr(passes_module.Passes, "add", breaks)
    watching = monitor(tolerance="auto", max_overhead=0.12, on_error="warn")
    with pytest.warns(UserWarning, match="injected"):
        fit(tmp_path, Trains(slow), watching, max_epochs=4)
    assert slow.asked[:3] == [0.1, 0.05, 0.05]
    taken = watching.state_dict()["budget"]["ladder"]["taken"]
    assert [each and round(each["share"], 1) for each in taken] == [0.2, 0.3, None, None, None]


class Quiet(Deep):
    """What it says of an image does not depend on the others: a pass may run each alone."""

    def write(self, mean):
        return 0.0


def test_the_real_engine_keeps_to_it(tmp_path, monkeypatch):
    # Otherwise a network as small as this is computed as a whole.
    monkeypatch.setattr("lightning_ablationcam.engine.drops.WORK_WORTH_PREDICTING", 0.0)
    module = Module(seeded(Quiet()).train())
    monitors = [
        AblationCAMMonitor("model.first", monitor().probes, tag=tag, tolerance=tolerance)
        for tag, tolerance in (("near", 0.4), ("whole", None))
    ]
    fit(tmp_path, *monitors, module=module, max_epochs=2)
    near, whole = (watching.history.passes for watching in monitors)
    some = 0
    for one, other in zip(near, whole, strict=True):
        error = np.abs(one.heatmaps - other.heatmaps).max(axis=(1, 2))
        share = error / other.heatmaps.max(axis=(1, 2))
        some += int((share > 1e-4).sum())
        assert (share <= one.measures["error"] + 1e-5).all()
        assert (one.measures["error"] <= 0.4).all()
    assert some  # They are not exact by chance.
    assert not monitors[0].result.computed.all()


def test_a_validation_by_itself_takes_the_first_step(tmp_path, engine):
    watching = monitor(tolerance="auto", max_overhead=0.1)
    trainer(tmp_path, watching).validate(Module(), loaders()[1], verbose=False)
    assert engine.asked == [0.1]
    assert len(watching.history.passes) == 1


def test_a_second_fit_says_nothing_anew(tmp_path, engine, caplog):
    watching = monitor(tolerance=0.04)
    module, runner = Module(), trainer(tmp_path, watching)
    with caplog.at_level("INFO"):
        runner.fit(module, *loaders())
        runner.fit_loop.max_epochs = 5
        runner.fit(module, *loaders())
    assert len(engine.asked) > 3
    assert len(said(caplog)) == 1


CONFIG = """
trainer:
  logger: false
  callbacks:
    - class_path: lightning_ablationcam.AblationCAMMonitor
      init_args:
        probes: 4
        max_overhead: 0.05
        tolerance: {}
"""


@pytest.mark.parametrize(
    ("written", "expected"), [("auto", "auto"), ("0.02", 0.02), ("null", None)]
)
def test_a_configuration_may_name_it(tmp_path, monkeypatch, written, expected):
    watching = from_yaml(tmp_path, monkeypatch, CONFIG.format(written))
    assert watching.tolerance == expected
    assert type(watching.tolerance) is type(expected)


def test_the_report_of_a_monitor_states_the_error(tmp_path, engine):
    watching = monitor(tolerance=0.04)
    fit(tmp_path, watching, max_epochs=2)
    text = write_report(watching, tmp_path / "report.html").read_text()
    (found,) = [line for line in text.splitlines() if '"maps_key"' in line]
    start = found.index('{"')
    data = json.JSONDecoder().raw_decode(found[start:])[0]["series"][0]
    assert [axis["name"] for axis in data["measures"]].count("error") == 1
    for step in data["steps"]:
        assert step["error"] == pytest.approx([0.03, 0.015, 0.01])
        assert step["also"]["rival"]["error"] == pytest.approx([0.036, 0.018, 0.012])
