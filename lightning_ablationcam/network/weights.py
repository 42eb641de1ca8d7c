"""Read files of weights, safely, and load them into modules."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MAX_REASON_LENGTH = 300
"""Characters of torch's own words that a message repeats; it lists every parameter."""

_COMPILED = "_orig_mod."
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class CheckpointError(ValueError):
    """A file cannot be read, or its weights do not fit; the message says why."""


def read_checkpoint(path: Path, *, allow_unsafe_pickle: bool = False) -> dict[str, Any]:
    """Read a file that ``torch.save`` wrote; its tensors stay on the disk until they are used.

    Args:
        path: The file.
        allow_unsafe_pickle: Whether objects other than tensors and plain values are made, too,
            which can run any code that the file holds.

    Returns:
        What it holds, on the CPU.

    Raises:
        CheckpointError: If it cannot be read, holds other objects, or no dict.

    Example:
        >>> read_checkpoint(Path("no_such.ckpt"))
        Traceback (most recent call last):
        lightning_ablationcam.network.weights.CheckpointError: there is no such file
    """
    _check_file(path)
    try:
        with warnings.catch_warnings():
            # Of torch's own: that of old files it reads them in an old way.
            warnings.simplefilter("ignore", FutureWarning)
            found = torch.load(
                path,
                map_location="cpu",
                weights_only=not allow_unsafe_pickle,
                mmap=zipfile.is_zipfile(path),
            )
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unpickled(error)) from error
    # Whatever an object of the file raises, too, where they are allowed.
    except Exception as error:
        raise CheckpointError(f"it cannot be read: {_short(error)}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"it holds a {type(found).__name__}; expected a dict of weights")
    return found


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError("it is a folder, as of a sharded checkpoint; make one file of it")
    if not path.exists():
        raise CheckpointError("there is no such file")
    with path.open("rb") as file:
        begins_as_archive = file.read(2) == b"PK"
    if begins_as_archive and not zipfile.is_zipfile(path):
        raise CheckpointError("it is cut off: the end of the archive is missing")


def _unpickled(error: Exception) -> str:
    named = _GLOBAL.search(str(error))
    if named is None:
        return "it cannot be read: it is damaged, or torch.save did not write it"
    return (
        f"it holds a pickled {named[1]}, and making one can run any code; where you trust the "
        "file, allow unsafe pickle"
    )


def _short(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MAX_REASON_LENGTH else f"{text[: MAX_REASON_LENGTH - 3]}..."


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that a checkpoint holds: its ``state_dict``, or else the whole of it.

    Raises:
        CheckpointError: If it holds none.

    Example:
        >>> list(weights_of({"epoch": 3, "state_dict": {"weight": torch.ones(1)}}))
        ['weight']
    """
    weights = checkpoint.get("state_dict", checkpoint.get("model_state_dict", checkpoint))
    is_named = isinstance(weights, Mapping) and all(isinstance(name, str) for name in weights)
    if not is_named or not any(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError("it holds no weights; expected a state_dict")
    return dict(weights)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Load weights into a module, also where they are those of a module that holds it.

    Args:
        module: The module.
        weights: Its weights, by name; or all weights of a LightningModule that holds such a module
            as ``model`` or the like, from which those are taken; also where one of both was
            compiled.
        strict: Whether there must be all of them, and no others.

    Raises:
        CheckpointError: If they do not fit. Some may have been loaded.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> held = {"net.weight": torch.ones(1, 2), "net.bias": torch.ones(1)}
        >>> load_weights(layer, held)
        >>> layer.bias.item()
        1.0
    """
    try:
        module.load_state_dict(_fitting(weights, list(module.state_dict())), strict=strict)
    except RuntimeError as error:
        raise CheckpointError(
            f"its weights are not those of {type(module).__name__}: {_short(error)}"
        ) from error


def _fitting(weights: Mapping[str, Tensor], own: list[str]) -> Mapping[str, Tensor]:
    """The weights under the module's own names, if that can be told; else as they are."""
    if weights.keys() == set(own) or not own:
        return weights
    plain = {name.replace(_COMPILED, ""): tensor for name, tensor in weights.items()}
    names = {name.replace(_COMPILED, ""): name for name in own}
    first = next(iter(names))
    prefixes = [name[: -len(first)] for name in plain if name.endswith(first)]
    for prefix in prefixes:
        if prefix and not prefix.endswith("."):
            continue
        held = {n[len(prefix) :]: tensor for n, tensor in plain.items() if n.startswith(prefix)}
        if held.keys() == names.keys():
            return {names[name]: tensor for name, tensor in held.items()}
    return weights
