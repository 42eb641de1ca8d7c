"""Where heat is: how closely together, at the border, in a mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_ablationcam.arguments import is_number, shown
from lightning_ablationcam.measures.heat import Heatmaps, along, as_tensor, relative, spread
from lightning_ablationcam.method.heatmaps import resampled

HOTTEST_SHARE = 0.1
"""The share of the area whose heat counts as concentrated."""

BORDER_SHARE = 0.1
"""The share of the height and of the width that is border on each side."""

PUBLISHED_TOLERANCE = 15
"""Pixels around a mask that the pointing game's authors count as inside."""

TIE = 1e-9
"""Heat that is lower by no more than this share is as hot: enlarging rounds."""

DIGITS = 12
"""Shares are rounded to so many digits after the point, so that no limit is crossed by rounding."""


def concentration(heatmaps: Heatmaps) -> Tensor:
    """The share of each map's heat that lies in the hottest tenth of its area.

    If a tenth of the positions is not a whole number, the last position counts in part.

    Args:
        heatmaps: (N, ...) heatmaps, non-negative.

    Returns:
        (N,) float64 in :data:`HOTTEST_SHARE` (the same heat everywhere, or none at all) ... 1 (all
        heat in a tenth of the area). NaN where heat is not finite.

    Example:
        >>> even = torch.ones(20)
        >>> point = torch.zeros(20)
        >>> point[3] = 7.0
        >>> concentration(torch.stack([even, point]))
        tensor([0.1000, 1.0000], dtype=torch.float64)
    """
    heat = relative(heatmaps).flatten(1)
    positions = heat.shape[1]
    ranked = heat.sort(dim=1, descending=True).values
    places = torch.arange(positions, dtype=heat.dtype, device=heat.device)
    counted = (HOTTEST_SHARE * positions - places).clamp(0, 1)
    total = heat.sum(dim=1)
    share = (ranked * counted).sum(dim=1) / torch.where(total > 0, total, 1)
    return torch.where(total == 0, HOTTEST_SHARE, share.round(decimals=DIGITS))


def border_heat(heatmaps: Heatmaps) -> Tensor:
    """The share of each map's heat that lies in the outer tenth of any side.

    Heat there is what a stamp, a frame or padding attracts; objects are mostly elsewhere. A cell
    that the border's edge runs through counts in part: of a map of 7 x 7 cells the border is 0.7 of
    a cell wide.

    Args:
        heatmaps: (N, h, w) heatmaps, non-negative; or (N, l), or (N, d, h, w).

    Returns:
        (N,) float64 in 0 ... 1. With d axes, 1 - 0.8 ** d where heat is the same everywhere, 0.36
        for pictures, and where a map is cold. NaN where heat is not finite.

    Example:
        >>> middle, corner = torch.zeros(7, 7), torch.zeros(7, 7)
        >>> middle[3, 3] = corner[0, 0] = 2.0
        >>> border_heat(torch.stack([middle, corner, torch.ones(7, 7)]))
        tensor([0.0000, 0.9100, 0.3600], dtype=torch.float64)
    """
    heat = spread(relative(heatmaps))
    inside = heat.new_ones(())
    for axis, cells in enumerate(heat.shape[1:], start=1):
        starts = torch.arange(cells, dtype=heat.dtype, device=heat.device)
        first, last = BORDER_SHARE * cells, (1 - BORDER_SHARE) * cells
        width = (starts + 1).clamp(max=last) - starts.clamp(min=first)
        inside = inside * along(width.clamp(min=0), axis, heat.ndim)
    return _share_of_heat(heat, 1 - inside)


def mask_heat(heatmaps: Heatmaps, masks: Heatmaps) -> Tensor:
    """The share of each map's heat that lies in a mask, such as that of the object.

    Also known as the energy-based pointing game. A cell of the map counts by the share of its area
    that the mask covers, exactly, whatever the two resolutions.

    Args:
        heatmaps: (N, h, w) heatmaps, non-negative; or (N, l), or (N, d, h, w).
        masks: (N, H, W) bool, at any resolution; or (N, L), or (N, D, H, W).

    Returns:
        (N,) float64 in 0 ... 1. The mask's share of the area where heat is the same everywhere, and
        where a map is cold. NaN where a mask is empty, or heat is not finite.

    Raises:
        TypeError: If ``masks`` is not bool.
        ValueError: If its shape does not fit that of the heatmaps.

    Source:
        Wang, H. et al. "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
        Networks", CVPR Workshops 2020, with bounding boxes as masks.

    Example:
        >>> heat, mask = torch.ones(1, 2, 2), torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> heat[0, 0, 0], mask[0, :4, :6] = 5.0, True
        >>> mask_heat(heat, mask)
        tensor([0.6875], dtype=torch.float64)
    """
    heat = spread(relative(heatmaps))
    inside = _checked_masks(heat, masks)
    covered = inside.to(heat.dtype)
    # The last axis first: the others of what is left need no copy of large masks.
    for axis in range(heat.ndim - 1, 0, -1):
        parts = _parts(heat.shape[axis], covered.shape[axis], covered.device)
        covered = (covered.movedim(axis, -1) @ parts.T).movedim(-1, axis)
    empty = ~inside.flatten(1).any(dim=1)
    return torch.where(empty, torch.nan, _share_of_heat(heat, covered))


