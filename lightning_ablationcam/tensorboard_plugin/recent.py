"""Keep the series requested last: the page requests the data, then numbers, maps and pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_ablationcam.records.format import HeatRecord
from lightning_ablationcam.records.series import Series, Stamped

MAX_BYTES = 2**30
"""How many bytes of records are kept, as they are stored, unless a single series has more: seven
runs of a thousand steps over 500 probes. In memory they take about half."""

MAX_SERIES = 32
"""How many series are kept."""

Key = tuple[int, float, int]
"""Of a record: its step, its wall time and its size."""

_Place = tuple[str, str, str]


@dataclass(frozen=True)
class Kept:
    """A series, and the records it was made from.

    Attributes:
        series: The series.
        records: Records that were read already, by their keys: a newer state of the series has most
            of them.
    """

    series: Series
    records: Mapping[Key, Stamped[HeatRecord]]

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the event file."""
        pictures = sum(map(len, self.series.probes.pictures))
        return pictures + sum(size for _, _, size in self.records)


class RecentSeries:
    """A few series, by experiment, run and tag; safe to use from several threads.

    They save reading a series again for each of its pictures and maps, and of one that has grown no
    pass is decoded again. The page gets what belongs to its data even if the run has grown in
    between.

    Args:
        most_bytes: Bound on what is kept.

    Example:
        >>> RecentSeries().get(("", "run", "ablation_cam")) is None
        True
    """

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[_Place, tuple[Kept, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, place: _Place) -> Kept | None:
        """What was last kept at a place, if it is still there."""
        with self._lock:
            if place not in self._kept:
                return None
            self._kept.move_to_end(place)
            return self._kept[place][0]

    def keep(self, place: _Place, kept: Kept) -> None:
        """Keep a series; drop those unused for longest, but never the one just kept."""
        size = kept.nbytes
        with self._lock:
            self._kept[place] = kept, size
            self._kept.move_to_end(place)
            while len(self._kept) > 1 and self._too_much():
                self._kept.popitem(last=False)

    def _too_much(self) -> bool:
        many = len(self._kept) > MAX_SERIES
        return many or sum(size for _, size in self._kept.values()) > self._most_bytes
