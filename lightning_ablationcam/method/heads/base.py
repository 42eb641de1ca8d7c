"""What every kind of output has in common: classes are read off it, and their scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.method.scores import Score, called_score, check_classes

Task: TypeAlias = Literal[
    "multiclass", "binary", "multilabel", "regression", "segmentation", "similarity"
]

Activation: TypeAlias = Literal["softmax", "sigmoid"] | None
"""What a model applies to its logits before it returns them; None where it returns logits."""


@dataclass(frozen=True, eq=False)
class Sayings:
    """What captions may say about an output; None where it is not known.

    Attributes:
        predicted: (N,) int64, the predicted classes.
        probabilities: (N,) of the classes explained.
        top_classes: (N, T) int64, the classes with the highest scores, the highest first.
        top_probabilities: (N, T) of those.
    """

    predicted: Tensor | None = None
    probabilities: Tensor | None = None
    top_classes: Tensor | None = None
    top_probabilities: Tensor | None = None


class Head(ABC):
    """Reads classes and scores off a model's output.

    Attributes:
        task: What the model does, as the argument ``task`` calls it; None where that is open.
        predicts: Whether there is a class that the model decides for.
        has_rivals: Whether there are other classes beside the one explained.
        is_affine: Whether logits are affine in the output.
    """

    task: ClassVar[Task | None] = None
    predicts: ClassVar[bool] = True
    is_affine: ClassVar[bool] = True

    @property
    def has_rivals(self) -> bool:
        """Whether there are other classes."""
        return self.predicts

    def scores(self, output: Any, classes: Tensor, score: Score = "logit") -> Tensor:
        """The score of one class for each row.

        Args:
            output: What the model returned for N rows.
            classes: (N,) int64, the class of each row.
            score: ``"logit"``, ``"probability"`` or a callable ``(output, classes) -> (N,)``; of
                a ``"contrast"`` the part that speaks for the class, its logit.

        Returns:
            (N,) scores in float32, or float64 where the output or the score is.

        Raises:
            TypeError: If the output is not what this head reads.
            ValueError: If shapes do not fit or a class is out of range.
        """
        if callable(score):
            return called_score(score, output, classes)
        if score == "probability":
            return self.probabilities(output, classes)
        return self.logits(output, classes)

    def settled(self, output: Any, classes: Tensor) -> Head:
        """The same with what the intact output decides on, once and for all counterfactuals.

        Args:
            output: What the intact model returned for N images.
            classes: (N,) the classes that are explained.
        """
        return self

    def rows(self, images: Tensor) -> Head:
        """The same for rows of an output that are of these images; of a settled head."""
        return self

    @abstractmethod
    def predicted(self, output: Any, count: int) -> Tensor:
        """(N,) int64, the class that the model predicts for each of ``count`` images.

        It is explained where the user names none.
        """

    @abstractmethod
    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """(N,) what the model returns for the class of each row; differentiable."""

    @abstractmethod
    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """(N,) float64, how probable the model says the class of each row is.

        Raises:
            ValueError: If this kind of output has no probabilities.
        """

    @abstractmethod
    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """(N,) int64, for each image the class with the highest score but for some.

        Args:
            output: What the model returned for N images.
            taken: (N, T) the classes that do not count; -1 stands for none.

        Returns:
            -1 where all classes are taken.

        Raises:
            ValueError: If there is no other class for any image.
        """

    def columns(self, classes: Tensor) -> tuple[Tensor, Tensor] | None:
        """Where the logits are in an (N, C) output: (N,) columns, and (N,) signs of them.

        None where a logit is more than one of its columns.
        """
        return None

    def says(self, output: Any, classes: Tensor, score: Score, most: int) -> Sayings:
        """What captions may say about the output for N images.

        Args:
            output: What the model returned for N images.
            classes: (N,) int64, the classes explained.
            score: How scores are read off.
            most: How many of the likeliest classes are named at most.
        """
        return Sayings()


class Opaque(Head):
    """An output that only the user's own score can read.

    Args:
        error: Why nothing else can be read off it.
    """

    predicts = False
    is_affine = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predicted(self, output: Any, count: int) -> Tensor:
        """Raises."""
        raise self.error

    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """Raises."""
        raise self.error

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """Raises."""
        raise self.error

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """Raises."""
        raise self.error


def best_but(scores: Tensor, taken: Tensor) -> Tensor:
    """(N,) the class with the highest of (N, C) scores but for some, (N, T); -1 if none is left."""
    check_classes(taken.clamp(min=0).flatten(), scores.shape[1])
    hidden = torch.zeros_like(scores, dtype=torch.bool)
    for column in taken.T:
        known = column >= 0
        hidden[known.nonzero()[:, 0], column[known]] = True
    none = hidden.all(dim=1)
    if bool(none.all()):
        raise ValueError("there is no other class: all of the output's classes are explained")
    return scores.masked_fill(hidden, -torch.inf).argmax(dim=1).masked_fill(none, -1)


def in_float64(logits: Tensor) -> Tensor:
    """In float32, drops of probabilities near 1 lose all digits. Apple's devices have only that."""
    return logits.float() if logits.device.type == "mps" else logits.double()
