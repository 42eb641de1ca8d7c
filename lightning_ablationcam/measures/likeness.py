"""How like two heatmaps are, as the literature on sanity checks has it."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_ablationcam.measures.heat import Heatmaps, as_tensor, check_same_shape
from lightning_ablationcam.method.heatmaps import resampled

COMPARED_SIDE = 32
"""Places that a map has along each axis, at least, when its structure is compared: the window would
be larger than the map."""

DEVIATION, REACH = 1.5, 5
"""Standard deviation of the Gaussian window, and how far it goes, in places."""

LIGHT, CONTRAST = 0.01**2, 0.03**2
"""The index's constants, for values of at most 1."""


def rank_correlation(first: Heatmaps, second: Heatmaps) -> Tensor:
    """Spearman's rank correlation of the places of each two maps.

    Places that are as hot share the mean of their ranks.

    Args:
        first: (N, ...) heatmaps.
        second: (N, ...) heatmaps of the same shape.

    Returns:
        (N,) float64 in -1 ... 1. Where a map is the same everywhere it ranks nothing: 1 if both
        are, 0 if only one is. NaN where heat is not finite.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> rank_correlation(torch.tensor([[0.0, 1.0, 5.0]]), torch.tensor([[2.0, 3.0, 4.0]]))
        tensor([1.], dtype=torch.float64)
    """
    check_same_shape("first", first, "second", second)
    a, b = _ranks(first), _ranks(second)
    a_flat, b_flat = ~a.any(dim=1), ~b.any(dim=1)
    # 1 - half the squared distance of unit vectors is their product, and exactly 1 for equal ones.
    found = (1 - (a - b).square().sum(dim=1) / 2).clamp(-1, 1)
    found = torch.where(a_flat & b_flat, 1.0, torch.where(a_flat ^ b_flat, 0.0, found))
    return torch.where(_are_finite(first) & _are_finite(second), found, torch.nan)


def structural_similarity(first: Heatmaps, second: Heatmaps) -> Tensor:
    """The structural similarity index (SSIM) of each two maps, each relative to its hottest place.

    With the authors' window, a Gaussian of 11 places, and constants. A map with fewer than
    :data:`COMPARED_SIDE` places along an axis is enlarged to that, bilinearly.

    Args:
        first: (N, h, w) heatmaps; or (N, l), or (N, d, h, w).
        second: Heatmaps of the same shape.

    Returns:
        (N,) float64 in -1 ... 1. NaN where heat is not finite.

    Raises:
        ValueError: If the shapes differ.

    Source:
        Wang, Z. et al. "Image Quality Assessment: From Error Visibility to Structural Similarity",
        IEEE Transactions on Image Processing 13, 2004, pp. 600-612.

    Example:
        >>> heat = torch.rand(1, 7, 7)
        >>> structural_similarity(heat, 3 * heat).round(decimals=9)
        tensor([1.], dtype=torch.float64)
    """
    check_same_shape("first", first, "second", second)
    a, b = _comparable(first), _comparable(second)
    mean_a, mean_b = _blurred(a), _blurred(b)
    variances = (_blurred(a * a) - mean_a**2).clamp(min=0) + (_blurred(b * b) - mean_b**2).clamp(
        min=0
    )
    light = (2 * mean_a * mean_b + LIGHT) / (mean_a**2 + mean_b**2 + LIGHT)
    structure = (2 * (_blurred(a * b) - mean_a * mean_b) + CONTRAST) / (variances + CONTRAST)
    found = (light * structure).flatten(1).mean(dim=1)
    return torch.where(_are_finite(first) & _are_finite(second), found, torch.nan)


def _ranks(heatmaps: Heatmaps) -> Tensor:
    """(N, positions) float64 ranks about their mean, of length 1; zero where none is higher."""
    flat = as_tensor(heatmaps).flatten(1).double()
    ordered = flat.sort(dim=1).values.contiguous()
    below = torch.searchsorted(ordered, flat.contiguous())
    up_to = torch.searchsorted(ordered, flat.contiguous(), right=True)
    ranks = (below + up_to - flat.shape[1]).double()
    length = ranks.norm(dim=1, keepdim=True)
    return ranks / torch.where(length > 0, length, 1)


def _are_finite(heatmaps: Heatmaps) -> Tensor:
    return as_tensor(heatmaps).flatten(1).isfinite().all(dim=1)


def _comparable(heatmaps: Heatmaps) -> Tensor:
    """Float64 shares of the largest value, large enough along each axis."""
    heat = as_tensor(heatmaps).double().nan_to_num(0, 0, 0)
    peak = heat.abs().flatten(1).amax(dim=1).view(-1, *[1] * (heat.ndim - 1))
    heat = heat / torch.where(peak > 0, peak, 1)
    size = [max(COMPARED_SIDE, cells) for cells in heat.shape[1:]]
    return resampled(heat, size)


def _blurred(maps: Tensor) -> Tensor:
    """Each place's mean over the window, maps being mirrored beyond their rim."""
    for axis in range(1, maps.ndim):
        window = _window(maps.shape[axis]).to(maps.device)
        maps = (maps.movedim(axis, -1) @ window.T).movedim(-1, axis)
    return maps


def _window(places: int) -> Tensor:
    """(places, places) float64: for each place the weights of all in the mean about it."""
    steps = torch.arange(-REACH, REACH + 1)
    weights = torch.exp(-(steps.double() ** 2) / (2 * DEVIATION**2))
    at = (torch.arange(places)[:, None] + steps).abs()
    at = torch.where(at < places, at, 2 * (places - 1) - at)
    window = torch.zeros(places, places, dtype=torch.float64)
    return window.scatter_add_(1, at, (weights / weights.sum()).expand(places, -1))
