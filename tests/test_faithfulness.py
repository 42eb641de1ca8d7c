"""Measures of faithfulness: pure functions, and what networks say of changed images."""

from __future__ import annotations

import copy
import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_ablationcam import ablation_cam, evaluation, faithfulness
from lightning_ablationcam.engine.ending import Endings
from lightning_ablationcam.evaluation import FaithfulnessResult, measure_faithfulness
from lightning_ablationcam.measures.axis import AVERAGE_DROP, AVERAGE_GAIN, DELETION, INSERTION
from lightning_ablationcam.measures.faithfulness import (
    area_under,
    average_drop,
    average_gain,
    blurred,
    changed_places,
    counts_of,
    enlarged,
    explained_images,
    increase,
    places_by_heat,
    ranks_of,
)
from lightning_ablationcam.measures.registry import FORWARDS
from lightning_ablationcam.method.heads import classes as classes_of_heads
from lightning_ablationcam.options import Options
from tests import faithfulness_reference as slow
from tests.fake_cuda import FakeDevice
from tests.networks import BatchStatistics, ConvBN, Dropouts, InplaceReLU, TinyViT, images, seeded

CURVES = ("insertion_curve", "deletion_curve")


def random_maps(*shape, seed=5):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def doubled(network):
    return seeded(network).double()


class Mean(nn.Module):
    """One logit, whose probability of class 1 is the mean of the picture's pixels."""

    def forward(self, x):
        return torch.special.logit(x.flatten(1).mean(dim=1))


# ------------------------------------------------------------------------------ single numbers


def test_measures_of_two_probabilities():
    y = torch.tensor([0.8, 0.5, 0.0, 1.0, 0.25, 1.0])
    o = torch.tensor([0.2, 0.75, 0.0, 1.0, 0.25, 0.0])
    torch.testing.assert_close(
        average_drop(y, o), torch.tensor([0.75, 0, 0, 0, 0, 1]).double(), atol=1e-7, rtol=0
    )
    assert increase(y, o).tolist() == [0, 1, 0, 0, 0, 0]
    assert average_gain(y, o).tolist() == [0, 0.5, 0, 0, 0, 0]
    assert average_gain(torch.zeros(1), torch.full((1,), 0.3)).item() == pytest.approx(0.3)
    for measure in (average_drop, increase, average_gain):
        assert measure(y, o).dtype == torch.float64
        assert measure(torch.tensor([torch.nan, 0.5]), torch.tensor([0.5, torch.nan])).isnan().all()


@given(st.floats(0, 1), st.floats(0, 1))
def test_measures_of_two_probabilities_are_shares(y, o):
    y, o = torch.tensor([y]).double(), torch.tensor([o]).double()
    drop, gain = average_drop(y, o), average_gain(y, o)
    assert 0 <= drop <= 1
    assert 0 <= gain <= 1
    assert min(drop, gain) == 0
    assert increase(y, o) == (o > y)


def test_areas_are_mean_probabilities():
    assert area_under(torch.tensor([[0.3, 0.3, 0.3]])).item() == pytest.approx(0.3)
    curve = random_maps(4, 33)
    expected = [auc(np.linspace(0, 1, 33), row) for row in curve.double()]
    np.testing.assert_allclose(area_under(curve), expected)
    assert area_under(torch.tensor([[0.1, torch.nan, 0.2]])).isnan()


# ------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("size", [(9,), (8, 12), (8, 8), (3, 2), (4, 5, 6), (2, 2, 2)])
@pytest.mark.parametrize("cells", [1, 3, 5])
def test_maps_are_enlarged_as_the_reference_does(size, cells):
    heatmaps = random_maps(2, *[cells] * len(size))
    found = enlarged(heatmaps, size)
    assert found.dtype == torch.float64
    for row in range(2):
        expected = slow.enlarged(heatmaps[row].double().numpy(), size)
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_a_hand_computed_map_leaves_what_is_warm():
    # Middles of the cells lie at 0.5 and 2.5; between them it is linear, beyond them even.
    share = torch.tensor([0.0, 0.25, 0.75, 1.0])
    heat = torch.tensor([[[0.0, 3.0], [0.0, 0.0]]])
    image = torch.full((1, 2, 4, 4), 8.0)
    found = explained_images(image, heat)
    expected = 8 * share.flip(0)[:, None] * share
    assert torch.equal(found, expected.expand(1, 2, 4, 4))
    baseline = torch.tensor([4.0, 0.0]).view(2, 1, 1)
    found = explained_images(image, heat, baseline)
    assert torch.equal(found[:, 1], expected[None])
    assert torch.equal(found[:, 0], 4 + expected[None] / 2)


