"""Read images and labels from what datasets and loaders yield."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_ablationcam.arguments import is_dense, shown
from lightning_ablationcam.network.inputs import (
    PICTURE_KEYS,
    Inputs,
    described,
    picture_path,
    tensors,
)
from lightning_ablationcam.probes.labels import kind_of, readable
from lightning_ablationcam.probes.samples import Samples

LABEL_KEYS = (
    "label",
    "labels",
    "target",
    "targets",
    "y",
    "class",
    "segmentation",
    "seg",
    "mask",
    "masks",
)
"""Names of labels in a dict, in the order of preference. None of them is fed, but for a mask that
does not cover an image, such as one of padding."""

_MASK_KEYS = ("mask", "masks")
# What a sample is, rather than what a model is fed. "input_ids" are fed.
_NOTE_KEYS = ("index", "indices", "idx", "id", "meta", "metadata")
_NOTE_ENDINGS = ("_idx", "_index", "_id", "_meta", "_meta_dict", "_transforms", "_coord")

_INSTEAD = "Otherwise pass probes=ProbeSet(...)"


class AmbiguousBatchError(TypeError):
    """It cannot be told what of a batch is fed and what labels are.

    Args:
        message: What there is, and what to do.
        first: What comes first in it, mostly the images.
    """

    def __init__(self, message: str, first: Inputs) -> None:
        super().__init__(message)
        self.first = first


def split_item(item: Any, chosen: str | None = None) -> Samples:
    """One dataset item as a batch of one; see :func:`split_batch`.

    Raises:
        TypeError: If the item holds no tensor or array, or it cannot be told what is what.
        ValueError: If the tensor or array does not have the shape of an image.
    """
    image = _first_of(item)
    if not isinstance(image, (Tensor, np.ndarray, Mapping, list, tuple)):
        raise TypeError(
            f"a dataset item's image is a {type(image).__name__}; expected a tensor (C, H, W): "
            "give the dataset the transform that the model's input needs"
        )
    try:
        found = split_batch(_as_row(item), chosen)
    except TypeError as error:
        raise TypeError(f"a dataset item, as a batch of one: {error}") from error
    if not 3 <= found.images.ndim <= 5:
        raise ValueError(
            f"a dataset item's image has shape {tuple(found.images.shape[1:])}; expected "
            "(C, H, W), (C, L) or (C, D, H, W)"
        )
    return found


def split_batch(batch: Any, chosen: str | None = None) -> Samples:
    """What of a batch the model is fed, which tensor of that is the picture, and the labels.

    * A tensor is the images.
    * Of a dict, what is named as in :data:`LABEL_KEYS` is labels; names such as ``"index"`` and
      ``"image_meta_dict"`` are notes. Of the rest, tensors with a row for each image are fed,
      as a dict if there are several.
    * Of ``(x, y)`` the first is fed, whatever it is made of, and the second is the labels. In
      ``(x1, x2, y)`` tensors of floats before the labels are fed as well. What follows the labels
      is not.

    Names, texts and other lists of what are no numbers are left out.

    Args:
        batch: The batch.
        chosen: The path of the picture among what is fed; by default found by its name, and in a
            tuple without names the first.

    Raises:
        TypeError: If there are no images, or it cannot be told what is what.
        ValueError: If ``chosen`` is not there.

    Example:
        >>> images, ages = torch.rand(2, 3, 8, 8), torch.rand(2)
        >>> found = split_batch({"image": images, "age": ages, "y": [1, 0]})
        >>> list(found.inputs), found.shown, found.labels.tolist()
        (['image', 'age'], 'image', [1, 0])
    """
    given = _tensors_only(batch)
    if isinstance(given, Tensor) and isinstance(batch, Tensor) and given.ndim:
        return Samples(given)
    if isinstance(given, dict):
        inputs, labels = _of_mapping(given, batch, chosen)
    elif isinstance(given, (list, tuple)):
        inputs, labels = _of_sequence(given, batch)
    else:
        raise _not_found(batch)
    picture = None if isinstance(inputs, Tensor) else _picture(inputs, chosen, batch)
    images = inputs if picture is None else dict(tensors(inputs))[picture]
    if not images.ndim:
        raise _not_found(batch)
    count = len(images)
    if isinstance(labels, Tensor) and labels.shape[:1] != (count,):
        labels = None
    return Samples(
        _with_rows(inputs, count),
        picture,
        labels if isinstance(labels, Tensor) else None,
        _with_rows(given, count),
    )


def item_labels(dataset: Any, chosen: str | None = None) -> list[int]:
    """The class index of each item of a map-style dataset.

    Read from ``targets``, ``labels`` or ``y``, or a TensorDataset's second tensor, where that is a
    list of ints which agrees with the first and the last item; otherwise item by item.

    Args:
        dataset: The dataset.
        chosen: As in :func:`split_batch`.

    Raises:
        ValueError: If an item has no label.
    """
    known = _listed_labels(dataset)
    if known is not None and len(known) == len(dataset):
        ends = (0, len(dataset) - 1)
        if all(_item_class(dataset[index], chosen) == known[index] for index in ends):
            return known
    labels = []
    for index in range(len(dataset)):
        label = _item_class(dataset[index], chosen)
        if label is None:
            raise ValueError(
                f"item {index} of the dataset has no label that is a whole number, so none can be "
                "chosen by class; use indices or n"
            )
        labels.append(label)
    return labels


def class_names(dataset: Any) -> list[str] | None:
    """A dataset's ``classes`` or ``class_names``, also through ``Subset``; None if it has none."""
    while hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        dataset = dataset.dataset
    for attribute in ("classes", "class_names"):
        found = getattr(dataset, attribute, None)
        if isinstance(found, (list, tuple)) and found:
            return [str(name) for name in found]
    return None


