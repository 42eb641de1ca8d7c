"""Every argument of every public call, given invalid values.

A call succeeds where the tables below say that the value is meant, or raises a documented error
whose message names the argument in a few lines. Arguments are read off the signatures, so that a
new one cannot be forgotten.
"""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lightning_ablationcam import (
    AblationCAMMonitor,
    Alarm,
    ProbeSet,
    ablation_cam,
    faithfulness,
    group_channels,
    interaction,
    sanity_check,
    write_animations,
    write_report,
)
from lightning_ablationcam.arguments import MAX_SHOWN_LENGTH, check_path, shown
from tests.networks import Dropouts, images, seeded
from tests.test_animations import watched


class Uncalled:
    """A class, given in place of an object."""

    def __init__(self, *_args):
        pass


HOSTILE = {
    "None": None,
    "0": 0,
    "-1": -1,
    "True": True,
    "1.5": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "2**63": 2**63,
    "10**5000": 10**5000,
    "1j": 1j,
    "''": "",
    "'x'": "x",
    "NUL": "a\0b",
    "surrogate": "\ud800",
    "huge string": "x" * 10**6,
    "b'x'": b"x",
    "[]": [],
    "[None]": [None],
    "[[1], [2, 3]]": [[1], [2, 3]],
    "['x', 'y']": ["x", "y"],
    "list of 10**5": list(range(10**5)),
    "{}": {},
    "{'x': 1}": {"x": 1},
    "{1}": {1},
    "object": object(),
    "lambda": lambda *_args: None,
    "iterator": iter([]),
    "array of 2": np.array([1, 2]),
    "array of 0.5": np.array([0.5, 0.5]),
    "array of text": np.array("x"),
    "array of objects": np.array([None, {}], dtype=object),
    "tensor of 2": torch.tensor([1.0, 2.0]),
    "tensor of ints": torch.tensor([1, 2]),
    "empty tensor": torch.empty(0),
    "tensor with gradient": torch.ones(3, requires_grad=True),
    "sparse images": torch.ones(2, 3, 8, 8).to_sparse(),
    "sparse ints": torch.tensor([1, 2]).to_sparse(),
    "images without values": torch.empty(2, 3, 8, 8, device="meta"),
    "ints without values": torch.empty(2, dtype=torch.int64, device="meta"),
    "one image": torch.ones(3, 8, 8),
    "module": nn.Module(),
    "class": Uncalled,
}

DOCUMENTED = (TypeError, ValueError, RuntimeError, FileNotFoundError, OSError)
LONGEST = 500
OBSCURE = (
    "truth value",
    "ambiguous",
    "unpack",
    "has no attribute",
    "argument must be",
    "unsized",
    "not iterable",
    "not subscriptable",
    "not supported between",
    "infer dtype",
    "embedded null",
    "codec",
    "invalid literal",
    "overflow",
)

CALLABLES = {"lambda", "module"}
NAMES = {"''", "'x'", "NUL", "surrogate", "huge string"}  # Letter by letter.
NAME_LISTS = {"[]", "['x', 'y']", "list of 10**5"}
STATISTIC = {"None", "1.5", "2**63"}
PAIR = {"array of 2", "tensor of ints"}
WORDS = {"'x'", "NUL"}


def model():
    return seeded(Dropouts())


def dataset():
    return torch.utils.data.TensorDataset(images(4), torch.arange(4))


def folder():
    for name in "ab":
        Image.new("RGB", (8, 8)).save(f"{name}.png")
    return "."


