"""Lines of text, drawn with the font that Pillow brings along."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from math import ceil

from PIL import Image, ImageDraw, ImageFont

from lightning_ablationcam.render.style import BACKGROUND, LINE_HEIGHT, MUTED, TEXT, TEXT_SIZE

ELLIPSIS = "…"


def caption_block(
    lines: Sequence[str],
    width: int,
    first: tuple[int, int, int] = TEXT,
    zoom: float = 1,
) -> Image.Image:
    """Return ``lines`` one below the other on the background, ``width`` pixels wide.

    Args:
        lines: The text. A line too long for the width is shortened with an ellipsis; control
            characters become spaces, accents are dropped, other characters that the font lacks
            are drawn as boxes.
        width: Width of the block, in pixels.
        first: Colour of the first line; the others are muted.
        zoom: How much larger than usual the text is.

    Returns:
        RGB image of height 0 where there is no line.
    """
    height = line_height(zoom)
    block = Image.new("RGB", (width, height * len(lines)), BACKGROUND)
    for number, line in enumerate(lines):
        block.paste(first if number == 0 else MUTED, (0, height * number), ink(line, width, zoom))
    return block


@lru_cache(maxsize=512)
def ink(line: str, width: int, zoom: float = 1) -> Image.Image:
    """Return the coverage of ``line``, an "L" image of size (``width``, line height)."""
    height = line_height(zoom)
    mask = Image.new("L", (width, height))
    text = shortened(line, width, zoom)
    ImageDraw.Draw(mask).text((0, height / 2), text, fill=255, font=font(zoom), anchor="lm")
    return mask


def shortened(line: str, width: int, zoom: float = 1) -> str:
    """Return ``line`` as it is drawn: printable, on one line, no wider than ``width`` pixels.

    Example:
        >>> shortened("two\\nlines", 200)
        'two lines'
        >>> shortened("a name that goes on for ever", 80)
        'a name that…'
    """
    # No character that is drawn is narrower than a pixel: what comes after cannot be seen.
    text = _drawable(line[: 4 * width])
    if text_width(text, zoom) <= width:
        return text
    fitting = bisect_right(
        range(1, len(text)), width, key=lambda end: text_width(text[:end] + ELLIPSIS, zoom)
    )
    return text[:fitting].rstrip() + ELLIPSIS


def text_width(text: str, zoom: float = 1) -> int:
    """Return how many pixels wide ``text`` is drawn."""
    return ceil(font(zoom).getlength(text))


def line_height(zoom: float = 1) -> int:
    """Return the height of a line of text."""
    return round(LINE_HEIGHT * zoom)


@cache
def font(zoom: float = 1) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font."""
    return ImageFont.load_default(size=round(TEXT_SIZE * zoom))


def _drawable(text: str) -> str:
    # The built-in font has no accented letters: "é" reads better as "e" than as a box.
    letters = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return " ".join("".join(c if c.isprintable() else " " for c in letters).split())
