"""Pictures as the bytes of an image file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.validation import check_picture, check_same_length
from lightning_ablationcam.selection import evenly_chosen

# Every byte costs time: TensorBoard's writer computes checksums in Python, 150 ms for a MiB.
JPEG_QUALITY = 80

TOLERANCE = 6
"""How far a channel of a pixel in an animation may be, of 255, from its true value.

A pixel is drawn again only if it is further off: that halves the bytes, and is not visible."""

PALETTE_SAMPLES = 8
"""From how many frames the palette is made."""
MAX_COLORS = 255
"""Less than 256, because one entry means "as before"."""


def encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Return ``picture``, uint8 (H, W, 3), as a JPEG file: small and fast to make.

    Raises:
        TypeError: If ``picture`` is no uint8 array.
        ValueError: If ``picture`` has another shape.

    Example:
        >>> encode_jpeg(np.zeros((8, 8, 3), np.uint8))[:3]
        b'\\xff\\xd8\\xff'
    """
    return _encoded(picture, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Return ``picture``, uint8 (H, W, 3), as a PNG file: exact.

    Raises:
        TypeError: If ``picture`` is no uint8 array.
        ValueError: If ``picture`` has another shape.

    Example:
        >>> encode_png(np.zeros((8, 8, 3), np.uint8))[1:4]
        b'PNG'
    """
    return _encoded(picture, "PNG")


def encode_gif(
    frames: Sequence[NDArray[np.uint8]],
    milliseconds: Sequence[int],
    colors: NDArray[np.uint8],
) -> bytes:
    """Return ``frames`` as a GIF file in an endless loop.

    All frames share one palette and are not dithered, so that what does not change stands still.
    The first and the last frame are as close as the palette allows; in those between, pixels within
    :data:`TOLERANCE` of what is on the screen are left as they are.

    APNG would be exact, but several times as large in true colours, and only a tenth smaller with a
    palette; and many programs other than browsers show only its first frame.

    Args:
        frames: At least one uint8 array of shape (H, W, 3), RGB, all of one shape.
        milliseconds: How long each frame is shown, in steps of 10.
        colors: uint8 array of shape (n, 3): colours that the palette must have, at most 128.

    Returns:
        The file.

    Raises:
        TypeError: If a frame is no uint8 array.
        ValueError: If there is no frame, a frame has another shape, or there are not as many
            ``milliseconds``.

    Example:
        >>> frames = [np.full((8, 8, 3), grey, np.uint8) for grey in (0, 90, 255)]
        >>> encode_gif(frames, [200, 200, 900], np.zeros((1, 3), np.uint8))[:6]
        b'GIF89a'
    """
    if not frames:
        raise ValueError("frames must hold at least one picture, got none")
    for number, frame in enumerate(frames):
        check_picture(frame, f"frames[{number}]")
        if frame.shape != frames[0].shape:
            raise ValueError(
                f"frames must have one shape, got {frames[0].shape} and frames[{number}] of "
                f"{frame.shape}"
            )
    check_same_length(len(milliseconds), len(frames), "milliseconds", "frames")
    palette = _palette(frames, colors)
    same = len(palette)
    entries = bytes([*palette.tobytes(), 0, 0, 0])
    first, *others = _changes(frames, palette, same)
    for image in (first, *others):
        image.putpalette(entries)
        image.info["transparency"] = same
    file = BytesIO()
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=others,
        duration=list(milliseconds),
        loop=0,
        disposal=1,  # Each frame is drawn over the one before.
        transparency=same,
        palette=entries,
        optimize=False,
    )
    return file.getvalue()


def _palette(frames: Sequence[NDArray[np.uint8]], colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the distinct colours that represent the frames best, with ``colors`` among them."""
    fixed = np.unique(colors, axis=0)
    chosen = [frames[index][::3, ::3] for index in evenly_chosen(len(frames), PALETTE_SAMPLES)]
    room = MAX_COLORS - len(fixed)
    sample = Image.fromarray(np.concatenate(chosen))
    found = sample.quantize(room, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()
    best = np.array(found, np.uint8).reshape(-1, 3)[:room]
    palette: NDArray[np.uint8] = np.unique(np.concatenate([fixed, best]), axis=0)
    return palette


def _changes(
    frames: Sequence[NDArray[np.uint8]], palette: NDArray[np.uint8], same: int
) -> Iterator[Image.Image]:
    """Yield each frame as palette indices, ``same`` where the frame before may stay."""
    lookup = Image.new("P", (1, 1))
    lookup.putpalette(palette.tobytes())
    before = None
    for number, frame in enumerate(frames):
        image = Image.fromarray(frame).quantize(palette=lookup, dither=Image.Dither.NONE)
        indices = np.asarray(image)
        if before is None:
            before = frame.astype(np.int16)
            yield Image.fromarray(indices)
            continue
        tolerance = 0 if number == len(frames) - 1 else TOLERANCE
        red, green, blue = np.moveaxis(np.abs(frame - before) > tolerance, -1, 0)
        far = red | green | blue
        before = np.where(far[..., None], frame, before)
        yield Image.fromarray(np.where(far, indices, np.uint8(same)))


def _encoded(picture: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    check_picture(picture)
    file = BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()
