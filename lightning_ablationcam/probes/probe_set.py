"""A fixed set of images to watch through training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from lightning_ablationcam.arguments import (
    check_count,
    check_names,
    check_path,
    is_dense,
    shown,
    whole_numbers,
)
from lightning_ablationcam.network.isolation import kept_random_state
from lightning_ablationcam.probes.batches import class_names as names_of_classes
from lightning_ablationcam.probes.batches import item_labels, split_batch, split_item
from lightning_ablationcam.probes.loader_state import kept_loader
from lightning_ablationcam.selection import evenly_chosen

DEFAULT_PROBES = 16
"""How many images :meth:`ProbeSet.from_dataset` takes by default."""

MAX_SIDE = 2**14
"""Most pixels that :meth:`ProbeSet.from_folder` scales a side to."""

_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}


class ProbeSet:
    """The fixed images whose heatmaps are followed through training.

    Args:
        inputs: (N, C, H, W) the model's inputs, stacked, normalised as in training.
        labels: N class indices, optional.
        names: N names, optional; they become TensorBoard tags. Repeated names get a number.
        masks: (N, H, W) bool, where the object is, optional.
        class_names: Name of each class index, optional.
        mean: Mean that normalisation subtracted, one number or one for each channel.
        std: Standard deviation that normalisation divided by, likewise. With ``mean`` and ``std``
            pictures are shown in their true colours; without, each is stretched to its own range.

    Raises:
        TypeError: If ``inputs`` is not an array of images, or labels are not whole numbers.
        ValueError: If lengths or shapes do not fit each other.

    Example:
        >>> probes = ProbeSet(torch.rand(2, 1, 8, 8), labels=[3, 5], class_names="0123456789")
        >>> len(probes), probes.names
        (2, ['00_3', '01_5'])
    """

    def __init__(
        self,
        inputs: Tensor | NDArray[Any] | Sequence[Tensor],
        labels: Sequence[int] | Tensor | NDArray[Any] | None = None,
        names: Sequence[str] | None = None,
        masks: Tensor | NDArray[Any] | None = None,
        class_names: Sequence[str] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        self.inputs = _images(inputs)
        count, channels = self.inputs.shape[:2]
        self.labels = _labels(labels, count)
        self.masks = _masks(masks, self.inputs.shape)
        if class_names is not None:
            check_names("class_names", class_names)
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.mean = channel_statistics("mean", mean, channels)
        self.std = channel_statistics("std", std, channels)
        self.names = _names(names, count, self.labels, self.class_names)

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        shape = "x".join(str(size) for size in self.inputs.shape[1:])
        return f"ProbeSet({len(self)} images of {shape}, {self.fingerprint[:12]})"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the images and labels in hexadecimal: equal content, equal fingerprint."""
        digest = hashlib.sha256()
        for part in (self.inputs, self.labels):
            if part is not None:
                digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
                digest.update(part.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def class_name(self, index: int) -> str:
        """The name of a class, or its index where it has none."""
        if self.class_names is not None and 0 <= index < len(self.class_names):
            return self.class_names[index]
        return f"class {index}"

    def pictures(self) -> NDArray[np.uint8]:
        """The images as they look: (N, H, W, 3) uint8, normalisation undone, grey as RGB.

        Images with neither 1 nor 3 channels are shown as the grey mean of their channels.
        """
        images = self.inputs.float()
        if self.inputs.dtype == torch.uint8:
            images = images / 255
        elif self.mean is None and self.std is None:
            low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
            images = (images - low) / (high - low).clamp(min=torch.finfo(images.dtype).tiny)
        else:
            images = images * _per_channel(self.std, 1.0) + _per_channel(self.mean, 0.0)
        if images.shape[1] not in (1, 3):
            images = images.mean(dim=1, keepdim=True)
        bytes_ = images.nan_to_num().clamp(0, 1).mul(255).round().to(torch.uint8)
        shown: NDArray[np.uint8] = bytes_.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
        return np.ascontiguousarray(shown)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        indices: Sequence[int] | None = None,
        per_class: int | None = None,
        n: int | None = None,
        *,
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> ProbeSet:
        """Take images from a map-style dataset whose items are images with or without a label.

        Random transforms of the dataset run, but afterwards the dataset and the random number
        generators, its own and the global ones, are as before; see
        :func:`~lightning_ablationcam.probes.loader_state.kept_loader`.

        Args:
            dataset: Has ``__len__`` and ``__getitem__``; items are tensors, (tensor, label, ...)
                or dicts such as ``{"image": ..., "label": ...}``.
            indices: Which items to take.
            per_class: Take this many first items of each class, in the order of the classes. Labels
                are read from ``dataset.targets`` or the like if there is one, else item by item.
            n: Take this many items, evenly spread over the dataset. Default 16.
            names: As in :class:`ProbeSet`.
            class_names: As in :class:`ProbeSet`; default ``dataset.classes`` where there is one.
            mean: As in :class:`ProbeSet`.
            std: As in :class:`ProbeSet`.

        Returns:
            The probe set.

        Raises:
            TypeError: If the dataset has no length.
            ValueError: If more than one of ``indices``, ``per_class`` and ``n`` is given, or they
                are out of range, or labels are needed and missing.
        """
        chosen = {"indices": indices, "per_class": per_class, "n": n}
        given = [name for name, value in chosen.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; choose one of them")
        for name, value in (("per_class", per_class), ("n", n)):
            if value is not None:
                check_count(name, value)
        if class_names is not None:
            check_names("class_names", class_names)
        _check_dataset(dataset)
        with kept_random_state(), kept_loader("dataset", dataset):
            if per_class is not None:
                indices = _first_of_each_class(dataset, per_class)
            elif indices is None:
                most = min(n or DEFAULT_PROBES, len(dataset))
                indices = evenly_chosen(len(dataset), most)
            items = [split_item(dataset[index]) for index in _indices(indices, len(dataset))]
        strange = [image for image, _ in items if not is_dense(image)]
        if strange:
            raise TypeError(
                f"dataset holds {shown(strange[0])}, which is sparse or has no values; expected "
                "images"
            )
        labels = [label for _, label in items if label is not None]
        return cls(
            [image for image, _ in items],
            labels=labels if len(labels) == len(items) else None,
            names=names,
            class_names=names_of_classes(dataset) if class_names is None else class_names,
            mean=mean,
            std=std,
        )

    @classmethod
    def from_dataloader(
        cls,
        loader: Iterable[Any],
        n: int = DEFAULT_PROBES,
        *,
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> ProbeSet:
        """Take the first ``n`` images of a loader's batches.

        The loader goes on afterwards as if it had not been read: the random number generators and
        positions of the loader, its samplers and its dataset are restored, also with persistent
        workers, and a warning names what cannot be. What is not noticed, such as the attributes of
        classes and the state of connections, is listed at
        :func:`~lightning_ablationcam.probes.loader_state.kept_loader`.

        Args:
            loader: Yields batches: tensors, (tensor, labels, ...) or dicts. It must start anew each
                time it is iterated; an iterator would lose the batches that are read.
            n: How many images; fewer if the loader ends.
            names: As in :class:`ProbeSet`.
            class_names: As in :class:`ProbeSet`.
            mean: As in :class:`ProbeSet`.
            std: As in :class:`ProbeSet`.

        Returns:
            The probe set.

        Raises:
            TypeError: If the loader is not iterable, or an iterator, or its batches hold no images.
            ValueError: If ``n`` is below 1 or the loader yields nothing.
        """
        check_count("n", n)
        _check_loader(loader)
        images: list[Tensor] = []
        labels: list[int] = []
        with kept_random_state(), kept_loader("loader", loader):
            for batch in loader:
                inputs, found = _split_batch_of_loader(batch)
                images.extend(inputs.detach().cpu())
                labels.extend([] if found is None else found)
                if len(images) >= n:
                    break
        if not images:
            raise ValueError(f"loader yielded no batch ({type(loader).__name__})")
        return cls(
            images[:n],
            labels=labels[:n] if len(labels) == len(images) else None,
            names=names,
            class_names=class_names,
            mean=mean,
            std=std,
        )

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        size: int | tuple[int, int] = 224,
        mean: float | list[float] | None = None,
        std: float | list[float] | None = None,
    ) -> ProbeSet:
        """Read the pictures of a folder, scaled and cropped to one size.

        Pictures in subfolders are labelled by subfolder, in alphabetical order, as torchvision's
        ``ImageFolder`` does; pictures directly in the folder have no label.

        Args:
            path: The folder.
            size: Side of the square, or (H, W), in pixels. The picture is scaled to cover it and
                the middle is cut out.
            mean: What the model's normalisation subtracts from values in 0 ... 1; default 0.
            std: What it divides by; default 1.

        Returns:
            The probe set, RGB, named by file.

        Raises:
            TypeError: If an argument is of the wrong kind.
            FileNotFoundError: If there is no such folder.
            ValueError: If the folder holds no picture, or another argument is out of range.
        """
        folder = check_path("path", path)
        height, width = _sides(size)
        means, stds = channel_statistics("mean", mean, 3), channel_statistics("std", std, 3)
        if not folder.is_dir():
            raise FileNotFoundError(f"path={shown(str(path))} is not a folder")
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _IMAGE_SUFFIXES)
        if not files:
            raise ValueError(
                f"path={shown(str(path))} holds no picture; expected one of "
                f"{sorted(_IMAGE_SUFFIXES)}"
            )
        parts = [file.relative_to(folder).parts for file in files]
        labelled = all(len(part) > 1 for part in parts)
        classes = sorted({part[0] for part in parts}) if labelled else None
        pixels = np.stack([_read_rgb(file, (width, height)) for file in files])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        inputs = images - _per_channel(means, 0.0)
        return cls(
            inputs / _per_channel(stds, 1.0),
            labels=[classes.index(part[0]) for part in parts] if classes else None,
            names=["/".join([*part[:-1], Path(part[-1]).stem]) for part in parts],
            class_names=classes,
            mean=0.0 if mean is None else mean,
            std=1.0 if std is None else std,
        )


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


def _images(inputs: Tensor | NDArray[Any] | Sequence[Tensor]) -> Tensor:
    expected = "a tensor of shape (N, C, H, W) with at least one image"
    if isinstance(inputs, (list, tuple)):
        if not inputs or not all(isinstance(image, (Tensor, np.ndarray)) for image in inputs):
            raise TypeError(
                f"inputs={shown(inputs)} is a list, but not one of tensors; expected {expected}"
            )
        shapes = {tuple(image.shape) for image in inputs}
        if len(shapes) > 1:
            raise ValueError(
                f"inputs have different shapes {sorted(shapes)[:4]}; a probe set is fed in one "
                "batch, so resize or crop the images to one shape"
            )
        inputs = torch.stack([_tensor("inputs", image, expected) for image in inputs])
    images = _tensor("inputs", inputs, expected).detach().cpu().clone()
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"inputs has shape {tuple(images.shape)}; expected {expected}")
    return images


