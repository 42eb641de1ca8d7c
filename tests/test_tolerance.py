"""Maps within a tolerance: the bound, what it is found from, and what stays exact."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.cam import explain_classes
from lightning_ablationcam.engine.memory import PeakMemory
from lightning_ablationcam.engine.predictor import first_order
from lightning_ablationcam.engine.propagate import Propagation
from lightning_ablationcam.engine.recorder import record_all
from lightning_ablationcam.engine.work import work_of_forward, work_of_group
from lightning_ablationcam.method import bounds
from lightning_ablationcam.method.bounds import Predictor
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.isolation import has_reduced_precision
from lightning_ablationcam.network.targets import Target
from lightning_ablationcam.options import Options
from tests.networks import seeded
from tests.reference import ablation_cam_reference
from tests.tails import ChannelNorm, Residual, SqueezeExcite

CHANNELS = 64


def deep(*, activation=nn.ReLU, seed=0, channels=CHANNELS):
    """A network whose first layer is far from its output; its target is "1"."""
    return seeded(
        nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1), activation(),
            nn.Conv2d(channels, 24, 3, padding=1), nn.BatchNorm2d(24), activation(),
            Residual(nn.Conv2d(24, 24, 3, padding=1), activation()), nn.MaxPool2d(2),
            nn.Conv2d(24, 24, 3, padding=1), activation(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
        ),
        seed,
    )  # fmt: skip


def pictures(count=3, side=12, seed=1):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def off(found, exact):
    """What the heatmaps are off by, as a share of the exact ones' maximum."""
    return (found.heatmaps - exact.heatmaps).abs().amax((1, 2)) / exact.heatmaps.amax((1, 2))


@pytest.fixture(autouse=True)
def _small_networks_are_worth_it(monkeypatch):
    monkeypatch.setattr("lightning_ablationcam.engine.drops.WORK_WORTH_PREDICTING", 0.0)


# --- the mathematics ---------------------------------------------------------------------------


def of_the_model(generator, groups=80, places=30, scatter=0.2):
    """Drops that follow the model of the predictions: their maps, sizes, first order and drops."""
    maps = torch.rand(groups, places, generator=generator)
    size = torch.rand(groups, generator=generator).double() * 2 + 0.1
    first = torch.randn(groups, generator=generator).double() * size
    unit, relative = first.abs().mean(), size / size.mean()
    noise = torch.randn(groups, generator=generator).double() * scatter
    bend = 0.3 * relative - 0.2 * relative**2
    drops = unit * (0.9 * first / unit + bend + relative**bounds.SPREAD_POWER * noise)
    return maps, size, first, drops


def test_predictions_are_the_ridge_regression_of_numpy():
    generator = torch.Generator().manual_seed(0)
    _, size, first, drops = of_the_model(generator)
    known = torch.arange(80) % 3 == 0
    forecast = Predictor.of(first, size).forecast(drops, known)

    unit, relative = float(first.abs().mean()), (size / size.mean()).numpy()
    features = np.stack([first.numpy() / unit, relative, relative**2], axis=1)
    weight = relative**-1.5
    rows = np.concatenate([features * weight[:, None], np.sqrt(bounds.PRIOR) * np.eye(3)])
    seen = np.concatenate([drops.numpy() / unit * weight, np.sqrt(bounds.PRIOR) * np.eye(3)[0]])
    kept = np.concatenate([known.numpy(), [True] * 3])
    solution = np.linalg.lstsq(rows[kept], seen[kept], rcond=None)[0]
    np.testing.assert_allclose(forecast.drops.numpy(), features @ solution * unit, rtol=1e-9)
    missed = (rows @ solution - seen)[:80][known.numpy()]
    assert forecast.variance == pytest.approx((missed**2).sum() / (27 - 3), rel=1e-6)


def test_what_is_linear_is_predicted_without_an_error():
    generator = torch.Generator().manual_seed(0)
    maps, size, first, _ = of_the_model(generator)
    known = torch.arange(80) < 16
    forecast = Predictor.of(first, size).forecast(first, known)
    torch.testing.assert_close(forecast.drops, first)
    assert forecast.largest_error(maps, ~known, forecast.variance) < 1e-9


