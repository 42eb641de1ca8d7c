"""Ablation-CAM as the paper writes it: one channel, one image, one forward pass, in float64.

Shares nothing with the package but torch: it is what every engine is held against.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FLOOR = 1e-3


@dataclass
class Reference:
    scores: Tensor
    drops: Tensor
    weights: Tensor
    heatmaps: Tensor


def ablation_cam_reference(
    model: nn.Module,
    layer: str,
    images: Tensor,
    classes: Sequence[int],
    *,
    channel_dim: int = 1,
    score: Callable[[Tensor, int], Tensor] = lambda output, c: output[0, c],
    ablate: Callable[[Tensor], Tensor] = torch.zeros_like,
    groups: Sequence[int] | None = None,
    to_maps: Callable[[Tensor], Tensor] = lambda activations: activations,
) -> Reference:
    """Loop over images and channels on a float64 copy of the model in evaluation mode.

    Args:
        model: The model; not touched.
        layer: Dotted name of the target layer.
        images: (N, ...) inputs.
        classes: N class indices.
        channel_dim: Dimension of the layer's output that holds the channels.
        score: Class score from the output for one image.
        ablate: Fully ablated activations from activations.
        groups: Label of each channel, ablated together; default each its own.
        to_maps: (1, ...) activations to (1, K, h, w).
    """
    model = copy.deepcopy(model).double().eval()
    target = model.get_submodule(layer)
    scores, drops, weights, heatmaps = [], [], [], []
    for image, c in zip(images.double(), classes, strict=True):
        kept: list[Tensor] = []
        handle = target.register_forward_hook(lambda m, a, out, kept=kept: kept.append(out.clone()))
        with torch.no_grad():
            y = score(model(image[None]), int(c))
        handle.remove()
        activations = kept[0]
        labels = list(groups) if groups is not None else range(activations.shape[channel_dim])
        y_k = torch.stack(
            [
                _score_without(
                    model,
                    target,
                    image,
                    activations,
                    label,
                    labels,
                    channel_dim,
                    ablate,
                    lambda output, c=c: score(output, int(c)),
                )
                for label in labels
            ]
        )
        drop = y - y_k
        weight = drop / max(abs(float(y)), FLOOR * float(drop.abs().max()), 1e-300)
        maps = to_maps(activations)[0]
        scores.append(y)
        drops.append(drop)
        weights.append(weight)
        heatmaps.append((weight.view(-1, *[1] * (maps.ndim - 1)) * maps).sum(dim=0).clamp(min=0))
    return Reference(*(torch.stack(part) for part in (scores, drops, weights, heatmaps)))


def interaction_reference(
    model: nn.Module,
    layer: str,
    images: Tensor,
    classes: Sequence[int],
    channels: Sequence[int],
    **how,
) -> tuple[Tensor, Tensor, Tensor]:
    """(N, m) drops, (N, m, m) joint drops and interactions: one forward pass for each pair.

    Args:
        channels: The m channels that are paired.
        how: As for :func:`ablation_cam_reference`.
    """
    drops = ablation_cam_reference(model, layer, images, classes, **how).drops
    count, drops = drops.shape[1], drops[:, list(channels)]
    joint = torch.zeros(len(images), len(channels), len(channels), dtype=torch.float64)
    for i, one in enumerate(channels):
        for j, other in enumerate(channels):
            # Only the pair has a label of its own.
            labels = [int(k in (one, other)) for k in range(count)]
            found = ablation_cam_reference(model, layer, images, classes, groups=labels, **how)
            joint[:, i, j] = found.drops[:, one]
    alone = drops[:, :, None] + drops[:, None, :]
    off_diagonal = 1 - torch.eye(len(channels), dtype=torch.float64)
    return drops, joint, (joint - alone) * off_diagonal


def _score_without(model, target, image, activations, label, labels, channel_dim, ablate, score):
    replaced = activations.clone()
    ablated = ablate(activations)
    for k, other in enumerate(labels):
        if other == label:
            index = [slice(None)] * activations.ndim
            index[channel_dim] = k
            replaced[tuple(index)] = ablated[tuple(index)]
    handle = target.register_forward_hook(lambda m, a, out: replaced.clone())
    try:
        with torch.no_grad():
            return score(model(image[None]))
    finally:
        handle.remove()
