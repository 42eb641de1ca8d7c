"""The monitor in real fits, read back from real event files."""

from __future__ import annotations

import copy
import pickle
import random
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import seed_everything
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
)
from pytorch_lightning.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from lightning_ablationcam import AblationCAMMonitor, ProbeSet, ablation_cam, write_report
from lightning_ablationcam.records.format import decode_heat, decode_probes
from lightning_ablationcam.records.regions import runs_of
from lightning_ablationcam.run.checkpoint import checked_state
from lightning_ablationcam.run.explainer import Explainer
from tests.lightning import BATCHES, Module, data, fit, loaders, trainer
from tests.networks import Skip, images, seeded


@pytest.fixture(autouse=True)
def _seeded():
    """Some orders of samples train a network that responds to nothing."""
    torch.manual_seed(0)


def probe_set(**changes):
    arguments = {"labels": [0, 1, 2], "names": ["ant", "bee", "cat"], **changes}
    return ProbeSet(images(3, seed=9), **arguments)


def monitor(target="model.conv", probes=None, **options):
    return AblationCAMMonitor(
        target, probe_set() if probes is None else probes, **{"on_error": "raise", **options}
    )


def image_steps(folder):
    events = EventAccumulator(str(folder / "run"), size_guidance={"images": 0}).Reload()
    return {tag: [e.step for e in events.Images(tag)] for tag in events.Tags()["images"]}


def steps(watching):
    return [seen.step for seen in watching.history.passes]


def test_the_event_file_holds_every_validation_and_no_sanity_check(tmp_path):
    watching = monitor()
    runner = fit(tmp_path, watching, num_sanity_val_steps=1)
    expected = [BATCHES, 2 * BATCHES, 3 * BATCHES]
    tags = ["ablation_cam/overview"]
    for name in ("ant", "bee", "cat"):
        tags += [f"ablation_cam_probes/{name}", f"ablation_cam_evolution/{name}"]
    animations = {f"ablation_cam_animation/{name}": expected[-1:] for name in ("ant", "bee", "cat")}
    assert image_steps(tmp_path) == dict.fromkeys(tags, expected) | animations
    assert steps(watching) == expected
    assert runner.global_step == expected[-1]
    assert [seen.epoch for seen in watching.history.passes] == [0, 1, 2]


def test_the_event_file_holds_the_tabs_records(tmp_path):
    watching = monitor()
    fit(tmp_path, watching)
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0}).Reload()
    (probes,) = events.Tensors("ablation_cam/probes")
    described = decode_probes(probes.tensor_proto.string_val)
    assert described.names == ("ant", "bee", "cat")
    assert described.layer == "model.conv"
    heat = events.Tensors("ablation_cam/heat")
    assert [record.step for record in heat] == steps(watching)
    for record, seen in zip(heat, watching.history.passes, strict=True):
        decoded = decode_heat(record.tensor_proto.string_val)
        assert decoded.fingerprint == described.fingerprint
        np.testing.assert_allclose(decoded.maxima, seen.heatmaps.max((1, 2)), rtol=1e-6)
        expected = seen.measures["concentration"]
        np.testing.assert_allclose(decoded.measures["concentration"], expected, rtol=1e-6)
        assert decoded.measures.keys() == seen.measures.keys()


def test_what_speaks_against_is_written_where_it_is_asked_for(tmp_path):
    records, kept = {}, {}
    for signed in (False, True):
        folder = tmp_path / str(signed)
        torch.manual_seed(0)
        watching = monitor(signed=signed, also=("rival",))
        fit(folder, watching)
        events = EventAccumulator(str(folder / "run"), size_guidance={"tensors": 0}).Reload()
        strings = [e.tensor_proto.string_val for e in events.Tensors("ablation_cam/heat")]
        records[signed], kept[signed] = strings, watching
        assert torch.equal(watching.result.heatmaps, watching.result.signed.relu())
    plain, both = ([decode_heat(each) for each in records[signed]] for signed in (False, True))
    assert all(record.against is None for record in plain)
    for record, seen in zip(both, kept[True].history.passes, strict=True):
        for mine, one in ((record, seen), (record.also["rival"], seen.also["rival"])):
            assert np.array_equal(one.heatmaps, one.signed.clip(min=0))
            expected = -one.signed.min((1, 2)).clip(max=0)
            np.testing.assert_allclose(mine.against_maxima, expected, rtol=1e-6)
            assert len(mine.against) == len(mine.maps)
    # What was written before is the same to the byte.
    assert [list(each[1:3]) for each in records[True]] == [
        list(each[1:]) for each in records[False]
    ]
    state = kept[True].state_dict()
    back = kept[True].history.from_state(checked_state(state)["history"])
    assert np.array_equal(back.passes[-1].signed, kept[True].history.passes[-1].signed)
    report = write_report(kept[True], tmp_path / "report.html").read_text()
    assert '"against_maps":{"":"data:' in report


