"""``group_channels``, and the maps that it reads."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from torch import nn

from lightning_ablationcam import ProbeSet, ablation_cam, group_channels
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.setting import MAX_KEPT_BYTES
from tests.networks import ChannelsLast, ConvBN, Skip, TinyViT, images, seeded
from tests.reference import ablation_cam_reference
from tests.test_cam import CLASSES, assert_equals_reference


def output_of(model, layer, x):
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda m, a, out: kept.append(out.clone())
    )
    with torch.no_grad():
        model(x)
    handle.remove()
    return kept[0]


def doubled(seed=0):
    """Channels 0 and 4, and 1 and 3, of ``conv`` are the same but for their size."""
    model = seeded(Skip(), seed)
    for one, other, factor in ((0, 4, 2.5), (1, 3, 0.1)):
        model.conv.weight.data[other] = factor * model.conv.weight[one]
        model.conv.bias.data[other] = factor * model.conv.bias[one]
    return model


def partition(labels):
    """The groups, whatever they are called."""
    labels = torch.as_tensor(labels)
    return {tuple((labels == label).nonzero().flatten().tolist()) for label in labels.unique()}


def test_results_hold_the_maps():
    model, x = seeded(Skip()), images()
    expected = output_of(model, "conv", x)
    for budget in (None, 1):
        maps = ablation_cam(model, "conv", x, memory_budget=budget).channel_maps
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps, expected)
    result = ablation_cam(seeded(Skip()).double(), "conv", x.double(), also=("rival",))
    assert result.channel_maps.dtype == torch.float32
    assert result.also[0].channel_maps is None
    heat = torch.einsum("nk,nkhw->nhw", result.weights.float(), result.channel_maps).relu()
    torch.testing.assert_close(result.heatmaps, heat)


def test_maps_of_other_layouts_are_channels_first():
    x = images()
    model = seeded(ChannelsLast())
    maps = ablation_cam(model, "norm", x).channel_maps
    torch.testing.assert_close(maps, output_of(model, "norm", x).movedim(-1, 1))
    model = seeded(TinyViT())
    maps = ablation_cam(model, "blocks.1.norm1", x).channel_maps
    tokens = output_of(model, "blocks.1.norm1", x)[:, 1:]
    torch.testing.assert_close(maps, tokens.mT.reshape(3, 8, 4, 4))


def test_the_monitor_keeps_no_maps():
    explainer = Explainer("conv", "predicted", Options())
    assert explainer.explain(seeded(ConvBN()), ProbeSet(images())).channel_maps is None


def test_large_maps_are_not_kept(monkeypatch):
    model, x = seeded(Skip()), images()
    size = 3 * 6 * 64 * 4
    assert size < MAX_KEPT_BYTES
    monkeypatch.setattr("lightning_ablationcam.setting.MAX_KEPT_BYTES", size)
    for budget in (None, 1):
        assert ablation_cam(model, "conv", x, memory_budget=budget).channel_maps is not None
    monkeypatch.setattr("lightning_ablationcam.setting.MAX_KEPT_BYTES", size - 1)
    for budget in (None, 1):
        result = ablation_cam(model, "conv", x, memory_budget=budget)
        assert result.channel_maps is None
    with pytest.raises(ValueError, match=r"no channel maps \(channel_maps=None, 3 images\)"):
        group_channels(result, 2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", range(1, 7))
def test_equals_another_library(seed, n):
    model, x = seeded(Skip(), seed), images()
    vectors = output_of(model, "conv", x).double().transpose(0, 1).flatten(1).numpy()
    expected = fcluster(linkage(pdist(vectors, "cosine"), "average"), n, "maxclust")
    labels = group_channels(ablation_cam(model, "conv", x), n)
    assert labels.dtype == torch.int64
    assert sorted(set(labels.tolist())) == list(range(n))
    assert partition(labels) == partition(expected)


def test_channels_that_are_the_same_come_together():
    result = ablation_cam(doubled(), "conv", images())
    for n in (1, 2, 3, 4):
        labels = group_channels(result, n)
        assert labels[0] == labels[4]
        assert labels[1] == labels[3]
    assert group_channels(result, 4).tolist() == [0, 1, 2, 1, 0, 3]


def test_as_many_groups_as_channels_give_the_ordinary_result():
    model, x = doubled(), images()
    result = ablation_cam(model, "conv", x, CLASSES)
    labels = group_channels(result, 6)
    assert labels.tolist() == list(range(6))
    again = ablation_cam(model, "conv", x, CLASSES, groups=labels)
    torch.testing.assert_close(again.drops, result.drops, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(again.heatmaps, result.heatmaps, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize("n", [2, 4])
def test_groups_that_are_ablated_together_equal_the_float64_loop(engine, n):
    model, x = doubled(), images()
    labels = group_channels(ablation_cam(model, "conv", x, CLASSES), n)
    reference = ablation_cam_reference(model, "conv", x, CLASSES, groups=labels.tolist())
    result = ablation_cam(model, "conv", x, CLASSES, groups=labels, engine=engine)
    assert_equals_reference(result, reference)


def test_dead_channels_agree_with_each_other_only():
    result = ablation_cam(doubled(), "conv", images())
    maps = result.channel_maps.relu()
    maps[:, [2, 5]] = 0
    result = dataclasses.replace(result, channel_maps=maps)
    assert group_channels(result, 3).tolist() == [0, 1, 2, 1, 0, 2]
    dead = dataclasses.replace(result, channel_maps=torch.zeros_like(maps))
    assert sorted(set(group_channels(dead, 4).tolist())) == [0, 1, 2, 3]


def test_an_image_that_is_not_finite_is_left_out():
    result = ablation_cam(doubled(), "conv", images())
    broken = result.channel_maps[:1].clone()
    broken[0, 2, 0, 0] = torch.nan
    beside = dataclasses.replace(result, channel_maps=torch.cat([result.channel_maps, broken]))
    for n in (2, 3, 4, 5):
        assert torch.equal(group_channels(beside, n), group_channels(result, n))


def test_groups_are_always_the_same_and_draw_nothing():
    result = ablation_cam(doubled(), "conv", images())
    torch.manual_seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(group_channels(result, 3), group_channels(result, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_one_channel_is_one_group():
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    assert group_channels(ablation_cam(model, "1", images()), 1).tolist() == [0]


def test_bad_arguments_name_argument_value_and_choices():
    result = ablation_cam(seeded(Skip()), "conv", images(), also=("rival",))
    for error, arguments, text in [
        (TypeError, (3, 2), "result=3; expected an AblationResult"),
        (TypeError, (result, 2.0), "n=2.0; expected a whole number"),
        (ValueError, (result, 0), "n=0; expected a whole number of at least 1"),
        (ValueError, (result, 7), "n=7; expected 1 to 6, the number of channels"),
        (ValueError, (result.also[0], 2), "result holds no channel maps"),
    ]:
        with pytest.raises(error, match=text):
            group_channels(*arguments)


def test_a_missing_library_is_named(monkeypatch):
    result = ablation_cam(seeded(Skip()), "conv", images())
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match=r"pip install 'lightning-ablationcam\[groups\]'"):
        group_channels(result, 2)


def test_each_layer_holds_its_maps(monkeypatch):
    model, x = seeded(Skip()), images()
    result = ablation_cam(model, ["conv", "mix"], x)
    for each, layer in zip(result.layers, ("conv", "mix"), strict=True):
        torch.testing.assert_close(each.channel_maps, output_of(model, layer, x))
    # The budget is that of all layers.
    monkeypatch.setattr("lightning_ablationcam.setting.MAX_KEPT_BYTES", 3 * 6 * 64 * 4)
    kept = [
        each.channel_maps is not None for each in ablation_cam(model, ["conv", "mix"], x).layers
    ]
    assert kept == [False, True]
