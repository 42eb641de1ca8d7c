from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.outputs import pictures as drawing
from lightning_ablationcam.run.history import History, Pass
from lightning_ablationcam.run.regions import Regions


def story(passes=10, predicted=(1, 0)):
    probes = ProbeSet(
        torch.rand(2, 3, 32, 32), labels=[1, 1], names=["p", "q"], class_names=["ant", "bee"]
    )
    history = History()
    for step in range(passes):
        heat = np.full((2, 4, 4), step + 1, np.float32)
        classes, scores = np.array([1, 1]), np.array([3.5, -1.0])
        history.append(
            Pass(
                step * 5,
                step,
                "conv",
                heat,
                classes,
                scores,
                np.array(predicted),
                np.array([0.9, 0.2]),
                {"balance": np.full(2, (step + 1) / passes)},
            )
        )
    return probes, history


def all_drawn(probes, history, scale):
    passes = drawing.draw_pass(probes, history, scale=scale, score="logit")
    return [*passes, *drawing.draw_evolutions(probes, history, scale=scale)]


def test_one_overview_and_two_pictures_for_each_probe():
    probes, history = story()
    drawn = all_drawn(probes, history, "probe")
    assert [(d.kind, d.name) for d in drawn] == [
        ("overview", ""),
        ("probes", "p"),
        ("probes", "q"),
        ("evolution", "p"),
        ("evolution", "q"),
    ]
    assert all(d.picture.dtype == np.uint8 and d.picture.shape[2] == 3 for d in drawn)


def test_captions_say_class_score_and_mistakes(monkeypatch):
    seen = {}
    for name in ("probe_picture", "evolution_strip", "overview_grid"):
        monkeypatch.setattr(
            drawing, name, lambda *args, name=name, **_: seen.setdefault(name, []).append(args)
        )
    probes, history = story()
    all_drawn(probes, history, "probe")
    assert [args[2] for args in seen["probe_picture"]] == [
        ["p", "logit 3.5 · balance 100% · 90% · bee", "predicted bee, label bee"],
        ["q", "logit -1 · balance 100% · 20% · bee", "predicted ant, label bee"],
    ]
    heats, captions, title = seen["evolution_strip"][0][1:4]
    assert len(heats) == len(captions) == 8
    assert captions[0] == ["step 0", "90% · bee", "balance 10%"]
    assert captions[-1][0] == "step 45"
    assert title == ["p", "epochs 0 to 9 · conv"]
    assert (heats[0] == np.float32(0.1)).all()
    assert (heats[-1] == 1).all()
    assert seen["overview_grid"][0][3] == ["epoch 9 · step 45", "conv"]


@pytest.mark.parametrize(
    ("scale", "first", "legend"),
    [
        ("map", 1.0, "each map"),
        ("probe", 0.1, "its largest balance so far"),
        ("run", 0.1, "largest balance of all"),
    ],
)
def test_the_scale_decides_what_full_colour_means(monkeypatch, scale, first, legend):
    seen = []
    monkeypatch.setattr(drawing, "evolution_strip", lambda *args, **_: seen.append(args))
    all_drawn(*story(), scale)
    assert seen[0][1][0].max() == np.float32(first)
    assert legend in seen[0][4]


def test_an_animation_of_each_probe_with_what_the_still_pictures_say(monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "probe_animation", lambda *args, **_: seen.append(args) or b"film")
    probes, history = story(passes=5)
    films = list(drawing.draw_animations(probes, history, scale="probe", score="logit"))
    assert films == [("p", b"film"), ("q", b"film")]
    picture, heats, captions, progress, legend = seen[1]
    assert np.array_equal(picture, probes.pictures()[1])
    assert [heat.max() for heat in heats] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert captions[2] == [
        "q",
        "epoch 2 · step 10",
        "logit -1 · balance 60% · 20% · bee",
        "predicted ant, label bee",
    ]
    assert progress == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert legend == "maximum at its largest balance so far"


def test_an_animation_shows_at_most_32_passes_with_the_first_and_the_newest(monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "probe_animation", lambda *args, **_: seen.append(args))
    list(drawing.draw_animations(*story(passes=60), scale="map", score="logit"))
    _, heats, captions, progress, _ = seen[0]
    assert len(heats) == len(captions) == len(progress) == 32
    assert captions[0][1] == "epoch 0 · step 0"
    assert captions[-1][1] == "epoch 59 · step 295"
    assert (np.diff(progress) > 0).all()


def test_an_animation_of_step_zero_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "probe_animation", lambda *args, **_: seen.append(args))
    list(drawing.draw_animations(*story(passes=1), scale="map", score="logit"))
    assert seen[0][3] == [0]


def test_a_score_of_the_users_own_is_called_score():
    assert drawing.score_name("probability") == "probability"
    assert drawing.score_name(len) == "score"


