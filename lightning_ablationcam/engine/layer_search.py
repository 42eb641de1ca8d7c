"""Which layer to explain where the user does not say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.recorder import Forward, call, record, replaced_output, run
from lightning_ablationcam.engine.replay import uses_batch_statistics
from lightning_ablationcam.network.layers import (
    example_names,
    find_layer,
    infer_layout,
    last_spatial_layer,
)
from lightning_ablationcam.network.memory import is_out_of_memory

MIN_EFFECT = 1e-5
"""Change of a score, as a share of it, below which a layer is taken not to reach it."""


def is_auto(target_layer: object) -> bool:
    """Whether the layer is left to be found; a module is not asked, since its == may be anything.

    Example:
        >>> is_auto("auto"), is_auto("layer4"), is_auto(nn.ReLU())
        (True, False, False)
    """
    return isinstance(target_layer, str) and target_layer == "auto"


def resolve_layer(
    model: nn.Module,
    target_layer: str | nn.Module,
    inputs: Tensor,
    score_of: Callable[[Any, int], Tensor],
    *,
    layout: str = "auto",
    forward: Forward = call,
) -> tuple[str, nn.Module]:
    """Find the target layer; ``"auto"`` tries candidates on one image, the last layer first.

    A candidate counts if changing its positions (prefix tokens untouched) changes the score. Where
    no candidate does, as behind a head whose weights are all zero, the last one is taken.

    Args:
        model: The model, in evaluation mode.
        target_layer: Dotted name, module or ``"auto"``.
        inputs: (N, ...) what the model is fed.
        score_of: ``(model output, count of images) -> (count,)`` scores of the first images.
        layout: The user's choice of layout.
        forward: ``(model, inputs) -> output``.

    Returns:
        Dotted name and module.

    Raises:
        ValueError: If there is no such layer, or none has a spatial map.
    """
    if not is_auto(target_layer):
        return find_layer(model, target_layer)
    images = inputs if uses_batch_statistics(model) else inputs[:1]
    names = last_spatial_layer(lambda: run(model, images, forward), model, images.shape, layout)
    if not names:
        raise ValueError(
            f"target_layer='auto' found no layer of {type(model).__name__} with a spatial map; "
            f"name one: {example_names([name for name, _ in model.named_modules()])}"
        )
    reaching = (name for name in names if _reaches(model, name, images, score_of, layout, forward))
    return find_layer(model, next(reaching, names[0]))


def _reaches(
    model: nn.Module,
    name: str,
    images: Tensor,
    score_of: Callable[[Any, int], Tensor],
    layout: str,
    forward: Forward,
) -> bool:
    _, layer = find_layer(model, name)
    recording = record(model, name, layer, images, forward, tail=False)
    where = infer_layout(layout, recording.activations.shape, images.shape)
    changed = recording.activations.clone()
    maps = where.maps(changed)
    # Differs from channel to channel, since a norm would take a common shift away again, and is
    # positive, since a rectifier would.
    ramp = torch.linspace(0.5, 1.5, maps.shape[1]).to(maps).view(-1, *[1] * (maps.ndim - 2))
    maps += ramp * (1 + maps.abs().amax())
    try:
        with replaced_output(layer, changed):
            other = score_of(run(model, images, forward), len(images))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False  # This layer does not take what was tried; the next may.
    return not torch.allclose(
        other, score_of(recording.output, len(images)), rtol=MIN_EFFECT, atol=0
    )