def _item_class(item: Any, chosen: str | None) -> int | None:
    """The class of a dataset item; None of any other label."""
    found = split_item(item, chosen)
    if found.labels is None:
        return None
    labels = readable(found.labels, (1, *found.images.shape[2:]))
    if labels is None or kind_of(labels) != "class":
        return None
    return int(labels[0])


def _listed_labels(dataset: Any) -> list[int] | None:
    if hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        inner = _listed_labels(dataset.dataset)
        return None if inner is None else [inner[index] for index in dataset.indices]
    found = next(
        (getattr(dataset, n) for n in ("targets", "labels", "y") if hasattr(dataset, n)), None
    )
    listed: tuple[Any, ...] = getattr(dataset, "tensors", ())
    if len(listed) > 1:
        found = listed[1]
    try:
        labels = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        return None
    read = readable(labels, (len(labels),), "class") if labels.ndim else None
    return None if read is None else [int(label) for label in read.tolist()]


# ---- what is fed, and what is labels -----------------------------------------------------------


def _of_mapping(given: dict[Any, Any], batch: Any, chosen: str | None) -> tuple[Inputs, Any]:
    fed = {k: v for k, v in given.items() if k not in LABEL_KEYS and not _is_note(k)}
    if not dict(tensors(fed)):
        raise _not_found(batch)
    picture = dict(tensors(fed))[_picture(fed, _below(fed, chosen), batch)]
    # Other masks are of something else than the picture, such as of padding: a model may need them.
    masks = {k for k in _MASK_KEYS if k in given and not _covers(given[k], picture)}
    fed = {
        k: v
        for k, v in given.items()
        if (k in fed or k in masks) and picture.ndim and _with_rows(v, len(picture)) is not None
    }
    label = next((key for key in LABEL_KEYS if key in given and key not in masks), None)
    if not fed:
        raise _not_found(batch)
    # A single entry is fed as it is, whatever its name.
    inputs = next(iter(fed.values())) if len(fed) == 1 else fed
    return inputs, given.get(label)


def _below(fed: dict[Any, Any], chosen: str | None) -> str | None:
    """A chosen path among all entries, where that of a single entry does not name it."""
    if chosen is None or len(fed) > 1 or chosen in dict(tensors(fed)):
        return chosen
    return f"{next(iter(fed))}.{chosen}"


def _of_sequence(given: Any, batch: Any) -> tuple[Inputs, Any]:
    start = next((place for place, each in enumerate(batch) if not _is_text(each)), len(batch))
    first, *others = [*given[start:]] or [None]
    others = [each for each in others if each is not None]
    if first is None or _is_numbers(batch[start]):
        raise _not_found(batch)
    if _are_single_images(first, others):
        # As detectors take them, which need not be of one size.
        if len({each.shape for each in first}) > 1:
            raise _not_found(batch)
        first = torch.stack(list(first))
    if len(others) <= 1:
        return first, others[0] if others else None
    leaves = [each for _, each in tensors(first)]
    images = next((each for each in leaves if each.ndim > 2), leaves[0])
    shape = (len(images), *images.shape[2:]) if images.ndim else (0,)
    fed = [first]
    for place, each in enumerate(others):
        if not isinstance(each, Tensor):
            if place == 0 and _with_rows(each, shape[0]) is None:
                return first, None  # Such as boxes, of which images have different numbers.
            break
        is_label = readable(each, shape) is not None
        if not each.is_floating_point() or each.ndim < 2:
            # Whole numbers in the second place are labels, if any that can be read.
            if is_label or (place == 0 and each.ndim < 2):
                return fed[0] if len(fed) == 1 else tuple(fed), each
            break
        if is_label and place < len(others) - 1:
            break
        if is_label:
            return tuple(fed) if len(fed) > 1 else fed[0], each
        fed.append(each)
    raise AmbiguousBatchError(_cannot_tell(batch, given), fed[0])


