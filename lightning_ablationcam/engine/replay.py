"""The reference engine: plain forward passes with the target layer's output replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.memory import PeakMemory, left
from lightning_ablationcam.engine.pairs import along
from lightning_ablationcam.engine.recorder import Forward, replaced_output, run

ScoreOf: TypeAlias = Callable[[Any, Tensor], Tensor]
"""(model output, index of the image of each row) -> (rows,) class scores."""


@dataclass(frozen=True, eq=False)
class Replay:
    """Every group's drop by brute force: one forward pass for each (image, group) pair.

    Pairs are batched in any composition, except where the model normalises by the statistics of
    the batch: there the image batch is kept whole and a group is ablated in all its images.

    Attributes:
        model: The model, in evaluation mode.
        layer: The target layer.
        inputs: (N, ...) the model's inputs.
        activations: The layer's output for these inputs.
        ablated: The same with every channel ablated.
        owners: (K,) int64 in 0 ... G-1, the group of each channel.
        changed: (N, G) whether ablation changes a pair at all; the others have a drop of exactly
            zero and are not run.
        score_of: Reads class scores off a model output.
        channel_dim: The dimension of ``activations`` that holds the channels.
        forward: ``(model, inputs) -> output``.
    """

    model: nn.Module
    layer: nn.Module
    inputs: Tensor
    activations: Tensor
    ablated: Tensor
    owners: Tensor
    changed: Tensor
    score_of: ScoreOf
    channel_dim: int
    forward: Forward

    def drops(self, memory_budget: int) -> Tensor:
        """(N, G) drops of all pairs, in the scores' dtype.

        Args:
            memory_budget: Bytes that a batch may use, by estimate. Halved when memory runs out.
        """
        if uses_batch_statistics(self.model):
            return self._drops_of_whole_batches()
        pairs = self.changed.nonzero()
        if not len(pairs):
            whole = torch.arange(len(self.inputs), device=self.activations.device)
            return torch.zeros_like(self._scores(whole, self.activations))[:, None].expand(
                self.changed.shape
            )
        found = self.in_batches(pairs, self.pairs_within(memory_budget))
        drops = found.new_zeros(self.changed.shape)
        drops[pairs[:, 0], pairs[:, 1]] = found
        return drops

    def pair_drops(self, pairs: Tensor) -> Tensor:
        """(P,) the drops of (P, 2) (image, group) pairs, in one batch.

        The intact images run in the same batch: kernels are chosen by batch size, and a score from
        another batch would differ by rounding, which is as large as a small drop.
        """
        images, inverse = torch.unique(pairs[:, 0], return_inverse=True)
        ndim = self.activations.ndim
        owner_map = along(self.owners, ndim, self.channel_dim)
        mine = owner_map == along(pairs[:, 1], ndim, 0)
        rows = torch.cat([images, pairs[:, 0]])
        # In place: another copy of the activations would stay for as long as the model runs.
        replaced = self.activations[rows]
        replaced[len(images) :] = torch.where(
            mine, self.ablated[pairs[:, 0]], replaced[len(images) :]
        )
        del mine
        scores = self._scores(rows, replaced)
        return scores[: len(images)][inverse] - scores[len(images) :]

    def _scores(self, images: Tensor, replacement: Tensor) -> Tensor:
        with replaced_output(self.layer, replacement):
            return self.score_of(run(self.model, self.inputs[images], self.forward), images)

    def _drops_of_whole_batches(self) -> Tensor:
        whole = torch.arange(len(self.inputs), device=self.activations.device)
        owner_map = along(self.owners, self.activations.ndim, self.channel_dim)
        intact = self._scores(whole, self.activations)
        columns = [
            intact
            - self._scores(whole, torch.where(owner_map == group, self.ablated, self.activations))
            for group in range(self.changed.shape[1])
        ]
        return torch.stack(columns, dim=1)

    def in_batches(self, pairs: Tensor, size: int) -> Tensor:
        """(P,) the drops of pairs, batch by batch, half as many when memory runs out."""
        results: list[Tensor] = []
        done = 0
        while done < len(pairs):
            try:
                results.append(self.pair_drops(pairs[done : done + size]))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size = max(1, size // 2)
            else:
                done += size
        return torch.cat(results)

    def pairs_within(self, memory_budget: int) -> int:
        """How many pairs fit into a batch, next to the intact images they need; at least one."""
        kept = self.activations.nbytes + self.ablated.nbytes
        # A row holds its replaced activations while the model runs.
        each = bytes_per_image(self.model, self.inputs, self.forward)
        each += 2 * self.activations[:1].nbytes
        rows = left(memory_budget, kept) // each
        groups = self.changed.shape[1]
        return max(1, (rows - 2) * groups // (groups + 1))


def bytes_per_image(model: nn.Module, inputs: Tensor, forward: Forward) -> int:
    """What one more image in a batch costs, measured on one."""
    with PeakMemory() as memory:
        run(model, inputs[:1], forward)
    peak: int = memory.peak
    return inputs[:1].nbytes + peak


def uses_batch_statistics(model: nn.Module) -> bool:
    """Whether a batch norm has no running statistics, so that a row depends on the others."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in model.modules()
    )
