"""The reference engine: plain forward passes with the target layer's output replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.memory import PeakMemory, left
from lightning_ablationcam.engine.pairs import along
from lightning_ablationcam.engine.prefix import Prefix
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.recorder import Forward, run
from lightning_ablationcam.network.inputs import Inputs, count_of, nbytes_of, repeated, rows_of
from lightning_ablationcam.network.memory import in_batches, is_out_of_memory

SAME_SCORE = 1e-4
"""Relative error allowed in the intact score where stored results stand in for the prefix."""


class Replay:
    """Every group's drop by brute force: one forward pass for each (image, group) pair.

    Pairs are batched image by image, so that the modules before the layer run once for each image.
    Where the model normalises by the statistics of the batch, the image batch is kept whole and
    each group is ablated in all images at once.

    Args:
        question: The question to answer.
    """

    def __init__(self, question: Question) -> None:
        self.question = question

    def drops(self, memory_budget: int) -> Tensor:
        """(N, G, Q) drops of all pairs, in the scores' dtype.

        Args:
            memory_budget: Bytes that a batch may use, by estimate. The batch is halved when memory
                runs out.
        """
        asked = self.question
        if uses_batch_statistics(asked.model):
            return self._drops_of_whole_batches()
        pairs = asked.changed.nonzero()
        if not len(pairs):
            whole = torch.arange(count_of(asked.inputs), device=asked.activations.device)
            scores = self._scores(whole, asked.activations)
            return scores.new_zeros(*asked.changed.shape, scores.shape[1])
        found = self._image_by_image(pairs, memory_budget)
        drops = found.new_zeros(*asked.changed.shape, found.shape[1])
        drops[pairs[:, 0], pairs[:, 1]] = found
        return drops

    def few_drops(self, pairs: Tensor, memory_budget: int) -> Tensor:
        """(P, Q) the drops of a few pairs, with the prefix of their images computed in one batch.

        Where that fails, the whole network runs for every pair.

        Args:
            pairs: (P, 2) pairs of an image and a group.
            memory_budget: Bytes that a batch may use, by estimate.
        """
        asked = self.question
        images = torch.unique(pairs[:, 0])
        fed = rows_of(asked.inputs, images)
        try:
            with PeakMemory() as memory:
                prefix = Prefix(asked.model, asked.tap.target, fed, asked.forward)
            # A row of the whole network takes more than one of what follows the prefix.
            each = memory.peak // len(images) + 2 * asked.activations[:1].nbytes
            kept = asked.activations.nbytes + asked.ablated.nbytes + prefix.nbytes
            size = self._pairs_in(left(memory_budget, kept) // each)
            return _batched(lambda some: self.pair_drops(some, (prefix, images)), pairs, size)
        except (_PrefixError, RuntimeError, MemoryError):
            prefix = None  # Its memory is needed.
        return self.in_batches(pairs, self.pairs_within(memory_budget))

    def pair_drops(self, pairs: Tensor, known: tuple[Prefix, Tensor] | None = None) -> Tensor:
        """(P, Q) the drops of (P, 2) (image, group) pairs, in one batch.

        The intact images run in the same batch: kernels are chosen by batch size, and a score from
        another batch would differ by rounding, which is as large as a small drop.

        Args:
            pairs: The pairs.
            known: A prefix and the sorted images that it is of, these pairs' among them.
        """
        asked = self.question
        images, inverse = torch.unique(pairs[:, 0], return_inverse=True)
        ndim = asked.activations.ndim
        owner_map = along(asked.owners, ndim, asked.channel_dim)
        mine = owner_map == along(pairs[:, 1], ndim, 0)
        rows = torch.cat([images, pairs[:, 0]])
        # In place: another copy of the activations would stay for as long as the model runs.
        replaced = asked.activations[rows]
        replaced[len(images) :] = torch.where(
            mine, asked.ablated[pairs[:, 0]], replaced[len(images) :]
        )
        del mine
        with _standing_in(known, rows):
            scores = self._scores(rows, replaced)
        intact = scores[: len(images)]
        if known is not None and not _is_same(intact, asked.scores[images]):
            raise _PrefixError
        return intact[inverse] - scores[len(images) :]

    def _scores(self, images: Tensor, replacement: Tensor, inputs: Inputs = None) -> Tensor:
        asked = self.question
        inputs = rows_of(asked.inputs, images) if inputs is None else inputs
        with asked.tap.replaced(replacement):
            return asked.score_of(run(asked.model, inputs, asked.forward), images)

    def _drops_of_whole_batches(self) -> Tensor:
        asked = self.question
        whole = torch.arange(count_of(asked.inputs), device=asked.activations.device)
        owner_map = along(asked.owners, asked.activations.ndim, asked.channel_dim)
        intact = self._scores(whole, asked.activations)
        columns = [
            intact
            - self._scores(whole, torch.where(owner_map == group, asked.ablated, asked.activations))
            for group in range(asked.changed.shape[1])
        ]
        return torch.stack(columns, dim=1)

    def _image_by_image(self, pairs: Tensor, memory_budget: int) -> Tensor:
        """(P, Q) the drops of pairs in their order, with each image's prefix computed once.

        Where that fails, for instance because an op writes into a stored result, the whole network
        runs for every pair.
        """
        rows = self._rows_within(memory_budget)
        try:
            found = [
                self._image_drops(image, pairs[pairs[:, 0] == image, 1], rows - 1)
                for image in pairs[:, 0].unique().tolist()  # type: ignore[no-untyped-call]
            ]
        except (_PrefixError, RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise
            return self.in_batches(pairs, self._pairs_in(rows))
        return torch.cat(found)

    def _image_drops(self, image: int, groups: Tensor, size: int) -> Tensor:
        """(n, Q) the drops of some groups in one image."""
        asked = self.question
        row = slice(image, image + 1)
        fed = rows_of(asked.inputs, row)
        prefix = Prefix(asked.model, asked.tap.target, fed, asked.forward)
        alone = torch.tensor([image], device=groups.device)
        if asked.computed:
            intact = asked.score_of(prefix.output, alone)
        else:
            intact = self._scores(alone, asked.activations[row], fed)
        ndim = asked.activations.ndim
        owner_map = along(asked.owners, ndim, asked.channel_dim)

        def drops_of(groups: Tensor) -> Tensor:
            rows = torch.full((len(groups) + 1,), image, device=groups.device)
            replaced = asked.activations[rows]
            mine = owner_map == along(groups, ndim, 0)
            replaced[1:] = torch.where(mine, asked.ablated[row], replaced[1:])
            del mine
            with prefix.standing_in(torch.zeros_like(rows)):
                scores = self._scores(rows, replaced, repeated(fed, len(rows)))
            if not _is_same(scores[:1], intact):
                raise _PrefixError
            return scores[:1] - scores[1:]

        return _batched(drops_of, groups, max(1, size))

    def in_batches(self, pairs: Tensor, size: int) -> Tensor:
        """(P, Q) the drops of pairs, batch by batch; batches are halved when memory runs out."""
        return _batched(self.pair_drops, pairs, size)

    def pairs_within(self, memory_budget: int) -> int:
        """How many pairs fit into a batch, next to the intact images they need; at least one."""
        return self._pairs_in(self._rows_within(memory_budget))

    def _rows_within(self, memory_budget: int) -> int:
        asked = self.question
        kept = asked.activations.nbytes + asked.ablated.nbytes
        # A row holds its replaced activations while the model runs.
        each = bytes_per_image(asked.model, asked.inputs, asked.forward)
        each += 2 * asked.activations[:1].nbytes
        return left(memory_budget, kept) // each

    def _pairs_in(self, rows: int) -> int:
        asked = self.question
        groups = asked.changed.shape[1]
        return max(1, (rows - 2) * groups // (groups + 1))


class _PrefixError(Exception):
    """The network's score changes when stored results stand in for its prefix."""


