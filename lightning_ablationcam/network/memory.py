"""Batches of a network's runs, and memory that runs out in one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the host's or a device's.

    Only some devices have an exception of their own; the CPU and MPS raise plain RuntimeErrors.

    Example:
        >>> is_out_of_memory(torch.OutOfMemoryError()), is_out_of_memory(RuntimeError("bad shape"))
        (True, False)
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def in_batches(
    count: int, size: int, compute: Callable[[slice], T], *, divisible: bool = True
) -> list[T]:
    """Compute things batch by batch, with half the batch whenever memory runs out.

    Args:
        count: How many things there are.
        size: How many to compute at a time, at least 1.
        compute: Computes some of them.
        divisible: Whether batches may be halved.

    Returns:
        What ``compute`` returned for each batch, in order.

    Example:
        >>> in_batches(5, 2, lambda rows: (rows.start, rows.stop))
        [(0, 2), (2, 4), (4, 5)]
    """
    results: list[T] = []
    done = 0
    while done < count:
        rows = slice(done, min(done + size, count))
        try:
            results.append(compute(rows))
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not divisible or not is_out_of_memory(error):
                raise
            size = (size + 1) // 2
        else:
            done = rows.stop
    return results