def test_the_hottest_place_and_the_cold_ones_are_exact():
    image = images(2, 4)
    heat = torch.zeros(2, 4, 4)
    heat[0, 1, 2] = 1e-30
    heat[1] = 3.7
    found = explained_images(image, heat, baseline=0.3)
    assert torch.equal(found[0, :, 1, 2], image[0, :, 1, 2])
    assert (found[0].flatten(1).sort(dim=1).values == 0.3).sum() >= 3 * 14
    assert torch.equal(found[1], image[1])


def test_negative_heat_is_cold_and_broken_maps_leave_the_baseline():
    image = images(4, 4)
    heat = random_maps(4, 4, 4) - 0.5
    heat[1], heat[2, 0, 0], heat[3, 2, 2] = -1, torch.nan, torch.inf
    found = explained_images(image, heat, 0.5)
    torch.testing.assert_close(found[:1], explained_images(image[:1], heat[:1].relu(), 0.5))
    assert (found[1:] == 0.5).all()


def test_places_come_by_falling_heat_ties_row_by_row():
    heat = torch.tensor([[[0.0, 2.0, -1.0], [5.0, 2.0, 0.0]]])
    assert places_by_heat(heat, (2, 3)).tolist() == [[3, 1, 4, 0, 5, 2]]
    assert places_by_heat(heat * torch.nan, (2, 3)).tolist() == [[0, 1, 2, 3, 4, 5]]
    # Even heat, whatever its rounding.
    for even in (0.0, 0.1, 1e30, 1e-40, -0.7):
        places = places_by_heat(torch.full((1, 3, 3), even), (7, 5))
        assert places.tolist() == [list(range(35))]


@given(st.integers(1, 4), st.integers(1, 40))
def test_ranks_and_counts(count, places):
    order = torch.stack([torch.randperm(places) for _ in range(count)])
    ranks = ranks_of(order)
    assert torch.equal(order.gather(1, ranks.long()), torch.arange(places).expand(count, -1))
    for steps in range(1, places + 1):
        counts = counts_of(steps, places)
        assert counts[0] == 0
        assert counts[-1] == places
        assert len(counts) == steps + 1
        exact = torch.arange(steps + 1).double() * places / steps
        assert (counts - exact).abs().max() <= 0.5


def test_changed_places_are_the_hottest():
    ranks = torch.tensor([[3, 0, 2, 1], [0, 1, 2, 3]])
    found = changed_places(
        torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2), ranks, torch.tensor([2, 1])
    )
    assert found.flatten(1).tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("size", [(17,), (13, 5), (6, 7, 12)])
@pytest.mark.parametrize("even", [True, False])
def test_the_blur_is_that_of_the_authors(size, even):
    image = random_maps(2, 3, *size).double()
    baseline = torch.tensor([0.3, 0.0, -2.0]).double().view(3, *[1] * len(size))
    if not even:
        baseline = baseline + random_maps(3, *size, seed=6)
    found = blurred(image, baseline)
    for row in range(2):
        expected = slow.blurred(image[row].numpy(), baseline.expand(3, *size).numpy())
        np.testing.assert_allclose(found[row], expected, atol=1e-12)
    assert blurred(image.half(), 0.0).dtype == torch.float32


# ----------------------------------------------------------------------------------- networks


BY_ROWS = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).T.expand(4, 4)[None]


def test_a_hand_computed_picture_goes_row_by_row():
    picture = torch.full((1, 1, 4, 4), 0.8)
    result = faithfulness(
        Mean(), picture, BY_ROWS, 1, steps=4, baseline=0.2, measures=("deletion", "average_drop")
    )
    expected = torch.tensor([[0.8, 0.65, 0.5, 0.35, 0.2]]).double()
    torch.testing.assert_close(result.deletion_curve, expected, atol=1e-6, rtol=0)
    assert result.deletion.item() == pytest.approx(0.5)
    # Rows keep 100, 75, 50 and 25 % of what exceeds the baseline.
    assert result.explained_probabilities.item() == pytest.approx(0.2 + 0.6 * 0.625)
    assert result.average_drop.item() == pytest.approx((0.8 - 0.575) / 0.8)
    assert result.insertion is result.insertion_curve is result.increase is None