def test_the_bound_holds_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    broken, ratios = 0, []
    for _ in range(400):
        maps, size, first, drops = of_the_model(generator)
        known = torch.zeros(80, dtype=torch.bool)
        known[torch.randperm(80, generator=generator)[:24]] = True
        forecast = Predictor.of(first, size).forecast(drops, known)
        bound = forecast.largest_error(maps, ~known, forecast.variance)
        missed = torch.where(known, 0, forecast.drops - drops)
        true = float((missed @ maps.double()).abs().max())
        broken += true > bound
        ratios.append(true / bound)
    # 1 % is 4 of 400; 12 would be four standard deviations off.
    assert broken <= 12
    # And it is no empty promise: the error comes close to it.
    assert np.median(ratios) > 0.2


@pytest.mark.parametrize("freedom", [5, 13, 60, 400])
def test_the_quantile_is_students(freedom):
    expected = stats.t.ppf((1 + bounds.CONFIDENCE) / 2, freedom)
    assert bounds._student(freedom) == pytest.approx(expected, rel=0.01)


# --- estimates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["logit", "probability", "contrast"])
@pytest.mark.parametrize(
    "middle", [Residual(nn.Conv2d(8, 8, 3, padding=1)), SqueezeExcite(8), ChannelNorm(8)]
)
def test_first_order_is_the_networks_gradient_times_what_is_taken(middle, score, monkeypatch):
    model = seeded(
        nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.GELU(), middle,
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )
    ).double()  # fmt: skip
    x = pictures().double()
    found = {}

    def spy(program, question):
        found["drops"] = first_order(program, question)
        return found["drops"]

    monkeypatch.setattr("lightning_ablationcam.engine.predictor.first_order", spy)
    monkeypatch.setattr("lightning_ablationcam.engine.drops.predicts", lambda *_, **__: True)
    ablation_cam(model, "1", x[:1], classes=2, score=score, tolerance=0.5)

    value = model[:2](x[:1]).detach().requires_grad_()
    logits = model[2:](value)
    others = logits.masked_fill(torch.arange(4) == 2, -torch.inf)
    scores = {
        "logit": logits[0, 2],
        "probability": logits.softmax(1)[0, 2],
        "contrast": logits[0, 2] - others.amax(),
    }
    (gradient,) = torch.autograd.grad(scores[score], value)
    expected = (gradient * value).sum((2, 3)).detach()
    torch.testing.assert_close(found["drops"][..., 0], expected)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_work_is_counted_from_the_second_mixing_operation_on():
    model, x = deep(), pictures(2)
    (recording,) = record_all(model, [Target(model[1], "1")], x, call, tail=True)
    program = recording.tail
    each, numbers = work_of_group(program, program.nodes)
    # A convolution of 24 to 24 channels at 12x12, one at 6x6, and the linear layer.
    assert each == 24 * 24 * 9 * (144 + 36) + 24 * 5
    assert numbers > 24 * (144 * 6 + 36 * 3)
    first = (3 * CHANNELS + CHANNELS * 24) * 9 * 144
    assert work_of_forward(model, x, call) == first + each


# --- maps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.ReLU6, nn.Hardswish])
@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.03])
def test_maps_are_within_what_is_stated_and_that_within_the_tolerance(activation, tolerance):
    spared = 0
    for seed in range(3):
        model, x = deep(activation=activation, seed=seed), pictures(seed=seed)
        exact = ablation_cam(model, "1", x)
        found = ablation_cam(model, "1", x, classes=exact.classes, tolerance=tolerance)
        assert found.engine == "propagate"
        assert (found.error <= tolerance).all()
        assert (off(found, exact) <= found.error + 1e-5).all()
        spared += int((~found.computed).sum())
        # What is computed is exact; what is predicted need not be.
        computed = found.computed
        allowed = 1e-4 * exact.drops.abs().max()
        assert ((found.drops - exact.drops).abs()[computed] <= allowed).all()
        assert (found.error[computed.all(1)] == 0).all()
    assert spared > 0


