"""A folder of old checkpoints gives what the monitor would have logged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_ablationcam import AblationCAMMonitor, ProbeSet, backfill, write_report
from lightning_ablationcam.network.weights import CheckpointError, load_weights, read_checkpoint
from tests import backfilled
from tests.backfilled import EPOCHS, LAYER, Digits, Interrupted, Net

QUIET = {"progress": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of one training, with its checkpoints and its event file."""
    folder = tmp_path_factory.mktemp("trained")
    backfilled.train(folder)
    return folder


@pytest.fixture
def checkpoints(trained, tmp_path):
    """A copy of the checkpoints that a test may break."""
    return Path(shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints"))


def in_order(folder):
    """The files by the steps they hold, without the copy of the last."""
    files = [path for path in folder.glob("*.ckpt") if path.stem != "last"]
    return sorted(files, key=lambda path: torch.load(path, weights_only=True)["global_step"])


def assert_same(run, trained):
    """The heat, the probes, the scalars and the pictures of two runs, to the last bit."""
    assert backfilled.heat_bytes(run) == backfilled.heat_bytes(trained / "run")
    one, other = backfilled.records(run), backfilled.records(trained / "run")
    assert one["probes"][-1] == other["probes"][-1]
    assert [record.epoch for record in one["heat"].values()] == list(range(EPOCHS))
    assert backfilled.scalars(run) == backfilled.scalars(trained / "run")


def test_it_writes_what_the_monitor_wrote_while_training(trained, tmp_path):
    run = tmp_path / "run"
    files = in_order(trained / "checkpoints")
    assert files != sorted(files)  # So that the names say nothing of the order.
    found = backfill(
        trained / "checkpoints", Net, backfilled.monitor(), run, data=Digits(), **QUIET
    )
    assert found.steps == tuple(range(5, 5 * EPOCHS + 1, 5))
    assert (found.skipped, found.done_before, found.logdir) == ({}, (), run)
    assert_same(run, trained)
    assert len(backfilled.scalars(run)["ablation_cam/average_drop"]) == EPOCHS
    assert backfilled.pictures(run) == backfilled.pictures(trained / "run")
    assert write_report(run, tmp_path / "report.html").stat().st_size > 10_000


def test_scalars_stand_where_they_stood_whenever_checkpoints_were_saved(tmp_path):
    backfilled.train(tmp_path, epochs=2, save_on_train_epoch_end=False)
    run = tmp_path / "again"
    backfill(tmp_path / "checkpoints", Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    written = backfilled.scalars(run)
    assert list(written["ablation_cam/score"]) == [4, 9]
    assert written == backfilled.scalars(tmp_path / "run")


def test_the_monitor_is_left_as_it_was(trained, tmp_path):
    monitor = backfilled.monitor()
    backfill(in_order(trained / "checkpoints")[:2], Net, monitor, tmp_path, data=Digits(), **QUIET)
    assert (monitor.probes, monitor.result, monitor.history.passes) == (None, None, [])


def test_an_interrupted_call_is_gone_on_with(trained, tmp_path, caplog):
    run, arguments = tmp_path / "run", (trained / "checkpoints",)
    with pytest.raises(KeyboardInterrupt):
        backfill(*arguments, Interrupted(6), backfilled.monitor(), run, data=Digits(), **QUIET)
    assert list(backfilled.records(run)["heat"]) == [5, 10, 15]
    with caplog.at_level("INFO"):
        found = backfill(*arguments, Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    assert "passes of 3 of 10 checkpoints; going on with step 20" in caplog.text
    assert found.done_before == (5, 10, 15)
    assert found.steps == tuple(range(20, 51, 5))
    assert_same(run, trained)
    again = backfill(*arguments, Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    assert (again.steps, len(again.done_before)) == ((), EPOCHS)
    assert_same(run, trained)


def test_a_killed_command_is_gone_on_with(trained, tmp_path):
    run = tmp_path / "run"

    def command(module):
        words = ["backfill", trained / "checkpoints", "--module", f"tests.backfilled:{module}"]
        words += ["--data", "tests.backfilled:Digits", "--logdir", run, "--accelerator", "cpu"]
        words += ["--target-layer", LAYER, "--probes", 6, "--init.width", 6]
        words += ["--measures", "average_drop", "--measure_every_n_passes", 3]
        return subprocess.run(
            [sys.executable, "-m", "lightning_ablationcam", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    killed = command("Killed")
    assert killed.returncode == -9, killed.stderr
    assert list(backfilled.records(run)["heat"]) == [5, 10, 15]
    ended = command("Net")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"7 passes written to {run}, 3 done before\n"
    assert "going on with step 20" in ended.stderr
    assert "100%" in ended.stderr  # The progress bar.
    assert_same(run, trained)


def test_broken_checkpoints_are_left_out_and_named(checkpoints, trained, tmp_path):
    files = in_order(checkpoints)
    cut = files[2]
    cut.write_bytes(cut.read_bytes()[:-2000])
    pickled = torch.load(files[4], weights_only=True)
    torch.save({**pickled, "hyper_parameters": {"probes": Pickled()}}, files[4])
    diverged = torch.load(files[6], weights_only=True)
    diverged["state_dict"]["head.2.weight"].fill_(float("nan"))
    torch.save(diverged, files[6])
    smaller = torch.load(files[8], weights_only=True)
    smaller["state_dict"] = Net(3).state_dict()
    torch.save(smaller, files[8])
    (checkpoints / "no_checkpoint.pt").write_bytes(b"words")
    torch.save({"weight": torch.ones(2)}, checkpoints / "weights.pth")
    with pytest.warns(UserWarning, match=r"left out \(checkpoints: 6\)") as told:
        found = backfill(
            checkpoints, Net, backfilled.monitor(), tmp_path / "run", data=Digits(), **QUIET
        )
    assert found.steps == (5, 10, 20, 30, 40, 50)
    why = {path.name: reason for path, reason in found.skipped.items()}
    assert "cut off" in why[cut.name]
    assert "pickled tests.test_backfill.Pickled" in why[files[4].name]
    assert "NaN or infinite" in why[files[6].name]
    assert "not those of Net" in why[files[8].name]
    assert "cannot be read" in why["no_checkpoint.pt"]
    assert "global_step" in why["weights.pth"]
    text = "\n".join(str(warning.message) for warning in told)
    assert all(f"{path}: {reason}" in text for path, reason in found.skipped.items())


class Pickled:
    """What a checkpoint can only hold as a pickled object."""


def test_pickled_objects_are_read_only_where_that_is_asked_for(checkpoints, trained, tmp_path):
    file = in_order(checkpoints)[0]
    content = torch.load(file, weights_only=True)
    torch.save({**content, "configuration": Pickled()}, file)
    with pytest.warns(UserWarning, match="runs whatever code it holds"):
        found = backfill(
            checkpoints,
            Net,
            backfilled.monitor(),
            tmp_path / "run",
            data=Digits(),
            allow_unsafe_pickle=True,
            **QUIET,
        )
    assert not found.skipped
    assert_same(tmp_path / "run", trained)


def test_a_folder_of_anything_else_is_not_written_to(trained, tmp_path):
    files = in_order(trained / "checkpoints")

    def go_on(folder, monitor=None, chosen=files[:2], data=None):
        backfill(
            chosen, Net, monitor or backfilled.monitor(), folder, data=data or Digits(), **QUIET
        )

    before = {path: path.stat().st_size for path in (trained / "run").iterdir()}
    with pytest.raises(ValueError, match="holds the passes of another run; give another folder"):
        go_on(trained / "run")
    assert {path: path.stat().st_size for path in (trained / "run").iterdir()} == before
    run = tmp_path / "run"
    go_on(run, chosen=files[:1])
    with pytest.raises(ValueError, match="holds passes with signed=False, not True"):
        go_on(run, backfilled.monitor(signed=True))
    probes = ProbeSet(torch.rand(6, 1, 8, 8), labels=[0] * 6)
    with pytest.raises(ValueError, match="holds passes over other probes"):
        go_on(run, backfilled.monitor(probes=probes))
    with pytest.raises(ValueError, match="holds passes of other checkpoints"):
        copy = shutil.copy(files[0], tmp_path / "other.ckpt")
        go_on(run, chosen=[copy])
    (run / "ablation_cam.backfill").write_bytes(b"words")
    with pytest.raises(ValueError, match="cannot be gone on with"):
        go_on(run)
    shutil.rmtree(run)
    run.write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        go_on(run)


def test_what_cannot_be_written_is_raised_and_not_taken_for_done(trained, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no room")

    files, run = in_order(trained / "checkpoints")[:1], tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("lightning_ablationcam.outputs.tensorboard.check_room", full)
        with pytest.raises(OSError, match="no room"):
            backfill(files, Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    again = backfill(files, Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    assert (again.done_before, again.steps) == ((), (5,))


def test_a_training_that_went_on_is_gone_on_with(trained, tmp_path):
    """Its "last.ckpt" has moved on to another step since."""
    files, run = in_order(trained / "checkpoints"), tmp_path / "run"
    last = Path(shutil.copy(files[1], tmp_path / "last.ckpt"))
    backfill([last, *files[:2]], Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    shutil.copy(files[2], last)
    found = backfill([last, *files[:3]], Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    assert (found.done_before, found.steps) == ((5, 10), (15,))


def test_lost_event_files_are_not_gone_on_with(trained, tmp_path):
    files, run = in_order(trained / "checkpoints"), tmp_path / "run"
    backfill(files[:1], Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    next(run.glob("*tfevents*")).unlink()
    with pytest.raises(ValueError, match="has lost event files"):
        backfill(files[:2], Net, backfilled.monitor(), run, data=Digits(), **QUIET)


def test_a_pass_that_was_interrupted_while_it_was_written_is_written_again(trained, tmp_path):
    files, run = in_order(trained / "checkpoints")[:3], tmp_path / "run"
    backfill(files[:2], Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    state = (run / "ablation_cam.backfill").read_bytes()
    backfill(files, Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    (run / "ablation_cam.backfill").write_bytes(state)  # As if killed before it was noted.
    again = backfill(files, Net, backfilled.monitor(), run, data=Digits(), **QUIET)
    assert again.steps == (15,)
    written = backfilled.heat_bytes(run)
    assert [step for step, _ in written] == [5, 10, 15, 15]
    assert written[2] == written[3]


def test_a_network_that_is_no_lightning_module(trained, tmp_path):
    """Its weights are found in those of the module that held it."""
    files = in_order(trained / "checkpoints")[:2]
    held = []
    for file in files:
        content = torch.load(file, weights_only=True)
        weights = {f"net.{name}": value for name, value in content["state_dict"].items()}
        held.append(tmp_path / file.name)
        torch.save({**content, "state_dict": weights}, held[-1])
    monitor = backfilled.monitor(measures=())
    net = nn.Sequential()
    net.features, net.head = Net(6).features, Net(6).head
    loader = Digits()
    loader.setup()
    backfill(held, net, monitor, tmp_path / "run", data=loader.val_dataloader(), **QUIET)
    backfill(files, Net, monitor, tmp_path / "whole", data=Digits(), **QUIET)
    written = backfilled.heat_bytes(tmp_path / "run")
    assert len(written) == 2
    assert written == backfilled.heat_bytes(tmp_path / "whole")


def test_what_is_wrong_is_said_before_anything_is_written(trained, tmp_path):
    run, files = tmp_path / "run", trained / "checkpoints"
    monitor = backfilled.monitor()
    with pytest.raises(TypeError, match="monitor='resnet18'; expected an AblationCAMMonitor"):
        backfill(files, Net, "resnet18", run)
    with pytest.raises(ValueError, match="tolerance='auto' goes by the time"):
        automatic = AblationCAMMonitor(tolerance="auto", max_overhead=0.1)
        backfill(files, Net, automatic, run)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        backfill(tmp_path / "nowhere", Net, monitor, run)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"there is none that ends in \.ckpt, \.pt, \.pth"):
        backfill(empty, Net, monitor, run)
    with pytest.raises(ValueError, match="probes=6: the probes are kept from validation"):
        backfill(files, Net, monitor, run, **QUIET)
    with pytest.raises(TypeError, match="module=3; expected a class of networks"):
        backfill(files, 3, monitor, run, **QUIET)
    with pytest.raises(ValueError, match="'nothing' is not a layer of Net"):
        probes = ProbeSet(torch.rand(2, 1, 8, 8), labels=[0, 1])
        backfill(files, Net, AblationCAMMonitor("nothing", probes), run, **QUIET)
    assert not list(run.glob("*")) if run.exists() else True


def test_a_module_that_lacks_hyperparameters_says_so(trained, tmp_path):
    class Wide(Net):
        def __init__(self, width, depth):
            super().__init__(width)

    with pytest.raises(TypeError, match=r"module=Wide cannot be made .* \(width\): .*depth"):
        backfill(trained / "checkpoints", Wide, backfilled.monitor(), tmp_path, **QUIET)


def test_weights_fit_by_name_wherever_they_are_held(tmp_path):
    layer = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    wanted = {name: torch.full_like(value, 2.0) for name, value in layer.state_dict().items()}
    for name in ("{}", "model.{}", "model.net.{}", "_orig_mod.{}", "model._orig_mod.{}"):
        nn.init.zeros_(layer[0].weight)
        load_weights(layer, {name.format(each): value for each, value in wanted.items()})
        assert layer[0].weight.tolist() == [[2.0, 2.0]], name
    with pytest.raises(CheckpointError, match="not those of Sequential"):
        load_weights(layer, {"1.weight": torch.ones(1, 1)})
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="it holds a list"):
        read_checkpoint(tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="sharded"):
        read_checkpoint(tmp_path)
