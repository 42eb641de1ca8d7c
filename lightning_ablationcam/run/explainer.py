"""Explain the probes of a run, pass after pass, in one process or divided among several."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from lightning_ablationcam.cam import explain_classes
from lightning_ablationcam.engine.layer_search import is_auto
from lightning_ablationcam.engine.replay import uses_batch_statistics
from lightning_ablationcam.method.wanted import Also
from lightning_ablationcam.network.isolation import warn
from lightning_ablationcam.network.layers import LayerError
from lightning_ablationcam.options import Options
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.probes.source import ExplainedClasses
from lightning_ablationcam.result import AblationResult, joined
from lightning_ablationcam.run.execution import Alone, Execution
from lightning_ablationcam.run.ranks import Ranks


class Explainer:
    """Explains probes at one layer; with "auto" it searches for the layer once.

    Args:
        target_layer: As in :func:`~lightning_ablationcam.ablation_cam`.
        classes: ``"label"``, ``"predicted"``, an int for all probes, or one for each.
        options: The other arguments of ``ablation_cam``.
        ranks: The processes of the run.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 4, 2))
        >>> explainer = Explainer("0", "predicted", Options())
        >>> explainer.explain(model, ProbeSet(torch.rand(3, 1, 4, 4))).heatmaps.shape
        torch.Size([3, 2, 2])
    """

    def __init__(
        self,
        target_layer: str | nn.Module,
        classes: ExplainedClasses,
        options: Options,
        ranks: Ranks | None = None,
    ) -> None:
        self._wanted = target_layer
        self._layer = target_layer
        self._classes = classes
        self._options = options
        self._ranks = Ranks() if ranks is None else ranks

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

        def explain_rows(rows: slice) -> AblationResult:
            return self._explain_rows(module, probes, rows, how, tell)

        parts = self._shares(module, len(probes), explain_rows)
        if any(isinstance(part, LayerError) for part in parts):
            # If another layer is found, the user is told and the history starts afresh.
            self._layer = self._wanted
            parts = self._shares(module, len(probes), explain_rows)
        result = joined([part for part in parts if isinstance(part, AblationResult)])
        if result.drops.nan_to_num(0, 0, 0).any():
            # Otherwise the layer has no effect, as before a head that is still all zeros: keep
            # nothing, so that the next pass searches again.
            self._layer = result.layer
        return result

    def _shares(
        self, module: nn.Module, count: int, explain_rows: Callable[[slice], AblationResult]
    ) -> list[AblationResult | LayerError | None]:
        """Explain all probes, each rank its share.

        Returns:
            For each rank its result, None if it has no share, or the error if the layer that "auto"
            had found is gone. All ranks get the error, so that they search again together.
        """
        was_found = is_auto(self._wanted) and not is_auto(self._layer)
        # Ranks that search for the layer on their own could find different ones.
        split = not is_auto(self._layer) and not uses_batch_statistics(module)
        rows = self._ranks.rows(count, split=split)

        def explain_mine() -> AblationResult | LayerError | None:
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
        module: nn.Module,
        probes: ProbeSet,
        rows: slice,
        execution: Execution,
        tell: Callable[[str], None],
    ) -> AblationResult:
        run = self._options.run
        reference = self._options.reference_inputs
        if self._options.ablation == "mean" and not callable(self._options.ablation):
            # All probes, also where this rank explains only some of them.
            reference = execution.inputs(probes.inputs if reference is None else reference)

        def forward(model: Any, images: Any) -> Any:
            with execution.forward():
                return run(model, images)

        with execution.whole():
            return explain_classes(
                module,
                self._layer,
                execution.inputs(probes.inputs[rows]),
                self._wanted_classes(probes, rows),
                replace(self._options, forward=forward, also=self._also(rows), reference=reference),
                tell,
                labels=None if probes.labels is None else {"label": probes.labels[rows]},
            )

    def _also(self, rows: slice) -> Also:
        """The further classes, those that are given for each probe for some of them."""
        is_one = (str, numbers.Integral)
        return [entry if isinstance(entry, is_one) else entry[rows] for entry in self._options.also]

    def _wanted_classes(self, probes: ProbeSet, rows: slice) -> Any:
        """The classes that are explained, as ``ablation_cam`` takes them."""
        classes = self._classes
        if classes == "predicted":
            return None
        if classes == "label":
            return None if probes.labels is None else probes.labels[rows]
        return list(classes)[rows] if isinstance(classes, Sequence) else classes
