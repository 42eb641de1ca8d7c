"""The one context in which a pass runs: it leaves everything as it was found."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.lazy import LazyModuleMixin

from lightning_ablationcam.network.module_state import kept_state


class NotInitialisedError(RuntimeError):
    """A pass reached a lazy layer that the run has not initialised yet."""


def warn(message: str) -> None:
    """Warn about a pass."""
    warnings.warn(f"ablation_cam: {message}", stacklevel=3)


@contextmanager
def isolated(model: nn.Module, tell: Callable[[str], None] = warn) -> Iterator[None]:
    """Run a pass over a model and leave no trace of it.

    Inside: every module is in evaluation mode, no gradients are recorded, inference mode and
    autocast are off, float32 is computed as such (no TF32, no bfloat16 in its place), compiled code
    runs eagerly, encoder layers run module by module and attention, except on a CPU, op by op.
    Afterwards, also after an exception, each module's ``training`` flag is what it was (a frozen
    submodule stays frozen), what its forward wrote is undone (see
    :func:`~lightning_ablationcam.network.module_state.kept_state`), the settings are the user's
    again, and the random number generators of Python, NumPy, torch and the devices in use go on as
    if nothing had been drawn. A lazy layer that the pass reaches raises a
    :class:`NotInitialisedError`: only the run may initialise it.

    Args:
        model: The model.
        tell: Called with a sentence on each thing that could not be restored.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
        >>> with isolated(model):
        ...     assert not model[0].training
        >>> model.training, model[0].training, model[1].training
        (True, True, False)
    """
    parts = list(model.modules())
    with ExitStack() as stack:
        stack.enter_context(evaluation_flags(parts))
        stack.enter_context(kept_state(model, tell))
        stack.enter_context(_kept_settings())
        stack.enter_context(_uninitialised(model, parts))
        devices = _devices(parts)
        stack.enter_context(kept_random_state(devices))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(without_autocast({"cpu"} | {device.type for device in devices}))
        stack.enter_context(_full_precision())
        stack.enter_context(_eager())
        stack.enter_context(_plain_encoders())
        # On a CPU fused attention is as exact as any, and until the target layer it is welcome.
        if any(device.type != "cpu" for device in devices):
            stack.enter_context(plain_attention())
        yield


@contextmanager
def evaluation_flags(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put every module into evaluation mode, and restore each module's own flag afterwards.

    The flags are set one by one: ``model.eval()`` may be overridden with side effects.
    """
    # A frozen TorchScript module has no such flag.
    flags = [(module, module.training) for module in modules if hasattr(module, "training")]
    try:
        for module, training in flags:
            if training:
                module.training = False
        yield
    finally:
        for module, training in flags:
            if module.training != training:
                module.training = training


_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_default_dtype, torch.set_default_dtype),
    (
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda found: torch.use_deterministic_algorithms(found[0], warn_only=found[1]),
    ),
    *(
        (
            lambda name=name: getattr(torch.backends.cudnn, name),
            lambda found, name=name: setattr(torch.backends.cudnn, name, found),
        )
        for name in ("enabled", "benchmark", "deterministic")
    ),
)


@contextmanager
def _kept_settings() -> Iterator[None]:
    """Restore torch's settings of the whole process, which a forward may change."""
    before = [read() for read, _ in _SETTINGS]
    try:
        yield
    finally:
        for (read, write), found in zip(_SETTINGS, before, strict=True):
            if read() != found:
                write(found)


@contextmanager
def _uninitialised(model: nn.Module, modules: Iterable[nn.Module]) -> Iterator[None]:
    """Keep a pass from initialising a lazy layer: it would set sizes and weights for the run."""

    def refuse(module: nn.Module, _args: Any) -> None:
        name = next(name for name, part in model.named_modules() if part is module)
        raise NotInitialisedError(
            f"{name or 'the model'} is a {type(module).__name__} that has no parameters yet; they "
            "are made when the model first runs in training or validation. Run the model once first"
        )

    handles = [
        module.register_forward_pre_hook(refuse, prepend=True)
        for module in modules
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def kept_random_state(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Restore the state of the generators of Python, NumPy, torch and some devices."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    device_states = [(device, _generator_state(device)) for device in devices]
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        for device, state in device_states:
            if state is not None:
                torch.get_device_module(device).set_rng_state(state, device)


def _generator_state(device: torch.device) -> Tensor | None:
    """The state of a device's generator; None if it has none of its own, such as "meta"."""
    if device.type in ("cpu", "meta"):
        return None
    module = torch.get_device_module(device)
    return module.get_rng_state(device) if hasattr(module, "get_rng_state") else None


@contextmanager
def without_autocast(device_types: Iterable[str]) -> Iterator[None]:
    """Switch autocast off on these types of device."""
    with ExitStack() as stack:
        for device_type in device_types:
            if torch.amp.is_autocast_available(device_type):
                stack.enter_context(torch.autocast(device_type, enabled=False))
        yield


def _full_precision() -> AbstractContextManager[None]:
    """Compute float32 in float32: a channel's drop can be smaller than what TF32 rounds away."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # Before torch 2.9.
        return _older_flags("highest", allow_tf32=False)
    backends: list[Any] = [torch.backends.cuda.matmul]
    for backend in (torch.backends.cudnn, torch.backends.mkldnn):
        backends += [
            getattr(backend, part) for part in ("matmul", "conv", "rnn") if hasattr(backend, part)
        ]
    return _float32_as("ieee", [b for b in backends if b.fp32_precision not in ("ieee", "none")])


def has_reduced_precision(device: torch.device) -> bool:
    """Whether a device multiplies float32 in TF32, several times as fast as it is."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def reduced_precision() -> AbstractContextManager[None]:
    """Inside a pass, multiply float32 in TF32: with three digits."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # Before torch 2.9.
        return _older_flags("high", allow_tf32=True)
    cudnn: Any = torch.backends.cudnn
    return _float32_as("tf32", [torch.backends.cuda.matmul, cudnn.conv])


@contextmanager
def _float32_as(precision: str, backends: Iterable[Any]) -> Iterator[None]:
    """How some backends multiply float32."""
    found = [(backend, backend.fp32_precision) for backend in backends]
    try:
        for backend, _ in found:
            backend.fp32_precision = precision
        yield
    finally:
        for backend, before in found:
            # A backend that follows the setting of others goes on following it.
            backend.fp32_precision = "none"
            if backend.fp32_precision != before:
                backend.fp32_precision = before


@contextmanager
def _older_flags(precision: str, *, allow_tf32: bool) -> Iterator[None]:
    matmul, conv = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = allow_tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = conv


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled modules run eagerly: hooks inside compiled code would not fire, or recompile it."""
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _plain_encoders() -> Iterator[None]:
    """Encoder layers run module by module: the fast path calls no hooks inside them."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def plain_attention() -> AbstractContextManager[None]:
    """Attention runs op by op: fused kernels can be neither recorded nor batched."""
    found: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return found


def _devices(modules: Iterable[nn.Module]) -> set[torch.device]:
    """The devices a forward may draw random numbers on."""
    # Not model.parameters(): it takes several times as long, to leave out repeated ones.
    tensors = (t for m in modules for t in (*m._parameters.values(), *m._buffers.values()))
    devices = {tensor.device for tensor in tensors if tensor is not None}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        devices.add(torch.device("cuda", torch.cuda.current_device()))
    return devices