def test_regions_are_kept_and_written(tmp_path, monkeypatch):
    """Until scores of regions are computed, results are given some."""
    masks = torch.zeros(3, 300, 200, dtype=torch.bool)
    masks[:, 90:180, 40:120] = True

    def with_regions(self, *args, **options):
        result = explain(self, *args, **options)
        further = (replace(result.also[0], regions=masks), replace(result.also[1], regions=~masks))
        return replace(result, regions=masks, also=further)

    explain = Explainer.explain
    monkeypatch.setattr(Explainer, "explain", with_regions)
    watching = monitor(also=("rival", 1))
    fit(tmp_path, watching, max_epochs=1)
    (seen,) = watching.history.passes
    assert seen.regions.shape == (128, 85)
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0}).Reload()
    (record,) = (
        decode_heat(e.tensor_proto.string_val) for e in events.Tensors("ablation_cam/heat")
    )
    runs = tuple(runs_of(mask) for mask in seen.regions.masks())
    assert record.regions.runs == runs
    # The same region is not written twice.
    assert record.also["rival"].regions is None
    assert record.also["class 1"].regions.runs != runs
    checked_state(watching.state_dict())


def test_heatmaps_are_those_of_the_validated_weights(tmp_path):
    module, watching = Module(), monitor(classes="predicted")
    fit(tmp_path, watching, module=module)
    expected = ablation_cam(module.model, "conv", probe_set().inputs)
    newest = watching.history.passes[-1]
    np.testing.assert_allclose(newest.heatmaps, expected.heatmaps, rtol=1e-3, atol=1e-5)
    assert newest.heatmaps.max() > 0
    assert (newest.classes == expected.classes.numpy()).all()
    assert watching.result.layer == "model.conv"
    assert (watching.history.passes[0].heatmaps != newest.heatmaps).any()


class Record(Callback):
    """What a user would compare between two runs."""

    def __init__(self):
        self.samples, self.losses = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.samples.append(batch[0].clone())
        self.losses.append(outputs["loss"].clone())


@pytest.mark.parametrize("fault", [False, True])
def test_training_is_bit_identical_with_and_without(tmp_path, fault):
    def run(*callbacks):
        seed_everything(7, verbose=False)
        record, module = Record(), Module()
        runner = fit(tmp_path / str(len(callbacks)), record, *callbacks, module=module)
        randoms = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return module.state_dict(), runner.optimizers[0].state_dict(), record, randoms

    def broken(module, inputs):
        torch.rand(3)
        module(inputs)
        raise RuntimeError("injected")

    options = {"on_error": "warn", "forward": broken} if fault else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ablation_cam: no heatmaps this time")
        watched = run(monitor(probes=4, **options))
    alone = run()
    assert all(
        torch.equal(a, b) for a, b in zip(watched[0].values(), alone[0].values(), strict=True)
    )
    for index, state in alone[1]["state"].items():
        assert all(torch.equal(v, watched[1]["state"][index][k]) for k, v in state.items())
    for a, b in ((watched[2].samples, alone[2].samples), (watched[2].losses, alone[2].losses)):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert watched[3] == alone[3]


def test_a_failed_pass_is_reported_once_and_training_goes_on(tmp_path):
    def broken(module, inputs):
        raise RuntimeError("injected")

    module = Module()
    watching = monitor(forward=broken, on_error="warn")
    with pytest.warns(UserWarning, match="no heatmaps this time.*injected") as caught:
        runner = fit(tmp_path, watching, module=module)
    assert sum("ablation_cam" in str(w.message) for w in caught) == 1
    assert runner.global_step == 3 * BATCHES
    assert not watching.history.passes
    assert image_steps(tmp_path) == {}
    assert not any(m._forward_hooks for m in module.modules())
    with pytest.raises(RuntimeError, match="injected"):
        fit(tmp_path, monitor(forward=broken))


