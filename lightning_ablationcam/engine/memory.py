"""How much memory some code needs, by the storages of its tensors, and how much it may use."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MIN_SHARE = 1 / 8
"""Share of a budget that a batch may use in any case: without it, what is kept for many images
could leave so little that their ablations run one by one, which takes much longer."""

DEFAULT_MEMORY_SHARE = 0.25
"""Share of a CUDA device's free memory that a pass may use where no ``memory_budget`` is given."""

DEFAULT_MEMORY_BUDGET = 512 * 2**20
"""Bytes that a pass may use on other devices; on a CPU larger batches are not faster."""


def default_budget(device: torch.device) -> int:
    """The bytes that a pass on a device may use where the user gives no ``memory_budget``."""
    if device.type == "cuda":
        return int(DEFAULT_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0])
    return DEFAULT_MEMORY_BUDGET


def left(memory_budget: int, kept: int) -> int:
    """The bytes of a budget that a batch may use when ``kept`` bytes stay in use."""
    return max(memory_budget - kept, int(MIN_SHARE * memory_budget))


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that are made in this mode, until they are freed.

    It does not see what a kernel allocates for itself.

    Attributes:
        now: Bytes in use.
        peak: The most bytes that were in use at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._known: set[StorageWeakRef] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self._known.add(_key(leaf.untyped_storage()))
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = _key(storage)
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, size)

    def _freed(self, size: int) -> None:
        self.now -= size


def _key(storage: torch.UntypedStorage) -> StorageWeakRef:
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]
