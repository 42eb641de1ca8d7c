"""A pass that takes a while is shown in the bar of the validation, and every pass in the log."""

from __future__ import annotations

import logging
from importlib.util import find_spec

import pytest
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar

from lightning_ablationcam import AblationCAMMonitor
from lightning_ablationcam.run import progress
from lightning_ablationcam.run.progress import LONG, TEXT, announced
from tests.lightning import fit, trainer


def told(bar):
    """What a bar of the validation says now."""
    if isinstance(bar, TQDMProgressBar):
        return bar.val_progress_bar.desc.removesuffix(": ")
    return next(
        str(task.description) for task in bar.progress.tasks if task.id == bar.val_progress_bar_id
    )


BARS = [
    TQDMProgressBar,
    pytest.param(
        RichProgressBar, marks=pytest.mark.skipif(find_spec("rich") is None, reason="needs rich")
    ),
]


@pytest.mark.parametrize("kind", BARS)
def test_the_bar_says_that_a_pass_is_made_and_then_what_it_said(kind, tmp_path):
    bar, said = kind(), []

    class Watching(AblationCAMMonitor):
        def on_validation_epoch_end(self, trainer, pl_module):
            before = told(bar)
            super().on_validation_epoch_end(trainer, pl_module)
            said.append((before, told(bar)))

    def look(module, images):
        said.append(told(bar))
        return module(images)

    monitor = Watching("model.conv", probes=2, forward=look)
    fit(
        tmp_path,
        monitor,
        bar,
        max_epochs=2,
        enable_progress_bar=True,
        num_sanity_val_steps=0,
    )
    passes = [each for each in said if isinstance(each, tuple)]
    assert len(passes) == 2
    assert all(before == after != TEXT for before, after in passes)
    # The first pass may take long; the second is known to take less.
    assert said[0] == TEXT
    assert TEXT not in said[said.index(passes[0]) :]


def test_a_long_pass_is_shown_and_a_short_one_is_not(tmp_path):
    class Bar(TQDMProgressBar):
        texts: list = []  # noqa: RUF012

        @property
        def val_progress_bar(self):
            return self

        desc = "Validation: "

        def set_description(self, text):
            self.texts.append(text)

    bar = Bar()
    runner = trainer(tmp_path, bar, enable_progress_bar=True)
    for seconds in (0.0, LONG, LONG + 0.1, None):
        with announced(runner, seconds):
            pass
    assert bar.texts == [TEXT, "Validation"] * 2


def test_without_a_bar_nothing_is_shown(tmp_path):
    runner = trainer(tmp_path, enable_progress_bar=False)
    assert progress._writer(runner) is None
    bar = TQDMProgressBar()
    bar.disable()
    assert progress._writer(trainer(tmp_path, bar, enable_progress_bar=True)) is None


def test_a_bar_that_fails_does_no_harm(tmp_path, caplog):
    class Broken(TQDMProgressBar):
        @property
        def val_progress_bar(self):
            raise RuntimeError("no bar today")

        @val_progress_bar.setter
        def val_progress_bar(self, bar):
            pass

    runner = trainer(tmp_path, Broken(), enable_progress_bar=True)
    with caplog.at_level(logging.DEBUG, "lightning_ablationcam"), announced(runner, None):
        pass
    assert "no bar today" in caplog.text


def test_each_pass_is_a_line_in_the_log(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, "lightning_ablationcam"):
        fit(tmp_path, AblationCAMMonitor("model.conv", probes=2), max_epochs=2)
    lines = [r.getMessage() for r in caplog.records if r.name == "lightning_ablationcam"]
    assert [line.split(":")[0] for line in lines] == ["step 5", "step 10"]
    assert all("propagate engine; no tolerance: maps are exact" in line for line in lines)
