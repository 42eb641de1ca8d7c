"""A region as the lengths of its runs: a few hundred bytes for an outline of 128 cells a side.

Cells in C order begin with a run outside the region, which may be of length 0, and runs outside and
inside take turns. Each length is written in groups of seven bits, the lowest first, all bytes but
the last with their highest bit set.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 128
"""Most cells of a side."""


def runs_of(region: NDArray[np.bool_]) -> bytes:
    """The runs of a region (h, w).

    Example:
        >>> list(runs_of(np.array([[False, True], [True, False]])))
        [1, 2, 1]
    """
    cells = region.ravel()
    turns = np.flatnonzero(np.diff(cells.view(np.int8), prepend=np.int8(0), append=np.int8(-1)))
    lengths = np.diff(turns, prepend=0)
    found = bytearray()
    for length in lengths.tolist():
        while length > 127:
            found.append(length & 127 | 128)
            length >>= 7
        found.append(length)
    return bytes(found)


def check_runs(runs: bytes, shape: tuple[int, int]) -> None:
    """Raise a ``ValueError`` unless these are the runs of a region of a shape."""
    total = length = shift = 0
    whole = math.prod(shape)
    for byte in runs:
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            total, length, shift = total + length, 0, 0
        if total > whole or shift > 21:
            break
    if total != whole or shift:
        raise ValueError(f"a region does not fill {shape[0]} x {shape[1]} cells")
