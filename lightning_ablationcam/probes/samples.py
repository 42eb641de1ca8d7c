"""Images as they come from datasets and loaders, with what comes along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.network.inputs import Inputs, count_of, mapped, tensors


@dataclass(frozen=True, eq=False)
class Samples:
    """Some images, with what belongs to them. Parts may have tensors in common.

    Attributes:
        inputs: What the model is fed, a tensor (N, ...) or a nested structure of them.
        shown: The path of the tensor in ``inputs`` that heatmaps lie over; None of a single tensor.
        labels: (N, ...) as they came, or None.
        batch: The whole batch, tensors only, or None where it is the tensor of images alone.
    """

    inputs: Inputs
    shown: str | None = None
    labels: Tensor | None = None
    batch: Inputs = None

    def __len__(self) -> int:
        return count_of(self.inputs)

    @property
    def images(self) -> Tensor:
        """The tensor that heatmaps lie over."""
        if self.shown is None:
            picture: Tensor = self.inputs
            return picture
        return dict(tensors(self.inputs))[self.shown]

    @property
    def alone(self) -> Samples:
        """The images alone, with their labels."""
        return Samples(self.images, None, self.labels)

    @property
    def form(self) -> list[tuple[str, torch.Size, torch.dtype]]:
        """What inputs must have in common to be fed together."""
        return [(path, each.shape[1:], each.dtype) for path, each in tensors(self.inputs)]

    @property
    def described(self) -> str:
        """Shapes and dtypes of one image's inputs, for messages."""
        return ", ".join(
            " ".join(filter(None, [path and repr(path), str(tuple(shape)), str(dtype)]))
            for path, shape, dtype in self.form
        )

    def changed(self, change: Callable[[Tensor], Tensor]) -> Samples:
        """Each tensor changed; what parts have in common they have in common afterwards."""
        made: dict[int, Tensor] = {}

        def once(tensor: Tensor) -> Tensor:
            if id(tensor) not in made:
                made[id(tensor)] = change(tensor)
            return made[id(tensor)]

        labels = None if self.labels is None else once(self.labels)
        return Samples(mapped(self.inputs, once), self.shown, labels, mapped(self.batch, once))

    def rows(self, rows: slice) -> Samples:
        """Copies of some of the images, on the CPU, which can be used outside inference mode."""
        # The Trainer validates in inference mode.
        with torch.inference_mode(False):
            return self.changed(lambda tensor: tensor[rows].detach().cpu().clone())


def joined_samples(parts: Sequence[Samples]) -> Samples:
    """Images after one another, with labels and batches where all of them have such.

    Args:
        parts: At least one.

    Raises:
        ValueError: If their inputs cannot be fed together.

    Example:
        >>> joined_samples([Samples(torch.zeros(1, 2)), Samples(torch.ones(2, 2))]).inputs.shape
        torch.Size([3, 2])
    """
    first = parts[0]
    if len({(part.shown, *map(str, part.form)) for part in parts}) > 1:
        shapes = {tuple(part.images.shape[1:]) for part in parts}
        if len(shapes) > 1:
            raise ValueError(
                f"inputs have different shapes {sorted(shapes)[:4]}; a probe set is fed in one "
                "batch, so resize or crop the images to one shape"
            )
        other = next(part for part in parts if part.form != first.form)
        raise ValueError(
            f"inputs differ between images, {first.described} and {other.described}; a probe set "
            "is fed in one batch"
        )
    made: dict[int, Tensor] = {}
    labels = [part.labels for part in parts if part.labels is not None]
    return Samples(
        _joined([part.inputs for part in parts], made),
        first.shown,
        _joined(labels, made) if len(labels) == len(parts) else None,
        _joined([part.batch for part in parts], made),
    )


def _joined(parts: Sequence[Inputs], made: dict[int, Tensor]) -> Any:
    """Structures of tensors after one another; None where they are not alike."""
    leaves = [dict(tensors(part)) for part in parts]
    paths = list(leaves[0])
    if not paths or any(each.keys() != leaves[0].keys() for each in leaves):
        return None
    columns = [[each[path] for each in leaves] for path in paths]
    if any(len({tensor.shape[1:] for tensor in column}) > 1 for column in columns):
        return None
    for column in columns:
        if id(column[0]) not in made:
            made[id(column[0])] = torch.cat(_of_one_dtype(column))
    return mapped(parts[0], lambda tensor: made[id(tensor)])


def _of_one_dtype(column: Sequence[Tensor]) -> list[Tensor]:
    """Labels may be whole in one batch and not in the next."""
    dtypes = {tensor.dtype for tensor in column}
    if len(dtypes) == 1:
        return list(column)
    floats = any(tensor.is_floating_point() for tensor in column)
    return [tensor.to(torch.float64 if floats else torch.int64) for tensor in column]
