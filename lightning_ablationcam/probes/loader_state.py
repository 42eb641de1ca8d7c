"""Keep what reading changes in a loader or a dataset, and restore it."""

from __future__ import annotations

import functools
import io
import numbers
import random
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

LONGEST = 1000
"""A container with more entries counts as data and is not searched for generators."""

_VALUES = (type(None), str, bytes, numbers.Number, range, Tensor, np.ndarray)
_CLOSED = (*_VALUES, bytearray, type, ModuleType)
_CHANGING: tuple[type[Any], ...] = (list, dict, set, deque)
_SEQUENCES = (list, tuple, set, frozenset, deque)

_GiveBack = Callable[[], object]


@contextmanager
def kept_loader(name: str, loader: object) -> Iterator[None]:
    """Let a loader or a dataset be read, and go on afterwards as if it had not been.

    In all its parts (samplers, datasets in datasets, transforms, functions and what they close
    over), the state of the random number generators of torch, NumPy and Python is restored. In
    loaders, samplers and datasets, that is in objects that can be iterated or indexed, so are the
    attributes and the lists, dicts and sets they hold: positions, epochs, shuffle buffers. An
    object is left as it is if something that an attribute held has been replaced, such as a file
    that was closed for the next one. The persistent workers of a loader are not used: others are
    started in their place.

    A warning names what cannot be restored, such as an iterator inside. Not noticed are writes to
    tensors, the contents of the standard library's objects, and what is outside of Python's memory,
    such as the position in a file or a connection.

    Args:
        name: The argument's name, for the warning.
        loader: A DataLoader, any iterable, or a dataset.

    Example:
        >>> class Counting(torch.utils.data.Dataset):
        ...     reads = 0
        ...
        ...     def __getitem__(self, index):
        ...         self.reads += 1
        ...         return self.reads
        >>> dataset = Counting()
        >>> with kept_loader("dataset", dataset):
        ...     dataset[0], dataset[0]
        (1, 2)
        >>> dataset.reads
        0
    """
    parts = list(_reachable(name, loader))
    generators = [give_back for _, part in parts if (give_back := _rewinding(part)) is not None]
    attributes = [(path, _Attributes(part)) for path, part in parts if _is_read(part)]
    loaders = [part for _, part in parts if isinstance(part, DataLoader)]
    given_up = [
        path for path, part in parts if _is_spent(part) and not _is_a_workers(part, loaders)
    ]
    workers = [_spared_workers(part) for part in loaders]
    try:
        yield
    finally:
        for give_back in workers + generators:
            give_back()
        given_up += [path for path, kept in attributes if not kept.give_back() and kept.is_in_order]
    if given_up:
        kinds = {path: type(part).__name__ for path, part in parts}
        warnings.warn(
            f"{', '.join(f'{path}, a {kinds[path]},' for path in given_up[:3])} cannot be put back "
            f"where it was before the probes were read, so {name} may go on after them; read the "
            f"probes from a separate {name}",
            stacklevel=4,  # Past contextlib's frame and the classmethod's.
        )


def _reachable(path: str, root: object) -> Iterator[tuple[str, Any]]:
    """All parts of a thing, each once, with the expression that leads to it."""
    seen: dict[int, object] = {}
    waiting = deque([(path, root)])
    while waiting:
        path, thing = waiting.popleft()
        if id(thing) not in seen and not isinstance(thing, _CLOSED):
            seen[id(thing)] = thing  # Kept, so that its id is not used again.
            yield path, thing
            waiting.extend(_parts(path, thing))


def _parts(path: str, thing: Any) -> Iterator[tuple[str, object]]:
    if isinstance(thing, functools.partial):
        parts = {"func": thing.func, "args": thing.args, "keywords": thing.keywords}
    elif isinstance(thing, MethodType):
        parts = {"__self__": thing.__self__}
    elif isinstance(thing, FunctionType):
        cells = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
        parts = {name: _content(cell) for name, cell in cells}
        parts |= {"__defaults__": thing.__defaults__, "__kwdefaults__": thing.__kwdefaults__}
    else:
        parts = {} if _is_standard(thing) else _attributes(thing)
    if isinstance(thing, DataLoader):
        parts.pop("_iterator", None)  # Its queues and processes; see _spared_workers.
    for name, part in parts.items():
        yield f"{path}.{name}", part
    if isinstance(thing, (dict, *_SEQUENCES)) and len(thing) <= LONGEST:
        entries = thing.items() if isinstance(thing, dict) else enumerate(thing)
        for key, part in entries:
            yield f"{path}[{key!r:.40}]", part


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # The variable is not bound yet.
        return None


