"""The look shared by every picture: colours, distances and text sizes, in pixels."""

from __future__ import annotations

BACKGROUND = (24, 25, 29)
TEXT = (236, 237, 240)
MUTED = (158, 162, 170)
TRACK = (62, 64, 70)

TEXT_SIZE = 13
LINE_HEIGHT = 18

LARGE = 1.4
"""How much larger text is in a picture that a card shows reduced to about 60 %."""

# Half of the space that a card of 350 px leaves beside the largest picture shown alone.
MARGIN = 7
GAP = 8
SEAM = 2

CARD = 336
"""Longest side of a picture shown alone: a TensorBoard card is about 350 px wide."""