def test_a_tighter_tolerance_computes_more():
    model, x = deep(activation=nn.GELU), pictures()
    counts = [
        int(ablation_cam(model, "1", x, tolerance=tolerance).computed.sum())
        for tolerance in (0.3, 0.05, 0.005)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_maps_agree_with_the_papers_loop_within_the_bound():
    model, x = deep(activation=nn.GELU), pictures()
    found = ablation_cam(model, "1", x, classes=[0, 1, 2], tolerance=0.05)
    expected = ablation_cam_reference(model, "1", x, [0, 1, 2]).heatmaps
    missed = (found.heatmaps - expected).abs().amax((1, 2)) / expected.amax((1, 2))
    assert (missed <= found.error + 1e-5).all()
    assert not found.computed.all()


def test_without_a_tolerance_everything_is_computed():
    result = ablation_cam(deep(), "1", pictures(), also=("rival",))
    assert result.computed.shape == (3, CHANNELS)
    assert result.computed.all()
    for each in (result, *result.also):
        assert each.error.dtype == torch.float64
        assert (each.error == 0).all()


def test_near_the_output_nothing_is_predicted_since_it_would_spare_nothing():
    model, x = deep(), pictures()
    exact, found = (ablation_cam(model, "8", x, tolerance=t) for t in (None, 0.2))
    assert found.computed.all()
    assert torch.equal(found.heatmaps, exact.heatmaps)


def test_images_stop_each_by_itself_whatever_else_is_in_the_batch():
    model, x = deep(activation=nn.GELU), pictures(4)
    together = ablation_cam(model, "1", x, tolerance=0.05)
    assert len(set(together.computed.sum(1).tolist())) > 1
    for place in range(4):
        alone = ablation_cam(model, "1", x[place : place + 1], tolerance=0.05)
        assert torch.equal(alone.computed[0], together.computed[place])
        torch.testing.assert_close(alone.heatmaps[0], together.heatmaps[place])
        torch.testing.assert_close(alone.error[0], together.error[place], rtol=1e-3, atol=1e-6)


def test_where_images_share_channels_all_are_within_the_tolerance(monkeypatch):
    # As on a GPU, where one image alone would leave most of it idle.
    monkeypatch.setattr("lightning_ablationcam.cam._may_be_apart", lambda *_: False)
    model, x = deep(activation=nn.GELU, channels=128), pictures(4)
    exact = ablation_cam(model, "1", x)
    found = ablation_cam(model, "1", x, tolerance=0.2)
    assert (found.error <= 0.2).all()
    assert (off(found, exact) <= found.error + 1e-5).all()
    assert not found.computed.all()
    assert (found.computed == found.computed[0]).all()


def precisions():
    """How float32 is multiplied on a GPU now."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    return [backend.fp32_precision for backend in backends]


def test_a_device_with_reduced_precision_predicts_by_it(monkeypatch):
    # As a GPU does; on a CPU nothing is rounded, and predictions are what is computed.
    monkeypatch.setattr("lightning_ablationcam.cam._may_be_apart", lambda *_: False)
    for place in ("engine.drops.is_reducible", "engine.predictor.is_reducible"):
        monkeypatch.setattr(f"lightning_ablationcam.{place}", lambda _: True)
    for limit in ("REDUCED_WORK_WORTH_PREDICTING", "REDUCED_DENSITY_WORTH_PREDICTING"):
        monkeypatch.setattr(f"lightning_ablationcam.engine.drops.{limit}", 0.0)
    seen, right = [], Propagation.drops

    def drops(self, groups=None):
        seen.append((groups is None, precisions()))
        return right(self, groups)

    monkeypatch.setattr(Propagation, "drops", drops)
    model, x = deep(activation=nn.GELU), pictures(4)
    exact = ablation_cam(model, "1", x)
    before = precisions()
    seen.clear()
    found = ablation_cam(model, "1", x, tolerance=0.05)
    assert precisions() == before
    assert [everything for everything, _ in seen] == [True, False]
    assert seen[0][1] == ["tf32", "tf32"]
    assert "tf32" not in seen[1][1]
    assert found.computed.sum(1).tolist() == [16] * 4
    torch.testing.assert_close(found.heatmaps, exact.heatmaps)
    assert (found.error < 1e-3).all()


@pytest.mark.parametrize(
    ("kind", "capability", "build", "expected"),
    [
        ("cuda", (9, 0), "13.0", True),
        ("cuda", (7, 5), "13.0", False),
        ("cuda", (9, 0), None, False),
        ("cpu", (9, 0), "13.0", False),
    ],
)
def test_which_devices_have_reduced_precision(kind, capability, build, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.version, "cuda", build)
    assert has_reduced_precision(torch.device(kind)) is expected


def test_every_class_asked_for_is_within_the_tolerance():
    model, x = deep(activation=nn.GELU, channels=128), pictures()
    exact = ablation_cam(model, "1", x, also=("rival", 3))
    found = ablation_cam(model, "1", x, also=("rival", 3), tolerance=0.2)
    for mine, other in zip((found, *found.also), (exact, *exact.also), strict=True):
        assert (mine.error <= 0.2).all()
        assert (off(mine, other) <= mine.error + 1e-5).all()
    assert not found.computed.all()


def test_groups_are_computed_or_predicted_as_one():
    model, x = deep(activation=nn.GELU, channels=192), pictures()
    groups = torch.arange(192) // 2
    exact = ablation_cam(model, "1", x, groups=groups)
    found = ablation_cam(model, "1", x, groups=groups, tolerance=0.3)
    assert (off(found, exact) <= found.error + 1e-5).all()
    pairs = found.computed.view(3, 96, 2)
    assert (pairs[..., 0] == pairs[..., 1]).all()
    assert not pairs.all()


def test_several_layers_are_each_within_the_tolerance():
    model, x = deep(activation=nn.GELU), pictures()
    exact = ablation_cam(model, ["1", "8"], x)
    found = ablation_cam(model, ["1", "8"], x, tolerance=0.05)
    for mine, other in zip(found.layers, exact.layers, strict=True):
        assert (off(mine, other) <= mine.error + 1e-5).all()
    assert not found.layers[0].computed.all()
    assert found.layers[1].computed.all()


def test_what_ablation_does_not_change_counts_as_computed():
    model, x = deep(activation=nn.GELU), pictures()
    exact = ablation_cam(model, "1", x, ablation=lambda a: a.index_fill(1, torch.arange(40), 0))
    found = ablation_cam(
        model, "1", x, ablation=lambda a: a.index_fill(1, torch.arange(40), 0), tolerance=0.2
    )
    assert found.computed[:, 40:].all()
    assert (found.drops[:, 40:] == 0).all()
    assert (off(found, exact) <= found.error + 1e-5).all()


def test_small_networks_are_not_predicted_since_computing_is_faster(monkeypatch):
    monkeypatch.undo()
    found = ablation_cam(deep(activation=nn.GELU), "1", pictures(), tolerance=0.2)
    assert found.computed.all()


# --- where nothing is predicted ----------------------------------------------------------------


def test_replay_computes_everything():
    model, x = deep(), pictures(1)
    result = ablation_cam(model, "1", x, engine="replay", tolerance=0.2)
    assert result.engine == "replay"
    assert result.computed.all()
    assert (result.error == 0).all()


def test_a_score_without_a_derivative_computes_everything():
    def score(output, classes):
        with torch.no_grad():
            return output.argsort(1).gather(1, classes[:, None])[:, 0].float()

    result = ablation_cam(deep(), "1", pictures(1), classes=1, score=score, tolerance=0.2)
    assert result.computed.all()
    assert (result.error == 0).all()


def test_a_broken_network_shows_its_nan():
    model = deep()
    model[2].weight.data[0, 0, 0, 0] = torch.nan
    result = ablation_cam(model, "1", pictures(2), classes=1, tolerance=0.2)
    assert result.heatmaps.isnan().any()
    assert result.computed.all()


def test_a_map_without_heat_is_measured_by_what_speaks_against_the_class():
    model, x = deep(activation=nn.ReLU, channels=128), pictures(2)
    # Every channel adds to what comes after it, and the class has that against it.
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.abs_()
    model[-1].weight.data[1] = -model[-1].weight.data[1].abs()
    exact = ablation_cam(model, "1", x, classes=1)
    result = ablation_cam(model, "1", x, classes=1, tolerance=0.2)
    assert (exact.heatmaps == 0).all()
    assert (result.heatmaps == 0).all()
    assert not result.computed.all()
    missed = (result.signed - exact.signed).abs().amax((1, 2)) / exact.signed.abs().amax((1, 2))
    assert (missed <= result.error + 1e-5).all()
    assert (result.error[~result.computed.all(1)] > 0).all()


def test_an_image_in_which_nothing_changes_has_no_error_and_holds_up_nobody(monkeypatch):
    model, x = deep(activation=nn.GELU, channels=128), pictures(4)
    ablation = lambda a: torch.cat([a[:1], torch.zeros_like(a[1:])])  # noqa: E731
    monkeypatch.setattr("lightning_ablationcam.cam._may_be_apart", lambda *_: False)
    found = ablation_cam(model, "1", x, ablation=ablation, tolerance=0.2)
    assert (found.drops[0] == 0).all()
    assert found.error[0] == 0
    assert found.computed[0].all()
    assert not found.computed[1:].all()
    alone = ablation_cam(model, "1", x[:1], ablation=ablation, tolerance=0.2)
    assert alone.error.tolist() == [0]


@pytest.mark.parametrize("wanted", [None, 1])
def test_a_score_of_your_own_is_predicted_as_well(wanted):
    def score(output, classes):
        return output.gather(1, classes[:, None])[:, 0].tanh()

    model, x = deep(activation=nn.GELU, channels=128), pictures(2)
    exact = ablation_cam(model, "1", x, classes=wanted, score=score)
    found = ablation_cam(model, "1", x, classes=wanted, score=score, tolerance=0.3)
    assert not found.computed.all()
    assert (off(found, exact) <= found.error + 1e-5).all()


def test_classes_that_an_image_does_not_have_are_not_waited_for():
    model, x = deep(activation=nn.GELU, channels=128), pictures(2)
    model[-1].weight.data[0] = 0  # What stands in for the class that is missing has no heat.
    options = Options(also=("label 2",), tolerance=0.3)
    labels = {"label 2": torch.tensor([-1, -1])}
    found = explain_classes(model, "1", x, [1, 1], options, warnings.warn, labels=labels)
    assert not found.computed.all()
    assert found.also[0].error.isnan().all()


class Squeezes(nn.Module):
    """Its output loses the dimension of the images, if there is but one."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x).squeeze()


def test_images_that_cannot_be_run_alone_stay_together():
    model, x = deep(activation=nn.GELU, channels=128), pictures(3)
    exact = ablation_cam(model, "1", x)
    found = ablation_cam(Squeezes(model), "network.1", x, classes=exact.classes, tolerance=0.2)
    assert (off(found, exact) <= found.error + 1e-5).all()
    assert not found.computed.all()
    # An ablation that looks at all images is another one for an image alone.
    options = {"ablation": lambda a: a.mean(0, keepdim=True).expand_as(a), "classes": exact.classes}
    expected = ablation_cam(model, "1", x, **options)
    again = ablation_cam(model, "1", x, tolerance=0.2, **options)
    assert (off(again, expected) <= again.error + 1e-5).all()


# --- the run does not notice -------------------------------------------------------------------


def test_neither_the_generator_nor_the_module_notices():
    model, x = deep(activation=nn.GELU), pictures()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = ablation_cam(model, "1", x, tolerance=0.1)
    assert not found.computed.all()
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_it_runs_under_inference_mode():
    model, x = deep(activation=nn.GELU), pictures()
    outside = ablation_cam(model, "1", x, tolerance=0.1)
    with torch.inference_mode():
        inside = ablation_cam(model, "1", x, tolerance=0.1)
    torch.testing.assert_close(inside.heatmaps, outside.heatmaps)


def test_memory_stays_within_the_budget():
    model, x = deep(activation=nn.GELU, channels=128), pictures(4, side=16)
    ablation_cam(model, "1", x, tolerance=0.05)
    for budget in (6_000_000, 12_000_000):
        with PeakMemory() as memory:
            found = ablation_cam(model, "1", x, tolerance=0.05, memory_budget=budget)
        assert not found.computed.all()
        assert memory.peak <= budget


def test_a_wrong_rule_is_found_out_although_few_channels_are_computed(monkeypatch):
    model, x = deep(activation=nn.GELU), pictures(2)
    right = Propagation.drops
    monkeypatch.setattr(Propagation, "drops", lambda self, groups=None: 1.5 * right(self, groups))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = ablation_cam(model, "1", x, tolerance=0.1)
    assert result.engine == "replay"
    assert any("replays" in str(warning.message) for warning in caught)
