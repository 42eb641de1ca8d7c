"""What a model is fed: one tensor, or a nested structure of them, with a row for each image.

One of the tensors is the picture, the one that heatmaps lie over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from torch import Tensor

from lightning_ablationcam.arguments import is_dense, shown

Inputs: TypeAlias = Any
"""A tensor (N, ...), or a dict, tuple or list of such, nested at will; other leaves stay as they
are, and so do numbers in tensors of no dimension."""

PICTURE_KEYS = ("image", "images", "img", "pixel_values", "input", "inputs", "x", "data")
"""Names by which the picture is found among several tensors, in the order of preference."""


def mapped(inputs: Inputs, change: Callable[[Tensor], Any]) -> Inputs:
    """The same structure with each tensor changed.

    Mappings of any kind become dicts, tuples with names keep their type.

    Example:
        >>> import torch
        >>> mapped({"x": torch.ones(2), "n": 3}, lambda tensor: tensor * 2)
        {'x': tensor([2., 2.]), 'n': 3}
    """
    return _mapped(inputs, lambda _path, tensor: change(tensor), "")


def replaced(inputs: Inputs, path: str, tensor: Tensor) -> Inputs:
    """The same with another tensor at a path, as :func:`tensors` names it.

    Example:
        >>> import torch
        >>> replaced({"x": torch.ones(1), "views": [torch.ones(1)]}, "views.0", torch.zeros(1))
        {'x': tensor([1.]), 'views': [tensor([0.])]}
    """
    return _mapped(inputs, lambda where, found: tensor if where == path else found, "")


def _mapped(inputs: Inputs, change: Callable[[str, Tensor], Any], where: str) -> Inputs:
    if isinstance(inputs, Tensor):
        return change(where, inputs)
    if isinstance(inputs, Mapping):
        return {key: _mapped(value, change, _below(where, key)) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        values = [_mapped(each, change, _below(where, at)) for at, each in enumerate(inputs)]
        return type(inputs)(*values) if hasattr(inputs, "_fields") else type(inputs)(values)
    return inputs


def _below(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def tensors(inputs: Inputs, where: str = "") -> Iterator[tuple[str, Tensor]]:
    """Each tensor with its path, such as ``"image"`` or ``"views.0"``; of one tensor it is empty.

    Example:
        >>> import torch
        >>> [path for path, _ in tensors({"views": [torch.ones(1), torch.ones(1)]})]
        ['views.0', 'views.1']
    """
    if isinstance(inputs, Tensor):
        yield where, inputs
    elif isinstance(inputs, (Mapping, tuple, list)):
        items = inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs)
        for key, value in items:
            yield from tensors(value, _below(where, key))


def picture_path(inputs: Inputs, chosen: str | None = None) -> str:
    """The path of the tensor that heatmaps lie over.

    Args:
        inputs: What the model is fed.
        chosen: The user's choice, or None for the first of :data:`PICTURE_KEYS`, else the only
            tensor of floats with at least three dimensions.

    Raises:
        TypeError: If there is no tensor.
        ValueError: If the choice is not there, or there are several without one.
    """
    found = dict(tensors(inputs))
    if not found:
        raise TypeError(f"inputs={shown(inputs)}; expected a tensor (N, ...), or a dict of them")
    if chosen is not None:
        if chosen not in found:
            raise ValueError(f"shown={shown(chosen)} is not among the inputs: {_listed(found)}")
        return chosen
    last = {path.rsplit(".", 1)[-1]: path for path in reversed(found)}
    named = next((last[key] for key in PICTURE_KEYS if key in last), None)
    if named is not None:
        return named
    spatial = [path for path, t in found.items() if t.ndim >= 3 and t.is_floating_point()]
    candidates = spatial or list(found)
    if len(candidates) > 1:
        raise ValueError(
            f"inputs hold several tensors, {_listed(found)}; say with shown= which one the "
            "heatmaps lie over"
        )
    return candidates[0]


def likeliest_picture(inputs: Inputs) -> Tensor:
    """The tensor that heatmaps lie over; where that cannot be told, the first of most dimensions.

    Enough to compare the proportions of a layer's output with.
    """
    try:
        return picture_of(inputs)
    except ValueError:
        return max((tensor for _, tensor in tensors(inputs)), key=lambda tensor: tensor.ndim)


def picture_of(inputs: Inputs, chosen: str | None = None) -> Tensor:
    """The tensor that heatmaps lie over; see :func:`picture_path`."""
    return (
        inputs
        if isinstance(inputs, Tensor)
        else dict(tensors(inputs))[picture_path(inputs, chosen)]
    )


def check_inputs(inputs: Inputs) -> None:
    """Raise unless every tensor has a row for each image.

    Raises:
        TypeError: If there is no tensor, or one is sparse or has no values.
        ValueError: If their numbers of rows differ, or there is no image.
    """
    found = dict(tensors(inputs))
    if isinstance(inputs, Tensor):
        pass
    elif not found:
        raise TypeError(
            f"inputs={shown(inputs)}; expected a tensor of shape (N, ...), or a dict or tuple of "
            "such. If the model takes something else, build it in forward=(model, inputs)"
        )
    for path, tensor in found.items():
        if not is_dense(tensor):
            name = f"inputs[{path!r}]" if path else "inputs"
            raise TypeError(f"{name}={shown(tensor)} is sparse or has no values; expected a tensor")
    picture = likeliest_picture(inputs)
    if picture.ndim < 2 or not len(picture):
        raise ValueError(
            f"inputs has shape {tuple(picture.shape)}; expected at least one image, (N, C, H, W)"
        )
    if any(tensor.ndim and len(tensor) != len(picture) for tensor in found.values()):
        raise ValueError(
            f"inputs have different numbers of rows, {_listed(found)}; expected one row for each "
            "image in all of them. What is the same for all images belongs into "
            "forward=(model, inputs)"
        )


def count_of(inputs: Inputs) -> int:
    """The number of images, N."""
    return next(len(tensor) for _, tensor in tensors(inputs) if tensor.ndim)


def shapes_of(inputs: Inputs) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The shape of each tensor, without the number of images, and where it is.

    Example:
        >>> import torch
        >>> shapes_of(torch.zeros(2, 3, 8, 8))
        (('', (3, 8, 8)),)
    """
    return tuple((path, tuple(tensor.shape[1:])) for path, tensor in tensors(inputs))


