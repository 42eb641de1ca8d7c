"""Decide what a model's output means: by what the user says, what the model declares, its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from lightning_ablationcam.arguments import is_dense, shown
from lightning_ablationcam.method.heads.base import Activation, Head, Opaque, Task
from lightning_ablationcam.method.heads.classes import MultiClass, MultiLabel, OneLogit
from lightning_ablationcam.method.heads.regions import DenseRegression, Segmentation
from lightning_ablationcam.method.heads.values import Regression
from lightning_ablationcam.method.heads.vectors import Embeddings, OwnSimilarity, Similarity
from lightning_ablationcam.method.scores import checked_logits, has_class_columns, has_class_maps

AnyTask: TypeAlias = Task | Literal["auto"]
TASKS: tuple[str, ...] = ("auto", *get_args(Task))


@dataclass(frozen=True, eq=False)
class Meaning:
    """What is known of what a model does, before its output is seen.

    Attributes:
        task: What the user says; ``"auto"`` leaves it open.
        declared: What the model says of itself, or its labels tell, where they do.
        by_loss: Whether it is the model's loss alone that says so.
        largest_label: The largest of labels that are classes, where there are such.
        embeddings: What embeddings are compared with.
        masks: (N, H, W) the regions of images, or the class at each place; see
            :class:`~lightning_ablationcam.method.heads.regions.Segmentation`.

    Example:
        >>> type(Meaning().head(torch.zeros(2, 1), 2)).__name__
        'OneLogit'
        >>> type(Meaning("regression").head(torch.zeros(2, 1), 2)).__name__
        'Regression'
    """

    task: AnyTask = "auto"
    declared: Task | None = None
    by_loss: bool = False
    largest_label: int | None = None
    embeddings: Embeddings = None
    masks: Tensor | None = None

    def rows(self, rows: slice) -> Meaning:
        """The same for some of the images."""
        return self if self.masks is None else replace(self, masks=self.masks[rows])

    def head(self, output: Any, count: int, activation: Activation = None) -> Head:
        """The head that reads an output.

        Args:
            output: What the model returned for ``count`` images; anything, with a score callable.
            count: How many images there are.
            activation: What the model applied last, where that is known.

        Returns:
            The head; of an output that only a score callable can read, one that raises on anything
            else.
        """
        task = self._decided(output, count)
        columns = has_class_columns(output, count)
        places = has_class_maps(output, count, 3 if task == "segmentation" else 4)
        if not (columns or places):
            return Opaque(_unreadable(output, count))
        fits = {
            "segmentation": places,
            "regression": places or columns,
            "binary": columns and output.shape[1] == 1,
        }
        if not fits.get(task, columns):
            return Opaque(_unfit(task, output))
        # Where each place has one label, it has one class.
        of_classes = self.masks is not None and self.masks.dtype != torch.bool
        makers: Mapping[str, Callable[[], Head]] = {
            "multiclass": lambda: MultiClass(activation),
            "multilabel": lambda: MultiLabel(activation),
            "binary": lambda: OneLogit(activation),
            "regression": lambda: DenseRegression(self.masks) if places else Regression(),
            "segmentation": lambda: Segmentation(
                self.masks, activation, several=self.declared == "multilabel" and not of_classes
            ),
            "similarity": self._similarity,
        }
        return makers[task]()

    def _decided(self, output: Any, count: int) -> Task:
        if self.task != "auto":
            return self.task
        if self.embeddings is not None:
            return "similarity"
        if has_class_maps(output, count):
            return "regression" if self.declared == "regression" else "segmentation"
        one = has_class_columns(output, count) and output.shape[1] == 1
        declared = None if self._contradicted(one) else self.declared
        if declared == "regression":
            return "regression"
        if one:
            return "binary"
        return "multilabel" if declared == "multilabel" else "multiclass"

    def _contradicted(self, one: bool) -> bool:
        """Whether labels that are classes speak against what the loss alone says.

        A loss may be there for something else than the labels. Of whole numbers that no single
        column can tell apart it is believed that they are quantities, such as ages.
        """
        if not self.by_loss or self.largest_label is None:
            return False
        return self.largest_label <= 1 or not one

    def _similarity(self) -> Head:
        if isinstance(self.embeddings, Tensor):
            return Similarity(self.embeddings)
        return OwnSimilarity()


def check_task(task: AnyTask, embeddings: Embeddings) -> None:
    """Raise a ``ValueError`` unless a task is known, and goes with the embeddings."""
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"task={shown(task)} is not known; choose {', '.join(map(repr, TASKS))}")
    if embeddings is not None and task not in ("auto", "similarity"):
        raise ValueError(
            f"embeddings goes with task='similarity' or 'auto', and task={shown(task)}"
        )
    if embeddings is None and task == "similarity":
        raise ValueError(
            "task='similarity' needs embeddings: a tensor (C, D) to compare with, or 'own' for the "
            "image's own"
        )


def check_masks(masks: object, count: int) -> None:
    """Raise unless masks are (N, H, W), of bool or of whole numbers.

    Raises:
        TypeError: If they are of another kind.
        ValueError: If their shape does not fit.
    """
    expected = "expected a tensor (N, H, W): bool, the region, or int, the class at each place"
    if masks is None:
        return
    if not isinstance(masks, Tensor) or not is_dense(masks):
        raise TypeError(f"masks={shown(masks)}; {expected}")
    if masks.is_floating_point() or masks.is_complex():
        raise TypeError(f"masks={shown(masks)}; {expected}")
    if masks.ndim < 3 or len(masks) != count or not masks.numel():
        raise ValueError(f"masks={shown(masks)} for {count} images; {expected}")


def _unreadable(output: Any, count: int) -> Exception:
    try:
        checked_logits(output, count)
    except (TypeError, ValueError) as error:
        return error
    return ValueError("the output cannot be read")


def _unfit(task: str, output: Tensor) -> Exception:
    fits = {
        "segmentation": "(N, C, H, W)",
        "binary": "(N, 1)",
    }.get(task, "(N, C)")
    return ValueError(
        f"task={task!r} does not fit the model's output of shape {tuple(output.shape)}; it is for "
        f"outputs {fits}"
    )


def masks_as_given(masks: Tensor) -> Tensor:
    """Masks as heads take them: bool, or int64."""
    return masks if masks.dtype == torch.bool else masks.long()
