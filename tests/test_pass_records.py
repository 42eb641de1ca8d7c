from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.measures.axis import CONCENTRATION, DRIFT, INSERTION
from lightning_ablationcam.outputs.pass_records import heat_record, probes_record
from lightning_ablationcam.records.format import (
    RecordError,
    decode_heat,
    encode_heat,
    picture_type,
)
from lightning_ablationcam.records.regions import runs_of
from lightning_ablationcam.render.mosaic import flat_maps
from lightning_ablationcam.run.history import Further, Pass
from lightning_ablationcam.run.regions import Regions
from tests.tab_events import an_alarm


def a_pass(**changes):
    heatmaps = np.zeros((2, 3, 4), np.float32)
    heatmaps[0, 1, 2] = 0.1
    heatmaps[0, 0, 0] = 0.05
    heatmaps[1] = np.nan
    seen = Pass(
        step=30,
        epoch=2,
        layer="net.0",
        heatmaps=heatmaps,
        classes=np.array([4, 5]),
        scores=np.array([np.float32(1.1), np.inf], np.float64),
    )
    return replace(seen, **changes)


def test_a_pass_becomes_a_record():
    record = heat_record(a_pass(), fingerprint="f00d")
    assert (record.layer, record.fingerprint, record.epoch) == ("net.0", "f00d", 2)
    maps = np.frombuffer(record.maps, np.uint8).reshape(record.shape)
    assert maps[0, 1, 2] == 255
    assert maps[0, 0, 0] == 128
    assert not maps[1].any()
    assert record.maxima == (0.1, None)
    assert record.classes == (4, 5)
    # 1.1 as float32 is 1.10000002384...: its noise would double the record.
    assert record.scores == (1.1, None)
    assert record.predicted is None
    assert record.probabilities is None
    assert (record.measures, record.alarms) == ({}, {})


def test_what_is_measured_goes_along():
    seen = a_pass(
        predicted=np.array([1, 2]),
        probabilities=np.array([0.5, np.nan]),
        measures={"drift": np.array([0.25, 1.0]), "concentration": np.array([1, 0.125])},
    )
    record = heat_record(seen, fingerprint="f")
    assert record.predicted == (1, 2)
    assert record.probabilities == (0.5, None)
    assert record.measures["drift"] == (0.25, 1.0)
    assert record.measures["concentration"] == (1.0, 0.125)
    with pytest.raises(RecordError, match="drift has 1 entries for 2 probes"):
        heat_record(replace(seen, measures={"drift": np.array([0.25])}), fingerprint="f")


def test_a_measure_of_any_name_and_its_alarms_go_along():
    measures = {"insertion": np.array([0.25, np.nan])}
    beyond = {"own": np.array([True, True]), "other": np.array([False, True])}
    rules = {"own": "any insertion above 0.5 for 1", "other": "mean drift above 0.5 for 2"}
    seen = a_pass(measures=measures, alarms=beyond, rules=rules)
    record = heat_record(seen, fingerprint="f")
    assert record.measures == {"insertion": (0.25, None)}
    assert record.alarms == {"own": (0, 1), "other": (1,)}
    assert record.rules == rules
    assert decode_heat(encode_heat(record)) == record


def test_what_was_stated_of_further_classes_goes_along():
    heatmaps, classes = np.ones((2, 3, 4), np.float32), np.array([1, -1])
    rival = Further(heatmaps, classes, np.zeros(2), error=np.array([0.02, np.nan]))
    plain = Further(heatmaps, classes, np.zeros(2))
    record = heat_record(a_pass(also={"rival": rival, "plain": plain}), fingerprint="f")
    assert record.also["rival"].error == (0.02, None)
    assert record.also["plain"].error is None
    assert decode_heat(encode_heat(record)) == record
    with pytest.raises(RecordError, match="error has 1 entries for 2 probes"):
        short = replace(rival, error=np.array([0.02]))
        heat_record(a_pass(also={"rival": short}), fingerprint="f")


def test_measures_and_rules_stand_in_the_probes_record():
    given = ProbeSet(torch.rand(1, 1, 2, 2))
    same = {"layer": "0", "scale": "map", "score": "logit"}
    assert DRIFT in probes_record(given, **same).measures
    record = probes_record(given, **same, measures=[CONCENTRATION, INSERTION], alarms=[an_alarm()])
    assert record.measures == (CONCENTRATION, INSERTION)
    assert record.alarms == (an_alarm(),)
    with pytest.raises(RecordError, match="measure of an alarm is 'concentration'"):
        probes_record(given, **same, measures=[INSERTION], alarms=[an_alarm()])


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)))


