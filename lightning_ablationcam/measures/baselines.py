"""What stands for nothing in an image: a number, one for each channel, or an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lightning_ablationcam.arguments import is_dense, is_number, shown

Baseline: TypeAlias = float | Sequence[float] | Tensor | np.ndarray

_EXPECTED = "expected a number, one for each channel, or an image, in the space of the inputs"


def check_baseline(baseline: object) -> Tensor:
    """The numbers of a baseline.

    Args:
        baseline: What the user gave.

    Returns:
        A tensor of any shape.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If there are none, or one is not finite.
    """
    if is_number(baseline):
        return torch.tensor(float(baseline), dtype=torch.float64)  # type: ignore[arg-type]
    if not isinstance(baseline, (float, Sequence, Tensor, np.ndarray)) or isinstance(baseline, str):
        raise TypeError(f"baseline={shown(baseline)}; {_EXPECTED}")
    try:
        found = torch.as_tensor(baseline)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"baseline={shown(baseline)}; {_EXPECTED}") from error
    if not is_dense(found) or found.is_complex() or found.dtype == torch.bool:
        raise TypeError(f"baseline={shown(baseline)}; {_EXPECTED}")
    if not found.numel() or not bool(found.isfinite().all()):
        raise ValueError(f"baseline={shown(baseline)} is empty or not finite; {_EXPECTED}")
    return found.detach()


def baseline_for(images: Tensor, baseline: Any) -> Tensor:
    """A baseline in the dtype of images, on their device.

    Args:
        images: (N, C, ...) images.
        baseline: What the user gave.

    Returns:
        A tensor that can be broadcast to the images.

    Raises:
        TypeError: As :func:`check_baseline`.
        ValueError: Likewise, and if it does not fit.

    Example:
        >>> baseline_for(torch.zeros(2, 3, 4, 4), [0.1, 0.2, 0.3]).shape
        torch.Size([3, 1, 1])
    """
    found = check_baseline(baseline).to(images.device, images.dtype)
    channels, spatial = images.shape[1], images.shape[2:]
    if found.ndim == 0:
        return found
    if found.shape == (channels,):
        return found.view(-1, *[1] * len(spatial))
    if found.shape == images.shape[1:] or (found.shape == spatial and channels == 1):
        return found.view(images.shape[1:])
    raise ValueError(
        f"baseline={shown(baseline)} does not fit images of shape {tuple(images.shape)}; expected "
        f"a number, {channels}, one for each channel, or an image {tuple(images.shape[1:])}"
    )
