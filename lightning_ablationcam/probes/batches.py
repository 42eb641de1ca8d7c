"""Read images and labels from what datasets and loaders yield."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_ablationcam.arguments import shown

INPUT_KEYS = ("image", "images", "img", "pixel_values", "input", "inputs", "x", "data")
LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class")


def split_item(item: Any) -> tuple[Tensor, int | None]:
    """One dataset item as image and class index; the index is None where there is none.

    Raises:
        TypeError: If the item holds no tensor or array.
        ValueError: If the tensor or array does not have the shape of an image.
    """
    image, label = _parts(item)
    if not isinstance(image, (Tensor, np.ndarray)):
        raise TypeError(
            f"a dataset item's image is a {type(image).__name__}; expected a tensor (C, H, W): "
            "give the dataset the transform that the model's input needs"
        )
    if image.ndim != 3:
        raise ValueError(
            f"a dataset item's image has shape {tuple(image.shape)}; expected (C, H, W)"
        )
    index = None
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
        index = int(label)
    elif isinstance(label, (Tensor, np.ndarray)):
        labels = class_indices(torch.as_tensor(label).reshape(1, -1), 1)
        index = None if labels is None else labels[0]
    return torch.as_tensor(image), index


def split_batch(batch: Any) -> tuple[Tensor, list[int] | None]:
    """One batch as images (B, ...) and class indices; None where labels cannot be read.

    Raises:
        TypeError: If the batch holds no tensor where the images should be.
    """
    images, labels = _parts(batch)
    if not isinstance(images, Tensor) or not images.ndim:
        raise TypeError(
            f"the batch is a {_kind(batch)} whose images cannot be found; expected a tensor, "
            f"(images, labels) or a dict with one of {', '.join(INPUT_KEYS)}. Otherwise pass "
            "probes=ProbeSet(...)"
        )
    if isinstance(labels, (list, tuple, np.ndarray)):
        try:
            labels = torch.as_tensor(labels)
        except (TypeError, ValueError, RuntimeError):
            labels = None
    return images, class_indices(labels, len(images)) if isinstance(labels, Tensor) else None


def class_indices(labels: Tensor, count: int) -> list[int] | None:
    """Labels of shape (B,) or (B, 1) as ints, or None where they are anything else."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return None
    if labels.numel() != count or labels.shape[:1] != (count,):
        return None
    return [int(label) for label in labels.flatten().tolist()]


def item_labels(dataset: Any) -> list[int]:
    """The class index of each item of a map-style dataset.

    Read from ``targets``, ``labels`` or ``y``, or a TensorDataset's second tensor, where that is a
    list of ints which agrees with the first and the last item; otherwise item by item.

    Raises:
        ValueError: If an item has no label.
    """
    known = _listed_labels(dataset)
    if known is not None and len(known) == len(dataset):
        ends = (0, len(dataset) - 1)
        if all(split_item(dataset[index])[1] == known[index] for index in ends):
            return known
    labels = []
    for index in range(len(dataset)):
        label = split_item(dataset[index])[1]
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


def _listed_labels(dataset: Any) -> list[int] | None:
    if hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        inner = _listed_labels(dataset.dataset)
        return None if inner is None else [inner[index] for index in dataset.indices]
    found = next(
        (getattr(dataset, n) for n in ("targets", "labels", "y") if hasattr(dataset, n)), None
    )
    tensors: tuple[Any, ...] = getattr(dataset, "tensors", ())
    if len(tensors) > 1:
        found = tensors[1]
    try:
        labels = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        return None
    return class_indices(labels, len(labels)) if labels.ndim else None


def _parts(sample: Any) -> tuple[Any, Any]:
    if isinstance(sample, Mapping):
        images = next((sample[key] for key in INPUT_KEYS if key in sample), None)
        return images, next((sample[key] for key in LABEL_KEYS if key in sample), None)
    if isinstance(sample, (list, tuple)) and sample:
        return sample[0], sample[1] if len(sample) > 1 else None
    return sample, None


def _kind(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"{type(batch).__name__} with keys {shown(list(batch))}"
    return type(batch).__name__
