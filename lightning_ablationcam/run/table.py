"""What was seen, as a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.run.history import History, Pass
from lightning_ablationcam.run.measuring import Measuring, alarm_scalar


def table(history: History, probes: ProbeSet | None, measuring: Measuring) -> dict[str, list[Any]]:
    """One row for each probe and pass that is held, the passes in order.

    Args:
        history: The passes.
        probes: The probes; None while there are none, and so no passes.
        measuring: What is measured, and what rings an alarm.

    Returns:
        Columns of the same length, by name: plain numbers and texts, and None for what is not
        known. Measures and alarms that only earlier passes had, as before the run was resumed, have
        a column as well.
    """
    passes = history.passes
    taken = [measure.name for measure in measuring.taken(probes)]
    measures = dict.fromkeys([*taken, *(name for seen in passes for name in seen.measures)])
    rules = [alarm.called for alarm in measuring.judged(probes)]
    alarms = dict.fromkeys([*rules, *(name for seen in passes for name in seen.alarms)])
    names = [*_OF_PROBES, *measures, *map(alarm_scalar, alarms)]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for seen in passes if probes is not None else ():
        assert probes is not None
        found = _of_pass(seen, probes)
        found |= {name: _plain(seen.measures.get(name), len(probes)) for name in measures}
        silent = np.zeros(len(probes), dtype=np.bool_)
        found |= {alarm_scalar(n): seen.alarms.get(n, silent).tolist() for n in alarms}
        for name, values in found.items():
            columns[name] += values
    return columns


_OF_PROBES = (
    "step",
    "epoch",
    "probe",
    "class",
    "class_name",
    "predicted",
    "label",
    "score",
    "probability",
)


def _of_pass(seen: Pass, probes: ProbeSet) -> dict[str, list[Any]]:
    count = len(probes)
    known = probes.class_names or []
    # Of quantities, such as a regression's, the class is the place in the output.
    classes = [None if index < 0 else index for index in seen.classes.tolist()]
    return {
        "step": [seen.step] * count,
        "epoch": [seen.epoch] * count,
        "probe": list(probes.names),
        "class": classes,
        "class_name": [
            known[index] if index is not None and index < len(known) else None for index in classes
        ],
        "predicted": _plain(seen.predicted, count),
        "label": _labels(probes),
        "score": _plain(seen.scores, count),
        "probability": _plain(seen.probabilities, count),
    }


def _labels(probes: ProbeSet) -> list[Any]:
    """Class indices and values as numbers, several classes in words, None of maps."""
    if probes.labels is not None and probes.label_kind in ("class", "value"):
        return _plain(probes.labels.numpy(), len(probes))
    return list(probes.label_texts())


def _plain(values: NDArray[Any] | None, count: int) -> list[Any]:
    if values is None:
        return [None] * count
    return [value if math.isfinite(value) else None for value in values.tolist()]
