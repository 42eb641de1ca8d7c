"""The colour bar that says what the colours mean."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from lightning_ablationcam.render.caption import ink, line_height, shortened, text_width
from lightning_ablationcam.render.overlays import blend
from lightning_ablationcam.render.style import BACKGROUND, CARD, GAP, MUTED

BAR_HEIGHT = 8
# The bar's colours lie over this, as an overlay's colours lie over its picture: without it the
# bar's cold end would show a colour that no overlay has.
BENEATH = (92, 94, 98)
COLD = "0"
AGAINST, FOR = "against", "for"


@lru_cache(maxsize=256)
def legend_block(text: str, width: int, zoom: float = 1, signed: bool = False) -> Image.Image:
    """Return a colour bar with "0" below its cold end and ``text`` below its hot end.

    Of a signed scale the ends are "against" and "for", and ``text`` stands below them.

    Args:
        text: What the hottest colour stands for, shortened if it is too long.
        width: Width available, in pixels; the bar is at most as wide as a card.
        zoom: How much larger than usual bar and text are.
        signed: Whether the colours are those of two signs.

    Returns:
        RGB image, shared between callers: do not draw on it.
    """
    width = min(width, round(CARD * zoom))
    bar, line = round(BAR_HEIGHT * zoom), line_height(zoom)
    lines = 2 if signed else 1
    block = Image.new("RGB", (width, bar + 2 + lines * line), BACKGROUND)
    block.paste(bar_image(width, bar, signed), (0, 0))
    low, high = (AGAINST, FOR) if signed else (COLD, text)
    block.paste(MUTED, (0, bar + 2), ink(low, width, zoom))
    room = width - text_width(low, zoom) - GAP
    taken = text_width(shortened(high, room, zoom), zoom)
    block.paste(MUTED, (width - taken, bar + 2), ink(high, room, zoom).crop((0, 0, taken, line)))
    if signed:
        block.paste(MUTED, (0, bar + 2 + line), ink(f"100 %: {text}", width, zoom))
    return block


def bar_image(width: int, height: int, signed: bool = False) -> Image.Image:
    """Return the colours of the scale, coldest first, as an overlay shows them."""
    ramp = np.linspace(-1 if signed else 0, 1, width, dtype=np.float32)[None]
    return blend(Image.new("RGB", (width, height), BENEATH), ramp, signed)
