"""What was seen, as columns."""

from __future__ import annotations

import json

import numpy as np
import torch

from lightning_ablationcam import AblationCAMMonitor, Alarm, ProbeSet
from lightning_ablationcam.run.history import History, Pass
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.run.table import table
from tests.lightning import fit
from tests.networks import images

FIXED = [
    "step",
    "epoch",
    "probe",
    "class",
    "class_name",
    "predicted",
    "label",
    "score",
    "probability",
]
FREE = ["drift", "drift_from_first", "shift", "concentration", "border_heat", "balance"]


def plain(columns):
    """Whether pandas and JSON take them: one length, and nothing but plain values."""
    lengths = {len(values) for values in columns.values()}
    json.dumps(columns, allow_nan=False)
    return len(lengths) == 1


def test_a_fit_as_a_table(tmp_path):
    probes = ProbeSet(
        images(3, seed=9), [0, 1, 2], ["ant", "bee", "cat"], class_names=["A", "B"], masks=None
    )
    watching = AblationCAMMonitor(
        "model.conv",
        probes,
        measures=["increase"],
        measure_every_n_passes=2,
        alarms=[Alarm("concentration", above=0.1, of="any", for_passes=2, name="hot")],
        on_error="raise",
    )
    assert set(map(len, watching.table().values())) == {0}
    empty = watching.table()
    fit(tmp_path, watching, max_epochs=4)
    found = watching.table()
    assert list(found) == list(empty) == [*FIXED, *FREE, "increase", "alarm_hot"]
    assert plain(found)
    passes = watching.history.passes
    assert found["step"] == [seen.step for seen in passes for _ in range(3)]
    assert found["epoch"] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert found["probe"] == ["ant", "bee", "cat"] * 4
    assert found["class"] == found["label"] == [0, 1, 2] * 4
    assert found["class_name"] == ["A", "B", None] * 4
    assert found["predicted"] == [int(each) for seen in passes for each in seen.predicted]
    assert found["score"] == [float(each) for seen in passes for each in seen.scores]
    np.testing.assert_allclose(
        found["probability"], np.concatenate([seen.probabilities for seen in passes])
    )
    assert found["drift"][:3] == [None] * 3
    assert found["drift"][3:6] == passes[1].measures["drift"].tolist()
    # In the first, the third, and the last.
    taken = [value is not None for value in found["increase"]]
    assert taken == [True] * 3 + [False] * 3 + [True] * 6
    assert found["alarm_hot"] == [False] * 3 + [True] * 9


def test_what_maps_may_be_off_by_is_a_column():
    probes, history = ProbeSet(torch.rand(2, 1, 4, 4), [0, 1]), History()
    for step, given in enumerate(({}, {"error": np.array([0.02, np.nan])})):
        maps = np.ones((2, 2, 2), np.float32)
        seen = Pass(step, 0, "l", maps, np.zeros(2, int), np.ones(2), measures=given)
        history.append(seen)
    # Also after a fit was resumed without a tolerance.
    for measuring in (Measuring(tolerant=True), Measuring()):
        found = table(history, probes, measuring)
        assert plain(found)
        assert found["error"] == [None, None, 0.02, None]
    history.passes.pop()
    assert "error" not in table(history, probes, Measuring())


def test_what_is_not_known_is_none():
    several = [[True, False, True], [False, False, False]]
    probes = ProbeSet(torch.rand(2, 1, 4, 4), several, ["a", "b"], class_names=["x", "y", "z"])
    heat, history = np.ones((2, 2, 2), np.float32), History()
    seen = Pass(
        7,
        1,
        "layer",
        heat,
        np.array([0, -1]),
        np.array([0.5, np.nan]),
        measures={"old": heat[:, 0, 0]},
    )
    history.passes.append(seen)
    found = table(history, probes, Measuring())
    assert plain(found)
    assert found["class"] == [0, None]
    assert found["class_name"] == ["x", None]
    assert found["label"] == ["x, z", None]
    assert found["score"] == [0.5, None]
    assert found["probability"] == found["predicted"] == found["balance"] == [None, None]
    assert found["old"] == [1.0, 1.0]


def test_labels_that_are_values_are_numbers():
    probes = ProbeSet(torch.rand(2, 1, 4, 4), [0.25, 3.5])
    history = History()
    history.append(Pass(0, 0, "l", np.ones((2, 2, 2), np.float32), np.zeros(2, int), np.ones(2)))
    assert table(history, probes, Measuring())["label"] == [0.25, 3.5]


def test_what_is_not_finite_is_not_known():
    scores = np.array([np.inf, np.nan, 2.0])
    maps = np.ones((3, 2, 2), dtype=np.float32)
    seen = Pass(1, 0, "conv", maps, np.zeros(3, dtype=np.int64), scores)
    found = table(History([seen]), ProbeSet(images(3)), Measuring())
    assert found["score"] == [None, None, 2.0]
    assert plain(found)