def _standing_in(known: tuple[Prefix, Tensor] | None, rows: Tensor) -> AbstractContextManager[None]:
    """Let a prefix stand in for some images' own, if there is one."""
    if known is None:
        return nullcontext()
    prefix, images = known
    return prefix.standing_in(torch.searchsorted(images, rows))


def _is_same(found: Tensor, intact: Tensor) -> bool:
    """Whether scores are those of the intact network, up to rounding."""
    return torch.allclose(found, intact, rtol=SAME_SCORE, atol=0, equal_nan=True)


def _batched(compute: Callable[[Tensor], Tensor], items: Tensor, size: int) -> Tensor:
    return torch.cat(in_batches(len(items), size, lambda rows: compute(items[rows])))


def bytes_per_image(model: nn.Module, inputs: Inputs, forward: Forward) -> int:
    """The memory that one more image in a batch needs, measured on one image."""
    one = rows_of(inputs, slice(1))
    with PeakMemory() as memory:
        run(model, one, forward)
    peak: int = memory.peak
    return nbytes_of(one) + peak


def uses_batch_statistics(model: nn.Module) -> bool:
    """Whether a batch norm has no running statistics, so that a row depends on the others."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in _modules_of(model)
    )


def _modules_of(model: nn.Module) -> Iterable[nn.Module]:
    """All its modules; ``model.modules()`` makes their names too, which takes much longer."""
    found, left_over = {id(model): model}, [model]
    while left_over:
        for child in left_over.pop()._modules.values():
            if child is not None and id(child) not in found:
                found[id(child)] = child
                left_over.append(child)
    return found.values()