def test_a_hand_computed_picture_appears_row_by_row():
    picture = torch.full((1, 1, 4, 4), 0.2)
    picture[0, 0, 0, 0] = 1.0
    result = faithfulness(
        Mean(), picture, BY_ROWS, 1, steps=4, baseline=0.2, measures=["insertion"]
    )
    # Of a dot the blur leaves this in its own row or column and the next three.
    blur = [0.09398206, 0.09348939, 0.09219112, 0.0904742]
    across = sum(blur)
    expected = [0.2 + 0.8 / 16 * sum(blur) * across]
    expected += [0.2 + 0.8 / 16 * (1 + sum(blur[row:]) * across) for row in range(1, 5)]
    np.testing.assert_allclose(result.insertion_curve[0], expected, atol=1e-6)
    area = (expected[0] + expected[4]) / 8 + sum(expected[1:4]) / 4
    assert result.insertion.item() == pytest.approx(area, abs=1e-6)


NETWORKS = (ConvBN, InplaceReLU, Dropouts, TinyViT)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("form", ["small", "large", "signed", "channels", "image"])
def test_every_measure_is_that_of_the_reference(network, form):
    model, pictures, steps = doubled(network()), images(3).double(), 5
    heatmaps = random_maps(3, 8, 8) if form == "large" else random_maps(3, 3, 2)
    heatmaps = heatmaps - 0.4 if form == "signed" else heatmaps
    classes, baseline = torch.tensor([2, 0, 3]), torch.tensor(-0.25).double()
    if form == "channels":
        baseline = torch.tensor([0.5, -0.5, 0.1]).double()
    if form == "image":
        baseline = random_maps(3, 8, 8).double()
    result = faithfulness(
        model, pictures, heatmaps, classes, steps=steps, baseline=baseline, memory_budget=10_000
    )
    full = baseline.view(3, 1, 1) if form == "channels" else baseline
    for row in range(3):
        expected = slow.faithfulness_reference(
            slow.class_probability(model, int(classes[row])),
            pictures[row].numpy(),
            heatmaps[row].double().numpy(),
            steps,
            full.expand(3, 8, 8).numpy(),
        )
        for name in (*FORWARDS, *CURVES):
            found = getattr(result, name)[row]
            np.testing.assert_allclose(found, getattr(expected, name), atol=1e-9, err_msg=name)
    assert result.forwards == 2 + 2 * steps
    assert torch.equal(result.classes, classes)


class Given:
    """Gives torchcam's metrics maps that are known."""

    def __init__(self, model, maps):
        self.model, self.maps = model, maps

    def __call__(self, *_args, **_kwargs):
        return [self.maps.clone()]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return warnings.catch_warnings()


def test_torchcam_measures_the_same_where_its_definitions_are_the_same():
    model, pictures = doubled(ConvBN()), images(6).double()
    # From 0 to 1, as its maps are.
    maps = random_maps(6, 4, 4).double()
    maps = maps - maps.amin((1, 2), keepdim=True)
    maps = maps / maps.amax((1, 2), keepdim=True)
    softmax = torch.nn.Softmax(dim=1)
    metrics = pytest.importorskip("torchcam.metrics")  # It needs Python 3.11.
    theirs = metrics.ClassificationMetric(Given(model, maps), softmax)
    theirs.update(pictures, 2)
    mine = faithfulness(model, pictures, maps * 3, 2, steps=16)
    means = mine.means()
    assert 0 < means["increase"] < 1
    assert theirs.summary()["avg_drop"] == pytest.approx(means["average_drop"], abs=1e-6)
    assert theirs.summary()["conf_increase"] == means["increase"]

    deletion = metrics.DeletionInsertionMetric(Given(model, maps), softmax, steps=16)
    deletion.update(pictures, 2)
    # Its curves are float64 here, as the scores are.
    assert deletion.summary()["deletion_auc"] == pytest.approx(means["deletion"], abs=1e-6)
    insertion = metrics.DeletionInsertionMetric(
        Given(model, maps), softmax, steps=16, baseline=blurred
    )
    insertion.update(pictures, 2)
    assert insertion.summary()["insertion_auc"] == pytest.approx(means["insertion"], abs=1e-6)


# ---------------------------------------------------------------------------- odd maps, batches


def test_cold_one_pixel_and_broken_maps_have_defined_values():
    model, pictures = doubled(ConvBN()), images(5).double()
    heatmaps = torch.zeros(5, 8, 8)
    heatmaps[1, 2, 3] = 1e-20
    heatmaps[2] = torch.nan
    heatmaps[3, 0, 0] = torch.inf
    heatmaps[4] = random_maps(8, 8)
    result = faithfulness(model, pictures, heatmaps, steps=4)
    nothing = model(torch.zeros(1, 3, 8, 8).double()).softmax(1)[0, result.classes[0]]
    torch.testing.assert_close(result.explained_probabilities[0], nothing.detach())
    for name in FORWARDS:
        values = getattr(result, name)
        assert values.isnan().tolist() == [False, False, True, True, False]
        assert np.isfinite(result.means()[name])
    for name in CURVES:
        assert getattr(result, name).isnan().all(dim=1).tolist() == [0, 0, 1, 1, 0]
    assert result.probabilities.isfinite().all()
    alone = faithfulness(model, pictures[4:], heatmaps[4:], steps=4)
    for name in (*FORWARDS, *CURVES, "explained_probabilities"):
        torch.testing.assert_close(getattr(result, name)[4:], getattr(alone, name))


