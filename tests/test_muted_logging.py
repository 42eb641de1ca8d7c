from __future__ import annotations

import csv
from functools import partial

import pytest
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from lightning_ablationcam import AblationCAMMonitor, ProbeSet
from lightning_ablationcam.run.muted_logging import Mute, silenced
from tests.lightning import Module, fit, trainer
from tests.networks import images


class Talks(nn.Module):
    """Logs in its forward in every way but ``self.log``; ``module`` is the LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 4)
        self.calls = 0

    def forward(self, module, x):
        x = F.relu(self.conv(x))
        if module._trainer is not None:
            self.calls += 1
            value = x.detach().mean()
            module.logger.log_metrics({"through_logger": value}, step=self.calls)
            assert isinstance(module.loggers[0], TensorBoardLogger)
            module.loggers[0].experiment.add_scalar("through_loggers", value, self.calls)
            module.trainer.logger.experiment.add_scalar("through_trainer", value, self.calls)
            module.loggers[1].log_metrics({"in_file": value}, step=self.calls)
            module.writer.add_scalar("through_attribute", value, self.calls)
        return self.head(x.mean((2, 3)))


class TalkingModule(Module):
    def __init__(self):
        super().__init__(Talks())

    def forward(self, x):
        return self.model(self, x)

    def on_fit_start(self):
        self.writer = self.logger.experiment


def run(folder, *callbacks):
    torch.manual_seed(3)
    module = TalkingModule()
    loggers = [
        TensorBoardLogger(folder, name=None, version="run"),
        CSVLogger(folder, name=None, version="csv"),
    ]
    fit(folder, *callbacks, module=module, max_epochs=2, logger=loggers)
    with (folder / "csv" / "metrics.csv").open() as file:
        rows = [row["in_file"] for row in csv.DictReader(file) if row.get("in_file")]
    events = EventAccumulator(str(folder / "run")).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("through")]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}, rows


@pytest.mark.parametrize("engine", ["auto", "replay"])
def test_what_a_forward_logs_through_loggers_is_of_the_run_alone(tmp_path, engine):
    probes = ProbeSet(images(3, seed=9), labels=[0, 1, 2])
    monitor = AblationCAMMonitor("model.conv", probes, engine=engine, on_error="raise")
    watched, alone = run(tmp_path / "watched", monitor), run(tmp_path / "alone")
    assert watched == alone
    assert len(monitor.history.passes) == 2
    assert alone[0].keys() == {
        "through_logger",
        "through_loggers",
        "through_trainer",
        "through_attribute",
    }


class KeepsItsLog(Module):
    """Logs by what no attribute's name tells of."""

    def __init__(self):
        super().__init__()
        self.tell = partial(self.log, on_epoch=True)
        self.ways = [self.log]

    def forward(self, x):
        if self._trainer is not None:
            of = "train" if self.training else "val"
            self.tell(f"{of}_partial", x.mean())
            self.ways[0](f"{of}_in_a_list", x.mean(), on_epoch=True)
            LightningModule.log(self, f"{of}_of_the_class", x.mean(), on_epoch=True)
        return super().forward(x)


@pytest.mark.parametrize("often", [False, True])
def test_so_is_what_it_logs_by_any_other_name(tmp_path, often):
    def logged(*callbacks):
        torch.manual_seed(3)
        # Often: the last pass is at the end of the fit, where logging is refused.
        options = {"max_epochs": 1, "val_check_interval": 2 if often else 1.0}
        folder = tmp_path / str(len(callbacks))
        runner = fit(folder, *callbacks, module=KeepsItsLog(), **options)
        metrics = runner.callback_metrics.items()
        return {name: value for name, value in metrics if not name.startswith("ablation_cam")}

    probes = ProbeSet(images(3, seed=9), labels=[0, 1, 2])
    monitor = AblationCAMMonitor("model.conv", probes, every_n_validations=9, on_error="raise")
    alone = logged()
    assert logged(monitor) == alone
    assert alone.keys() > {"val_partial", "val_in_a_list", "val_of_the_class"}
    assert len(monitor.history.passes) == 1 + often


def test_loggers_come_back_also_after_an_error(tmp_path):
    runner, module = trainer(tmp_path), Module()
    before = runner.loggers
    module.kept = before[0]
    with pytest.raises(ZeroDivisionError), silenced(module, runner):
        assert runner.loggers[0] is not before[0]
        assert module.kept is not before[0]
        raise ZeroDivisionError
    assert runner.loggers is before
    assert module.kept is before[0]


def test_a_muted_logger_can_be_read_and_does_nothing(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="name", version=3)
    mute = Mute(logger)
    assert isinstance(mute, TensorBoardLogger)
    assert (mute.name, mute.version, mute.log_dir) == ("name", 3, logger.log_dir)
    writer = mute.experiment
    assert isinstance(writer, SummaryWriter)
    assert writer.add_scalar("a", 1, 1) is None
    assert writer.get_logdir() == logger.log_dir
    writer._get_file_writer().add_summary("not a summary")
    writer["run"]["metric"] = 3
    mute.name = "other"
    mute.hparams["rate"] = 1
    assert (logger.name, dict(logger.hparams)) == ("name", {})
    with pytest.raises(AttributeError):
        mute.nothing_of_that_name  # noqa: B018
