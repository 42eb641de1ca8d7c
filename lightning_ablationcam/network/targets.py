"""Which value of a network is explained: what a module returns, is given, or what becomes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from torch import nn

from lightning_ablationcam.arguments import shown
from lightning_ablationcam.network.layers import LayerError, find_layer

Part: TypeAlias = Literal["output", "activation", "input"]
PARTS: tuple[str, ...] = get_args(Part)

_FORM = re.compile(r"(?P<name>.+?)(?:#(?P<call>-?\d{1,6}))?(?::(?P<part>[a-z]+))?", re.ASCII)
_FORMS = "'name:activation', 'name:input', 'name#0' or 'name#-1' for one of several calls"


@dataclass(frozen=True, eq=False)
class Target:
    """A value in a network.

    Attributes:
        module: The module that it is found at.
        name: The module's dotted name.
        call: Which of the module's calls in one forward pass, from 0, or from the end if negative;
            None where it must run once.
        part: ``"output"`` is what the module returns, ``"input"`` what it is given, and
            ``"activation"`` what the pointwise operations that follow it make of its output.
    """

    module: nn.Module
    name: str
    call: int | None = None
    part: Part = "output"

    def __str__(self) -> str:
        call = "" if self.call is None else f"#{self.call}"
        return f"{self.name}{call}" + ("" if self.part == "output" else f":{self.part}")


def find_target(model: nn.Module, target_layer: str | nn.Module) -> Target:
    """Find what the user names in a model.

    Args:
        model: The module to look in.
        target_layer: A module, or ``"name"``, ``"name:activation"``, ``"name:input"``, ``"name#0"``
            and ``"name#-1"`` for one of several calls, and what these combine to.

    Returns:
        The target.

    Raises:
        TypeError: If ``target_layer`` is neither a name nor a module, or is a ScriptModule.
        LayerError: If there is no such module or part; the message lists what there is.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> str(find_target(model, "0:activation")), find_target(model, "1#-1").call
        ('0:activation', -1)
    """
    if isinstance(target_layer, str) and not _is_module(model, target_layer):
        form = _FORM.fullmatch(target_layer)
        if form and (form["call"] or form["part"]):
            name, module = find_layer(model, form["name"])
            call = None if form["call"] is None else int(form["call"])
            return Target(module, name, call, _part(target_layer, form["part"]))
    name, module = find_layer(model, target_layer)
    return Target(module, name)


def _is_module(model: nn.Module, name: str) -> bool:
    """Whether a name is a module's as it stands; it may have any letter in it but a dot."""
    try:
        return bool(name) and isinstance(model.get_submodule(name), nn.Module)
    except AttributeError:
        return False


def _part(target_layer: str, part: str | None) -> Part:
    if part is None:
        return "output"
    if part not in PARTS:
        raise LayerError(f"target_layer={shown(target_layer)} asks for {part!r}; choose {_FORMS}")
    return part  # type: ignore[return-value]
