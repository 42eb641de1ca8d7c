"""The reference engine: plain forward passes with the target layer's output replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.recorder import Forward, replaced_output, run

ScoreOf = Callable[[Any, Tensor], Tensor]
"""(model output, index of the image of each row) -> (rows,) class scores."""


def replay_drops(
    model: nn.Module,
    layer: nn.Module,
    inputs: Tensor,
    activations: Tensor,
    ablated: Tensor,
    owners: Tensor,
    score_of: ScoreOf,
    *,
    channel_dim: int,
    forward: Forward,
    pairs_per_batch: int,
) -> Tensor:
    """Every group's drop by brute force: one forward pass for each (image, group) pair.

    Pairs are batched in any composition, except where the model normalises by the statistics of
    the batch: there the image batch is kept whole and a group is ablated in all its images.
    Pairs that ablation does not change have a drop of exactly zero and are not run.

    Args:
        model: The model, in evaluation mode.
        layer: The target layer.
        inputs: (N, ...) the model's inputs.
        activations: The layer's output for these inputs.
        ablated: The same with every channel ablated.
        owners: (K,) int64 in 0 ... G-1, the group of each channel.
        score_of: Reads class scores off a model output.
        channel_dim: The dimension of ``activations`` that holds the channels.
        forward: ``(model, inputs) -> output``.
        pairs_per_batch: How many pairs one batch may hold. Halved when memory runs out.

    Returns:
        (N, G) drops, in the scores' dtype.
    """
    owner_map = _along(owners, activations.ndim, channel_dim)
    changed = _changed(activations, ablated, owners, channel_dim)
    count, groups = changed.shape

    def scores(images: Tensor, replacement: Tensor) -> Tensor:
        with replaced_output(layer, replacement):
            return score_of(run(model, inputs[images], forward), images)

    def drops_of(pairs: Tensor) -> Tensor:
        """The drops of some (image, group) pairs.

        The intact images run in the same batch: kernels are chosen by batch size, and a score from
        another batch would differ by rounding, which is as large as a small drop.
        """
        images, inverse = torch.unique(pairs[:, 0], return_inverse=True)
        mine = owner_map == _along(pairs[:, 1], activations.ndim, 0)
        replaced = torch.where(mine, ablated[pairs[:, 0]], activations[pairs[:, 0]])
        rows = torch.cat([images, pairs[:, 0]])
        all_scores = scores(rows, torch.cat([activations[images], replaced]))
        return all_scores[: len(images)][inverse] - all_scores[len(images) :]

    if uses_batch_statistics(model):
        whole = torch.arange(count, device=activations.device)
        intact = scores(whole, activations)
        columns = [
            intact - scores(whole, torch.where(owner_map == group, ablated, activations))
            for group in range(groups)
        ]
        return torch.stack(columns, dim=1)

    pairs = changed.nonzero()
    if not len(pairs):
        return torch.zeros(count, groups, device=activations.device)
    found = _in_batches(drops_of, pairs, pairs_per_batch)
    drops = found.new_zeros(count, groups)
    drops[pairs[:, 0], pairs[:, 1]] = found
    return drops


def uses_batch_statistics(model: nn.Module) -> bool:
    """Whether a batch norm has no running statistics, so that a row depends on the others."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in model.modules()
    )


def _in_batches(compute: Callable[[Tensor], Tensor], pairs: Tensor, size: int) -> Tensor:
    """Compute pairs batch by batch, with half the batch whenever memory runs out."""
    results: list[Tensor] = []
    done = 0
    while done < len(pairs):
        try:
            results.append(compute(pairs[done : done + size]))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size = max(1, size // 2)
        else:
            done += size
    return torch.cat(results)


def _changed(activations: Tensor, ablated: Tensor, owners: Tensor, channel_dim: int) -> Tensor:
    """(N, G) whether ablating the group changes anything; NaN counts as a change."""
    differs = (activations != ablated).movedim(channel_dim, 1).flatten(2).any(dim=2)
    changed = differs.new_zeros(len(differs), int(owners.max()) + 1, dtype=torch.int64)
    return changed.index_add_(1, owners, differs.long()) > 0


def _along(values: Tensor, ndim: int, dim: int) -> Tensor:
    """Shape (n,) values so that they lie along one of ``ndim`` dimensions."""
    return values.view([-1 if d == dim % ndim else 1 for d in range(ndim)])
