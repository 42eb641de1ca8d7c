"""A fixed set of images to watch through training."""

from __future__ import annotations

import hashlib
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
    check_choice,
    check_count,
    check_names,
    check_path,
    is_dense,
    whole_numbers,
)
from lightning_ablationcam.arguments import (
    shown as worded,
)
from lightning_ablationcam.network.inputs import Inputs, picture_of, tensors
from lightning_ablationcam.network.isolation import kept_random_state
from lightning_ablationcam.probes.batches import class_names as names_of_classes
from lightning_ablationcam.probes.batches import item_labels, split_batch, split_item
from lightning_ablationcam.probes.display import Display, checked_bands, per_channel
from lightning_ablationcam.probes.given import (
    channel_statistics,
    checked_batch,
    checked_inputs,
    checked_masks,
    checked_names,
    copying,
)
from lightning_ablationcam.probes.labels import (
    LABEL_KINDS,
    LabelKind,
    checked_labels,
    kind_of,
    nth_classes,
    readable,
    texts,
)
from lightning_ablationcam.probes.loader_state import kept_loader
from lightning_ablationcam.probes.samples import Samples, joined_samples
from lightning_ablationcam.selection import evenly_chosen

DEFAULT_PROBES = 16
"""How many images :meth:`ProbeSet.from_dataset` takes by default."""

MAX_SIDE = 2**14
"""Most pixels that :meth:`ProbeSet.from_folder` scales a side to."""

_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}


