"""Collect probes from the batches of a validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.network.inputs import tensors
from lightning_ablationcam.probes.batches import AmbiguousBatchError, split_batch
from lightning_ablationcam.probes.labels import LabelKind, kind_of, readable
from lightning_ablationcam.probes.samples import Samples, joined_samples


class ProbeCapture:
    """Keeps at most ``wanted`` images, balanced over their classes, in the order they came.

    Once full, an image of a rarer class takes the place of the newest one of the commonest class.
    An image of several classes counts as one of the rarest of them, and those without any as a
    class of their own. Values and maps are not balanced. An image seen before, as when the sanity
    check and the first validation read the same batches, is not taken twice.

    Args:
        wanted: How many images to keep.
        labelled: Whether labels are needed; where they are not, the first of several tensors is
            kept of a batch of which it cannot be told what is what.

    Attributes:
        problem: The reason, if no image was kept.
        notes: What the user should know of what was kept.

    Example:
        >>> capture = ProbeCapture(2)
        >>> capture.offer((torch.arange(4.0).view(4, 1, 1, 1), torch.tensor([7, 7, 7, 8])))
        >>> capture.samples.labels
        tensor([7, 8])
    """

    def __init__(self, wanted: int, *, labelled: bool = True) -> None:
        self.wanted = wanted
        self.labelled = labelled
        self.problem = "no validation batch passed by"
        self.notes: list[str] = []
        self._kept: list[tuple[Samples, int | None, bytes]] = []
        self._counts: Counter[int | None] = Counter()
        self._are_values = False

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def samples(self) -> Samples:
        """What was kept, at least one image, on the CPU."""
        return joined_samples([sample for sample, _, _ in self._kept])

    @property
    def label_kind(self) -> LabelKind | None:
        """``"value"`` if a label was one that is not 0 or 1, whether it was kept or not."""
        return "value" if self._are_values else None

    def offer(self, batch: Any) -> None:
        """Look through one batch and keep the images that are wanted.

        A batch whose images cannot be found, or whose inputs have other shapes than those kept, is
        skipped and noted in ``problem``: batches of another loader may still fit.
        """
        try:
            found = split_batch(batch)
        except AmbiguousBatchError as error:
            self.problem = str(error)
            if self.labelled or not isinstance(error.first, Tensor):
                return
            self._note(f"the first of several tensors is fed: {error}")
            found = Samples(error.first)
        except TypeError as error:
            self.problem = str(error)
            return
        if self._kept and self._kept[0][0].form != found.form:
            alike = self._like_those_kept(found)
            if alike is None:
                return
            found = alike
        labels = self._read(found)
        for row in range(len(found)):
            classes = [None] if labels is None else self._classes(labels[row])
            label = min(classes, key=lambda each: self._counts[each])
            if len(self) < self.wanted or self._is_rarer(label):
                self._take(found.rows(slice(row, row + 1)), label)

    def _like_those_kept(self, found: Samples) -> Samples | None:
        """A batch of another form as the images alone, and those kept as well; else None."""
        first = self._kept[0][0]
        if (first.images.shape[1:], first.images.dtype) != (
            found.images.shape[1:],
            found.images.dtype,
        ):
            self.problem = f"inputs of different shapes, {first.described} and {found.described}"
            self._note(f"batches were passed over: {self.problem}")
            return None
        self._note("what is fed beside the images differs from batch to batch, and is left out")
        # What else is fed differs from batch to batch, such as words, each as long as its longest.
        self._kept = [(kept.alone, label, content) for kept, label, content in self._kept]
        return found.alone

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _read(self, found: Samples) -> Tensor | None:
        """The labels of a batch, if they are classes."""
        if found.labels is None:
            return None
        labels = readable(found.labels.detach().cpu(), (len(found), *found.images.shape[2:]))
        kind = kind_of(labels)
        self._are_values |= kind == "value"
        return None if self._are_values or kind == "map" else labels

    def _classes(self, label: Tensor) -> list[int | None]:
        if not label.ndim:
            return [int(label)]
        return [*label.nonzero().flatten().tolist()] or [-1]

    def _is_rarer(self, label: int | None) -> bool:
        """Whether an image of this class makes the classes more even."""
        return label is not None and max(self._counts.values()) - self._counts[label] >= 2

    def _take(self, sample: Samples, label: int | None) -> None:
        digest = hashlib.sha256()
        for _, tensor in tensors(sample.inputs):
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        content = digest.digest()
        if any(content == other for _, _, other in self._kept):
            return
        if len(self) == self.wanted:
            self._drop_newest(max(self._counts, key=lambda other: self._counts[other]))
        self._kept.append((sample, label, content))
        self._counts[label] += 1

    def _drop_newest(self, label: int | None) -> None:
        place = max(place for place, kept in enumerate(self._kept) if kept[1] == label)
        del self._kept[place]
        self._counts[label] -= 1
