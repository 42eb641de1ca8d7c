"""What users give a probe set, checked and copied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_ablationcam.arguments import check_names, is_dense, shown
from lightning_ablationcam.network.inputs import (
    Inputs,
    check_inputs,
    mapped,
    picture_of,
    picture_path,
    tensors,
)

IMAGES = "a tensor of shape (N, C, H, W), (N, C, L) or (N, C, D, H, W) with at least one image"

Copy = Callable[[Tensor], Tensor]


def copying() -> Copy:
    """A function that copies tensors to the CPU, ordinary ones, and each memory only once."""
    copies: dict[Any, tuple[Tensor, Tensor]] = {}

    def copy(tensor: Tensor) -> Tensor:
        if type(tensor) is not Tensor:
            tensor = tensor.as_subclass(Tensor)
        # Tensors of a checkpoint are other objects on the same memory.
        key = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in copies:
            # With the original, whose memory must not become another tensor's meanwhile.
            copies[key] = tensor, tensor.detach().cpu().clone()
        return copies[key][1]

    return copy


def checked_inputs(inputs: Any, chosen: str | None, copy: Copy) -> tuple[Inputs, str | None]:
    """What a model is fed, copied, and the path of the picture in it.

    Args:
        inputs: A tensor or array (N, ...), a list of such of one image each, or a nested structure.
        chosen: The path, or None for the one that is found; see
            :func:`~lightning_ablationcam.network.inputs.picture_path`.
        copy: Copies a tensor.

    Returns:
        The copy, and the path, None for a single tensor.

    Raises:
        TypeError: If there are no tensors.
        ValueError: If shapes do not fit each other, or the picture is not found.
    """
    if chosen is not None and not isinstance(chosen, str):
        raise TypeError(f"shown={shown(chosen)}; expected the path of one of the inputs, or None")
    if not isinstance(inputs, (Tensor, np.ndarray, Mapping, list, tuple)):
        raise TypeError(f"inputs={shown(inputs)} is a {type(inputs).__name__}; expected {IMAGES}")
    if chosen is None and isinstance(inputs, (list, tuple)) and not _is_structure(inputs):
        inputs = _stacked(inputs)
    if isinstance(inputs, (Tensor, np.ndarray)):
        if chosen is not None:
            raise ValueError(
                f"shown={shown(chosen)}, but inputs is a single tensor; leave shown out"
            )
        single = copy(checked_tensor("inputs", inputs, IMAGES))
        _check_picture("inputs", single)
        return single, None
    given = _with_tensors(inputs)
    if chosen is not None and chosen not in dict(tensors(given)):
        raise ValueError(
            f"shown={shown(chosen)} is not among the inputs: "
            f"{', '.join(repr(path) for path, _ in tensors(given))}"
        )
    check_inputs(given)
    path = picture_path(given, chosen)
    _check_picture(f"inputs[{path!r}]", picture_of(given, path))
    return mapped(given, copy), path


def checked_batch(batch: Any, count: int, copy: Copy) -> Inputs:
    """The batch that a module's own steps take, copied; None where there is none."""
    if batch is None:
        return None
    expected = f"a dict, tuple or list of tensors with a row for each of the {count} images"
    if not isinstance(batch, (Mapping, tuple, list)):
        raise TypeError(f"batch={shown(batch)} is a {type(batch).__name__}; expected {expected}")
    given = _with_tensors(batch, "batch")
    leaves = [tensor for _, tensor in tensors(given)]
    if not leaves or any(tensor.shape[:1] not in ((), (count,)) for tensor in leaves):
        raise ValueError(f"batch={shown(batch)}; expected {expected}")
    return mapped(given, copy)


def checked_masks(masks: Any, shape: Sequence[int]) -> Tensor | None:
    """Where the object is: (N, H, W) bool, or None."""
    if masks is None:
        return None
    expected = (shape[0], *shape[2:])
    given = checked_tensor("masks", masks, f"a tensor of shape {expected}").detach().cpu()
    if given.shape != expected:
        raise ValueError(f"masks has shape {tuple(given.shape)}; expected {expected}")
    return given.bool().clone()


def checked_names(names: Any, stems: Sequence[str | None]) -> list[str]:
    """Distinct names; by default numbers, and what stands for the label where there is one."""
    count = len(stems)
    if names is None:
        digits = max(2, len(str(count - 1)))
        return [
            f"{index:0{digits}d}" + ("" if stem is None else f"_{stem}")
            for index, stem in enumerate(stems)
        ]
    check_names("names", names, count)
    seen: Counter[str] = Counter()
    unique = []
    for name in map(str, names):
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def has_named_tuple(inputs: Inputs) -> bool:
    """Whether a tuple in a structure is of a class of the user's."""
    if isinstance(inputs, Mapping):
        return any(map(has_named_tuple, inputs.values()))
    if isinstance(inputs, (tuple, list)):
        return type(inputs) not in (tuple, list) or any(map(has_named_tuple, inputs))
    return False


