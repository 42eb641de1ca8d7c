"""Probes from the validation batches as they pass by."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.samples import split_batch


class ProbeCapture:
    """Keeps at most ``wanted`` images, balanced over their classes, in the order they came.

    Once full, an image of a rarer class takes the place of the newest one of the commonest class.
    An image seen before, as when the sanity check and the first validation read the same batches,
    is not taken twice.

    Args:
        wanted: How many images to keep.

    Attributes:
        problem: Why nothing was kept, where nothing was.

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
        """Look through one batch and keep what is worth keeping.

        A batch whose images cannot be found is passed over and noted in ``problem``: another one,
        of another loader, may do.
        """
        try:
            images, labels = split_batch(batch)
        except TypeError as error:
            self.problem = str(error)
            return
        for row in range(len(images)):
            label = None if labels is None else labels[row]
            if len(self) < self.wanted or self._place_for(label) is not None:
                self._take(images[row], label)

    def _take(self, image: Tensor, label: int | None) -> None:
        # Validation under the Trainer runs in inference mode; the copy must outlive it.
        with torch.inference_mode(False):
            copy = image.detach().cpu().clone()
        content = copy.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        digest = hashlib.sha256(content).digest()
        if any(digest == other for _, _, other in self._kept):
            return
        if len(self) == self.wanted:
            place = self._place_for(label)
            assert place is not None
            del self._kept[place]
        self._kept.append((copy, label, digest))

    def _place_for(self, label: int | None) -> int | None:
        """The place to give to an image of this class, if that makes the classes more even."""
        labels = [other for _, other, _ in self._kept]
        commonest = max(labels, key=labels.count)
        if label is None or labels.count(commonest) - labels.count(label) < 2:
            return None
        return max(place for place, other in enumerate(labels) if other == commonest)
