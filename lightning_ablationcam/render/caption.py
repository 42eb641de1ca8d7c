"""Lines of text, drawn with Pillow's built-in font."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from math import ceil

from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont

from lightning_ablationcam.render.style import BACKGROUND, LINE_HEIGHT, MUTED, TEXT, TEXT_SIZE

ELLIPSIS = "…"

# Unicode will never assign it, so every font draws it as the box for letters it lacks.
_NO_CHARACTER = "\U000effff"
# They join the letters beside them and are invisible.
_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))


def caption_block(
    lines: Sequence[str],
    width: int,
    first: tuple[int, int, int] = TEXT,
    zoom: float = 1,
) -> Image.Image:
    """Return ``lines`` one below the other on the background, ``width`` pixels wide.

    Args:
        lines: The text. A line too long for the width is shortened with an ellipsis; control
            characters become spaces, and letters that the font lacks are spelled in ASCII.
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
        >>> shortened("кошка 😀", 200)
        'koshka :grinning:'
        >>> shortened("a name that goes on for ever", 80)
        'a name that…'
    """
    # Hardly any character is narrower than a pixel: characters beyond would not be seen, neither
    # of the line nor of its spelling in ASCII.
    text = _drawable(line[: 4 * width])[: 4 * width]
    if text_width(text, zoom) <= width:
        return text
    fitting = bisect_right(
        range(1, len(text)), width, key=lambda end: text_width(text[:end] + ELLIPSIS, zoom)
    )
    return text[:fitting].rstrip() + ELLIPSIS


def wrapped(name: str, width: int, zoom: float = 1) -> list[str]:
    """Return a dotted name in one line or two, broken after a dot where one is.

    Names in a network often differ in their end, and what is too long for two lines loses its
    middle.

    Example:
        >>> wrapped("layer2.1.conv1", 80), wrapped("head", 80)
        (['layer2.1.', 'conv1'], ['head'])
        >>> wrapped("encoder.layers.encoder_layer_11.mlp.0", 80)
        ['encoder.', '…er_11.mlp.0']
    """
    text = _drawable(name[: 4 * width])
    if text_width(text, zoom) <= width:
        return [text]
    fitting = [end for end in range(1, len(text)) if text_width(text[:end], zoom) <= width]
    ends = [end for end in fitting if text[end - 1] == "."] or fitting or [1]
    first, rest = text[: ends[-1]], text[ends[-1] :]
    start = 0
    while start < len(rest) and text_width(ELLIPSIS * (start > 0) + rest[start:], zoom) > width:
        start += 1
    return [first, ELLIPSIS * (start > 0) + rest[start:]]


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
    composed = unicodedata.normalize("NFC", text).translate(_JOINERS)
    words = "".join(c if c.isprintable() else " " for c in composed).split()
    # If no letter of a word is known, boxes show at least that there is a word.
    return " ".join("".join(map(_spelled, word)) or word for word in words)


@lru_cache(maxsize=4096)
def _spelled(letter: str) -> str:
    """Return ``letter`` if the font has it, else ASCII for it; "" for marks and unknown letters."""
    return letter if _has_glyph(letter) else anyascii(letter)


def _has_glyph(letter: str) -> bool:
    # Pillow does not say which characters a font has, but draws the same box for all it lacks.
    mask = font().getmask(letter)
    return (mask.size, bytes(mask)) != _box()


@cache
def _box() -> tuple[tuple[int, int], bytes]:
    mask = font().getmask(_NO_CHARACTER)
    return mask.size, bytes(mask)