def _tensor(name: str, values: object, expected: str) -> Tensor:
    if not isinstance(values, (Tensor, np.ndarray)):
        raise TypeError(f"{name}={shown(values)} is a {type(values).__name__}; expected {expected}")
    try:
        given = torch.as_tensor(values)
    except TypeError as error:  # An array of strings or objects.
        raise TypeError(f"{name}={shown(values)}; expected {expected}") from error
    if not is_dense(given):
        raise TypeError(f"{name}={shown(values)} is sparse or has no values; expected {expected}")
    return given


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


def _sides(size: Any) -> tuple[int, int]:
    sides: Sequence[Any] = (
        size if isinstance(size, (list, tuple)) and len(size) == 2 else (size, size)
    )
    expected = f"expected a number of pixels or (height, width), each 1 to {MAX_SIDE}"
    if not all(isinstance(side, (int, np.integer)) and type(side) is not bool for side in sides):
        raise TypeError(f"size={shown(size)}; {expected}")
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(f"size={shown(size)}; {expected}")
    return int(sides[0]), int(sides[1])


def _check_dataset(dataset: Any) -> None:
    if isinstance(dataset, type) or not isinstance(dataset, Sized):
        raise TypeError(
            f"dataset={shown(dataset)} is a {type(dataset).__name__} without a length; use "
            "ProbeSet.from_dataloader for iterable datasets"
        )
    if isinstance(dataset, Mapping) or not hasattr(type(dataset), "__getitem__"):
        raise TypeError(
            f"dataset={shown(dataset)} is a {type(dataset).__name__}; expected a map-style dataset "
            "or a list of items"
        )
    try:
        count = len(dataset)
    except TypeError as error:  # From an array without dimensions, or a wrapper of a stream.
        raise TypeError(f"dataset={shown(dataset)} has no length") from error
    if not count:
        raise ValueError(
            f"dataset={shown(dataset)} is empty ({type(dataset).__name__} of length 0)"
        )


