"""Slices of volumes beside each other, in pictures and in the maps over them alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.selection import evenly_chosen

MAX_TILES = 16
"""Most depth positions that are shown."""

MIN_SIDE, MAX_SIDE = 336, 768
"""Fewest and most pixels of the longer side of a mosaic picture, roughly; of maps of very many
cells there are more."""

DEFAULT_MAP = (8, 8)
"""Cells of the map that a picture is made for where none is known: they say how wide gaps are."""


@dataclass(frozen=True)
class Mosaic:
    """Where the depth positions of a map of a volume lie, as tiles in rows.

    Between tiles there is one cell of gap, so that smooth interpolation stays in its tile.

    Args:
        depth: Depth positions of the map; of more than 16 some are shown, evenly chosen.
        height: Cells from top to bottom, of one depth position.
        width: Cells from left to right.

    Example:
        >>> mosaic = Mosaic(8, 4, 4)
        >>> mosaic.columns, mosaic.rows, mosaic.cells
        (3, 3, (14, 14))
    """

    depth: int
    height: int
    width: int

    @property
    def shown(self) -> list[int]:
        """The depth positions that are shown, in their order."""
        return evenly_chosen(self.depth, MAX_TILES)

    @property
    def columns(self) -> int:
        """Tiles in a row: so many that the whole is as near to a square as possible."""
        count = len(self.shown)

        # Of two that are as near the wider one.
        def distance(columns: int) -> tuple[float, int]:
            height, width = self._cells(columns)
            return abs(math.log(width / height)), -columns

        return min(range(1, count + 1), key=distance)

    @property
    def rows(self) -> int:
        """Rows of tiles; the last one may not be full."""
        return -(-len(self.shown) // self.columns)

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of the whole, gaps included."""
        return self._cells(self.columns)

    def _cells(self, columns: int) -> tuple[int, int]:
        rows = -(-len(self.shown) // columns)
        return rows * (self.height + 1) - 1, columns * (self.width + 1) - 1

    def cell_pixels(self, size: Sequence[int]) -> tuple[int, int]:
        """Height and width of a cell in a picture, in whole pixels.

        As many as it has in the slice, but so many more or fewer that the whole is legible.

        Args:
            size: Height and width of a slice of the volume, in pixels.

        Example:
            >>> Mosaic(9, 4, 4).cell_pixels((100, 120)), Mosaic(16, 8, 8).cell_pixels((512, 512))
            ((25, 30), (21, 21))
        """
        cells = (self.height, self.width)
        each = [pixels / count for pixels, count in zip(size, cells, strict=True)]
        longest = max(pixels * whole for pixels, whole in zip(each, self.cells, strict=True))
        scale = min(max(1.0, MIN_SIDE / longest), MAX_SIDE / longest)
        height, width = (
            max(1, round(pixels) if scale == 1 else int(pixels * scale)) for pixels in each
        )
        return height, width

    def slices(self, depth: int) -> list[int]:
        """For each tile the slice of a volume in the middle of its depth position.

        Args:
            depth: How many slices the volume has.

        Example:
            >>> Mosaic(3, 4, 4).slices(12)
            [2, 6, 10]
        """
        return [min(depth - 1, int((place + 0.5) * depth / self.depth)) for place in self.shown]

    def fits(self, pictures: NDArray[Any]) -> bool:
        """Whether pictures, (N, H, W, 3), have these tiles, with one colour between them."""
        high, wide = self.cells
        if pictures.ndim != 4 or pictures.shape[1] % high or pictures.shape[2] % wide:
            return False
        inside = flat_maps(np.ones((1, self.depth, self.height, self.width), bool))[0]
        cell = np.ones((pictures.shape[1] // high, pictures.shape[2] // wide), bool)
        between = pictures[:, ~np.kron(inside, cell)]
        return not between.size or bool((between == between[0, 0]).all())

    def laid_out(
        self, tiles: NDArray[Any], cell: Sequence[int] = (1, 1), background: Sequence[int] = (0,)
    ) -> NDArray[Any]:
        """Tiles in rows.

        Args:
            tiles: (N, T, height * a, width * b, ...) one tile for each depth position shown.
            cell: (a, b), the height and width of a cell.
            background: What is between tiles, in the last dimension of pictures.

        Returns:
            (N, H, W, ...) for the H x W ``cells``, times the size of one.

        Example:
            >>> Mosaic(2, 1, 1).laid_out(np.array([[[[1]], [[2]]]])).tolist()
            [[[1, 0, 2]]]
        """
        high, wide = self.cells[0] * cell[0], self.cells[1] * cell[1]
        whole = np.empty((len(tiles), high, wide, *tiles.shape[4:]), tiles.dtype)
        whole[...] = np.asarray(background, tiles.dtype)
        height, width = tiles.shape[2:4]
        for place in range(tiles.shape[1]):
            row, column = divmod(place, self.columns)
            top, left = row * (height + cell[0]), column * (width + cell[1])
            whole[:, top : top + height, left : left + width] = tiles[:, place]
        return whole


def flat_maps(maps: NDArray[Any]) -> NDArray[Any]:
    """Maps of any number of spatial dimensions as they are drawn, with two.

    Args:
        maps: (N, w), (N, h, w) or (N, d, h, w).

    Returns:
        (N, h, w): a signal's map in one row, a volume's as a :class:`Mosaic`.

    Raises:
        ValueError: If the maps have another number of dimensions.

    Example:
        >>> flat_maps(np.ones((2, 8, 4, 4))).shape, flat_maps(np.ones((2, 7))).shape
        ((2, 14, 14), (2, 1, 7))
    """
    if maps.ndim == 2:
        return maps[:, None]
    if maps.ndim == 3:
        return maps
    if maps.ndim != 4:
        raise ValueError(
            f"maps have shape {maps.shape}; expected one to three spatial dimensions after N"
        )
    depth, height, width = maps.shape[1:]
    mosaic = Mosaic(depth, height, width)
    return mosaic.laid_out(maps[:, mosaic.shown])
