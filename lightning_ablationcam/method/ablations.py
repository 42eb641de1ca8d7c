"""What an ablated channel is replaced by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.arguments import is_number, shown

Ablation: TypeAlias = Literal["zero", "mean"] | float | Callable[[Tensor], Tensor]


def check_ablation(ablation: Ablation) -> None:
    """Raise a ``ValueError`` unless ``ablation`` is one of the documented forms."""
    if isinstance(ablation, str):
        known = ablation in ("zero", "mean")
    else:
        known = is_number(ablation) or (callable(ablation) and not isinstance(ablation, type))
    if not known:
        raise ValueError(
            f"ablation={shown(ablation)} is not known; choose 'zero', 'mean', a number the channel "
            "is scaled by, or a callable (activations) -> activations"
        )


def ablate(activations: Tensor, ablation: Ablation, channel_dim: int) -> Tensor:
    """Ablate all channels at once; counterfactual k takes channel k of it and the rest intact.

    Args:
        activations: The layer's output, images first, channels along ``channel_dim``.
        ablation: ``"zero"``; ``"mean"``, each image's mean of the channel over all positions
            (prefix tokens included); a number s, which scales the channel; or a callable.
        channel_dim: Which dimension holds the channels.

    Returns:
        The ablated activations, same shape and dtype.

    Raises:
        ValueError: If a callable returns anything but a tensor of the same shape.
    """
    if callable(ablation):
        ablated = ablation(activations.clone())
        if not isinstance(ablated, Tensor) or ablated.shape != activations.shape:
            got = tuple(ablated.shape) if isinstance(ablated, Tensor) else type(ablated).__name__
            raise ValueError(
                f"the ablation callable returned {got}; expected a tensor of the activations' "
                f"shape {tuple(activations.shape)}"
            )
        return ablated.to(activations)
    if ablation == "zero":
        return torch.zeros_like(activations)
    if ablation == "mean":
        positions = [d for d in range(1, activations.ndim) if d != channel_dim % activations.ndim]
        return activations.mean(dim=positions, keepdim=True).expand_as(activations).contiguous()
    return activations * float(ablation)