def _labels(labels: Sequence[int] | Tensor | NDArray[Any] | None, count: int) -> Tensor | None:
    if labels is None:
        return None
    given = whole_numbers("labels", labels, "whole numbers, class indices").detach().cpu()
    if given.shape != (count,):
        raise ValueError(
            f"labels has shape {tuple(given.shape)}; expected one class index for each of the "
            f"{count} images"
        )
    return given.to(torch.int64).clone()


def _masks(masks: Tensor | NDArray[Any] | None, shape: torch.Size) -> Tensor | None:
    if masks is None:
        return None
    expected = (shape[0], *shape[2:])
    given = _tensor("masks", masks, f"a tensor of shape {expected}").detach().cpu()
    if given.shape != expected:
        raise ValueError(f"masks has shape {tuple(given.shape)}; expected {expected}")
    return given.bool().clone()


def _names(
    names: Sequence[str] | None,
    count: int,
    labels: Tensor | None,
    class_names: Sequence[str] | None,
) -> list[str]:
    if names is None:
        digits = max(2, len(str(count - 1)))
        stems = [f"{index:0{digits}d}" for index in range(count)]
        if labels is None:
            return stems
        known = class_names or ()
        return [
            f"{stem}_{known[c] if 0 <= c < len(known) else f'class{c}'}"
            for stem, c in zip(stems, labels.tolist(), strict=True)
        ]
    check_names("names", names, count)
    seen: Counter[str] = Counter()
    unique = []
    for name in map(str, names):
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _check_loader(loader: object) -> None:
    if isinstance(loader, Iterator):
        raise TypeError(
            f"loader={shown(loader)} is an iterator, which loses the batches read from it; pass "
            "what it iterates over, such as a DataLoader or a list of batches"
        )
    is_scalar = isinstance(loader, (Tensor, np.ndarray)) and not loader.ndim
    if isinstance(loader, type) or is_scalar or not isinstance(loader, Iterable):
        raise TypeError(
            f"loader={shown(loader)}; expected a DataLoader or another iterable of batches"
        )


