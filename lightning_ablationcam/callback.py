"""The Lightning callback: when to run and whom to tell."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from lightning_ablationcam.ablations import Ablation
from lightning_ablationcam.arguments import (
    check_choice,
    check_count,
    check_names,
    is_a,
    is_number,
)
from lightning_ablationcam.cam import AblationResult, ablation_cam, check_options
from lightning_ablationcam.capture import ProbeCapture
from lightning_ablationcam.drawing import draw
from lightning_ablationcam.history import SCALES, History, Pass, Scale
from lightning_ablationcam.isolation import kept_random_state
from lightning_ablationcam.layers import find_layer
from lightning_ablationcam.loggers.tensorboard import (
    TensorBoardImages,
    has_tensorboard,
    tag_names,
    tensorboard_images,
)
from lightning_ablationcam.probes import DEFAULT_PROBES, ProbeSet, channel_statistics
from lightning_ablationcam.schedule import Schedule
from lightning_ablationcam.scores import Score
from lightning_ablationcam.silence import silenced

Probes = ProbeSet | Callable[[Trainer, LightningModule], ProbeSet] | int


class AblationCAMMonitor(Callback):
    """Shows in TensorBoard, validation by validation, what a network looks at.

    At the end of validation epochs it computes the Ablation-CAM of a fixed set of probe images and
    writes, under the step ``trainer.global_step``:

    * ``<tag>/overview``: all probes in one picture,
    * ``<tag>_probes/<probe>``: each probe with its heatmap,
    * ``<tag>_evolution/<probe>``: up to eight heatmaps from the first pass to the newest.

    The training is left alone: modes, random numbers and gradients are what they would be without
    the monitor.

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
            passes beyond it are skipped. Default no limit.
        tag: First part of all tags. Two monitors in one Trainer need two.

    Attributes:
        probes: The :class:`~lightning_ablationcam.ProbeSet`, once it is known.
        history: The passes so far, see :class:`~lightning_ablationcam.history.History`.
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
        classes: Literal["label", "predicted"] | int | Sequence[int] = "label",
        score: Score = "logit",
        ablation: Ablation = "zero",
        layout: str = "auto",
        engine: Literal["auto", "propagate", "replay"] = "auto",
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
        check_options(
            score=score,
            ablation=ablation,
            layout=layout,
            engine=engine,
            memory_budget=memory_budget,
        )
        check_choice("scale", scale, SCALES)
        check_choice("on_error", on_error, ("warn", "raise"))
        check_count("every_n_validations", every_n_validations)
        _check_max_overhead(max_overhead)
        _check_classes_argument(classes)
        if forward is not None and not callable(forward):
            raise TypeError(f"forward={forward!r}; expected a callable (module, inputs) -> logits")
        _check_probes_argument(probes, {"mean": mean, "std": std, "class_names": class_names})
        if not isinstance(target_layer, (str, nn.Module)):
            raise TypeError(
                f"target_layer is a {type(target_layer).__name__}; expected 'auto', a dotted name "
                "or an nn.Module"
            )
        if not isinstance(tag, str) or not tag.strip("/ "):
            raise ValueError(f"tag={tag!r}; expected a name such as 'ablation_cam'")
        self.target_layer = target_layer
        self.classes = classes
        self.score = score
        self.ablation = ablation
        self.layout = layout
        self.engine = engine
        self.memory_budget = memory_budget
        self.scale = scale
        self.forward = forward
        self.on_error = on_error
        self.tag = tag.strip("/ ")
        self.probes: ProbeSet | None = None
        self.history = History()
        self.result: AblationResult | None = None
        self._wanted = probes
        self._mean = channel_statistics("mean", mean)
        self._std = channel_statistics("std", std)
        self._class_names = class_names
        self._capture = ProbeCapture(probes) if isinstance(probes, int) else None
        self._schedule = Schedule(every_n_validations, max_overhead)
        self._writers: list[TensorBoardImages] | None = None
        self._module: weakref.ref[LightningModule] | None = None
        self._layer: str | nn.Module = target_layer
        self._reported: set[str] = set()

    @property
    def state_key(self) -> str:
        """Distinct for each tag, so that two monitors keep two states in a checkpoint."""
        return self._generate_state_key(tag=self.tag)

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to a running fit, so that the callback can be copied during one."""
        return {**self.__dict__, "_writers": None, "_module": None}

    # ---- before the run ----------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the tags and stand before WeightAveraging, wherever the user put the monitor.

        WeightAveraging swaps the validated weights out again in the hook in which the monitor runs.
        """
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        twins = [c for c in callbacks if isinstance(c, AblationCAMMonitor) and c.tag == self.tag]
        if len(twins) > 1:
            raise ValueError(
                f"{len(twins)} AblationCAMMonitors have tag={self.tag!r} and would overwrite each "
                "other's pictures; give each its own tag"
            )
        before = next((i for i, c in enumerate(callbacks) if is_a(c, "WeightAveraging")), None)
        if before is not None and before < callbacks.index(self):
            others = [callback for callback in callbacks if callback is not self]
            # A new list: Lightning is iterating over the old one while it calls this.
            trainer.callbacks = [*others[:before], self, *others[before:]]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what can be checked without a forward pass."""
        self._schedule.start()
        self._prepare(trainer, pl_module)
        if not trainer.enable_validation:
            self._tell(
                "this fit has no validation (validation_step, loader or limit_val_batches is "
                "missing), so no heatmaps will be shown"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the same where validation runs by itself."""
        if trainer.state.fn == "validate":
            self._prepare(trainer, pl_module)

    def _prepare(self, trainer: Trainer, module: LightningModule) -> None:
        self._writers = None
        self._layer = self.target_layer
        self._reported.clear()
        if self._module is None or self._module() is not module:
            self.history, self.result = History(), None
            self._module = weakref.ref(module)
        inherited = type(module).forward.__qualname__
        if self.forward is None and inherited in (
            "LightningModule.forward",
            "_forward_unimplemented",
        ):
            raise ValueError(
                f"{type(module).__name__} defines no forward, so the probes cannot be run; define "
                "it, or pass forward=lambda module, inputs: ... that returns the logits"
            )
        if self.target_layer != "auto":
            find_layer(module, self.target_layer)
        if isinstance(self._wanted, ProbeSet):
            self._accept(self._wanted)
        elif callable(self._wanted):
            with kept_random_state():
                built = self._wanted(trainer, module)
            if not isinstance(built, ProbeSet):
                raise TypeError(
                    f"the probes callable returned a {type(built).__name__}; expected a ProbeSet"
                )
            self._accept(built)
        loggers: list[Any] = trainer.loggers
        if not trainer.fast_dev_run and not has_tensorboard(loggers):  # type: ignore[attr-defined]
            self._tell(
                "the Trainer has no TensorBoardLogger, so no pictures are written; heatmaps are "
                "kept in monitor.history. Pass Trainer(logger=TensorBoardLogger(...))"
            )

    def _accept(self, probes: ProbeSet) -> None:
        """Check the probes against ``classes`` and start watching them."""
        if self.classes == "label" and probes.labels is None:
            raise ValueError(
                "classes='label', but the probes have no labels; give ProbeSet labels, or choose "
                "classes='predicted', an int, or one int for each probe"
            )
        if isinstance(self.classes, Sequence) and not isinstance(self.classes, str):
            if len(self.classes) != len(probes):
                raise ValueError(
                    f"classes has {len(self.classes)} entries for {len(probes)} probes; expected "
                    "one int for each probe"
                )
        if self.probes is not None and self.probes.fingerprint != probes.fingerprint:
            self.history = History()
        self.probes = probes

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
        if self._capture is not None and self.probes is None:
            capture = self._capture
            self._attempt(lambda: capture.offer(batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run a pass where one is due."""
        if trainer.sanity_checking:
            return
        if trainer.state.fn == "fit" and not self._schedule.due(trainer):
            if self._schedule.too_costly:
                self._tell_once(
                    f"skipping passes that would take more than max_overhead="
                    f"{self._schedule.max_overhead:g} of the training time"
                )
            return
        self._attempt(lambda: self._run_pass(trainer, pl_module, trainer.current_epoch))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Catch up where the fit ended after a validation without a pass."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not any(is_a(callback, "WeightAveraging") for callback in callbacks):
            self._catch_up(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Catch up where WeightAveraging had to put the averaged weights in place first."""
        self._catch_up(trainer, pl_module)

    def _catch_up(self, trainer: Trainer, module: LightningModule) -> None:
        if self._schedule.missed is not None:
            step, epoch = self._schedule.missed
            self._schedule.missed = None
            if step != trainer.global_step:  # Trained on since: the weights at the end of the fit.
                epoch = max(epoch, trainer.current_epoch - 1)
            self._attempt(lambda: self._run_pass(trainer, module, epoch))

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do something that must not end the training, unless the user asked for that."""
        try:
            action()
        except Exception as error:
            if self.on_error == "raise":
                raise
            self._tell_once(
                f"no heatmaps this time, training goes on. {type(error).__name__}: {error} "
                "(reported once; on_error='raise' stops the training instead)"
            )

    def _run_pass(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        if not trainer.is_global_zero:
            return
        started = time.perf_counter()
        try:
            probes = self._probes_now()
            first = self.result is None
            self.result = self._explain(trainer, module, probes)
            if self.result.drops.any():
                # Found by "auto". A layer without effect, as behind a head that is still all
                # zeros, says nothing about where to look; then it is looked for again.
                self._layer = self.result.layer
            self.history.append(_as_pass(self.result, trainer.global_step, epoch))
            self._write(trainer, probes, self.result.layer)
        finally:
            self._schedule.took(time.perf_counter() - started)
        if first:
            self._say_started(self.result, time.perf_counter() - started)

    def _probes_now(self) -> ProbeSet:
        if self.probes is None:
            assert self._capture is not None
            if not len(self._capture):
                raise ValueError(
                    f"probes={self._capture.wanted}: no image could be kept from validation: "
                    f"{self._capture.problem}"
                )
            captured = ProbeSet(
                self._capture.images,
                labels=self._capture.labels,
                class_names=self._class_names,
                mean=self._mean,
                std=self._std,
            )
            self._accept(captured)
            self._capture = None
        assert self.probes is not None
        return self.probes

    def _explain(
        self, trainer: Trainer, module: LightningModule, probes: ProbeSet
    ) -> AblationResult:
        inputs: Tensor = trainer.precision_plugin.convert_input(probes.inputs)
        classes: Any = {"label": probes.labels, "predicted": None}.get(
            self.classes if isinstance(self.classes, str) else "", self.classes
        )
        with silenced(module):
            return ablation_cam(
                module,
                self._layer,
                inputs.to(module.device),
                classes,
                score=self.score,
                ablation=self.ablation,
                layout=self.layout,
                engine=self.engine,
                memory_budget=self.memory_budget,
                forward=self.forward,
            )

    # ---- whom to tell ------------------------------------------------------------------------

    def _write(self, trainer: Trainer, probes: ProbeSet, layer: str) -> None:
        if self._writers is None:
            self._writers = tensorboard_images(trainer.loggers)
        if not self._writers:
            return
        tags = dict(zip(probes.names, tag_names(probes.names), strict=True))
        score = self.score if isinstance(self.score, str) else "score"
        for drawing in draw(probes, self.history, layer=layer, scale=self.scale, score=score):
            tag = f"{self.tag}/overview"
            if drawing.kind != "overview":
                tag = f"{self.tag}_{drawing.kind}/{tags[drawing.name]}"
            for writer in self._writers:
                writer.write(tag, drawing.picture, trainer.global_step)
        for writer in self._writers:
            writer.flush()

    def _say_started(self, result: AblationResult, seconds: float) -> None:
        count, height, width = result.heatmaps.shape
        places = ", ".join(writer.directory for writer in self._writers or [])
        rank_zero_info(
            f"ablation_cam: watching {count} probes at {result.layer!r} "
            f"({result.drops.shape[1]} channels, {height}x{width}), {result.engine} engine, "
            f"{seconds:.1f} s a pass"
            + (f"; pictures under '{self.tag}' in {places}" if places else "")
        )

    def _tell_once(self, message: str) -> None:
        """Warn, unless the same was said before in this fit."""
        if message not in self._reported:
            self._reported.add(message)
            self._tell(message)

    def _tell(self, message: str) -> None:
        """Warn; where the user turned warnings into errors, log instead of ending the training."""
        try:
            rank_zero_warn(f"ablation_cam: {message}")
        except UserWarning as raised:
            rank_zero_info(str(raised))


def _as_pass(result: AblationResult, step: int, epoch: int) -> Pass:
    def array(values: Tensor | None) -> Any:
        return None if values is None else values.numpy()

    return Pass(
        step=step,
        epoch=epoch,
        heatmaps=result.heatmaps.numpy(),
        classes=result.classes.numpy(),
        scores=result.scores.double().numpy(),
        predicted=array(result.predicted),
        probabilities=array(result.probabilities),
    )


def _check_max_overhead(max_overhead: object) -> None:
    expected = "expected None or a share of the wall time above 0, such as 0.05"
    if max_overhead is not None and not is_number(max_overhead):
        raise TypeError(f"max_overhead={max_overhead!r}; {expected}")
    if max_overhead is not None and not 0 < max_overhead <= 1:  # type: ignore[operator]
        raise ValueError(f"max_overhead={max_overhead!r}; {expected}")


def _check_classes_argument(classes: object) -> None:
    if isinstance(classes, str):
        check_choice("classes", classes, ("label", "predicted"))
        return
    indices: list[Any] = list(classes) if isinstance(classes, Sequence) else [classes]
    expected = "expected 'label', 'predicted', an int or one int for each probe"
    if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in indices):
        raise TypeError(f"classes={classes!r}; {expected}")
    if not indices or min(indices) < 0:
        raise ValueError(f"classes={classes!r}; {expected}, none of them negative")


def _check_probes_argument(probes: object, display: dict[str, object]) -> None:
    if isinstance(probes, int) and not isinstance(probes, bool):
        check_count("probes", probes)
        if display["class_names"] is not None:
            check_names("class_names", display["class_names"])
        return
    if probes is ProbeSet or not (isinstance(probes, ProbeSet) or callable(probes)):
        raise TypeError(
            f"probes={probes!r}; expected a ProbeSet, a callable "
            "(trainer, module) -> ProbeSet, or a number of images to keep from validation"
        )
    given = [name for name, value in display.items() if value is not None]
    if given:
        raise ValueError(
            f"{' and '.join(given)} only go with probes=<number>; give them to the ProbeSet instead"
        )
