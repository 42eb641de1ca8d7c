"""Class scores, whose drop measures the effect of an ablation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lightning_ablationcam.arguments import shown, whole_numbers

Score: TypeAlias = Literal["logit", "probability", "contrast"] | Callable[[Any, Tensor], Tensor]
Classes: TypeAlias = int | Sequence[int] | Tensor | np.ndarray | None

SCORES = ("logit", "probability", "contrast")


def check_score(score: Score) -> None:
    """Raise a ``ValueError`` unless ``score`` is one of the documented forms."""
    if isinstance(score, type) or not (
        callable(score) or (isinstance(score, str) and score in SCORES)
    ):
        raise ValueError(
            f"score={shown(score)} is not known; choose 'logit', 'probability', 'contrast' or a "
            "callable (output, classes) -> tensor of shape (N,)"
        )


def called_score(score: Callable[[Any, Tensor], Tensor], output: Any, classes: Tensor) -> Tensor:
    """What a score callable returns for (N,) classes: (N,) scores, at least float32.

    Raises:
        ValueError: If it returns anything else.
    """
    scores = score(output, classes)
    if not isinstance(scores, Tensor) or scores.shape != classes.shape:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"the score callable returned {got}; expected a tensor of shape "
            f"{tuple(classes.shape)}, one score for each image"
        )
    return at_least_float32(scores)


def resolve_classes(
    classes: int | Sequence[int] | Tensor | np.ndarray,
    count: int,
    device: torch.device,
    name: str = "classes",
) -> Tensor:
    """Turn given ``classes`` into one class for each of ``count`` images.

    Args:
        classes: An int for all images, or ``count`` ints.
        count: The number of images, N.
        device: Where the result is wanted.
        name: The argument's name, for messages.

    Returns:
        (N,) int64.

    Raises:
        TypeError: If the classes are not whole numbers.
        ValueError: If their number is neither one nor N.
    """
    given = whole_numbers(name, classes, f"None, an int or {count} class indices")
    if given.ndim == 0:
        given = given.expand(count)
    if given.shape != (count,):
        raise ValueError(
            f"{name} has shape {tuple(given.shape)}; expected None, an int or one int for each "
            f"of the {count} images"
        )
    return given.to(device=device, dtype=torch.int64)


def has_class_columns(output: Any, count: int) -> bool:
    """Whether the output is a (N, C) tensor of floats, one column for each class."""
    return (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.ndim == 2
        and len(output) == count
        and output.shape[1] > 0
    )


def has_class_maps(output: Any, count: int, least_dims: int = 4) -> bool:
    """Whether the output is a (N, C, H, W) tensor of floats: a column for each class and place.

    Args:
        output: What the model returned.
        count: N.
        least_dims: Fewer dimensions are something else; (N, C, L) could as well be tokens.
    """
    return (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.ndim >= least_dims
        and len(output) == count
        and output.numel() > 0
    )


def check_classes(classes: Tensor, count: int) -> None:
    """Raise a ``ValueError`` naming the first class that is not in ``0 ... count - 1``."""
    wrong = classes[(classes < 0) | (classes >= count)]
    if len(wrong):
        raise ValueError(
            f"classes contains {int(wrong[0])}, but the model's output has {count} "
            f"class{'es' if count != 1 else ''}: choose 0 to {count - 1}"
        )


def checked_logits(output: Any, count: int, *, places: bool = False) -> Tensor:
    """The output, if it is (N, C) logits for ``count`` images, or (N, C, H, W) with ``places``.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it is a tensor of anything else.
    """
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the model returned {kind_of(output)}, not a tensor of logits; pass forward="
            "lambda model, inputs: ... that returns the logits, or a score callable"
        )
    if not (has_class_maps(output, count, 3) if places else has_class_columns(output, count)):
        raise ValueError(
            f"the model returned a tensor of shape {tuple(output.shape)} and dtype {output.dtype} "
            f"for {count} images; expected logits of shape ({count}, classes), or ({count}, "
            "classes, H, W) for segmentation. Pass forward= that returns such logits, or a score "
            "callable (output, classes) -> (N,)"
        )
    return output


def kind_of(output: Any) -> str:
    """What an output is, for messages."""
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with keys {shown(list(output))}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"


def at_least_float32(values: Tensor) -> Tensor:
    """Values in float32, or float64 if they already are."""
    return values if values.dtype == torch.float64 else values.float()
