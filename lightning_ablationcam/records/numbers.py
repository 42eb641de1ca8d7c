"""The numbers of passes in little room: in memory, and on their way to the page.

A pass over 500 probes holds 8,000 numbers. As Python objects they take ten times the room of their
maps, and as text four times: too much for a thousand passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.records.format import FurtherRecord, HeatRecord

FLOAT = "f"
"""Float32, NaN where a number is not known."""

_INTEGERS = {"b": np.int8, "h": np.int16, "i": np.int32}
# Whole numbers up to 2^53.
_DOUBLE = "d"

_TYPES = {_DOUBLE: np.float64, FLOAT: np.float32, **_INTEGERS}

_ALIGNED = 8

_NUMBERS = ("maxima", "scores", "probabilities", "against_maxima")


_T = TypeVar("_T")


class _Compact(Sequence[_T]):
    """Equal to the tuple that it stands for, which its iteration makes anew."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: int) -> _T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[_T, ...]: ...

    def __getitem__(self, index: int | slice) -> _T | tuple[_T, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


class Numbers(_Compact[float | None]):
    """What a tuple of numbers was, as float32; None where one is not known.

    Args:
        values: The numbers, none of them NaN. If one is beyond float32, all are kept as float64.

    Example:
        >>> list(Numbers((0.5, None))), Numbers((0.5, None)) == (0.5, None)
        ([0.5, None], True)
    """

    __slots__ = ("array",)

    def __init__(self, values: Sequence[float | None]) -> None:
        exact = np.array(values, np.float64)
        with np.errstate(over="ignore"):
            short = exact.astype(np.float32)
        self.array: NDArray[Any] = exact if np.isinf(short).any() else short

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[float | None]:
        return (None if value != value else value for value in self.array.tolist())


class Integers(_Compact[int]):
    """What a tuple of whole numbers was, in as few bytes as hold them.

    Example:
        >>> list(Integers((7, -1))), Integers((7, -1)) == (7, -1)
        ([7, -1], True)
    """

    __slots__ = ("array",)

    def __init__(self, values: Sequence[int]) -> None:
        self.array = _narrowest(np.array(values, np.int64))

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[int]:
        return map(int, self.array.tolist())


def _narrowest(values: NDArray[np.int64]) -> NDArray[Any]:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in _INTEGERS.values():
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.float64)


class _Rows(_Compact[Any]):
    """Rows of one length; each is what a tuple of numbers was."""

    __slots__ = ("flat", "width")

    def __init__(self, flat: Numbers | Integers, width: int) -> None:
        self.flat, self.width = flat, width

    def __len__(self) -> int:
        return len(self.flat) // self.width

    def __iter__(self) -> Iterator[Any]:
        flat = tuple(self.flat)
        return (flat[at : at + self.width] for at in range(0, len(flat), self.width))


def compact(record: HeatRecord) -> HeatRecord:
    """The same record with its numbers in little room, to be kept."""
    changes: dict[str, Any] = {
        "predicted": None if record.predicted is None else Integers(record.predicted),
        "measures": {name: Numbers(values) for name, values in record.measures.items()},
        "top_classes": _rows(record.top_classes, Integers),
        "top_probabilities": _rows(record.top_probabilities, Numbers),
        "also": {role: _compact(further) for role, further in record.also.items()},
    }
    small: HeatRecord = _compact(record, **changes)
    return small


def _compact(explained: Any, **changes: Any) -> Any:
    numbers = {name: getattr(explained, name) for name in _NUMBERS}
    if isinstance(explained, FurtherRecord):
        numbers["error"] = explained.error
    found = {name: None if value is None else Numbers(value) for name, value in numbers.items()}
    return replace(explained, classes=Integers(explained.classes), **found, **changes)


def _rows(rows: Sequence[Sequence[Any]] | None, kind: type[Numbers] | type[Integers]) -> Any:
    """Rows in little room where they have one length, else as they are."""
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        return rows
    return _Rows(kind([value for row in rows for value in row]), len(rows[0]))


@dataclass(frozen=True)
class Column:
    """A number of every probe, or a row of them.

    Attributes:
        path: Where it stands in what the page gets of a step, such as ``("also", "rival",
            "scores")``.
        array: The numbers.
        width: How many each probe has.
    """

    path: tuple[str, ...]
    array: NDArray[Any]
    width: int

    @property
    def kind(self) -> str:
        """What its numbers are: a key of the types that the page knows."""
        return next(kind for kind, dtype in _TYPES.items() if self.array.dtype == dtype)

    @property
    def layout(self) -> tuple[str, int, tuple[str, ...]]:
        """All but the numbers."""
        return self.kind, self.width, self.path


def columns_of(record: HeatRecord, roles: Sequence[str], measures: Sequence[str]) -> list[Column]:
    """The numbers of a pass that the page gets.

    Those of the widest type come first: the page reads an array where it stands, and an array has
    to begin at a multiple of its numbers' size.

    Args:
        record: The pass.
        roles: Of which further classes.
        measures: Which measures.
    """
    found = _of_explained((), record)
    found += _columns({("predicted",): record.predicted}, Integers)
    found += _columns({(name,): record.measures.get(name) for name in measures}, Numbers)
    top = _rows_of("classes", record.top_classes, Integers)
    likely = _rows_of("probabilities", record.top_probabilities, Numbers)
    if top and likely and top[0].width == likely[0].width:
        found += top + likely
    for role in roles:
        further = record.also.get(role)
        if further is None:
            continue
        at = ("also", role)
        found += _of_explained(at, further)
        found += _columns({(*at, "error"): further.error}, Numbers)
    return sorted(found, key=lambda column: column.array.itemsize, reverse=True)


def _of_explained(at: tuple[str, ...], explained: HeatRecord | FurtherRecord) -> list[Column]:
    numbers = {(*at, name.removesuffix("_maxima")): getattr(explained, name) for name in _NUMBERS}
    return _columns(numbers, Numbers) + _columns({(*at, "classes"): explained.classes}, Integers)


def _columns(
    found: dict[tuple[str, ...], Any], kind: type[Numbers] | type[Integers]
) -> list[Column]:
    return [
        Column(path, (values if isinstance(values, kind) else kind(values)).array, 1)
        for path, values in found.items()
        if values is not None
    ]


def _rows_of(name: str, rows: Any, kind: type[Numbers] | type[Integers]) -> list[Column]:
    found = rows if isinstance(rows, _Rows) else _rows(rows, kind)
    return (
        [Column(("top", name), found.flat.array, found.width)] if isinstance(found, _Rows) else []
    )


def block_of(columns: Sequence[Column]) -> bytes:
    """The numbers of a pass, column by column, and what fills the last eight bytes."""
    block = b"".join(
        column.array.astype(column.array.dtype.newbyteorder("<"), copy=False).tobytes()
        for column in columns
    )
    return block + bytes(-len(block) % _ALIGNED)