def _attributes(thing: object) -> dict[str, object]:
    slots = [
        name for cls in type(thing).__mro__ for name in _listed(vars(cls).get("__slots__", ()))
    ]
    found = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    return {**found, **getattr(thing, "__dict__", {})}


def _listed(slots: str | Iterable[str]) -> list[str]:
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if not name.startswith("__")]


def _is_standard(thing: object) -> bool:
    """Whether it is a thread, lock, queue, file ..., whose attributes are not its whole state."""
    return type(thing).__module__.partition(".")[0] in sys.stdlib_module_names


def _is_read(thing: object) -> bool:
    """Whether it is a loader, a sampler or a dataset: it can be iterated or indexed."""
    kind = type(thing)
    readable = hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")
    return readable and hasattr(thing, "__dict__") and not _is_standard(thing)


def _is_spent(thing: object) -> bool:
    """Whether it is an iterator without attributes, such as a generator: it cannot be rewound."""
    is_file = isinstance(thing, io.IOBase)
    return isinstance(thing, Iterator) and not is_file and not hasattr(thing, "__dict__")


def _is_a_workers(thing: object, loaders: Iterable[DataLoader[Any]]) -> bool:
    """Whether only worker processes read it, which have copies."""
    return any(
        thing is part
        for loader in loaders
        if loader.num_workers
        for _, part in _reachable("", loader.dataset)
    )


def _spared_workers(loader: DataLoader[Any]) -> _GiveBack:
    """Make a loader start new workers in each iteration, until the returned function is called.

    Persistent workers hold copies of the dataset, which must not be read.
    """
    state = vars(loader)  # The loader refuses to have these attributes set.
    spared: dict[str, Any] = {"persistent_workers": False, "_iterator": None}
    kept = {name: state[name] for name in spared if name in state}
    state.update(spared)
    return lambda: state.update(kept)


def _rewinding(thing: Any) -> _GiveBack | None:
    """A function that restores a generator's present state; None if it is no generator."""
    if isinstance(thing, np.random.Generator):
        thing = thing.bit_generator
    if isinstance(thing, np.random.BitGenerator):
        return functools.partial(setattr, thing, "state", thing.state)
    if isinstance(thing, torch.Generator):
        return functools.partial(thing.set_state, thing.get_state())
    if isinstance(thing, np.random.RandomState):
        return functools.partial(thing.set_state, thing.get_state())
    if isinstance(thing, random.Random) and not isinstance(thing, random.SystemRandom):
        return functools.partial(thing.setstate, thing.getstate())
    return None


class _Attributes:
    """The attributes of an object and what the containers among them hold.

    Args:
        owner: The object.

    Attributes:
        is_in_order: Whether what the object yields may depend on what was read before.
    """

    def __init__(self, owner: object) -> None:
        self.is_in_order = hasattr(type(owner), "__iter__")
        containers = [v for v in vars(owner).values() if isinstance(v, _CHANGING)]
        self._kept = [(thing, _copied(thing)) for thing in [vars(owner), *containers]]

    def give_back(self) -> bool:
        """Restore everything; where that is not safe, leave it as it is and return False."""
        changed = [(thing, before) for thing, before in self._kept if not _is_same(thing, before)]
        if any(_lost(thing, before) for thing, before in changed):
            return False
        for thing, before in changed:
            thing.clear()
            thing.extend(before) if isinstance(thing, (list, deque)) else thing.update(before)
        return True


def _copied(container: Any) -> Any:
    # As a plain container: a subclass may have another constructor.
    return next(kind for kind in _CHANGING if isinstance(container, kind))(container)


def _entries(container: Any) -> list[object]:
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def _is_same(container: Any, before: Any) -> bool:
    entries, earlier = _entries(container), _entries(before)
    # By identity: comparing arrays returns an array.
    return len(entries) == len(earlier) and all(
        a is b for a, b in zip(entries, earlier, strict=True)
    )


def _lost(container: Any, before: Any) -> bool:
    """Whether an entry is gone that is not plain data."""
    present = {id(entry) for entry in _entries(container)}
    return any(id(entry) not in present and not _is_data(entry) for entry in _entries(before))


def _is_data(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_data, value.values()))
    if isinstance(value, _SEQUENCES):
        return all(map(_is_data, value))
    return isinstance(value, _VALUES)