# For each call, valid arguments, and which of the hostile values are valid after all.
CALLS = {
    ablation_cam: (
        lambda: {"model": model(), "target_layer": "conv", "inputs": images(2)},
        {
            "classes": {"None", "0", *PAIR},
            "ablation": {"0", "-1", "1.5", "2**63"},
            "groups": {"None"},
            "memory_budget": {"None", "1.5", "2**63"},
            "tolerance": {"None"},
            "forward": {"None"},
            "also": {"[]"},
            "reference": {"None"},
            "output": {"None"},
            "embeddings": {"None"},
            "masks": {"None"},
        },
    ),
    interaction: (
        lambda: {"model": model(), "target_layer": "conv", "inputs": images(2)},
        {
            "classes": {"None", "0", *PAIR},
            "channels": {"2**63", "10**5000", *PAIR},
            "top": {"2**63", "10**5000"},
            "ablation": {"0", "-1", "1.5", "2**63"},
            "memory_budget": {"None", "1.5", "2**63"},
            "forward": {"None"},
            "reference": {"None"},
            "output": {"None"},
            "embeddings": {"None"},
            "masks": {"None"},
        },
    ),
    sanity_check: (
        lambda: {"model": model(), "target_layer": "conv", "inputs": images(2)},
        {
            "classes": {"None", "0", *PAIR},
            "explain": {"None"},
            "stages": {"2**63", "10**5000"},
            "seed": {"0"},
            "ablation": {"0", "-1", "1.5", "2**63"},
            "memory_budget": {"None", "1.5", "2**63"},
            "forward": {"None"},
            "reference": {"None"},
            "output": {"None"},
            "embeddings": {"None"},
            "masks": {"None"},
        },
    ),
    faithfulness: (
        lambda: {
            "model": model(),
            "inputs": images(2),
            "heatmaps": images(2).mean(dim=1),
            "steps": 2,
        },
        {
            "classes": {"None", "0", *PAIR},
            "steps": {"2**63", "10**5000"},
            "baseline": {"0", "-1", "1.5", "2**63", "one image", "tensor with gradient"},
            "memory_budget": {"None", "1.5", "2**63"},
            "forward": {"None"},
            "output": {"None"},
            "masks": {"None"},
            "shown": {"None", "''"},
        },
    ),
    group_channels: (
        lambda: {"result": ablation_cam(model(), "conv", images(2)), "n": 2},
        {},
    ),
    AblationCAMMonitor: (
        dict,
        {
            "target_layer": {*NAMES, "module", "['x', 'y']"},
            "probes": {"2**63", "10**5000", *CALLABLES},
            "classes": {"0", "list of 10**5"},
            "score": CALLABLES,
            "ablation": {"0", "-1", "1.5", "2**63", *CALLABLES},
            "memory_budget": {"None", "1.5", "2**63"},
            "every_n_validations": {"2**63", "10**5000"},
            "mean": {"0", "-1", *STATISTIC, *PAIR, "list of 10**5"}
            | {"array of 0.5", "tensor of 2", "tensor with gradient"},
            "std": {*STATISTIC, *PAIR, "array of 0.5", "tensor of 2", "tensor with gradient"},
            "class_names": {"None", *NAMES, *NAME_LISTS},
            "forward": {"None", *CALLABLES},
            "also": {"[]"},
            "pictures": {"True"},
            "signed": {"True"},
            "output": {"None", "0", *NAMES} - {"''"},
            "embeddings": {"None"},
            "reference": {"None"},
            "max_overhead": {"None"},
            "tag": WORDS,
            "measures": {"[]"},
            "measure_every_n_passes": {"2**63", "10**5000"},
            "alarms": {"[]"},
            "tolerance": {"None"},
        },
    ),
    Alarm: (
        lambda: {"measure": "drift", "above": 0.5},
        {"above": {"0"}, "below": {"None"}, "stop": {"True"}, "name": {"None", "'x'"}},
    ),
    ProbeSet: (
        lambda: {"inputs": images(2)},
        {
            "inputs": {"one image"},  # They are signals as well.
            "labels": {"None", *PAIR, "array of 0.5", "tensor of 2"},
            "names": {"None", "['x', 'y']"},
            "masks": {"None"},
            "shown": {"None"},
            "bands": {"None", "0"},
            "label_kind": {"None"},
            "batch": {"None"},
            "class_names": {"None", *NAMES, *NAME_LISTS},
            "mean": {"0", "-1", *STATISTIC, "tensor with gradient"},
            "std": {*STATISTIC, "tensor with gradient"},
        },
    ),
    ProbeSet.from_dataset: (
        lambda: {"dataset": dataset()},
        {
            "dataset": {"one image"},
            "shown": {"None"},
            "bands": {"None", "0"},
            "indices": {"None"} | PAIR,
            "per_class": {"None", "2**63", "10**5000"},
            "n": {"None", "2**63", "10**5000"},
            "names": {"None"},
            "class_names": {"None", *NAMES, *NAME_LISTS},
            "mean": {"0", "-1", *STATISTIC, "tensor with gradient"},
            "std": {*STATISTIC, "tensor with gradient"},
        },
    ),
    ProbeSet.from_dataloader: (
        lambda: {"loader": [images(2)], "n": 2},
        {
            "shown": {"None"},
            "bands": {"None", "0"},
            "n": {"2**63", "10**5000"},
            "names": {"None", "['x', 'y']"},
            "class_names": {"None", *NAMES, *NAME_LISTS},
            "mean": {"0", "-1", *STATISTIC, "tensor with gradient"},
            "std": {*STATISTIC, "tensor with gradient"},
        },
    ),
    ProbeSet.from_folder: (
        lambda: {"path": folder(), "size": 8},
        {
            "mean": {"0", "-1", *STATISTIC, "tensor with gradient"},
            "std": {*STATISTIC, "tensor with gradient"},
        },
    ),
    write_report: (
        lambda: {"source": watched(), "path": "report.html"},
        {"path": {"'x'"}},
    ),
    write_animations: (
        lambda: {"monitor": watched(), "folder": "animations"},
        {"folder": {"'x'"}},
    ),
}

