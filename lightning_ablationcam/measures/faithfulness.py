"""Whether a heatmap shows what a class probability rests on: images changed by it, and areas."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lightning_ablationcam.method.heads.base import in_float64
from lightning_ablationcam.method.heatmaps import resampled

BLUR_SIZE = 11
"""Pixels across which insertion blurs an image at its start."""

BLUR_SIGMA = 5.0
"""Standard deviation of that blur, in pixels."""

_BLUR_REACH = 4.0
"""Where the Gaussian ends, in standard deviations."""


def average_drop(intact: Tensor, explained: Tensor) -> Tensor:
    """The share of the class probability that is lost: max(0, y - o) / y, the lower the better.

    Published in per cent, as a mean over images. torchcam adds 1e-7 to the denominator;
    pytorch-grad-cam's ``DropInConfidence`` does not divide by y at all.

    Args:
        intact: (N,) class probabilities y of the images.
        explained: (N,) those of what their heatmaps leave of them, o; see
            :func:`explained_images`.

    Returns:
        (N,) float64 in 0 ... 1; 0 where y is 0 and nothing can be lost. NaN where either is.

    Source:
        Chattopadhay, A. et al. "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep
        Convolutional Networks", WACV 2018, doi 10.1109/WACV.2018.00097.

    Example:
        >>> average_drop(torch.tensor([0.8, 0.5, 0.0]), torch.tensor([0.2, 0.6, 0.0]))
        tensor([0.7500, 0.0000, 0.0000], dtype=torch.float64)
    """
    return _share(intact.double() - explained.double(), intact.double())


def increase(intact: Tensor, explained: Tensor) -> Tensor:
    """Whether the class becomes more probable, o > y; over images how often, the higher the better.

    Published in per cent, and there called increase in confidence. torchcam and pytorch-grad-cam
    count the same.

    Args:
        intact: As in :func:`average_drop`.
        explained: Likewise.

    Returns:
        (N,) float64, 1 or 0; NaN where either is.

    Source:
        As of :func:`average_drop`.

    Example:
        >>> increase(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.6]))
        tensor([0., 1.], dtype=torch.float64)
    """
    gain = explained.double() - intact.double()
    return torch.where(gain.isnan(), gain, (gain > 0).double())


def average_gain(intact: Tensor, explained: Tensor) -> Tensor:
    """The share of the doubt in the class that goes: max(0, o - y) / (1 - y), best high.

    Published in per cent, as a mean over images. Xplique adds an epsilon to the denominator.

    Args:
        intact: As in :func:`average_drop`.
        explained: Likewise.

    Returns:
        (N,) float64 in 0 ... 1; 0 where y is 1 and nothing can be gained. NaN where either is.

    Source:
        Zhang, H., Torres, F., Sicre, R., Avrithis, Y. & Ayache, S. "Opti-CAM: Optimizing saliency
        maps for interpretability", Computer Vision and Image Understanding 248 (2024),
        arXiv 2301.07002.

    Example:
        >>> average_gain(torch.tensor([0.8, 0.5, 1.0]), torch.tensor([0.2, 0.6, 1.0]))
        tensor([0.0000, 0.2000, 0.0000], dtype=torch.float64)
    """
    return _share(explained.double() - intact.double(), 1 - intact.double())


def area_under(curve: Tensor) -> Tensor:
    """The area under curves of class probabilities, by trapezoids of equal width 1 / S.

    So does the authors' own code for insertion and deletion. Divided by nothing else: Quantus, for
    one, sums trapezoids of width 1, so that its areas grow with the number of steps.

    Args:
        curve: (N, S + 1), S at least 1: before, after each step.

    Returns:
        (N,) float64, a mean class probability.

    Source:
        Petsiuk, V., Das, A. & Saenko, K. "RISE: Randomized Input Sampling for Explanation of
        Black-box Models", BMVC 2018, arXiv 1806.07421.

    Example:
        >>> area_under(torch.tensor([[0.0, 0.5, 1.0], [0.0, 1.0, 1.0]]))
        tensor([0.5000, 0.7500], dtype=torch.float64)
    """
    values = curve.double()
    return (values[:, 1:] + values[:, :-1]).mean(dim=1) / 2


def enlarged(heatmaps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Heatmaps at the size of images: linear in each dimension, without aligned corners.

    Args:
        heatmaps: (N, ...) heatmaps of one to three dimensions.
        size: The size of the images, as many numbers.

    Returns:
        (N, *size) float64.

    Raises:
        ValueError: If the dimensions do not fit.

    Example:
        >>> enlarged(torch.tensor([[0.0, 1.0]]), (4,))
        tensor([[0.0000, 0.2500, 0.7500, 1.0000]], dtype=torch.float64)
    """
    if heatmaps.ndim - 1 != len(size) or not 1 <= len(size) <= 3:
        raise ValueError(
            f"heatmaps of shape {tuple(heatmaps.shape)} do not lie over images of {size}; expected "
            "one to three dimensions, the same number in both"
        )
    return resampled(in_float64(heatmaps), size)


