"""What a forward in evaluation mode may change in modules, kept and given back."""

from __future__ import annotations

import operator
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SMALL = 2**20
"""Bytes of a tensor attribute that is no buffer, beyond which its values are not kept."""

_ABSENT = object()
_CONTAINERS = (list, dict, set)
_PLAIN = frozenset({bool, int, float, str, tuple, type(None), OrderedDict})
"""What cannot be written to; hooks are in the last, and are taken off again one by one."""


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Give every module its attributes, buffers and generators back as they were.

    Evaluation mode does not stop a forward from writing: observers of quantisation, running
    averages, counters, caches and stored features go on, and would go on from ablated activations.
    Attributes get the same objects back, lists, dicts and sets the same contents, and buffers,
    small tensors and random number generators the same values. What is deeper inside containers,
    or not part of a module, is not kept, nor is what torch's own modules hold, which do not write
    to it in evaluation mode.

    Args:
        model: The model.

    Example:
        >>> class Remembers(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.calls, self.features = 0, []
        ...
        ...     def forward(self, x):
        ...         self.calls += 1
        ...         self.features.append(x)
        >>> model = Remembers()
        >>> with kept_state(model):
        ...     model(torch.ones(1))
        >>> model.calls, model.features
        (0, [])
    """
    modules = list(model.modules())
    attributes = [(vars(module), vars(module).copy()) for module in modules]
    own = [_Kept(module) for module in modules if not _is_stock(module)]
    try:
        yield
    finally:
        for kept in own:
            kept.restore()
        for now, before in attributes:
            _restore(now, before)


class _Kept:
    """What the attributes of one module hold."""

    def __init__(self, module: nn.Module) -> None:
        self._contents: list[tuple[Any, Any]] = []
        self._tensors: list[tuple[Tensor, Tensor]] = []
        self._rewinds: list[Callable[[], object]] = []
        for value in vars(module).values():
            if type(value) not in _PLAIN:
                self._keep(value)
        for _, buffer in module.named_buffers(recurse=False):
            self._tensors.append((buffer, buffer.detach().clone()))

    def _keep(self, value: Any) -> None:
        kind = type(value)
        if kind in _CONTAINERS:
            self._contents.append((value, value.copy()))
        elif kind is Tensor:
            # What requires a gradient belongs to a graph and is not written to.
            if not value.requires_grad and value.nbytes <= SMALL:
                self._tensors.append((value, value.clone()))
        else:
            rewind = _rewind(value)
            if rewind is not None:
                self._rewinds.append(rewind)

    def restore(self) -> None:
        for container, contents in self._contents:
            if _are_same(container, contents):
                continue  # Compiled code is guarded by such dicts, and must not be compiled again.
            if isinstance(container, list):
                container[:] = contents
            else:
                container.clear()
                container.update(contents)
        for tensor, values in self._tensors:
            # Always, since to compare would wait for the device; by its data, since autograd need
            # not learn of values that are what they were.
            tensor.data.copy_(values)
        for rewind in self._rewinds:
            rewind()


def _are_same(container: Any, contents: Any) -> bool:
    """Whether both hold the same objects in the same order."""
    if len(container) != len(contents) or not all(map(operator.is_, container, contents)):
        return False
    if not isinstance(container, dict):
        return True
    return all(map(operator.is_, container.values(), contents.values()))


def _restore(now: dict[str, Any], before: dict[str, Any]) -> None:
    """Give a module's attributes back."""
    if _are_same(now, before):
        return
    for name in now.keys() - before.keys():
        del now[name]
    for name, value in before.items():
        if now.get(name, _ABSENT) is not value:
            now[name] = value


def _is_stock(module: nn.Module) -> bool:
    """Whether it is one of torch's own, which in evaluation mode write to nothing they hold."""
    return type(module).__module__.startswith("torch.nn.modules.")


def _rewind(value: Any) -> Callable[[], object] | None:
    """How to give a generator its state back; None for anything else."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, np.random.Generator):
        bits, numpy_state = value.bit_generator, value.bit_generator.state
        return lambda: setattr(bits, "state", numpy_state)
    if isinstance(value, random.Random):
        python_state = value.getstate()
        return lambda: value.setstate(python_state)
    return None
