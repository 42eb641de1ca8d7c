"""Measures and alarms in real fits: what callbacks monitor, what stops one, what a fault costs."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from lightning_ablationcam import AblationCAMMonitor, Alarm, ProbeSet, callback, faithfulness
from lightning_ablationcam.measures.registry import FORWARDS, MEASURES
from lightning_ablationcam.options import Options
from lightning_ablationcam.records.format import decode_heat, decode_probes
from lightning_ablationcam.run import explainer, schedule
from lightning_ablationcam.run import passes as passes_module
from lightning_ablationcam.run.checkpoint import StateError, checked_state
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.passes import Passes
from tests.lightning import BATCHES, Module, fit, from_yaml, loaders, trainer
from tests.networks import images
from tests.test_callback import monitor, probe_set, steps

ALWAYS = Alarm("concentration", above=0.1)
"""Heat is never spread evenly."""


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Metrics(Callback):
    """What callbacks find at each validation."""

    def __init__(self):
        self.found = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            values = trainer.callback_metrics.items()
            self.found.append({k.removeprefix("ablation_cam/"): v.item() for k, v in values})


def logged(folder):
    events = EventAccumulator(str(folder / "run")).Reload()
    return {
        tag.removeprefix("ablation_cam/"): [(e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag.startswith("ablation_cam/")
    }


def records(folder, kind, decode):
    events = EventAccumulator(str(folder / "run"), size_guidance={"tensors": 0}).Reload()
    found = events.Tensors(f"ablation_cam/{kind}")
    return [decode(event.tensor_proto.string_val) for event in found]


def masked(**changes):
    inside = torch.zeros(3, *images(1).shape[2:])
    inside[:, :4] = 1
    return probe_set(masks=inside, **changes)


# ---- what is monitored ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["drift", "average_drop", "alarm_concentration", "mask_heat"])
def test_early_stopping_and_checkpoints_monitor_it(tmp_path, name):
    watching = monitor(probes=masked(), measures=["average_drop"], alarms=[ALWAYS])
    metrics, key = Metrics(), f"ablation_cam/{name}"
    keep = ModelCheckpoint(tmp_path / "kept", monitor=key, save_top_k=1, mode="max")
    # Stops at the first value, whatever it is, and the first may be the neutral one of drift.
    stop = EarlyStopping(key, stopping_threshold=-1.0, mode="max", strict=True)
    fit(tmp_path, watching, metrics, keep, stop, enable_checkpointing=True)
    assert steps(watching) == [BATCHES]
    assert keep.best_model_score.item() == pytest.approx(metrics.found[0][name])
    if name == "drift" or name == "alarm_concentration":
        assert metrics.found[0][name] == 1.0
    else:
        expected = watching.history.passes[0].measures[name].mean()
        assert metrics.found[0][name] == pytest.approx(expected, rel=1e-5)


def test_all_means_are_logged_and_what_is_not_measured_keeps_its_value(tmp_path):
    watching, metrics = (
        monitor(probes=masked(), measures=FORWARDS, measure_every_n_passes=2),
        Metrics(),
    )
    fit(tmp_path, watching, metrics, max_epochs=4)
    passes, shown = watching.history.passes, logged(tmp_path)
    taken = [set(seen.measures) & set(FORWARDS) for seen in passes]
    assert taken == [set(FORWARDS), set(), set(FORWARDS), set(FORWARDS)]  # The last is known.
    for name in {name for seen in passes for name in seen.measures}:
        expected = None
        for index, seen in enumerate(passes):
            if name in seen.measures:
                expected = np.nanmean(seen.measures[name])
            if expected is not None:
                value = metrics.found[index][name]
                assert value == pytest.approx(expected, rel=1e-5, abs=1e-7), name
                assert dict(shown[name])[seen.step - 1] == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert [step + 1 for step, _ in shown["drift"]] == steps(watching)[1:]
    assert metrics.found[0]["shift"] == pytest.approx(np.hypot(8, 8))
    assert metrics.found[0]["drift_from_first"] == 1.0


def test_faithfulness_is_that_of_the_function(tmp_path):
    watching, found = monitor(measures=FORWARDS), []

    class Alone(Callback):
        def on_validation_end(self, trainer, pl_module):
            result = watching.result
            if result is not None and not trainer.sanity_checking:
                maps, classes = result.heatmaps, result.classes
                found.append(faithfulness(pl_module, watching.probes.inputs, maps, classes))

    fit(tmp_path, watching, Alone(), max_epochs=2)
    for seen, alone in zip(watching.history.passes, found, strict=True):
        for name in FORWARDS:
            np.testing.assert_allclose(seen.measures[name], getattr(alone, name), atol=1e-6)
    assert len({seen.measures["deletion"][0] for seen in watching.history.passes}) == 2


def test_masks_are_measured_only_where_there_are_any(tmp_path):
    plain, metrics = monitor(), Metrics()
    fit(tmp_path / "plain", plain, metrics, max_epochs=1)
    with_masks, more = monitor(probes=masked()), Metrics()
    fit(tmp_path / "masked", with_masks, more, max_epochs=1)
    extra = {"mask_heat", "pointing_game"}
    assert more.found[0].keys() - metrics.found[0].keys() == extra
    assert logged(tmp_path / "masked").keys() - logged(tmp_path / "plain").keys() == extra
    assert with_masks.table().keys() - plain.table().keys() == extra
    (described,) = records(tmp_path / "plain", "probes", decode_probes)
    assert not extra & {axis.name for axis in described.measures}
    (heat,) = records(tmp_path / "masked", "heat", decode_heat)
    assert extra < heat.measures.keys()


def test_a_failed_first_pass_leaves_neutral_values(tmp_path):
    def broken(module, inputs):
        raise RuntimeError("injected")

    watching, metrics = (
        monitor(
            probes=masked(),
            forward=broken,
            on_error="warn",
            measures=["average_drop"],
            alarms=[ALWAYS],
        ),
        Metrics(),
    )
    key = "ablation_cam/mask_heat"
    with pytest.warns(UserWarning, match="no heatmaps this time"):
        fit(tmp_path, watching, metrics, EarlyStopping(key, patience=9), max_epochs=2)
    for found in metrics.found:
        assert found["average_drop"] == 1.0
        assert found["mask_heat"] == found["alarm_concentration"] == 0.0
        assert found["border_heat"] == pytest.approx(0.36)
    assert set(logged(tmp_path)) == {"seconds"}


# ---- alarms --------------------------------------------------------------------------------------


def test_an_alarm_warns_once_names_the_probes_and_is_recorded(tmp_path):
    alarm = Alarm("concentration", above=0.1, of="any", for_passes=2, name="hot")
    watching = monitor(alarms=[alarm])
    with pytest.warns(UserWarning, match="alarm 'hot'") as told:
        fit(tmp_path, watching)
    (text,) = [str(w.message) for w in told if "alarm" in str(w.message)]
    assert "concentration of 3 probes is above 0.1, for 2 passes in a row: " in text
    assert all(name in text for name in ("ant", "bee", "cat"))
    assert [value for _, value in logged(tmp_path)["alarm_hot"]] == [0, 1, 1]
    assert [list(seen.alarms) for seen in watching.history.passes] == [[], ["hot"], ["hot"]]
    (described,) = records(tmp_path, "probes", decode_probes)
    (rule,) = described.alarms
    assert vars(rule) == {
        "name": "hot",
        "measure": "concentration",
        "above": 0.1,
        "below": None,
        "for_passes": 2,
        "of": "any",
    }
    assert [heat.alarms for heat in records(tmp_path, "heat", decode_heat)] == [
        {},
        {"hot": (0, 1, 2)},
        {"hot": (0, 1, 2)},
    ]


@pytest.mark.filterwarnings("ignore:.*alarm")
def test_an_alarm_that_stops_ends_the_fit(tmp_path):
    watching = monitor(alarms=[Alarm("concentration", above=0.1, for_passes=2, stop=True)])
    runner = fit(tmp_path, watching, max_epochs=9)
    assert steps(watching) == [BATCHES, 2 * BATCHES]
    assert runner.should_stop
    assert runner.current_epoch == 2


def asked_to_end(told):
    return [str(w.message) for w in told if "asks the fit to end (stop=True)" in str(w.message)]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_only_a_pass_that_took_the_measure_ends_a_fit_and_never_silently(tmp_path, monkeypatch):
    def increase(*arguments, **options):
        return {"increase": torch.full((3,), falls["to"], dtype=torch.float64)}

    monkeypatch.setattr(explainer, "measure_faithfulness", increase)
    falls = {"to": 0.0}
    arguments = {
        "alarms": [Alarm("increase", below=0.5, stop=True)],
        "measure_every_n_passes": 3,
    }
    module, path = Module(), tmp_path / "stopped.ckpt"
    watching = monitor(**arguments)
    with pytest.warns(UserWarning, match="alarm 'increase'") as told:
        runner = fit(tmp_path / "a", watching, module=module, max_epochs=9)
    assert asked_to_end(told) == [
        "ablation_cam: alarm 'increase' asks the fit to end (stop=True): mean increase is 0, "
        "below 0.5"
    ]
    assert runner.current_epoch == 1
    runner.save_checkpoint(path)

    again = monitor(**arguments)
    resumed = trainer(tmp_path / "b", again, max_epochs=9)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*sampler has shuffling enabled")
        with pytest.warns(UserWarning, match="alarm 'increase'") as told:
            resumed.fit(Module(), *loaders(), ckpt_path=path)
    assert len(asked_to_end(told)) == 1
    took = ["increase" in seen.measures for seen in again.history.passes]
    assert took == [True, False, False, True]
    assert resumed.current_epoch == 4

    # The same Trainer goes on, twice: it is told again, and by then all is well.
    runner.fit_loop.max_epochs = 20
    for falls["to"], epochs in ((0.0, 4), (1.0, 20)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            runner.fit(module, *loaders())
        assert len(asked_to_end(told)) == (epochs < 20)
        assert len([w for w in told if "alarm 'increase': mean" in str(w.message)]) == (epochs < 20)
        assert runner.current_epoch == epochs


def test_no_end_is_told_where_no_fit_ends(tmp_path):
    alarm = Alarm("concentration", above=0.1, stop=True)
    with pytest.warns(UserWarning, match="alarm 'concentration'") as told:
        runner = fit(tmp_path / "a", monitor(alarms=[alarm]), max_epochs=5, min_epochs=3)
    assert len(asked_to_end(told)) == 1  # It is no promise, and made once.
    assert runner.current_epoch == 3
    with pytest.warns(UserWarning, match="alarm 'concentration'") as told:
        trainer(tmp_path / "b", monitor(alarms=[alarm])).validate(Module(), loaders()[1])
    assert not asked_to_end(told)

    class Ends(Callback):
        def on_validation_end(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 1

    late = Alarm("concentration", above=0.1, stop=True, for_passes=2)
    watching = monitor(alarms=[late], every_n_validations=5)
    with pytest.warns(UserWarning, match="alarm 'concentration'") as told:
        fit(tmp_path / "c", Ends(), watching, max_epochs=9)
    assert steps(watching) == [BATCHES, 2 * BATCHES]  # The second to catch up.
    assert not asked_to_end(told)


@pytest.mark.filterwarnings("ignore:.*alarm")
def test_a_pass_that_failed_ends_no_fit(tmp_path):
    def fails(module, inputs):
        if module.current_epoch % 2:
            raise RuntimeError("injected")
        return module.model(inputs)

    alarm = Alarm("concentration", above=0.1, stop=True)
    watching = monitor(alarms=[alarm], forward=fails, on_error="warn")
    module = Module()
    runner = fit(tmp_path, watching, module=module, max_epochs=4)
    assert runner.current_epoch == 1
    runner.fit_loop.max_epochs = 9
    with pytest.warns(UserWarning, match="no heatmaps this time"):
        runner.fit(module, *loaders())
    assert runner.current_epoch == 3


@pytest.mark.filterwarnings("ignore:.*alarm")
def test_limits_of_other_libraries_are_recorded(tmp_path):
    alarm = Alarm("concentration", above=np.float32(0.2), for_passes=np.int64(1))
    fit(tmp_path, monitor(alarms=[alarm]), max_epochs=1)
    (described,) = records(tmp_path, "probes", decode_probes)
    assert described.alarms[0].above == pytest.approx(0.2)
    assert len(records(tmp_path, "heat", decode_heat)) == 1


def test_an_alarm_takes_the_measure_that_it_needs(tmp_path):
    watching = monitor(alarms=[Alarm("deletion", above=0.999, for_passes=9)])
    fit(tmp_path, watching, max_epochs=1)
    assert "deletion" in watching.history.passes[0].measures
    assert [value for _, value in logged(tmp_path)["alarm_deletion"]] == [0]


def test_an_alarm_on_masks_needs_masks(tmp_path):
    alarms = [Alarm("mask_heat", below=0.5)]
    text = "alarms: 'mask_heat' needs probes with masks"
    with pytest.raises(ValueError, match=text):
        monitor(alarms=alarms)
    built = monitor(probes=lambda trainer, module: probe_set(), alarms=alarms, on_error="warn")
    with pytest.raises(ValueError, match=text):
        fit(tmp_path / "a", built)
    assert monitor(probes=masked(), alarms=alarms)
    captured = monitor(probes=3, alarms=alarms)
    with pytest.warns(UserWarning, match=f"{text}.*They are left out") as told:
        metrics = Metrics()
        fit(tmp_path / "b", captured, metrics)
    assert len([w for w in told if "masks" in str(w.message)]) == 1
    assert len(steps(captured)) == 3
    # Callbacks find what they monitor; all else would take it for a heat that is never too low.
    assert metrics.found[-1]["alarm_mask_heat"] == 0
    assert "alarm_mask_heat" not in logged(tmp_path / "b")
    assert "alarm_mask_heat" not in captured.table()
    assert "alarm_mask_heat" in monitor(probes=masked(), alarms=alarms).table()


def test_masks_that_are_all_empty_are_told_of(tmp_path):
    empty = torch.zeros(3, *images(1).shape[2:])
    with pytest.warns(UserWarning, match="the masks of all 3 probes are empty") as told:
        fit(tmp_path, monitor(probes=probe_set(masks=empty)), max_epochs=2)
    assert len([w for w in told if "masks" in str(w.message)]) == 1
    one = monitor(probes=probe_set(masks=empty + torch.eye(3)[:, :1, None]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit(tmp_path / "one", one, max_epochs=1)
    assert not [w for w in told if "masks" in str(w.message)]


@pytest.mark.filterwarnings("ignore:.*alarm")
def test_a_validation_by_itself_warns_and_leaves_the_fit_as_it_was(tmp_path):
    alarm = Alarm("concentration", above=0.1, for_passes=2, stop=True)
    once = Alarm("concentration", above=0.1, name="once")
    watching, module = monitor(alarms=[alarm, once]), Module()
    runner = trainer(tmp_path, watching, max_epochs=1)
    runner.fit(module, *loaders())
    before = watching.state_dict()
    with pytest.warns(UserWarning, match="alarm 'once'"):
        runner.validate(module, loaders()[1], verbose=False)
    runner.validate(module, loaders()[1], verbose=False)
    after = watching.state_dict()
    assert not runner.should_stop
    assert after["made"] == before["made"] == 1
    for name, state in before["alarms"].items():
        assert torch.equal(after["alarms"][name]["in_a_row"], state["in_a_row"])
    assert [seen.step for seen in watching.history.passes] == [BATCHES]
    assert runner.callback_metrics["ablation_cam/alarm_once"] == 1
    assert runner.callback_metrics["ablation_cam/alarm_concentration"] == 0


@pytest.mark.filterwarnings("ignore:.*alarm")
def test_a_validation_by_itself_begins_with_the_alarms_of_the_fit(tmp_path):
    watching, module = monitor(alarms=[Alarm("concentration", above=0.1, for_passes=3)]), Module()
    runner = trainer(tmp_path, watching, max_epochs=2)
    runner.fit(module, *loaders())
    key = "ablation_cam/alarm_concentration"
    # Of the same step, and so in the place of the fit's last pass: still the second.
    assert runner.validate(module, loaders()[1], verbose=False)[0][key] == 0
    runner.fit_loop.max_epochs = 3
    runner.fit(module, *loaders())
    assert runner.callback_metrics[key] == 1
    for _ in range(2):
        with pytest.warns(UserWarning, match="for 3 passes in a row"):
            assert runner.validate(module, loaders()[1], verbose=False)[0][key] == 1
    model, module.model = module.model, Module().model
    with torch.no_grad():
        module.model.conv.weight.zero_(), module.model.conv.bias.fill_(1.0)
    assert runner.validate(module, loaders()[1], verbose=False)[0][key] == 0
    module.model = model
    state = watching.state_dict()["alarms"]["concentration"]
    assert state["in_a_row"].tolist() == [3] * 3
    # Another Trainer's step is another pass.
    elsewhere = trainer(tmp_path / "else", watching)
    with pytest.warns(UserWarning, match="for 3 passes in a row"):
        assert elsewhere.validate(module, loaders()[1], verbose=False)[0][key] == 1
    assert watching.state_dict()["alarms"]["concentration"]["in_a_row"].tolist() == [3] * 3


@pytest.mark.filterwarnings("ignore:.*alarm")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_resumed_fit_counts_on(tmp_path):
    def run(epochs, alarms, checkpoint=None, **options):
        torch.manual_seed(epochs)
        watching = monitor(alarms=alarms, **options)
        keep = ModelCheckpoint(tmp_path / "kept", filename=f"{epochs}")
        fit_of = trainer(tmp_path, watching, keep, max_epochs=epochs, enable_checkpointing=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*sampler has shuffling enabled")
            fit_of.fit(Module(), *loaders(), ckpt_path=checkpoint)
        return watching, keep.best_model_path

    alarm = Alarm("concentration", above=0.1, for_passes=3)
    both = {"measures": ["increase"], "measure_every_n_passes": 3}
    watching, path = run(2, [alarm], **both)
    assert not watching.history.passes[-1].alarms
    state = torch.load(path, weights_only=True)["callbacks"][watching.state_key]
    assert torch.equal(state["alarms"]["concentration"]["in_a_row"], torch.tensor([2, 2, 2]))
    again, _ = run(5, [alarm], path, **both)
    rang = [list(seen.alarms) for seen in again.history.passes]
    assert rang == [[], [], *[["concentration"]] * 3]
    rule = "mean concentration above 0.1 for 3"
    assert [list(seen.rules.values()) for seen in again.history.passes] == [[], [], *[[rule]] * 3]
    state = again.state_dict()
    assert checked_state(state)["history"]["passes"][-1]["rules"] == {"concentration": rule}
    for wrong in ({"concentration": 3}, {3: rule}, [rule]):
        bad = [{**seen, "rules": wrong} for seen in state["history"]["passes"]]
        with pytest.raises(StateError, match="rules"):
            checked_state({**state, "history": {**state["history"], "passes": bad}})
    # The second was known to be the last of its fit; from there on the fourth and the last again.
    took = ["increase" in seen.measures for seen in again.history.passes]
    assert took == [True, True, False, True, True]
    other, _ = run(4, [Alarm("concentration", above=0.1001, for_passes=3)], path, **both)
    assert not any(seen.alarms for seen in other.history.passes)


def test_what_a_checkpoint_says_of_alarms_is_checked(tmp_path):
    watching = monitor(alarms=[Alarm("drift", above=0.99)])
    fit(tmp_path, watching, max_epochs=2)
    state = watching.state_dict()
    good = checked_state(state)["alarms"]["drift"]
    assert (
        checked_state({k: v for k, v in state.items() if k not in ("alarms", "made")})["made"] == 2
    )
    for changes, message in (
        ({"in_a_row": torch.tensor([1, 2])}, r"alarms.'drift'.in_a_row is a tensor"),
        ({"in_a_row": torch.tensor([-1, 2, 3])}, "numbers of passes below 0 or above"),
        ({"in_a_row": torch.tensor([2**62 + 1, 2, 3])}, "numbers of passes below 0 or above"),
        ({"beyond": torch.tensor([1, 2, 3])}, "beyond is a tensor of torch.int64"),
        ({"before": torch.tensor([1, 2])}, r"alarms.'drift'.before is a tensor"),
        ({"step": -1}, "step is -1; expected a whole number"),
        ({"rule": 3}, "rule is 3; expected text"),
    ):
        with pytest.raises(StateError, match=message):
            checked_state({**state, "alarms": {"drift": {**good, **changes}}})
    with pytest.raises(StateError, match="alarms is a list; expected a dict"):
        checked_state({**state, "alarms": []})
    with pytest.raises(StateError, match=r"made is -1"):
        checked_state({**state, "made": -1})


def test_a_measured_value_that_is_the_neutral_one_is_kept(tmp_path, monkeypatch):
    def none(*arguments, **options):
        return {"increase": torch.zeros(3, dtype=torch.float64)}

    monkeypatch.setattr(explainer, "measure_faithfulness", none)
    arguments = {"measures": ["increase"], "measure_every_n_passes": 9}
    module, watching = Module(), monitor(**arguments)
    runner = fit(tmp_path / "a", watching, module=module, max_epochs=1)
    state = watching.state_dict()
    old = {k: v for k, v in state.items() if k not in ("made", "alarms")}
    assert checked_state(state)["scalars"]["increase"] == 0
    assert "increase" not in checked_state(old)["scalars"]  # There, neutral ones were kept, too.
    assert "score" in checked_state(old)["scalars"]
    assert runner.validate(module, loaders()[1], verbose=False)[0]["ablation_cam/increase"] == 0
    runner.save_checkpoint(tmp_path / "it.ckpt")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*sampler has shuffling enabled")
        resumed = trainer(tmp_path / "b", monitor(**arguments), max_epochs=3)
        resumed.fit(Module(), *loaders(), ckpt_path=tmp_path / "it.ckpt")
    assert [value for _, value in logged(tmp_path / "b")["increase"]] == [0, 0]


def test_another_layer_counts_afresh(tmp_path):
    class Moves(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                pl_module.moved, pl_module.model = pl_module.model, None
                pl_module.forward = lambda x: pl_module.moved(x)

    alarm = Alarm("concentration", above=0.1, for_passes=3)
    watching = monitor("auto", alarms=[alarm])
    with pytest.warns(UserWarning, match="starts afresh"):
        fit(tmp_path, watching, Moves(), max_epochs=3)
    assert [seen.layer for seen in watching.history.passes] == ["moved.conv:activation"] * 2
    assert not watching.history.passes[-1].alarms


# ---- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_fault_in_the_forwards_loses_no_heatmap(tmp_path, monkeypatch, on_error):
    def broken(*arguments, **options):
        raise RuntimeError("injected")

    monkeypatch.setattr(explainer, "measure_faithfulness", broken)
    watching = monitor(measures=["deletion"], on_error=on_error)
    if on_error == "raise":
        with pytest.raises(RuntimeError, match="injected"):
            fit(tmp_path, watching)
        assert steps(watching) == [BATCHES]
    else:
        with pytest.warns(UserWarning, match="no measures of faithfulness this time") as told:
            fit(tmp_path, watching)
        assert len([w for w in told if "injected" in str(w.message)]) == 1
        assert steps(watching) == [BATCHES, 2 * BATCHES, 3 * BATCHES]
    written = records(tmp_path, "heat", decode_heat)
    assert len(written) == len(steps(watching))
    assert not any("deletion" in heat.measures for heat in written)


@pytest.mark.parametrize("goes_on", [False, True], ids=["one fit", "resumed"])
def test_measures_that_failed_are_taken_in_the_next_pass(tmp_path, monkeypatch, goes_on):
    calls, measure = [], explainer.measure_faithfulness

    def breaks_twice(*arguments, **options):
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("injected")
        return measure(*arguments, **options)

    monkeypatch.setattr(explainer, "measure_faithfulness", breaks_twice)

    def watched():
        return monitor(measures=["increase"], measure_every_n_passes=9, on_error="warn")

    watching, path, first = watched(), None, 2 if goes_on else 6
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*sampler has shuffling enabled")
        with pytest.warns(UserWarning, match="the next validation tries again"):
            runner = fit(tmp_path / "a", watching, max_epochs=first)
            if goes_on:
                path = tmp_path / "it.ckpt"
                assert watching.state_dict()["owed"]
                runner.save_checkpoint(path)
                watching = watched()
                runner = trainer(tmp_path / "b", watching, max_epochs=6)
                runner.fit(Module(), *loaders(), ckpt_path=path)
    took = ["increase" in seen.measures for seen in watching.history.passes]
    assert took == [False, False, True, False, False, True]
    assert not watching.state_dict()["owed"]
    state = watching.state_dict()
    assert not checked_state({k: v for k, v in state.items() if k != "owed"})["owed"]
    with pytest.raises(StateError, match="owed is 1; expected True or False"):
        checked_state({**state, "owed": 1})


def test_pictures_that_are_rejected_only_when_changed_are_told_apart(tmp_path):
    class Whole(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            if (x == 0).float().mean() > 0.3:
                raise ValueError("too dark")
            return self.inner(x)

    module = Module()
    module.model = Whole(module.model)
    watching = monitor("model.inner.conv", measures=["deletion"], on_error="warn")
    with pytest.warns(UserWarning, match="no measures of faithfulness this time") as told:
        fit(tmp_path, watching, module=module, max_epochs=1)
    (text,) = [str(w.message) for w in told if "too dark" in str(w.message)]
    assert "pictures that were changed for deletion were rejected: too dark" in text
    assert "pass forward=" not in text
    assert steps(watching) == [BATCHES]


class Regression(Module):
    def training_step(self, batch):
        return (self(batch[0]).mean(1) - batch[1]).square().mean()

    def validation_step(self, batch):
        self.log("val_loss", (self(batch[0]).mean(1) - batch[1]).square().mean())


def test_an_output_without_probabilities_is_told_once(tmp_path):
    probes = ProbeSet(images(3, seed=9), [0.5, 1.5, 2.5])
    watching = monitor(probes=probes, measures=["deletion", "increase"], classes=0)
    metrics = Metrics()
    with pytest.warns(UserWarning, match="cannot be measured") as told:
        fit(tmp_path, watching, metrics, module=Regression())
    (text,) = [str(w.message) for w in told if "cannot be measured" in str(w.message)]
    assert "increase, deletion cannot be measured" in text
    assert "task='regression'" in text
    assert len(steps(watching)) == 3
    assert metrics.found[-1]["deletion"] == 1.0
    assert not {"deletion", "increase"} & logged(tmp_path).keys()


def test_what_cannot_be_measured_is_not_tried_again(tmp_path, monkeypatch):
    calls, measure = [], explainer.measure_faithfulness

    def counted(*arguments, **options):
        calls.append(1)
        return measure(*arguments, **options)

    monkeypatch.setattr(explainer, "measure_faithfulness", counted)
    probes, module = ProbeSet(images(3, seed=9), [0.5, 1.5, 2.5]), Regression()
    watching = monitor(probes=probes, measures=["deletion"], classes=0)
    with pytest.warns(UserWarning, match="cannot be measured"):
        runner = fit(tmp_path, watching, module=module)
    assert (len(steps(watching)), len(calls)) == (3, 1)
    runner.fit_loop.max_epochs = 4
    with pytest.warns(UserWarning, match="cannot be measured"):
        runner.fit(module, *loaders())
    assert len(calls) == 2  # Once in each fit.


def test_costly_measures_leave_time_for_passes_without_them(tmp_path, monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    for module in (callback, passes_module, schedule):
        monkeypatch.setattr(module, "time", clock)

    def slow(*arguments, **options):
        now[0] += 20.0
        return {"increase": torch.zeros(3, dtype=torch.float64)}

    class Trains(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            now[0] += 60.0

    monkeypatch.setattr(explainer, "measure_faithfulness", slow)
    watching = monitor(measures=["increase"], measure_every_n_passes=9, max_overhead=0.4)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        fit(tmp_path, Trains(), watching, max_epochs=8)
    # Of 60 s 24 may be spent: 20, and from the second epoch on there is room for the last's 20.
    assert steps(watching) == [n * BATCHES for n in range(1, 9)]
    assert [n for n, seen in enumerate(watching.history.passes) if "increase" in seen.measures] == [
        0,
        7,
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"score": lambda output, classes: output[:, 0]},
        {"embeddings": "own"},
        {"task": "regression"},
    ],
)
@pytest.mark.parametrize(
    "asked", [{"measures": ["deletion"]}, {"alarms": [Alarm("deletion", above=0.5)]}]
)
def test_what_can_have_no_probabilities_is_an_error_at_once(options, asked):
    with pytest.raises(ValueError, match=r"measures=\['deletion'\]: they need class probabilities"):
        monitor(**options, **asked)
    assert monitor(**options)


# ---- from YAML -----------------------------------------------------------------------------------

YAML = """
trainer:
  logger: false
  callbacks:
    - class_path: lightning_ablationcam.AblationCAMMonitor
      init_args:
        probes: 4
        measures: [average_drop, deletion]
        measure_every_n_passes: 5
        alarms:
{alarms}
"""
DICTS = """
          - measure: border_heat
            above: 0.5
            for_passes: 3
          - {measure: drift, above: 0.9, of: any, stop: true, name: far}
