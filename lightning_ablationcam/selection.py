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


def steadily_chosen(count: int, most: int) -> list[int]:
    """Choose at most so many of ``count`` things, of which more will come, and stay with them.

    Every one is chosen, or every second, fourth, eighth ..., and the last. What is chosen stays so
    until there is no room for one more; then every second of it does. So of many at least half as
    many are chosen as could be.

    Args:
        count: How many there are now, at least 0.
        most: How many to choose at most, at least 2.

    Returns:
        Increasing indices.

    Raises:
        ValueError: If ``count`` is negative or ``most`` less than 2.

    Example:
        >>> steadily_chosen(8, 8), steadily_chosen(10, 8), steadily_chosen(16, 8)
        ([0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 4, 6, 8, 9], [0, 4, 8, 12, 15])
    """
    if count < 0 or most < 2:
        raise ValueError(f"count={count}, most={most}; expected at least 0 and 2")
    if count <= most:
        return list(range(count))
    stride = 2
    # The last is no multiple of it for most of the time.
    while -(-count // stride) >= most:
        stride *= 2
    chosen = list(range(0, count, stride))
    return chosen if chosen[-1] == count - 1 else [*chosen, count - 1]
