"""Arrays and what is to be known of them in one file, which nothing can hide code in."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.files import replaced

_ABOUT = "about"


def write_archive(
    file: str | os.PathLike[str],
    kind: str,
    version: int,
    arrays: Mapping[str, NDArray[Any]],
    about: Mapping[str, Any],
) -> Path:
    """Write a compressed ``.npz`` that ``numpy.load`` reads without pickle.

    It replaces what was there once it is complete.

    Args:
        file: Where; the suffix is added where it lacks.
        kind: What it holds, so that another file is told apart from it.
        version: Of what is written; readers refuse a later one than they know.
        arrays: By name; none is called ``"about"``.
        about: What JSON can hold.

    Returns:
        The file, with its suffix.

    Raises:
        OSError: If it cannot be written.
    """
    target = Path(file)
    if target.suffix != ".npz":
        target = target.with_name(f"{target.name}.npz")
    said = json.dumps({"kind": kind, "version": version, **about})
    entries: dict[str, Any] = {**arrays, _ABOUT: np.array(said)}
    with replaced(target) as partial, partial.open("wb") as opened:
        np.savez_compressed(opened, **entries)
    return target


def read_archive(
    file: str | os.PathLike[str], kind: str, version: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_archive` has written.

    Args:
        file: The file.
        kind: What it has to hold.
        version: The latest that is known.

    Returns:
        The arrays by name, and what was said of them.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds something else, is damaged, or was written by a later version.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = write_archive(f"{folder}/a", "maps", 1, {"x": np.arange(3)}, {"of": "b"})
        ...     arrays, about = read_archive(file, "maps", 1)
        >>> arrays["x"], about["of"]
        (array([0, 1, 2]), 'b')
    """
    try:
        # NumPy leaves a damaged file open that it has opened itself.
        with Path(file).open("rb") as stream, np.load(stream, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
        about = json.loads(str(arrays.pop(_ABOUT)))
        found, of = str(about.pop("kind")), int(about.pop("version"))
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{os.fspath(file)!r} holds no {kind}, or is damaged: {error}") from error
    if found != kind:
        raise ValueError(f"{os.fspath(file)!r} holds a {found}, not a {kind}")
    if of > version:
        raise ValueError(
            f"{os.fspath(file)!r} was written by a later version of lightning-ablationcam "
            f"(format {of}; this one reads up to {version}); upgrade it"
        )
    return arrays, about
