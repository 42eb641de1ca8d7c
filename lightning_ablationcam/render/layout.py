"""Place images side by side and one below the other, on the common background."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from lightning_ablationcam.render.style import BACKGROUND, MARGIN


def row(images: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Return ``images`` from left to right, aligned at the top."""
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    canvas = Image.new("RGB", (width, max(image.height for image in images)), BACKGROUND)
    left = 0
    for image in images:
        canvas.paste(image, (left, 0))
        left += image.width + gap
    return canvas


def column(images: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Return ``images`` from top to bottom, aligned at the left; those of height 0 are left out."""
    images = [image for image in images if image.height]
    height = sum(image.height for image in images) + gap * (len(images) - 1)
    canvas = Image.new("RGB", (max(image.width for image in images), height), BACKGROUND)
    top = 0
    for image in images:
        canvas.paste(image, (0, top))
        top += image.height + gap
    return canvas


def centered(image: Image.Image, width: int) -> Image.Image:
    """Return ``image`` in the middle of a strip at least ``width`` wide."""
    if image.width >= width:
        return image
    canvas = Image.new("RGB", (width, image.height), BACKGROUND)
    canvas.paste(image, ((width - image.width) // 2, 0))
    return canvas


def framed(image: Image.Image, margin: int = MARGIN) -> Image.Image:
    """Return ``image`` with a margin of background on every side."""
    size = (image.width + 2 * margin, image.height + 2 * margin)
    canvas = Image.new("RGB", size, BACKGROUND)
    canvas.paste(image, (margin, margin))
    return canvas
