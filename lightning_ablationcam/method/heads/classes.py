"""Outputs of one number for each class."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_ablationcam.method.heads.base import (
    Activation,
    Head,
    Sayings,
    Task,
    best_but,
    in_float64,
)
from lightning_ablationcam.method.scores import (
    Score,
    at_least_float32,
    check_classes,
    checked_logits,
)


class MultiClass(Head):
    """One column for each class; an image has one class.

    Args:
        activation: What the model applies to its logits.

    Example:
        >>> MultiClass().scores(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), torch.tensor([1, 0]))
        tensor([3., 2.])
    """

    task: ClassVar[Task] = "multiclass"

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
        return self.logits(self._all_probabilities(output, len(classes)), classes)

    def _all_probabilities(self, output: Any, count: int) -> Tensor:
        output = in_float64(checked_logits(output, count))
        return output if self.activation else torch.softmax(output, dim=1)

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """The class with the largest logit among the others."""
        return best_but(checked_logits(output, len(taken)), taken)

    def columns(self, classes: Tensor) -> tuple[Tensor, Tensor] | None:
        """Each class has its own column."""
        return classes, torch.ones_like(classes)

    def says(self, output: Any, classes: Tensor, score: Score, most: int) -> Sayings:
        """The prediction, and probabilities where it is known what the logits are meant for.

        With the user's own score they are not: its classes need not be columns, and its logits need
        not be meant for a softmax.
        """
        count = len(classes)
        predicted = self.predicted(output, count)
        is_column = bool(((classes >= 0) & (classes < output.shape[1])).all())
        if callable(score) and not (self._knows_probabilities and is_column):
            return Sayings(predicted)
        everything = self._all_probabilities(output, count)
        top = checked_logits(output, count).topk(min(most, output.shape[1]), dim=1).indices
        return Sayings(predicted, self.logits(everything, classes), top, everything.gather(1, top))

    @property
    def _knows_probabilities(self) -> bool:
        """Only if the model computes them: logits may be meant for a sigmoid."""
        return self.activation is not None


class MultiLabel(MultiClass):
    """One column for each class; an image may have several classes, or none.

    Example:
        >>> MultiLabel().probabilities(torch.tensor([[0.0, 3.0]]), torch.tensor([0]))
        tensor([0.5000], dtype=torch.float64)
    """

    task: ClassVar[Task] = "multilabel"

    def _all_probabilities(self, output: Any, count: int) -> Tensor:
        output = in_float64(checked_logits(output, count))
        return output if self.activation else torch.sigmoid(output)

    @property
    def _knows_probabilities(self) -> bool:
        """Logits of independent classes are meant for a sigmoid."""
        return True


class OneLogit(Head):
    """A single column: class 1 where it is positive, class 0 where it is not.

    Args:
        activation: What the model applies to its logit.

    Example:
        >>> head, output = OneLogit(), torch.tensor([[2.0], [-3.0]])
        >>> head.predicted(output, 2), head.logits(output, torch.tensor([1, 0]))
        (tensor([1, 0]), tensor([2., 3.]))
    """

    task = "binary"

    def __init__(self, activation: Activation = None) -> None:
        # A softmax of one column is 1, whatever the logit.
        self.activation = activation if activation == "sigmoid" else None

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
        logits = self.logits(in_float64(checked_logits(output, len(classes))), classes)
        return logits if self.activation else logits.sigmoid()

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """The other side."""
        return best_but(self.logits_of_both(output), taken)

    def logits_of_both(self, output: Tensor) -> Tensor:
        """(N, 2) the logit of each side."""
        sides = torch.arange(2, device=output.device)
        return torch.stack([self.logits(output, side.expand(len(output))) for side in sides], dim=1)

    def columns(self, classes: Tensor) -> tuple[Tensor, Tensor] | None:
        """The one column, with sign 1 for class 1 and -1 for class 0."""
        return torch.zeros_like(classes), 2 * classes - 1

    def says(self, output: Any, classes: Tensor, score: Score, most: int) -> Sayings:
        """The side that the model takes; a single logit is always meant for a sigmoid."""
        predicted = self.predicted(output, len(classes))
        if callable(score) and not bool(((classes >= 0) & (classes < 2)).all()):
            return Sayings(predicted)
        top = torch.stack([predicted, 1 - predicted], dim=1)[:, :most]
        likely = torch.stack([self.probabilities(output, side) for side in top.T], dim=1)
        return Sayings(predicted, self.probabilities(output, classes), top, likely)
