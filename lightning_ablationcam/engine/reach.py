"""Which values of a network say something of the picture and reach the score, in two passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Reach(TorchDispatchMode):
    """Notes which marked values each tensor was computed from.

    It goes by memory, so that views and what is written in place are seen. Memory that holds two
    things may be taken for both; what passes through numbers outside of tensors is lost.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sources: dict[StorageWeakRef, set[str]] = {}

    def mark(self, value: Tensor, name: str) -> None:
        """From now on a value is a source of what is computed from it."""
        self._add([value], {name})

    def sources(self, values: Any) -> set[str]:
        """The names of what some tensors were computed from."""
        known = [self._sources.get(_storage(value), set()) for value in _tensors(values)]
        return set().union(*known)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        found = self.sources((args, kwargs))
        if found:
            self._add(_tensors(result), found)  # Of what is written in place, the same memory.
        return result

    def _add(self, values: Sequence[Tensor], found: set[str]) -> None:
        for value in values:
            self._sources.setdefault(_storage(value), set()).update(found)


def alive(
    model: nn.Module,
    names: Sequence[str],
    score: Callable[[], Tensor],
    other: Callable[[], Tensor],
) -> list[str]:
    """The modules whose output differs from picture to picture, and leads to the score.

    Args:
        model: The model.
        names: Dotted names of modules that run once and return a tensor.
        score: Runs the model, and computes scores.
        other: The same on other pictures.

    Returns:
        Those of the names, in their order. What would leave none is not asked for, as where all
        weights are still zero, and nor are pictures where they do not change the score either, as
        in a network so deep that before it is trained nothing comes through.
    """
    first: dict[str, Tensor] = {}
    second: dict[str, Tensor] = {}
    with Reach() as reach:

        def mark(name: str, value: Tensor) -> None:
            first[name] = _fingerprint(value)
            reach.mark(value, name)

        with _told(model, names, mark):
            mine = score()
            reached = reach.sources(mine)
    with _told(model, names, lambda name, value: second.update({name: _fingerprint(value)})):
        same = torch.equal(mine, other())
    depend = {
        name
        for name, found in first.items()
        if same or (name in second and not torch.equal(found, second[name]))
    }
    left = list(names)
    for wanted in (reached, depend):
        left = [name for name in left if name in wanted] or left
    return left


@contextmanager
def _told(
    model: nn.Module, names: Sequence[str], tell: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Call ``tell`` with the name and the output of each of some modules, as they run."""

    def telling(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                tell(name, output)

        return hook

    handles = [model.get_submodule(name).register_forward_hook(telling(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _fingerprint(value: Tensor) -> Tensor:
    """Two numbers that differ where values do, but for accidents."""
    # In float32 the sum would hide what a picture changes in a network that is not trained yet.
    flat = value.detach().flatten()
    flat = flat.float() if flat.device.type == "mps" else flat.double()
    ramp = torch.linspace(0.5, 1.5, len(flat), device=flat.device, dtype=flat.dtype)
    return torch.stack([flat.abs().sum(), (flat * ramp).sum()])


def _storage(value: Tensor) -> StorageWeakRef:
    return StorageWeakRef(value.untyped_storage())  # type: ignore[no-untyped-call]


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
