"""The monitor's passes, from a folder of old checkpoints: the function ``backfill``."""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from lightning_ablationcam.arguments import check_flag, check_path, is_a, shown
from lightning_ablationcam.callback import AblationCAMMonitor
from lightning_ablationcam.lightning import (
    Callback,
    LightningModule,
    Trainer,
    is_module,
    is_module_class,
    package_for,
    rank_zero_info,
    rank_zero_warn,
)
from lightning_ablationcam.network.weights import (
    CheckpointError,
    load_weights,
    read_checkpoint,
    weights_of,
)
from lightning_ablationcam.outputs.backfilled import Backfilled
from lightning_ablationcam.outputs.outlets import Fault
from lightning_ablationcam.outputs.publisher import Publisher
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.run.execution import Alone, Execution, UnderTrainer
from lightning_ablationcam.run.fit import Fit

SUFFIXES = (".ckpt", ".pt", ".pth")
"""The files of a folder that are taken for checkpoints."""


@dataclass(frozen=True)
class BackfillResult:
    """What :func:`backfill` did.

    Attributes:
        steps: The steps of the passes that it made, in their order.
        done_before: Those that an earlier call had made, and that were not made again.
        skipped: Why others have no pass, by the checkpoint's file.
        logdir: Where the passes are.
    """

    steps: tuple[int, ...]
    done_before: tuple[int, ...]
    skipped: Mapping[Path, str]
    logdir: Path


@dataclass(frozen=True)
class _Checkpoint:
    """One file, as far as its order needs it.

    Attributes:
        path: The file.
        step: ``trainer.global_step`` when it was saved.
        epoch: The epoch.
        logged_at: The step under which Lightning logged scalars then.
    """

    path: Path
    step: int
    epoch: int
    logged_at: int


def backfill(
    checkpoints: str | Path | Iterable[str | Path],
    module: nn.Module | Callable[[], nn.Module],
    monitor: AblationCAMMonitor,
    logdir: str | Path,
    *,
    data: Any = None,
    accelerator: str = "auto",
    precision: Any = None,
    allow_unsafe_pickle: bool = False,
    progress: bool = True,
) -> BackfillResult:
    """Show what a network looked at while it trained, from the checkpoints that it left behind.

    Each checkpoint gets the pass that the monitor would have made when it was saved, and what is
    written is what the monitor would have written: the same probes, steps, epochs, maps, scalars
    and pictures. On the same device, with as many threads, they are the same to the last bit.

    Checkpoints are taken in the order of their ``global_step``, whatever their files are called;
    of several at one step the first is taken. One that cannot be read, whose weights do not fit, or
    whose weights have diverged, is left out and named in a warning at the end.

    A call that was interrupted is gone on with by the same call: what is done is not done again,
    but for the pass that it was interrupted in.

    Args:
        checkpoints: A folder, which is searched with all folders in it for ``.ckpt``, ``.pt`` and
            ``.pth``; or the files.
        module: The network: a class of LightningModules, which is made with the hyperparameters
            that the first checkpoint holds; another callable that makes it; or the network itself,
            which is left with the last checkpoint's weights. Not necessarily a LightningModule.
        monitor: How passes are made, as for a training; it stays as it is. Every checkpoint gets a
            pass: ``every_n_validations`` and ``max_overhead`` are of no account.
        logdir: The folder of the run that is written, created if it does not exist.
        data: Where ``probes=<number>`` finds its probes: the data module or the loader that the
            training was validated on. It is gone through once, by ``Trainer.validate``. Default the
            module's own ``val_dataloader``.
        accelerator: As in a Trainer.
        precision: As in a Trainer; that of the training.
        allow_unsafe_pickle: Whether checkpoints may hold other objects than tensors and plain
            values. Making those can run any code that a file holds: only for files you trust.
        progress: Whether to show a progress bar.

    Returns:
        What was done.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no checkpoint that can be read, no data for probes to be kept from,
            ``logdir`` holds anything but an earlier call's passes with these arguments, or
            ``tolerance="auto"``, which has no training time to go by.
        FileNotFoundError: If there is no such folder.

    Example:
        >>> import tempfile
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 4, 2))
        >>> folder = Path(tempfile.mkdtemp())
        >>> for step in (20, 10):
        ...     saved = {"global_step": step, "epoch": 0, "state_dict": net.state_dict()}
        ...     torch.save(saved, folder / f"after_{step}.ckpt")
        >>> monitor = AblationCAMMonitor("0", ProbeSet(torch.rand(3, 1, 4, 4)), classes=1)
        >>> backfill(folder, net, monitor, folder / "run", progress=False).steps
        (10, 20)
    """
    _check(monitor, allow_unsafe_pickle, progress)
    place = check_path("logdir", logdir)
    skipped: dict[Path, str] = {}
    if allow_unsafe_pickle:
        rank_zero_warn(
            "ablation_cam: allow_unsafe_pickle: reading a checkpoint now runs whatever code it "
            "holds; go on only with files that you trust"
        )
    found = _ordered(_files(checkpoints), skipped, allow_unsafe_pickle)
    if not found:
        reasons = "; ".join(f"{path.name}: {why}" for path, why in skipped.items())
        nothing = f"there is none that ends in {', '.join(SUFFIXES)}"
        raise ValueError(
            f"checkpoints={shown(str(checkpoints))}: no file can be used: {reasons or nothing}"
        )
    network = _network(module, found[0], allow_unsafe_pickle)
    trainer = _trainer(network, accelerator, precision)
    fit, publisher = monitor.afresh()
    notes = Backfilled(place, monitor.tag, _settings(monitor))
    notes.read({each.step: each.path.name for each in found}, fit)
    _find_probes(fit, trainer, network, data)
    notes.resume(fit)
    fit.expect()
    todo = [each for each in found if each.step not in notes.done]
    before = tuple(sorted(notes.done))
    _say_where_it_stands(found, todo, place)
    work = _Work(fit, publisher, trainer, network, monitor.tag, notes, allow_unsafe_pickle)
    made = work.through(todo, last=found[-1], skipped=skipped, progress=progress)
    if skipped:
        listed = "\n".join(f"  {path}: {why}" for path, why in skipped.items())
        rank_zero_warn(f"ablation_cam: left out (checkpoints: {len(skipped)}):\n{listed}")
    return BackfillResult(tuple(made), before, skipped, place)


