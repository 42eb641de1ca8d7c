"""What a pass shows: the pictures of the newest pass, of the evolution up to it, and as a film."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.render import (
    MAX_ANIMATION_FRAMES,
    MAX_FRAMES,
    evolution_strip,
    overview_grid,
    probe_animation,
    probe_picture,
)
from lightning_ablationcam.render.mosaic import flat_maps
from lightning_ablationcam.run.history import History, Pass, Scale
from lightning_ablationcam.selection import evenly_chosen

Kind = Literal["overview", "probes", "evolution"]

# What the hottest colour stands for, where all probes are shown and where one is.
_FULL_SCALE: dict[Scale, tuple[str, str]] = {
    "map": ("maximum of each map", "maximum of each map"),
    "probe": ("maximum at each probe's largest balance", "maximum at its largest balance so far"),
    "run": ("maximum at the largest balance of all", "maximum at the largest balance of all"),
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """One picture of a pass.

    Attributes:
        kind: ``"overview"`` (all probes), ``"probes"`` or ``"evolution"`` (one probe).
        name: The probe's name; empty for the overview.
        picture: (H, W, 3) uint8.
    """

    kind: Kind
    name: str
    picture: NDArray[np.uint8]


def draw_pass(probes: ProbeSet, history: History, *, scale: Scale, score: str) -> Iterator[Drawing]:
    """Draw the newest pass: one overview, then each probe.

    Args:
        probes: The probes.
        history: At least one pass over them.
        scale: What 100 % of the colour scale is, see :meth:`History.scaled`.
        score: What the class score is called, such as ``"logit"``.

    Yields:
        The drawings, one after the other, so that they need not all be held at once.
    """
    newest = history.passes[-1]
    pictures, heats = probes.pictures(newest.map_shape), flat_maps(history.scaled(-1, scale))
    of_all, of_one = _FULL_SCALE[scale]
    captions = [
        [name, _class_and_probability(probes, newest, row)] for row, name in enumerate(probes.names)
    ]
    title = [_when(newest), newest.layer]
    yield Drawing("overview", "", overview_grid(pictures, heats, captions, title, of_all))
    for row, name in enumerate(probes.names):
        caption = [name, *_seen(probes, newest, row, score)]
        yield Drawing("probes", name, probe_picture(pictures[row], heats[row], caption, of_one))


def draw_evolutions(probes: ProbeSet, history: History, *, scale: Scale) -> Iterator[Drawing]:
    """Draw each probe from the first pass to the newest, in a strip; likewise."""
    newest = history.passes[-1]
    pictures = probes.pictures(newest.map_shape)
    shown = evenly_chosen(len(history.passes), MAX_FRAMES)
    frames = [history.passes[index] for index in shown]
    heats = [flat_maps(history.scaled(index, scale)) for index in shown]
    _, of_one = _FULL_SCALE[scale]
    for row, name in enumerate(probes.names):
        captions = [_below_a_frame(probes, frame, row) for frame in frames]
        title = [name, f"epochs {frames[0].epoch} to {newest.epoch} · {newest.layer}"]
        heat = [each[row] for each in heats]
        yield Drawing(
            "evolution", name, evolution_strip(pictures[row], heat, captions, title, of_one)
        )


def draw_animations(
    probes: ProbeSet, history: History, *, scale: Scale, score: str
) -> Iterator[tuple[str, bytes]]:
    """Draw one animation of each probe, from the first pass to the newest.

    Of many passes 32 are shown, evenly chosen, the first and the newest among them.

    Args:
        probes: The probes.
        history: At least one pass over them.
        scale: What 100 % of the colour scale is, see :meth:`History.scaled`.
        score: What the class score is called: ``"logit"``, ``"probability"`` or ``"score"``.

    Yields:
        A probe's name and its GIF file, one after the other, so that they need not all be held at
        once.
    """
    pictures = probes.pictures(history.passes[-1].map_shape)
    shown = evenly_chosen(len(history.passes), MAX_ANIMATION_FRAMES)
    frames = [history.passes[index] for index in shown]
    heats = [flat_maps(history.scaled(index, scale)) for index in shown]
    progress = [frame.step / max(frames[-1].step, 1) for frame in frames]
    _, of_one = _FULL_SCALE[scale]
    for row, name in enumerate(probes.names):
        captions = [[name, _when(frame), *_seen(probes, frame, row, score)] for frame in frames]
        heat = [each[row] for each in heats]
        yield name, probe_animation(pictures[row], heat, captions, progress, of_one)


def score_name(score: object) -> str:
    """What the class score is called in captions: "score" where it is a user's function."""
    return score if isinstance(score, str) else "score"


def _when(seen: Pass) -> str:
    return f"epoch {seen.epoch} · step {seen.step}"


def _seen(probes: ProbeSet, seen: Pass, row: int, score: str) -> list[str]:
    """The class explained with its score and support, and what the model says."""
    numbers = [f"{score} {seen.scores[row]:.3g}"]
    if strength := _strength(seen, row):
        numbers.append(strength)
    return [
        " · ".join([*numbers, _class_and_probability(probes, seen, row)]),
        _verdict(probes, seen, row),
    ]


def _below_a_frame(probes: ProbeSet, seen: Pass, row: int) -> list[str]:
    lines = [f"step {seen.step}", _class_and_probability(probes, seen, row), _strength(seen, row)]
    return [line for line in lines if line]


def _strength(seen: Pass, row: int) -> str:
    """How strong a map is; that it is empty, where it is."""
    if not seen.heatmaps[row].any():
        return "no heat"
    balance = seen.measures.get("balance")
    return "" if balance is None else f"balance {balance[row]:.0%}"


def _class_and_probability(probes: ProbeSet, seen: Pass, row: int) -> str:
    """The class explained and how sure the model is of it."""
    name = probes.class_name(int(seen.classes[row]))
    if seen.probabilities is None:
        return name
    # Numbers first: what does not fit is cut at the end.
    return f"{seen.probabilities[row]:.0%} · {name}"


def _verdict(probes: ProbeSet, seen: Pass, row: int) -> str:
    """What the model says and how sure it is of that, and the label."""
    said = []
    if seen.predicted is not None:
        predicted = int(seen.predicted[row])
        said.append(f"predicted {probes.class_name(predicted)}{_sure(seen, row, predicted)}")
    if (label := probes.label_texts()[row]) is not None:
        said.append(f"label {label}")
    return ", ".join(said)


def _sure(seen: Pass, row: int, index: int) -> str:
    """The probability of a class of its own, where it is known."""
    if seen.top_classes is None or seen.top_probabilities is None:
        return ""
    known = dict(zip(seen.top_classes[row].tolist(), seen.top_probabilities[row], strict=True))
    return f" {known[index]:.0%}" if index in known else ""
