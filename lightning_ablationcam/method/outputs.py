"""Find the logits in what a model returns: a tensor, or a dict, tuple or dataclass with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from lightning_ablationcam.arguments import shown
from lightning_ablationcam.method.scores import has_class_columns, has_class_maps, kind_of

LOGITS_KEYS = ("logits", "logits_per_image", "out", "preds", "pred", "output")
"""Names by which logits are found, in the order of preference."""

MAX_LISTED = 8
MAX_PLACE = 10_000


class OutputError(ValueError):
    """The logits cannot be found in what the model returned."""


def check_output(output: object) -> None:
    """Raise unless ``output`` names a part of what a model returns, or is None.

    Raises:
        TypeError: If it is of another kind.
        ValueError: If it is empty, or no place.
    """
    expected = (
        "expected None, a name such as 'logits', a place such as 0, or both joined by dots, as "
        "'0.logits'"
    )
    is_place = isinstance(output, int) and not isinstance(output, bool)
    if not (output is None or isinstance(output, str) or is_place):
        raise TypeError(f"output={shown(output)}; {expected}")
    if output == "" or (isinstance(output, int) and not 0 <= output < MAX_PLACE):
        raise ValueError(f"output={shown(output)}; {expected}")


def check_independent(returned: Any) -> None:
    """Raise where an image's logits are of the other images' captions.

    Raises:
        OutputError: If the model was given pairs of images and captions, and compares all of them.
    """
    if isinstance(returned, Mapping) and "logits_per_image" in returned:
        raise OutputError(
            "the model returned logits_per_image for pairs of images and captions: its columns are "
            "the captions of the batch, so that another batch has other classes. Feed it the "
            "images alone, and compare all of them with the same captions: forward=lambda model, "
            "inputs: model(pixel_values=inputs, input_ids=captions), or embeddings="
        )


def picked(returned: Any, output: str | int | None, count: int) -> Tensor:
    """The logits.

    Args:
        returned: What the model returned for ``count`` images.
        output: Which part of it, such as ``"logits"``, ``0`` or ``"0.logits"``; None for the one
            that has a name of :data:`LOGITS_KEYS`, else the only tensor of shape (N, C), else the
            only one with a row for each image.
        count: N.

    Returns:
        The tensor; (N, 1) where it was (N,).

    Raises:
        OutputError: If it is not there, or there are several; the message lists what there is.

    Example:
        >>> import torch
        >>> picked({"logits": torch.zeros(2, 10), "features": torch.zeros(2, 512)}, None, 2).shape
        torch.Size([2, 10])
    """
    found = returned if isinstance(returned, Tensor) else None
    if output is not None:
        found = _at(returned, str(output), count)
    elif found is None:
        found = _by_convention(returned, count)
    if found.is_floating_point() and found.ndim < 2 and found.numel() == count:
        return found.reshape(count, 1)
    return found


def _by_convention(returned: Any, count: int) -> Tensor:
    top = dict(_parts(returned))
    for key in LOGITS_KEYS:
        found = top.get(key)
        if isinstance(found, Tensor) and found.is_floating_point():
            return found
    everything = dict(_tensors(returned))
    rows = {path: t for path, t in everything.items() if _has_rows(t, count)}
    columns = {path: t for path, t in rows.items() if has_class_columns(t, count)}
    maps = {path: t for path, t in rows.items() if has_class_maps(t, count)}
    for group in (columns, maps, rows):
        if len(group) == 1:
            return next(iter(group.values()))
        if group:
            raise OutputError(
                f"the model returned {kind_of(returned)}, and the logits could be "
                f"{_listed(group)}; say which with output={next(iter(group))!r}"
            )
    raise OutputError(
        f"the model returned {kind_of(returned)} without logits for {count} images"
        + (f": {_listed(everything)}" if everything else "")
        + ". Pass forward=lambda model, inputs: ... that returns logits, or score=(output, classes)"
        " -> (N,), such as lightning_ablationcam.strongest_box for detection"
    )


def _at(returned: Any, path: str, count: int) -> Tensor:
    found = returned
    for key in path.split("."):
        parts = dict(_parts(found))
        if key not in parts:
            raise OutputError(
                f"output={shown(path)} is not in what the model returned, {kind_of(returned)}: "
                f"{_listed(dict(_tensors(returned)))}"
            )
        found = parts[key]
    if not isinstance(found, Tensor):
        raise OutputError(
            f"output={shown(path)} is {kind_of(found)}; expected a tensor among "
            f"{_listed(dict(_tensors(returned)))}"
        )
    return found


def _has_rows(tensor: Tensor, count: int) -> bool:
    many = len(tensor) if tensor.ndim else 1
    return tensor.is_floating_point() and tensor.numel() > 0 and many == count


def _parts(returned: Any) -> Iterator[tuple[str, Any]]:
    """What a structure holds, by name or place."""
    if isinstance(returned, Mapping):
        yield from ((str(key), value) for key, value in returned.items())
    elif isinstance(returned, tuple) and hasattr(returned, "_fields"):
        # By name, and by place as any tuple.
        yield from zip(returned._fields, returned, strict=True)
        yield from ((str(place), value) for place, value in enumerate(returned))
    elif isinstance(returned, (tuple, list)):
        yield from ((str(place), value) for place, value in enumerate(returned))
    elif dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        for field in dataclasses.fields(returned):
            yield field.name, getattr(returned, field.name)


def _tensors(returned: Any, where: str = "") -> Iterator[tuple[str, Tensor]]:
    seen: set[int] = set()
    for key, value in _parts(returned):
        path = f"{where}.{key}" if where else key
        if isinstance(value, Tensor):
            if id(value) not in seen:
                seen.add(id(value))
                yield path, value
        else:
            yield from _tensors(value, path)


def _listed(found: Mapping[str, Tensor]) -> str:
    listed = [f"{path!r} {tuple(tensor.shape)}" for path, tensor in found.items()]
    more = len(listed) - MAX_LISTED
    return ", ".join(listed[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
