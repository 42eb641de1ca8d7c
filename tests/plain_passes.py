"""The drops that plain forward passes find, of modules of any kind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from lightning_ablationcam import AblationResult, ablation_cam, setting
from tests.real_modules import Brought


def explain(brought: Brought, **others: Any) -> AblationResult:
    """The module explained with nothing but what it needs."""
    arguments = {"target_layer": "auto", **brought.needed, **others}
    target_layer, classes = arguments.pop("target_layer"), arguments.pop("classes", None)
    return ablation_cam(brought.model, target_layer, brought.inputs, classes, **arguments)


def in_float64(brought: Brought) -> Brought:
    """The same module with parameters, inputs and embeddings in float64."""

    def double(value: Any) -> Any:
        is_float = isinstance(value, Tensor) and value.is_floating_point()
        return value.double() if is_float else value

    inputs = brought.inputs
    return replace(
        brought,
        model=copy.deepcopy(brought.model).double(),
        inputs={key: double(value) for key, value in inputs.items()}
        if isinstance(inputs, Mapping)
        else double(inputs),
        needed={key: double(value) for key, value in brought.needed.items()},
    )


@contextmanager
def only(channels: Tensor) -> Iterator[None]:
    """Have both engines look at a few channels."""
    whole = setting.changed_pairs

    def few(*args: Any) -> Tensor:
        changed = whole(*args)
        kept = torch.zeros_like(changed)
        kept[:, channels] = changed[:, channels]
        return kept

    with mock.patch.object(setting, "changed_pairs", few):
        yield


def exact_error(brought: Brought, count: int) -> tuple[float, AblationResult]:
    """How far drops are from plain forward passes, in float64.

    Args:
        brought: The module.
        count: How many channels to compare, those with the largest drops among them.

    Returns:
        The largest error as a share of the largest of the right drops, and the result in float32
        that says which channels matter.
    """
    found, exact = explain(brought), in_float64(brought)
    channels = strongest_and_others(found.drops, count)
    with only(channels):
        drops = explain(exact, classes=found.classes).drops[:, channels]
        expected = brute_force(exact, found, channels)
    return float((drops - expected).abs().amax() / expected.abs().amax()), found


def strongest_and_others(drops: Tensor, count: int) -> Tensor:
    """Indices of each image's channel with the largest drop, and of others spread over all."""
    strongest = drops.abs().argmax(dim=1)
    spread = torch.linspace(0, drops.shape[1] - 1, max(1, count - len(strongest))).long()
    return torch.cat([strongest, spread]).unique()


@torch.no_grad()
def brute_force(brought: Brought, result: AblationResult, channels: Tensor) -> Tensor:
    """(N, channels) drops by a forward pass for each channel, its values set to zero by a hook.

    A value that is not what a module returns is replaced by the replaying engine, as no hook can.
    """
    module = dict(brought.model.named_modules()).get(result.layer)
    if module is None:
        replayed = {"target_layer": result.layer, "classes": result.classes, "engine": "replay"}
        return explain(brought, **replayed).drops[:, channels]
    kept: list[Tensor] = []
    with hooked(module, lambda value: kept.append(value) or value):
        intact = brought()
    # Channels first, where the rest is the map; else last.
    dim = 1 if kept[0].shape[2:] == result.heatmaps.shape[1:] else kept[0].ndim - 1

    def without(channel: int) -> Any:
        with hooked(module, lambda value: value.index_fill(dim, torch.tensor([channel]), 0)):
            return brought()

    read = lambda output: class_scores(brought, output, intact, result.classes)  # noqa: E731
    return torch.stack([read(intact) - read(without(int(c))) for c in channels], dim=1)


@contextmanager
def hooked(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    handle = module.register_forward_hook(lambda _module, _args, output: change(output))
    try:
        yield
    finally:
        handle.remove()


def class_scores(brought: Brought, output: Any, intact: Any, classes: Tensor) -> Tensor:
    """(N,) the scores that defaults mean, written out."""
    if brought.scores is not None:
        return brought.scores(output, intact, classes)
    logits, before = logits_in(output), logits_in(intact)
    places = logits.shape[2:]
    if logits.shape[1] == 1:
        sign = 1 if brought.is_quantity else 2 * classes - 1
        of_class = logits[:, 0] * torch.as_tensor(sign).view(-1, *[1] * len(places))
        decided = (before[:, 0] > 0).long()
    else:
        index = classes.view(-1, 1, *[1] * len(places)).expand(-1, 1, *places)
        of_class, decided = logits.gather(1, index)[:, 0], before.argmax(dim=1)
    if not places:
        return of_class
    # The mean over where the intact network sees the class, everywhere if it does nowhere.
    region = (decided == classes.view(-1, *[1] * len(places))).flatten(1)
    region[brought.is_quantity | ~region.any(dim=1)] = True
    return (of_class.flatten(1) * region).sum(1) / region.sum(1)


def logits_in(output: Any) -> Tensor:
    """What is logits by convention: a tensor, a key, or the only (N, C) in a tuple."""
    if isinstance(output, Tensor):
        return output.as_subclass(Tensor)
    if isinstance(output, Mapping):
        names = ("logits", "logits_per_image", "out")
        return next(output[name] for name in names if name in output)
    (found,) = (part for part in output if isinstance(part, Tensor) and part.ndim == 2)
    return found
