"""One map of the maps of several layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_ablationcam.method.heatmaps import resampled


def fused_heatmaps(heatmaps: Sequence[Tensor]) -> Tensor:
    """The geometric mean of maps of several sizes, on the finest of their grids.

    F = (prod_l U(M_l / max M_l)) ** (1 / L), where U interpolates linearly to the finest grid. It
    is hot where all layers are: the coarse map says what, the fine one where. Between 0 and 1; a
    layer whose map is empty makes it empty.

    Args:
        heatmaps: (N, h, w) of each layer, not negative; any number of spatial dimensions.

    Returns:
        (N, H, W) float32, H x W the largest of the grids.

    Example:
        >>> coarse, fine = torch.tensor([[[4.0]]]), torch.tensor([[[1.0, 0.0], [0.25, 0.0]]])
        >>> fused_heatmaps([coarse, fine])
        tensor([[[1.0000, 0.0000],
                 [0.5000, 0.0000]]])
    """
    size = max((maps.shape[1:] for maps in heatmaps), key=torch.Size.numel)
    product = torch.ones(len(heatmaps[0]), *size)
    for maps in heatmaps:
        peaks = maps.flatten(1).amax(dim=1).view(-1, *[1] * (maps.ndim - 1))
        shares = (maps / torch.where(peaks > 0, peaks, 1)).float()
        if shares.shape[1:] != size:
            shares = resampled(shares, size)
        product = product * shares
    return product ** (1 / len(heatmaps))
