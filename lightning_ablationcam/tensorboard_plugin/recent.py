"""Keep the series requested last: the page requests the data, then the maps and pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict

from lightning_ablationcam.records.series import Series

MAX_BYTES = 64 * 2**20
"""How many bytes of maps and pictures are kept, unless a single series has more."""

MAX_SERIES = 8
"""How many series are kept."""

_Place = tuple[str, str, str]


class RecentSeries:
    """A few series, by experiment, run and tag; safe to use from several threads.

    They save reading all pictures again for each single one, and the page gets the maps that belong
    to its data even if the run has grown in between.

    Args:
        most_bytes: Bound on the maps and pictures kept.

    Example:
        >>> RecentSeries().get(("", "run", "ablation_cam")) is None
        True
    """

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[_Place, Series] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, place: _Place) -> Series | None:
        """The series last kept at a place, if it is still there."""
        with self._lock:
            if place in self._kept:
                self._kept.move_to_end(place)
            return self._kept.get(place)

    def keep(self, place: _Place, series: Series) -> None:
        """Keep a series; drop those unused for longest, but never the one just kept."""
        with self._lock:
            self._kept[place] = series
            self._kept.move_to_end(place)
            while len(self._kept) > 1 and self._too_much():
                self._kept.popitem(last=False)

    def _too_much(self) -> bool:
        many = len(self._kept) > MAX_SERIES
        return many or sum(map(_size, self._kept.values())) > self._most_bytes


def _size(series: Series) -> int:
    maps = sum(stamped.record.nbytes for stamped in series.steps)
    return maps + sum(map(len, series.probes.pictures))
