"""Images, signals and volumes as they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_ablationcam.arguments import shown, whole_numbers
from lightning_ablationcam.render.curves import curve_picture
from lightning_ablationcam.render.mosaic import DEFAULT_MAP, Mosaic
from lightning_ablationcam.render.style import BACKGROUND


@dataclass(frozen=True)
class Display:
    """How the tensor that heatmaps lie over is shown.

    Attributes:
        mean: Mean that normalisation subtracted, one number or one for each channel, or None.
        std: Standard deviation that it divided by, likewise.
        bands: Which channels are shown as red, green and blue, or the one shown as grey; of a
            signal those that are drawn. None for all.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bands: tuple[int, ...] | None = None

    def pictures(self, images: Tensor, map_shape: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Draw images, signals or volumes.

        Args:
            images: (N, C, H, W), (N, C, L) or (N, C, D, H, W).
            map_shape: Shape of the maps that will lie over them, without N.

        Returns:
            (N, H', W', 3) uint8, RGB.
        """
        if images.ndim == 5:
            depth = images.shape[2]
            mosaic = Mosaic(*_three((depth, *DEFAULT_MAP) if map_shape is None else map_shape))
            kept = mosaic.slices(depth)
            # One volume at a time, which can be large.
            drawn = [self._colored(each[None])[0, kept] for each in images]
            return _in_tiles(np.stack(drawn), mosaic)
        if images.ndim == 3:
            curves = _chosen(_undone(images.float(), self), self.bands).numpy()
            flat = np.stack([curve_picture(each) for each in curves])
        else:
            flat = self._colored(images)
        if map_shape is None or len(map_shape) < 3:
            return flat
        # The same picture under each depth position of the map.
        mosaic = Mosaic(*_three(map_shape))
        return _in_tiles(np.repeat(flat[:, None], len(mosaic.shown), axis=1), mosaic)

    def _colored(self, images: Tensor) -> NDArray[np.uint8]:
        """(N, C, ..., H, W) images as (N, ..., H, W, 3) bytes."""
        values = _chosen(images, self.bands)
        if images.dtype == torch.uint8:
            values = values.float() / 255
        elif images.is_floating_point() and (self.mean is not None or self.std is not None):
            values = _chosen(_undone(images.float(), self), self.bands)
        else:
            values = _stretched(values.float())
        if values.shape[1] not in (1, 3):
            values = values.mean(dim=1, keepdim=True)
        bytes_ = values.nan_to_num().clamp(0, 1).mul(255).round().to(torch.uint8)
        drawn: NDArray[np.uint8] = (
            bytes_.expand(-1, 3, *bytes_.shape[2:]).movedim(1, -1).contiguous().numpy()
        )
        return drawn


def checked_bands(bands: Any, channels: int, *, signal: bool = False) -> tuple[int, ...] | None:
    """The channels that are shown, as a user gives them.

    Args:
        bands: One channel, or a list of them.
        channels: How many there are.
        signal: Whether they are drawn as curves, of which there may be any number.

    Raises:
        TypeError: If they are no whole numbers.
        ValueError: If there is no such channel, or there are neither one nor three.

    Example:
        >>> checked_bands([3, 2, 1], 12), checked_bands(7, 12)
        ((3, 2, 1), (7,))
    """
    if bands is None:
        return None
    number = "one or more" if signal else "one, or three for red, green and blue,"
    expected = f"{number} of the channels 0 to {channels - 1}"
    given = whole_numbers("bands", bands, expected)
    if given.ndim > 1:
        raise TypeError(f"bands={shown(bands)}; expected {expected}")
    chosen = tuple(given.reshape(-1).tolist())
    wrong_count = not chosen if signal else len(chosen) not in (1, 3)
    if wrong_count or min(chosen) < 0 or max(chosen) >= channels:
        raise ValueError(f"bands={shown(bands)}; expected {expected}")
    return chosen


def _chosen(images: Tensor, bands: tuple[int, ...] | None) -> Tensor:
    return images if bands is None else torch.stack([images[:, band] for band in bands], dim=1)


def _undone(images: Tensor, display: Display) -> Tensor:
    """Normalisation undone."""
    std = per_channel(display.std, 1.0, images.ndim)
    return images * std + per_channel(display.mean, 0.0, images.ndim)


def per_channel(values: tuple[float, ...] | None, default: float, ndim: int = 4) -> Tensor:
    """One number for all channels or one for each, to compute with (N, C, ...)."""
    return torch.tensor(values or (default,)).view(1, -1, *[1] * (ndim - 2))


def _stretched(images: Tensor) -> Tensor:
    """Each image from 0 to 1 over its own range."""
    dims = tuple(range(1, images.ndim))
    low, high = images.amin(dims, keepdim=True), images.amax(dims, keepdim=True)
    return (images - low) / (high - low).clamp(min=torch.finfo(images.dtype).tiny)


def _three(map_shape: Sequence[int]) -> tuple[int, int, int]:
    """Depth, height and width of a map; one of fewer dimensions is of all slices together."""
    depth, height, width = [1, 1, *map(int, map_shape)][-3:]
    return depth, height, width


def _in_tiles(tiles: NDArray[np.uint8], mosaic: Mosaic) -> NDArray[np.uint8]:
    """(N, T, H, W, 3) tiles as (N, H', W', 3) mosaics."""
    cell = mosaic.cell_pixels(tiles.shape[2:4])
    size = (mosaic.height * cell[0], mosaic.width * cell[1])
    if size != tiles.shape[2:4]:
        tiles = np.stack([_resized(each, size) for each in tiles])
    laid_out: NDArray[np.uint8] = mosaic.laid_out(tiles, cell, BACKGROUND)
    return laid_out


def _resized(tiles: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(T, H, W, 3) tiles of another size."""
    given = torch.from_numpy(tiles).movedim(-1, 1).float()
    if size[0] >= 2 * tiles.shape[1] and size[1] >= 2 * tiles.shape[2]:
        drawn = interpolate(given, size, mode="nearest-exact")  # Pixels stay squares.
    else:
        drawn = interpolate(given, size, mode="bilinear", antialias=True, align_corners=False)
    bytes_: NDArray[np.uint8] = (
        drawn.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous().numpy()
    )
    return bytes_
