"""What a model says of itself: the task that it is made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from lightning_ablationcam.method.heads.base import Task

# As modules and configurations spell them.
_NAMES: Mapping[str, Task] = {
    "multiclass": "multiclass",
    "single_label_classification": "multiclass",
    "multilabel": "multilabel",
    "multi_label_classification": "multilabel",
    "binary": "binary",
    "regression": "regression",
}

_LOSS_NAMES = ("criterion", "loss", "loss_fn", "loss_func", "loss_function")
"""Attributes that hold the loss; another may be an auxiliary one."""

_LOSSES: Mapping[str, Task] = {
    "CrossEntropyLoss": "multiclass",
    "NLLLoss": "multiclass",
    "BCELoss": "multilabel",
    "BCEWithLogitsLoss": "multilabel",
    "MultiLabelSoftMarginLoss": "multilabel",
    "MSELoss": "regression",
    "L1Loss": "regression",
    "SmoothL1Loss": "regression",
    "HuberLoss": "regression",
}


def declared_task(model: nn.Module) -> tuple[Task | None, bool]:
    """The task that a model declares, by what is conventional.

    In this order: ``hparams["task"]`` or an attribute ``task`` (Lightning modules), the
    ``problem_type`` of a ``config`` (Hugging Face), the loss that it holds as ``criterion``,
    ``loss``, ``loss_fn``, ``loss_func`` or ``loss_function``. ``"multilabel"`` and ``"binary"``
    differ in the number of columns only.

    Args:
        model: The model.

    Returns:
        The task, or None, and whether it is the loss alone that tells.

    Example:
        >>> class Ages(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.criterion = nn.MSELoss()
        >>> declared_task(Ages())
        ('regression', True)
    """
    for name in _names(model):
        if name in _NAMES:
            return _NAMES[name], False
    losses = [type(getattr(model, name, None)).__name__ for name in _LOSS_NAMES]
    found = {_LOSSES[name] for name in losses if name in _LOSSES}
    return (found.pop(), True) if len(found) == 1 else (None, False)


def _names(model: nn.Module) -> Iterator[str]:
    hparams = getattr(model, "hparams", None)
    inner = [model, *model.children()]
    candidates: list[Any] = [
        hparams.get("task") if isinstance(hparams, Mapping) else None,
        getattr(model, "task", None),
        *(getattr(getattr(each, "config", None), "problem_type", None) for each in inner),
    ]
    yield from (name.lower() for name in candidates if isinstance(name, str))
