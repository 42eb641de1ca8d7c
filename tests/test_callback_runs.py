"""The monitor with modules that do unusual things, and through several runs."""

from __future__ import annotations

import warnings
from collections import OrderedDict

import pytest
import torch
from pytorch_lightning import LightningModule, seed_everything
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAUROC

from lightning_ablationcam import ProbeSet
from tests.lightning import BATCHES, Module, fit, loaders, trainer
from tests.networks import Dropouts, images, seeded
from tests.test_callback import image_steps, monitor, steps


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Scored(Module):
    """A metric that keeps all predictions, logged the usual way."""

    def __init__(self):
        super().__init__()
        self.auroc = MulticlassAUROC(4)

    def training_step(self, batch):
        output = self(batch[0])
        self.auroc(output, batch[1])
        self.log("auroc", self.auroc, on_step=False, on_epoch=True)
        return output.square().mean()


@pytest.mark.filterwarnings("ignore:.*(samples|positive|negative).*:UserWarning")
def test_a_metric_that_keeps_its_predictions(tmp_path):
    watching = monitor()
    fit(tmp_path, watching, module=Scored())
    assert len(watching.history.passes) == 3


class Delegates(Module):
    """A part logs through the module, a common pattern."""

    def __init__(self, names):
        super().__init__()
        self.part = nn.Identity()
        for name in names:
            setattr(self.part, name, getattr(self, name))

    def forward(self, x):
        output = self.model(x)
        if hasattr(self.part, "log"):
            self.part.log("through a part", output.detach().mean(), on_epoch=True)
        if hasattr(self.part, "log_dict"):
            self.part.log_dict({"in a dict": output.detach().mean()}, on_epoch=True)
        return output


@pytest.mark.parametrize("names", [["log"], ["log", "log_dict"]])
def test_logging_through_a_part_does_not_notice(tmp_path, names):
    def run(*callbacks):
        seed_everything(7, verbose=False)
        module = Delegates(names)
        runner = fit(tmp_path / str(len(callbacks)), *callbacks, module=module)
        assert set(names) <= set(vars(module.part))
        return {k: v for k, v in runner.logged_metrics.items() if "ablation_cam" not in k}

    watching = monitor()
    assert run(watching) == run()
    assert len(watching.history.passes) == 3


def test_a_module_that_has_a_log_of_its_own(tmp_path):
    class Own(Module):
        def log(self, name, value, prog_bar=False):
            super().log(f"own_{name}", value, prog_bar=prog_bar)

    runner = fit(tmp_path, monitor(), module=Own())
    assert {"own_val_loss", "ablation_cam/drift"} <= set(runner.callback_metrics)


def test_a_forward_that_is_set_in_init(tmp_path):
    class Borrows(LightningModule):
        def __init__(self):
            super().__init__()
            self.model = seeded(Dropouts()).train()
            self.forward = self.model.forward

        training_step = Module.training_step
        validation_step = Module.validation_step
        configure_optimizers = Module.configure_optimizers

    watching = monitor()
    fit(tmp_path, watching, module=Borrows())
    assert len(watching.history.passes) == 3


def best_checkpoint(folder, watching, module):
    keep = ModelCheckpoint(folder / "kept", filename="{step}", save_top_k=-1)
    runner = fit(folder, watching, keep, module=module, enable_checkpointing=True)
    return runner, folder / "kept" / f"step={BATCHES}.ckpt"


# Lightning's own.
OTHER_CALLBACKS = pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")
FILLED = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")


@OTHER_CALLBACKS
@pytest.mark.parametrize("same_trainer", [True, False])
def test_validating_other_weights_leaves_the_story_of_the_fit(tmp_path, same_trainer):
    watching, module = monitor(), Module()
    runner, first = best_checkpoint(tmp_path, watching, module)
    before, scalars = list(watching.history.passes), watching.state_dict()["scalars"]
    drawn = image_steps(tmp_path)
    if not same_trainer:
        runner = trainer(tmp_path / "other", watching)
    (metrics,) = runner.validate(module, loaders()[1], verbose=False, ckpt_path=first)
    assert watching.history.passes == before
    assert watching.state_dict()["scalars"] == scalars
    assert image_steps(tmp_path) == drawn
    # The validation results are reported all the same.
    assert metrics["ablation_cam/score"] == pytest.approx(before[0].scores.mean(), rel=1e-4)
    assert torch.equal(watching.result.scores.double(), torch.tensor(before[0].scores))
    if not same_trainer:
        assert len(image_steps(tmp_path / "other")) == 7


@FILLED
def test_a_state_that_was_loaded_for_a_test_is_not_resumed_from(tmp_path):
    class Tested(Module):
        test_step = Module.validation_step

    watching, module = monitor(), Tested()
    runner, first = best_checkpoint(tmp_path, watching, module)
    runner.test(module, loaders()[1], ckpt_path=first, verbose=False)
    runner.fit_loop.max_epochs = 5
    runner.fit(module, *loaders())
    assert steps(watching) == [BATCHES * epoch for epoch in (1, 2, 3, 4, 5)]


