"""The regions that a pass explains, small enough to be kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MAX_SIDE = 128
"""Most cells of a side of a region: an outline needs no more."""


@dataclass(frozen=True, eq=False)
class Regions:
    """One region of each of N images, a bit a cell.

    Attributes:
        shape: Height and width, at most :data:`MAX_SIDE` each.
        bits: (N, B) uint8, the cells of each region in C order, packed as by ``numpy.packbits``.

    Example:
        >>> import torch
        >>> regions = Regions.of(torch.ones(2, 512, 256, dtype=torch.bool))
        >>> regions.shape, regions.bits.shape, bool(regions.masks().all())
        ((128, 64), (2, 1024), True)
    """

    shape: tuple[int, int]
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, regions: Tensor) -> Regions | None:
        """The regions (N, H, W) bool, reduced; what is nearly lost by that is kept whole.

        Of a signal they are a row, (N, W). Those of volumes are not kept.
        """
        if regions.ndim == 2:
            regions = regions[:, None]
        if regions.ndim != 3:
            return None
        regions = regions.bool()
        height, width = regions.shape[1:]
        longest = max(height, width)
        if longest > MAX_SIDE:
            rows, columns = (max(1, round(side * MAX_SIDE / longest)) for side in (height, width))
            covered = functional.adaptive_avg_pool2d(regions[:, None].float(), (rows, columns))[
                :, 0
            ]
            small = covered >= 0.5
            lost = ~small.flatten(1).any(dim=1)
            regions = small | (covered > 0) & lost[:, None, None]
        masks = regions.numpy()
        count, height, width = masks.shape
        return cls((height, width), np.packbits(masks.reshape(count, -1), axis=1))

    def masks(self) -> NDArray[np.bool_]:
        """The regions: (N, h, w) bool."""
        height, width = self.shape
        cells = np.unpackbits(self.bits, axis=1, count=height * width)
        return cells.reshape(-1, height, width).astype(np.bool_)
