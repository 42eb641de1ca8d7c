"""Reading images and labels off what datasets and loaders yield."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

INPUT_KEYS = ("image", "images", "img", "pixel_values", "input", "inputs", "x", "data")
LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class")


def split_item(item: Any) -> tuple[Tensor, int | None]:
    """One dataset item as image and class index; the index is None where there is none.

    Raises:
        TypeError: If the item holds no tensor or array.
    """
    image, label = _parts(item)
    if not isinstance(image, (Tensor, np.ndarray)):
        raise TypeError(
            f"a dataset item's image is a {type(image).__name__}; expected a tensor (C, H, W): "
            "give the dataset the transform that the model's input needs"
        )
    index = None
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
        index = int(label)
    elif isinstance(label, (Tensor, np.ndarray)):
        labels = whole_numbers(torch.as_tensor(label).reshape(1, -1), 1)
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
    return images, whole_numbers(labels, len(images)) if isinstance(labels, Tensor) else None


def whole_numbers(labels: Tensor, count: int) -> list[int] | None:
    """Labels of shape (B,) or (B, 1) as ints, or None where they are anything else."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return None
    if labels.numel() != count or labels.shape[:1] != (count,):
        return None
    return [int(label) for label in labels.flatten().tolist()]


def dataset_attribute(dataset: Any, names: Sequence[str]) -> list[Any] | None:
    """The first of some attributes that a dataset has, one entry an item or a class.

    Looks through ``Subset`` (whose per-item lists are picked by its indices), and takes the second
    tensor of a ``TensorDataset`` for its labels.
    """
    inner = getattr(dataset, "dataset", None)
    indices = getattr(dataset, "indices", None)
    if inner is not None and indices is not None:
        values = dataset_attribute(inner, names)
        return [values[i] for i in indices] if values and "targets" in names else values
    tensors = getattr(dataset, "tensors", None)
    if "targets" in names and tensors and len(tensors) > 1:
        return whole_numbers(tensors[1], len(tensors[0]))
    for name in names:
        found = getattr(dataset, name, None)
        if isinstance(found, (Tensor, np.ndarray)):
            found = found.tolist()
        if isinstance(found, (list, tuple)) and found:
            return list(found)
    return None


def _parts(sample: Any) -> tuple[Any, Any]:
    if isinstance(sample, Mapping):
        images = next((sample[key] for key in INPUT_KEYS if key in sample), None)
        return images, next((sample[key] for key in LABEL_KEYS if key in sample), None)
    if isinstance(sample, (list, tuple)) and sample:
        return sample[0], sample[1] if len(sample) > 1 else None
    return sample, None


def _kind(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"{type(batch).__name__} with keys {list(batch)[:8]}"
    return type(batch).__name__
