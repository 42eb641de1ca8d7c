"""What an ablated channel is replaced by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.arguments import is_number, shown

Ablation: TypeAlias = Literal["zero", "mean", "noise"] | float | Callable[[Tensor], Tensor]

OVER_REFERENCE = ("mean", "noise")
"""The ablations that take what replaces a channel from its moments over a reference set."""

NOISE_SEED = 2020
"""What the generator of ``ablation="noise"`` starts from, so that the same noise is always drawn:
neither chunks, batches, engines, ranks, devices nor an earlier pass change it."""


def check_ablation(ablation: Ablation) -> None:
    """Raise a ``ValueError`` unless ``ablation`` is one of the documented forms."""
    if isinstance(ablation, str):
        known = ablation in ("zero", *OVER_REFERENCE)
    else:
        known = is_number(ablation) or (callable(ablation) and not isinstance(ablation, type))
    if not known:
        raise ValueError(
            f"ablation={shown(ablation)} is not known; choose 'zero', 'mean', 'noise', a number "
            "the channel is scaled by, or a callable (activations) -> activations"
        )


def is_over_reference(ablation: Ablation) -> bool:
    """Whether what takes a channel's place is found over a reference set."""
    return isinstance(ablation, str) and ablation in OVER_REFERENCE


def check_reference(reference: object, ablation: Ablation) -> None:
    """Raise unless ``reference`` is a set of images, and the ablation is found over it.

    Raises:
        TypeError: If it is neither a tensor nor holds one, as a ProbeSet does.
        ValueError: If there is no image in it, or ``ablation`` is neither ``"mean"`` nor
            ``"noise"``.
    """
    if reference is None:
        return
    found = list(_tensors(getattr(reference, "inputs", reference)))
    expected = "expected a tensor (M, ...) or a ProbeSet, such as ProbeSet.from_dataloader(...)"
    if not found:
        raise TypeError(f"reference={shown(reference)}; {expected}")
    if max(tensor.ndim for tensor in found) < 2 or any(0 in tensor.shape[:1] for tensor in found):
        raise ValueError(f"reference={shown(reference)} holds no image; {expected}")
    if not is_over_reference(ablation):
        raise ValueError(
            f"reference goes with ablation='mean' or 'noise' only, and ablation={shown(ablation)}"
        )


def _tensors(inputs: object) -> Iterator[Tensor]:
    """The tensors of nested inputs."""
    if isinstance(inputs, Tensor):
        yield inputs
    elif isinstance(inputs, (Mapping, tuple, list)):
        for each in inputs.values() if isinstance(inputs, Mapping) else inputs:
            yield from _tensors(each)


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and spread of each channel over some images and all their positions.

    Attributes:
        count: How many numbers of each channel they are over.
        means: (K,) float64.
        squares: (K,) float64 sums of the squared deviations from the mean.
    """

    count: int
    means: Tensor
    squares: Tensor

    @classmethod
    def of(cls, activations: Tensor, channel_dim: int) -> Moments:
        """The moments of a layer's output, images first.

        An image whose activations are not finite is left out: it would spoil the others.

        Example:
            >>> found = Moments.of(torch.tensor([[[1.0, 3.0]], [[torch.nan, 0.0]]]), 1)
            >>> found.count, found.means, found.deviations
            (2, tensor([2.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
        """
        finite = activations.flatten(1).isfinite().all(dim=1)
        kept = activations[finite].double().movedim(channel_dim, 0).flatten(1)
        count = kept.shape[1]
        means = kept.sum(dim=1) / max(1, count)
        return cls(count, means, (kept - means[:, None]).square().sum(dim=1))

    def joined(self, other: Moments) -> Moments:
        """The moments over the images of both.

        Source:
            Chan, T. F., Golub, G. H. and LeVeque, R. J. "Updating formulae and a pairwise algorithm
            for computing sample variances", COMPSTAT 1982.
        """
        count = self.count + other.count
        apart, share = other.means - self.means, other.count / max(1, count)
        squares = self.squares + other.squares + apart.square() * self.count * share
        return Moments(count, self.means + apart * share, squares)

    @property
    def deviations(self) -> Tensor:
        """(K,) the standard deviations, of the images given and not of a population.

        NaN where there was nothing to take them over.
        """
        return (self.squares / (self.count or math.nan)).sqrt()


def ablate(
    activations: Tensor, ablation: Ablation, channel_dim: int, moments: Moments | None = None
) -> Tensor:
    """All channels ablated at once; counterfactual k takes channel k of it and the rest as it was.

    Args:
        activations: The layer's output, images first, channels along ``channel_dim``.
        ablation: ``"zero"``; ``"mean"``; ``"noise"``; a number s, which scales the channel; or a
            callable.
        channel_dim: Which dimension holds the channels.
        moments: Those of each channel over a reference set, where ``ablation`` is ``"mean"`` or
            ``"noise"``. A channel's mean over its own image would change nothing where the network
            goes on with that mean alone, as before global average pooling.

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
    if not is_over_reference(ablation):
        return activations * float(ablation)
    assert moments is not None
    apart = [-1] + [1] * (activations.ndim - 2)
    replaced = moments.means.cpu().view(apart)
    if ablation == "noise":
        positions = activations[0].movedim(_within_image(channel_dim, activations.ndim), 0).shape
        replaced = replaced + moments.deviations.cpu().view(apart) * _normal(positions)
    replaced = replaced.movedim(0, _within_image(channel_dim, activations.ndim))
    return replaced.to(activations).expand_as(activations).contiguous()


def _within_image(channel_dim: int, ndim: int) -> int:
    """Where the channels are in one image of a layer's output."""
    return channel_dim % ndim - 1


def _normal(shape: torch.Size) -> Tensor:
    """Standard normal float64 numbers on the CPU, always the same for a shape."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    return torch.randn(shape, dtype=torch.float64, generator=generator, device="cpu")