def test_each_number_stands_beside_its_class(monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "probe_picture", lambda *args, **_: seen.append(args[2]))
    probes, history = story(passes=1)
    last = history.passes[0]
    history.passes[0] = replace(
        last,
        measures={"balance": np.array([0.75, 0.5])},
        top_classes=np.array([[1, 0], [0, 1]]),
        top_probabilities=np.array([[0.9, 0.1], [0.8, 0.2]]),
    )
    list(drawing.draw_pass(probes, history, scale="map", score="logit"))
    assert seen == [
        ["p", "logit 3.5 · balance 75% · 90% · bee", "predicted bee 90%, label bee"],
        ["q", "logit -1 · balance 50% · 20% · bee", "predicted ant 80%, label bee"],
    ]


def with_signs(history, regions=None):
    for i, one in enumerate(history.passes):
        signed = one.heatmaps.copy()
        signed[:, 0] = -2 * signed[:, 0]
        history.passes[i] = replace(one, signed=signed, regions=regions)


def test_both_signs_and_regions_reach_every_picture(monkeypatch):
    seen = {}
    for name in ("probe_picture", "evolution_strip", "overview_grid", "probe_animation"):
        monkeypatch.setattr(
            drawing, name, lambda *args, name=name, **more: seen.setdefault(name, (args, more))
        )
    probes, history = story(passes=2)
    masks = torch.rand(2, 9, 9) > 0.5
    with_signs(history, Regions.of(masks))
    all_drawn(probes, history, "map")
    list(drawing.draw_animations(probes, history, scale="map", score="logit"))
    for name, (args, more) in seen.items():
        assert more.pop("signed") is True
        heat = np.asarray(args[1])
        assert (heat.min(), heat.max()) == (-1, 0.5)
        assert "largest value of each map" in args[-1]
        (regions,) = more.values()
        each = (
            regions
            if name == "overview_grid"
            else [regions]
            if name == "probe_picture"
            else regions
        )
        expected = masks.numpy() if name == "overview_grid" else masks.numpy()[:1]
        for one, wanted in zip(each, expected, strict=False):
            assert np.array_equal(one, wanted)


def test_a_map_that_only_speaks_against_is_not_empty(monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "probe_picture", lambda *args, **_: seen.append(args[2]))
    probes, history = story(passes=1)
    last = history.passes[0]
    nothing = np.zeros_like(last.heatmaps)
    history.passes[0] = replace(last, heatmaps=nothing, signed=nothing - 1)
    list(drawing.draw_pass(probes, history, scale="map", score="logit"))
    history.passes[0] = replace(last, heatmaps=nothing)
    list(drawing.draw_pass(probes, history, scale="map", score="logit"))
    assert "balance 100%" in seen[0][1]
    assert "no heat" in seen[2][1]


class Worded(ProbeSet):
    def label_texts(self):
        return ["25.0", "cat, dog"]


def test_a_value_is_said_without_classes_and_predictions(monkeypatch):
    seen = {}
    for name in ("probe_picture", "evolution_strip", "overview_grid"):
        monkeypatch.setattr(
            drawing, name, lambda *args, name=name, **_: seen.setdefault(name, args)
        )
    _, history = story(passes=1)
    history.passes[0] = replace(
        history.passes[0], predicted=None, probabilities=None, task="regression"
    )
    probes = Worded(torch.rand(2, 3, 32, 32), names=["p", "q"])
    passes = drawing.draw_pass(probes, history, scale="map", score="logit")
    strips = drawing.draw_evolutions(probes, history, scale="map")
    assert len([*passes, *strips]) == 5
    assert seen["probe_picture"][2] == ["p", "value 3.5 · balance 100%", "label 25.0"]
    assert seen["overview_grid"][2] == [["p", "3.5"], ["q", "-1"]]
    assert seen["evolution_strip"][2] == [["step 0", "3.5", "balance 100%"]]
    named = Worded(torch.rand(2, 3, 32, 32), names=["p", "q"], class_names=["height", "age"])
    list(drawing.draw_pass(named, history, scale="map", score="logit"))


def test_labels_in_words_take_the_place_of_an_index(monkeypatch):
    seen = []
    monkeypatch.setattr(drawing, "probe_picture", lambda *args, **_: seen.append(args[2]))
    _, history = story(passes=1)
    last = history.passes[0]
    history.passes[0] = replace(last, classes=np.array([1, -1]), task="multilabel")
    probes = Worded(torch.rand(2, 3, 32, 32), names=["p", "q"], class_names=["ant", "bee"])
    list(drawing.draw_pass(probes, history, scale="map", score="logit"))
    assert seen[0][2] == "likeliest bee, label 25.0"
    assert seen[1][1:] == ["logit -1 · balance 100% · no label", "likeliest ant, label cat, dog"]
