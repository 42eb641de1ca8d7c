"""How a measure is shown. Imports no torch, because TensorBoard's server reads it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Axis:
    """How the values of a measure are shown.

    Attributes:
        name: The measure's name in tags and records: a Python identifier in small letters.
        label: The measure's name where there is room for words.
        low: Its least value.
        high: Its greatest value; None where there is none.
        percent: Whether it is a share, and written in per cent.
        unit: What it is counted in, such as ``"px"``; empty for a pure number.
        group: The heading under which it stands.
        hint: What it says, in a sentence.
        worse: Which of its values are those to worry about, the ``"high"`` or the ``"low"``; empty
            where that may be either.
    """

    name: str
    label: str
    low: float
    high: float | None
    percent: bool = False
    unit: str = ""
    group: str = ""
    hint: str = ""
    worse: Literal["high", "low", ""] = ""


CHANGE, FOCUS, EVIDENCE, FAITHFULNESS = "Change", "Focus", "Evidence", "Faithfulness"
"""The groups of measures."""

DRIFT = Axis(
    "drift",
    "Drift",
    0.0,
    1.0,
    group=CHANGE,
    hint="How much the map changed since the pass before: 1 - cosine",
    worse="high",
)
DRIFT_FROM_FIRST = Axis(
    "drift_from_first",
    "Drift from first",
    0.0,
    1.0,
    group=CHANGE,
    hint="How much the map differs from that of the first pass: 1 - cosine",
    worse="high",
)
SHIFT = Axis(
    "shift",
    "Shift",
    0.0,
    None,
    unit="px",
    group=CHANGE,
    hint="How far the centre of heat moved since the pass before, in pixels of the picture",
    worse="high",
)
CONCENTRATION = Axis(
    "concentration",
    "Concentration",
    0.1,
    1.0,
    percent=True,
    group=FOCUS,
    hint="Share of the heat in the hottest tenth of the area",
)
BORDER_HEAT = Axis(
    "border_heat",
    "Border heat",
    0.0,
    1.0,
    percent=True,
    group=FOCUS,
    hint="Share of the heat in the outer tenth of each side; 36 % if it is spread evenly",
    worse="high",
)
MASK_HEAT = Axis(
    "mask_heat",
    "Heat in mask",
    0.0,
    1.0,
    percent=True,
    group=FOCUS,
    hint="Share of the heat inside the probe's mask",
    worse="low",
)
POINTING_GAME = Axis(
    "pointing_game",
    "Pointing game",
    0.0,
    1.0,
    percent=True,
    group=FOCUS,
    hint="Whether the hottest place lies inside the probe's mask; over probes, how often",
    worse="low",
)
BALANCE = Axis(
    "balance",
    "Balance",
    0.0,
    1.0,
    percent=True,
    group=EVIDENCE,
    hint="Share of the channels' influence on the score that speaks for the class; 50 %: as much "
    "for it as against it. How strong the map is: may be compared over time, which heat may not",
    worse="low",
)
ERROR = Axis(
    "error",
    "Error",
    0.0,
    1.0,
    percent=True,
    group=EVIDENCE,
    hint="How far any place of the map may be from that of the exact map, as a share of the map's "
    "maximum, with 99 % confidence; what changes by less between two passes is no news",
    worse="high",
)
AVERAGE_DROP = Axis(
    "average_drop",
    "Average drop",
    0.0,
    1.0,
    percent=True,
    group=FAITHFULNESS,
    hint="Share of the class probability that is lost where only what is warm is left of the "
    "picture; lower is more faithful",
    worse="high",
)
INCREASE = Axis(
    "increase",
    "Increase in confidence",
    0.0,
    1.0,
    percent=True,
    group=FAITHFULNESS,
    hint="Whether the class is more probable where only what is warm is left of the picture; over "
    "probes, how often",
    worse="low",
)
AVERAGE_GAIN = Axis(
    "average_gain",
    "Average gain",
    0.0,
    1.0,
    percent=True,
    group=FAITHFULNESS,
    hint="Share of the doubt in the class that goes where only what is warm is left of the picture",
    worse="low",
)
INSERTION = Axis(
    "insertion",
    "Insertion",
    0.0,
    1.0,
    group=FAITHFULNESS,
    hint="Mean class probability while the picture appears, hottest places first; higher is more "
    "faithful",
    worse="low",
)
DELETION = Axis(
    "deletion",
    "Deletion",
    0.0,
    1.0,
    group=FAITHFULNESS,
    hint="Mean class probability while the picture is deleted, hottest places first; lower is more "
    "faithful",
    worse="high",
)
