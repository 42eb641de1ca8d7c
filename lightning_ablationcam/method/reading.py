"""Class scores of several classes at once, read off a model's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.method.head import Head
from lightning_ablationcam.method.scores import Score


@dataclass(frozen=True, eq=False)
class Reading:
    """How Q scores of each of N images are read.

    Attributes:
        head: What the output means.
        score: What a score is.
        classes: (N, Q) int64, the classes.
        rivals: (N, Q) int64, what each class is contrasted with; where the score is a contrast.
    """

    head: Head
    score: Score
    classes: Tensor
    rivals: Tensor | None = None

    @classmethod
    def of(cls, head: Head, score: Score, classes: Tensor, output: Any) -> Reading:
        """The reading of an intact output, which says what the rivals are.

        They stay what they are when a channel is ablated, so that a contrast is one fixed sum.
        """
        if score != "contrast":
            return cls(head, score, classes)
        rivals = [head.rival(output, column) for column in classes.T]
        return cls(head, score, classes, torch.stack(rivals, dim=1))

    def scores(self, output: Any, images: Tensor) -> Tensor:
        """(rows, Q) the scores.

        Args:
            output: What the model returned for some rows.
            images: (rows,) the image of each row.
        """
        read = [self.head.scores(output, each, self.score) for each in self.classes[images].T]
        if self.rivals is not None:
            others = [self.head.logits(output, each) for each in self.rivals[images].T]
            read = [mine - other for mine, other in zip(read, others, strict=True)]
        return torch.stack(read, dim=1)

    @property
    def columns(self) -> tuple[Tensor, Tensor] | None:
        """Where a score is a sum of columns, with signs: (N, Q, M) each; else None."""
        if callable(self.score) or self.score == "probability":
            return None
        places, signs = self.head.columns(self.classes)
        if self.rivals is None:
            return places[..., None], signs[..., None]
        other_places, other_signs = self.head.columns(self.rivals)
        return torch.stack([places, other_places], -1), torch.stack([signs, -other_signs], -1)
