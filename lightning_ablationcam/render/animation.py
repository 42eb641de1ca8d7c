"""One probe over the validation passes, as one animated picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.caption import caption_block
from lightning_ablationcam.render.encode import encode_gif
from lightning_ablationcam.render.layout import centered, column, framed
from lightning_ablationcam.render.legend import bar_image, legend_block
from lightning_ablationcam.render.overlays import blend
from lightning_ablationcam.render.sizes import fit
from lightning_ablationcam.render.style import BACKGROUND, GAP, MUTED, TEXT, TRACK
from lightning_ablationcam.render.validation import (
    check_heat,
    check_lines,
    check_picture,
    check_regions,
    check_same_length,
)

MAX_ANIMATION_FRAMES = 32
"""Twice as many would double the bytes and the time to watch, and show little more: 32 frames of
224 pixels take about half a MB, and eight seconds."""

WIDTH = 224
PROGRESS_HEIGHT = 4

TURN = 6_400
SHORTEST, LONGEST = 200, 600
HOLD = 2_000
"""Milliseconds: for all frames, for one frame, and how much longer the last frame stays."""


def probe_animation(
    picture: NDArray[np.uint8],
    heats: Sequence[NDArray[np.floating[Any]]],
    captions: Sequence[Sequence[str]],
    progress: Sequence[float],
    legend: str,
    *,
    signed: bool = False,
    regions: Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_] | None = None,
) -> bytes:
    """Draw how the heat of one picture changed: one frame for each pass, in an endless loop.

    The last frame stays for two seconds longer. Below the picture a bar shows where in the
    training a frame is.

    Args:
        picture: uint8 array of shape (H, W, 3), RGB, of any size.
        heats: 1 to 32 float arrays, each of shape (h, w), oldest first. Values are clipped to
            [0, 1]; NaN and infinities count as 0.
        captions: For each heat its lines of text; the first line stands out.
        progress: For each heat the share of the training done by then, clipped to [0, 1].
        legend: What the hottest colour stands for.
        signed: Whether heat below 0 counts, down to -1, in colours of its own.
        regions: For each heat None or a bool array of shape (H', W'), of any resolution, whose
            outline is drawn.

    Returns:
        A GIF file, at most 238 pixels wide; a still picture if there is a single heat.

    Raises:
        TypeError: If an array has another dtype, or a caption is a string.
        ValueError: If an array has another shape, there is no heat or there are more than 32, or
            there are not as many captions or shares.

    Example:
        >>> picture = np.zeros((32, 32, 3), np.uint8)
        >>> heats = [np.zeros((4, 4)), np.ones((4, 4))]
        >>> probe_animation(picture, heats, [["step 1"], ["step 2"]], [0.5, 1], "maximum")[:6]
        b'GIF89a'
    """
    _check(picture, heats, captions, progress)
    outlines = check_regions(regions, len(heats), "heats")
    bar = legend_block(legend, WIDTH, signed=signed)
    bare = fit(Image.fromarray(picture), WIDTH)
    lines = max(len(caption) for caption in captions)
    frames = [
        _frame(
            blend(bare, heat, signed, region),
            done,
            [*caption, *[""] * (lines - len(caption))],
            bar,
        )
        for heat, caption, done, region in zip(heats, captions, progress, outlines, strict=True)
    ]
    return encode_gif(frames, frame_milliseconds(len(frames)), furniture_colors(signed))


def frame_milliseconds(count: int) -> list[int]:
    """Return how long each of ``count`` frames is shown: all the same, and the last one longer.

    Example:
        >>> frame_milliseconds(3)
        [600, 600, 2600]
    """
    # GIF counts in hundredths of a second.
    each = min(max(TURN // count // 10 * 10, SHORTEST), LONGEST)
    return [each] * (count - 1) + [each + HOLD]


@cache
def furniture_colors(signed: bool = False) -> NDArray[np.uint8]:
    """Return the colours around the picture, uint8 (n, 3): text, bars, background."""
    ramps = [
        np.linspace(BACKGROUND, TEXT, 6),
        np.linspace(BACKGROUND, MUTED, 5)[1:],
        np.asarray(bar_image(25, 1, signed))[0],
        [TRACK],
    ]
    colors: NDArray[np.uint8] = np.rint(np.concatenate(ramps)).astype(np.uint8)
    return colors


def _frame(
    shown: Image.Image, done: float, caption: Sequence[str], legend: Image.Image
) -> NDArray[np.uint8]:
    above = column([centered(shown, WIDTH), _progress_bar(done)], GAP // 2)
    below = [caption_block(caption, WIDTH), legend]
    return np.array(framed(column([above, *below], GAP)))


def _progress_bar(done: float) -> Image.Image:
    bar = Image.new("RGB", (WIDTH, PROGRESS_HEIGHT), TRACK)
    bar.paste(TEXT, (0, 0, round(min(max(done, 0), 1) * WIDTH), PROGRESS_HEIGHT))
    return bar


def _check(
    picture: object,
    heats: Sequence[NDArray[np.floating[Any]]],
    captions: Sequence[Sequence[str]],
    progress: Sequence[float],
) -> None:
    check_picture(picture)
    if not 1 <= len(heats) <= MAX_ANIMATION_FRAMES:
        raise ValueError(f"heats must hold 1 to {MAX_ANIMATION_FRAMES} maps, got {len(heats)}")
    check_same_length(len(captions), len(heats), "captions", "heats")
    check_same_length(len(progress), len(heats), "progress", "heats")
    for number, (heat, caption) in enumerate(zip(heats, captions, strict=True)):
        check_heat(heat, f"heats[{number}]")
        check_lines(caption, f"captions[{number}]")
