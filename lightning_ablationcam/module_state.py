"""What a forward in evaluation mode may change in modules, kept and given back."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SMALL = 2**20
"""Bytes of a tensor attribute that is no buffer, beyond which its values are not kept."""

_ABSENT = object()


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Give every module its attributes, buffers and generators back as they were.

    Evaluation mode does not stop a forward from writing: observers of quantisation, running
    averages, counters, caches and stored features go on, and would go on from ablated activations.
    Attributes get the same objects back, lists, dicts and sets the same contents, and buffers,
    small tensors and random number generators the same values. What is deeper inside containers,
    or not part of a module, is not kept.

    Args:
        model: The model.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with kept_state(norm):
        ...     norm.calls = 1
        ...     norm.running_mean += 5
        >>> hasattr(norm, "calls"), norm.running_mean
        (False, tensor([0., 0.]))
    """
    kept = [_KeptModule(module) for module in model.modules()]
    try:
        yield
    finally:
        for module in kept:
            module.restore()


class _KeptModule:
    def __init__(self, module: nn.Module) -> None:
        self._module = module
        # Its mode is another context's, and is changed all the way through a pass.
        self._attributes = {name: v for name, v in vars(module).items() if name != "training"}
        values = self._attributes.values()
        self._contents = [(v, copy.copy(v)) for v in values if type(v) in (list, dict, set)]
        buffers = [buffer for _, buffer in module.named_buffers(recurse=False)]
        small = [v for v in values if _is_small(v)]
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in (*buffers, *small)]
        self._rewinds = [rewind for rewind in map(_rewind, values) if rewind is not None]

    def restore(self) -> None:
        for container, contents in self._contents:
            if isinstance(container, list):
                container[:] = contents
            else:
                container.clear()
                container.update(contents)
        now = vars(self._module)
        for name in now.keys() - self._attributes.keys() - {"training"}:
            del now[name]
        for name, value in self._attributes.items():
            if now.get(name, _ABSENT) is not value:
                now[name] = value
        for tensor, values in self._tensors:
            # Always, since to compare would wait for the device; by its data, since autograd need
            # not learn of values that are what they were.
            tensor.data.copy_(values)
        for rewind in self._rewinds:
            rewind()


def _is_small(value: object) -> bool:
    # What requires a gradient is a parameter, or belongs to a graph and is not written to.
    return type(value) is Tensor and not value.requires_grad and value.nbytes <= SMALL


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
