"""Explain the probes of a run, pass after pass, in one process or divided among several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.arguments import shown
from lightning_ablationcam.cam import explain_classes
from lightning_ablationcam.engine.layer_search import is_auto
from lightning_ablationcam.engine.recorder import Forward, RejectedError
from lightning_ablationcam.engine.replay import uses_batch_statistics
from lightning_ablationcam.evaluation import measure_faithfulness
from lightning_ablationcam.method.ablations import is_over_reference
from lightning_ablationcam.network.inputs import Inputs, rows_of, tensors
from lightning_ablationcam.network.isolation import warn
from lightning_ablationcam.network.layers import LayerError, TargetLayer, several
from lightning_ablationcam.options import Options
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.probes.source import ExplainedClasses
from lightning_ablationcam.result import AblationResult, joined
from lightning_ablationcam.run.calling import Convention, conventions
from lightning_ablationcam.run.execution import Alone, Execution
from lightning_ablationcam.run.history import over_picture
from lightning_ablationcam.run.ranks import Ranks
from lightning_ablationcam.run.request import Request


class Explainer:
    """Explains probes at one layer; with "auto" it searches for the layer once.

    Args:
        target_layer: As in :func:`~lightning_ablationcam.ablation_cam`.
        classes: ``"label"``, ``"predicted"``, an int for all probes, or one for each.
        options: The other arguments of ``ablation_cam``.
        ranks: The processes of the run.

    Attributes:
        tolerance: That of the options; it may be another one in each pass, on all ranks alike.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 4, 2))
        >>> explainer = Explainer("0", "predicted", Options())
        >>> explainer.explain(model, ProbeSet(torch.rand(3, 1, 4, 4))).heatmaps.shape
        torch.Size([3, 2, 2])
    """

    def __init__(
        self,
        target_layer: TargetLayer,
        classes: ExplainedClasses,
        options: Options,
        ranks: Ranks | None = None,
    ) -> None:
        self._wanted = several(target_layer)
        self._layers = several(target_layer)
        self._convention: Convention | None = None
        self._unmeasurable = False
        self._classes = classes
        self._options = options
        self._ranks = Ranks() if ranks is None else ranks
        self.tolerance = options.tolerance

    @property
    def says(self) -> str | None:
        """How the module is called, where that is not plainly itself."""
        return None if self._convention is None else self._convention.says

    def explain(
        self,
        module: nn.Module,
        probes: ProbeSet,
        execution: Execution | None = None,
        tell: Callable[[str], None] = warn,
    ) -> AblationResult:
        """Explain all probes; if the layer that "auto" had found is gone, search for one again.

        Args:
            module: The module.
            probes: The probes.
            execution: How the module is run; by default by itself.
            tell: Called with a sentence on each thing of the module that could not be restored.

        Returns:
            The result for all probes, the same on every rank.
        """
        how = Alone(module) if execution is None else execution
        ways = [self._convention]
        if self._convention is None:
            embeds = self._options.embeddings is not None
            ways = list(conventions(module, probes, self._options.forward, embeds=embeds))
        first: RejectedError | None = None
        for way in ways:
            assert way is not None
            found = self._explain_by(way, module, probes, how, tell, tentative=len(ways) > 1)
            if isinstance(found, AblationResult):
                self._convention = way
                return found
            first = first or found
        assert first is not None
        raise first

    def run(self, module: nn.Module, probes: ProbeSet) -> Any:
        """What the module makes of the probes, called by itself as :meth:`explain` has called it.

        Args:
            module: The module, as it was explained.
            probes: The probes.
        """
        assert self._convention is not None
        how = Alone(module)
        with torch.no_grad():
            return _under(how, self._convention)(module, how.inputs(self._convention.fed(probes)))

    def measure(
        self,
        module: nn.Module,
        probes: ProbeSet,
        result: AblationResult,
        measures: Sequence[str],
        execution: Execution | None = None,
        tell: Callable[[str], None] = warn,
    ) -> dict[str, Tensor]:
        """Measure how faithful the maps are that :meth:`explain` has found last.

        Args:
            module: The module, as it was explained.
            probes: The probes.
            result: What was found for them.
            measures: Names of measures that cost forward passes.
            execution: As in :meth:`explain`.
            tell: Likewise.

        Returns:
            (N,) float64 of each measure, by name, the same on every rank. None at all where the
            model's output has no class probabilities, or the maps do not lie over what it is fed;
            that is told, and not tried again.

        Raises:
            RejectedError: If the module does not take pictures that were changed for measuring.
        """
        if not measures or self._unmeasurable:
            return {}
        assert self._convention is not None
        way, how = self._convention, Alone(module) if execution is None else execution
        rows = self._ranks.rows(len(probes), split=not uses_batch_statistics(module))

        def measure_mine() -> dict[str, Tensor] | ValueError:
            if rows.start == rows.stop:
                return {}
            request, fed = self._request(probes, rows), way.fed(probes)
            options = replace(self._options, forward=_under(how, way), also=())
            try:
                with how.whole():
                    return measure_faithfulness(
                        module,
                        how.inputs(rows_of(fed, rows)),
                        over_picture(result.heatmaps[rows], probes.images.shape[1:]),
                        result.classes[rows],
                        options,
                        measures,
                        tell,
                        masks=request.masks,
                        declared=request.declared,
                        largest_label=request.largest_label,
                        shown=_path_of(probes.images, fed),
                    )
            except ValueError as error:
                return error.with_traceback(None)  # Its frames hold the pass's tensors.
            except RejectedError as error:
                # As they are, it took the pictures, in the same call.
                raise RejectedError(
                    f"pictures that were changed for {', '.join(measures)} were rejected: "
                    f"{error.__cause__ or error}. The module takes the probes as they are, and "
                    "would have to take parts of them as well"
                ) from error.__cause__

        parts = self._ranks.gather(measure_mine)
        for part in parts:
            if isinstance(part, ValueError):
                tell(f"{', '.join(measures)} cannot be measured: {part}")
                self._unmeasurable = True
                return {}
        found = [part for part in parts if isinstance(part, dict) and part]
        return {name: torch.cat([part[name] for part in found]) for name in measures}

    def _request(self, probes: ProbeSet, rows: slice) -> Request:
        return Request.of(probes, self._classes, self._options.also).rows(rows)

    def _explain_by(
        self,
        way: Convention,
        module: nn.Module,
        probes: ProbeSet,
        execution: Execution,
        tell: Callable[[str], None],
        *,
        tentative: bool,
    ) -> AblationResult | RejectedError:
        """Explain all probes by one convention; where it is one of several it may be rejected."""
        catch = RejectedError if tentative else ()

        def explain_rows(rows: slice) -> AblationResult | RejectedError:
            try:
                return self._explain_rows(way, module, probes, rows, execution, tell)
            except catch as error:
                return RejectedError(str(error))  # Without the failed pass's tensors.

        parts = self._shares(module, len(probes), explain_rows)
        if any(isinstance(part, LayerError) for part in parts):
            # If another layer is found, the user is told and the history starts afresh.
            self._layers = self._wanted
            parts = self._shares(module, len(probes), explain_rows)
        rejection = next((part for part in parts if isinstance(part, RejectedError)), None)
        if rejection is not None:
            return rejection  # On all ranks, so that they try the next one together.
        result = joined([part for part in parts if isinstance(part, AblationResult)])
        if all(each.drops.nan_to_num(0, 0, 0).any() for each in result.layers):
            # Otherwise the layer has no effect, as before a head that is still all zeros: keep
            # nothing, so that the next pass searches again.
            self._layers = [each.layer for each in result.layers]
        return result

    def _shares(
        self,
        module: nn.Module,
        count: int,
        explain_rows: Callable[[slice], AblationResult | RejectedError],
    ) -> list[AblationResult | RejectedError | LayerError | None]:
        """Explain all probes, each rank its share.

        Returns:
            For each rank its result, None if it has no share, or the error if the layer that "auto"
            had found is gone. All ranks get the error, so that they search again together.
        """
        searching = any(map(is_auto, self._layers))
        was_found = any(map(is_auto, self._wanted)) and not searching
        # Ranks that search for the layer on their own could find different ones.
        split = not searching and not uses_batch_statistics(module)
        rows = self._ranks.rows(count, split=split)

        def explain_mine() -> AblationResult | RejectedError | LayerError | None:
            if rows.start == rows.stop:
                return None
            try:
                return explain_rows(rows)
            except LayerError as error:
                if not was_found:
                    raise
                return error.with_traceback(None)  # Its frames hold the failed pass's tensors.

        return self._ranks.gather(explain_mine)

    def _explain_rows(
        self,
        way: Convention,
        module: nn.Module,
        probes: ProbeSet,
        rows: slice,
        execution: Execution,
        tell: Callable[[str], None],
    ) -> AblationResult:
        reference = self._options.reference
        if is_over_reference(self._options.ablation):
            # All probes, also where this rank explains only some of them.
            images = probes if reference is None else reference
            fed = way.fed(images) if isinstance(images, ProbeSet) else images
            if fed is None:
                raise ValueError(
                    f"reference={shown(reference)} holds no batches, and the module is called with "
                    "them; give ProbeSet.from_dataloader(...), or forward="
                )
            reference = execution.inputs(fed)
        request = self._request(probes, rows)
        forward = _under(execution, way)
        with execution.whole():
            return explain_classes(
                module,
                self._layers,
                execution.inputs(rows_of(way.fed(probes), rows)),
                request.classes,
                replace(
                    self._options,
                    forward=forward,
                    also=request.also,
                    reference=reference,
                    tolerance=self.tolerance,
                ),
                tell,
                labels=request.labels,
                masks=request.masks,
                declared=request.declared,
                largest_label=request.largest_label,
            )


def _under(execution: Execution, way: Convention) -> Forward:
    """How a convention calls the module, under an execution."""

    def forward(model: Any, images: Any) -> Any:
        with execution.forward():
            return way.forward(model, images)

    return forward


def _path_of(images: Tensor, fed: Inputs) -> str | None:
    """Where the images are in what is fed; None where that is a single tensor."""
    return next((path for path, tensor in tensors(fed) if tensor is images), None) or None