def test_another_trainer_is_another_run(tmp_path):
    watching, module = monitor(probes=3), Module()
    fit(tmp_path / "a", watching, module=module, max_epochs=1, limit_train_batches=2)
    kept = watching.probes
    fit(tmp_path / "b", watching, module=module, max_epochs=2)
    assert steps(watching) == [BATCHES, 2 * BATCHES]
    assert watching.probes is not kept


def test_probes_built_anew_at_each_call_are_built_once_a_fit(tmp_path):
    built = []

    def build(trainer, module):
        built.append(ProbeSet(images(2, seed=len(built)), labels=[0, 1]))
        return built[-1]

    watching, module = monitor(probes=build), Module()
    runner = fit(tmp_path, watching, module=module)
    runner.validate(module, loaders()[1], verbose=False)
    assert len(built) == 1
    assert len(watching.history.passes) == 3


class Replays(Dropouts):
    """Control flow that depends on values cannot be recorded."""

    def forward(self, x):
        output = super().forward(x)
        return output * (2 if output.sum().item() > 0 else 3)


def test_a_replay_is_told_once_and_no_error_where_warnings_are(tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "ablation_cam")
        watching = monitor()
        fit(tmp_path / "a", watching, module=Module(seeded(Replays()).train()))
    assert len(watching.history.passes) == 3
    assert watching.result.engine == "replay"
    with pytest.warns(UserWarning, match="replays the network for every channel") as caught:
        fit(tmp_path / "b", monitor(), module=Module(seeded(Replays()).train()))
    assert sum("replays" in str(w.message) for w in caught) == 1


def test_what_every_n_validations_skips_is_not_blamed_on_the_limit(tmp_path, caplog):
    watching = monitor(max_overhead=1e-6, every_n_validations=9)
    fit(tmp_path, watching, max_epochs=4)
    assert not any("max_overhead=" in record.getMessage() for record in caplog.records)


class Recurrent(nn.Module):
    """A head that cannot be recorded, beside a metric."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.seen = MeanMetric()
        self.rnn = nn.GRU(4, 5, batch_first=True)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.conv(x)).flatten(2).transpose(1, 2)
        return self.head(self.rnn(x)[0][:, -1])


def test_a_recurrent_head_beside_a_metric(tmp_path):
    watching = monitor()
    fit(tmp_path, watching, module=Module(Recurrent()), max_epochs=2)
    assert len(watching.history.passes) == 2
    assert watching.result.engine == "replay"


def ours(caught):
    return [str(w.message) for w in caught if "ablation_cam" in str(w.message)]


def test_maps_of_another_size_start_the_history_afresh_and_say_so(tmp_path):
    def at_another_scale(module, inputs):
        side = (8, 8, 12, 16)[module.trainer.current_epoch]
        return module(F.interpolate(inputs, (side, 8)))

    watching = monitor(forward=at_another_scale)
    with pytest.warns(UserWarning, match="maps are 12x8 and were 8x8 .* starts afresh") as caught:
        fit(tmp_path, watching, max_epochs=4)
    # If map sizes change, they change often, so it is told once.
    assert len(ours(caught)) == 1
    assert steps(watching) == [4 * BATCHES]
    assert watching.history.passes[0].heatmaps.shape[1:] == (16, 8)


class Swapped(Module):
    """Its network is another one from the second epoch on."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.spare = seeded(
            nn.Sequential(
                OrderedDict(
                    first=nn.Conv2d(3, 5, 3),
                    pool=nn.AdaptiveAvgPool2d(1),
                    flat=nn.Flatten(),
                    # Of the same name as the layer before, but without a map.
                    conv=nn.Linear(5, 4),
                )
            )
        ).train()
        self.swapped = False

    def forward(self, x):
        return self.spare(x) if self.how == "idle" and self.swapped else self.model(x)

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.swapped = True
            if self.how == "gone":
                self.model = nn.Sequential(self.spare)
            elif self.how == "no map":
                self.model = self.spare


@pytest.mark.parametrize("how", ["gone", "idle", "no map"])
def test_auto_searches_again_when_its_layer_is_gone(tmp_path, how):
    watching = monitor("auto")
    with pytest.warns(
        UserWarning, match="and was 'model.conv:activation' in earlier passes"
    ) as caught:
        fit(tmp_path, watching, module=Swapped(how))
    assert len(ours(caught)) == 1
    assert watching.result.layer.endswith("first")
    assert steps(watching) == [2 * BATCHES, 3 * BATCHES]


@pytest.mark.parametrize(
    ("how", "told"),
    [("gone", "is not a layer"), ("idle", "did not run"), ("no map", "has no spatial map")],
)
def test_a_layer_of_the_users_is_not_replaced_by_another(tmp_path, how, told):
    watching = monitor("model.conv", on_error="warn")
    with pytest.warns(UserWarning, match=told):
        fit(tmp_path, watching, module=Swapped(how))
    assert steps(watching) == [BATCHES]


def test_auto_that_finds_nothing_again_is_a_fault(tmp_path):
    class Swaps(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                pl_module.model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))

    watching = monitor("auto", on_error="warn")
    with pytest.warns(UserWarning, match="found no layer of Module with a spatial map") as caught:
        fit(tmp_path, watching, Swaps())
    assert len(ours(caught)) == 1
    assert steps(watching) == [BATCHES]