def _check(monitor: object, *flags: object) -> None:
    if not isinstance(monitor, AblationCAMMonitor):
        raise TypeError(f"monitor={shown(monitor)}; expected an AblationCAMMonitor")
    for name, flag in zip(("allow_unsafe_pickle", "progress"), flags, strict=True):
        check_flag(name, flag)
    if monitor.tolerance == "auto":
        raise ValueError(
            "tolerance='auto' goes by the time that training takes, and there is none here; give "
            "a number, such as 0.02, or None"
        )


# ---- which checkpoints there are -----------------------------------------------------------------


def _files(checkpoints: Any) -> list[Path]:
    if not isinstance(checkpoints, (str, Path)):
        return [check_path("checkpoints", each) for each in checkpoints]
    folder = check_path("checkpoints", checkpoints)
    if not folder.exists():
        raise FileNotFoundError(f"checkpoints={shown(str(folder))}: there is no such folder")
    if folder.is_file():
        return [folder]
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]
    # What is in a sharded checkpoint, which is a folder, is none of its own.
    return [path for path in found if not any(parent in found for parent in path.parents)]


def _ordered(
    files: list[Path], skipped: dict[Path, str], allow_unsafe_pickle: bool
) -> list[_Checkpoint]:
    """The checkpoints in the order of training, one for each step."""
    read: list[_Checkpoint] = []
    for path in files:
        try:
            content = read_checkpoint(path, allow_unsafe_pickle=allow_unsafe_pickle)
            read.append(_described(path, content))
        except CheckpointError as error:
            skipped[path] = str(error)
    first: dict[int, _Checkpoint] = {}
    for each in sorted(read, key=_order):
        first.setdefault(each.step, each)
    return list(first.values())


def _order(each: _Checkpoint) -> tuple[int, int, bool, str]:
    """By step; of one step "last.ckpt" comes last, which may hold another step the next time."""
    return each.step, each.epoch, each.path.stem.startswith("last"), each.path.name


def _described(path: Path, content: Mapping[str, Any]) -> _Checkpoint:
    weights_of(content)
    step, epoch = content.get("global_step"), content.get("epoch", 0)
    if type(step) is not int or type(epoch) is not int or min(step, epoch) < 0:
        raise CheckpointError("it does not say its global_step, as Lightning's checkpoints do")
    return _Checkpoint(path, step, epoch, _logged_at(content, step))


