"""What a model's output means: which class it predicts, how sure it is, and what a score is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.method.scores import (
    Score,
    at_least_float32,
    called_score,
    check_classes,
    checked_logits,
    has_class_columns,
)

Activation: TypeAlias = Literal["softmax", "sigmoid"] | None
"""What a model applies to its logits before it returns them; None where it returns logits."""


class Head(ABC):
    """Reads classes and scores off a model's output."""

    def scores(self, output: Any, classes: Tensor, score: Score = "logit") -> Tensor:
        """The score of one class for each image.

        Args:
            output: What the model returned for N images.
            classes: (N,) int64, the class of each image.
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

    @abstractmethod
    def rival(self, output: Any, classes: Tensor) -> Tensor:
        """(N,) int64, for each image the class with the highest score but for ``classes``.

        Raises:
            ValueError: If there is no other class.
        """

    @abstractmethod
    def predicted(self, output: Any, count: int) -> Tensor:
        """(N,) int64, the class that the model predicts for each of ``count`` images."""

    @abstractmethod
    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """(N,) what the model returns for the class of each image."""

    @abstractmethod
    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """(N,) float64, how probable the model says the class of each image is."""

    @abstractmethod
    def columns(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Where the logits are in the output: (N,) columns, and (N,) signs to multiply them by."""

    def says(self, output: Any, classes: Tensor, score: Score) -> tuple[Tensor, Tensor | None]:
        """What captions may say about an output.

        Args:
            output: What the model returned for N images.
            classes: (N,) int64, the classes explained.
            score: How scores are read off.

        Returns:
            (N,) predicted classes, and the (N,) probabilities of ``classes``; None if they are not
            known, as with the user's own score: its classes need not be columns, and its logits
            need not be meant for a softmax.
        """
        is_known = self.knows_probabilities or not callable(score)
        if is_known and callable(score):
            is_known = bool(((classes >= 0) & (classes < self.count(output))).all())
        probabilities = self.probabilities(output, classes) if is_known else None
        return self.predicted(output, len(classes)), probabilities

    @abstractmethod
    def count(self, output: Tensor) -> int:
        """How many classes there are."""

    @abstractmethod
    def top(self, output: Any, count: int, most: int) -> Tensor:
        """(N, T) int64, at most ``most`` classes with the highest scores, the highest first."""

    @property
    @abstractmethod
    def knows_probabilities(self) -> bool:
        """Whether the output alone determines how to read probabilities off it."""


class MultiClass(Head):
    """One column for each class; an image has one class.

    Args:
        activation: What the model applies to its logits.

    Example:
        >>> MultiClass().scores(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), torch.tensor([1, 0]))
        tensor([3., 2.])
    """

    def __init__(self, activation: Activation = None) -> None:
        self.activation = activation

    def predicted(self, output: Any, count: int) -> Tensor:
        """The class with the largest logit."""
        return checked_logits(output, count).argmax(dim=1)

    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """The class's column."""
        logits = at_least_float32(checked_logits(output, len(classes)))
        check_classes(classes, logits.shape[1])
        return logits.gather(1, classes[:, None])[:, 0]

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """The class's softmax, or its column where the model applies a softmax or sigmoid."""
        output = _in_float64(checked_logits(output, len(classes)))
        return self.logits(output if self.activation else output.softmax(dim=1), classes)

    def rival(self, output: Any, classes: Tensor) -> Tensor:
        """The class with the largest logit among the others."""
        logits = checked_logits(output, len(classes))
        check_classes(classes, logits.shape[1])
        return logits.scatter(1, classes[:, None], -torch.inf).argmax(dim=1)

    def top(self, output: Any, count: int, most: int) -> Tensor:
        """The classes with the largest logits."""
        logits = checked_logits(output, count)
        return logits.topk(min(most, logits.shape[1]), dim=1).indices

    def columns(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Each class has its own column."""
        return classes, torch.ones_like(classes)

    def count(self, output: Tensor) -> int:
        """One for each column."""
        return output.shape[1]

    @property
    def knows_probabilities(self) -> bool:
        """Only if the model computes them: logits may be meant for a sigmoid."""
        return self.activation is not None


class OneLogit(Head):
    """A single column: class 1 where it is positive, class 0 where it is not.

    Args:
        activation: What the model applies to its logit.

    Example:
        >>> head, output = OneLogit(), torch.tensor([[2.0], [-3.0]])
        >>> head.predicted(output, 2), head.logits(output, torch.tensor([1, 0]))
        (tensor([1, 0]), tensor([2., 3.]))
    """

    def __init__(self, activation: Activation = None) -> None:
        self.activation = activation

    def predicted(self, output: Any, count: int) -> Tensor:
        """Class 1 or class 0, by the side of the boundary that the column is on."""
        boundary = 0.5 if self.activation else 0.0
        return (checked_logits(output, count)[:, 0] > boundary).long()

    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """The logit for class 1, its negative for class 0."""
        column = at_least_float32(checked_logits(output, len(classes)))[:, 0]
        check_classes(classes, 2)
        return torch.where(classes == 1, column, (1 if self.activation else 0) - column)

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """The sigmoid of the class's logit, or the column where the model applies a sigmoid."""
        logits = self.logits(_in_float64(checked_logits(output, len(classes))), classes)
        return logits if self.activation else logits.sigmoid()

    def rival(self, output: Any, classes: Tensor) -> Tensor:
        """The other side."""
        return 1 - classes

    def top(self, output: Any, count: int, most: int) -> Tensor:
        """The side that the model takes, and then the other."""
        taken = self.predicted(output, count)
        return torch.stack([taken, 1 - taken], dim=1)[:, :most]

    def columns(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """The one column, with sign 1 for class 1 and -1 for class 0."""
        return torch.zeros_like(classes), 2 * classes - 1

    def count(self, output: Tensor) -> int:
        """Two: class 0 and class 1."""
        return 2

    @property
    def knows_probabilities(self) -> bool:
        """A single logit is always meant for a sigmoid."""
        return True


def head_of(output: Any, count: int, activation: Activation = None) -> Head:
    """The head that reads an output, by whether it has one column or several.

    Args:
        output: What the model returned for ``count`` images; anything, with a score callable.
        count: How many images there are.
        activation: What the model applied last, where that is known.
    """
    if has_class_columns(output, count) and output.shape[1] == 1:
        # A softmax of one column is 1, whatever the logit.
        return OneLogit(activation if activation == "sigmoid" else None)
    return MultiClass(activation)


def _in_float64(logits: Tensor) -> Tensor:
    """In float32, drops of probabilities near 1 lose all digits. Apple's devices have only that."""
    return logits.float() if logits.device.type == "mps" else logits.double()
