"""CUDA without a GPU: fake tensors know shapes, dtypes and devices, and hold no numbers."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_ablationcam.engine.recorder import Recording, record
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.targets import Target


def recorded_on_cuda(model_of, layer: str, monkeypatch) -> tuple[FakeTensorMode, Recording]:
    """Record a tail as CUDA runs it.

    Args:
        model_of: Returns the model.
        layer: Dotted name of the target layer.
        monkeypatch: Pytest's.
    """
    # Truncating reads values, which fake tensors do not have.
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *_args, **_kwargs: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.device("cuda"):
            model = model_of().eval()
            inputs = torch.empty(2, 3, 224, 224)
        with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                recording = record(model, Target(model.get_submodule(layer), layer), inputs, call)
            finally:
                torch.backends.mha.set_fastpath_enabled(True)
    return mode, recording


class FakeDevice(TorchDispatchMode):
    """Inside a FakeTensorMode, fakes the device alone: owner maps, on the CPU, keep their values.

    Results that are on the device are collected. An op on tensors of two devices is an error, as
    it is on a real one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        on_device = any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs)))
        if on_device or torch.device(kwargs.get("device") or "cpu").type == "cuda":
            result = func(*args, **kwargs)
        else:
            with unset_fake_temporarily():
                result = func(*args, **kwargs)
        self.results += [leaf for leaf in tree_leaves(result) if isinstance(leaf, FakeTensor)]
        return result