def explained_images(images: Tensor, heatmaps: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """What heatmaps leave of images: baseline + map * (image - baseline).

    The map is divided by its maximum, so that the hottest place stays as it is, and enlarged. Where
    it is cold the baseline is left, and so of a map that is cold everywhere; negative heat, which
    speaks against the class, counts as cold. A map that is not finite leaves the baseline too, so
    that nothing spoils a batch; whoever calls this knows its images and says NaN.

    torchcam and pytorch-grad-cam leave 0 where this leaves the baseline, and their maps are
    stretched from their own minimum to their maximum, so that they differ where no place is cold.

    Args:
        images: (N, C, ...) images.
        heatmaps: (N, ...) heatmaps, at any resolution.
        baseline: What stands for nothing, in the space of the images; can be broadcast to them.

    Returns:
        (N, C, ...) in the images' dtype.

    Raises:
        ValueError: If the dimensions do not fit.

    Source:
        As of :func:`average_drop`.

    Example:
        >>> explained_images(torch.ones(1, 1, 1, 4), torch.tensor([[[0.0, 2.0]]]), baseline=-1.0)
        tensor([[[[-1.0000, -0.5000,  0.5000,  1.0000]]]])
    """
    heat = in_float64(_finite(heatmaps)).clamp(min=0)
    peak = heat.flatten(1).amax(dim=1).view(-1, *[1] * (heat.ndim - 1))
    share = enlarged(heat / torch.where(peak > 0, peak, 1), tuple(images.shape[2:]))
    nothing = torch.as_tensor(baseline, dtype=images.dtype, device=images.device)
    # Exact at both ends, where the sum in the formula would round.
    return torch.lerp(nothing.expand_as(images), images, share[:, None].to(images.dtype))


def places_by_heat(heatmaps: Tensor, size: tuple[int, ...]) -> Tensor:
    """The places of images by falling heat of the enlarged maps.

    Negative heat comes last, the most negative at the very end. Of places of equal heat (as most
    maps have many, which are cold) those come first that come first in the image, row by row; heat
    is rounded to float32, so that they are not in the order of its rounding. The authors' code
    leaves ties to chance. A map that is not finite counts as cold everywhere.

    Args:
        heatmaps: (N, ...) heatmaps, at any resolution.
        size: The size of the images.

    Returns:
        (N, P) int64, indices into the P places of an image, the hottest first.

    Example:
        >>> places_by_heat(torch.tensor([[0.0, 1.0, 3.0, 0.0]]), (4,))
        tensor([[2, 1, 0, 3]])
    """
    heat = _finite(heatmaps)
    peak = in_float64(heat).abs().flatten(1).amax(dim=1).view(-1, *[1] * (heat.ndim - 1))
    # Divided first: heat could be too small, or too large, for float32.
    share = enlarged(heat / torch.where(peak > 0, peak, 1), size).float().flatten(1)
    return share.argsort(dim=1, descending=True, stable=True)


def ranks_of(places: Tensor) -> Tensor:
    """The rank of each place, of places in the order of their ranks.

    Args:
        places: (N, P) int64, as :func:`places_by_heat` returns them.

    Returns:
        (N, P) int32, 0 for the first.

    Example:
        >>> ranks_of(torch.tensor([[2, 1, 0, 3]]))
        tensor([[2, 1, 0, 3]], dtype=torch.int32)
    """
    numbers = torch.arange(places.shape[1], dtype=torch.int32, device=places.device)
    return torch.empty_like(places, dtype=torch.int32).scatter_(
        1, places, numbers.expand_as(places)
    )


def counts_of(steps: int, places: int) -> Tensor:
    """How many places are changed after each step, evenly.

    Args:
        steps: S.
        places: P.

    Returns:
        (S + 1,) int64 from 0 to P.

    Example:
        >>> counts_of(4, 10)
        tensor([ 0,  3,  5,  8, 10])
    """
    return (2 * torch.arange(steps + 1) * places + steps) // (2 * steps)


def changed_places(before: Tensor, after: Tensor, ranks: Tensor, counts: Tensor) -> Tensor:
    """Images in which the hottest places are of other images, the rest as it is.

    For deletion ``before`` are the images and ``after`` the baseline; for insertion ``before`` is
    what :func:`blurred` returns, and ``after`` the images.

    Args:
        before: (N, C, ...) images.
        after: (N, C, ...) images.
        ranks: (N, P) the rank of each place; see :func:`ranks_of`.
        counts: (N,) how many places are changed.

    Returns:
        (N, C, ...).

    Example:
        >>> zeros, ones = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
        >>> changed_places(zeros, ones, torch.tensor([[2, 1, 0, 3]]), torch.tensor([2]))
        tensor([[[0., 1., 1., 0.]]])
    """
    changed = (ranks < counts[:, None]).view(-1, 1, *before.shape[2:])
    return torch.where(changed, after, before)


def blurred(images: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """Images as insertion starts from: blurred by a Gaussian of 11 pixels with sigma 5.

    As in the authors' code: what of the Gaussian lies outside of the 11 pixels is folded back into
    them, which leaves it all but flat, and around the images lies the baseline (there 0); of one
    that is an image itself its mean. It is the same number of pixels for images of any size.

    Args:
        images: (N, C, ...) images.
        baseline: What stands for nothing; can be broadcast to the images.

    Returns:
        (N, C, ...) in the images' dtype, float32 at least.

    Source:
        As of :func:`area_under`, and https://github.com/eclique/RISE.
    """
    values = images if images.dtype == torch.float64 else images.float()
    around = torch.as_tensor(baseline, dtype=values.dtype, device=values.device)
    spatial = tuple(range(2, values.ndim))
    around = around.expand_as(values).mean(dim=spatial, keepdim=True)
    values = values - around
    kernel = _blur_kernel().to(values)[None, None]
    for dim in spatial:
        lines = values.movedim(dim, -1)
        flat = lines.reshape(-1, 1, lines.shape[-1])
        flat = functional.conv1d(flat, kernel, padding=BLUR_SIZE // 2)
        values = flat.view(lines.shape).movedim(-1, dim)
    return values + around


def _blur_kernel() -> Tensor:
    """(BLUR_SIZE,) float64 weights, with sum 1."""
    reach = int(_BLUR_REACH * BLUR_SIGMA + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = (-(offsets.double() ** 2) / (2 * BLUR_SIGMA**2)).exp()
    # Reflected at both ends, each of which is then there twice.
    at = (BLUR_SIZE // 2 + offsets) % (2 * BLUR_SIZE)
    at = torch.where(at < BLUR_SIZE, at, 2 * BLUR_SIZE - 1 - at)
    return torch.zeros(BLUR_SIZE).double().index_add_(0, at, weights / weights.sum())


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """What is positive of a part, as a share of the whole; 0 of nothing."""
    return part.clamp(min=0) / torch.where(whole == 0, 1, whole)


def _finite(heatmaps: Tensor) -> Tensor:
    """The maps, cold everywhere where they are not finite."""
    finite = heatmaps.flatten(1).isfinite().all(dim=1).view(-1, *[1] * (heatmaps.ndim - 1))
    return torch.where(finite, heatmaps, 0)
