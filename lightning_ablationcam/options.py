"""How an explanation is computed: what ``ablation_cam`` and the monitor have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from torch import Tensor, nn

from lightning_ablationcam.arguments import (
    check_callable,
    check_choice,
    check_memory_budget,
    check_tolerance,
)
from lightning_ablationcam.engine.recorder import Forward
from lightning_ablationcam.method.ablations import Ablation, check_ablation, check_reference
from lightning_ablationcam.method.heads.meaning import AnyTask, check_task
from lightning_ablationcam.method.heads.vectors import Embeddings, check_embeddings
from lightning_ablationcam.method.outputs import check_independent, check_output, picked
from lightning_ablationcam.method.scores import Score, check_score
from lightning_ablationcam.method.wanted import Also, check_also
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.inputs import Inputs, count_of
from lightning_ablationcam.network.layers import check_layout

Engine: TypeAlias = Literal["auto", "propagate", "replay"]
ENGINES = ("auto", "propagate", "replay")

Groups: TypeAlias = Sequence[int] | Tensor | np.ndarray | None


@dataclass(frozen=True, eq=False)
class Options:
    """What is asked of every image alike; checks itself as far as that needs no model.

    Attributes:
        score: As in :func:`~lightning_ablationcam.ablation_cam`, and so are the others.
        ablation: What takes a channel's place.
        groups: (K,) labels of channels that are ablated together.
        layout: Where channels and positions are in the layer's output.
        engine: Which engine computes the drops.
        memory_budget: Bytes one batch may use.
        forward: ``(model, inputs) -> output``; None becomes a call of the model.
        also: Further classes.
        reference: What ``ablation="mean"`` and ``"noise"`` take means and deviations over.
        output: Which part of what the model returns are the logits.
        task: What the logits mean.
        embeddings: What the model's embeddings are compared with.
        keep_maps: Whether the result holds the channels' maps. The passes of a run do not: their
            maps would be moved off the device and between ranks for nothing.
        tolerance: What a heatmap may be off by, as a share of its maximum; None for nothing.

    Raises:
        TypeError: If one is of the wrong kind.
        ValueError: If one is out of range.

    Example:
        >>> Options(engine="fast")
        Traceback (most recent call last):
        ValueError: engine='fast' is not known; choose 'auto', 'propagate', 'replay'
    """

    score: Score = "logit"
    ablation: Ablation = "zero"
    groups: Groups = None
    layout: str = "auto"
    engine: Engine = "auto"
    memory_budget: int | None = None
    forward: Forward | None = None
    also: Also = ()
    reference: Any = None
    output: str | int | None = None
    task: AnyTask = "auto"
    embeddings: Embeddings = None
    keep_maps: bool = False
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_score(self.score)
        check_also(self.also)
        check_reference(self.reference, self.ablation)
        check_ablation(self.ablation)
        check_layout(self.layout)
        check_choice("engine", self.engine, ENGINES)
        check_memory_budget(self.memory_budget)
        check_tolerance(self.tolerance)
        check_output(self.output)
        check_embeddings(self.embeddings)
        check_task(self.task, self.embeddings)
        if self.forward is not None:
            check_callable("forward", self.forward, "(model, inputs) -> output")

    @property
    def reference_inputs(self) -> Tensor | None:
        """The reference set as the model takes it."""
        found: Tensor | None = getattr(self.reference, "inputs", self.reference)
        return found

    @property
    def run(self) -> Forward:
        """How the model is called, and its logits found; a score of the user's own reads it all."""
        forward = call if self.forward is None else self.forward
        if callable(self.score) and self.output is None:
            return forward

        def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
            returned = forward(model, inputs)
            if self.output is None and not isinstance(inputs, Tensor):
                check_independent(returned)
            return picked(returned, self.output, count_of(inputs))

        return logits_of
