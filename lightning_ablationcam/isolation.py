"""Leave everything as found: the one context in which a pass runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def isolated(model: nn.Module) -> Iterator[None]:
    """Run a pass over a model and leave no trace of it.

    Inside: every module is in evaluation mode, no gradients are recorded, inference mode and
    autocast are off, compiled code runs eagerly and attention op by op. Afterwards, also when an
    exception passes through, each module's ``training`` flag is what it was (a frozen submodule
    stays frozen) and the random number generators of Python, NumPy, torch and the model's devices
    go on as if nothing had been drawn.

    Args:
        model: The module whose flags are kept.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
        >>> with isolated(model):
        ...     assert not model[0].training
        >>> model.training, model[0].training, model[1].training
        (True, True, False)
    """
    with ExitStack() as stack:
        stack.enter_context(evaluation_flags(model))
        devices = _devices(model)
        stack.enter_context(kept_random_state(devices))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device_type in {"cpu"} | {device.type for device in devices}:
            stack.enter_context(torch.autocast(device_type, enabled=False))
        stack.enter_context(_eager())
        stack.enter_context(_plain_attention())
        yield


@contextmanager
def evaluation_flags(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode and give each its own flag back afterwards.

    The flags are set one by one: ``model.eval()`` may be overridden with side effects.
    """
    # A frozen TorchScript module has no such flag.
    parts = [module for module in model.modules() if hasattr(module, "training")]
    flags = [(module, module.training) for module in parts]
    try:
        for module, training in flags:
            if training:
                module.training = False
        yield
    finally:
        for module, training in flags:
            if module.training != training:
                module.training = training


@contextmanager
def kept_random_state(devices: set[torch.device] | None = None) -> Iterator[None]:
    """Give the generators of Python, NumPy, torch and some CUDA devices their state back."""
    cuda = [device for device in devices or () if device.type == "cuda"]
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled modules run eagerly: hooks inside compiled code would not fire, or recompile it."""
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention runs op by op: fused kernels can be neither recorded nor batched."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _devices(model: nn.Module) -> set[torch.device]:
    return {parameter.device for parameter in model.parameters()}
