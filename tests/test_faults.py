"""Whatever goes wrong in a pass ends that pass, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam import AblationCAMMonitor, ProbeSet
from lightning_ablationcam.network.memory import is_out_of_memory
from lightning_ablationcam.outputs import disk_space as room
from lightning_ablationcam.outputs import event_file
from lightning_ablationcam.outputs import pictures as drawing_module
from tests.disks import Quota, filled, remount, small_disk
from tests.lightning import BATCHES, Module, fit
from tests.networks import images

CTRL_C = "::test_ctrl_c_stops_the_training_at_once[raise]"
STEPS = [BATCHES, 2 * BATCHES, 3 * BATCHES]


class Fault:
    """Something that goes wrong in a pass for as long as it is active."""

    active = True

    def monitor(self, **options):
        probes = ProbeSet(images(3, seed=9), labels=[0, 1, 2])
        return AblationCAMMonitor("model.conv", probes, **options)

    def logger(self, folder):
        return TensorBoardLogger(folder, name=None, version="run")


class InForward(Fault):
    def __init__(self, action):
        self.action = action

    def monitor(self, **options):
        def forward(module, inputs):
            torch.rand(2)
            return self.action(module, inputs) if self.active else module(inputs)

        return super().monitor(forward=forward, **options)


def raising(error):
    def action(module, inputs):
        module(inputs)
        raise error

    return InForward(action)


class OverQuota(Fault):
    """No picture can be written whole any more."""

    def __init__(self, monkeypatch):
        self.disk = Quota()
        monkeypatch.setattr(event_file, "os", self.disk)

    @property
    def active(self):
        return self.disk.active

    @active.setter
    def active(self, active):
        self.disk.active = active


class FullDisk(Fault):
    def __init__(self, monkeypatch):
        usage = shutil.disk_usage

        def disk_usage(path):
            found = usage(path)
            return found._replace(free=3 << 20) if self.active else found

        monkeypatch.setattr(shutil, "disk_usage", disk_usage)


class InDrawing(Fault):
    def __init__(self, monkeypatch):
        real = drawing_module.overview_grid

        def overview_grid(*arguments, **options):
            if self.active:
                raise ValueError("cannot draw")
            return real(*arguments, **options)

        monkeypatch.setattr(drawing_module, "overview_grid", overview_grid)


FAULTS = {
    "exception": (
        lambda m: raising(ZeroDivisionError("injected")),
        "rejected the inputs.*injected",
    ),
    "exception without a text": (lambda m: raising(AssertionError()), "on cpu: AssertionError"),
    "wrong shape": (lambda m: InForward(lambda net, x: net(x)[None]), "shape|logits"),
    "no tensor": (lambda m: InForward(lambda net, x: [net(x), net(x)]), "list.*could be '0'"),
    "layer not run": (lambda m: InForward(lambda net, x: x.flatten(1)), "did not run"),
    "out of memory on a GPU": (
        lambda m: raising(torch.OutOfMemoryError("CUDA out of memory. Tried 20 GiB")),
        "OutOfMemoryError: CUDA out of memory.*memory_budget=<bytes>",
    ),
    "out of memory on MPS": (
        lambda m: raising(RuntimeError("MPS backend out of memory (MPS allocated: 2 GB)")),
        "MPS backend out of memory.*memory_budget=<bytes>",
    ),
    # A petabyte: this one is real.
    "out of memory": (
        lambda m: InForward(lambda net, x: net(torch.empty(2**50).mean() + x)),
        "memory.*memory_budget=<bytes>",
    ),
    "out of host memory": (lambda m: raising(MemoryError()), "MemoryError.*memory_budget=<bytes>"),
    "NaN activations": (
        lambda m: InForward(lambda net, x: net(x * torch.nan)),
        "of all 3 probes are NaN or infinite.*diverged",
    ),
    "infinite activations": (
        lambda m: InForward(lambda net, x: net(x * torch.inf)),
        "of all 3 probes are NaN or infinite.*diverged",
    ),
    "infinite scores": (
        lambda m: InForward(lambda net, x: net(x) * 1e38 * 1e38),
        "of all 3 probes are NaN or infinite.*diverged",
    ),
    "quota": (OverQuota, "Disk quota exceeded.*room in the log directory"),
    "full disk": (FullDisk, "only 3 MiB are free.*room in the log directory"),
    "drawing": (InDrawing, "ValueError: cannot draw"),
}


class After(Callback):
    """The state of the run after each validation."""

    def __init__(self):
        self.seen, self.drift = [], []

    def on_validation_end(self, trainer, pl_module):
        if trainer.sanity_checking:
            return
        self.seen.append(
            (
                [part.training for part in pl_module.modules()],
                [len(part._forward_hooks) for part in pl_module.modules()],
                sorted(pl_module.__dict__),
                torch.get_rng_state(),
                copy.deepcopy(pl_module.state_dict()),
                torch.is_grad_enabled(),
            )
        )
        self.drift.append(trainer.callback_metrics.get("ablation_cam/drift"))


def run(folder, fault=None, **options):
    torch.manual_seed(0)
    after, module = After(), Module()
    watching = fault and fault.monitor(**options)
    others = [after]
    if watching:
        others += [
            watching,
            EarlyStopping("ablation_cam/drift", patience=9, check_finite=True),
            ModelCheckpoint(folder / "checkpoints", monitor="ablation_cam/drift", save_top_k=-1),
        ]
    runner = fit(
        folder,
        *others,
        module=module,
        enable_checkpointing=bool(watching),
        logger=(fault or Fault()).logger(folder),
    )
    return runner, watching, after


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("alone"))[2].seen


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_the_pass_and_is_reported_once(tmp_path, monkeypatch, alone, name):
    build, report = FAULTS[name]
    fault = build(monkeypatch)
    with pytest.warns(UserWarning, match="ablation_cam: no heatmaps this time") as caught:
        runner, _, after = run(tmp_path, fault)
    told = [str(w.message) for w in caught if "ablation_cam" in str(w.message)]
    assert len(told) == 1
    assert re.search(f"training goes on.*{report}.*next validation tries again", told[0])
    # Training finished, and drift could be monitored from the first validation on.
    assert runner.global_step == STEPS[-1]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3
    assert all(drift.isfinite() for drift in after.drift)
    assert after.drift[0] == 1
    for seen, expected in zip(after.seen, alone, strict=True):
        modes, hooks, attributes, randoms, state, grad = seen
        assert (modes, hooks, attributes, grad) == (*expected[:3], expected[5])
        assert torch.equal(randoms, expected[3])
        assert all(torch.equal(state[key], value) for key, value in expected[4].items())


@pytest.mark.parametrize("name", FAULTS)
def test_the_next_pass_tries_again(tmp_path, monkeypatch, name):
    fault = FAULTS[name][0](monkeypatch)

    class Repair(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            fault.active = False

    watching = fault.monitor()
    with pytest.warns(UserWarning, match="ablation_cam: no heatmaps this time"):
        fit(tmp_path, watching, Repair(), logger=fault.logger(tmp_path))
    # A pass that could not be shown is still part of the history.
    shown = name in ("quota", "full disk", "drawing")
    assert [seen.step for seen in watching.history.passes] == STEPS[0 if shown else 1 :]


@pytest.mark.parametrize("name", FAULTS)
def test_on_error_raise_stops_the_training(tmp_path, monkeypatch, name):
    build, report = FAULTS[name]
    fault = build(monkeypatch)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        fit(tmp_path, fault.monitor(on_error="raise"), logger=fault.logger(tmp_path))
    told = f"{type(raised.value).__name__}: {raised.value}"
    # Without the advice, which belongs to the warning.
    assert re.search(re.sub(r"\.\*(memory_budget|room).*", "", report), told)


def test_a_logger_that_cannot_be_opened(tmp_path):
    class Broken(TensorBoardLogger):
        broken = False

        @property
        def experiment(self):
            if self.broken:
                raise PermissionError(errno.EACCES, "Permission denied", "events")
            return super().experiment

    logger = Broken(tmp_path, name=None, version="run")
    logger.experiment  # noqa: B018

    class Breaks(Callback):
        """Just for the monitor: Lightning logs through it as well."""

        def on_validation_epoch_end(self, trainer, pl_module):
            logger.broken = not logger.broken

    with pytest.warns(UserWarning, match="Permission denied.*can be written"):
        runner = fit(tmp_path, Breaks(), Fault().monitor(), Breaks(), logger=logger)
    assert runner.global_step == STEPS[-1]


@pytest.mark.parametrize("size", [64 * 2**10, 2**20])
def test_a_limit_on_the_size_of_files_ends_no_training(tmp_path, size):
    pytest.importorskip("resource")
    seen = []
    for how in ("alone", "watched"):
        folder = tmp_path / how
        folder.mkdir()
        command = [sys.executable, "-m", "tests.limited_run", str(folder), str(size), how]
        done = subprocess.run(
            command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        seen.append(torch.load(folder / "seen.pt"))
    alone, watched = seen
    assert alone["step"] == watched["step"]
    assert_same(alone["weights"], watched["weights"])
    (told,) = watched["told"]
    assert "files are limited to" in told


def small_run(folder, *callbacks):
    """A fit whose logs are on a small disk; without a monitor it goes on there."""
    torch.manual_seed(0)
    module = Module()
    runner = fit(folder, *callbacks, module=module)
    assert runner.global_step == STEPS[-1]
    return module.state_dict()


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) for key, value in expected.items())


def test_a_small_disk_ends_no_training(tmp_path):
    expected = small_run(tmp_path / "alone")
    few = "only [0-2] MiB are free"
    with small_disk(tmp_path), pytest.warns(UserWarning, match=few) as caught:
        state = small_run(tmp_path, Fault().monitor())
    assert sum("ablation_cam" in str(w.message) for w in caught) == 1
    assert_same(state, expected)


def cannot_be_written(folder):
    @contextlib.contextmanager
    def read_only():
        remount(folder, "ro")
        try:
            yield
        finally:
            remount(folder, "rw")

    return read_only()


@pytest.mark.parametrize(
    ("happens", "told"),
    [(filled, "No space left on device"), (cannot_be_written, "Read-only file system")],
)
def test_what_happens_between_the_check_and_the_write_ends_no_training(
    tmp_path, monkeypatch, happens, told
):
    def append(path, record):
        with happens(tmp_path):
            appended(path, record)

    expected = small_run(tmp_path / "alone")
    appended = event_file.append
    monkeypatch.setattr(event_file, "append", append)
    for name in ("MIN_ROOM", "MIN_QUOTA"):
        monkeypatch.setattr(room, name, 2**18)
    with small_disk(tmp_path):
        with pytest.warns(UserWarning, match=told) as caught:
            state = small_run(tmp_path, Fault().monitor())
        assert sum("ablation_cam" in str(w.message) for w in caught) == 1
        assert_same(state, expected)
        (path,) = (tmp_path / "run").glob("events*")
        events = EventAccumulator(str(path)).Reload()
        # Everything the run logged, and the monitor's scalars, with no half record between.
        assert [one.step for one in events.Scalars("train_loss")] == [*range(STEPS[-1])]
        assert len(events.Scalars("ablation_cam/concentration")) == len(STEPS)
        assert events.Tags()["images"] == []


def test_different_faults_are_reported_each_and_numbers_make_none_different(tmp_path):
    errors = [RuntimeError("3 at 0x7f3a"), RuntimeError("4 at 0x7e00"), ValueError("other")]

    def action(module, inputs):
        raise errors[module.trainer.current_epoch]

    fault = InForward(action)
    with pytest.warns(UserWarning, match="no heatmaps this time") as caught:
        fit(tmp_path, fault.monitor())
    told = [str(w.message) for w in caught if "ablation_cam" in str(w.message)]
    assert len(told) == 2
    assert "3 at" in told[0]
    assert "other" in told[1]


def test_one_broken_probe_does_not_spoil_the_others(tmp_path):
    def action(module, inputs):
        return module(torch.cat([inputs[:1] * torch.nan, inputs[1:]])[: len(inputs)])

    watching = InForward(lambda net, x: net(x)).monitor()
    whole = fit(tmp_path / "whole", watching) and watching.history.passes[-1]
    torch.manual_seed(0)
    scalars = []

    class Metrics(Callback):
        def on_validation_end(self, trainer, pl_module):
            scalars.append({k: v.item() for k, v in trainer.callback_metrics.items()})

    watching = InForward(action).monitor()
    with pytest.warns(UserWarning, match="1 of 3 probes are NaN or infinite; they are shown") as c:
        runner = fit(tmp_path, watching, Metrics())
    assert sum("ablation_cam" in str(w.message) for w in c) == 1
    assert runner.global_step == STEPS[-1]
    newest = watching.history.passes[-1]
    assert newest.finite.tolist() == [False, True, True]
    assert newest.heatmaps.shape == whole.heatmaps.shape
    assert scalars[-1]["ablation_cam/score"] == pytest.approx(newest.scores[1:].mean(), rel=1e-5)
    assert scalars[-1]["ablation_cam/drift"] == pytest.approx(
        newest.measures["drift"][1:].mean(), rel=1e-5
    )


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in the foreground: a suite that runs in the background inherits it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_ctrl_c_stops_the_training_at_once(tmp_path, on_error):
    def action(module, inputs):
        os.kill(os.getpid(), signal.SIGINT)
        return module(inputs)

    module, fault = Module(), InForward(action)
    epochs = []

    class Counts(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            epochs.append(trainer.current_epoch)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Detected KeyboardInterrupt")
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            fit(tmp_path, fault.monitor(on_error=on_error), Counts(), module=module)
    assert epochs == [0]
    assert not any(part._forward_hooks for part in module.modules())


def test_the_same_in_a_suite_that_runs_in_the_background():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}{CTRL_C}"],
        cwd=Path(__file__).parent.parent,
        # As a shell without job control starts what ends in "&".
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried 8 bytes"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_is_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected
