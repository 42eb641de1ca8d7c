"""Outputs that are quantities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.method.heads.base import Head
from lightning_ablationcam.method.scores import at_least_float32, check_classes, checked_logits

NO_RIVALS = "a quantity has no rivals; score='contrast' and also='rival' are for classes"
NO_PROBABILITIES = "a quantity has no probability; choose score='logit', which is its value"


class Regression(Head):
    """One column for each quantity; the score is its value, and a class is a column.

    Example:
        >>> Regression().scores(torch.tensor([[25.0], [31.0]]), torch.tensor([0, 0]))
        tensor([25., 31.])
    """

    task = "regression"
    predicts = False

    def predicted(self, output: Any, count: int) -> Tensor:
        """The only column.

        Raises:
            ValueError: If there are several.
        """
        return only_column(checked_logits(output, count))

    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """The column."""
        values = at_least_float32(checked_logits(output, len(classes)))
        check_classes(classes, values.shape[1])
        return values.gather(1, classes[:, None])[:, 0]

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """Raises."""
        raise ValueError(NO_PROBABILITIES)

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """Raises."""
        raise ValueError(NO_RIVALS)

    def columns(self, classes: Tensor) -> tuple[Tensor, Tensor] | None:
        """Each quantity has its own column."""
        return classes, torch.ones_like(classes)


def only_column(output: Tensor) -> Tensor:
    """(N,) zeros, where the output has one column.

    Raises:
        ValueError: If it has several.
    """
    if output.shape[1] != 1:
        raise ValueError(
            f"the model returns {output.shape[1]} quantities; choose one, classes=0 to "
            f"classes={output.shape[1] - 1}"
        )
    return torch.zeros(len(output), dtype=torch.int64, device=output.device)
