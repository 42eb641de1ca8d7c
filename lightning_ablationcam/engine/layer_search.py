"""Which value to explain: what the user names, or the last that says something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.reach import alive
from lightning_ablationcam.engine.recorder import Forward, record, run
from lightning_ablationcam.engine.replay import uses_batch_statistics
from lightning_ablationcam.engine.tap import check_runs, tapped
from lightning_ablationcam.method.scores import has_class_maps
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.inputs import (
    Inputs,
    count_of,
    likeliest_picture,
    mapped,
    rows_of,
)
from lightning_ablationcam.network.layers import (
    Layout,
    example_names,
    find_layer,
    infer_layout,
    last_spatial_layer,
)
from lightning_ablationcam.network.memory import is_out_of_memory
from lightning_ablationcam.network.targets import Target, find_target

MIN_EFFECT = 1e-5
"""Change of a score, as a share of it, below which a layer is taken not to reach it."""


def is_auto(target_layer: object) -> bool:
    """Whether the layer is left to be found; a module is not asked, since its == may be anything.

    Example:
        >>> is_auto("auto"), is_auto("layer4"), is_auto(nn.ReLU())
        (True, False, False)
    """
    return isinstance(target_layer, str) and target_layer == "auto"


def resolve_target(
    model: nn.Module,
    target_layer: str | nn.Module,
    inputs: Inputs,
    reader: Callable[[Any, int], Callable[[Any], Tensor]],
    *,
    layout: str = "auto",
    forward: Forward = call,
) -> Target:
    """Find the target; ``"auto"`` tries candidates on one image, the last layer first.

    Only values that differ from picture to picture and lead to the score are tried, which rules out
    those of captions and positions.

    A candidate is the value that the pointwise operations after a layer end in: a rectifier has
    the last word on what the network goes on with. It counts if changing the layer's positions
    (prefix tokens untouched) changes the score, and, where the output has places, if it has not as
    many channels as there are classes and one channel changes several classes: logits themselves
    are no features. Where no candidate counts, as behind a head whose weights are all zero, the
    last one is taken.

    Args:
        model: The model, in evaluation mode.
        target_layer: As :func:`find_target` takes it, or ``"auto"``.
        inputs: What the model is fed for N images.
        reader: ``(intact output, count of images)`` -> what reads the scores of these first images
            off any output for them.
        layout: The user's choice of layout.
        forward: ``(model, inputs) -> output``.

    Returns:
        The target; its call, if it has one, is counted from the start.

    Raises:
        ValueError: If there is no such layer, or none has a spatial map.
    """
    images = inputs if uses_batch_statistics(model) else rows_of(inputs, slice(1))
    if not is_auto(target_layer):
        target = find_target(model, target_layer)
        counts_back = target.call is not None and target.call < 0
        return _counted(model, target, images, forward) if counts_back else target
    shape = likeliest_picture(images).shape
    names = last_spatial_layer(lambda: run(model, images, forward), model, shape, layout)
    if not names:
        raise ValueError(
            f"target_layer='auto' found no layer of {type(model).__name__} with a spatial map; "
            f"name one: {example_names([name for name, _ in model.named_modules()])}"
        )

    def score(pictures: Inputs) -> Tensor:
        output = run(model, pictures, forward)
        return reader(output, count_of(pictures))(output)

    names = alive(model, names, lambda: score(images), lambda: score(_another(images)))
    reaching = (name for name in names if _reaches(model, name, images, reader, layout, forward))
    name, module = find_layer(model, next(reaching, names[0]))
    return Target(module, name, part="activation")


def _counted(model: nn.Module, target: Target, images: Inputs, forward: Forward) -> Target:
    """A target whose call was counted from the end, counted from the start."""
    with tapped(replace(target, call=0), lambda value: value) as runs:
        run(model, images, forward)
    check_runs(target, *runs)
    assert target.call is not None
    return replace(target, call=runs[0] + target.call)


def _reaches(
    model: nn.Module,
    name: str,
    images: Inputs,
    reader: Callable[[Any, int], Callable[[Any], Tensor]],
    layout: str,
    forward: Forward,
) -> bool:
    _, layer = find_layer(model, name)
    linear = isinstance(layer, nn.Linear)
    target = Target(layer, name, part="activation" if linear else "output")
    recording = record(model, target, images, forward, tail=False)
    if linear and recording.tap.place is None:
        return False
    where = infer_layout(layout, recording.activations.shape, likeliest_picture(images).shape)
    channels = where.maps(recording.activations).shape[1]
    score_of = reader(recording.output, count_of(images))

    def output_for(some: slice) -> Any:
        with recording.tap.replaced(_shifted(recording.activations, where, some)):
            return run(model, images, forward)

    try:
        other = output_for(slice(channels))
        if torch.allclose(score_of(other), score_of(recording.output), rtol=MIN_EFFECT, atol=0):
            return False
        intact = recording.output
        if not has_class_maps(intact, count_of(images), least_dims=3):
            return True
        # Logits themselves hold one class in each channel: a map of them explains nothing. A
        # softmax behind them mixes classes, and so may a last refinement of them.
        if channels in (1, intact.shape[1]):
            return False
        several = min(2, int(intact.shape[1]))
        return _touched(intact, output_for(slice(1))) >= several
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False  # This layer does not take what was tried; the next may.


def _another(images: Inputs) -> Inputs:
    """Other pictures; what is no picture, such as the tokens of a caption, stays."""

    def changed(tensor: Tensor) -> Tensor:
        if tensor.ndim < 3 or not tensor.is_floating_point():
            return tensor
        return tensor.flip(-1) * 0.5 + 0.25

    return mapped(images, changed)


def _shifted(activations: Tensor, where: Layout, channels: slice) -> Tensor:
    """A layer's output with the positions of some channels changed.

    The change differs from channel to channel, since a norm would take a common shift away again,
    and is positive, since a rectifier would.
    """
    changed = activations.clone()
    maps = where.maps(changed)
    ramp = torch.linspace(0.5, 1.5, maps.shape[1]).to(maps).view(-1, *[1] * (maps.ndim - 2))
    maps[:, channels] += (ramp * (1 + maps.abs().amax()))[channels]
    return changed


def _touched(intact: Tensor, changed: Tensor) -> int:
    """In how many columns two outputs differ."""
    differ = (changed - intact).abs() > MIN_EFFECT * intact.abs()
    return int(differ.movedim(1, 0).flatten(1).any(dim=1).sum())