CASES = [
    pytest.param(call, argument, id=f"{call.__name__}-{argument}")
    for call in CALLS
    for argument in inspect.signature(call).parameters
]


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("call", "argument"), CASES)
def test_a_hostile_value_is_meant_or_refused_in_so_many_words(call, argument):
    make, meant = CALLS[call]
    given = make()
    call(**given)
    wrong = {}
    for name, value in HOSTILE.items():
        expected = name in meant.get(argument, ())
        problem = refusal(call, {**given, argument: value}, argument)
        if (problem is None) != expected or problem not in (None, "fine"):
            wrong[name] = problem or "accepted"
    assert wrong == {}


def refusal(call, arguments, argument):
    """None if the call succeeds, "fine" if it raises a documented error, else the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(**arguments)
    except DOCUMENTED as error:
        message = str(error)
        obscure = [phrase for phrase in OBSCURE if phrase in message.lower()]
        if argument in message and len(message) <= LONGEST and not obscure:
            return "fine"
        if isinstance(error, NotImplementedError) and isinstance(arguments[argument], nn.Module):
            return "fine"  # Called as it should be: the error is its own.
        return f"{type(error).__name__} ({len(message)}): {message[:LONGEST]}"
    except Exception as error:  # Undocumented errors are what this test looks for.
        return f"undocumented {error!r}"
    return None


def test_values_are_shown_on_one_short_line():
    for value in HOSTILE.values():
        text = shown(value)
        assert len(text) <= MAX_SHOWN_LENGTH
        assert "\n" not in text
    assert shown(torch.ones(2, 3)) == "<Tensor of shape (2, 3), torch.float32>"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (5, TypeError),
        (b"x", TypeError),
        ("", ValueError),
        ("a\0b", ValueError),
        ("\ud800", ValueError),
        ("x" * 256, ValueError),
    ],
)
def test_what_is_no_path(value, error):
    with pytest.raises(error, match=r"^folder="):
        check_path("folder", value)
    assert check_path("folder", "кот/日本") == Path("кот/日本")