def channel_statistics(
    name: str, values: float | Sequence[float] | None, channels: int | None = None
) -> tuple[float, ...] | None:
    """``mean`` or ``std`` as a tuple of one number or one for each channel.

    Args:
        name: The argument's name, for messages.
        values: What the user gave.
        channels: The number of channels, where it is known.

    Returns:
        The tuple, or None.

    Raises:
        TypeError: If the values are not numbers.
        ValueError: If their count does not fit, one is not finite or a ``std`` is not positive.
    """
    if values is None:
        return None
    numbers = _floats(name, values)
    allowed = f"1 or {channels}" if channels else "at least 1"
    if not numbers or (channels and len(numbers) not in (1, channels)):
        raise ValueError(
            f"{name}={shown(values)} has {len(numbers)} numbers; expected {allowed}, one for each "
            "channel of the inputs"
        )
    if not np.isfinite(numbers).all() or (name == "std" and min(numbers) <= 0):
        kind = "positive numbers" if name == "std" else "finite numbers"
        raise ValueError(f"{name}={shown(values)}; expected {kind}")
    return numbers


def checked_tensor(name: str, values: object, expected: str) -> Tensor:
    """A tensor or array as a tensor that holds values.

    Args:
        name: The argument's name.
        values: What the user gave.
        expected: What the message says is expected.

    Raises:
        TypeError: If it is anything else.
    """
    if not isinstance(values, (Tensor, np.ndarray)):
        raise TypeError(f"{name}={shown(values)} is a {type(values).__name__}; expected {expected}")
    try:
        given = torch.as_tensor(values)
    except TypeError as error:  # An array of strings or objects.
        raise TypeError(f"{name}={shown(values)}; expected {expected}") from error
    if not is_dense(given):
        raise TypeError(f"{name}={shown(values)} is sparse or has no values; expected {expected}")
    return given


def _is_structure(inputs: Sequence[Any]) -> bool:
    """Whether a list is one of several inputs, and not one of images to be stacked."""
    if any(isinstance(each, (Mapping, list, tuple)) for each in inputs):
        return any(True for _ in tensors(inputs))
    return len({each.ndim for each in inputs if isinstance(each, (Tensor, np.ndarray))}) > 1


def _stacked(images: Sequence[Any]) -> Tensor:
    if not images or not all(isinstance(image, (Tensor, np.ndarray)) for image in images):
        raise TypeError(
            f"inputs={shown(images)} is a list, but not one of tensors; expected {IMAGES}"
        )
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"inputs have different shapes {sorted(shapes)[:4]}; a probe set is fed in one "
            "batch, so resize or crop the images to one shape. If they are several inputs, say "
            "with shown= over which of them the heatmaps lie, such as shown='0'"
        )
    if images[0].ndim > 3:
        raise ValueError(
            f"inputs is a list of {len(images)} tensors of shape {shapes.pop()}; if they are "
            "volumes, stack them first, if they are several inputs, say with shown= over which of "
            "them the heatmaps lie, such as shown='0'"
        )
    return torch.stack([checked_tensor("inputs", image, IMAGES) for image in images])


def _with_tensors(inputs: Any, name: str = "inputs") -> Any:
    """The same structure with arrays as tensors, all of them dense; mappings become dicts."""
    if isinstance(inputs, (Tensor, np.ndarray)):
        return checked_tensor(name, inputs, "numbers")
    if isinstance(inputs, Mapping):
        return {key: _with_tensors(value, f"{name}[{key!r}]") for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        each = [_with_tensors(value, f"{name}[{place}]") for place, value in enumerate(inputs)]
        return type(inputs)(*each) if hasattr(inputs, "_fields") else type(inputs)(each)
    return inputs


def _check_picture(name: str, picture: Tensor) -> None:
    if not 3 <= picture.ndim <= 5 or not picture.numel():
        raise ValueError(f"{name} has shape {tuple(picture.shape)}; expected {IMAGES}")


def _floats(name: str, values: Any) -> tuple[float, ...]:
    expected = "a number or a list of numbers"
    try:
        given = np.atleast_1d(np.asarray(values.tolist() if isinstance(values, Tensor) else values))
    # Lists of several lengths, and tensors that are sparse or have no values.
    except (ValueError, RuntimeError) as error:
        raise TypeError(f"{name}={shown(values)}; expected {expected}") from error
    # Check the kind of dtype: float("0.5") and float(True) would work, but are not meant.
    if given.dtype.kind not in "iuf" or given.ndim != 1:
        raise TypeError(f"{name}={shown(values)}; expected {expected}")
    return tuple(given.astype(float).tolist())