def test_probes_become_a_record():
    inputs = torch.rand(2, 1, 8, 6)
    probes = ProbeSet(
        inputs, labels=[1, 0], names=["<i>", "b"], class_names=["x", "y"], mean=0, std=1
    )
    record = probes_record(probes, layer="net.0", scale="run", score="logit")
    assert record.fingerprint == probes.fingerprint
    assert record.names == ("<i>", "b")
    assert record.labels == (1, 0)
    assert record.class_names == ("x", "y")
    assert (record.layer, record.scale, record.score) == ("net.0", "run", "logit")
    # Small pictures are exact, and as large as they are.
    for picture, shown in zip(record.pictures, probes.pictures(), strict=True):
        assert picture_type(picture) == "image/png"
        np.testing.assert_array_equal(pixels(picture), shown)


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 65), (64, 65)), ((256, 100), (256, 100)), ((300, 600), (128, 256))],
)
def test_large_pictures_are_reduced_jpeg(size, shown):
    rows = torch.linspace(0, 1, size[0])[:, None].expand(size)
    record = probes_record(
        ProbeSet(rows.expand(1, 3, *size), mean=0, std=1), layer="0", scale="map", score="score"
    )
    (picture,) = record.pictures
    assert picture_type(picture) == "image/jpeg"
    read = pixels(picture)
    assert read.shape == (*shown, 3)
    assert np.abs(read[:, 0, 0] - np.linspace(0, 255, shown[0])).max() < 12
    assert record.labels == (None,)
    assert record.class_names is None


def test_an_unknown_score_is_refused():
    with pytest.raises(RecordError, match="score is 'loss'"):
        probes_record(ProbeSet(torch.rand(1, 1, 2, 2)), layer="0", scale="map", score="loss")


def test_what_speaks_against_goes_along():
    signed = np.zeros((2, 3, 4), np.float32)
    signed[0, 0, 0], signed[0, 1, 1], signed[0, 2, 2] = -0.5, 0.25, -0.25
    signed[1] = np.nan
    assert heat_record(a_pass(), fingerprint="f").against is None
    record = heat_record(a_pass(signed=signed), fingerprint="f")
    against = np.frombuffer(record.against, np.uint8).reshape(record.shape)
    assert (against[0, 0, 0], against[0, 1, 1], against[0, 2, 2]) == (255, 0, 128)
    assert record.against_maxima == (0.5, None)
    assert record.maxima == (0.1, None)


def test_regions_go_along():
    masks = torch.zeros(2, 40, 30, dtype=torch.bool)
    masks[0, 10:20, 5:15] = True
    record = heat_record(a_pass(regions=Regions.of(masks)), fingerprint="f")
    assert record.regions.shape == (40, 30)
    assert record.regions.runs == tuple(runs_of(mask) for mask in masks.numpy())
    assert decode_heat(encode_heat(record)) == record


def test_a_further_class_may_be_missing_and_have_maps_of_its_own():
    further = Further(
        np.ones((2, 5, 6), np.float32),
        np.array([3, -1]),
        np.array([1.5, np.nan]),
        signed=np.full((2, 5, 6), -1, np.float32),
    )
    record = heat_record(a_pass(also={"layer3": further}), fingerprint="f").also["layer3"]
    assert record.shape == (2, 5, 6)
    assert record.classes == (3, -1)
    assert record.maxima == (1.0, None)
    assert record.against_maxima == (1.0, None)
    assert not any(record.maps[30:])
    assert not any(record.against[30:])
    same = replace(further, heatmaps=further.heatmaps[:, :3, :4], signed=None)
    assert heat_record(a_pass(also={"a": same}), fingerprint="f").also["a"].shape is None


class Worded(ProbeSet):
    def label_texts(self):
        return ["25.0", None]


def test_labels_in_words_and_the_task_go_along():
    inputs = torch.rand(2, 1, 8, 8)
    record = probes_record(Worded(inputs), layer="0", scale="map", score="value", task="regression")
    assert (record.label_texts, record.task) == (("25.0", None), "regression")
    plain = probes_record(ProbeSet(inputs, labels=[1, 0]), layer="0", scale="map", score="logit")
    assert (plain.label_texts, plain.task) == (None, None)


def test_signs_of_volumes_and_signals_lie_as_their_maps_do():
    for shape in ((2, 5, 3, 4), (2, 7)):
        signed = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        seen = a_pass(heatmaps=signed.clip(min=0), signed=signed)
        record = heat_record(seen, fingerprint="f")
        maps, against = (
            np.frombuffer(each, np.uint8).reshape(record.shape)
            for each in (record.maps, record.against)
        )
        assert record.shape == flat_maps(signed).shape
        assert not ((maps > 0) & (against > 0)).any()
        assert record.against_maxima == pytest.approx(
            tuple(-signed.reshape(2, -1).min(1)), rel=1e-6
        )