def test_nothing_that_is_not_finite_is_fed():
    seen = []

    class Watching(ConvBN):
        def forward(self, x):
            seen.append(bool(x.isfinite().all()))
            return super().forward(x)

    faithfulness(seeded(Watching()), images(2), torch.full((2, 4, 4), torch.nan), steps=2)
    assert all(seen)


def test_maps_that_are_all_broken_have_no_means():
    result = faithfulness(
        seeded(ConvBN()),
        images(2),
        torch.full((2, 4, 4), torch.nan),
        measures=["deletion"],
        steps=2,
    )
    assert list(result.means()) == ["deletion"]
    assert np.isnan(result.means()["deletion"])


@given(st.integers(1, 5), st.integers(1, 300_000), st.integers(1, 70))
@settings(max_examples=15)
def test_batches_change_nothing_but_rounding(count, budget, steps):
    model, pictures, heatmaps = seeded(ConvBN()), images(count), random_maps(count, 4, 4)
    whole = faithfulness(model, pictures, heatmaps, steps=steps)
    cut = faithfulness(model, pictures, heatmaps, steps=steps, memory_budget=budget)
    assert whole.deletion_curve.shape == (count, min(steps, 64) + 1)
    for name in (*FORWARDS, *CURVES):
        if name != "increase":  # It may turn on rounding.
            torch.testing.assert_close(getattr(whole, name), getattr(cut, name), atol=2e-6, rtol=0)
    assert whole.forwards == cut.forwards


def fed(model):
    """What a model is fed, pass by pass."""
    pictures = []
    model.register_forward_pre_hook(lambda _module, args: pictures.append(args[0].clone()))
    return pictures


def test_batches_stay_within_the_budget_and_passes_are_counted():
    model = seeded(ConvBN())
    pictures = fed(model)
    result = faithfulness(model, images(3), random_maps(3, 4, 4), steps=6, memory_budget=60_000)
    sizes = [len(each) for each in pictures]
    assert sizes[0] == 1  # It was measured.
    assert sum(sizes[1:]) == 3 * result.forwards == 3 * (2 + 6 + 6)
    assert 1 < max(sizes[1:]) < 18
    pictures.clear()
    one = faithfulness(model, images(3), random_maps(3, 4, 4), measures=("increase",))
    assert one.forwards == 2
    assert sum(map(len, pictures[1:])) == 6
    assert one.deletion is one.average_drop is None


def test_where_images_depend_on_each_other_they_stay_together():
    model = seeded(BatchStatistics()).double()
    pictures = fed(model)
    given, heatmaps = images(3).double(), random_maps(3, 4, 4)
    result = faithfulness(model, given, heatmaps, steps=3, memory_budget=1)
    assert [len(each) for each in pictures] == [3] * result.forwards
    shares = enlarged(heatmaps / heatmaps.amax((1, 2), keepdim=True), (8, 8))[:, None]
    with torch.no_grad():
        expected = model(given * shares).softmax(1)[torch.arange(3), result.classes]
    torch.testing.assert_close(result.explained_probabilities, expected)


def test_memory_that_runs_out_halves_the_batch():
    class Small(ConvBN):
        most = 5

        def forward(self, x):
            if len(x) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    model, pictures, heatmaps = seeded(Small()), images(8), random_maps(8, 4, 4)
    result = faithfulness(model, pictures, heatmaps, steps=4)
    model.most = 10**6
    expected = faithfulness(model, pictures, heatmaps, steps=4)
    torch.testing.assert_close(result.insertion, expected.insertion, atol=1e-6, rtol=0)
    model.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        faithfulness(model, pictures, heatmaps, steps=4)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_images_that_must_stay_together_are_not_halved_when_memory_runs_out(after):
    sizes = []

    class Short(BatchStatistics):
        def forward(self, x):
            sizes.append(len(x))
            if len(sizes) > after:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    with pytest.raises(torch.OutOfMemoryError):
        faithfulness(seeded(Short()), images(4), random_maps(4, 4, 4), steps=4)
    assert sizes == [4] * (after + 1)


