"""Checking what users pass: errors that name the argument, the value and what is expected.

One convention: what is of the wrong kind is a ``TypeError``, what is of the right kind but out of
range a ``ValueError``, and so is whatever is not among named choices, of any kind. The message
begins ``name=value`` and ends in what is expected, or what there is to choose from.
"""

from __future__ import annotations

import math
import numbers
import os
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MAX_SHOWN_LENGTH = 80
"""Characters of a value that a message repeats."""

MAX_NAME_LENGTH = 255
"""Characters that no file system's names exceed."""


class _Shown(reprlib.Repr):
    """``repr`` on one short line, of whatever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = MAX_SHOWN_LENGTH

    def repr1(self, x: Any, level: int) -> str:
        shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
        if isinstance(shape, tuple) and dtype is not None and not isinstance(x, type):
            return f"<{type(x).__name__} of shape {tuple(shape)}, {dtype}>"
        return super().repr1(x, level)

    def repr_int(self, x: int, level: int) -> str:
        # More digits than these Python refuses to write.
        return super().repr_int(x, level) if x.bit_length() < 1000 else "<a very large int>"


def shown(value: object) -> str:
    """A value as messages show it: its ``repr`` where that is short, else as much as tells it.

    Example:
        >>> shown("logits"), shown(list(range(1000))), shown("x" * 1000)[:8]
        ("'logits'", '[0, 1, 2, 3, 4, 5, ...]', "'xxxxxxx")
    """
    text = " ".join(_Shown().repr(value).split())
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise a ``ValueError`` unless ``value`` is one of ``choices``."""
    # Only then compared: the comparison with an array is an array.
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{name}={shown(value)} is not known; choose {', '.join(map(repr, choices))}"
        )


def check_flag(name: str, value: object) -> None:
    """Raise a ``TypeError`` unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}={shown(value)}; expected True or False")


def check_callable(name: str, value: object, signature: str) -> None:
    """Raise a ``TypeError`` unless ``value`` can be called with arguments; a class is not meant.

    Args:
        name: The argument's name.
        value: What the user gave.
        signature: How it is called, for the message.
    """
    if isinstance(value, type) or not callable(value):
        raise TypeError(f"{name}={shown(value)}; expected a callable {signature}")


def check_count(name: str, value: object) -> None:
    """Raise unless ``value`` is a whole number of at least 1.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is below 1.
    """
    expected = "expected a whole number of at least 1"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={shown(value)}; {expected}")
    if value < 1:
        raise ValueError(f"{name}={shown(value)}; {expected}")


def check_memory_budget(memory_budget: object) -> None:
    """Raise a ``TypeError`` or ``ValueError`` unless it is None or a number of bytes."""
    if memory_budget is None:
        return
    if not is_number(memory_budget):
        raise TypeError(f"memory_budget={shown(memory_budget)}; expected None or a number of bytes")
    if not memory_budget > 0:  # type: ignore[operator]
        raise ValueError(
            f"memory_budget={shown(memory_budget)}; expected a positive number of bytes"
        )


def check_tolerance(tolerance: object, words: Sequence[str] = ()) -> None:
    """Check what a heatmap may be off by.

    Args:
        tolerance: What the user gave.
        words: What may be given in place of a share.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is no share, or, where there are ``words``, a string that is none of them.
    """
    choices = ", ".join(["None, which is exact", *map(repr, words)])
    expected = (
        f"expected {choices}, or a share of a heatmap's maximum above 0 and below 1, such as 0.02"
    )
    if tolerance is None or (isinstance(tolerance, str) and tolerance in words):
        return
    if words and isinstance(tolerance, str):
        raise ValueError(f"tolerance={shown(tolerance)} is not known; {expected}")
    if not is_number(tolerance):
        raise TypeError(f"tolerance={shown(tolerance)}; {expected}")
    if not 0 < tolerance < 1:  # type: ignore[operator]
        raise ValueError(f"tolerance={shown(tolerance)}; {expected}")


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite real number, as a float could be, and no bool."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_a(thing: object, name: str) -> bool:
    """Whether a class of this name is among the thing's: Lightning has two packages of each."""
    return any(cls.__name__ == name for cls in type(thing).__mro__)


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor holds a value for each of its entries; none is on the device "meta"."""
    return str(tensor.layout) == "torch.strided" and not tensor.is_meta


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
    # Here, since reports of a log directory do without it.
    import torch

    try:
        given = values if isinstance(values, torch.Tensor) else torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}={shown(values)}; expected {expected}") from error
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"{name}={shown(values)} has dtype {given.dtype}; expected {expected}")
    if not is_dense(given):
        raise TypeError(f"{name}={shown(values)} is sparse or has no values; expected {expected}")
    return given


def check_names(name: str, values: object, count: int | None = None) -> None:
    """Raise unless ``values`` is a list (or a string, letter by letter) of ``count`` names.

    Raises:
        TypeError: If it is no sequence of strings or whole numbers.
        ValueError: If it has the wrong length.
    """
    if not isinstance(values, Sequence) or isinstance(values, (bytes, bytearray)):
        raise TypeError(
            f"{name}={shown(values)} is a {type(values).__name__}; expected a list of names"
        )
    wrong = [value for value in values if not isinstance(value, (str, numbers.Integral))]
    if wrong:
        raise TypeError(
            f"{name}={shown(values)} contains a {type(wrong[0]).__name__}; expected a list of names"
        )
    if count is not None and (isinstance(values, str) or len(values) != count):
        raise ValueError(
            f"{name}={shown(values)} has {len(values)} entries; expected one for each of {count}"
        )


def check_path(name: str, value: object) -> Path:
    """A path that a file or folder can have.

    Args:
        name: The argument's name.
        value: What the user gave.

    Returns:
        The path; nothing need be there.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is empty, or no file system takes it.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{name}={shown(value)}; expected a path, a str or pathlib.Path")
    path = Path(value)
    if not os.fspath(value):
        raise ValueError(f"{name}='' is empty; expected a path, '.' for the current directory")
    if not _is_encodable(path) or any(len(part) > MAX_NAME_LENGTH for part in path.parts):
        raise ValueError(
            f"{name}={shown(value)} cannot be the path of a file: it has a character that no name "
            f"can have, or a name of more than {MAX_NAME_LENGTH} characters"
        )
    return path


def _is_encodable(path: Path) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False
