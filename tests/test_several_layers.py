"""Several layers of one recording."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ProbeSet, ablation_cam
from lightning_ablationcam.method.fusion import fused_heatmaps
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.passes import Passes
from tests.networks import ConvBN, images, seeded
from tests.reference import ablation_cam_reference


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 7, 3, padding=1)
        self.head = nn.Linear(7, 4)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        x = F.relu(self.first(x), inplace=True)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        x = F.relu_(self.third(x))
        return self.head(x.mean((2, 3)))


LAYERS = ["second", "first", "third:activation"]


@pytest.mark.parametrize("engine", ["propagate", "replay"])
@pytest.mark.parametrize("budget", [None, 1])
def test_each_layer_is_explained_as_if_it_were_alone(engine, budget):
    model, x = seeded(Deep()).double(), images().double()
    result = ablation_cam(
        model, LAYERS, x, 1, engine=engine, memory_budget=budget, also=("rival",), ablation="mean"
    )
    assert [each.layer for each in result.layers] == LAYERS
    assert result.layers[0].further == ()
    for layer, each in zip(LAYERS, result.layers, strict=True):
        alone = ablation_cam(model, layer, x, 1, engine=engine, also=("rival",), ablation="mean")
        torch.testing.assert_close(each.drops, alone.drops, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(each.heatmaps, alone.heatmaps)
        torch.testing.assert_close(each.also[0].drops, alone.also[0].drops, rtol=1e-9, atol=1e-12)
        assert (each.engine, each.role) == (engine, "explained")
    zero = ablation_cam(model, LAYERS, x, 1, engine=engine)
    for layer, each in zip(LAYERS[:2], zero.layers[:2], strict=True):
        reference = ablation_cam_reference(model, layer, x, [1] * 3)
        torch.testing.assert_close(each.drops, reference.drops, rtol=1e-9, atol=1e-12)


def test_the_network_runs_once_for_all_of_them():
    model, x = seeded(Deep()), images()
    ablation_cam(model, LAYERS, x, 1, engine="propagate")
    model.calls = 0
    counted = []
    result = ablation_cam(
        model, LAYERS, x, 1, engine="propagate", forward=lambda m, i: counted.append(1) or m(i)
    )
    assert len(counted) == 1
    assert len(result.layers) == 3


def test_auto_may_be_one_of_them():
    result = ablation_cam(seeded(Deep()), ["auto", "first:activation"], images())
    assert [each.layer for each in result.layers] == ["third:activation", "first:activation"]


def test_a_fused_map_is_hot_where_all_layers_are():
    result = ablation_cam(seeded(Deep()), ["first:activation", "third:activation"], images())
    fine, coarse = (each.heatmaps.double() for each in result.layers)
    fine = fine / fine.amax((1, 2), keepdim=True)
    coarse = coarse / coarse.amax((1, 2), keepdim=True).clamp(min=1e-30)
    larger = F.interpolate(coarse[:, None], fine.shape[1:], mode="bilinear")[:, 0]
    torch.testing.assert_close(
        result.fused().double(), (fine * larger).sqrt(), atol=1e-6, rtol=1e-5
    )


def test_fusing_odd_maps():
    assert fused_heatmaps([torch.zeros(1, 2, 2), torch.ones(1, 4, 4)]).eq(0).all()
    assert torch.equal(fused_heatmaps([torch.full((1, 2), 3.0)]), torch.ones(1, 2))
    assert fused_heatmaps([torch.rand(1, 2, 2, 2), torch.rand(1, 4, 3, 3)]).shape == (1, 4, 3, 3)
    assert fused_heatmaps([torch.tensor([[[torch.nan, 1.0]]])]).isnan().any()


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], ValueError, "has 0 entries; expected 1 to 8"),
        (["conv"] * 9, ValueError, "has 9 entries"),
        (["conv", "conv"], ValueError, "names 'conv' twice"),
        (["conv", 3], TypeError, "target_layer=3 is a int"),
        (["conv", "convs"], ValueError, "closest names: 'conv'"),
    ],
)
def test_lists_of_layers_are_checked(layers, error, message):
    with pytest.raises(error, match=message):
        ablation_cam(seeded(ConvBN()), layers, images())


def test_a_sequence_of_modules_is_one_layer():
    model = seeded(
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten(), nn.Linear(144, 2))
    )
    assert ablation_cam(model, model[0], images()).layer == "0"


class Solid(nn.Module):
    """A map of three dimensions, and then one of two."""

    def __init__(self):
        super().__init__()
        self.solid, self.flat = nn.Conv3d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(F.relu(self.flat(F.relu(self.solid(x)).mean(2))).mean((2, 3)))


def test_layers_of_other_dimensions_are_not_fused_in_a_pass():
    probes, passes = ProbeSet(torch.rand(2, 1, 4, 8, 8)), Passes()
    explainer = Explainer(["flat", "solid"], 1, Options())
    passes.look(seeded(Solid()), probes, explainer, Notices(), step=1, epoch=0)
    assert set(passes.history.passes[0].also) == {"solid"}
