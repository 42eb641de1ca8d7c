"""Which classes of an image are explained: one, and perhaps further ones beside it."""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightning_ablationcam.arguments import shown
from lightning_ablationcam.method.heads.base import Head
from lightning_ablationcam.method.scores import Classes, resolve_classes

Also: TypeAlias = Sequence[Any]
"""Further classes: ``"rival"``, ``"predicted"``, ``"label"``, an int, or one int for each image."""

ROLES = ("rival", "predicted", "label")
_FURTHER_LABEL = re.compile(r"label [1-9]\d?", re.ASCII)
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
        if isinstance(entry, str) and entry not in ROLES and not is_further_label(entry):
            raise ValueError(f"also={shown(also)} asks for {shown(entry)}; {expected}")
        if isinstance(entry, (bool, float, type(None), bytes, dict)):
            raise TypeError(f"also={shown(also)} asks for {shown(entry)}; {expected}")
    names = [role_of(entry) for entry in also]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"also={shown(also)} names {shown(min(twice))} twice; once is enough")


def is_further_label(entry: object) -> bool:
    """Whether an entry asks for the second label of an image, the third, and so on."""
    return isinstance(entry, str) and _FURTHER_LABEL.fullmatch(entry) is not None


def role_of(entry: object) -> str:
    """What an entry of ``also`` is called in results and records.

    Example:
        >>> role_of("rival"), role_of(3), role_of([1, 2])
        ('rival', 'class 3', 'classes')
    """
    if isinstance(entry, str):
        return entry
    return f"class {entry}" if isinstance(entry, numbers.Integral) else "classes"


def is_word(value: object, word: str) -> bool:
    """Whether a value is this very word; the comparison with an array is an array."""
    return isinstance(value, str) and value == word


@dataclass(frozen=True, eq=False)
class Wanted:
    """The classes of N images.

    Attributes:
        first: (N,) int64, or None for the predicted ones; -1 for the predicted one of an image.
        also: Name of each further class, and its (N,) indices; None where the output decides. -1
            where an image has no such class.
        absent: Whether -1 has these meanings; otherwise it is a class like any other, and wrong.
        by_label: Whether the first ones are labels, which name no class where the output has none.
    """

    first: Tensor | None
    also: tuple[tuple[str, Tensor | None], ...] = ()
    absent: bool = False
    by_label: bool = False

    @classmethod
    def of(
        cls,
        classes: Classes,
        also: Also,
        count: int,
        device: torch.device,
        labels: Mapping[str, Tensor] | None = None,
    ) -> Wanted:
        """Check what the user asks for.

        Args:
            classes: As in :func:`~lightning_ablationcam.ablation_cam`; ``"label"`` where there are
                labels.
            also: Likewise, and ``"label"``.
            count: The number of images, N.
            device: Where the classes are wanted.
            labels: (N,) labels of the images, where they have any, under the names by which
                ``also`` asks for them: ``"label"``, and ``"label 2"`` for a second one.

        Raises:
            TypeError: If classes are not whole numbers.
            ValueError: If their number does not fit, or ``"label"`` is asked for without labels.
        """

        def resolved(entry: Any) -> Tensor | None:
            if isinstance(entry, str):
                if not entry.startswith("label"):
                    return None
                if entry not in (labels or {}):
                    raise ValueError(
                        f"also={entry!r}: there are no such labels; give the class of each image"
                    )
                entry = (labels or {})[entry]
            return resolve_classes(entry, count, device, name="also")

        by_label = labels is not None and is_word(classes, "label")
        if by_label:
            classes = (labels or {})["label"]
        first = None if classes is None else resolve_classes(classes, count, device)
        further = tuple((role_of(entry), resolved(entry)) for entry in also)
        return cls(first, further, absent=labels is not None, by_label=by_label)

    def rows(self, rows: slice) -> Wanted:
        """The same for some of the images."""
        cut = [(name, None if each is None else each[rows]) for name, each in self.also]
        first = None if self.first is None else self.first[rows]
        return replace(self, first=first, also=tuple(cut))

    def known_for(self, head: Head) -> Wanted:
        """The same without what cannot be said of an output: a rival where there is none."""

        def is_known(name: str, given: Tensor | None) -> bool:
            if given is None:
                return head.has_rivals if name == "rival" else head.predicts
            return head.predicts or not name.startswith("label") or head.task is None

        known = tuple(entry for entry in self.also if is_known(*entry))
        no_classes = self.by_label and head.task is not None and not head.predicts
        return replace(self, first=None if no_classes else self.first, also=known)

    @property
    def depends_on_output(self) -> bool:
        """Whether the output decides on any of the classes."""
        if self.first is None or (self.absent and bool((self.first < 0).any())):
            return True
        return any(each is None for _, each in self.also)

    def missing(self, classes: Tensor) -> Tensor:
        """(N, Q) bool, where an image has no such class."""
        return (classes < 0) if self.absent else torch.zeros_like(classes, dtype=torch.bool)

    @property
    def beside(self) -> list[bool]:
        """For each class whether it is read where the first one is."""
        return [False, *(name == "rival" and each is None for name, each in self.also)]

    def classes(self, head: Head, output: Any, count: int) -> Tensor:
        """(N, Q) int64, the class explained and then the further ones; -1 where there is none.

        Args:
            head: What the output means.
            output: What the model returned for ``count`` images.
            count: N.
        """
        first = self.first
        if first is None or (self.absent and bool((first < 0).any())):
            predicted = head.predicted(output, count)
            first = predicted if first is None else torch.where(first < 0, predicted, first)
        labels = [each for name, each in self.also if name.startswith("label") and each is not None]
        columns = [first]
        for name, each in self.also:
            if each is None and name == "rival":
                taken = torch.stack([first, *(label.to(first.device) for label in labels)], dim=1)
                each = head.settled(output, first).rival(output, taken)
            elif each is None:
                each = head.predicted(output, count)
            columns.append(each.to(first.device))
        return torch.stack(columns, dim=1)