def test_on_a_device_everything_is_there(monkeypatch):
    # Fake tensors hold no numbers to be checked, and isolation asks a device that is not there.
    monkeypatch.setattr(classes_of_heads, "check_classes", lambda *_given: None)
    monkeypatch.setattr(evaluation, "isolated", lambda *_given: torch.no_grad())
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            model, pictures = ConvBN().eval(), torch.empty(3, 3, 8, 8)
        with torch.no_grad(), FakeDevice() as device:
            result = faithfulness(
                model, pictures, torch.empty(3, 4, 4), steps=4, memory_budget=10**7
            )
    assert {each.device.type for each in device.results} == {"cuda", "cpu"}
    for name in (*FORWARDS, *CURVES, "classes", "probabilities"):
        assert getattr(result, name).device.type == "cpu"


# -------------------------------------------------------------------------------------- tasks


class Columns(nn.Module):
    """So many columns, with something done to them."""

    def __init__(self, columns, end=None, **attributes):
        super().__init__()
        self.inner = ConvBN()
        self.inner.head = nn.Linear(96, columns)
        self.end = end or (lambda logits: logits)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.end(self.inner(x))


def curve_ends(model, probability, **given):
    """Curves of a network end where a plain forward says they do."""
    pictures, heatmaps = images(3).double(), random_maps(3, 4, 4)
    result = faithfulness(model, pictures, heatmaps, steps=3, **given)
    with torch.no_grad():
        intact, blank = (probability(model(each.clone())) for each in (pictures, pictures * 0))
        blurry = probability(model(blurred(pictures)))
    torch.testing.assert_close(result.probabilities, intact)
    torch.testing.assert_close(result.deletion_curve[:, 0], intact)
    torch.testing.assert_close(result.deletion_curve[:, -1], blank)
    torch.testing.assert_close(result.insertion_curve[:, -1], intact)
    torch.testing.assert_close(result.insertion_curve[:, 0], blurry)
    return result


def test_one_logit_has_two_sides():
    model = doubled(Columns(1))
    result = curve_ends(model, lambda out: 1 - out.sigmoid()[:, 0], classes=0)
    assert result.task == "binary"
    flat = doubled(Columns(1, lambda out: out[:, 0]))
    curve_ends(flat, lambda out: out.sigmoid(), classes=1)
    curve_ends(doubled(Columns(1, torch.sigmoid)), lambda out: out[:, 0], classes=1)


def test_several_labels_have_a_sigmoid_each():
    model = doubled(Columns(4))
    result = curve_ends(model, lambda out: out.sigmoid()[:, 2], classes=2, task="multilabel")
    assert result.task == "multilabel"
    curve_ends(doubled(Columns(4, task="multilabel")), lambda out: out.sigmoid()[:, 1], classes=1)


@pytest.mark.parametrize(
    "end",
    [
        nn.Softmax(dim=1),
        nn.Softmax(dim=-1),
        lambda out: out.softmax(1).clone().flatten(1),
        lambda out: {"logits": torch.softmax(out, 1), "other": out},
        lambda out: out.clone().sigmoid_(),
    ],
)
def test_what_a_network_ends_in_is_not_done_twice(end):
    def read(out):
        return (out["logits"] if isinstance(out, dict) else out)[:, 3]

    model = doubled(Columns(4, end))
    result = curve_ends(model, read, classes=3)
    found = ablation_cam(model, "inner.conv", images(3).double(), 3)
    torch.testing.assert_close(result.probabilities, found.probabilities)


def test_endings():
    x = torch.rand(2, 3)

    def ending(compute):
        with torch.no_grad(), Endings() as endings:
            output = compute(x)
        return endings.activation_of(output)

    assert ending(lambda x: x.sigmoid().view(3, 2)) == "sigmoid"
    assert ending(lambda x: x.softmax(0)) is None
    assert ending(lambda x: x.softmax(1) + 1) is None
    assert ending(lambda x: x.softmax(1).mul_(2)) is None
    assert ending(lambda x: x.log_softmax(1)) is None
    assert ending(lambda x: x) is None


def test_the_predicted_class_is_asked_for_where_none_is_named():
    model, pictures = seeded(ConvBN()), images(4)
    result = faithfulness(model, pictures, random_maps(4, 4, 4), measures=["increase"])
    assert torch.equal(result.classes, model(pictures).argmax(1))
    assert result.classes.dtype == torch.int64


