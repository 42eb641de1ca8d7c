"""Lightning is published as two packages: the monitor is a callback of a Trainer of either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam.lightning import PACKAGES

ROOT = Path(__file__).parent.parent
EACH = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            find_spec(name.partition(".")[0]) is None, reason=f"{name} is not installed"
        ),
    )
    for name in PACKAGES
]
BOTH = pytest.mark.skipif(
    any(find_spec(name.partition(".")[0]) is None for name in PACKAGES),
    reason="not both packages are installed",
)
OTHER = dict(zip(PACKAGES, reversed(PACKAGES), strict=True))


def run(*arguments, folder):
    """What a fresh Python says; one that has imported nothing of Lightning's."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=EACH)
def alone(request, tmp_path_factory):
    """The package, where the other is not installed, the folder, and what was found."""
    folder = tmp_path_factory.mktemp("alone")
    run("-m", "tests.either_lightning", request.param, folder, folder=ROOT)
    return request.param, folder, json.loads((folder / "found.json").read_text())


def test_training_is_the_same_with_and_without_the_monitor(alone):
    _, _, found = alone
    assert found["same weights"]
    plain, watched = found["forwards"]  # Logged by the module's own forward.
    assert plain == watched
    assert len(plain) == 2 * (5 + 1)


def test_it_is_a_callback_of_that_package_and_of_no_other(alone):
    package, _, found = alone
    ours, *theirs = found["callback of"]
    assert ours == "lightning_ablationcam.lightning"
    assert theirs == [f"{package}.callbacks.callback"]
    assert found["said by"] == [f"{package}.utilities.rank_zero"]


def test_a_pass_at_each_validation_is_written_by_its_loggers(alone):
    _, folder, found = alone
    assert found["steps"] == [5, 10]
    events = EventAccumulator(str(folder / "watched"), size_guidance={"images": 0}).Reload()
    steps = [event.step for event in events.Images("ablation_cam/overview")]
    assert steps[:2] == [5, 10]
    assert "ablation_cam/drift" in events.Tags()["scalars"]
    assert (folder / "watched_csv" / "ablation_cam" / "overview").is_dir()
    assert not any(tag.startswith("ablation_cam") for tag in tags(folder / "plain"))


def tags(folder):
    return EventAccumulator(str(folder)).Reload().Tags()["images"]


def test_a_validation_by_itself_is_told_from_a_fit(alone):
    _, _, found = alone
    assert "ablation_cam/drift" in found["validated"]
    assert found["early stopping saw"] < 1


def test_a_run_is_resumed_from_a_checkpoint(alone):
    _, _, found = alone
    assert "AblationCAMMonitor{'tag': 'ablation_cam'}" in found["states"]
    assert found["same first pass"]
    assert found["resumed"] == [5, 10]


def test_lightning_cli_builds_it_from_yaml(alone):
    _, _, found = alone
    assert found["passes from the CLI"] == 1


ORDERS = """
import sys
first, second = {first!r}, {second!r}
if first:
    __import__(first)
from lightning_ablationcam import AblationCAMMonitor
import importlib
pl = importlib.import_module(second)
print(*(name for name in ("pytorch_lightning", "lightning.pytorch") if name in sys.modules))
if {asked_for!r}:
    from lightning_ablationcam import AblationCAMMonitor
    print(issubclass(AblationCAMMonitor, pl.Callback))
else:
    monitor = AblationCAMMonitor()
    print(isinstance(monitor, pl.Callback))
    print(pl.Trainer(callbacks=monitor, logger=False).callbacks[0] is monitor)
"""


@BOTH
@pytest.mark.parametrize(
    ("package", "asked_for"),
    [("lightning.pytorch", False), ("pytorch_lightning", True)],
    ids=["built", "asked for"],
)
def test_the_package_may_be_imported_after_it(tmp_path, package, asked_for):
    code = ORDERS.format(first=OTHER[package], second=package, asked_for=asked_for)
    imported, *true = run("-c", code, folder=tmp_path).splitlines()
    assert set(imported.split()) == set(PACKAGES)
    assert set(true) == {"True"}


@BOTH
@pytest.mark.parametrize(
    ("first", "package"),
    [("lightning.pytorch", "lightning.pytorch"), ("", "pytorch_lightning")],
    ids=["imported", "neither imported"],
)
def test_no_package_is_imported_that_the_user_does_not_use(tmp_path, first, package):
    code = ORDERS.format(first=first, second=package, asked_for=False)
    assert run("-c", code, folder=tmp_path).splitlines() == [package, "True", "True"]


NEITHER = """
import sys
sys.modules.update(dict.fromkeys(["pytorch_lightning", "lightning"]))
from lightning_ablationcam import ablation_cam
print(ablation_cam.__name__)
try:
    from lightning_ablationcam import AblationCAMMonitor
except ModuleNotFoundError as error:
    print(error)
"""


def test_without_any_the_engine_works_and_the_monitor_says_what_to_install(tmp_path):
    assert run("-c", NEITHER, folder=tmp_path).splitlines() == [
        "ablation_cam",
        "AblationCAMMonitor needs Lightning: pip install pytorch-lightning, or lightning",
    ]


MIXED = """
import torch
import pytorch_lightning, lightning.pytorch
from lightning_ablationcam import AblationCAMMonitor

def net(pl):
    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = torch.nn.Linear(1, 1)
    return Net()

quiet = dict.fromkeys(
    ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False
)
for one, other in [(pytorch_lightning, lightning.pytorch), (lightning.pytorch, pytorch_lightning)]:
    monitor = AblationCAMMonitor()
    trainer = one.Trainer(accelerator="cpu", callbacks=[monitor], **quiet)
    for ask in (trainer.fit, lambda module: monitor.setup(trainer, module, stage="fit")):
        try:
            ask(net(other))
        except TypeError as error:
            print(error)
"""


@BOTH
def test_a_trainer_of_one_with_a_module_of_the_other_is_an_error(tmp_path):
    said = run("-W", "ignore", "-c", MIXED, folder=tmp_path).splitlines()
    # Before any callback is asked, and without a word of packages.
    assert [line.split(",")[0] for line in said[::2]] == [
        "`model` must be a `LightningModule` or `torch._dynamo.OptimizedModule`"
    ] * 2
    assert said[1::2] == [
        f"the Trainer is from {one!r} and the module, Net, from {other!r}: two packages that do "
        f"not know each other's classes. Import LightningModule from {one!r}, or Trainer from "
        f"{other!r}"
        for one, other in OTHER.items()
    ]
