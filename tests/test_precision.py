"""Heatmaps under the precisions and wrappers that Lightning trains with.

Each pass is held against the float64 reference of the weights that were validated.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, StochasticWeightAveraging
from torch.nn import functional as F

from lightning_ablationcam import AblationCAMMonitor, ProbeSet
from tests.lightning import BATCHES, Module, fit, loaders, trainer
from tests.networks import ConvBN, images, seeded
from tests.reference import ablation_cam_reference

FLOAT32, FLOAT64, BFLOAT16 = 1e-4, 1e-7, 0.1
"""Largest error of a heatmap, as a share of the largest heat of all probes.

Heatmaps are kept in float32, also where the network computes in float64."""


class Watched(Module):
    """Remembers the weights that were validated."""

    def __init__(self, network=None):
        super().__init__(network or seeded(ConvBN()).train())
        self.validated = []

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        if batch_idx == dataloader_idx == 0 and not self.trainer.sanity_checking:
            self.remember()
        super().validation_step(batch)

    @torch.compiler.disable
    def remember(self):
        self.validated.append((self.trainer.global_step, copy.deepcopy(self.model)))


def probe_set():
    return ProbeSet(images(3, seed=9), labels=[0, 1, 2])


def errors(watching, validated):
    """The error of each pass as a share of the largest heat."""
    probes, found = watching.probes, []
    assert [seen.step for seen in watching.history.passes] == [step for step, _ in validated]
    for seen, (_, network) in zip(watching.history.passes, validated, strict=True):
        network = getattr(network, "_orig_mod", network)
        inputs = probes.inputs.to(next(network.parameters()).dtype)
        expected = ablation_cam_reference(network, "conv", inputs, probes.labels.tolist())
        expected = expected.heatmaps.numpy()
        assert expected.max() > 0
        found.append(np.abs(seen.heatmaps - expected).max() / expected.max())
    return found


def watch(tmp_path, *callbacks, module=None, target="model.conv", runs=fit, **options):
    """Fit; returns the monitor and the error of each pass."""
    module = module or Watched()
    watching = AblationCAMMonitor(target, probe_set(), on_error="raise")
    callbacks = [watching if callback is None else callback for callback in callbacks or (None,)]
    runs(tmp_path, *callbacks, module=module, **options)
    return watching, errors(watching, module.validated)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("32-true", FLOAT32),
        ("bf16-mixed", FLOAT32),
        ("16-mixed", FLOAT32),
        ("64-true", FLOAT64),
        ("bf16-true", BFLOAT16),
    ],
)
def test_precisions(tmp_path, precision, tolerance):
    with warnings.catch_warnings():
        # On a CPU Lightning takes bfloat16 for 16-mixed, and says so.
        warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU")
        watching, found = watch(tmp_path, precision=precision)
    assert len(found) == 3
    assert max(found) < tolerance
    assert watching.result.engine == "propagate"


class MakesTensors(ConvBN):
    """Creates a tensor of the default dtype in its forward, as positional encodings do."""

    def forward(self, x):
        return super().forward(x + torch.zeros(x.shape[-1], device=x.device))


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_tensors_made_in_forward_are_of_the_trainers_precision(tmp_path, precision):
    network = seeded(MakesTensors()).train()
    _, found = watch(tmp_path, module=Watched(network), precision=precision, max_epochs=1)
    assert max(found) < {"64-true": FLOAT64, "bf16-true": BFLOAT16}[precision]
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("whole", [True, False])
def test_compiled_modules(tmp_path, whole):
    def run(folder, *callbacks, module, **options):
        torch._dynamo.reset()
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        compiled = module
        if whole:
            compiled = torch.compile(module, backend="eager")
        else:
            module.model = torch.compile(module.model, backend="eager")
        trainer(folder, *callbacks, **options).fit(compiled, *loaders())
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"] - before)

    graphs = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor")
        watching, found = watch(tmp_path, runs=run)
        run(tmp_path / "alone", module=Watched())
    assert max(found) < FLOAT32
    assert watching.result.engine == "propagate"
    assert graphs[1] > 0
    if not whole:  # There self.log is compiled too, and again with every metric that is added.
        assert graphs[0] == graphs[1]


@pytest.mark.parametrize("first", [True, False])
def test_with_weight_averaging_every_map_is_of_the_validated_weights(tmp_path, first):
    average = EMAWeightAveraging(decay=0.5)
    _, found = watch(tmp_path, *((None, average) if first else (average, None)))
    assert max(found) < FLOAT32


class Stops(Callback):
    """Ends the training after two validations, decided when they are over."""

    def on_validation_end(self, trainer, pl_module):
        trainer.should_stop = not trainer.sanity_checking and trainer.current_epoch == 1


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("stopped", [True, False])
def test_stochastic_weight_averaging(tmp_path, first, stopped):
    module, average = Watched(), StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)
    watching = AblationCAMMonitor(
        "model.conv", probe_set(), on_error="raise", every_n_validations=2 if stopped else 1
    )
    callbacks = [watching, average] if first else [average, watching]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Swapping scheduler|.*lr_scheduler.step")
        fit(
            tmp_path,
            *callbacks,
            *([Stops()] if stopped else []),
            module=module,
            max_epochs=-1 if stopped else 4,
        )
    assert max(errors(watching, module.validated)) < FLOAT32


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"accumulate_grad_batches": 2}, [3, 6, 9]),
        ({"val_check_interval": 2, "max_epochs": 1}, [2, 4]),
        ({"val_check_interval": 0.5, "max_epochs": 1}, [2, 4]),
        ({"check_val_every_n_epoch": 2, "max_epochs": 4}, [2 * BATCHES, 4 * BATCHES]),
        ({"num_sanity_val_steps": 2, "max_epochs": 1}, [BATCHES]),
        ({"fast_dev_run": 2}, [2]),
        ({"max_steps": 7, "max_epochs": -1, "val_check_interval": 1}, [1, 2, 3, 4, 5, 6, 7]),
        ({"overfit_batches": 1}, [1, 2, 3]),
        ({"reload_dataloaders_every_n_epochs": 1}, [BATCHES, 2 * BATCHES, 3 * BATCHES]),
    ],
)
def test_ways_to_validate(tmp_path, options, steps):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*overfit")
        watching, found = watch(tmp_path, **options)
    assert max(found) < FLOAT32
    assert [seen.step for seen in watching.history.passes] == steps


class Manual(Watched):
    """Two optimizers, stepped by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=lr) for lr in (0.01, 0.02)]


def test_manual_optimisation_of_two_optimizers(tmp_path):
    watching, found = watch(tmp_path, module=Manual())
    assert max(found) < FLOAT32
    # Lightning counts the steps of all optimizers.
    assert [p.step for p in watching.history.passes] == [2 * BATCHES * e for e in (1, 2, 3)]


def test_several_validation_loaders(tmp_path):
    def run(folder, *callbacks, module, **options):
        train, validation = loaders()
        trainer(folder, *callbacks, **options).fit(module, train, [validation, validation])

    class Silent(Watched):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch, batch_idx, dataloader_idx)

    _, found = watch(tmp_path, module=Silent(), runs=run)
    assert len(found) == 3
    assert max(found) < FLOAT32
