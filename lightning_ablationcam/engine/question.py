"""The question that both engines answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

from lightning_ablationcam.engine.recorder import Forward
from lightning_ablationcam.engine.tap import Tap
from lightning_ablationcam.network.inputs import Inputs

ScoreOf: TypeAlias = Callable[[Any, Tensor], Tensor]
"""(model output, index of the image of each row) -> (rows, Q) class scores."""


@dataclass(frozen=True, eq=False)
class Question:
    """By how much does each image's class score drop when a group of channels is ablated?

    There are N images, and K channels in G groups; a pair is an image and a group.

    Attributes:
        model: The model, in evaluation mode.
        tap: Where the target's value is.
        forward: ``(model, inputs) -> output``.
        inputs: The model's inputs, for N images.
        output: What the model returned for them.
        activations: That value for these inputs.
        ablated: The same with every channel ablated.
        channel_dim: The dimension of ``activations`` that holds the channels.
        owners: (K,) int64 in 0 ... G-1, the group of each channel; ``NOBODY`` for channels that
            are never ablated, whose ``ablated`` values are those of ``activations``.
        changed: (N, G) whether ablation changes a pair at all; the others have a drop of exactly
            zero and are not run.
        score_of: Reads class scores off a model output.
        scores: (N, Q) the intact class scores, of Q classes of each image.
        columns: Where a score is a sum of columns of what the recorded tail ends in, each with a
            sign, up to a constant: (N, Q, M) int64 columns, and (N, Q, M) signs. None for any other
            score.
        linear: The Q scores of the output for the N images, (N, ...) -> (N, Q), differentiable,
            where they are affine in it and no sum of a few columns. None for any other score.
        differentiable: The Q scores of the output for the N images, (N, ...) -> (N, Q), as a
            function that gradients pass through, of any score.
        precise: Whether the score is to be read off in float64.
        alike: What stands for ``owners`` in what is remembered of the program, so that many
            questions of one kind are checked and measured once. None for the owners themselves.
        computed: Whether the network computes ``activations`` from the inputs; else they are put
            in its place, and ``output`` and ``scores`` are what follows from them.
    """

    model: nn.Module
    tap: Tap
    forward: Forward
    inputs: Inputs
    output: Any
    activations: Tensor
    ablated: Tensor
    channel_dim: int
    owners: Tensor
    changed: Tensor
    score_of: ScoreOf
    scores: Tensor
    columns: tuple[Tensor, Tensor] | None
    differentiable: Callable[[Tensor], Tensor]
    precise: bool
    linear: Callable[[Tensor], Tensor] | None = None
    alike: Hashable = None
    computed: bool = True
