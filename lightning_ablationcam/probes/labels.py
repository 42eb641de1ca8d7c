"""What labels can be: a class, several classes, a value, or a map of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from lightning_ablationcam.arguments import is_dense, shown

LabelKind: TypeAlias = Literal["class", "multi-hot", "value", "map"]
LABEL_KINDS: tuple[str, ...] = get_args(LabelKind)

EXPECTED = (
    "whole numbers (class indices), rows of 0 and 1 (several classes), numbers (values), or maps "
    "of classes of the images' size"
)


def kind_of(labels: Tensor | None) -> LabelKind | None:
    """The kind of labels in the form in which a probe set holds them."""
    if labels is None:
        return None
    if labels.dtype == torch.bool:
        return "multi-hot"
    if labels.is_floating_point():
        return "value"
    return "class" if labels.ndim == 1 else "map"


def readable(labels: Tensor, shape: Sequence[int], kind: LabelKind | None = None) -> Tensor | None:
    """Labels in the form in which a probe set holds them; None where they are anything else.

    Args:
        labels: (N, ...) of any dtype.
        shape: (N, H, W) of the images, whatever their number of spatial dimensions.
        kind: What they are. Default what their values and shape say: of the images' size they are
            maps; one for each image, whole or all 0 or 1, are classes; rows of 0 and 1 are several
            classes; other floats, one for each image, are values.

    Returns:
        (N,) int64 classes, (N, L) bool for several classes, (N,) float64 values, or (N, H, W) int64
        maps, in which numbers that are no class are kept.

    Example:
        >>> readable(torch.tensor([[0.0], [1.0]]), (2, 8, 8))
        tensor([0, 1])
        >>> readable(torch.tensor([[0, 1, 1], [1, 0, 0]]), (2, 8, 8)).dtype
        torch.bool
        >>> readable(torch.tensor([25.0, 31.5]), (2, 8, 8))
        tensor([25.0000, 31.5000], dtype=torch.float64)
        >>> readable(torch.rand(2, 5), (2, 8, 8)) is None
        True
    """
    if labels.is_complex() or not is_dense(labels) or labels.shape[:1] != tuple(shape[:1]):
        return None
    wanted = _READERS.values() if kind is None else [_READERS[kind]]
    found = (read(labels, tuple(shape)) for read in wanted)
    return next((each for each in found if each is not None), None)


def checked_labels(labels: Any, shape: Sequence[int], kind: LabelKind | None = None) -> Tensor:
    """What a user gives as labels, in the form in which a probe set holds them.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If they do not fit the images.
    """
    try:
        if isinstance(labels, (list, tuple)) and any(isinstance(each, Tensor) for each in labels):
            labels = torch.stack([torch.as_tensor(each) for each in labels])
        given = labels if isinstance(labels, Tensor) else torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"labels={shown(labels)}; expected {EXPECTED}") from error
    if given.is_complex() or not is_dense(given):
        raise TypeError(
            f"labels={shown(labels)} is complex, sparse or has no values; expected {EXPECTED}"
        )
    found = readable(given.detach().cpu(), shape, kind)
    if found is None:
        expected = EXPECTED if kind is None else f"what label_kind={kind!r} stands for"
        raise ValueError(
            f"labels has shape {tuple(given.shape)} and dtype {given.dtype}; expected one for each "
            f"of the {shape[0]} images: {expected}"
        )
    return found


def nth_classes(labels: Tensor, place: int) -> Tensor:
    """One of the classes of each image with several.

    Args:
        labels: (N, L) bool.
        place: Which, in the order of the classes; 0 is the first.

    Returns:
        (N,) int64, -1 where an image has no such class.

    Example:
        >>> labels = torch.tensor([[True, False, True], [False, True, False]])
        >>> nth_classes(labels, 0), nth_classes(labels, 1)
        (tensor([0, 1]), tensor([ 2, -1]))
    """
    is_it = labels & (labels.cumsum(dim=1) == place + 1)
    return torch.where(is_it.any(dim=1), is_it.to(torch.uint8).argmax(dim=1), -1)


def texts(labels: Tensor | None, count: int, class_name: Callable[[int], str]) -> list[str | None]:
    """What captions show of each label; see :meth:`ProbeSet.label_texts`."""
    kind = kind_of(labels)
    if labels is None or kind == "map":
        return [None] * count
    if kind == "value":
        return [repr(float(f"{value:.6g}")) for value in labels.tolist()]
    if kind == "class":
        return [class_name(index) for index in labels.tolist()]
    members = [row.nonzero().flatten().tolist() for row in labels]
    return [", ".join(map(class_name, indices)) or None for indices in members]


def _is_binary(labels: Tensor) -> bool:
    return labels.dtype == torch.bool or bool(((labels == 0) | (labels == 1)).all())


def _maps(labels: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    if labels.numel() == shape[0]:  # Of images of one pixel.
        return None
    if labels.ndim == len(shape) + 1 and labels.shape[1] == 1:
        labels = labels.squeeze(1)
    if labels.shape != shape:
        return None
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        return None
    labels = labels.to(torch.int64)
    # Pictures of masks are black and white; 255 beside other classes is none.
    is_picture = bool((labels == 255).any()) and bool(((labels == 0) | (labels == 255)).all())
    return labels // 255 if is_picture else labels


def _classes(labels: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    is_whole = not labels.is_floating_point() or _is_binary(labels)
    return labels.reshape(-1).to(torch.int64) if labels.numel() == shape[0] and is_whole else None


def _several(labels: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    fits = labels.ndim == 2 and labels.shape[1] > 1 and _is_binary(labels)
    return labels.to(torch.bool) if fits else None


def _values(labels: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    return labels.reshape(-1).to(torch.float64) if labels.numel() == shape[0] else None


# Maps first: a signal's map has as many dimensions as labels of several classes.
_READERS: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor | None]] = {
    "map": _maps,
    "class": _classes,
    "multi-hot": _several,
    "value": _values,
}
