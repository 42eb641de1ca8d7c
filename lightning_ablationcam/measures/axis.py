"""How a measure is shown. Imports no torch, because TensorBoard's server reads it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """How the values of a measure are shown.

    Attributes:
        name: The measure's name in tags and records: a Python identifier in small letters.
        label: The measure's name where there is room for words.
        low: Its least value.
        high: Its greatest value.
        percent: Whether it is a share, and written in per cent.
    """

    name: str
    label: str
    low: float
    high: float
    percent: bool = False


BALANCE = Axis("balance", "Balance", 0.0, 1.0, percent=True)
DRIFT = Axis("drift", "Drift", 0.0, 1.0)
CONCENTRATION = Axis("concentration", "Concentration", 0.1, 1.0, percent=True)
