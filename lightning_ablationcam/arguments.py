"""Checking what users pass: errors that name the argument, the value and what is expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not known; choose {', '.join(map(repr, choices))}")


def check_count(name: str, value: object) -> None:
    """Raise unless ``value`` is a whole number of at least 1.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is below 1.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r}; expected a whole number of at least 1")
    if value < 1:
        raise ValueError(f"{name}={value!r}; expected a whole number of at least 1")


def check_memory_budget(memory_budget: object) -> None:
    """Raise a ``TypeError`` or ``ValueError`` unless it is None or a number of bytes."""
    if memory_budget is None:
        return
    if not is_number(memory_budget):
        raise TypeError(f"memory_budget={memory_budget!r}; expected None or a number of bytes")
    if not memory_budget > 0:  # type: ignore[operator]
        raise ValueError(f"memory_budget={memory_budget!r}; expected a positive number of bytes")


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite real number and no bool."""
    return type(value) is not bool and isinstance(value, numbers.Real) and math.isfinite(value)


def is_a(thing: object, name: str) -> bool:
    """Whether a class of this name is among the thing's: Lightning has two packages of each."""
    return any(cls.__name__ == name for cls in type(thing).__mro__)


def whole_numbers(name: str, values: Any, expected: str) -> Tensor:
    """``values`` as a tensor of integers, on whatever device they are.

    Args:
        name: The argument's name.
        values: A number, a sequence, an array or a tensor.
        expected: What the message says is expected.

    Returns:
        The tensor, of an integer dtype.

    Raises:
        TypeError: If they are anything but whole numbers.
    """
    try:
        given = values if isinstance(values, Tensor) else torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}={_short(values)}; expected {expected}") from error
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {given.dtype}; expected {expected}")
    return given


def check_names(name: str, values: object, count: int | None = None) -> None:
    """Raise unless ``values`` is a list (or a string, letter by letter) of ``count`` names.

    Raises:
        TypeError: If it is no sequence.
        ValueError: If it has the wrong length.
    """
    if not isinstance(values, Sequence):
        raise TypeError(f"{name} is a {type(values).__name__}; expected a list of names")
    if count is not None and (isinstance(values, str) or len(values) != count):
        raise ValueError(f"{name} has {len(values)} entries; expected one for each of {count}")


def _short(values: object) -> str:
    text = repr(values)
    return text if len(text) <= 80 else text[:77] + "..."