def test_part_of_an_output_and_a_forward_of_ones_own():
    end = lambda out: {"a": out, "b": -out}  # noqa: E731
    model = doubled(Columns(4, end))
    curve_ends(model, lambda out: out["b"].softmax(1)[:, 1], classes=1, output="b")
    curve_ends(
        model,
        lambda out: out["a"].softmax(1)[:, 1],
        classes=1,
        forward=lambda model, x: model(x)["a"],
    )


class Places(nn.Module):
    """Four classes at each place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize("masked", [False, True])
def test_of_a_segmentation_it_is_the_mean_over_the_region(masked):
    model, pictures = doubled(Places()), images(3).double()
    masks = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    region = masks if masked else model(pictures).argmax(1) == 2

    def read(out):
        inside = out.softmax(1)[:, 2] * region
        return inside.flatten(1).sum(1) / region.flatten(1).sum(1)

    result = curve_ends(model, read, classes=2, masks=masks if masked else None, memory_budget=9000)
    assert result.task == "segmentation"


def test_masks_are_told_of_where_they_say_nothing():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    given = {"heatmaps": random_maps(3, 4, 4), "masks": masks, "measures": ["increase"]}
    with pytest.warns(UserWarning, match="masks is for outputs of a number at each place"):
        faithfulness(seeded(ConvBN()), images(3), **given)
    with pytest.warns(UserWarning, match="masks say nowhere of the class explained in 3 of 3"):
        faithfulness(seeded(Places()), images(3), **given)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("channels", [True, False])
def test_signals_pictures_and_volumes(dims, channels):
    size = (12, 5, 4)[:dims]
    torch.manual_seed(0)
    tail = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(size)) * 2, 3)).double()

    def forward(_model, x):
        return tail(x if channels else torch.stack([x, -x], dim=1))

    pictures = torch.rand(2, 2, *size).double()
    pictures = pictures if channels else pictures[:, 0]
    heatmaps = random_maps(2, *(3, 2, 2)[:dims])
    result = faithfulness(tail, pictures, heatmaps, 1, forward=forward, steps=4)

    def probability(picture):
        x = torch.from_numpy(picture if channels else picture[0])[None]
        with torch.no_grad():
            return float(forward(None, x).softmax(1)[0, 1])

    for row in range(2):
        picture = pictures[row].numpy() if channels else pictures[row].numpy()[None]
        expected = slow.faithfulness_reference(
            probability, picture, heatmaps[row].double().numpy(), 4, np.zeros_like(picture)
        )
        for name in (*FORWARDS, *CURVES):
            np.testing.assert_allclose(
                getattr(result, name)[row], getattr(expected, name), atol=1e-9, err_msg=name
            )


class Both(nn.Module):
    def __init__(self, fed):
        super().__init__()
        self.inner = ConvBN()
        self.tell = lambda *given: fed.append([each.clone() for each in given])

    def forward(self, image, depth, scale):
        self.tell(image, depth)
        return self.inner(image * scale + depth)


@pytest.mark.parametrize("changed", [None, "depth"])
def test_of_several_inputs_one_is_changed(changed):
    fed = []
    model = seeded(Both(fed))
    pictures, depth = images(3), images(3, seed=9)
    inputs = {"image": pictures, "depth": depth, "scale": torch.tensor(2.0)}
    result = faithfulness(
        model, inputs, random_maps(3, 4, 4), shown=changed, steps=2, memory_budget=40_000
    )
    kept, other = (depth, pictures) if changed is None else (pictures, depth)
    place = 1 if changed is None else 0
    rows = torch.cat([each[place] for each in fed])
    assert all(any(torch.equal(row, each) for each in kept) for row in rows)
    rows = torch.cat([each[1 - place] for each in fed])
    assert not all(any(torch.equal(row, each) for each in other) for row in rows)
    blank = {**inputs, changed or "image": other * 0}
    with torch.no_grad():
        expected = model(**blank).softmax(1)[torch.arange(3), result.classes]
    torch.testing.assert_close(result.deletion_curve[:, -1].float(), expected)


def test_pictures_of_whole_numbers_stay_such():
    seen = set()

    class Pixels(ConvBN):
        def forward(self, x):
            seen.add(x.dtype)
            return super().forward(x.float() / 255)

    pictures = (images(2).sigmoid() * 255).to(torch.uint8)
    model, heatmaps = seeded(Pixels()), random_maps(2, 4, 4)
    result = faithfulness(model, pictures, heatmaps, baseline=127, steps=4)
    assert seen == {torch.uint8}
    by_hand = explained_images(pictures.float(), heatmaps, 127.0).round() / 255
    with torch.no_grad():
        expected = ConvBN.forward(model, by_hand).softmax(1)
    torch.testing.assert_close(
        result.explained_probabilities.float(), expected[torch.arange(2), result.classes]
    )


def test_maps_of_other_libraries():
    model, pictures, maps = seeded(ConvBN()), images(2), random_maps(2, 8, 8)
    expected = faithfulness(model, pictures, maps, steps=4)
    for same in (maps.numpy(), maps.double().numpy(), maps.requires_grad_()):
        found = faithfulness(model, pictures, same, steps=4)
        torch.testing.assert_close(found.deletion_curve, expected.deletion_curve)
    region = maps > 0.5
    found = faithfulness(model, pictures, region, measures=["average_drop"])
    torch.testing.assert_close(
        found.average_drop,
        faithfulness(model, pictures, region.float(), measures=["average_drop"]).average_drop,
    )


# ------------------------------------------------------------------------------- what is refused


def test_what_has_no_class_probability_is_refused():
    given = (images(2), random_maps(2, 4, 4))
    for task in ("regression", "similarity"):
        with pytest.raises(ValueError, match=f"class probabilities, which task='{task}' has none"):
            faithfulness(seeded(ConvBN()), *given, task=task)
    model = Columns(1, task="regression")
    with pytest.raises(ValueError, match="task='regression' has none of"):
        faithfulness(seeded(model), *given)
    with pytest.raises(ValueError, match="without logits"):
        faithfulness(seeded(ConvBN()), *given, forward=lambda _model, _x: {"boxes": None})
    ask = {"classes": torch.zeros(2, dtype=torch.int64), "measures": ["deletion"], "tell": print}
    with pytest.raises(ValueError, match="measures of faithfulness need class probabilities"):
        measure_faithfulness(
            seeded(ConvBN()), *given, options=Options(lambda out, c: out[:, 0]), **ask
        )
    with pytest.raises(ValueError, match="task='similarity' has none of"):
        measure_faithfulness(
            seeded(ConvBN()), *given, options=Options(embeddings=torch.eye(4)), **ask
        )


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"heatmaps": torch.rand(2, 4)}, ValueError, "expected one map of 2 dimensions"),
        ({"heatmaps": torch.rand(3, 4, 4)}, ValueError, "for each of the 2 rows of inputs"),
        ({"heatmaps": torch.rand(2, 1, 4, 4)}, ValueError, "expected one map of 2 dimensions"),
        ({"heatmaps": torch.rand(2, 0, 4)}, ValueError, "is empty"),
        ({"heatmaps": [[1.0]]}, TypeError, "no tensor or array of numbers; expected one map"),
        ({"measures": "deletion"}, TypeError, "expected a list of 'average_drop'"),
        ({"measures": []}, ValueError, "is empty"),
        ({"measures": ["drift"]}, ValueError, "contains 'drift'"),
        ({"measures": ["deletion", "deletion"]}, ValueError, "twice"),
        ({"steps": 0}, ValueError, "steps=0"),
        ({"steps": 2.0}, TypeError, "steps=2.0"),
        ({"baseline": [0.0, 1.0]}, ValueError, "a number, 3, one for each channel, or an image"),
        ({"baseline": torch.zeros(8, 8)}, ValueError, "does not fit images of shape"),
        ({"baseline": float("nan")}, ValueError, "not finite"),
        ({"baseline": "black"}, TypeError, "baseline='black'"),
        ({"shown": "x"}, ValueError, "shown='x' is not among the inputs"),
        ({"shown": 3}, TypeError, "shown=3"),
        ({"classes": 4}, ValueError, "classes contains 4"),
        ({"classes": -1}, ValueError, "classes contains -1"),
        ({"model": 3}, TypeError, "model=3"),
        ({"memory_budget": 0}, ValueError, "memory_budget=0"),
    ],
)
def test_errors_name_the_argument_and_what_is_expected(given, error, message):
    arguments = {"model": seeded(ConvBN()), "inputs": images(2), "heatmaps": random_maps(2, 4, 4)}
    with pytest.raises(error, match=message):
        faithfulness(**{**arguments, **given})


def test_several_inputs_without_a_name_need_one():
    inputs = {"left": images(2), "right": images(2)}
    with pytest.raises(ValueError, match="shown="):
        faithfulness(seeded(ConvBN()), inputs, random_maps(2, 4, 4))


# ---------------------------------------------------------------------------------- the monitor


def test_the_monitor_gets_the_same_numbers():
    model, pictures, heatmaps = seeded(ConvBN()), images(4), random_maps(4, 4, 4)
    classes = torch.tensor([1, -1, 3, -1])
    predicted = model(pictures).argmax(1)
    expected = faithfulness(
        model, pictures, heatmaps, torch.where(classes < 0, predicted, classes), steps=4
    )
    for score in ("logit", "contrast"):
        found = measure_faithfulness(
            model,
            pictures,
            heatmaps,
            classes,
            Options(score, also=("rival",), memory_budget=10**9),
            ("deletion", "average_drop"),
            pytest.fail,
            steps=4,
        )
        assert list(found) == ["deletion", "average_drop"]
        for name, values in found.items():
            assert values.shape == (4,)
            assert values.dtype == torch.float64
            torch.testing.assert_close(values, getattr(expected, name))


def test_the_monitor_says_what_labels_tell_of_the_task():
    model, pictures, heatmaps = seeded(ConvBN()), images(2), random_maps(2, 4, 4)
    classes = torch.zeros(2, dtype=torch.int64)
    found = measure_faithfulness(
        model, pictures, heatmaps, classes, Options(), ["deletion"], print, declared="multilabel"
    )
    expected = faithfulness(
        model, pictures, heatmaps, classes, task="multilabel", measures=["deletion"]
    )
    torch.testing.assert_close(found["deletion"], expected.deletion)


# -------------------------------------------------------------------------------------- isolation


class Counting(Dropouts):
    """Writes into itself whenever it runs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x):
        self.runs += 1
        return super().forward(x)


