"""Propagation against replay on torchvision's networks with random parameters."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam, setting
from lightning_ablationcam.engine import drops
from lightning_ablationcam.engine.narrowing import narrowed
from lightning_ablationcam.engine.propagate import _Tail, layer_value
from lightning_ablationcam.engine.readout import Columns, affine_readout
from tests.fake_cuda import FakeDevice, recorded_on_cuda
from tests.tails import ChannelNorm, Residual, SqueezeExcite, alive

models = pytest.importorskip("torchvision").models

STAGES = {
    # family: (last spatial layer, a layer of the stage before)
    "alexnet": ("features", "features.5"),
    "convnext": ("features.7", "features.5"),
    "densenet": ("features.denseblock4", "features.denseblock3"),
    "efficientnet_(b|v2_m)": ("features.8", "features.6"),
    "efficientnet_v2_s": ("features.7", "features.5"),
    "googlenet": ("inception5b", "inception4e"),
    "inception_v3": ("Mixed_7c", "Mixed_6e"),
    "maxvit": ("blocks.3", "blocks.2"),
    "mnasnet": ("layers", "layers.12"),
    "mobilenet_v2": ("features", "features.13"),
    "mobilenet_v3_large": ("features", "features.12"),
    "mobilenet_v3_small": ("features", "features.8"),
    "regnet": ("trunk_output", "trunk_output.block3"),
    "(wide_)?res(net|next)": ("layer4", "layer3"),
    "shufflenet": ("conv5", "stage3"),
    "squeezenet1_0": ("features", "features.10"),
    "squeezenet1_1": ("features", "features.7"),
    "swin_t|swin_v2_t": ("features", "features.5"),
    "vgg11$": ("features", "features.15"),
    "vgg13$": ("features", "features.19"),
    "vgg16$": ("features", "features.23"),
    "vgg19$": ("features", "features.27"),
    "vgg11_bn$": ("features", "features.21"),
    "vgg13_bn$": ("features", "features.27"),
    "vgg16_bn$": ("features", "features.33"),
    "vgg19_bn$": ("features", "features.39"),
}
LARGEST = 70e6
"""Parameters at most, for time: leaves out convnext_base and _large, efficientnet_v2_l,
regnet_x_32gf, regnet_y_16gf, _32gf and _128gf, both resnext101 and wide_resnet101_2, which repeat
the blocks of their smaller siblings more often or wider. VGG, large by its classifier alone, gets a
narrow one. Vision transformers are tested at a smaller size below."""

SIDES = {"inception_v3": 75, "maxvit_t": 224}
"""Networks that do not accept images of 64 pixels."""

WITHIN = {
    "convnext_tiny": "features.7.1",
    "densenet121": "features.transition3",
    "efficientnet_b0": "features.7",
    "googlenet": "inception5a",
    "mobilenet_v3_small": "features.10",
    "regnet_y_400mf": "trunk_output.block4.block4-4",
    "resnet18": "layer4.1.conv2",
    "shufflenet_v2_x0_5": "stage4",
    "swin_t": "features.7.1",
}
"""Layers inside the last stage: in a residual branch, before a transition, and so on."""


def stages(name):
    return next((layers for family, layers in STAGES.items() if re.match(family, name)), None)


def covered():
    for name in models.list_models(module=models):
        parameters = models.get_model_weights(name).DEFAULT.meta["num_params"]
        if stages(name) and (parameters <= LARGEST or name.startswith("vgg")):
            yield name


def network(name):
    torch.manual_seed(0)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with pytest.MonkeyPatch.context() as patch:
        # Truncating takes longer than all else here, and changes nothing that is tested.
        patch.setattr(nn.init, "trunc_normal_", nn.init.normal_)
        model = vgg(name) if name.startswith("vgg") else getattr(models, name)(**options)
    for module in alive(model).modules():
        # Initial classifiers are so small that drops would be lost in rounding, even in float64.
        if isinstance(module, nn.Linear) and module.out_features == 1000:
            nn.init.normal_(module.weight, std=0.1)
    return model


def vgg(name):
    with torch.device("meta"):
        model = getattr(models, name)(init_weights=False)
    model.features.to_empty(device="cpu")
    for layer in model.features:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    model.classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 32), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(32, 1000)
    )
    return model


def images(size=64, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def sampled(monkeypatch, channels):
    """Have both engines look at a few live channels only, spread over all."""
    whole = setting.changed_pairs

    def few(*args):
        changed = whole(*args)
        live = changed.any(dim=0).nonzero().flatten()
        kept = torch.zeros_like(changed)
        chosen = live[torch.linspace(0, len(live) - 1, channels).long()]
        kept[:, chosen] = changed[:, chosen]
        return kept

    monkeypatch.setattr(setting, "changed_pairs", few)


def relative_error(found, expected):
    largest = expected.abs().amax(dim=1, keepdim=True)
    assert (largest > 0).all(), "ablation has no effect"
    return float(((found.double() - expected.double()).abs() / largest).max())


def agree(model, layer, inputs):
    fast = ablation_cam(model, layer, inputs, engine="propagate")
    slow = ablation_cam(model, layer, inputs, fast.classes, engine="replay")
    assert (fast.engine, slow.engine) == ("propagate", "replay")
    assert slow.drops.abs().max() > 1e-5 * slow.scores.abs().max()
    assert relative_error(fast.drops, slow.drops) <= 1e-9


@pytest.mark.parametrize("name", list(covered()))
def test_last_spatial_layer_and_stage_before(name, monkeypatch):
    sampled(monkeypatch, 3)
    # The check at run time is a replay as well: here it would only take time.
    monkeypatch.setattr(drops, "checked", lambda *_args: None)
    model, inputs = network(name).double(), images(SIDES.get(name, 64), count=1).double()
    for layer in stages(name):
        agree(model, layer, inputs)


@pytest.mark.parametrize("name", WITHIN)
def test_layers_within_the_last_stage(name, monkeypatch):
    sampled(monkeypatch, 4)
    agree(network(name).double(), WITHIN[name], images(count=2).double())


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
    agree(alive(model).double(), name, images(32).double())


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
    sampled(monkeypatch, 8)
    model, inputs = network(name), images()
    exact = ablation_cam(
        copy.deepcopy(model).double(), layer, inputs.double(), 3, engine="replay"
    ).drops
    fast = ablation_cam(model, layer, inputs, 3, engine="propagate").drops
    slow = ablation_cam(model, layer, inputs, 3, engine="replay").drops
    error = relative_error(fast, exact)
    assert error <= 1e-3
    assert error <= relative_error(slow, exact) + 1e-6


ON_CUDA = {
    "convnext_tiny": "features.5",
    "densenet121": "features.denseblock4",
    "efficientnet_b0": "features.6",
    "mobilenet_v3_large": "features",
    "resnet18": "layer3",
    "resnet50": "layer4",
    "resnext50_32x4d": "layer3",
    "shufflenet_v2_x1_0": "stage3",
    "swin_t": "features.5",
    "vgg16": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
    "written out": "0",
}


def written_out():
    """A tail without closed forms."""
    mixing = nn.Conv2d(6, 6, 3, groups=2), SqueezeExcite(6), Residual(ChannelNorm(6))
    return nn.Sequential(
        nn.Conv2d(3, 6, 9, stride=9), *mixing, nn.Softmax(1), nn.MaxPool2d(3), nn.Flatten(),
        nn.Linear(294, 5),
    )  # fmt: skip


@pytest.mark.parametrize("name", ON_CUDA)
def test_every_intermediate_is_on_the_device_in_float32(name, monkeypatch):
    """Both phases of propagation on a device that does not exist."""
    # Autograd asks the driver for a context; a gradient is of its variable's dtype, where it is.
    monkeypatch.setattr(
        torch.autograd,
        "grad",
        lambda _score, leaves, **_: [torch.zeros_like(leaf) for leaf in leaves],
    )
    model_of = getattr(models, name, written_out)
    mode, recording = recorded_on_cuda(model_of, ON_CUDA[name], monkeypatch)
    activations = recording.activations
    dim = activations.ndim - 1 if name.startswith(("swin", "vit")) else 1
    owners = torch.arange(activations.shape[dim])
    with mode, FakeDevice() as device, torch.no_grad():
        program = narrowed(recording.tail)
        places = torch.zeros(2, 2, 1, dtype=torch.int64, device="cuda")
        start = layer_value(activations, torch.zeros_like(activations), owners, dim)
        columns = Columns(places, torch.ones_like(places))
        readout = affine_readout(program, columns, torch.device("cuda"))
        tail = _Tail(program, readout, start)
        tail.run_channelwise()
        drops = tail.read(tail.channelwise, owners)
        if tail.mixed:
            found = tail.run_mixed(torch.arange(3))
            assert found.shape == (2, 3, 2)
            assert found.device.type == "cuda"
    assert drops is not None or tail.mixed
    kept = [*tail.bases.values()]
    for value in tail.channelwise.values():
        assert value.owner.device.type == "cpu"
        kept += [value.base, value.ablated]
    assert len(device.results) > len(program.nodes)
    for tensor in kept + device.results:
        assert tensor.device.type == "cuda"
        assert tensor.dtype in (torch.float32, torch.int64, torch.bool)