def _logged_at(content: Mapping[str, Any], step: int) -> int:
    """The step under which Lightning logged the validation before a checkpoint was saved.

    It counts the batches that stepped, the last one only after the validation that follows it: a
    checkpoint from the end of the epoch holds one more than one from the end of its validation.
    """
    try:
        loop = content["loops"]["fit_loop"]
        stepped = loop["epoch_loop.state_dict"]["_batches_that_stepped"]
        epochs = loop["epoch_progress"]["current"]
        return int(stepped - (epochs["processed"] == epochs["ready"]))
    except (KeyError, TypeError):  # Of another origin.
        return step


# ---- what runs them ------------------------------------------------------------------------------


def _network(module: Any, first: _Checkpoint, allow_unsafe_pickle: bool) -> nn.Module:
    made = module
    if is_module_class(module):
        content = read_checkpoint(first.path, allow_unsafe_pickle=allow_unsafe_pickle)
        made = _with_hyperparameters(module, content)
    elif not isinstance(module, nn.Module) and callable(module):
        made = module()
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"module={shown(module)}; expected a class of networks, a callable that makes one, or "
            "a network"
        )
    network: nn.Module = made
    if is_module(network):
        network.configure_model()  # Some make their layers only here.
    return network


def _with_hyperparameters(kind: type[LightningModule], content: Mapping[str, Any]) -> Any:
    """A module made with what ``save_hyperparameters`` has left in a checkpoint."""
    saved = dict(content.get(kind.CHECKPOINT_HYPER_PARAMS_KEY) or {})
    name = content.get(kind.CHECKPOINT_HYPER_PARAMS_NAME)
    if isinstance(name, str) and name not in ("kwargs", ""):
        saved = {name: saved}  # They were one argument.
    taken = inspect.signature(kind.__init__).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        saved = {name: value for name, value in saved.items() if name in taken}
    try:
        return kind(**saved)
    except TypeError as error:
        raise TypeError(
            f"module={kind.__name__} cannot be made with the hyperparameters that the checkpoint "
            f"holds ({', '.join(saved) or 'none'}): {error}. Give a network, or a callable that "
            "makes one"
        ) from error


