"""Propagation against replay on torchvision's networks with random parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam, cam
from tests.tails import alive

models = pytest.importorskip("torchvision").models

LAST = {
    "alexnet": "features",
    "convnext_tiny": "features",
    "densenet121": "features.denseblock4",
    "efficientnet_b0": "features",
    "efficientnet_v2_s": "features",
    "googlenet": "inception5b",
    "mnasnet0_5": "layers",
    "mobilenet_v2": "features",
    "mobilenet_v3_large": "features",
    "mobilenet_v3_small": "features",
    "regnet_x_400mf": "trunk_output",
    "regnet_y_400mf": "trunk_output",
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnext50_32x4d": "layer4",
    "shufflenet_v2_x0_5": "conv5",
    "squeezenet1_1": "features",
    "swin_t": "features",
    "vgg11_bn": "features",
    "wide_resnet50_2": "layer4",
}
EARLIER = {
    "convnext_tiny": "features.7.1",
    "densenet121": "features.transition3",
    "efficientnet_b0": "features.7",
    "googlenet": "inception5a",
    "mobilenet_v2": "features.17",
    "mobilenet_v3_small": "features.10",
    "regnet_y_400mf": "trunk_output.block4.block4-4",
    "resnet18": "layer4.1.conv2",
    "shufflenet_v2_x0_5": "stage4",
    "swin_t": "features.7.1",
}


def network(name):
    torch.manual_seed(0)
    options = {"init_weights": True} if name == "googlenet" else {}
    model = alive(getattr(models, name)(weights=None, **options))
    for module in model.modules():
        # Initial classifiers are so small that float64 would be all that is left of a drop.
        if isinstance(module, nn.Linear) and module.out_features == 1000:
            nn.init.normal_(module.weight, std=0.1)
    return model


def images(size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def sampled(monkeypatch, layer_pairs=10):
    """Have both engines look at a few channels only, spread over all."""
    whole = cam.changed_pairs

    def few(*args):
        changed = whole(*args)
        kept = torch.zeros_like(changed)
        step = max(1, changed.shape[1] // layer_pairs)
        kept[:, ::step] = changed[:, ::step]
        return kept

    monkeypatch.setattr(cam, "changed_pairs", few)


def relative_error(found, expected):
    largest = expected.abs().amax(dim=1, keepdim=True)
    assert (largest > 0).all(), "ablation has no effect"
    return float(((found.double() - expected.double()).abs() / largest).max())


def agree(model, layer, inputs):
    model, inputs = model.double(), inputs.double()
    fast = ablation_cam(model, layer, inputs, engine="propagate")
    slow = ablation_cam(model, layer, inputs, fast.classes, engine="replay")
    assert slow.drops.abs().max() > 1e-5 * slow.scores.abs().max()
    assert relative_error(fast.drops, slow.drops) <= 1e-9


@pytest.mark.parametrize("name", LAST)
def test_last_spatial_layer(name, monkeypatch):
    sampled(monkeypatch)
    agree(network(name), LAST[name], images())


@pytest.mark.parametrize("name", EARLIER)
def test_stage_before(name, monkeypatch):
    sampled(monkeypatch, layer_pairs=9)
    agree(network(name), EARLIER[name], images())


@pytest.mark.parametrize("layer", ["ln_1", "ln_2", "self_attention", "mlp"])
@pytest.mark.parametrize("block", [0, 1])
def test_vision_transformer(block, layer):
    torch.manual_seed(0)
    model = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=24, mlp_dim=32,
        num_classes=5,
    )  # fmt: skip
    nn.init.normal_(model.heads.head.weight)
    name = f"encoder.layers.encoder_layer_{block}.{layer}"
    if layer == "self_attention":
        with pytest.raises(ValueError, match="tuple"):
            ablation_cam(model, name, images(32))
        return
    agree(alive(model), name, images(32))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("resnet18", "layer3"),
        ("densenet121", "features.denseblock4"),
        ("mobilenet_v3_large", "features"),
        ("swin_t", "features"),
    ],
)
def test_float32_is_as_exact_as_replay(name, layer, monkeypatch):
    sampled(monkeypatch, layer_pairs=8)
    model, inputs = network(name), images()
    exact = ablation_cam(
        copy.deepcopy(model).double(), layer, inputs.double(), 3, engine="replay"
    ).drops
    fast = ablation_cam(model, layer, inputs, 3, engine="propagate").drops
    slow = ablation_cam(model, layer, inputs, 3, engine="replay").drops
    error = relative_error(fast, exact)
    assert error <= 1e-3
    assert error <= relative_error(slow, exact) + 1e-6