def test_a_later_pass_works_after_a_failed_one(tmp_path):
    calls = []

    def once_broken(module, inputs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("injected")
        return module(inputs)

    watching = monitor(forward=once_broken, on_error="warn")
    with pytest.warns(UserWarning, match="injected"):
        fit(tmp_path, watching)
    assert steps(watching) == [2 * BATCHES, 3 * BATCHES]


@pytest.mark.parametrize(
    ("epochs", "every", "expected"), [(5, 2, [1, 3, 5]), (4, 3, [1, 4]), (4, 9, [1, 4])]
)
def test_every_n_validations_and_the_last(tmp_path, epochs, every, expected):
    watching = monitor(every_n_validations=every)
    fit(tmp_path, watching, max_epochs=epochs)
    assert steps(watching) == [BATCHES * epoch for epoch in expected]


def test_catches_up_where_early_stopping_makes_a_validation_the_last(tmp_path):
    watching = monitor(every_n_validations=50)
    fit(tmp_path, watching, _StopAfter(2), max_epochs=9)
    assert [(p.step, p.epoch) for p in watching.history.passes] == [(5, 0), (10, 1)]
    assert image_steps(tmp_path)["ablation_cam/overview"] == [5, 10]


class _StopAfter(Callback):
    """Decides in ``on_validation_end``, as early stopping does."""

    def __init__(self, validations):
        self.left = validations

    def on_validation_end(self, trainer, pl_module):
        self.left -= not trainer.sanity_checking
        trainer.should_stop = not self.left


@pytest.mark.parametrize("monitor_first", [True, False])
@pytest.mark.parametrize("every", [1, 50])
def test_with_weight_averaging_the_map_is_of_the_averaged_weights(tmp_path, monitor_first, every):
    module, watching = Module(), monitor(every_n_validations=every)
    average = EMAWeightAveraging(decay=0.5)
    callbacks = [watching, average] if monitor_first else [average, watching]
    fit(tmp_path, *callbacks, _StopAfter(3), module=module, max_epochs=9)
    # At the end of training the module holds the averaged weights, which were the validated ones.
    expected = ablation_cam(module.model, "conv", probe_set().inputs, [0, 1, 2])
    newest = watching.history.passes[-1]
    assert newest.step == 3 * BATCHES
    np.testing.assert_allclose(newest.heatmaps, expected.heatmaps, rtol=1e-3, atol=1e-5)


def test_validation_within_the_epoch(tmp_path):
    watching = monitor()
    fit(tmp_path, watching, max_epochs=2, val_check_interval=2)
    assert steps(watching) == [2, 4, BATCHES + 2, BATCHES + 4]


def test_trainer_validate_runs_in_inference_mode(tmp_path):
    watching, module = monitor(probes=4), Module().eval()
    trainer(tmp_path, watching).validate(module, loaders()[1], verbose=False)
    assert steps(watching) == [0]
    expected = ablation_cam(module.model, "conv", watching.probes.inputs, watching.probes.labels)
    np.testing.assert_allclose(
        watching.history.passes[0].heatmaps, expected.heatmaps, rtol=1e-3, atol=1e-5
    )


def test_probes_are_captured_balanced_and_once(tmp_path):
    watching = monitor(probes=6, class_names=list("abcd"), mean=0.1, std=[0.5, 0.5, 0.5])
    fit(tmp_path, watching, num_sanity_val_steps=-1)
    labels = watching.probes.labels.tolist()
    assert len(labels) == 6
    assert max(labels.count(c) for c in range(4)) == 2
    validation = data(8, seed=4).tensors[0]
    for image in watching.probes.inputs:
        assert sum(torch.equal(image, other) for other in validation) == 1
    assert len({image.numpy().tobytes() for image in watching.probes.inputs}) == 6
    assert watching.probes.names[0] == f"00_{'abcd'[labels[0]]}"
    assert watching.probes.std == (0.5, 0.5, 0.5)


@pytest.mark.filterwarnings("ignore:.*no image could be kept")
def test_a_batch_that_cannot_be_read_does_not_end_the_training(tmp_path):
    class Reads(Module):
        def validation_step(self, batch):
            self(images(2))

    class Torn(torch.Tensor):
        def as_subclass(self, cls):
            raise ZeroDivisionError("torn")

    class Tears(Callback):
        def on_validation_batch_start(self, trainer, pl_module, batch, *args):
            batch[0] = batch[0].as_subclass(Torn)

    watching = monitor(probes=3, on_error="warn")
    with pytest.warns(UserWarning, match="ZeroDivisionError: torn"):
        runner = trainer(tmp_path, Tears(), watching)
        runner.fit(Reads(), *loaders())
    assert runner.global_step == 3 * BATCHES


def test_probes_from_a_callable_and_the_module_as_target(tmp_path):
    module, seen = Module(), []

    def build(trainer, pl_module):
        seen.append((trainer.global_step, pl_module))
        return probe_set()

    watching = monitor(module.model.conv, build)
    fit(tmp_path, watching, module=module)
    assert seen == [(0, module)]
    assert watching.result.layer == "model.conv"


def test_auto_target_and_one_line_of_log(tmp_path, caplog):
    with caplog.at_level("INFO"):
        watching = monitor("auto")
        fit(tmp_path, watching)
    lines = [r.getMessage() for r in caplog.records if "ablation_cam" in r.getMessage()]
    assert len(lines) == 1
    assert "3 probes at 'model.conv:activation' (6 channels, 8x8)" in lines[0]
    assert str(tmp_path) in lines[0]
    assert "tab Ablation-CAM" in lines[0]
    assert "#ablation_cam" in lines[0]


def test_max_overhead_skips_and_says_so(tmp_path, caplog):
    watching = monitor(max_overhead=1e-6)
    with caplog.at_level("INFO"):
        fit(tmp_path, watching, max_epochs=4)
    assert steps(watching) == [BATCHES, 4 * BATCHES]
    assert sum("max_overhead=1e-06" in r.getMessage() for r in caplog.records) == 1


def test_two_monitors_need_two_tags(tmp_path):
    with pytest.raises(ValueError, match="2 AblationCAMMonitors have tag='ablation_cam'"):
        fit(tmp_path, monitor(), monitor())
    first, second = monitor(), monitor(tag="early")
    assert first.state_key != second.state_key
    fit(tmp_path, first, second)
    assert {"ablation_cam/overview", "early/overview"} <= set(image_steps(tmp_path))


def test_without_a_logger_it_keeps_the_history_and_writes_files(tmp_path):
    watching = monitor()
    fit(tmp_path, watching, logger=False)
    assert steps(watching) == [BATCHES, 2 * BATCHES, 3 * BATCHES]
    shown = sorted(Path(tmp_path, "ablation_cam", "version_0", "overview").iterdir())
    assert [int(file.stem) for file in shown] == steps(watching)


def test_with_a_csv_logger_pictures_are_files(tmp_path):
    logger = CSVLogger(tmp_path)
    fit(tmp_path, monitor(), logger=logger)
    shown = sorted(Path(logger.log_dir, "ablation_cam", "overview").iterdir())
    assert [int(file.stem) for file in shown] == [BATCHES, 2 * BATCHES, 3 * BATCHES]
    header = Path(logger.log_dir, "metrics.csv").read_text().splitlines()[0]
    assert header.split(",").count("ablation_cam/drift") == 1


def test_fast_dev_run(tmp_path):
    watching = monitor()
    fit(tmp_path, watching, fast_dev_run=True)
    assert steps(watching) == [1]
    assert list(tmp_path.iterdir()) == []


def test_a_second_fit_starts_afresh(tmp_path):
    """K-fold: one monitor, another network of another shape, the same fault reported again."""

    def broken(module, inputs):
        if broken.active:
            raise RuntimeError("injected")
        return module(inputs)

    watching = monitor("auto", every_n_validations=2, forward=broken, on_error="warn")
    broken.active = False
    fit(tmp_path / "a", watching)
    assert watching.result.layer == "model.conv:activation"
    assert steps(watching) == [BATCHES, 3 * BATCHES]
    fit(tmp_path / "b", watching, module=Module(seeded(Skip()).train()), max_epochs=2)
    assert watching.result.layer == "model.mix:activation"
    assert steps(watching) == [BATCHES, 2 * BATCHES]
    assert watching.history.passes[0].heatmaps.shape == (3, 6, 6)
    broken.active = True
    for folder in ("c", "d"):
        with pytest.warns(UserWarning, match="injected"):
            fit(tmp_path / folder, watching)


def test_validating_after_a_fit_keeps_the_story(tmp_path):
    watching, module = monitor(), Module()
    runner = fit(tmp_path, watching, module=module)
    runner.validate(module, loaders()[1], verbose=False)
    seen = [(p.step, p.epoch) for p in watching.history.passes]
    assert seen == [(BATCHES, 0), (2 * BATCHES, 1), (3 * BATCHES, 2)]


def test_it_can_be_copied_while_training(tmp_path):
    class Copies(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            self.copied = copy.deepcopy(trainer.callbacks[0])
            pickle.loads(pickle.dumps(self.copied))

    watching, copies = monitor(), Copies()
    fit(tmp_path, watching, copies)
    assert steps(copies.copied) == steps(watching)
    # Lightning puts the module's ``log`` there: the copy must not hold the whole network.
    assert "log" in watching.__dict__
    assert "log" not in copies.copied.__dict__


class Talking(Module):
    """Logs and counts inside ``forward``."""

    def __init__(self):
        super().__init__()
        self.mean = MeanMetric()

    def forward(self, x):
        output = self.model(x)
        self.mean.update(output.detach().abs().mean())
        self.log("inside", output.detach().abs().mean(), on_epoch=True)
        return output

    def on_validation_epoch_end(self):
        self.log("counted", self.mean.compute())
        self.mean.reset()


@pytest.mark.parametrize("target", ["model.conv", "auto"])
def test_logging_and_metrics_inside_forward_do_not_notice(tmp_path, target):
    def run(*callbacks):
        seed_everything(7, verbose=False)
        stop = EarlyStopping("inside", patience=99, check_finite=True)
        module = Talking()
        runner = fit(tmp_path / str(len(callbacks)), *callbacks, stop, module=module)
        assert "log" not in module.__dict__
        metrics = {k: v for k, v in runner.logged_metrics.items() if "ablation_cam" not in k}
        return metrics, runner.global_step

    watching = monitor(target, every_n_validations=2)
    assert run(watching, _StopAfter(2)) == run(_StopAfter(2))
    assert steps(watching) == [BATCHES, 2 * BATCHES]


def test_warnings_as_errors_do_not_end_the_training(tmp_path):
    def broken(module, inputs):
        raise RuntimeError("injected")

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "ablation_cam")
        runner = fit(tmp_path, monitor(forward=broken, on_error="warn"))
    assert runner.global_step == 3 * BATCHES


def test_probes_are_seen_as_earlier_callbacks_leave_the_batch(tmp_path):
    class Shifts(Callback):
        def on_validation_batch_start(self, trainer, pl_module, batch, *args):
            batch[0] -= 100

    watching = monitor(probes=4)
    fit(tmp_path, Shifts(), watching, EMAWeightAveraging())
    assert watching.probes.inputs.mean() < -90


def test_several_loaders_of_different_image_sizes(tmp_path):
    class Two(Module):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self(batch[0])

    large = DataLoader(TensorDataset(images(8, side=16), torch.arange(8) % 4), batch_size=4)
    watching = monitor(probes=12)
    trainer(tmp_path, watching).fit(Two(), loaders()[0], [loaders()[1], large])
    assert watching.probes.inputs.shape == (8, 3, 8, 8)


HOSTILE = [
    "a/b/../c",
    "two\nlines\ttab",
    "x" * 10_000,
    "x" * 10_000 + "y",
    '<script>alert(1)</script> &amp; "quoted"',
    "🐱 кошка 猫 é",
    "\x00\u202e\ud800",
    "",
    "%s {0} $HOME \\",
]


def test_hostile_names_of_probes_and_classes(tmp_path):
    probes = ProbeSet(
        images(len(HOSTILE), seed=9),
        labels=[index % 4 for index in range(len(HOSTILE))],
        names=HOSTILE,
        class_names=HOSTILE[2:6],
    )
    watching = monitor(probes=probes)
    fit(tmp_path, watching, max_epochs=2)
    found = image_steps(tmp_path)
    assert len(found) == 1 + 3 * len(HOSTILE)
    for tag, at in found.items():
        assert at == [BATCHES, 2 * BATCHES]["animation" in tag :]
        assert tag.isprintable()
        assert tag == tag.strip()
        assert len(tag) < 160
        tag.encode()
    state = watching.state_dict()
    assert [p["step"] for p in state["history"]["passes"]] == [BATCHES, 2 * BATCHES]


def test_neutral_values_reach_callbacks_and_no_plot(tmp_path):
    class Reads(Callback):
        def __init__(self):
            self.seen = []

        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                self.seen.append(trainer.callback_metrics["ablation_cam/drift"].item())

    reads, watching = Reads(), monitor()
    fit(tmp_path, watching, reads, num_sanity_val_steps=1)
    assert reads.seen[0] == 1
    assert reads.seen[1:] == pytest.approx(
        [seen.measures["drift"].mean() for seen in watching.history.passes[1:]]
    )
    (file,) = tmp_path.rglob("events*")
    events = EventAccumulator(str(file.parent)).Reload()
    drifts = [event.value for event in events.Scalars("ablation_cam/drift")]
    assert drifts == pytest.approx(reads.seen[1:])
    assert len(events.Scalars("ablation_cam/concentration")) == 3
