"""Passes without a Trainer, and the share of one rank among several."""

from __future__ import annotations

import pytest
import torch

from lightning_ablationcam import ProbeSet, ablation_cam
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.passes import Passes
from lightning_ablationcam.run.ranks import Ranks
from tests.networks import ConvBN, images, seeded

LABELS = [2, 0, 3, 1]


def watched():
    return ProbeSet(images(4), labels=LABELS)


class OneOfTwo(Ranks):
    """One of two ranks, the other of which is never heard of."""

    def gather(self, make):
        return [make()]


def test_old_checkpoints_are_seen_as_a_fit_is():
    model, probes, passes = seeded(ConvBN()), watched(), Passes()
    explainer = Explainer("auto", "label", Options(also=("rival",)))
    for step, scale in ((10, 1.0), (20, 1.5)):
        model.conv.weight.data *= scale
        passes.look(model, probes, explainer, Notices(), step=step, epoch=step // 10)
    expected = ablation_cam(model, "bn:activation", probes.inputs, LABELS, also=("rival",))
    newest = passes.history.passes[-1]
    assert [(seen.step, seen.epoch) for seen in passes.history.passes] == [(10, 1), (20, 2)]
    torch.testing.assert_close(torch.from_numpy(newest.heatmaps), expected.heatmaps)
    rival = newest.also["rival"]
    torch.testing.assert_close(torch.from_numpy(rival.heatmaps), expected.also[0].heatmaps)
    assert rival.classes.tolist() == expected.also[0].classes.tolist()
    assert {"drift", "balance"} <= newest.measures.keys()


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    "options",
    [
        {"also": ("label",)},
        {"also": ([3, 2, 1, 0], 1)},
        {"ablation": "mean"},
        {"ablation": "noise"},
        {},
    ],
    ids=str,
)
def test_a_rank_explains_its_probes_as_one_process_would(options, rank):
    model, probes, mine = seeded(ConvBN()), watched(), slice(2 * rank, 2 * rank + 2)
    whole = Explainer("conv", "predicted", Options(**options)).explain(model, probes)
    part = Explainer("conv", "predicted", Options(**options), OneOfTwo(rank, 2)).explain(
        model, probes
    )
    assert [each.role for each in part.also] == [each.role for each in whole.also]
    for one, all_ in zip((part, *part.also), (whole, *whole.also), strict=True):
        assert one.classes.tolist() == all_.classes[mine].tolist()
        torch.testing.assert_close(one.drops, all_.drops[mine])
    if "label" in options.get("also", ()):
        assert whole.also[0].classes.tolist() == LABELS


def test_labels_are_asked_for_only_where_there_are_some():
    explainer = Explainer("conv", "predicted", Options(also=("label",)))
    with pytest.raises(ValueError, match="also='label': there are no such labels"):
        explainer.explain(seeded(ConvBN()), ProbeSet(images(2)))
