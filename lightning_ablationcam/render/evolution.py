"""One probe over the validation passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.caption import caption_block, wrapped
from lightning_ablationcam.render.layout import centered, column, framed, row
from lightning_ablationcam.render.legend import legend_block
from lightning_ablationcam.render.overlays import blend
from lightning_ablationcam.render.sizes import fit
from lightning_ablationcam.render.style import CARD, GAP, LARGE
from lightning_ablationcam.render.validation import (
    check_heat,
    check_lines,
    check_picture,
    check_regions,
    check_same_length,
)

MAX_FRAMES = 8
FRAMES_A_ROW = 4
FRAME = 112
INPUT = 56


def evolution_strip(
    picture: NDArray[np.uint8],
    heats: Sequence[NDArray[np.floating[Any]]],
    captions: Sequence[Sequence[str]],
    title: Sequence[str],
    legend: str,
    *,
    signed: bool = False,
    regions: Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw how the heat of one picture changed: a frame for each pass, and the picture on top.

    Args:
        picture: uint8 array of shape (H, W, 3), RGB, of any size.
        heats: 1 to 8 float arrays, each of shape (h, w), oldest first. Values are clipped to
            [0, 1]; NaN and infinities count as 0.
        captions: For each heat its lines of text, short ones.
        title: Lines of text above the frames; the first stands out.
        legend: What the hottest colour stands for.
        signed: Whether heat below 0 counts, down to -1, in colours of its own.
        regions: For each heat None or a bool array of shape (H', W'), of any resolution, whose
            outline is drawn.

    Returns:
        uint8 array of shape (H', W', 3), RGB.

    Raises:
        TypeError: If an array has another dtype, or a caption is a string.
        ValueError: If an array has another shape, there is no heat or there are more than 8, or
            there are not as many captions.

    Example:
        >>> picture = np.zeros((32, 32, 3), np.uint8)
        >>> heats = [np.zeros((4, 4)), np.ones((4, 4))]
        >>> strip = evolution_strip(picture, heats, [["step 1"], ["step 2"]], ["cat"], "maximum")
        >>> strip.dtype
        dtype('uint8')
    """
    strip = _strip(picture, heats, captions, title, signed, regions)
    legend_bar = legend_block(legend, strip.width, LARGE, signed)
    return np.array(framed(column([strip, legend_bar], 2 * GAP)))


def evolution_strips(
    pictures: NDArray[np.uint8],
    heats: Sequence[Sequence[NDArray[np.floating[Any]]]],
    captions: Sequence[Sequence[Sequence[str]]],
    titles: Sequence[Sequence[str]],
    heading: Sequence[str],
    legend: str,
) -> NDArray[np.uint8]:
    """Draw how the heat of several pictures changed, under one heading and above one legend.

    Args:
        pictures: uint8 array of shape (N, H, W, 3), RGB, N at least 1.
        heats: For each picture its heats, as in :func:`evolution_strip`.
        captions: For each picture and each heat its lines of text. The first is a dotted name, and
            takes two lines where it is long.
        titles: For each picture the lines of text above its frames.
        heading: Lines of text above all; the first stands out.
        legend: What the hottest colour stands for.

    Returns:
        uint8 array of shape (H', W', 3), RGB.

    Raises:
        TypeError: If an array has another dtype, or a caption is a string.
        ValueError: If an array has another shape, or numbers differ.

    Example:
        >>> pictures, heats = np.zeros((2, 32, 32, 3), np.uint8), [[np.ones((4, 4))]] * 2
        >>> named, titles = [[["layer2.0.conv1"]]] * 2, [["cat"], ["dog"]]
        >>> evolution_strips(pictures, heats, named, titles, ["random"], "maximum").dtype
        dtype('uint8')
    """
    for name, values in (("heats", heats), ("captions", captions), ("titles", titles)):
        check_same_length(len(values), len(pictures), name, "pictures")
    check_lines(heading, "heading")
    strips = [
        _strip(picture, maps, [_with_name(lines) for lines in named], title)
        for picture, maps, named, title in zip(pictures, heats, captions, titles, strict=True)
    ]
    width = max(strip.width for strip in strips)
    head = caption_block(heading, width, zoom=LARGE)
    bar = legend_block(legend, width, LARGE)
    return np.array(framed(column([head, *strips, bar], 2 * GAP)))


def _with_name(lines: Sequence[str]) -> list[str]:
    check_lines(lines, "caption")
    return [*(part for line in lines[:1] for part in wrapped(line, FRAME, LARGE)), *lines[1:]]


def _strip(
    picture: NDArray[np.uint8],
    heats: Sequence[NDArray[np.floating[Any]]],
    captions: Sequence[Sequence[str]],
    title: Sequence[str],
    signed: bool = False,
    regions: Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_] | None = None,
) -> Image.Image:
    _check(picture, heats, captions, title)
    outlines = check_regions(regions, len(heats), "heats")
    source = Image.fromarray(picture)
    bare, thumbnail = fit(source, FRAME), fit(source, INPUT)
    frames = [
        _frame(blend(bare, heat, signed, region), caption)
        for heat, caption, region in zip(heats, captions, outlines, strict=True)
    ]
    rows = 1 if len(frames) <= FRAMES_A_ROW else 2
    columns = -(-len(frames) // rows)
    lines = [row(frames[start : start + columns], GAP) for start in range(0, len(frames), columns)]
    body = column(lines, GAP)
    width = max(body.width, CARD)
    room = width - thumbnail.width - GAP
    header = row([thumbnail, caption_block(title, room, zoom=LARGE)], GAP)
    return column([header, body], GAP)


def _frame(shown: Image.Image, caption: Sequence[str]) -> Image.Image:
    text = caption_block(caption, FRAME, zoom=LARGE)
    return column([centered(shown, FRAME), text], GAP // 2)


def _check(
    picture: object,
    heats: Sequence[NDArray[np.floating[Any]]],
    captions: Sequence[Sequence[str]],
    title: Sequence[str],
) -> None:
    check_picture(picture)
    if not 1 <= len(heats) <= MAX_FRAMES:
        raise ValueError(f"heats must hold 1 to {MAX_FRAMES} maps, got {len(heats)}")
    check_same_length(len(captions), len(heats), "captions", "heats")
    for number, (heat, caption) in enumerate(zip(heats, captions, strict=True)):
        check_heat(heat, f"heats[{number}]")
        check_lines(caption, f"captions[{number}]")
    check_lines(title, "title")
