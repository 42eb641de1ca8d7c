from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.network.isolation import isolated, kept_random_state, reduced_precision
from tests.networks import Dropouts, images, seeded


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def seed_all():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


def test_everything_is_as_found_also_after_an_exception():
    model = seeded(Dropouts()).train()
    model.drop.eval()
    flags = [module.training for module in model.modules()]
    seed_all()
    expected = draws()
    seed_all()

    def fault():
        with isolated(model):
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            draws()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fault()
    assert [module.training for module in model.modules()] == flags
    assert torch.is_grad_enabled()
    assert draws() == expected


def test_inside_a_pass_modes_do_not_leak_in():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with isolated(nn.Linear(1, 1)):
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")


def hooks_of(model):
    return [
        (len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()
    ]


@pytest.mark.parametrize("fault", [None, "model", "interrupt"])
def test_a_pass_leaves_the_model_alone(fault):
    model, x = seeded(Dropouts()).train(), images()
    model(x).sum().backward()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    hooks, calls = hooks_of(model), []

    def forward(module, inputs):
        calls.append(1)
        if fault and len(calls) > 1:
            raise KeyboardInterrupt if fault == "interrupt" else RuntimeError("broken")
        return module(inputs)

    seed_all()
    expected = draws()
    seed_all()
    if fault:
        error = KeyboardInterrupt if fault == "interrupt" else RuntimeError
        with pytest.raises(error):
            ablation_cam(model, "conv", x, forward=forward)
    else:
        ablation_cam(model, "conv", x, forward=forward)
    assert draws() == expected
    assert hooks_of(model) == hooks
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert all(p.requires_grad for p in model.parameters())


def settings():
    return (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_what_the_users_forward_sets_comes_back(engine):
    model = seeded(Dropouts()).train()
    model.hidden.weight.requires_grad_(False)
    trained, before = [p.requires_grad for p in model.parameters()], settings()

    def forward(module, inputs):
        module.requires_grad_(True)
        module.eval()
        module.drop.train()
        module.zero_grad()
        torch.set_grad_enabled(True)
        torch.set_num_threads(before[0] + 1)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = True
        module.drop.eval()
        return module(inputs)

    ablation_cam(model, "conv", images(), engine=engine, forward=forward)
    assert settings() == before
    assert [p.requires_grad for p in model.parameters()] == trained
    assert all(module.training for module in model.modules())


def float32_settings():
    backends = torch.backends
    new = hasattr(backends.cuda.matmul, "fp32_precision")
    parts = [backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul] if new else []
    return [part.fp32_precision for part in parts], torch.get_float32_matmul_precision()


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_float32_is_computed_in_float32(precision):
    torch.set_float32_matmul_precision(precision)
    try:
        before = float32_settings()
        with pytest.raises(ZeroDivisionError), isolated(nn.Linear(1, 1)):
            assert set(float32_settings()[0]) <= {"ieee", "none"}
            raise ZeroDivisionError
        assert float32_settings() == before
        # The older way to read the same setting still agrees with the newer.
        assert torch.backends.cuda.matmul.allow_tf32 == (precision != "highest")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_settings_of_attention_and_compilation_come_back():
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with isolated(nn.Linear(1, 1, device="meta")):
            assert torch.backends.cuda.math_sdp_enabled()
            assert not torch.backends.cuda.flash_sdp_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    with isolated(nn.Linear(1, 1)):
        assert not torch.backends.mha.get_fastpath_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


def test_generators_of_every_device_in_use_come_back(monkeypatch):
    class Accelerator:
        """Stands in for a device that this machine may not have."""

        def __init__(self):
            self.states = {0: torch.tensor([1]), 1: torch.tensor([2])}

        def get_rng_state(self, device):
            return self.states[device.index].clone()

        def set_rng_state(self, state, device):
            self.states[device.index] = state

    accelerator = Accelerator()
    monkeypatch.setattr(torch, "get_device_module", lambda device: accelerator)
    devices = [torch.device("xpu", 0), torch.device("xpu", 1), torch.device("cpu")]
    with kept_random_state(devices):
        accelerator.states = {0: torch.tensor([7]), 1: torch.tensor([7])}
    assert accelerator.states == {0: torch.tensor([1]), 1: torch.tensor([2])}


def test_what_follows_the_setting_of_its_library_goes_on_following_it():
    backends = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        pytest.skip("before torch 2.9 there is no setting for a library")
    conv = backends.cudnn.conv
    found = backends.cudnn.fp32_precision
    try:
        for general in ("ieee", "tf32"):
            backends.fp32_precision = general
            for own in ("tf32", "ieee"):
                backends.cudnn.fp32_precision, conv.fp32_precision = own, "none"
                with isolated(nn.Linear(1, 1)):
                    assert conv.fp32_precision == "ieee"
                    with reduced_precision():
                        assert conv.fp32_precision == "tf32"
                    assert conv.fp32_precision == "ieee"
                assert conv.fp32_precision == own
                # One of its own that is as that of all stays its own.
                conv.fp32_precision = "tf32"
                with isolated(nn.Linear(1, 1)):
                    assert conv.fp32_precision == "ieee"
                assert conv.fp32_precision == "tf32"
    finally:
        backends.fp32_precision, conv.fp32_precision = "none", "none"
        backends.cudnn.fp32_precision = found


def test_a_model_on_no_device_at_all():
    with isolated(nn.Linear(1, 1, device="meta")):
        pass


def test_what_follows_the_setting_for_everything_goes_on_following_it():
    backends = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):
        pytest.skip("before torch 2.9 there is no setting for everything")
    backends.cuda.matmul.fp32_precision = "none"
    backends.fp32_precision = "tf32"
    try:
        with isolated(nn.Linear(1, 1)):
            assert backends.cuda.matmul.fp32_precision == "ieee"
        assert backends.cuda.matmul.fp32_precision == "tf32"
        with reduced_precision():
            assert backends.cuda.matmul.fp32_precision == "tf32"
        assert backends.cuda.matmul.fp32_precision == "tf32"
        backends.fp32_precision = "ieee"
        assert backends.cuda.matmul.fp32_precision == "ieee"
    finally:
        backends.fp32_precision = "none"