def test_the_model_is_left_as_it_was():
    model = seeded(Counting()).train()
    model.drop.eval()
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    pictures, heatmaps = images(3), random_maps(3, 4, 4)
    given = pictures.clone(), heatmaps.clone()
    seeds = [(random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())]  # noqa: NPY002
    first = faithfulness(model, pictures, heatmaps, steps=3)
    with pytest.raises(RuntimeError, match="rejected the inputs"):
        faithfulness(model, pictures, heatmaps, forward=broken)
    seeds.append((random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()))  # noqa: NPY002
    assert seeds[0][:2] == seeds[1][:2]
    assert torch.equal(seeds[0][2], seeds[1][2])
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(pictures, given[0])
    assert torch.equal(heatmaps, given[1])
    assert torch.is_grad_enabled()
    # In training mode, dropout is off all the same.
    second = faithfulness(model.eval(), pictures, heatmaps, steps=3)
    assert torch.equal(first.deletion_curve, second.deletion_curve)


def broken(model, _inputs):
    model.runs += 1
    torch.rand(1)
    raise ZeroDivisionError


def test_a_model_that_writes_into_its_input_spoils_nothing():
    class Writing(ConvBN):
        def forward(self, x):
            return super().forward(x.mul_(2))

    model = seeded(Writing()).double()
    curve_ends(model, lambda out: out.softmax(1)[:, 0], classes=0)


