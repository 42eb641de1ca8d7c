"""Some of many."""

from __future__ import annotations


def evenly_chosen(count: int, most: int) -> list[int]:
    """Choose at most so many of ``count`` things: evenly spread, with the first and the last.

    Args:
        count: How many there are, at least 0.
        most: How many to choose at most; of 1 it is the last.

    Returns:
        Increasing indices.

    Raises:
        ValueError: If ``count`` is negative or ``most`` less than 1.

    Example:
        >>> evenly_chosen(3, 8), evenly_chosen(50, 8), evenly_chosen(5, 1)
        ([0, 1, 2], [0, 7, 14, 21, 28, 35, 42, 49], [4])
    """
    if count < 0 or most < 1:
        raise ValueError(f"count={count}, most={most}; expected at least 0 and 1")
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]
