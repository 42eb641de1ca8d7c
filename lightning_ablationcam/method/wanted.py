"""Which classes of an image are explained: one, and perhaps further ones beside it."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.arguments import shown
from lightning_ablationcam.method.head import Head
from lightning_ablationcam.method.scores import Classes, has_class_columns, resolve_classes

Also: TypeAlias = Sequence[Any]
"""Further classes: ``"rival"``, ``"predicted"``, ``"label"``, an int, or one int for each image."""

ROLES = ("rival", "predicted", "label")
MAX_ALSO = 8
"""How many further classes are explained at most: each has maps that are kept and written."""

EXPLAINED = "explained"
"""The role of the class that is explained first."""


def check_also(also: object) -> None:
    """Raise unless ``also`` is a list of further classes.

    Raises:
        TypeError: If it is no list, or an entry is of the wrong kind.
        ValueError: If a name is not known, or an entry stands in it twice.
    """
    expected = f"expected a list of {', '.join(map(repr, ROLES))} and class indices, or ()"
    if isinstance(also, (str, bytes, bytearray)) or not isinstance(also, Sequence):
        raise TypeError(f"also={shown(also)}; {expected}")
    if len(also) > MAX_ALSO:
        raise ValueError(f"also={shown(also)} has {len(also)} entries; expected {MAX_ALSO} at most")
    for entry in also:
        if isinstance(entry, str) and entry not in ROLES:
            raise ValueError(f"also={shown(also)} asks for {shown(entry)}; {expected}")
        if isinstance(entry, (bool, float, type(None), bytes, dict)):
            raise TypeError(f"also={shown(also)} asks for {shown(entry)}; {expected}")
    names = [role_of(entry) for entry in also]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"also={shown(also)} names {shown(min(twice))} twice; once is enough")


def role_of(entry: object) -> str:
    """What an entry of ``also`` is called in results and records.

    Example:
        >>> role_of("rival"), role_of(3), role_of([1, 2])
        ('rival', 'class 3', 'classes')
    """
    if isinstance(entry, str):
        return entry
    return f"class {entry}" if isinstance(entry, numbers.Integral) else "classes"


@dataclass(frozen=True, eq=False)
class Wanted:
    """The classes of N images.

    Attributes:
        first: (N,) int64, or None for the predicted ones.
        also: Name of each further class, and its (N,) indices; None where the output decides.
    """

    first: Tensor | None
    also: tuple[tuple[str, Tensor | None], ...] = ()

    @classmethod
    def of(
        cls,
        classes: Classes,
        also: Also,
        count: int,
        device: torch.device,
        labels: Tensor | None = None,
    ) -> Wanted:
        """Check what the user asks for.

        Args:
            classes: As in :func:`~lightning_ablationcam.ablation_cam`.
            also: Likewise, and ``"label"``.
            count: The number of images, N.
            device: Where the classes are wanted.
            labels: (N,) labels of the images, where they have any.

        Raises:
            TypeError: If classes are not whole numbers.
            ValueError: If their number does not fit, or ``"label"`` is asked for without labels.
        """

        def resolved(entry: Any) -> Tensor | None:
            if isinstance(entry, str):
                if entry != "label":
                    return None
                if labels is None:
                    raise ValueError(
                        "also='label': there are no labels; give the class of each image"
                    )
                entry = labels
            return resolve_classes(entry, count, device, name="also")

        first = None if classes is None else resolve_classes(classes, count, device)
        return cls(first, tuple((role_of(entry), resolved(entry)) for entry in also))

    def rows(self, rows: slice) -> Wanted:
        """The same for some of the images."""
        cut = [(name, None if each is None else each[rows]) for name, each in self.also]
        return Wanted(None if self.first is None else self.first[rows], tuple(cut))

    def known_for(self, output: Any, count: int) -> Wanted:
        """The same without what cannot be said of an output that has no column for each class."""
        if has_class_columns(output, count):
            return self
        return Wanted(self.first, tuple(entry for entry in self.also if entry[1] is not None))

    @property
    def depends_on_output(self) -> bool:
        """Whether the output decides on any of the classes."""
        return self.first is None or any(each is None for _, each in self.also)

    def classes(self, head: Head, output: Any, count: int) -> Tensor:
        """(N, Q) int64, the class explained and then the further ones.

        Args:
            head: What the output means.
            output: What the model returned for ``count`` images.
            count: N.
        """
        first = head.predicted(output, count) if self.first is None else self.first
        columns = [first]
        for name, each in self.also:
            if each is None:
                wants_rival = name == "rival"
                each = head.rival(output, first) if wants_rival else head.predicted(output, count)
            columns.append(each.to(first.device))
        return torch.stack(columns, dim=1)
