"""What is recorded, and what is refused because it would be recorded wrongly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine.narrowing import narrowed
from lightning_ablationcam.engine.program import Program, PropagationError
from lightning_ablationcam.engine.recorder import record
from lightning_ablationcam.engine.rules import RULES
from lightning_ablationcam.engine.rules.pointwise import is_pointwise
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.isolation import isolated
from lightning_ablationcam.network.targets import Target
from tests.fake_cuda import recorded_on_cuda
from tests.tails import alive, images, network

POOLED = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def tail_of(*tail, inputs=None):
    model = network(*tail).eval()
    with isolated(model):
        inputs = images() if inputs is None else inputs
        return record(model, Target(model[1], "1"), inputs, call).tail


def ops_of(program):
    assert isinstance(program, Program), program
    return [str(node.op) for node in program.nodes]


def test_only_the_tail_is_recorded():
    assert ops_of(tail_of(*POOLED)) == [
        "aten.mean.dim",
        "aten.reshape.default",
        "aten.addmm.default",
    ]


def test_what_does_not_reach_the_output_is_left_out():
    def side_effect(x):
        x.sigmoid().sum()
        return x

    assert len(tail_of(Lambda(side_effect), *POOLED).nodes) == 3


def test_in_place_ops_are_recorded_as_functional_ones():
    assert "aten.relu.default" in ops_of(tail_of(nn.ReLU(inplace=True), *POOLED))


def test_batch_norm_is_one_multiply_add():
    assert ops_of(tail_of(nn.BatchNorm2d(6), *POOLED))[0] == "aten.addcmul.default"


def test_the_layer_output_is_kept_from_in_place_ops():
    model = network(Lambda(lambda x: x.mul_(0)), *POOLED).eval()
    with isolated(model):
        recording = record(model, Target(model[1], "1"), images(), call)
    torch.testing.assert_close(recording.activations, model[:2](images()).detach())


def draws(x):
    return x + torch.rand(6)[:, None, None]


def branches(x):
    return x * 2 if (x > 0).any() else x


def through_a_view(x):
    y = x * 1
    y[:, :2].relu_()
    return y


def into_a_view_of_a_constant(x):
    buffer = torch.zeros_like(x.detach().new_zeros(x.shape))
    buffer[:, 1:] = x[:, :-1]
    return buffer


def out_argument(x):
    return torch.add(x, 1, out=torch.empty(x.shape))


def changes_a_constant_later(x):
    constant = torch.ones(6, 1, 1)
    y = x * constant
    constant.add_(1)
    return y


def looks_for_indices(x):
    return x.flatten(1)[:, : len(x.flatten().nonzero())].view_as(x)


REFUSED = {
    draws: "random",
    branches: "reads a value",
    through_a_view: "another view",
    into_a_view_of_a_constant: "another view",
    out_argument: "out=",
    changes_a_constant_later: "overwritten later",
    looks_for_indices: "reads a value",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_refused(function):
    tail = tail_of(Lambda(function), *POOLED)
    assert isinstance(tail, PropagationError)
    assert REFUSED[function] in tail.reason


@pytest.mark.parametrize(
    "function", [f for f in REFUSED if f is not draws], ids=lambda function: function.__name__
)
def test_refused_is_replayed(function):
    model = alive(network(Lambda(function), *POOLED))
    with pytest.warns(UserWarning, match="replays"):
        result = ablation_cam(model, "1", images())
    assert result.engine == "replay"
    reference = ablation_cam(model, "1", images(), engine="replay")
    assert torch.equal(result.drops, reference.drops)


def in_place_on_a_constant(x):
    constant = torch.ones(x.shape, dtype=x.dtype)
    constant += x
    return constant * 2


def in_place_twice(x):
    y = x * 1
    y.add_(1).mul_(3).relu_()
    return y


def numpy_round_trip(x):
    return torch.from_numpy(x.detach().numpy() * 2)


@pytest.mark.parametrize("function", [in_place_on_a_constant, in_place_twice])
def test_in_place_ops_that_can_be_followed(function):
    model = alive(network(Lambda(function), *POOLED)).double()
    inputs = images().double()
    fast = ablation_cam(model, "1", inputs, engine="propagate").drops
    slow = ablation_cam(model, "1", inputs, engine="replay").drops
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-12)


def test_leaving_torch_is_refused():
    tail = tail_of(Lambda(numpy_round_trip), *POOLED)
    assert isinstance(tail, PropagationError)


def test_an_output_that_is_no_tensor_is_refused():
    tail = tail_of(*POOLED, Lambda(lambda x: {"logits": x}))
    assert isinstance(tail, PropagationError)
    assert "dict" in tail.reason


def test_nothing_stays_behind_when_the_model_fails():
    def fail(_x):
        raise ZeroDivisionError("no")

    model = network(Lambda(fail))
    with isolated(model), pytest.raises(RuntimeError, match="no"):
        record(model, Target(model[1], "1"), images(), call)
    assert not model[1]._forward_hooks
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_an_identity_with_a_skip_connection_around_it():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.target = nn.Identity()
            self.head = nn.Linear(3, 4)

        def forward(self, x):
            x = x * 1
            return self.head((self.target(x).relu() + x).mean((2, 3)))

    model = Skip().double()
    inputs = images().double()
    fast = ablation_cam(model, "target", inputs, engine="propagate").drops
    slow = ablation_cam(model, "target", inputs, engine="replay").drops
    torch.testing.assert_close(fast, slow)


MODELS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "densenet121": "features.denseblock4",
    "convnext_tiny": "features",
    "efficientnet_b0": "features",
    "mobilenet_v2": "features",
    "mobilenet_v3_large": "features",
    "shufflenet_v2_x1_0": "stage4",
    "swin_t": "features",
    "vgg16": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}


@pytest.mark.parametrize("name", MODELS)
def test_what_cuda_emits_has_rules(name, monkeypatch):
    models = pytest.importorskip("torchvision").models
    _, recording = recorded_on_cuda(
        lambda: getattr(models, name)(weights=None), MODELS[name], monkeypatch
    )
    assert isinstance(recording.tail, Program), recording.tail
    assert recording.activations.device.type == "cuda"
    program = narrowed(recording.tail)
    for node in program.nodes:
        known = any(
            node.op in table for table in (RULES.of_owners, RULES.of_linear_parts, RULES.of_changes)
        )
        assert known or is_pointwise(node.op), node.op
        for leaf in torch.utils._pytree.tree_leaves(node.args):
            if isinstance(leaf, torch.Tensor) and leaf.ndim:
                assert leaf.device.type == "cuda"
                assert leaf.dtype in (torch.float32, torch.int64)


@pytest.mark.parametrize("target", ["1:activation", "1"])
def test_attention_runs_op_by_op_from_the_target_on(target):
    fused = []

    def attention(x):
        fused.append(torch.backends.cuda.flash_sdp_enabled())
        return nn.functional.scaled_dot_product_attention(x, x, x)

    layers = (Lambda(attention), nn.Conv2d(3, 6, 3), nn.ReLU(), Lambda(attention), *POOLED)
    model = nn.Sequential(*layers).eval()
    result = ablation_cam(model, target, images(), engine="propagate")
    assert fused[:2] == [True, False]
    assert torch.backends.cuda.flash_sdp_enabled()
    replayed = ablation_cam(model, target, images(), engine="replay")
    torch.testing.assert_close(result.drops, replayed.drops, rtol=1e-4, atol=1e-6)
