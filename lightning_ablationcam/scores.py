"""Class scores: what an ablation is measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lightning_ablationcam.arguments import shown, whole_numbers

Score: TypeAlias = Literal["logit", "probability"] | Callable[[Any, Tensor], Tensor]
Classes: TypeAlias = int | Sequence[int] | Tensor | np.ndarray | None

SCORES = ("logit", "probability")


def check_score(score: Score) -> None:
    """Raise a ``ValueError`` unless ``score`` is one of the documented forms."""
    if isinstance(score, type) or not (
        callable(score) or (isinstance(score, str) and score in SCORES)
    ):
        raise ValueError(
            f"score={shown(score)} is not known; choose 'logit', 'probability' or a callable "
            "(output, classes) -> tensor of shape (N,)"
        )


def class_scores(output: Any, classes: Tensor, score: Score = "logit") -> Tensor:
    """The score of one class for each image.

    Args:
        output: What the model returned: logits of shape (N, C), floating point. A callable
            ``score`` may take anything.
        classes: (N,) int64, the class of each image.
        score: ``"logit"`` reads the class's column; ``"probability"`` its softmax, computed in
            float64 because probabilities near 1 leave no digits for a drop in float32; a callable
            gets ``(output, classes)`` and returns (N,) scores.

    Returns:
        (N,) scores in float32, or float64 where the output or the score is.

    Raises:
        TypeError: If the output is not a tensor of floats.
        ValueError: If shapes do not fit or a class is out of range.

    Example:
        >>> class_scores(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), torch.tensor([1, 0]))
        tensor([3., 2.])
    """
    if callable(score):
        scores = score(output, classes)
        if not isinstance(scores, Tensor) or scores.shape != classes.shape:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"the score callable returned {got}; expected a tensor of shape "
                f"{tuple(classes.shape)}, one score for each image"
            )
        return _at_least_float32(scores)
    logits = _at_least_float32(_logits(output, len(classes)))
    check_classes(classes, logits.shape[1])
    if score == "probability":
        # Apple's devices have no float64.
        logits = (logits if logits.device.type == "mps" else logits.double()).softmax(dim=1)
    return logits.gather(1, classes[:, None])[:, 0]


def resolve_classes(classes: Classes, output: Any, count: int, device: torch.device) -> Tensor:
    """Turn the ``classes`` argument into one class for each of ``count`` images.

    Args:
        classes: ``None`` for the predicted classes, an int for all images, or ``count`` ints.
        output: The model's output; only read where ``classes`` is None.
        count: The number of images, N.
        device: Where the result is wanted.

    Returns:
        (N,) int64.

    Raises:
        TypeError: If the classes are not whole numbers.
        ValueError: If their number is neither one nor N.
    """
    if classes is None:
        return predicted_classes(output, count).to(device)
    given = whole_numbers("classes", classes, f"None, an int or {count} class indices")
    if given.ndim == 0:
        given = given.expand(count)
    if given.shape != (count,):
        raise ValueError(
            f"classes has shape {tuple(given.shape)}; expected None, an int or one int for each "
            f"of the {count} images"
        )
    return given.to(device=device, dtype=torch.int64)


def predicted_classes(output: Any, count: int) -> Tensor:
    """The class with the largest logit for each image: (N,) int64 from (N, C)."""
    return _logits(output, count).argmax(dim=1)


def has_class_columns(output: Any, count: int) -> bool:
    """Whether the output is a (N, C) tensor of floats, one column for each class."""
    return (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.ndim == 2
        and len(output) == count
        and output.shape[1] > 0
    )


def check_classes(classes: Tensor, count: int) -> None:
    """Raise a ``ValueError`` naming the first class that is not in ``0 ... count - 1``."""
    wrong = classes[(classes < 0) | (classes >= count)]
    if len(wrong):
        hint = (
            "; for a network with a single output pass a score callable, for example "
            "score=lambda output, classes: output[:, 0] * (2 * classes - 1)"
            if count == 1
            else ""
        )
        raise ValueError(
            f"classes contains {int(wrong[0])}, but the model's output has {count} "
            f"class{'es' if count != 1 else ''}: choose 0 to {count - 1}{hint}"
        )


def _logits(output: Any, count: int) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the model returned {_kind(output)}, not a tensor of logits; pass forward="
            "lambda model, inputs: ... that picks the logits (for example model(inputs).logits), "
            "or a score callable"
        )
    if not has_class_columns(output, count):
        raise ValueError(
            f"the model returned a tensor of shape {tuple(output.shape)} and dtype {output.dtype} "
            f"for {count} images; expected logits of shape ({count}, classes). Pass forward= that "
            "returns such logits, or a score callable (output, classes) -> (N,)"
        )
    return output


def _kind(output: Any) -> str:
    if isinstance(output, dict):
        return f"a {type(output).__name__} with keys {shown(list(output))}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"


def _at_least_float32(values: Tensor) -> Tensor:
    # A forward that computes gradients of its own returns what still hangs on its graph.
    values = values.detach()
    return values if values.dtype == torch.float64 else values.float()
