"""Class scores of several classes at once, read off a model's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.method.heads.base import Head
from lightning_ablationcam.method.scores import Score


@dataclass(frozen=True, eq=False)
class Reading:
    """How Q scores of each of N images are read.

    Attributes:
        heads: What the output means for each of the Q classes, settled on the intact output.
        score: What a score is.
        classes: (N, Q) int64, the classes.
        rivals: (N, Q) int64, what each class is contrasted with; where the score is a contrast.
    """

    heads: Sequence[Head]
    score: Score
    classes: Tensor
    rivals: Tensor | None = None

    @classmethod
    def of(
        cls, head: Head, score: Score, classes: Tensor, output: Any, beside: Sequence[bool] = ()
    ) -> Reading:
        """The reading of an intact output, which says what the rivals are.

        They stay what they are when a channel is ablated, so that a contrast is one fixed sum.

        Args:
            head: What the output means.
            score: What a score is.
            classes: (N, Q) int64, the classes.
            output: What the intact model returned.
            beside: For each of the Q classes whether it is read where the first one is, as a rival
                is; by default none is.
        """
        heads = [head.settled(output, column) for column in classes.T]
        heads = [
            heads[0] if place < len(beside) and beside[place] else each
            for place, each in enumerate(heads)
        ]
        if score != "contrast":
            return cls(heads, score, classes)
        rivals = [
            each.rival(output, column[:, None])
            for each, column in zip(heads, classes.T, strict=True)
        ]
        return cls(heads, score, classes, torch.stack(rivals, dim=1))

    def scores(self, output: Any, images: Tensor) -> Tensor:
        """(rows, Q) the scores.

        Args:
            output: What the model returned for some rows.
            images: (rows,) the image of each row.
        """
        # A forward that computes gradients of its own returns tensors that are part of a graph.
        return self._read(output, images).detach()

    def _read(self, output: Any, images: Tensor) -> Tensor:
        read = []
        for place, head in enumerate(self.heads):
            here = head.rows(images)
            mine = here.scores(output, self.classes[images, place], self.score)
            if self.rivals is not None:
                mine = mine - here.logits(output, self.rivals[images, place])
            read.append(mine)
        return torch.stack(read, dim=1)

    @property
    def is_affine(self) -> bool:
        """Whether scores are affine in the output."""
        return (
            isinstance(self.score, str)
            and self.score != "probability"
            and all(head.is_affine for head in self.heads)
        )

    def of_intact(self, output: Tensor) -> Tensor:
        """(N, Q) the scores of the intact rows, differentiable."""
        return self._read(output, torch.arange(len(self.classes), device=output.device))

    @property
    def columns(self) -> tuple[Tensor, Tensor] | None:
        """Where a score is a sum of columns, with signs: (N, Q, M) each; else None."""
        if not self.is_affine:
            return None
        mine = _places(self.heads, self.classes)
        if mine is None or self.rivals is None:
            return None if mine is None else (mine[0][..., None], mine[1][..., None])
        others = _places(self.heads, self.rivals)
        assert others is not None
        return torch.stack([mine[0], others[0]], -1), torch.stack([mine[1], -others[1]], -1)


def _places(heads: Sequence[Head], classes: Tensor) -> tuple[Tensor, Tensor] | None:
    """(N, Q) columns and signs of classes; None where a logit is more than one column."""
    found = [head.columns(column) for head, column in zip(heads, classes.T, strict=True)]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    places, signs = zip(*known, strict=True)
    return torch.stack(places, dim=1), torch.stack(signs, dim=1)
