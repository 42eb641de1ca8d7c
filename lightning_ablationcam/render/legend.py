"""The colour bar that says what the colours mean."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from lightning_ablationcam.render.caption import ink, shortened, text_width
from lightning_ablationcam.render.overlays import blend
from lightning_ablationcam.render.style import BACKGROUND, CARD, GAP, LINE_HEIGHT, MUTED

BAR_HEIGHT = 8
# What the bar's colours lie over, as those of an overlay lie over its picture: without it the
# bar's cold end would show a colour that no overlay has.
BENEATH = (92, 94, 98)
COLD = "0"


@lru_cache(maxsize=256)
def legend_block(text: str, width: int) -> Image.Image:
    """Return a colour bar with "0" below its cold end and ``text`` below its hot end.

    Args:
        text: What the hottest colour stands for, shortened to the width where too long.
        width: Width available, in pixels; the bar takes no more than a card's.

    Returns:
        RGB image, shared between callers: do not draw on it.
    """
    width = min(width, CARD)
    block = Image.new("RGB", (width, BAR_HEIGHT + 2 + LINE_HEIGHT), BACKGROUND)
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None]
    block.paste(blend(Image.new("RGB", (width, BAR_HEIGHT), BENEATH), ramp), (0, 0))
    block.paste(MUTED, (0, BAR_HEIGHT + 2), ink(COLD, width))
    room = width - text_width(COLD) - GAP
    taken = text_width(shortened(text, room))
    block.paste(
        MUTED, (width - taken, BAR_HEIGHT + 2), ink(text, room).crop((0, 0, taken, LINE_HEIGHT))
    )
    return block
