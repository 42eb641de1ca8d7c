"""What speaks against a class, and the regions explained, in a result and its picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.outputs.pass_records import heat_record, named_score
from lightning_ablationcam.records.format import decode_heat, encode_heat
from lightning_ablationcam.result import joined
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.passes import Passes
from tests.networks import ConvBN, Skip, TinyViT, images, seeded
from tests.reference import ablation_cam_reference

TARGETS = {ConvBN: "conv", Skip: "conv", TinyViT: "blocks.1.norm1"}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("engine", ["auto", "replay"])
def test_heatmaps_are_the_positive_part(kind, engine):
    result = ablation_cam(
        seeded(kind()), TARGETS[kind], images(), [2, 0, 3], also=("rival", 1), engine=engine
    )
    for each in (result, *result.also):
        assert each.signed.dtype == torch.float32
        assert torch.equal(each.heatmaps, each.signed.relu())
        assert (each.signed < 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_are_the_weighted_sum_to_the_bit(dtype):
    model, x = seeded(ConvBN()).to(dtype), images().to(dtype)
    kept = []
    hook = model.conv.register_forward_hook(lambda _module, _args, output: kept.append(output))
    with torch.no_grad():
        model.eval()(x)
    hook.remove()
    result = ablation_cam(model, "conv", x, [2, 0, 3])
    total = torch.einsum("nk,nk...->n...", result.weights, kept[0])
    assert torch.equal(result.heatmaps, total.relu().float())
    assert torch.equal(result.signed, total.float())


def test_what_speaks_against_is_what_the_paper_leaves_out():
    model, x = seeded(ConvBN()).double(), images().double()
    result = ablation_cam(model, "conv", x, [2, 0, 3], engine="propagate")
    expected = ablation_cam_reference(model, "conv", x, [2, 0, 3])
    with torch.no_grad():
        maps = model.conv(x)
    total = torch.einsum("nk,nkhw->nhw", expected.weights, maps)
    torch.testing.assert_close(result.signed, total.float(), rtol=1e-5, atol=1e-6)


def test_layers_of_three_dimensions_have_it_too():
    model = nn.Sequential(nn.Conv3d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 8, 2))
    result = ablation_cam(seeded(model), "0", torch.rand(2, 1, 4, 4, 4), 1)
    assert result.signed.shape == (2, 2, 2, 2)
    assert torch.equal(result.heatmaps, result.signed.relu())


def a_result(regions=None, **changes):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    result = ablation_cam(model, "0", torch.rand(2, 3, 8, 8), [0, 1])
    signed = torch.zeros(2, 4, 4)
    signed[:, 0, 0], signed[:, 3, 3] = 1, -2
    changes = {"heatmaps": signed.relu(), "signed": signed, "regions": regions, **changes}
    return replace(result, **changes)


def test_results_are_joined_with_regions_and_without():
    with_regions = a_result(torch.ones(2, 6, 6, dtype=torch.bool))
    both = joined([with_regions, with_regions])
    assert (both.regions.shape, both.signed.shape) == ((4, 6, 6), (4, 4, 4))
    assert joined([a_result(), a_result()]).regions is None
    assert joined([a_result(), with_regions]).regions is None


GREY = np.full((2, 224, 224, 3), 128, np.uint8)


def overlays(drawn):
    """The heatmap of the first picture, below the bare picture: (224, 224, 3)."""
    return drawn[7 + 224 + 8 :][:224, 7 : 7 + 224].astype(int)


def test_a_drawing_shows_both_signs_on_one_scale():
    result = a_result()
    shown = overlays(result.draw(GREY, signed=True))
    red, green, blue = shown[4, 4]
    assert green > red, "for, at half the opacity"
    assert green > blue
    red, green, blue = shown[219, 219]
    assert min(red, blue) > green, "against, the largest value"
    assert (shown[112, 112] == 128).all()
    positive = overlays(result.draw(GREY))
    assert (positive[112:, 112:] == 128).all()
    assert (positive[4, 4] != 128).any()


def test_a_drawing_outlines_the_region():
    regions = torch.zeros(2, 8, 8, dtype=torch.bool)
    regions[0, 2:6, 2:6] = True
    shown = overlays(a_result(regions).draw(GREY))
    plain = overlays(a_result().draw(GREY))
    changed = np.abs(shown - plain).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert 52 <= rows.min() <= 58
    assert 166 <= rows.max() <= 171
    assert (rows.min(), rows.max()) == (columns.min(), columns.max())
    assert not changed[70:150, 70:150].any()


def test_a_drawing_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="signed=True: this result holds no signed maps"):
        a_result(signed=None).draw(GREY, signed=True)


def test_an_image_without_a_second_label_says_so():
    result = a_result(classes=torch.tensor([1, -1]), role="label 2")
    assert result._caption(0, ["a", "b"])[0] == "b"
    assert result._caption(1, ["a", "b"]) == ["no second label"]


def test_a_value_is_said_as_a_value():
    result = a_result(task="regression", scores=torch.tensor([23.14, -0.5]))
    assert result._caption(0, None) == ["23.1"]
    assert result._caption(1, ["age", "height"]) == ["height", "-0.5"]


def test_several_layers_become_maps_beside_the_first():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * 16, 2),
    )  # fmt: skip
    result = ablation_cam(seeded(model), ["3", "1"], torch.rand(2, 3, 8, 8), 1, also=("rival",))
    passes = Passes()
    passes.add(result, 1, 0, Notices(), signed=True)
    (seen,) = passes.history.passes
    assert list(seen.also) == ["rival", "1", "fused"]
    assert seen.also["1"].signed.shape == (2, 6, 6)
    assert seen.also["fused"].signed is None
    record = heat_record(seen, fingerprint="f")
    assert record.also["1"].shape == record.also["fused"].shape == (2, 6, 6)
    assert record.also["rival"].shape is None
    assert decode_heat(encode_heat(record)) == record


def test_of_a_segmentation_the_region_is_kept():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    result = ablation_cam(seeded(model), "1", torch.rand(2, 3, 16, 16), task="segmentation")
    passes = Passes()
    passes.add(result, 1, 0, Notices())
    (seen,) = passes.history.passes
    assert seen.task == "segmentation"
    assert np.array_equal(seen.regions.masks(), result.regions.bool().numpy())
    assert named_score("logit", seen) == "mean logit"
