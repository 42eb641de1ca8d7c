"""The monitor's arguments, and what it says if they do not fit."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.utils.data import DataLoader

from lightning_ablationcam import ProbeSet
from tests.lightning import BATCHES, Module, fit, loaders, trainer
from tests.networks import images
from tests.test_callback import _StopAfter, image_steps, monitor, steps


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_a_fit_without_validation_is_told_so(tmp_path):
    with pytest.warns(UserWarning, match="no validation.*no heatmaps"):
        fit(tmp_path, monitor(), limit_val_batches=0)


def test_a_module_without_forward_is_told_so_at_fit_start(tmp_path):
    class Headless(LightningModule):
        def __init__(self):
            super().__init__()
            self.body = Module().model

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def training_step(self, batch):
            return self.body(batch[0]).square().mean()

        def validation_step(self, batch):
            self.body(batch[0])

    with pytest.raises(ValueError, match=r"Headless defines no forward.*pass forward="):
        fit(tmp_path, monitor(on_error="warn"), module=Headless())
    watching = monitor("body.conv", forward=lambda module, x: module.body(x))
    fit(tmp_path, watching, module=Headless())
    assert len(steps(watching)) == 3


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"target": "model.convs"}, "closest names: 'model.conv'"),
        ({"target": nn.Conv2d(1, 1, 1)}, "not part of the model"),
        ({"probes": ProbeSet(images())}, "classes='label', but the probes have no labels"),
        ({"classes": [0, 1]}, "classes has 2 entries for 3 probes"),
        ({"probes": lambda trainer, module: 3}, "callable returned a int"),
    ],
)
def test_what_needs_no_forward_is_an_error_at_fit_start(tmp_path, arguments, pattern):
    ran = _StopAfter(99)
    with pytest.raises((ValueError, TypeError), match=pattern):
        fit(tmp_path, monitor(on_error="warn", **arguments), ran)
    assert ran.left == 99
    assert not list(tmp_path.glob("run/events*")) or image_steps(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"classes": 9}, "classes contains 9, but the model's output has 4 classes"),
        ({"target": "model.hidden"}, "'model.hidden' has no spatial map"),
        (
            {"probes": ProbeSet(torch.rand(2, 1, 8, 8), labels=[0, 1])},
            "rejected the inputs of shape",
        ),
        ({"forward": lambda m, x: {"y": m(x), "z": m(x)}}, "could be 'y'.*say which with output="),
    ],
)
def test_what_needs_a_forward_follows_on_error(tmp_path, arguments, pattern):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=pattern):
        fit(tmp_path, monitor(**arguments))
    with pytest.warns(UserWarning, match=pattern):
        runner = fit(tmp_path, monitor(on_error="warn", **arguments))
    assert runner.global_step == 3 * BATCHES


def test_captured_probes_without_labels_or_images_say_what_to_do(tmp_path):
    class Unlabelled(Module):
        def validation_step(self, batch):
            self(batch[0])

    x = images(8)
    batches = DataLoader([[x[:4], torch.rand(4, 4)], [x[4:], torch.rand(4, 4)]], batch_size=None)
    with pytest.warns(UserWarning, match="probes have no labels.*classes='predicted'"):
        trainer(tmp_path, monitor(probes=3, on_error="warn")).fit(
            Unlabelled(), loaders()[0], batches
        )
    watching = monitor(probes=3, classes="predicted")
    trainer(tmp_path, watching).fit(Unlabelled(), loaders()[0], batches)
    assert len(watching.probes) == 3

    class Keyed(Module):
        def validation_step(self, batch):
            self(batch["left"])

    with pytest.warns(UserWarning, match="images cannot be found"):
        trainer(tmp_path, monitor(probes=3, on_error="warn")).fit(
            Keyed(), loaders()[0], DataLoader([{"left": x, "right": x}], batch_size=None)
        )


@pytest.mark.parametrize(
    ("arguments", "error", "pattern"),
    [
        (
            {"scale": "image"},
            ValueError,
            "scale='image' is not known; choose 'map', 'probe', 'run'",
        ),
        ({"on_error": "ignore"}, ValueError, "on_error='ignore'.*'warn', 'raise'"),
        ({"every_n_validations": 0}, ValueError, "every_n_validations=0"),
        ({"every_n_validations": 1.5}, TypeError, "every_n_validations=1.5"),
        ({"classes": "labels"}, ValueError, "classes='labels'.*'label', 'predicted'"),
        ({"classes": 1.5}, TypeError, "classes=1.5"),
        ({"classes": -1}, ValueError, "classes=-1"),
        ({"classes": []}, ValueError, r"classes=\[\]"),
        ({"forward": "predict"}, TypeError, "forward='predict'"),
        ({"probes": ProbeSet}, TypeError, "probes=<class"),
        ({"probes": 4, "class_names": {0: "cat"}}, TypeError, "class_names={0: 'cat'} is a dict"),
        ({"ablation": float("nan")}, ValueError, "ablation=nan"),
        ({"memory_budget": "1GB"}, TypeError, "memory_budget='1GB'"),
        ({"max_overhead": "5%"}, TypeError, "max_overhead='5%'"),
        ({"probes": 0}, ValueError, "probes=0"),
        ({"probes": "folder"}, TypeError, "probes='folder'"),
        ({"mean": 0.5}, ValueError, "mean can only be given with probes=<number>"),
        ({"probes": 4, "std": [0, 1, 1]}, ValueError, "std=.*expected positive"),
        ({"target": 4}, TypeError, "target_layer=4 is a int"),
        ({"tag": ""}, ValueError, "tag=''"),
        ({"score": "logits"}, ValueError, "score='logits'"),
        ({"ablation": "none"}, ValueError, "ablation='none'"),
        ({"layout": "HWC"}, ValueError, "layout='HWC'"),
        ({"engine": "brute"}, ValueError, "engine='brute'"),
        ({"memory_budget": -1}, ValueError, "memory_budget=-1"),
        ({"max_overhead": 0}, ValueError, "max_overhead=0"),
        ({"signed": "both"}, TypeError, "signed='both'; expected True or False"),
    ],
)
def test_bad_arguments_are_errors_at_construction(arguments, error, pattern):
    with pytest.raises(error, match=pattern):
        monitor(**arguments)


def test_statistics_of_the_wrong_length_are_reported_in_the_first_pass(tmp_path):
    with pytest.raises(ValueError, match=r"mean=.* has 2 numbers; expected 1 or 3"):
        fit(tmp_path, monitor(probes=4, mean=[0.1, 0.2]))
