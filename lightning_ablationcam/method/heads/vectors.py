"""Outputs that are embeddings: the score is how alike two of them are."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from lightning_ablationcam.arguments import is_dense, shown
from lightning_ablationcam.method.heads.base import Head, Sayings, best_but
from lightning_ablationcam.method.scores import (
    Score,
    at_least_float32,
    check_classes,
    checked_logits,
)

Embeddings: TypeAlias = Tensor | Literal["own"] | None


def check_embeddings(embeddings: object) -> None:
    """Raise unless these are embeddings to compare with.

    Raises:
        TypeError: If they are of the wrong kind.
        ValueError: If there is none of them, or the word is not known.
    """
    expected = "expected a tensor (C, D) of floats, one row for each caption or class, or 'own'"
    if isinstance(embeddings, str):
        if embeddings != "own":
            raise ValueError(f"embeddings={shown(embeddings)} is not known; {expected}")
        return
    if embeddings is None:
        return
    if not isinstance(embeddings, Tensor) or not is_dense(embeddings):
        raise TypeError(f"embeddings={shown(embeddings)}; {expected}")
    if embeddings.ndim != 2 or not embeddings.numel() or not embeddings.is_floating_point():
        raise ValueError(f"embeddings={shown(embeddings)}; {expected}")
    lengths = embeddings.norm(dim=1)
    wrong = (~lengths.isfinite() | (lengths == 0)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"embeddings={shown(embeddings)} has no direction in row {wrong[0]}, which is all zero "
            "or not finite, as a mean over nothing is"
        )


class Similarity(Head):
    """The cosine of the model's embedding with given ones, of which each counts as a class.

    Args:
        embeddings: (C, D).

    Example:
        >>> head = Similarity(torch.eye(2))
        >>> head.scores(torch.tensor([[3.0, 4.0]]), torch.tensor([1]))
        tensor([0.8000])
    """

    task = "similarity"
    is_affine = False

    def __init__(self, embeddings: Tensor) -> None:
        self.embeddings = embeddings

    @property
    def has_rivals(self) -> bool:
        """Whether there is more than one."""
        return len(self.embeddings) > 1

    def predicted(self, output: Any, count: int) -> Tensor:
        """The embedding that is most alike."""
        return self._cosines(output, count).argmax(dim=1)

    def _cosines(self, output: Any, count: int) -> Tensor:
        """(N, C) cosines with all of them."""
        found = self._checked(output, count)
        return (
            functional.normalize(found, dim=1)
            @ functional.normalize(self.embeddings.to(found), dim=1).T
        )

    def _checked(self, output: Any, count: int) -> Tensor:
        found = at_least_float32(checked_logits(output, count))
        if found.shape[1] != self.embeddings.shape[1]:
            raise ValueError(
                f"embeddings has shape {tuple(self.embeddings.shape)}, but the model returns "
                f"vectors of {found.shape[1]} numbers; expected (C, {found.shape[1]})"
            )
        return found

    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """The cosine with the class's embedding."""
        found = self._checked(output, len(classes))
        check_classes(classes, len(self.embeddings))
        return functional.cosine_similarity(found, self.embeddings.to(found)[classes], dim=1)

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """Raises."""
        raise ValueError(
            "a similarity has no probability; choose score='logit', which is the cosine, or let "
            "forward= return the logits of the captions"
        )

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """The one most alike among the others."""
        return best_but(self._cosines(output, len(taken)), taken)

    def says(self, output: Any, classes: Tensor, score: Score, most: int) -> Sayings:
        """Which is most alike."""
        return Sayings(self.predicted(output, len(classes)))


class OwnSimilarity(Head):
    """The cosine of an ablated embedding with the image's own intact one: 1 minus what is lost.

    It says what an embedding is made of, where there is nothing to compare it with.

    Example:
        >>> output = torch.tensor([[3.0, 4.0]])
        >>> head = OwnSimilarity().settled(output, torch.tensor([0]))
        >>> head.logits(torch.tensor([[3.0, 0.0]]), torch.tensor([0]))
        tensor([0.6000])
    """

    task = "similarity"
    predicts = False
    is_affine = False

    def __init__(self) -> None:
        self.own: Tensor | None = None

    def predicted(self, output: Any, count: int) -> Tensor:
        """The only class, 0."""
        checked_logits(output, count)
        return torch.zeros(count, dtype=torch.int64, device=output.device)

    def settled(self, output: Any, classes: Tensor) -> Head:
        """The same with the intact embeddings."""
        return self._with(at_least_float32(checked_logits(output, len(classes))))

    def rows(self, images: Tensor) -> Head:
        """The same with those of these images."""
        assert self.own is not None
        return self._with(self.own[images])

    def _with(self, own: Tensor) -> Head:
        head = OwnSimilarity()
        head.own = own
        return head

    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """The cosine with the image's own embedding."""
        assert self.own is not None
        check_classes(classes, 1)
        found = at_least_float32(checked_logits(output, len(classes)))
        return functional.cosine_similarity(found, self.own.to(found), dim=1)

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """Raises."""
        raise ValueError("a similarity has no probability; choose score='logit', its cosine")

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """Raises."""
        raise ValueError("embeddings='own' compares an image with itself, which has no rivals")
