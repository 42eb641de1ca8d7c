"""The outline of a region, over a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# A line that is light and has dark edges is seen on any ground.
LIGHT, DARK = (255, 255, 255), (0, 0, 0)

_FINER = 2
"""The line is drawn so many times as fine and reduced, which makes its steps smooth."""
_LINE, _EDGE = 3, 2
"""How wide line and edge are, in pixels of the finer picture."""


def outlined(picture: Image.Image, region: NDArray[np.bool_] | None) -> Image.Image:
    """Return the RGB image ``picture`` with the outline of a region on it.

    Args:
        picture: The image, as large as it is shown.
        region: (H, W) bool of any resolution, covering the whole picture. None, and one that is
            all of the picture or nothing of it, have no outline.
    """
    if region is None or region.all() or not region.any():
        return picture
    inside = _enlarged(region, (picture.width * _FINER, picture.height * _FINER))
    # The line lies inside, so that it is whole where the region ends with the picture.
    line = inside & ~_shrunk(inside, _LINE)
    grown = ~_shrunk(~inside, _EDGE, beyond=True)
    around = grown & ~_shrunk(inside, _LINE + _EDGE)
    for part, color in ((around, DARK), (line, LIGHT)):
        ground = Image.new("RGB", picture.size, color)
        picture = Image.composite(ground, picture, _reduced(part))
    return picture


def _enlarged(region: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The region at another size; a little of it is left where nearly nothing would be."""
    image = Image.fromarray(region.astype(np.uint8) * 255)
    smooth = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    inside = smooth >= 128
    return inside if inside.any() else smooth > 0


def _shrunk(mask: NDArray[np.bool_], by: int, *, beyond: bool = False) -> NDArray[np.bool_]:
    """The mask without what is within ``by`` pixels of its edge.

    Args:
        mask: The mask.
        by: How many pixels.
        beyond: Whether it goes on beyond the picture; otherwise it ends there.
    """
    for turn in range(by):
        padded = np.pad(mask, 1, constant_values=beyond)
        middle = padded[1:-1, 1:-1]
        sides = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        mask = middle & sides
        # Every other turn takes corners as well, which makes an octagon of what would be a diamond.
        if turn % 2:
            mask &= padded[:-2, :-2] & padded[:-2, 2:] & padded[2:, :-2] & padded[2:, 2:]
    return mask


def _reduced(part: NDArray[np.bool_]) -> Image.Image:
    image = Image.fromarray(part.astype(np.uint8) * 255)
    return image.resize((image.width // _FINER, image.height // _FINER), Image.Resampling.BOX)