def _trainer(network: nn.Module, accelerator: str, precision: Any) -> Any:
    return package_for(network, "LightningModule").Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _Finder(Callback):
    """Finds the probes of a fit, in the hooks in which the monitor does."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Build probes from a callable."""
        self.fit.build_probes(trainer, pl_module)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look for probes in a batch."""
        self.fit.source.offer(batch)


def _plain() -> Any:
    """Stands in for a network that is no LightningModule, in a validation."""

    class Plain(package_for(None, "").LightningModule):  # type: ignore[misc]
        def validation_step(self, *_: Any) -> None:
            """Look at the batch only."""

    return Plain()


def _find_probes(fit: Fit, trainer: Trainer, network: nn.Module, data: Any) -> None:
    """Find the probes as in a training: by a validation of it."""
    module = network if is_module(network) else _plain()
    if fit.source.probes is None and (data is not None or _has_loader(module)):
        finder = _Finder(fit)
        trainer.callbacks.append(finder)  # type: ignore[attr-defined]
        of = {"datamodule" if is_a(data, "LightningDataModule") else "dataloaders": data}
        if data is None:
            of = {}
        trainer.validate(module, verbose=False, **of)
    elif fit.source.probes is None and fit.source.is_capturing:
        raise ValueError(
            f"probes={fit.source.wanted}: the probes are kept from validation, and there is none; "
            "give data=, the data module or the loader of the training, or a ProbeSet"
        )
    else:
        fit.build_probes(trainer, module)
    fit.probes()
    trainer.strategy.connect(module)
    module.trainer = trainer
    trainer.precision_plugin.convert_module(network)
    network.to(trainer.strategy.root_device)


def _has_loader(module: LightningModule) -> bool:
    return not type(module).val_dataloader.__qualname__.startswith("DataHooks.")


# ---- the passes ----------------------------------------------------------------------------------


def _say_where_it_stands(found: list[_Checkpoint], todo: list[_Checkpoint], place: Path) -> None:
    done = len(found) - len(todo)
    if not todo:
        rank_zero_info(f"ablation_cam: {place} has passes of all {done} checkpoints already")
    elif done:
        rank_zero_info(
            f"ablation_cam: {place} has passes of {done} of {len(found)} checkpoints; going on "
            f"with step {todo[0].step}"
        )
    else:
        rank_zero_info(f"ablation_cam: passes of {len(found)} checkpoints go to {place}")


@dataclass
class _Work:
    """Makes the passes, and writes them."""

    fit: Fit
    publisher: Publisher
    trainer: Trainer
    network: nn.Module
    tag: str
    notes: Backfilled
    allow_unsafe_pickle: bool
    loggers: list[Any] = field(default_factory=list)

    def through(
        self,
        todo: list[_Checkpoint],
        *,
        last: _Checkpoint,
        skipped: dict[Path, str],
        progress: bool,
    ) -> list[int]:
        """Make a pass of each checkpoint, and say which steps have one."""
        if not todo:
            return []
        made: list[int] = []
        loggers = importlib.import_module(
            f"{package_for(self.trainer, 'Trainer').__name__}.loggers"
        )
        self.loggers = [loggers.TensorBoardLogger(self.notes.folder, name="", version="")]
        with closing(tqdm(todo, unit="checkpoint", disable=not progress)) as bar:
            for checkpoint in bar:
                bar.set_description(checkpoint.path.name)
                try:
                    self._load(checkpoint)
                    self._look(checkpoint, last=checkpoint is last)
                # The last of them says that the weights have diverged.
                except (CheckpointError, FloatingPointError) as error:
                    skipped[checkpoint.path] = str(error)
                else:
                    made.append(checkpoint.step)
        history = self.fit.passes.history
        if history.passes:
            probes, step = self.fit.probes(), history.passes[-1].step
            _raise(self.publisher.finish(self.loggers, probes, history, step))
        self.loggers[0].finalize("success")
        return made

    def _load(self, checkpoint: _Checkpoint) -> None:
        content = read_checkpoint(checkpoint.path, allow_unsafe_pickle=self.allow_unsafe_pickle)
        strict = True
        if is_module(self.network):
            self.network.on_load_checkpoint(content)
            strict = self.network.strict_loading
        load_weights(self.network, weights_of(content), strict=strict)

    def _look(self, checkpoint: _Checkpoint, *, last: bool) -> None:
        fit, passes, began = self.fit, self.fit.passes, time.perf_counter()
        probes = fit.probes()
        passes.look(
            self.network,
            probes,
            fit.explainer,
            fit.notices,
            step=checkpoint.step,
            epoch=checkpoint.epoch,
            execution=self._execution(),
            signed=fit.signed,
            last=last,
        )
        passes.scalars.note("seconds", time.perf_counter() - began)
        self._log(checkpoint)
        _raise(self.publisher.publish(self.loggers, probes, passes.history, checkpoint.step))
        self.notes.note(checkpoint.step, checkpoint.path.name, fit)

    def _execution(self) -> Execution:
        if is_module(self.network):
            return UnderTrainer(self.trainer, self.network)
        return Alone(self.network)

    def _log(self, checkpoint: _Checkpoint) -> None:
        """Log the scalars that the monitor logs, as Lightning does at the end of a validation."""
        scalars = self.fit.passes.scalars
        known = {f"{self.tag}/{name}": scalars.values[name] for name in sorted(scalars.known)}
        for logger in self.loggers:
            logger.log_metrics({**known, "epoch": checkpoint.epoch}, checkpoint.logged_at)
            logger.save()


def _raise(faults: Iterable[Fault]) -> None:
    """Raise what could not be written: the call can be gone on with, once there is room."""
    for fault in faults:
        raise fault.error


def _settings(monitor: AblationCAMMonitor) -> dict[str, str]:
    """What makes passes comparable, by name: a call that goes on must have the same."""
    options = {
        name: value for name, value in vars(monitor.options).items() if name != "memory_budget"
    }
    asked = {
        "target_layer": monitor.target_layer,
        "classes": monitor.classes,
        "scale": monitor.scale,
        "signed": monitor.signed,
        "measures": monitor.measuring.forwards,
        **options,
    }
    return {name: _spelled(value) for name, value in asked.items()}


def _spelled(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{shown(value)} {value.double().sum().item()!r}"
    if isinstance(value, ProbeSet):
        return value.fingerprint
    if isinstance(value, nn.Module) or callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return shown(value)
