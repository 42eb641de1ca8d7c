"""What an ablated channel is replaced by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


def check_reference(reference: object, ablation: Ablation) -> None:
    """Raise unless ``reference`` is a set of images, and means are taken over it.

    Raises:
        TypeError: If it is neither a tensor nor holds one, as a ProbeSet does.
        ValueError: If there is no image in it, or ``ablation`` is not ``"mean"``.
    """
    if reference is None:
        return
    found = list(_tensors(getattr(reference, "inputs", reference)))
    expected = "expected a tensor (M, ...) or a ProbeSet, such as ProbeSet.from_dataloader(...)"
    if not found:
        raise TypeError(f"reference={shown(reference)}; {expected}")
    if max(tensor.ndim for tensor in found) < 2 or any(0 in tensor.shape[:1] for tensor in found):
        raise ValueError(f"reference={shown(reference)} holds no image; {expected}")
    if not isinstance(ablation, str) or ablation != "mean":
        raise ValueError(
            f"reference goes with ablation='mean' only, and ablation={shown(ablation)}"
        )


def _tensors(inputs: object) -> Iterator[Tensor]:
    """The tensors of nested inputs."""
    if isinstance(inputs, Tensor):
        yield inputs
    elif isinstance(inputs, (Mapping, tuple, list)):
        for each in inputs.values() if isinstance(inputs, Mapping) else inputs:
            yield from _tensors(each)


def ablate(
    activations: Tensor, ablation: Ablation, channel_dim: int, means: Tensor | None = None
) -> Tensor:
    """All channels ablated at once; counterfactual k takes channel k of it and the rest as it was.

    Args:
        activations: The layer's output, images first, channels along ``channel_dim``.
        ablation: ``"zero"``; ``"mean"``; a number s, which scales the channel; or a callable.
        channel_dim: Which dimension holds the channels.
        means: (K,) what each channel is replaced by where ``ablation="mean"``: its mean over a
            reference set. Its mean over its own image would change nothing where the network goes
            on with that mean alone, as before global average pooling.

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
        assert means is not None
        shape = [1] * activations.ndim
        shape[channel_dim] = -1
        return means.to(activations).view(shape).expand_as(activations).contiguous()
    return activations * float(ablation)


def channel_sums(activations: Tensor, channel_dim: int) -> tuple[Tensor, int]:
    """(K,) float64 sums over all images and positions, and how many numbers each is the sum of.

    An image whose activations are not finite is left out: it would spoil the others.
    """
    finite = activations.flatten(1).isfinite().all(dim=1)
    kept = activations[finite].double()
    others = [dim for dim in range(kept.ndim) if dim != channel_dim % kept.ndim]
    sums = kept.sum(dim=others)
    return sums, kept.numel() // len(sums)