def rows_of(inputs: Inputs, rows: slice | Tensor) -> Inputs:
    """Some of the images."""
    return mapped(inputs, lambda tensor: tensor[rows] if tensor.ndim else tensor)


def copied(inputs: Inputs) -> Inputs:
    """A copy that a model may write into.

    Rows that share their memory cannot be written to, so that they need none.
    """
    return mapped(inputs, lambda tensor: tensor if 0 in tensor.stride() else tensor.clone())


def repeated(inputs: Inputs, count: int) -> Inputs:
    """``count`` rows of a single image, which share their memory."""
    return mapped(
        inputs,
        lambda tensor: tensor.expand(count, *tensor.shape[1:]) if tensor.ndim else tensor,
    )


def plain(inputs: Inputs) -> Inputs:
    """The same as ordinary tensors that can be computed with.

    Subclasses that carry metadata, such as those of medical images, would make every result one of
    them; tensors of inference mode cannot be used outside of it.
    """

    def ordinary(tensor: Tensor) -> Tensor:
        if type(tensor) is not Tensor:
            tensor = tensor.as_subclass(Tensor)
        return tensor.clone() if tensor.is_inference() else tensor

    return mapped(inputs, ordinary)


def nbytes_of(inputs: Inputs) -> int:
    """Bytes of all tensors."""
    return sum(tensor.nbytes for _, tensor in tensors(inputs))


def described(inputs: Inputs) -> str:
    """Shapes, dtypes and devices, for messages.

    Example:
        >>> import torch
        >>> described(torch.ones(2, 3))
        'of shape (2, 3), dtype torch.float32 on cpu'
    """
    if isinstance(inputs, Tensor):
        return f"of shape {tuple(inputs.shape)}, dtype {inputs.dtype} on {inputs.device}"
    return _listed(dict(tensors(inputs)))


def _listed(found: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{path!r} {tuple(t.shape)} {t.dtype}" for path, t in found.items())