"""
CLASSES = """
          - class_path: lightning_ablationcam.Alarm
            init_args: {measure: border_heat, above: 0.5, for_passes: 3}
          - class_path: lightning_ablationcam.Alarm
            init_args: {measure: drift, above: 0.9, of: any, stop: true, name: far}
"""


@pytest.mark.parametrize("alarms", [DICTS, CLASSES], ids=["dicts", "class_path"])
def test_yaml_names_measures_and_alarms(tmp_path, monkeypatch, alarms):
    watching = from_yaml(tmp_path, monkeypatch, YAML.format(alarms=alarms.strip("\n")))
    assert [name for name in watching.table() if name.startswith("alarm_")] == [
        "alarm_border_heat",
        "alarm_far",
    ]
    assert {"average_drop", "deletion"} < watching.table().keys()
    assert watching._measuring.alarms == (
        Alarm("border_heat", above=0.5, for_passes=3),
        Alarm("drift", above=0.9, of="any", stop=True, name="far"),
    )
    assert watching._measuring.every == 5


SAVED = """
trainer:
  max_epochs: 1
  accelerator: cpu
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  enable_checkpointing: false
  default_root_dir: .
  callbacks:
    - class_path: lightning_ablationcam.AblationCAMMonitor
      init_args:
        target_layer: model.conv
        probes: 3
        measures: [average_drop]
        alarms:
          - {measure: border_heat, above: 0.999, for_passes: 3, of: any, name: edge}
