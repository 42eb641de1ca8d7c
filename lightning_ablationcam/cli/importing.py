"""Find what a user names on the command line: a class, a factory, a torchvision model."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from lightning_ablationcam.arguments import shown


def imported(argument: str, name: str) -> Any:
    """What ``package.module:name`` names; the current directory is searched as well.

    Args:
        argument: The argument that it was given as, for messages.
        name: The module, a colon and a dotted name in it.

    Raises:
        ValueError: If it is not spelled so.
        ImportError: If there is no such module or name, or importing it fails.

    Example:
        >>> imported("--data", "collections:OrderedDict").__name__
        'OrderedDict'
    """
    module_name, colon, path = name.partition(":")
    if not (colon and module_name and path):
        raise ValueError(
            f"{argument}={shown(name)}; expected package.module:name, such as my_project.nets:Net"
        )
    here = str(Path.cwd())
    if here not in sys.path:  # A console script's path begins with its own folder instead.
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ImportError(
            f"{argument}={shown(name)}: {module_name} cannot be imported: {error}. Run this where "
            "its folder is, or install it"
        ) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            close = get_close_matches(part, [n for n in dir(found) if n[:1] != "_"], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ImportError(
                f"{argument}={shown(name)}: {module_name} has no {path!r}{hint}"
            ) from error
    return found


def maker_of(argument: str, name: str) -> Any:
    """What makes a network: a class or another callable, or a network that is there already.

    Args:
        argument: The argument that it was given as, for messages.
        name: ``package.module:name``, or the name of a torchvision model.

    Raises:
        ValueError: If there is no torchvision model of this name.
        ImportError: See :func:`imported`.
        TypeError: If it is neither callable nor a network.
    """
    if ":" not in name:
        return _of_torchvision(argument, name)
    found = imported(argument, name)
    if not (callable(found) or isinstance(found, nn.Module)):
        raise TypeError(
            f"{argument}={shown(name)} is a {type(found).__name__}; expected a class, a callable "
            "that makes a network, or a network"
        )
    return found


def made(argument: str, maker: Any, init: Mapping[str, Any], what: type = nn.Module) -> Any:
    """What a class or a callable makes; what is there already is taken as it is.

    Args:
        argument: The argument that it was given as, for messages.
        maker: The class or callable, or one of the wanted kind.
        init: Its arguments.
        what: The kind that is wanted.

    Raises:
        TypeError: If it cannot be called so, or makes something else.
        ValueError: If there are arguments for what is there already.
    """
    if isinstance(maker, what) and not isinstance(maker, type):
        if init:
            raise ValueError(f"{argument} is there already and takes no --init.{next(iter(init))}")
        return maker
    try:
        result = maker(**init)
    except TypeError as error:
        called = getattr(maker, "__qualname__", type(maker).__qualname__)
        raise TypeError(
            f"{argument}: {called} cannot be called with {_spelled(init)}: {error}"
        ) from error
    if not isinstance(result, what):
        raise TypeError(f"{argument} makes a {type(result).__name__}; expected a {what.__name__}")
    return result


def _spelled(init: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name}={shown(value)}" for name, value in init.items())
    return listed or "no arguments (give them as --init.name value)"


def _of_torchvision(argument: str, name: str) -> Any:
    from torchvision.models import get_model_builder, list_models

    with suppress(ValueError):
        return get_model_builder(name)
    close = get_close_matches(name, list_models(), n=3)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise ValueError(
        f"{argument}={shown(name)} is no model of torchvision{hint}; give one such as resnet18, or "
        "package.module:name"
    )
