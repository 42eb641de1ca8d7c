"""Check arguments; errors say which one is wrong, what it was and what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_picture(picture: object, name: str = "picture") -> None:
    """Raise unless ``picture`` is a uint8 array of shape (H, W, 3), H and W at least 1."""
    expected = f"{name} must be a uint8 array of shape (H, W, 3) with H, W >= 1"
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        raise TypeError(f"{expected}, got {_describe(picture)}")
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"{expected}, got {_describe(picture)}")


def check_heat(heat: object, name: str = "heat") -> None:
    """Raise unless ``heat`` is a float array of shape (h, w), h and w at least 1."""
    expected = f"{name} must be a float array of shape (h, w) with h, w >= 1"
    if not isinstance(heat, np.ndarray) or not np.issubdtype(heat.dtype, np.floating):
        raise TypeError(f"{expected}, got {_describe(heat)}")
    if heat.ndim != 2 or heat.size == 0:
        raise ValueError(f"{expected}, got {_describe(heat)}")


def check_region(region: object, name: str = "region") -> None:
    """Raise unless ``region`` is None or a bool array of shape (H, W), H and W at least 1."""
    if region is None:
        return
    expected = f"{name} must be a bool array of shape (H, W) with H, W >= 1"
    if not isinstance(region, np.ndarray) or region.dtype != np.bool_:
        raise TypeError(f"{expected}, got {_describe(region)}")
    if region.ndim != 2 or region.size == 0:
        raise ValueError(f"{expected}, got {_describe(region)}")


def check_regions(
    regions: Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_] | None, count: int, what: str
) -> list[NDArray[np.bool_] | None]:
    """Return one region, or None, for each of the ``count`` ``what``.

    Raises:
        TypeError: If a region is no bool array.
        ValueError: If there are not as many, or one has another shape.
    """
    if regions is None:
        return [None] * count
    check_same_length(len(regions), count, "regions", what)
    for number, region in enumerate(regions):
        check_region(region, f"regions[{number}]")
    return list(regions)


def check_lines(lines: Sequence[str], name: str) -> None:
    """Raise unless ``lines`` is a sequence of strings, one a line."""
    # A string is itself a sequence of strings: it would be drawn one letter a line.
    if isinstance(lines, str) or not all(isinstance(line, str) for line in lines):
        raise TypeError(f"{name} must be a sequence of strings, one a line, got {lines!r:.80}")


def check_tiles(
    pictures: NDArray[Any], heats: NDArray[Any], captions: Sequence[Sequence[str]]
) -> None:
    """Raise unless there is a picture, and for each a map and lines of text, all well formed."""
    if len(pictures) == 0:
        raise ValueError("pictures must hold at least one picture, got none")
    check_same_length(len(heats), len(pictures), "heats", "pictures")
    check_same_length(len(captions), len(pictures), "captions", "pictures")
    for number, caption in enumerate(captions):
        check_picture(pictures[number], f"pictures[{number}]")
        check_heat(heats[number], f"heats[{number}]")
        check_lines(caption, f"captions[{number}]")


def check_same_length(count: int, expected: int, name: str, what: str) -> None:
    """Raise unless ``name`` has one entry for each of the ``expected`` ``what``."""
    if count != expected:
        raise ValueError(
            f"{name} must have one entry for each of the {expected} {what}, got {count}"
        )


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"{type(value).__name__} {value!r:.80}"