def pointing_game(heatmaps: Heatmaps, masks: Heatmaps, tolerance: float = 0) -> Tensor:
    """Whether each map's hottest place lies in a mask, such as that of the object.

    The map is enlarged to the mask's size, bilinearly. Where several places are the hottest, the
    result is the share of them that lie in the mask, and not that of an arbitrary one: so a
    mirrored picture has the same result, and a map that is the same everywhere that of chance.

    Args:
        heatmaps: (N, h, w) heatmaps, non-negative; or (N, l), or (N, d, h, w).
        masks: (N, H, W) bool, at any resolution; or (N, L), or (N, D, H, W).
        tolerance: How many pixels of the mask the hottest place may be away from it. The authors'
            is :data:`PUBLISHED_TOLERANCE` in pictures of the data sets' own sizes, and that of
            TorchRay, which counts what is nearer than that and leaves out what is just as far. 0
            counts what is in the mask.

    Returns:
        (N,) float64, 1 (inside) or 0 (outside), or between where places tie. NaN where a map is
        cold or not finite, or a mask is empty.

    Raises:
        TypeError: If ``masks`` is not bool, or ``tolerance`` no number.
        ValueError: If the shape of ``masks`` does not fit that of the heatmaps, or ``tolerance`` is
            negative.

    Source:
        Zhang, J. et al. "Top-down Neural Attention by Excitation Backprop", IJCV 126, 2018,
        pp. 1084-1102. Their accuracy is the mean of this over the images of a class.

    Example:
        >>> heat, mask = torch.zeros(1, 4, 4), torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> heat[0, 1, 1], mask[0, :3, :5] = 2.0, True
        >>> pointing_game(heat, mask), pointing_game(heat, mask, tolerance=1)
        (tensor([0.5000], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    heat = relative(heatmaps)
    inside = _checked_masks(heat, masks)
    if not is_number(tolerance):
        raise TypeError(f"tolerance={shown(tolerance)}; expected a number of pixels")
    if tolerance < 0:
        raise ValueError(f"tolerance={shown(tolerance)}; expected at least 0 pixels")
    empty = ~inside.flatten(1).any(dim=1)
    known = heat.flatten(1).any(dim=1) & heat.flatten(1).isfinite().all(dim=1) & ~empty
    size = inside.shape[1:]
    enlarged = resampled(heat, size).flatten(1)
    hottest = enlarged >= enlarged.amax(dim=1, keepdim=True) * (1 - TIE)
    near = (inside if tolerance < 1 else _widened(inside, tolerance)).flatten(1)
    hits = (hottest & near).sum(dim=1).double() / hottest.sum(dim=1).clamp(min=1)
    return torch.where(known, hits, torch.nan)


def _share_of_heat(heat: Tensor, counted: Tensor) -> Tensor:
    """(N,) the share of heat that is counted, from how much of each cell is."""
    share = (heat * counted).flatten(1).sum(dim=1) / heat.flatten(1).sum(dim=1)
    return share.round(decimals=DIGITS)


def _parts(cells: int, pixels: int, device: torch.device) -> Tensor:
    """(cells, pixels) float64: of the length of each cell, the share that each pixel covers.

    Example:
        >>> _parts(2, 3, torch.device("cpu"))
        tensor([[0.6667, 0.3333, 0.0000],
                [0.0000, 0.3333, 0.6667]], dtype=torch.float64)
    """
    # Both axes are cells * pixels long here, so that edges are whole numbers.
    start = torch.arange(cells, device=device)[:, None] * pixels
    pixel = torch.arange(pixels, device=device)[None] * cells
    overlap = (start + pixels).minimum(pixel + cells) - start.maximum(pixel)
    return overlap.clamp(min=0).double() / pixels


def _widened(masks: Tensor, tolerance: float) -> Tensor:
    """(N, ...) bool: the places no further than ``tolerance`` pixels from a mask."""
    # Squared distance to the mask, one axis after the other: exact, since squares add up.
    squares = torch.where(masks, 0.0, torch.inf).double()
    for axis in range(1, masks.ndim):
        reach = min(math.floor(tolerance), masks.shape[axis] - 1)
        nearest = squares.clone()
        for step in range(1, reach + 1):
            rest = masks.shape[axis] - step
            for source, target in ((0, step), (step, 0)):
                moved = squares.narrow(axis, source, rest) + step**2
                kept = nearest.narrow(axis, target, rest)
                torch.minimum(kept, moved, out=kept)
        squares = nearest
    return squares <= tolerance**2


def _checked_masks(heat: Tensor, masks: Heatmaps) -> Tensor:
    """The masks as a tensor on the heat's device.

    Raises:
        TypeError: If they are not bool.
        ValueError: If their shape does not fit that of the heatmaps.
    """
    inside = as_tensor(masks)
    if inside.dtype != torch.bool:
        raise TypeError(f"masks={shown(masks)} has dtype {inside.dtype}; expected bool")
    if inside.ndim != heat.ndim or len(inside) != len(heat):
        raise ValueError(
            f"masks has shape {tuple(inside.shape)}, the heatmaps {tuple(heat.shape)}; expected a "
            "mask for each heatmap, with as many axes"
        )
    return inside.to(heat.device)
