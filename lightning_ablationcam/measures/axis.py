"""How a measure is shown. Without torch: TensorBoard's server reads it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """How the values of a measure are read.

    Attributes:
        name: The measure's, part of tags and records: a Python identifier in small letters.
        label: What it is called where there is room for words.
        low: Its least value.
        high: Its greatest.
        percent: Whether it is a share, and written in per cent.
    """

    name: str
    label: str
    low: float
    high: float
    percent: bool = False


DRIFT = Axis("drift", "Drift", 0.0, 1.0)
CONCENTRATION = Axis("concentration", "Concentration", 0.1, 1.0, percent=True)
