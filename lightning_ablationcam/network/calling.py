"""How a model is called, by what its ``forward`` takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from lightning_ablationcam.network.inputs import Inputs

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def call(model: nn.Module, inputs: Inputs) -> Any:
    """The default ``forward``: call the model with what it is fed.

    A dict is handed over by name where ``forward`` has parameters of these names (or takes any),
    and as a whole where it has one parameter of another name; a tuple or list one by one where
    ``forward`` asks for several.

    Example:
        >>> class Both(nn.Module):
        ...     def forward(self, image, depth):
        ...         return image + depth
        >>> call(Both(), {"image": 1, "depth": 2}), call(Both(), (1, 2))
        (3, 3)
    """
    if isinstance(inputs, Mapping) and _takes_names(model, list(inputs)):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)) and _takes_several(model):
        return model(*inputs)
    return model(inputs)


def parameters_of(model: nn.Module) -> list[inspect.Parameter]:
    """What a model's ``forward`` takes; nothing where that cannot be said."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []


def _takes_names(model: nn.Module, names: list[Any]) -> bool:
    taken = parameters_of(model)
    any_name = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken)
    known = {each.name for each in taken if each.kind is not inspect.Parameter.POSITIONAL_ONLY}
    required = {each.name for each in taken if _is_required(each)}
    return (any_name or known.issuperset(names)) and required.issubset(names)


def _takes_several(model: nn.Module) -> bool:
    taken = parameters_of(model)
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in taken):
        return True
    return sum(_is_required(each) for each in taken) > 1


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.kind in _POSITIONAL and parameter.default is inspect.Parameter.empty