"""


class Plain(Module):
    def __init__(self):
        super().__init__()


class Data(LightningDataModule):
    def train_dataloader(self):
        return loaders()[0]

    def val_dataloader(self):
        return loaders()[1]


def test_a_saved_config_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SAVED)
    found = []
    for config in ("mine.yaml", "config.yaml"):  # The second is the one that was saved.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's own use of its parser.
            cli = LightningCLI(
                Plain,
                Data,
                args=["fit", "--config", config],
                save_config_kwargs={"overwrite": True, "save_to_log_dir": True},
            )
        watching = next(c for c in cli.trainer.callbacks if isinstance(c, AblationCAMMonitor))
        assert "Unable to serialize" not in (tmp_path / "config.yaml").read_text()
        found.append((len(watching.probes), watching.measuring.measures, watching.measuring.alarms))
    assert found[0] == found[1]
    assert found[0][0] == 3
    edge = Alarm("border_heat", above=0.999, for_passes=3, of="any", name="edge")
    assert found[0][2] == (edge,)


# ---- without a Trainer ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sides", [(16,), (6, 8, 8), (200, 140)], ids=["signals", "volumes", "large"]
)
def test_signals_volumes_and_large_maps_are_measured(sides):
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(sides)]
    torch.manual_seed(0)
    model = nn.Sequential(conv(1, 3, 3, padding=1), nn.ReLU(), Mean(), nn.Linear(3, 2)).eval()
    model[3].weight.data.abs_()  # So that no map is cold.
    inside = torch.zeros(2, *sides, dtype=torch.bool)
    inside[..., : sides[-1] // 2] = True
    probes = ProbeSet(torch.rand(2, 1, *sides), [0, 1], masks=inside)
    passes = Passes(Measuring(FORWARDS, tolerant=True))
    explains = Explainer("1", "label", Options(tolerance=0.1))
    for step in range(2):
        passes.look(model, probes, explains, Notices(), step=step, epoch=0)
        with torch.no_grad():
            model[0].weight += 0.1
    newest = passes.history.passes[-1]
    assert max(newest.map_shape) <= 128
    assert newest.measures.keys() == {measure.name for measure in MEASURES}
    for measure in MEASURES:
        values = newest.measures[measure.name]
        assert (values >= measure.axis.low).all(), measure.name
        assert (values <= (measure.axis.high or math.hypot(*sides))).all(), measure.name
    assert set(passes.scalars.values) == {*newest.measures, "score", "seconds"}
    assert passes.scalars.known == {*newest.measures, "score"}


def test_a_pass_at_the_same_step_keeps_what_was_measured_there():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), Mean(), nn.Linear(5, 4)).eval()
    probes = ProbeSet(torch.rand(2, 3, 9, 9), [0, 1])
    always = Alarm("insertion", below=0.999, stop=True)
    passes = Passes(Measuring(["increase"], 2, [always]))
    explains, asked = Explainer("0", 1, Options()), []
    for step in (0, 0, 3, 3):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*alarm")
            passes.look(model, probes, explains, Notices(), step=step, epoch=0)
        asked.append(len(passes.alarms.asking))
        assert passes.history.passes[-1].measures["increase"].shape == (2,)
    assert [seen.step for seen in passes.history.passes] == [0, 3]
    assert passes.made == 4
    assert asked == [1, 0, 1, 0]  # In the others it was not taken.


class Mean(nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)