def _split_batch_of_loader(batch: Any) -> tuple[Tensor, list[int] | None]:
    try:
        images, labels = split_batch(batch)
    except TypeError as error:
        raise TypeError(f"loader: {error}") from error
    if images.ndim != 4:
        raise ValueError(
            f"loader yielded a batch of shape {tuple(images.shape)}; expected images of shape "
            "(N, C, H, W)"
        )
    return images, labels


def _first_of_each_class(dataset: Any, per_class: int) -> list[int]:
    found: dict[int, list[int]] = {}
    for index, label in enumerate(item_labels(dataset)):
        members = found.setdefault(label, [])
        if len(members) < per_class:
            members.append(index)
    return [index for label in sorted(found) for index in found[label]]


def _indices(indices: Sequence[int], length: int) -> list[int]:
    if isinstance(indices, Sequence) and not indices:
        raise ValueError(f"indices={shown(indices)} is empty; expected at least one")
    given = whole_numbers("indices", indices, "a list of whole numbers")
    if given.ndim != 1:
        raise TypeError(f"indices={shown(indices)}; expected a list of whole numbers")
    wrong = given[(given < -length) | (given >= length)]
    if len(wrong):
        raise ValueError(f"indices contains {int(wrong[0])}; the dataset has {length} items")
    return [int(index) for index in given]


def _per_channel(values: tuple[float, ...] | None, default: float) -> Tensor:
    return torch.tensor(values or (default,)).view(1, -1, 1, 1)


def _read_rgb(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(ImageOps.fit(upright, size, Image.Resampling.BICUBIC))