class ProbeSet:
    """The fixed images whose heatmaps are followed through training.

    Args:
        inputs: What the model is fed, normalised as in training: images (N, C, H, W), signals
            (N, C, L) or volumes (N, C, D, H, W), or a dict, tuple or list of tensors with a row for
            each image, nested at will. A list of tensors of one image each is stacked.
        labels: Optional, for each image: N class indices; N x L of 0 and 1 or bool where an image
            has several classes; N floats, which are values, or classes if all are 0 or 1; or a map
            of classes, N x H x W.
        names: N names, optional; they become TensorBoard tags. Repeated names get a number.
        masks: (N, H, W) bool, where the object is, optional.
        class_names: Name of each class index, optional.
        mean: Mean that normalisation subtracted, one number or one for each channel.
        std: Standard deviation that normalisation divided by, likewise. With ``mean`` and ``std``
            pictures are shown in their true colours; without, each is stretched to its own range.
        shown: Over which tensor of several the heatmaps lie, by path, such as ``"image"`` or
            ``"views.0"``. Default the one with a name such as ``"image"`` or ``"pixel_values"``,
            else the only tensor of floats with the shape of images.
        bands: Which channels are shown as red, green and blue, or one for grey. Default all of
            three, and the grey mean of any other number.
        label_kind: What the labels are, ``"class"``, ``"multi-hot"``, ``"value"`` or ``"map"``,
            where their values do not say it, such as values that are all 0 or 1.
        batch: The whole batch, as a dict, tuple or list of tensors, for modules that are given one.

    Attributes:
        inputs: What the model is fed, on the CPU.
        shown: The path of the tensor that heatmaps lie over; None of a single tensor.
        labels: (N,) int64 classes, (N, L) bool several classes, (N,) float64 values, (N, H, W)
            int64 maps, or None.
        batch: The batch in which the probes came from a loader, a dataset or a validation, with
            None in the place of what is no tensor; or None. It has tensors in common with
            ``inputs``.
        unread: What is said of labels that were there and could not be read; else empty.

    Raises:
        TypeError: If ``inputs`` is not an array of images, or labels are no numbers.
        ValueError: If lengths or shapes do not fit each other.

    Example:
        >>> probes = ProbeSet(torch.rand(2, 1, 8, 8), labels=[3, 5], class_names="0123456789")
        >>> len(probes), probes.names
        (2, ['00_3', '01_5'])
        >>> ProbeSet({"image": torch.rand(2, 1, 8, 8), "age": torch.rand(2, 1)}).images.shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Sequence[Any] | Tensor | NDArray[Any] | None = None,
        names: Sequence[str] | None = None,
        masks: Tensor | NDArray[Any] | None = None,
        class_names: Sequence[str] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        shown: str | None = None,
        bands: int | Sequence[int] | None = None,
        label_kind: LabelKind | None = None,
        batch: Any = None,
    ) -> None:
        copy = copying()
        self.inputs, self.shown = checked_inputs(inputs, shown, copy)
        shape, channels = self.images.shape, self.images.shape[1]
        count = len(self)
        if label_kind is not None:
            check_choice("label_kind", label_kind, LABEL_KINDS)
        if isinstance(labels, Tensor) and is_dense(labels):
            labels = copy(labels)
        sizes = (count, *shape[2:])
        self.labels = None if labels is None else checked_labels(labels, sizes, label_kind)
        self.batch = checked_batch(batch, count, copy)
        self.masks = checked_masks(masks, shape)
        if class_names is not None:
            check_names("class_names", class_names)
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.mean = channel_statistics("mean", mean, channels)
        self.std = channel_statistics("std", std, channels)
        self.bands = checked_bands(bands, channels, signal=len(shape) == 3)
        self.names = checked_names(names, self._stems())
        self.unread = ""
        self._drawn: tuple[tuple[int, ...] | None, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        kind = {3: "signals", 4: "images", 5: "volumes"}[self.images.ndim]
        shape = "x".join(str(size) for size in self.images.shape[1:])
        others = len(list(tensors(self.inputs))) - 1
        more = f" and {others} more inputs" if others else ""
        return f"ProbeSet({len(self)} {kind} of {shape}{more}, {self.fingerprint[:12]})"

    @property
    def images(self) -> Tensor:
        """The tensor that heatmaps lie over, (N, C, H, W), (N, C, L) or (N, C, D, H, W)."""
        return self.inputs if self.shown is None else picture_of(self.inputs, self.shown)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the inputs and labels in hexadecimal: equal content, equal fingerprint."""
        digest = hashlib.sha256()
        parts = list(tensors(self.inputs))
        if self.labels is not None:
            parts.append(("", self.labels))
        for path, part in parts:
            digest.update(f"{path}{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def class_name(self, index: int) -> str:
        """The name of a class, or its index where it has none."""
        if self.class_names is not None and 0 <= index < len(self.class_names):
            return self.class_names[index]
        return f"class {index}"

    # ---- labels ------------------------------------------------------------------------------

    @property
    def label_kind(self) -> LabelKind | None:
        """What the labels are: ``"class"``, ``"multi-hot"``, ``"value"``, ``"map"`` or None."""
        return kind_of(self.labels)

    def label_texts(self) -> list[str | None]:
        """What captions show of each label: None where there is none, and of maps.

        Example:
            >>> several = [[True, True], [False, False]]
            >>> ProbeSet(torch.rand(2, 1, 4, 4), several, class_names=["cat", "dog"]).label_texts()
            ['cat, dog', None]
            >>> ProbeSet(torch.rand(2, 1, 4, 4), [25.0, 31.5]).label_texts()
            ['25.0', '31.5']
        """
        return texts(self.labels, len(self), self.class_name)

    def first_classes(self) -> Tensor:
        """(N,) int64: the class of each image, of several the first; -1 where it has none.

        Raises:
            ValueError: If the labels are no classes, or there are none.

        Example:
            >>> several = [[False, True, True], [False, False, False]]
            >>> ProbeSet(torch.rand(2, 1, 4, 4), several).first_classes()
            tensor([ 1, -1])
        """
        if self.labels is None or self.label_kind not in ("class", "multi-hot"):
            raise ValueError(f"the labels are of kind {self.label_kind!r}; expected classes")
        return self.labels if self.label_kind == "class" else nth_classes(self.labels, 0)

    def further_classes(self, most: int) -> list[Tensor]:
        """The second class of each image that has several, the third, and so on.

        Args:
            most: How many at most.

        Returns:
            (N,) int64 each, -1 where an image has no such class; as many as the image with the most
            classes has beside its first.

        Raises:
            ValueError: If ``most`` is below 1.

        Example:
            >>> several = [[False, True, True], [True, False, False]]
            >>> ProbeSet(torch.rand(2, 1, 4, 4), several).further_classes(5)
            [tensor([ 2, -1])]
        """
        check_count("most", most)
        if self.labels is None or self.label_kind != "multi-hot":
            return []
        largest = int(self.labels.sum(dim=1).max())
        return [nth_classes(self.labels, place) for place in range(1, min(largest, most + 1))]

    def _stems(self) -> list[str | None]:
        """What default names show of the labels."""
        if self.label_kind not in ("class", "multi-hot"):
            return [None] * len(self)
        known = self.class_names or ()
        return [
            (known[c] if c < len(known) else f"class{c}")
            if c >= 0
            else (None if self.label_kind == "multi-hot" else f"class{c}")
            for c in self.first_classes().tolist()
        ]

    # ---- what they look like -----------------------------------------------------------------

    def pictures(self, map_shape: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """The images as they look: (N, H, W, 3) uint8, normalisation undone, grey as RGB.

        Images with neither 1 nor 3 channels are shown as the grey mean of their channels, or as
        their ``bands``. Signals are drawn as curves over the whole width. Of volumes the slices at
        the depth positions of a heatmap are shown, at most 16, evenly chosen.

        Args:
            map_shape: The shape of the heatmaps that will lie over them, without N, such as
                ``result.heatmaps.shape[1:]``. It matters where there is depth: the tiles then are
                those in which :func:`~lightning_ablationcam.render.mosaic.flat_maps` lays out the
                heatmaps.

        Example:
            >>> ProbeSet(torch.rand(2, 1, 32, 64, 64)).pictures((8, 4, 4)).shape
            (2, 336, 336, 3)
        """
        key = None if map_shape is None else tuple(map_shape)
        # The same each time, and asked for several times in a pass.
        if self._drawn is None or self._drawn[0] != key:
            images = self.images
            if images.ndim == 3 and key is not None and len(key) == 2 and key[0] > 1:
                images = images[:, None]  # Grey images without channels, not signals.
            drawn = Display(self.mean, self.std, self.bands).pictures(images, map_shape)
            drawn.flags.writeable = False
            self._drawn = (key, drawn)
        return self._drawn[1]

    # ---- where they come from ----------------------------------------------------------------

    @classmethod
    def of_samples(
        cls, samples: Samples, label_kind: LabelKind | None = None, **options: Any
    ) -> ProbeSet:
        """The probe set of what was read, with labels where they can be read.

        Args:
            samples: What was read.
            label_kind: As in :class:`ProbeSet`, and so are the others.
            options: More arguments of :class:`ProbeSet`.
        """
        labels, sizes = samples.labels, (len(samples), *samples.images.shape[2:])
        unread = ""
        if labels is not None and readable(labels, sizes, label_kind) is None:
            unread, labels = f" that can be read ({worded(labels)} came with them)", None
        options["shown"] = options.get("shown") if samples.shown is None else samples.shown
        probes = cls(
            samples.inputs,
            labels,
            label_kind=None if labels is None else label_kind,
            batch=samples.batch,
            **options,
        )
        probes.unread = unread
        return probes

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
        shown: str | None = None,
        bands: int | Sequence[int] | None = None,
    ) -> ProbeSet:
        """Take images from a map-style dataset whose items are images with or without a label.

        Random transforms of the dataset run, but afterwards the dataset and the random number
        generators, its own and the global ones, are as before; see
        :func:`~lightning_ablationcam.probes.loader_state.kept_loader`.

        Args:
            dataset: Has ``__len__`` and ``__getitem__``; items are tensors, (tensor, label, ...)
                or dicts such as ``{"image": ..., "label": ...}``. Of what they are made of
                :func:`~lightning_ablationcam.probes.batches.split_batch` tells inputs from labels.
            indices: Which items to take.
            per_class: Take this many first items of each class, in the order of the classes. Labels
                are read from ``dataset.targets`` or the like if there is one, else item by item.
            n: Take this many items, evenly spread over the dataset. Default 16.
            names: As in :class:`ProbeSet`.
            class_names: As in :class:`ProbeSet`; default ``dataset.classes`` where there is one.
            mean: As in :class:`ProbeSet`.
            std: As in :class:`ProbeSet`.
            shown: As in :class:`ProbeSet`.
            bands: As in :class:`ProbeSet`.

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
                indices = _first_of_each_class(dataset, per_class, shown)
            elif indices is None:
                most = min(n or DEFAULT_PROBES, len(dataset))
                indices = evenly_chosen(len(dataset), most)
            chosen_items = [
                split_item(dataset[index], shown) for index in _indices(indices, len(dataset))
            ]
        return cls.of_samples(
            joined_samples(chosen_items),
            shown=shown,
            names=names,
            class_names=names_of_classes(dataset) if class_names is None else class_names,
            mean=mean,
            std=std,
            bands=bands,
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
        shown: str | None = None,
        bands: int | Sequence[int] | None = None,
    ) -> ProbeSet:
        """Take the first ``n`` images of a loader's batches.

        The loader goes on afterwards as if it had not been read: the random number generators and
        positions of the loader, its samplers and its dataset are restored, also with persistent
        workers, and a warning names what cannot be. What is not noticed, such as the attributes of
        classes and the state of connections, is listed at
        :func:`~lightning_ablationcam.probes.loader_state.kept_loader`.

        Args:
            loader: Yields batches: tensors, (tensor, labels, ...) or dicts, of which
                :func:`~lightning_ablationcam.probes.batches.split_batch` tells inputs from labels.
                It must start anew each time it is iterated; an iterator would lose the batches
                that are read.
            n: How many images; fewer if the loader ends.
            names: As in :class:`ProbeSet`.
            class_names: As in :class:`ProbeSet`.
            mean: As in :class:`ProbeSet`.
            std: As in :class:`ProbeSet`.
            shown: As in :class:`ProbeSet`.
            bands: As in :class:`ProbeSet`.

        Returns:
            The probe set.

        Raises:
            TypeError: If the loader is not iterable, or an iterator, or its batches hold no images.
            ValueError: If ``n`` is below 1 or the loader yields nothing.
        """
        check_count("n", n)
        _check_loader(loader)
        read: list[Samples] = []
        missing = n
        with kept_random_state(), kept_loader("loader", loader):
            for batch in loader:
                found = _split_batch_of_loader(batch, shown)
                read.append(found.rows(slice(missing)))
                missing -= len(read[-1])
                if missing <= 0:
                    break
        if not any(map(len, read)):
            raise ValueError(f"loader yielded no batch ({type(loader).__name__})")
        return cls.of_samples(
            joined_samples(read),
            shown=shown,
            names=names,
            class_names=class_names,
            mean=mean,
            std=std,
            bands=bands,
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
            raise FileNotFoundError(f"path={worded(str(path))} is not a folder")
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _IMAGE_SUFFIXES)
        if not files:
            raise ValueError(
                f"path={worded(str(path))} holds no picture; expected one of "
                f"{sorted(_IMAGE_SUFFIXES)}"
            )
        parts = [file.relative_to(folder).parts for file in files]
        labelled = all(len(part) > 1 for part in parts)
        classes = sorted({part[0] for part in parts}) if labelled else None
        pixels = np.stack([read_rgb(file, (width, height)) for file in files])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        inputs = images - per_channel(means, 0.0)
        return cls(
            inputs / per_channel(stds, 1.0),
            labels=[classes.index(part[0]) for part in parts] if classes else None,
            names=["/".join([*part[:-1], Path(part[-1]).stem]) for part in parts],
            class_names=classes,
            mean=0.0 if mean is None else mean,
            std=1.0 if std is None else std,
        )


def _sides(size: Any) -> tuple[int, int]:
    sides: Sequence[Any] = (
        size if isinstance(size, (list, tuple)) and len(size) == 2 else (size, size)
    )
    expected = f"expected a number of pixels or (height, width), each 1 to {MAX_SIDE}"
    if not all(isinstance(side, (int, np.integer)) and type(side) is not bool for side in sides):
        raise TypeError(f"size={worded(size)}; {expected}")
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(f"size={worded(size)}; {expected}")
    return int(sides[0]), int(sides[1])


def _check_dataset(dataset: Any) -> None:
    if isinstance(dataset, type) or not isinstance(dataset, Sized):
        raise TypeError(
            f"dataset={worded(dataset)} is a {type(dataset).__name__} without a length; use "
            "ProbeSet.from_dataloader for iterable datasets"
        )
    if isinstance(dataset, Mapping) or not hasattr(type(dataset), "__getitem__"):
        raise TypeError(
            f"dataset={worded(dataset)} is a {type(dataset).__name__}; expected a map-style "
            "dataset or a list of items"
        )
    try:
        count = len(dataset)
    except TypeError as error:  # From an array without dimensions, or a wrapper of a stream.
        raise TypeError(f"dataset={worded(dataset)} has no length") from error
    if not count:
        raise ValueError(
            f"dataset={worded(dataset)} is empty ({type(dataset).__name__} of length 0)"
        )


def _check_loader(loader: object) -> None:
    if isinstance(loader, Iterator):
        raise TypeError(
            f"loader={worded(loader)} is an iterator, which loses the batches read from it; pass "
            "what it iterates over, such as a DataLoader or a list of batches"
        )
    is_scalar = isinstance(loader, (Tensor, np.ndarray)) and not loader.ndim
    if isinstance(loader, type) or is_scalar or not isinstance(loader, Iterable):
        raise TypeError(
            f"loader={worded(loader)}; expected a DataLoader or another iterable of batches"
        )


def _split_batch_of_loader(batch: Any, chosen: str | None) -> Samples:
    try:
        found = split_batch(batch, chosen)
    except TypeError as error:
        raise TypeError(f"loader: {error}") from error
    if not 3 <= found.images.ndim <= 5:
        raise ValueError(
            f"loader yielded a batch of shape {tuple(found.images.shape)}; expected images of "
            "shape (N, C, H, W), (N, C, L) or (N, C, D, H, W)"
        )
    return found


def _first_of_each_class(dataset: Any, per_class: int, chosen: str | None) -> list[int]:
    found: dict[int, list[int]] = {}
    for index, label in enumerate(item_labels(dataset, chosen)):
        members = found.setdefault(label, [])
        if len(members) < per_class:
            members.append(index)
    return [index for label in sorted(found) for index in found[label]]


def _indices(indices: Sequence[int], length: int) -> list[int]:
    if isinstance(indices, Sequence) and not indices:
        raise ValueError(f"indices={worded(indices)} is empty; expected at least one")
    given = whole_numbers("indices", indices, "a list of whole numbers")
    if given.ndim != 1:
        raise TypeError(f"indices={worded(indices)}; expected a list of whole numbers")
    wrong = given[(given < -length) | (given >= length)]
    if len(wrong):
        raise ValueError(f"indices contains {int(wrong[0])}; the dataset has {length} items")
    return [int(index) for index in given]


def read_rgb(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a picture, upright, scaled to cover a size and cut to its middle.

    Args:
        file: The picture.
        size: (W, H), in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(ImageOps.fit(upright, size, Image.Resampling.BICUBIC))
