"""Collect probes from the batches of a validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.probes.batches import split_batch


class ProbeCapture:
    """Keeps at most ``wanted`` images, balanced over their classes, in the order they came.

    Once full, an image of a rarer class takes the place of the newest one of the commonest class.
    An image seen before, as when the sanity check and the first validation read the same batches,
    is not taken twice.

    Args:
        wanted: How many images to keep.

    Attributes:
        problem: The reason, if no image was kept.

    Example:
        >>> capture = ProbeCapture(2)
        >>> capture.offer((torch.arange(4.0).view(4, 1, 1, 1), torch.tensor([7, 7, 7, 8])))
        >>> capture.labels
        [7, 8]
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.problem = "no validation batch passed by"
        self._kept: list[tuple[Tensor, int | None, bytes]] = []
        self._counts: Counter[int | None] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def images(self) -> list[Tensor]:
        """The images kept, on the CPU."""
        return [image for image, _, _ in self._kept]

    @property
    def labels(self) -> list[int] | None:
        """Their class indices, or None unless all have one."""
        labels = [label for _, label, _ in self._kept if label is not None]
        return labels if len(labels) == len(self._kept) else None

    def offer(self, batch: Any) -> None:
        """Look through one batch and keep the images that are wanted.

        A batch whose images cannot be found, or have another shape than those kept, is skipped and
        noted in ``problem``: batches of another loader may still fit.
        """
        try:
            images, labels = split_batch(batch)
        except TypeError as error:
            self.problem = str(error)
            return
        if self._kept and (images.shape[1:], images.dtype) != self._kind:
            self.problem = f"images of shapes {tuple(self._kind[0])} and {tuple(images.shape[1:])}"
            return
        for row in range(len(images)):
            label = None if labels is None else labels[row]
            if len(self) < self.wanted or self._is_rarer(label):
                self._take(images[row], label)

    @property
    def _kind(self) -> tuple[torch.Size, torch.dtype]:
        first = self._kept[0][0]
        return first.shape, first.dtype

    def _is_rarer(self, label: int | None) -> bool:
        """Whether an image of this class makes the classes more even."""
        return label is not None and max(self._counts.values()) - self._counts[label] >= 2

    def _take(self, image: Tensor, label: int | None) -> None:
        # The Trainer validates in inference mode; the copy must be usable outside of it.
        with torch.inference_mode(False):
            copy = image.detach().cpu().clone()
        content = copy.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        digest = hashlib.sha256(content).digest()
        if any(digest == other for _, _, other in self._kept):
            return
        if len(self) == self.wanted:
            self._drop_newest(max(self._counts, key=lambda other: self._counts[other]))
        self._kept.append((copy, label, digest))
        self._counts[label] += 1

    def _drop_newest(self, label: int | None) -> None:
        place = max(place for place, kept in enumerate(self._kept) if kept[1] == label)
        del self._kept[place]
        self._counts[label] -= 1