def test_measures_fit_their_axes():
    result = faithfulness(seeded(ConvBN()), images(8), random_maps(8, 4, 4), steps=4)
    for axis in (AVERAGE_DROP, AVERAGE_GAIN, INSERTION, DELETION):
        values = getattr(result, axis.name)
        assert axis.low <= values.min() <= values.max() <= axis.high
    assert isinstance(result, FaithfulnessResult)


@pytest.mark.parametrize(
    "changed",
    [
        lambda maps: np.broadcast_to(maps[:1], maps.shape),
        lambda maps: maps[:, :, ::-1],
        lambda maps: maps.astype(">f4"),
        lambda maps: np.asfortranarray(maps),
    ],
    ids=["read-only", "flipped", "big-endian", "columns first"],
)
def test_arrays_of_any_kind_are_maps(changed):
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval(), torch.rand(2, 3, 4, 4)
    maps = changed(np.random.default_rng(0).random((2, 4, 4), dtype=np.float32))
    before = maps.copy()
    found = faithfulness(model, images, maps, measures=["deletion"], steps=4)
    plainly = torch.from_numpy(np.ascontiguousarray(maps).astype(np.float32))
    expected = faithfulness(model, images, plainly, measures=["deletion"], steps=4)
    torch.testing.assert_close(found.deletion, expected.deletion)
    assert (maps == before).all()


def test_a_baseline_that_whole_numbers_cannot_hold_is_refused():
    model = nn.Sequential(Scaled(), nn.Flatten(), nn.Linear(48, 3)).eval()
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    for baseline in (-50.0, [0.0, 0.0, 256.0]):
        with pytest.raises(ValueError, match=r"baseline=.* torch.uint8; expected 0 to 255"):
            faithfulness(model, images, torch.rand(2, 4, 4), baseline=baseline)


class Scaled(nn.Module):
    def forward(self, images):
        return images.float() / 255