def _are_single_images(first: Any, others: list[Any]) -> bool:
    """Whether it is a list with an image for each entry of what comes with it."""
    if not isinstance(first, (list, tuple)) or not others:
        return False
    images = all(isinstance(each, Tensor) and each.ndim == 3 for each in first)
    beside = others[0]
    return images and isinstance(beside, (list, tuple, Tensor)) and len(beside) == len(first)


def _picture(inputs: Inputs, chosen: str | None, batch: Any) -> str:
    try:
        return picture_path(inputs, chosen)
    except ValueError as error:
        if chosen is not None:
            raise
        if isinstance(inputs, (tuple, list)):
            return next(path for path, _ in tensors(inputs))
        raise TypeError(
            f"the batch is a {_kind(batch)} whose images cannot be found: {error}. {_INSTEAD}"
        ) from error


def _is_note(key: object) -> bool:
    return isinstance(key, str) and (key in _NOTE_KEYS or key.endswith(_NOTE_ENDINGS))


def _covers(mask: Any, picture: Tensor) -> bool:
    """Whether a mask is of an image's size: (N, H, W), or with channels."""
    sizes = picture.shape[2:]
    return isinstance(mask, Tensor) and len(sizes) > 1 and sizes in (mask.shape[1:], mask.shape[2:])


# ---- tensors in structures ---------------------------------------------------------------------


def _tensors_only(value: Any) -> Any:
    """The same structure of tensors, arrays and lists of numbers; None in the place of others."""
    if isinstance(value, Tensor):
        if not is_dense(value):
            raise TypeError(
                f"the batch holds {shown(value)}, which is sparse or has no values; expected images"
            )
        # Subclasses that carry metadata would make every result one of them.
        return value if type(value) is Tensor else value.as_subclass(Tensor)
    if isinstance(value, np.ndarray) or _is_numbers(value):
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            return None
    if isinstance(value, Mapping):
        entries = {key: _tensors_only(each) for key, each in value.items()}
        return {key: each for key, each in entries.items() if each is not None} or None
    if isinstance(value, (list, tuple)):
        each_of = [_tensors_only(each) for each in value]
        return None if all(each is None for each in each_of) else _like(value, each_of)
    return None


def _with_rows(value: Any, count: int) -> Any:
    """The same structure of the tensors with so many rows; None in the place of others."""
    if isinstance(value, Tensor):
        return value if value.shape[:1] == (count,) else None
    if isinstance(value, Mapping):
        entries = {key: _with_rows(each, count) for key, each in value.items()}
        return {key: each for key, each in entries.items() if each is not None} or None
    if isinstance(value, (list, tuple)):
        each_of = [_with_rows(each, count) for each in value]
        return None if all(each is None for each in each_of) else _like(value, each_of)
    return None


def _like(value: Any, entries: list[Any]) -> Any:
    """A list or tuple of the same type."""
    return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)


def _as_row(value: Any) -> Any:
    """The same structure as a batch of one."""
    if isinstance(value, (Tensor, np.ndarray)):
        given = _tensors_only(value)
        return None if given is None else given[None]
    if isinstance(value, (numbers.Real, np.generic)):
        return _tensors_only(np.asarray([value]))
    if _is_numbers(value):
        return _tensors_only([value])
    if isinstance(value, Mapping):
        return {key: _as_row(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return _like(value, [_as_row(each) for each in value])
    return value if isinstance(value, str) else None


def _is_numbers(value: Any) -> bool:
    """Whether it is a list of numbers, or of lists of numbers, one of them at least."""
    if not isinstance(value, (list, tuple)) or not value or hasattr(value, "_fields"):
        return False
    return all(isinstance(each, (numbers.Real, np.generic)) or _is_numbers(each) for each in value)


def _first_of(item: Any) -> Any:
    """What stands in the place of an item's image."""
    if isinstance(item, Mapping):
        named = next((item[key] for key in PICTURE_KEYS if key in item), None)
        return item if named is None else named
    if isinstance(item, (list, tuple)) and item:
        return next((each for each in item if not isinstance(each, str)), item[0])
    return item


def _is_text(value: Any) -> bool:
    """Whether it is a name, or the names of a batch."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(each, str) for each in value)
    return isinstance(value, str)


def _not_found(batch: Any) -> TypeError:
    return TypeError(
        f"the batch is a {_kind(batch)} whose images cannot be found; expected a tensor, "
        f"(images, labels) or a dict with one of {', '.join(PICTURE_KEYS)}. {_INSTEAD}"
    )


def _cannot_tell(batch: Any, given: Any) -> str:
    return (
        f"the batch is a {_kind(batch)} of which it cannot be told what the model is fed and what "
        f"the labels are: {described(given)}; expected (images, labels). {_INSTEAD}"
    )


def _kind(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"{type(batch).__name__} with keys {shown(list(batch))}"
    return type(batch).__name__
