"""The Lightning callback: when to run and whom to tell."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import nn

from lightning_ablationcam.ablations import Ablation
from lightning_ablationcam.arguments import check_choice, is_a, shown
from lightning_ablationcam.auto_layer import is_auto
from lightning_ablationcam.checkpoint import VERSION, StateError, checked_state
from lightning_ablationcam.drawing import score_name
from lightning_ablationcam.engine.replay import uses_batch_statistics
from lightning_ablationcam.explain import explain
from lightning_ablationcam.faults import Reports
from lightning_ablationcam.history import SCALES, History, Scale
from lightning_ablationcam.layers import LayerError, check_target_layer, find_layer
from lightning_ablationcam.loggers.publisher import Publisher
from lightning_ablationcam.loggers.tensorboard import has_tensorboard
from lightning_ablationcam.module_state import forget_unwritten
from lightning_ablationcam.options import Engine, Options
from lightning_ablationcam.probe_source import ExplainedClasses, Probes, ProbeSource
from lightning_ablationcam.probes import DEFAULT_PROBES, ProbeSet
from lightning_ablationcam.ranks import Ranks
from lightning_ablationcam.result import AblationResult, joined
from lightning_ablationcam.schedule import Schedule
from lightning_ablationcam.scores import Score
from lightning_ablationcam.story import Story

LONGEST_TAG = 200
"""Characters of a tag; it is part of every record and of the keys of metrics."""


class AblationCAMMonitor(Callback):
    """Shows in TensorBoard, validation by validation, what a network looks at.

    At the end of validation epochs it computes the Ablation-CAM of a fixed set of probe images and
    writes, under the step ``trainer.global_step``:

    * ``<tag>/overview``: all probes in one picture,
    * ``<tag>_probes/<probe>``: each probe with its heatmap,
    * ``<tag>_evolution/<probe>``: up to eight heatmaps from the first pass to the newest,
    * ``<tag>_animation/<probe>``: at the end of the fit, all passes as one animated picture,
    * the data of the Ablation-CAM tab, which plays the whole training,

    and logs with ``self.log``, at every validation, so that EarlyStopping and ModelCheckpoint can
    monitor them:

    * ``<tag>/drift``: how much the heatmaps changed since the pass before, 0 ... 1,
    * ``<tag>/concentration``: the share of heat in the hottest tenth of the area, 0.1 ... 1,
    * ``<tag>/score``: the class score,
    * ``<tag>/seconds``: how long the newest pass took.

    The first three are means over the probes. Where a pass was skipped or failed the last values
    are logged again; before the first, 1, 0.1, 0 and 0.

    The training is left alone: modes, random numbers and gradients are what they would be without
    the monitor. A checkpoint holds the history, so that a resumed run goes on with it. With several
    processes (DDP) each explains its share of the probes, and the first one writes.

    Args:
        target_layer: Dotted name in the LightningModule (``"model.layer4"``), the module itself, or
            ``"auto"``, the last layer with a spatial map that reaches the score.
        probes: A :class:`~lightning_ablationcam.ProbeSet`, a callable ``(trainer, module) ->
            ProbeSet``, or a number of images to keep from the validation batches as they pass by,
            balanced over the classes.
        classes: Which class is explained: ``"label"``, ``"predicted"``, an int for all probes, or
            one int for each.
        score: As in :func:`~lightning_ablationcam.ablation_cam`.
        ablation: As in :func:`~lightning_ablationcam.ablation_cam`.
        layout: As in :func:`~lightning_ablationcam.ablation_cam`.
        engine: As in :func:`~lightning_ablationcam.ablation_cam`.
        memory_budget: As in :func:`~lightning_ablationcam.ablation_cam`.
        every_n_validations: Run at the first validation and every so many after it, and in any
            case at the last one of a fit.
        scale: What 100 % of the colour scale is: ``"map"`` (each map's own maximum), ``"probe"``
            (its probe's maximum so far) or ``"run"`` (the maximum of all).
        mean: Undoes the normalisation of captured probes for display; where ``probes`` is an int.
        std: Likewise.
        class_names: Name of each class, for captions; where ``probes`` is an int.
        forward: ``(module, inputs) -> logits``; default ``module(inputs)``.
        on_error: What a failed pass does: ``"warn"`` once for each kind of error and go on
            training, or ``"raise"``.
        max_overhead: Share of the training's wall time that passes may take, for example 0.05;
            passes beyond it are skipped, but never the first and the last. Default no limit.
        tag: First part of all tags. Two monitors in one Trainer need two.

    Attributes:
        result: The newest :class:`~lightning_ablationcam.AblationResult`, or None.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range.

    Example:
        >>> monitor = AblationCAMMonitor("model.layer4", probes=8, every_n_validations=2)
    """

    def __init__(
        self,
        target_layer: str | nn.Module = "auto",
        probes: Probes = DEFAULT_PROBES,
        *,
        classes: ExplainedClasses = "label",
        score: Score = "logit",
        ablation: Ablation = "zero",
        layout: str = "auto",
        engine: Engine = "auto",
        memory_budget: int | None = None,
        every_n_validations: int = 1,
        scale: Scale = "probe",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        forward: Callable[[Any, Any], Any] | None = None,
        on_error: Literal["warn", "raise"] = "warn",
        max_overhead: float | None = None,
        tag: str = "ablation_cam",
    ) -> None:
        self.options = Options(
            score=score,
            ablation=ablation,
            layout=layout,
            engine=engine,
            memory_budget=memory_budget,
            forward=forward,
        )
        check_choice("scale", scale, SCALES)
        check_choice("on_error", on_error, ("warn", "raise"))
        check_target_layer(target_layer)
        _check_tag(tag)
        self.target_layer = target_layer
        self.classes = classes
        self.scale = scale
        self.on_error = on_error
        self.tag = tag.strip("/ ")
        self.result: AblationResult | None = None
        self._source = ProbeSource(probes, classes, mean=mean, std=std, class_names=class_names)
        self._schedule = Schedule(every_n_validations, max_overhead)
        self._story = Story()
        self._reports = Reports()
        self._publisher = Publisher(self.tag, scale, score_name(score))
        self._ranks = Ranks()
        self._agreed = False
        self._knows_writes = False
        self._layer: str | nn.Module = target_layer
        self._fit: tuple[weakref.ref[Trainer], weakref.ref[LightningModule]] | None = None
        self._in_fit = False
        self._resumed: object = None

    @property
    def score(self) -> Score:
        """How class scores are read off."""
        return self.options.score

    @property
    def history(self) -> History:
        """The passes so far."""
        return self._story.history

    @property
    def probes(self) -> ProbeSet | None:
        """The probes that are watched, once they are known."""
        return self._source.probes

    # ---- checkpoints -------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """Distinct for each tag, so that two monitors keep two states in a checkpoint."""
        return self._generate_state_key(tag=self.tag)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on from, in tensors and primitives, bounded in size.

        The history, the probes' fingerprint (and the probes themselves where they were kept from
        validation), the count of validations and the newest scalars.
        """
        return {
            "version": VERSION,
            "probes": self._source.state_dict(),
            "validations": self._schedule.validations,
            **self._story.state_dict(),
        }

    # As if it were not overridden: otherwise two monitors of one tag would be refused by a check of
    # Lightning's that comes before ours and does not speak of tags.
    state_dict.__wrapped__ = Callback.state_dict  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of a checkpoint, once the fit starts and the probes are known.

        Some strategies load it when the fit has started, and a learning rate finder in the middle.
        """
        self._resumed = state_dict
        if self._in_fit:
            self._resume()

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to a running fit, so that the callback can be copied during one."""
        running = {"_fit": None, "_in_fit": False}
        # Lightning puts the module's methods here, and the module would be copied with them.
        return {k: v for k, v in self.__dict__.items() if k not in ("log", "log_dict")} | running

    # ---- before the run ----------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the tags and stand before weight averaging, wherever the user put the monitor.

        WeightAveraging swaps the validated weights out again in the hook in which the monitor runs,
        StochasticWeightAveraging at the end of training, where the monitor may have to catch up.
        """
        self._leave()
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        twins = [c for c in callbacks if isinstance(c, AblationCAMMonitor) and c.tag == self.tag]
        if len(twins) > 1:
            raise ValueError(
                f"{len(twins)} AblationCAMMonitors have tag={self.tag!r} and would overwrite each "
                "other's pictures; give each its own tag"
            )
        averaging = ("WeightAveraging", "StochasticWeightAveraging")
        before = next(
            (i for i, c in enumerate(callbacks) if any(is_a(c, name) for name in averaging)), None
        )
        mine = next(i for i, callback in enumerate(callbacks) if callback is self)
        if before is not None and before < mine:
            others = [callback for callback in callbacks if callback is not self]
            # A new list: Lightning is iterating over the old one while it calls this.
            trainer.callbacks = [*others[:before], self, *others[before:]]  # type: ignore[attr-defined]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget a state that was loaded for anything but a fit."""
        self._leave()

    def _leave(self) -> None:
        self._in_fit, self._resumed = False, None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what can be checked without a forward pass."""
        self._schedule.start()
        if not self._goes_on(trainer, pl_module):
            # Another run: its heatmaps, and what it validates on, are its own.
            self._story, self.result = Story(), None
            self._source.forget()
        self._fit = weakref.ref(trainer), weakref.ref(pl_module)
        before = self.probes
        self._build_probes(trainer, pl_module)
        if before is not None and before.fingerprint != self._source.found().fingerprint:
            self._story = Story()
        self._prepare(trainer, pl_module)
        self._in_fit = True
        self._resume()
        if not trainer.enable_validation:
            self._reports.warn(
                "this fit has no validation (validation_step, loader or limit_val_batches is "
                "missing), so no heatmaps will be shown"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the same where validation runs by itself."""
        if trainer.state.fn == "validate":
            self._build_probes(trainer, pl_module, anew=False)
            self._prepare(trainer, pl_module)

    def _build_probes(
        self, trainer: Trainer, module: LightningModule, *, anew: bool = True
    ) -> None:
        """Build the probes on every rank; where that fails on one, all of them say why."""
        self._ranks = Ranks.of(trainer)

        def build() -> None:
            if anew or self.probes is None:
                self._source.start(trainer, module)

        self._ranks.gather(build)

    def _is_of(self, trainer: Trainer) -> bool:
        return self._fit is not None and self._fit[0]() is trainer

    def _goes_on(self, trainer: Trainer, module: LightningModule) -> bool:
        """Whether a fit goes on with the one before: the same Trainer trains the same module."""
        return self._is_of(trainer) and self._fit is not None and self._fit[1]() is module

    def _prepare(self, trainer: Trainer, module: LightningModule) -> None:
        self._agreed = self._knows_writes = False
        self._publisher.start()
        self._reports.start()
        self._layer = self.target_layer
        inherited = ("LightningModule.forward", "_forward_unimplemented")
        has_none = type(module).forward.__qualname__ in inherited and "forward" not in vars(module)
        if self.options.forward is None and has_none:
            raise ValueError(
                f"{type(module).__name__} defines no forward, so the probes cannot be run; define "
                "it, or pass forward=lambda module, inputs: ... that returns the logits"
            )
        if not is_auto(self.target_layer):
            find_layer(module, self.target_layer)
        loggers: list[Any] = trainer.loggers
        if not trainer.fast_dev_run and not has_tensorboard(loggers):  # type: ignore[attr-defined]
            self._reports.warn(
                "the Trainer has no TensorBoardLogger, so no pictures are written; heatmaps are "
                "kept in monitor.history. Pass Trainer(logger=TensorBoardLogger(...))"
            )

    def _resume(self) -> None:
        """Go on from a checkpoint, if the fit began with one."""
        state, self._resumed = self._resumed, None
        if state is None:
            return
        self._story = Story()
        try:
            checked = checked_state(state)
        except StateError as error:
            self._refuse(error)
            return
        self._schedule.validations = checked["validations"]
        passes = checked["history"]["passes"]
        if not passes:
            return
        if not self._source.resume(checked["probes"]):
            self._reports.warn(
                "the probes are not those of the checkpoint, so their heatmaps cannot be compared; "
                "the history starts afresh. Give the same probes to go on with it"
            )
            return
        many, count = len(passes[0]["heatmaps"]), len(self._source.found())
        if many != count:
            self._refuse(f"it holds heatmaps of {many} probes, and there are {count}")
            return
        self._story = Story.from_state(checked)

    def _refuse(self, problem: object) -> None:
        # Also with on_error="raise": no pass has failed, and training loses nothing.
        self._reports.warn(
            f"what the checkpoint holds of the monitor cannot be read: {problem}; the history "
            "starts afresh"
        )

    # ---- during the run ----------------------------------------------------------------------

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look for probes in the batch, before the validation step could change it."""
        if self._source.is_capturing:
            self._attempt(lambda: self._source.offer(batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run a pass where one is due, and log the scalars in any case."""
        if trainer.sanity_checking:
            return
        epoch = trainer.current_epoch
        if trainer.state.fn != "fit":
            self._validate(trainer, pl_module)
            return
        if self._is_due(trainer):
            self._attempt(lambda: self._run_pass(trainer, pl_module, epoch))
        self._log(pl_module)

    def _validate(self, trainer: Trainer, module: LightningModule) -> None:
        """A validation by itself, of whatever weights: the story of a fit stays as it is."""
        told = self._story
        of_a_fit = self._fit is not None and bool(told.history.passes)
        # In the logs of the fit its heatmaps would stand where the fit's do.
        show = not (of_a_fit and self._is_of(trainer))
        try:
            self._story = told.aside() if of_a_fit else told
            self._attempt(lambda: self._run_pass(trainer, module, trainer.current_epoch, show=show))
            self._log(module)
        finally:
            self._story = told

    def _is_due(self, trainer: Trainer) -> bool:
        limit = self._schedule.max_overhead
        # The first rank's clock decides, so that all ranks come to the pass or none.
        wanted = self._schedule.wanted
        costly = limit is not None and self._ranks.share(lambda: self._schedule.too_costly)
        due = self._schedule.due(trainer, too_costly=costly)
        if costly and wanted and not due:
            seconds = self._story.scalars.values["seconds"]
            self._reports.once(
                f"a pass takes {seconds:.2g} s; skipping passes that would take more than "
                f"max_overhead={limit:g} of the training time"
            )
        return due

    def _log(self, module: LightningModule) -> None:
        many = self._ranks.size > 1
        # Lightning's own: the user's may take other arguments.
        log = next(cls.log for cls in type(module).__mro__ if cls.__name__ == "LightningModule")  # type: ignore[attr-defined]
        for name, value in self._story.scalars.values.items():
            # The same on every rank, but for the seconds, of which the slowest count.
            reduce = "max" if name == "seconds" else "mean"
            tag = f"{self.tag}/{name}"
            log(module, tag, value, reduce_fx=reduce, sync_dist=many, batch_size=1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Catch up where the fit ended after a validation without a pass."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not any(is_a(callback, "WeightAveraging") for callback in callbacks):
            self._catch_up(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the whole training as one animation of each probe.

        Before that, catch up where WeightAveraging had to put the averaged weights in place first.
        """
        self._catch_up(trainer, pl_module)
        probes, step = self.probes, trainer.global_step
        if trainer.is_global_zero and probes is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            loggers: list[Any] = trainer.loggers
            self._attempt(
                lambda: self._publisher.publish_animations(loggers, probes, self.history, step)
            )

    def _catch_up(self, trainer: Trainer, module: LightningModule) -> None:
        if self._schedule.missed is not None:
            step, epoch = self._schedule.missed
            self._schedule.missed = None
            if step != trainer.global_step:  # Trained on since: the weights at the end of the fit.
                epoch = max(epoch, trainer.current_epoch - 1)
                self._knows_writes = False
            self._attempt(lambda: self._run_pass(trainer, module, epoch))

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do something that must not end the training, unless the user asked for that."""
        try:
            action()
        except Exception as error:
            if self.on_error == "raise":
                raise
            self._reports.fault(error)

    def _run_pass(
        self, trainer: Trainer, module: LightningModule, epoch: int, *, show: bool = True
    ) -> None:
        started = time.perf_counter()
        try:
            probes = self._agreed_probes()
            if not self._knows_writes:
                forget_unwritten(module)  # Another monitor's forward may write to other things.
            result = self._explain(trainer, module, probes)
            self._knows_writes = True
            first = self.result is None
            self._story.tell(result, trainer.global_step, epoch, self._reports)
            self.result = result
            if result.drops.any():
                # Found by "auto". A layer without effect, as behind a head that is still all
                # zeros, says nothing about where to look; then it is looked for again.
                self._layer = result.layer
            if show and trainer.is_global_zero:
                loggers: list[Any] = trainer.loggers
                self._publisher.publish(loggers, probes, self.history, trainer.global_step)
        finally:
            seconds = time.perf_counter() - started
            self._schedule.took(seconds)
            self._story.scalars.values["seconds"] = seconds
        if first:
            self._say_started(result, seconds)

    def _agreed_probes(self) -> ProbeSet:
        """The same probes on every rank: each saw other batches, or drew another augmentation."""
        if not self._agreed:
            self._source.settle(self._ranks.share(self._source.found))
            self._agreed = True
        return self._source.found()

    def _explain(
        self, trainer: Trainer, module: LightningModule, probes: ProbeSet
    ) -> AblationResult:
        """Explain all probes; where the layer that "auto" had found is gone, look for it again."""
        parts = self._explain_shares(trainer, module, probes)
        if any(isinstance(part, LayerError) for part in parts):
            # Another layer is told of where the history starts afresh.
            self._layer = self.target_layer
            parts = self._explain_shares(trainer, module, probes)
        return joined([part for part in parts if isinstance(part, AblationResult)])

    def _explain_shares(
        self, trainer: Trainer, module: LightningModule, probes: ProbeSet
    ) -> list[AblationResult | LayerError | None]:
        """Explain all probes, each rank its share.

        Returns:
            Of each rank the result; None where it has no share, and the error where the layer that
            "auto" had found is gone. It is no rank's alone, so that all look for another together.
        """
        was_found = is_auto(self.target_layer) and not is_auto(self._layer)
        # Ranks that look for the layer on their own could find different ones.
        split = not is_auto(self._layer) and not uses_batch_statistics(module)
        rows = self._ranks.rows(len(probes), split=split)

        def explain_rows() -> AblationResult | LayerError | None:
            if rows.start == rows.stop:
                return None
            try:
                return explain(
                    trainer,
                    module,
                    self._layer,
                    probes.inputs[rows],
                    self._explained(probes, rows),
                    self.options,
                    self._reports.once,
                )
            except LayerError as error:
                if not was_found:
                    raise
                return error.with_traceback(None)  # Its frames hold a failed pass's tensors.

        return self._ranks.gather(explain_rows)

    def _explained(self, probes: ProbeSet, rows: slice) -> Any:
        """The classes that are explained, as ``ablation_cam`` takes them."""
        if self.classes == "predicted":
            return None
        if self.classes == "label":
            return None if probes.labels is None else probes.labels[rows]
        return list(self.classes)[rows] if isinstance(self.classes, Sequence) else self.classes

    def _say_started(self, result: AblationResult, seconds: float) -> None:
        count, height, width = result.heatmaps.shape
        places = ", ".join(self._publisher.places)
        rank_zero_info(
            f"ablation_cam: watching {count} probes at {result.layer!r} "
            f"({result.drops.shape[1]} channels, {height}x{width}), {result.engine} engine, "
            f"{seconds:.1f} s a pass"
            + (f"; pictures under '{self.tag}' in {places}" if places else "")
        )


def _check_tag(tag: object) -> None:
    if not isinstance(tag, str):
        raise TypeError(f"tag={shown(tag)}; expected a name such as 'ablation_cam'")
    # No event file can hold an unpaired surrogate.
    has_surrogate = any("\ud800" <= character <= "\udfff" for character in tag)
    if not tag.strip("/ ") or has_surrogate or len(tag) > LONGEST_TAG:
        raise ValueError(
            f"tag={shown(tag)}; expected a name such as 'ablation_cam', of at most {LONGEST_TAG} "
            "characters, that can be written as UTF-8"
        )
