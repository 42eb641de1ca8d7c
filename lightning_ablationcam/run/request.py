"""Which classes of a set of probes are explained, and where."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lightning_ablationcam.method.heads.base import Task
from lightning_ablationcam.method.wanted import MAX_ALSO, Also, is_further_label
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.probes.source import ExplainedClasses

_DECLARED: Mapping[str | None, Task] = {"value": "regression", "multi-hot": "multilabel"}


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of N probes, as ``explain_classes`` takes it.

    Attributes:
        classes: ``"label"``, None for the predicted class, an int, or N ints.
        also: Further classes.
        labels: (N,) what ``"label"``, ``"label 2"`` and so on in ``also`` stand for.
        masks: (N, H, W) where the object is, or the class at each place; or None.
        declared: What the labels say of the task.
        largest_label: The largest of labels that are classes.

    Example:
        >>> import torch
        >>> probes = ProbeSet(torch.rand(2, 1, 4, 4), [[True, True], [False, True]])
        >>> request = Request.of(probes, "label", ("rival",))
        >>> request.classes, request.also
        ('label', ['label 2', 'rival'])
    """

    classes: Any
    also: Also
    labels: Mapping[str, Tensor]
    masks: Tensor | None
    declared: Task | None
    largest_label: int | None = None

    @classmethod
    def of(cls, probes: ProbeSet, classes: ExplainedClasses, also: Also) -> Request:
        """What a monitor's ``classes`` and ``also`` ask of its probes.

        Of a probe that has several labels the first one is explained, and the others beside it. One
        without any shows what is predicted. Values and maps of classes name no class: the map says
        where, and the output which.
        """
        kind, masks, labels = probes.label_kind, probes.masks, {}
        if kind in ("class", "multi-hot"):
            of_labels = [probes.first_classes(), *probes.further_classes(MAX_ALSO)]
            labels = dict(zip(_NAMES, of_labels, strict=False))
        if classes == "label":
            wanted: Any = "label" if labels else None
            further = [name for name in labels if name != "label"][: MAX_ALSO - len(also)]
            also = [*further, *(entry for entry in also if not is_further_label(entry))]
        else:
            wanted = None if classes == "predicted" else classes
        if kind == "map" and masks is None and classes != "predicted":
            masks = probes.labels
        if masks is not None and masks.ndim < 3:
            masks = None  # A signal's are for measures; no output is a map of classes along it.
        declared, largest = _DECLARED.get(kind), None
        if probes.labels is not None and kind == "multi-hot" and probes.labels.sum(1).eq(1).all():
            declared = None  # They may as well be one class each, one-hot.
        if probes.labels is not None and kind == "class":
            largest = int(probes.labels.max())
        return cls(wanted, also, labels, masks, declared, largest)

    def rows(self, rows: slice) -> Request:
        """The same for some of the probes."""

        def some(each: Any) -> Any:
            is_for_all = each is None or isinstance(each, (str, numbers.Integral))
            return each if is_for_all else each[rows]

        classes = list(self.classes) if _is_list(self.classes) else self.classes
        return replace(
            self,
            classes=some(classes),
            also=[some(each) for each in self.also],
            labels={name: each[rows] for name, each in self.labels.items()},
            masks=some(self.masks),
        )


_NAMES = ["label", *(f"label {place}" for place in range(2, MAX_ALSO + 2))]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
