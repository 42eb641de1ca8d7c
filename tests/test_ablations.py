"""What takes a channel's place: moments over a reference set, and noise of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_ablationcam import ProbeSet, ablation_cam
from lightning_ablationcam.method.ablations import Moments, ablate
from tests.networks import (
    BatchStatistics,
    ChannelsLast,
    ConvBN,
    InplaceReLU,
    Skip,
    TinyViT,
    images,
    seeded,
)
from tests.reference import ablation_cam_reference
from tests.test_cam import CLASSES, assert_equals_reference


def output_of(model, layer, x):
    """The layer's output in float64."""
    kept = []
    model = model.double().eval()
    handle = model.get_submodule(layer).register_forward_hook(
        lambda m, a, o: kept.append(o.clone())
    )
    with torch.no_grad():
        model(x.double())
    handle.remove()
    return kept[0]


def noise(model, layer, reference, channel_dim=1):
    """Noise by the definition, channel by channel, as the reference loop takes it."""
    found = output_of(model, layer, reference).movedim(channel_dim, 1)
    drawn = torch.randn(found.shape[1:], dtype=torch.float64, generator=seeded_generator())
    channels = [
        found[:, k].mean() + found[:, k].std(correction=0) * drawn[k] for k in range(len(drawn))
    ]
    replaced = torch.stack(channels)[None].movedim(1, channel_dim)
    return lambda activations: replaced.expand_as(activations).clone()


def seeded_generator():
    return torch.Generator().manual_seed(2020)


@pytest.mark.parametrize("network", [ConvBN, InplaceReLU, Skip])
@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_noise_equals_the_float64_loop(network, engine):
    x, others = images(), images(5, seed=7)
    for arguments in ({}, {"reference": others}, {"reference": ProbeSet(others)}):
        over = others if arguments else x
        ablate = noise(seeded(network()), "conv", over)
        reference = ablation_cam_reference(seeded(network()), "conv", x, CLASSES, ablate=ablate)
        result = ablation_cam(
            seeded(network()), "conv", x, CLASSES, ablation="noise", engine=engine, **arguments
        )
        assert_equals_reference(result, reference)


@pytest.mark.parametrize(
    ("network", "layer", "dim", "to_maps"),
    [
        (ChannelsLast, "norm", 3, lambda a: a.permute(0, 3, 1, 2)),
        (
            TinyViT,
            "blocks.1.norm1",
            2,
            lambda a: a[:, 1:].reshape(-1, 4, 4, 8).permute(0, 3, 1, 2),
        ),
    ],
)
def test_noise_in_other_layouts_equals_the_float64_loop(network, layer, dim, to_maps):
    x = images()
    reference = ablation_cam_reference(
        seeded(network()),
        layer,
        x,
        CLASSES,
        channel_dim=dim,
        ablate=noise(seeded(network()), layer, x, dim),
        to_maps=to_maps,
    )
    assert_equals_reference(
        ablation_cam(seeded(network()), layer, x, CLASSES, ablation="noise"), reference
    )


def test_noise_is_the_same_for_all_images_and_layouts():
    activations = torch.randn(3, 4, 5, 6, generator=seeded_generator())
    moments = Moments.of(activations, 1)
    replaced = ablate(activations, "noise", 1, moments)
    assert torch.equal(replaced, replaced[:1].expand_as(replaced))
    last = ablate(activations.movedim(1, 3), "noise", -1, moments)
    assert torch.equal(last.movedim(3, 1), replaced)
    assert replaced[0].flatten(1).var(dim=1).min() > 0


@settings(max_examples=10)
@given(order=st.permutations(range(4)), budget=st.integers(1, 400_000))
def test_batches_chunks_and_order_do_not_change_noise(order, budget):
    model, x = seeded(Skip()), images(4)
    arguments = {"ablation": "noise", "reference": images(40, seed=3)}
    whole = ablation_cam(model, "conv", x, 1, **arguments)
    shuffled = ablation_cam(model, "conv", x[order], 1, memory_budget=budget, **arguments)
    torch.testing.assert_close(shuffled.drops, whole.drops[order], rtol=1e-4, atol=1e-5)


def test_noise_draws_nothing_from_the_global_generator():
    model, x = seeded(ConvBN()), images()
    first = ablation_cam(model, "conv", x, 0, ablation="noise")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = ablation_cam(model, "conv", x, 0, ablation="noise")
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(again.drops, first.drops)


def test_noise_leaves_out_images_that_are_not_finite():
    model, x = seeded(ConvBN()), images()
    broken = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    for reference in (None, broken):
        beside = ablation_cam(model, "conv", broken, 0, ablation="noise", reference=reference)
        whole = ablation_cam(model, "conv", x, 0, ablation="noise")
        torch.testing.assert_close(beside.drops[:3], whole.drops)


def test_batch_statistics_are_those_of_the_whole_reference():
    model, x = seeded(BatchStatistics()), images(40)
    replaced = noise(seeded(BatchStatistics()), "bn", x)
    expected = ablation_cam(
        model, "bn", x, 0, ablation=lambda a: replaced(a).float(), engine="replay"
    )
    result = ablation_cam(model, "bn", x, 0, ablation="noise", engine="replay")
    torch.testing.assert_close(result.drops, expected.drops, rtol=1e-4, atol=1e-5)


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5), shift=st.floats(-1e6, 1e6))
def test_moments_do_not_depend_on_how_images_are_batched(sizes, shift):
    values = torch.randn(sum(sizes), 3, 2, dtype=torch.float64, generator=seeded_generator())
    values += shift
    total = Moments.of(values[:0], 1)
    for part in values.split(sizes):
        total = total.joined(Moments.of(part, 1))
    if not len(values):
        assert total.deviations.isnan().all()
        return
    assert total.count == 2 * len(values)
    torch.testing.assert_close(total.means, values.mean((0, 2)))
    deviations = values.std((0, 2), correction=0)
    torch.testing.assert_close(total.deviations, deviations, rtol=1e-7, atol=1e-9)


def test_a_channel_of_one_value_is_not_changed_by_noise_of_it():
    activations = torch.full((2, 3, 2, 2), 0.1)
    assert torch.equal(ablate(activations, "noise", 1, Moments.of(activations, 1)), activations)


def test_each_of_several_layers_gets_noise_of_its_own():
    x = images()
    both = ablation_cam(seeded(Skip()), ["conv", "mix"], x, CLASSES, ablation="noise")
    for found, layer in zip(both.layers, ("conv", "mix"), strict=True):
        alone = ablation_cam(seeded(Skip()), layer, x, CLASSES, ablation="noise")
        torch.testing.assert_close(found.drops, alone.drops, rtol=1e-4, atol=1e-5)
