"""The Lightning callback: when to run and whom to tell."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from lightning_ablationcam.arguments import check_choice, check_flag, is_a, shown
from lightning_ablationcam.engine.layer_search import is_auto
from lightning_ablationcam.lightning import (
    Callback,
    LightningModule,
    Trainer,
    check_one_package,
    rank_zero_info,
)
from lightning_ablationcam.method.ablations import Ablation
from lightning_ablationcam.method.heads.meaning import AnyTask
from lightning_ablationcam.method.heads.vectors import Embeddings
from lightning_ablationcam.method.scores import Score
from lightning_ablationcam.method.wanted import Also
from lightning_ablationcam.network.declared import declared_task
from lightning_ablationcam.network.layers import TargetLayer, check_target_layer, several
from lightning_ablationcam.network.targets import find_target
from lightning_ablationcam.options import Engine, Options
from lightning_ablationcam.outputs.loggers import BACKENDS, needs_files, unknown_loggers
from lightning_ablationcam.outputs.outlets import Fault
from lightning_ablationcam.outputs.pictures import score_name
from lightning_ablationcam.outputs.publisher import Publisher
from lightning_ablationcam.probes.probe_set import DEFAULT_PROBES, ProbeSet
from lightning_ablationcam.probes.source import ExplainedClasses, Probes, ProbeSource
from lightning_ablationcam.result import AblationResult
from lightning_ablationcam.run.alarms import Alarm
from lightning_ablationcam.run.calling import check_callable_module
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.fit import Fit
from lightning_ablationcam.run.history import SCALES, History, Scale
from lightning_ablationcam.run.logged import log_values
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.run.notices import TAB, Notices, exactness, started
from lightning_ablationcam.run.passes import Passes
from lightning_ablationcam.run.progress import LOGGER, announced
from lightning_ablationcam.run.ranks import Ranks
from lightning_ablationcam.run.schedule import Schedule, ends_fit
from lightning_ablationcam.run.table import table
from lightning_ablationcam.run.tolerance import check_asked_tolerance, share_computed

MAX_TAG_LENGTH = 200
"""Characters of a tag; it is part of every record and of the keys of metrics."""


class AblationCAMMonitor(Callback):
    """Shows in TensorBoard or another logger, validation by validation, what a network looks at.

    At the end of validation epochs it computes the Ablation-CAM of a fixed set of probe images and
    writes, under the step ``trainer.global_step``:

    * ``<tag>/overview``: all probes in one picture,
    * ``<tag>_probes/<probe>``: each probe with its heatmap,
    * ``<tag>_evolution/<probe>``: up to eight heatmaps from the first pass to the newest,
    * ``<tag>_animation/<probe>``: at the end of the fit, all passes as one animated picture,
    * the data of the Ablation-CAM tab, which plays the whole training,

    with a TensorBoardLogger. A WandbLogger, an MLFlowLogger and a CometLogger get the same pictures
    and, at the end of the fit, the tab as a report. With a CSVLogger, with none or with one that is
    not known, all of that is written as files, with the newest maps as arrays in ``heatmaps.npz``:
    beside the CSVLogger's own, or in ``<default_root_dir>/<tag>/version_<number>``. Whichever fails
    is reported once, and the others get everything all the same.

    It logs with ``self.log``, at every validation, so that EarlyStopping and ModelCheckpoint can
    monitor them:

    * ``<tag>/drift`` and ``<tag>/drift_from_first``: how much the heatmaps changed since the pass
      before and since the first, 0 ... 1, and ``<tag>/shift``, how many pixels their centre moved,
    * ``<tag>/concentration``: the share of heat in the hottest tenth of the area, 0.1 ... 1,
    * ``<tag>/border_heat``: its share in the outer tenth of each side, 0 ... 1,
    * ``<tag>/mask_heat`` and ``<tag>/pointing_game``: its share inside the probes' masks, and how
      often the hottest place is inside, 0 ... 1; where the probes have masks,
    * ``<tag>/balance``: the share of the channels' influence that speaks for the class, 0 ... 1,
    * ``<tag>/error``, how far any place of a map may be off, as a share of the map's maximum, with
      99 % confidence, 0 ... 1; where a ``tolerance`` is set, and of the first target layer and the
      class explained there, as the table is,
    * ``<tag>/average_drop``, ``<tag>/increase``, ``<tag>/average_gain``, ``<tag>/insertion`` and
      ``<tag>/deletion``, how faithful the maps are, 0 ... 1; those that ``measures`` names,
    * ``<tag>/score``: the class score,
    * ``<tag>/seconds``: how long the newest pass took,
    * ``<tag>/alarm_<name>``: 1 while that alarm rings, else 0.

    All but the last two are means over the probes. Where a pass was skipped or failed, or did not
    measure something, the last values are logged again. Before the first, loggers get nothing, and
    callbacks the worst: 1 of drifts, ``error``, ``average_drop`` and ``deletion``, the picture's
    diagonal of a shift (1e6 while no picture is known, as at the first validation of a
    ``probes=<number>``), 0.1 of concentration and 0 of the others; but the even 0.36 of border heat
    and 0.5 of balance.

    The training is left alone: modes, random numbers and gradients are what they would be without
    the monitor. A checkpoint holds the history, so that a resumed run goes on with it. With several
    processes (DDP) each explains its share of the probes, and the first one writes.

    Args:
        target_layer: The value that is explained: dotted name of a module in the LightningModule
            (``"model.layer4"``) or the module itself, for what it returns;
            ``"model.bn:activation"`` for what the pointwise operations after it make of that,
            ``"model.pool:input"`` for what it is given, ``"model.act#-1"`` for one of several
            calls; or ``"auto"``, the last spatial value that reaches the score, after its
            activation. Of a list of such the first counts, in scalars and pictures; the tab and
            the report show the others beside it, and ``"fused"``, the geometric mean of all maps on
            the finest grid.
        probes: A :class:`~lightning_ablationcam.ProbeSet`, a callable ``(trainer, module) ->
            ProbeSet``, or a number of images to keep from the validation batches as they pass by,
            balanced over the classes. Masks in those batches are not used for measures.
        classes: Which class is explained: ``"label"``, ``"predicted"``, an int for all probes, or
            one int for each.
        score: As in :func:`~lightning_ablationcam.ablation_cam`.
        ablation: As in :func:`~lightning_ablationcam.ablation_cam`.
        layout: As in :func:`~lightning_ablationcam.ablation_cam`.
        engine: As in :func:`~lightning_ablationcam.ablation_cam`.
        memory_budget: As in :func:`~lightning_ablationcam.ablation_cam`.
        every_n_validations: Run at the first validation and every so many after it, and in any
            case at the last one of a fit.
        scale: What 100 % of the colour scale is: ``"map"`` (each map's own maximum; its balance
            stands beside it, as a number that may be compared over time), ``"probe"`` (maps are as
            bright as their balance beside the probe's largest so far) or ``"run"`` (beside the
            largest of all).
        also: Further classes of each probe, explained in the same pass for next to nothing: the
            tab and the report switch between them. ``"rival"`` is the class with the highest score
            other than the one explained; the others are ``"label"``, ``"predicted"``, an int, one
            int for each probe, and ``()`` for none. The scalars and strips are of the class
            explained first.
        mean: Undoes the normalisation of captured probes for display; where ``probes`` is an int.
        std: Likewise.
        class_names: Name of each class, for captions; where ``probes`` is an int.
        forward: ``(module, inputs) -> logits``; default ``module(inputs)``.
        on_error: What a failed pass does: ``"warn"`` once for each kind of error and go on
            training, or ``"raise"``.
        max_overhead: Share of the training's wall time that passes may take, for example 0.05;
            passes beyond it are skipped, but never the first and the last. Default no limit. With
            ``tolerance="auto"`` they are less exact first.
        tag: First part of all tags. Two monitors in one Trainer need two.
        pictures: Whether to draw pictures for TensorBoard's Images. The tab does not need them, and
            they are nearly all of what a monitor writes.
        reference: The images over which ``ablation="mean"`` and ``"noise"`` take means and
            deviations, default the probes: a tensor or a :class:`~lightning_ablationcam.ProbeSet`.
        output: As in :func:`~lightning_ablationcam.ablation_cam`.
        task: As in :func:`~lightning_ablationcam.ablation_cam`; ``"auto"`` also goes by the labels
            of the probes.
        embeddings: As in :func:`~lightning_ablationcam.ablation_cam`.
        signed: Whether to show what speaks against the class, too, in colours of its own and on the
            same scale; the tab and the report can leave it out again. The scalars are those of what
            speaks for it.
        measures: Names of measures to be taken. Those above are taken anyway; these cost forward
            passes over all probes: ``"average_drop"``, ``"increase"`` and ``"average_gain"`` two
            together, ``"insertion"`` and ``"deletion"`` 32 each; see
            :func:`~lightning_ablationcam.faithfulness`. What a map leaves out or deletes becomes 0
            in the inputs' space: black where inputs are 0 ... 1, the mean of normalised ones.
        measure_every_n_passes: Take what costs forward passes in the first pass and every so many
            after it, and in the last of a fit where that is known to be the last. Where that fails,
            the next pass tries again.
        alarms: When to warn, such as ``[Alarm("border_heat", above=0.5, for_passes=3)]``; see
            :class:`~lightning_ablationcam.Alarm`. What they need is measured.
        tolerance: How far any place of a map may be off, as a share of the map's maximum, with 99 %
            confidence, as in :func:`~lightning_ablationcam.ablation_cam`; default None, exact maps.
            ``"auto"`` spends the budget of ``max_overhead``, which it needs, on exactness before
            passes are skipped: the first pass takes 0.1, and the others the finest of 0.1, 0.05,
            0.02, 0.01 and exact that the time between two validations affords, and tries the next
            finer one once where savings pay for it; the last of a fit takes what is left. The log
            says which, and the most that any map may be off by, and each pass what each may be:
            ``<tag>/error``, in the tab and in :meth:`table`. A change of a map by less than that is
            no news. Of a drift, which is quadratic in it, that is about the square of what both
            maps may be off by together over twice the mean square of the map, its maximum being 1:
            where that is 0.1, a drift of 0.05 from an exact map to one that is off by 0.1, and of
            0.002 to one that is off by 0.02. Set an alarm on ``"drift"`` above that.

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
        target_layer: TargetLayer = "auto",
        probes: Probes = DEFAULT_PROBES,
        *,
        classes: ExplainedClasses = "label",
        score: Score = "logit",
        ablation: Ablation = "zero",
        layout: str = "auto",
        engine: Engine = "auto",
        memory_budget: int | None = None,
        every_n_validations: int = 1,
        scale: Scale = "map",
        also: Also = ("rival",),
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        forward: Callable[[Any, Any], Any] | None = None,
        on_error: Literal["warn", "raise"] = "warn",
        max_overhead: float | None = None,
        tag: str = "ablation_cam",
        pictures: bool = True,
        reference: Any = None,
        output: str | int | None = None,
        task: AnyTask = "auto",
        embeddings: Embeddings = None,
        signed: bool = False,
        measures: Sequence[str] = (),
        measure_every_n_passes: int = 1,
        alarms: Sequence[Alarm] = (),
        tolerance: float | Literal["auto"] | None = None,
    ) -> None:
        check_asked_tolerance(tolerance, max_overhead)
        self.options = Options(
            score=score,
            ablation=ablation,
            layout=layout,
            engine=engine,
            memory_budget=memory_budget,
            forward=forward,
            also=also,
            reference=reference,
            output=output,
            task=task,
            embeddings=embeddings,
            tolerance=None if isinstance(tolerance, str) else tolerance,
        )
        check_choice("scale", scale, SCALES)
        check_choice("on_error", on_error, ("warn", "raise"))
        check_target_layer(target_layer)
        _check_tag(tag)
        self.target_layer = target_layer
        self.classes = classes
        self.scale = scale
        check_flag("pictures", pictures)
        self.pictures = pictures
        check_flag("signed", signed)
        self.signed = signed
        self.on_error = on_error
        self.tag = tag.strip("/ ")
        self.result: AblationResult | None = None
        self._every, self._max_overhead = every_n_validations, max_overhead
        self.tolerance = tolerance
        self._measuring = Measuring(
            measures, measure_every_n_passes, alarms, tolerant=tolerance is not None
        )
        self._measuring.check_options(self.options)
        self._fit = Fit(
            ProbeSource(
                probes,
                classes,
                mean=mean,
                std=std,
                class_names=class_names,
                needs_labels="label" in [entry for entry in also if isinstance(entry, str)],
                has_labels=embeddings is None and task not in ("regression", "segmentation"),
            ),
            self._explainer(Ranks()),
            self._schedule(),
            Passes(self._measuring),
            signed=signed,
        )
        self._fit.expect()
        self._publisher = self._new_publisher()
        self._loaded: dict[str, Any] | None = None
        self._given: set[str] = set()

    # What a fit is begun with.

    def _explainer(self, ranks: Ranks) -> Explainer:
        return Explainer(self.target_layer, self.classes, self.options, ranks)

    def _schedule(self) -> Schedule:
        return Schedule(self._every, self._max_overhead, self.tolerance)

    def _new_publisher(self, files_in: str | None = None) -> Publisher:
        return Publisher(
            self.tag,
            self.scale,
            score_name(self.score),
            pictures=self.pictures,
            measuring=self._measuring,
            files_in=files_in,
        )

    def afresh(self) -> tuple[Fit, Publisher]:
        """A fit of its own, without Trainer or passes, and what writes it: the monitor stays."""
        fit = Fit(
            self._fit.source.anew(),
            self._explainer(Ranks()),
            self._schedule(),
            Passes(self._measuring),
            signed=self.signed,
        )
        return fit, self._new_publisher()

    @property
    def score(self) -> Score:
        """How class scores are read off."""
        return self.options.score

    @property
    def history(self) -> History:
        """The passes so far."""
        return self._fit.passes.history

    @property
    def probes(self) -> ProbeSet | None:
        """The probes that are watched, once they are known."""
        return self._fit.source.probes

    @property
    def measuring(self) -> Measuring:
        """What is measured, and what of it rings an alarm."""
        return self._measuring

    def table(self) -> dict[str, list[Any]]:
        """What was seen, one row for each probe and pass, as ``pandas.DataFrame`` takes it.

        Returns:
            Columns of the same length, of plain numbers, texts and None for what is not known, by
            name: ``step``, ``epoch``, ``probe``, ``class``, ``class_name``, ``predicted``,
            ``label``, ``score``, ``probability``, each measure, and ``alarm_<name>``, whether that
            alarm rings for the probe.

        Example:
            >>> AblationCAMMonitor(alarms=[Alarm("drift", above=0.5)]).table()["alarm_drift"]
            []
        """
        return table(self.history, self.probes, self._measuring)

    # ---- checkpoints -------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """Distinct for each tag, so that two monitors keep two states in a checkpoint."""
        return self._generate_state_key(tag=self.tag)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on from, in tensors and primitives, bounded in size.

        The history, the probes' fingerprint (and the probes themselves where they were kept from
        validation), the counts of validations and passes, the newest scalars and how the alarms
        stand.
        """
        return self._fit.state_dict()

    # As if it were not overridden: otherwise two monitors of one tag would be refused by a check of
    # Lightning's that comes before ours and does not speak of tags.
    state_dict.__wrapped__ = Callback.state_dict  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of a checkpoint, once the fit starts and the probes are known.

        Some strategies load it when the fit has started, and a learning rate finder in the middle.
        """
        self._loaded = state_dict
        if self._fit.running:
            self._resume()

    def __getstate__(self) -> dict[str, Any]:
        """Without what Lightning puts here: methods of the module, which would be copied too."""
        return {k: v for k, v in self.__dict__.items() if k not in ("log", "log_dict")}

    # ---- before the run ----------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the packages and tags, and stand before weight averaging, wherever the user put it.

        WeightAveraging swaps the validated weights out again in the hook in which the monitor runs,
        StochasticWeightAveraging at the end of training, where the monitor may have to catch up.
        """
        self._leave()
        check_one_package(trainer, pl_module)
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
        self._fit.running, self._loaded = False, None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what can be checked without a forward pass."""
        before, ranks = self._fit, Ranks.of(trainer)
        goes_on = before.goes_on_in(trainer, pl_module)
        # Another run: its heatmaps, and what it validates on, are its own.
        source = before.source if goes_on else before.source.anew()
        self._fit = fit = Fit(
            source,
            self._explainer(ranks),
            self._schedule(),
            before.passes if goes_on else Passes(self._measuring),
            ranks,
            of=(weakref.ref(trainer), weakref.ref(pl_module)),
            signed=self.signed,
            told_tolerance=before.told_tolerance,
        )
        if not goes_on:
            self.result = None
        fit.passes.alarms.forget_told()
        if declared_task(pl_module)[0] == "regression":
            source.has_labels = False
        known = source.probes
        fit.build_probes(trainer, pl_module)
        if known is not None and known.fingerprint != source.found().fingerprint:
            fit.passes = Passes(self._measuring)
        fit.expect()
        self._prepare(trainer, pl_module)
        fit.running = True
        self._resume()
        if not trainer.enable_validation:
            fit.notices.warn(
                "this fit has no validation (validation_step, loader or limit_val_batches is "
                "missing), so no heatmaps will be shown"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the same where validation runs by itself."""
        if trainer.state.fn != "validate":
            return
        ranks = Ranks.of(trainer)
        explainer = self._explainer(ranks)
        self._fit = replace(
            self._fit,
            ranks=ranks,
            explainer=explainer,
            notices=Notices(),
            agreed=False,
            knows_writes=False,
        )
        if self.probes is None:
            self._fit.build_probes(trainer, pl_module)
        self._fit.expect()
        self._prepare(trainer, pl_module)

    def _prepare(self, trainer: Trainer, module: LightningModule) -> None:
        if self.options.forward is None:
            check_callable_module(module, embeds=self.options.embeddings is not None)
        for layer in several(self.target_layer):
            if not is_auto(layer):
                find_target(module, layer)
        self._open(trainer)

    def _open(self, trainer: Trainer) -> None:
        """Find out where to write to, and say which loggers show nothing."""
        loggers: list[Any] = trainer.loggers
        # Such runs are to leave nothing behind.
        bare = bool(trainer.fast_dev_run or trainer.barebones)  # type: ignore[attr-defined]
        self._publisher = self._new_publisher(None if bare else str(trainer.default_root_dir))
        if bare and trainer.barebones:
            self._fit.notices.warn(
                "Trainer(barebones=True) logs nothing, so no pictures are written; heatmaps are "
                "kept in monitor.history"
            )
        elif not bare and (unknown := unknown_loggers(loggers)):
            instead = "the other loggers show everything"
            if needs_files(loggers):
                instead = f"everything goes to files below {trainer.default_root_dir}"
            self._fit.notices.warn(
                f"nothing can be shown in {', '.join(unknown)} (known: {', '.join(BACKENDS)}); "
                f"{instead}"
            )

    def _resume(self) -> None:
        """Go on from a checkpoint, if the fit began with one."""
        state, self._loaded = self._loaded, None
        if state is not None:
            self._fit.resume(state)

    # ---- during the run ----------------------------------------------------------------------

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give neutral values to callbacks that monitor what is not measured yet, but no logger.

        In a hook of its own: Lightning takes a name in one hook with the same arguments only.
        """
        if trainer.sanity_checking:
            return
        self._fit.passes.expect(self.probes)
        scalars = self._fit.passes.scalars
        self._given = scalars.values.keys() - scalars.known
        neutral = {name: scalars.values[name] for name in sorted(self._given)}
        log_values(pl_module, self.tag, neutral, many=self._fit.ranks.size > 1, logger=False)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look for probes in the batch, before the validation step could change it."""
        source = self._fit.source
        if source.is_capturing:
            self._attempt(lambda: source.offer(batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run a pass where one is due, and log the scalars in any case."""
        if trainer.sanity_checking:
            return
        epoch = trainer.current_epoch
        if trainer.state.fn != "fit":
            self._validate(trainer, pl_module)
            return
        if self._is_due(trainer):
            last, made = ends_fit(trainer), self._fit.passes.made
            self._attempt(lambda: self._run_pass(trainer, pl_module, epoch, last=last))
            self._stop(trainer, made)
        self._log(pl_module)

    def _stop(self, trainer: Trainer, made: int) -> None:
        """Ask the fit to end where an alarm does, if a pass was made; the first rank decides."""
        passes = self._fit.passes
        if not any(alarm.stop for alarm in passes.alarms.rules):
            return
        asking = self._fit.ranks.share(
            lambda: [
                (ring.alarm.called, ring.reason)
                for ring in passes.alarms.asking
                if passes.made > made
            ]
        )
        if asking and not trainer.should_stop:
            trainer.should_stop = True
            reasons = "; ".join(
                f"alarm {name!r} asks the fit to end (stop=True): {reason}"
                for name, reason in asking
            )
            self._fit.notices.warn(reasons)

    def _validate(self, trainer: Trainer, module: LightningModule) -> None:
        """A validation by itself, of whatever weights: what was seen in a fit stays as it is."""
        fit = self._fit
        seen = fit.passes
        of_a_fit = fit.of is not None and bool(seen.history.passes)
        # In the logs of the fit its heatmaps would stand where the fit's do.
        show = not (of_a_fit and fit.is_of(trainer))
        try:
            fit.passes = seen.aside() if of_a_fit else seen
            self._attempt(lambda: self._run_pass(trainer, module, trainer.current_epoch, show=show))
            self._log(module)
        finally:
            fit.passes = seen

    def _is_due(self, trainer: Trainer) -> bool:
        schedule = self._fit.schedule
        limit = schedule.max_overhead
        # The first rank's clock decides, so that all ranks come to the pass or none.
        wanted = schedule.wanted
        forwards = self._fit.passes.takes_forwards
        costly = limit is not None and self._fit.ranks.share(
            lambda: schedule.too_costly(forwards=forwards)
        )
        due = schedule.due(trainer, too_costly=costly)
        if costly and wanted and not due:
            seconds = schedule.cost(forwards=forwards)
            self._fit.notices.once(
                f"a pass takes {seconds:.2g} s; skipping passes that would take more than "
                f"max_overhead={limit:g} of the training time"
            )
        return due

    def _log(self, module: LightningModule) -> None:
        """Log what was measured; what is still neutral was given to the callbacks before."""
        scalars = self._fit.passes.scalars
        measured = {
            name: value
            for name, value in scalars.values.items()
            if name in scalars.known or name not in self._given
        }
        log_values(module, self.tag, measured, many=self._fit.ranks.size > 1)

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
                lambda: self._tell_faults(
                    self._publisher.finish(loggers, probes, self.history, step)
                )
            )

    def _catch_up(self, trainer: Trainer, module: LightningModule) -> None:
        schedule = self._fit.schedule
        if schedule.missed is not None:
            step, epoch = schedule.missed
            schedule.missed = None
            if step != trainer.global_step:  # Trained on since: the weights at the end of the fit.
                epoch = max(epoch, trainer.current_epoch - 1)
                self._fit.knows_writes = False
            self._attempt(lambda: self._run_pass(trainer, module, epoch, last=True))

    def _attempt(
        self, action: Callable[[], None], lost: str = "no heatmaps", where: str = ""
    ) -> None:
        """Do something that must not end the training, unless the user asked for that."""
        try:
            action()
        except Exception as error:
            if self.on_error == "raise":
                raise
            self._fit.notices.fault(error, lost, where)

    def _tell_faults(self, faults: Sequence[Fault]) -> None:
        """Report what could not be written, each logger by itself."""
        for fault in faults:
            self._attempt(partial(_raise, fault.error), where=f" in {fault.called}")

    def _run_pass(
        self,
        trainer: Trainer,
        module: LightningModule,
        epoch: int,
        *,
        show: bool = True,
        last: bool = False,
    ) -> None:
        fit, began, faults = self._fit, time.perf_counter(), list[Exception]()
        unwritten: Sequence[Fault] = ()
        passes, share = fit.passes, None
        passes.forwards_took = passes.explaining_took = 0.0
        self._choose_tolerance(last=last)
        try:
            with announced(trainer, self._expected(last=last)):
                result = fit.look(trainer, module, epoch, last=last, faults=faults)
            first, self.result = self.result is None, result
            share = share_computed(result)
            if show and trainer.is_global_zero:
                loggers: list[Any] = trainer.loggers
                unwritten = self._publisher.publish(
                    loggers, fit.probes(), self.history, trainer.global_step
                )
        finally:
            seconds = time.perf_counter() - began
            fit.schedule.took(
                seconds,
                passes.forwards_took,
                explaining=passes.explaining_took,
                tolerance=fit.explainer.tolerance,
                share=share,
            )
            passes.scalars.note("seconds", seconds)
        self._tell(result, seconds, trainer.global_step, first=first)
        self._tell_faults(unwritten)
        for fault in faults:
            self._attempt(partial(_raise, fault), "no measures of faithfulness")

    def _expected(self, *, last: bool) -> float | None:
        """How many seconds the pass will take; None before any."""
        fit = self._fit
        forwards = last or fit.passes.takes_forwards
        return fit.schedule.cost(forwards=forwards) if fit.passes.made else None

    def _choose_tolerance(self, *, last: bool) -> None:
        """Have the next pass at the tolerance that the budget affords; the first rank decides."""
        fit = self._fit
        if fit.schedule.is_auto:
            forwards = fit.passes.takes_forwards
            fit.explainer.tolerance = fit.ranks.share(
                lambda: fit.schedule.tolerance(forwards=forwards, last=last)
            )

    def _tell(self, result: AblationResult, seconds: float, step: int, *, first: bool) -> None:
        """Say in the log what the first pass found, and when the tolerance is another one."""
        fit, taken = self._fit, self._fit.explainer.tolerance
        if LOGGER.isEnabledFor(logging.DEBUG):
            LOGGER.debug(
                "step %d: a pass of %.3f s, of which forwards of measures %.3f s, %s engine; %s",
                step,
                seconds,
                fit.passes.forwards_took,
                result.engine,
                exactness(result, taken),
            )
        exact = None if self.tolerance is None else exactness(result, taken)
        if first:
            places = ", ".join(self._publisher.places)
            where = f"; pictures under '{self.tag}' in {places}" if places else ""
            tab = f"; {TAB}" if self._publisher.has_tab else ""
            reports = ", ".join(self._publisher.reports_in)
            end = f"; the end of the fit adds the report to {reports}" if reports else ""
            said = started(result, seconds, fit.explainer.says, exact)
            rank_zero_info(f"{said}{where}{tab}{end}")
        elif taken != fit.told_tolerance:
            rank_zero_info(f"ablation_cam: from step {step} on {exact}, {seconds:.1f} s a pass")
        fit.told_tolerance = taken


def _raise(error: Exception) -> None:
    raise error


def _check_tag(tag: object) -> None:
    if not isinstance(tag, str):
        raise TypeError(f"tag={shown(tag)}; expected a name such as 'ablation_cam'")
    # No event file can hold an unpaired surrogate.
    has_surrogate = any("\ud800" <= character <= "\udfff" for character in tag)
    if not tag.strip("/ ") or has_surrogate or len(tag) > MAX_TAG_LENGTH:
        raise ValueError(
            f"tag={shown(tag)}; expected a name such as 'ablation_cam', of at most "
            f"{MAX_TAG_LENGTH} characters, that can be written as UTF-8"
        )
