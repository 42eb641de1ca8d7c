"""What a pass shows: the pictures of the newest pass, of the evolution up to it, and as a film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightning_ablationcam.outputs.pass_records import (
    TASKS_WITHOUT_CLASSES,
    named_score,
)
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
# Likewise of maps of two signs; the legend puts "100 %" before it.
_FULL_SIGNED: dict[Scale, tuple[str, str]] = {
    "map": ("largest value of each map", "largest value of each map"),
    "probe": ("at each probe's largest balance", "at its largest balance so far"),
    "run": ("at the largest balance of all", "at the largest balance of all"),
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

    Both signs are drawn where the history holds both, and the outlines of regions where it has any.

    Args:
        probes: The probes.
        history: At least one pass over them.
        scale: What 100 % of the colour scale is, see :meth:`History.scaled`.
        score: What the class score is called, such as ``"logit"``.

    Yields:
        The drawings, one after the other, so that they need not all be held at once.
    """
    newest, signed = history.passes[-1], history.signed
    pictures = probes.pictures(newest.map_shape)
    heats = flat_maps(history.scaled(-1, scale, signed=signed))
    of_all, of_one = _full_scale(scale, signed)
    say, regions = _Captions(probes, newest.task), _masks(newest)
    captions = [[name, say.short(newest, row)] for row, name in enumerate(probes.names)]
    title = [_when(newest), newest.layer]
    grid = overview_grid(pictures, heats, captions, title, of_all, signed=signed, regions=regions)
    yield Drawing("overview", "", grid)
    for row, name in enumerate(probes.names):
        caption = [name, *say.whole(newest, row, score)]
        region = None if regions is None else regions[row]
        drawn = probe_picture(
            pictures[row], heats[row], caption, of_one, signed=signed, region=region
        )
        yield Drawing("probes", name, drawn)


def draw_evolutions(probes: ProbeSet, history: History, *, scale: Scale) -> Iterator[Drawing]:
    """Draw each probe from the first pass to the newest, in a strip; likewise."""
    newest = history.passes[-1]
    pictures = probes.pictures(newest.map_shape)
    shown = evenly_chosen(len(history.passes), MAX_FRAMES)
    frames = [history.passes[index] for index in shown]
    heats = [flat_maps(history.scaled(i, scale, signed=history.signed)) for i in shown]
    masks = [_masks(frame) for frame in frames]
    _, of_one = _full_scale(scale, history.signed)
    say = _Captions(probes, newest.task)
    for row, name in enumerate(probes.names):
        captions = [say.below_a_frame(frame, row) for frame in frames]
        title = [name, f"epochs {frames[0].epoch} to {newest.epoch} · {newest.layer}"]
        heat = [each[row] for each in heats]
        regions = [None if each is None else each[row] for each in masks]
        strip = evolution_strip(
            pictures[row], heat, captions, title, of_one, signed=history.signed, regions=regions
        )
        yield Drawing("evolution", name, strip)


def draw_animations(
    probes: ProbeSet, history: History, *, scale: Scale, score: str
) -> Iterator[tuple[str, bytes]]:
    """Draw one animation of each probe, from the first pass to the newest.

    Of many passes 32 are shown, evenly chosen, the first and the newest among them.

    Args:
        probes: The probes.
        history: At least one pass over them.
        scale: What 100 % of the colour scale is, see :meth:`History.scaled`.
        score: What the class score is called, such as ``"logit"``.

    Yields:
        A probe's name and its GIF file, one after the other, so that they need not all be held at
        once.
    """
    pictures = probes.pictures(history.passes[-1].map_shape)
    shown = evenly_chosen(len(history.passes), MAX_ANIMATION_FRAMES)
    frames = [history.passes[index] for index in shown]
    heats = [flat_maps(history.scaled(i, scale, signed=history.signed)) for i in shown]
    masks = [_masks(frame) for frame in frames]
    progress = [frame.step / max(frames[-1].step, 1) for frame in frames]
    _, of_one = _full_scale(scale, history.signed)
    say = _Captions(probes, frames[-1].task)
    for row, name in enumerate(probes.names):
        captions = [[name, _when(frame), *say.whole(frame, row, score)] for frame in frames]
        heat = [each[row] for each in heats]
        regions = [None if each is None else each[row] for each in masks]
        film = probe_animation(
            pictures[row],
            heat,
            captions,
            progress,
            of_one,
            signed=history.signed,
            regions=regions,
        )
        yield name, film


def _full_scale(scale: Scale, signed: bool) -> tuple[str, str]:
    return (_FULL_SIGNED if signed else _FULL_SCALE)[scale]


def score_name(score: object) -> str:
    """What the class score is called in captions: "score" where it is a user's function."""
    return score if isinstance(score, str) else "score"


def _when(seen: Pass) -> str:
    return f"epoch {seen.epoch} · step {seen.step}"


class _Captions:
    """What is said of a probe below its pictures.

    Args:
        probes: The probes.
        task: What the model is for, as in :class:`~lightning_ablationcam.records.format.\
ProbesRecord`.
    """

    def __init__(self, probes: ProbeSet, task: str | None) -> None:
        self._probes = probes
        self._texts = probes.label_texts()
        self._has_classes = task not in TASKS_WITHOUT_CLASSES
        self._compares = task == "similarity"
        # Of several labels the likeliest is no prediction of one.
        self._verb = "likeliest" if task == "multilabel" else "predicted"

    def whole(self, seen: Pass, row: int, score: str) -> list[str]:
        """The class explained with its score and support, and what the model says."""
        number = f"{named_score(score, seen)} {seen.scores[row]:.3g}"
        strength = _strength(seen, row)
        what = self._class_and_probability(seen, row)
        said = [" · ".join(filter(None, [number, strength, what])), self._verdict(seen, row)]
        return said if self._has_classes else [line for line in said if line]

    def below_a_frame(self, seen: Pass, row: int) -> list[str]:
        """The same in a few words."""
        lines = [f"step {seen.step}", self.short(seen, row), _strength(seen, row)]
        return [line for line in lines if line]

    def short(self, seen: Pass, row: int) -> str:
        """The class explained and how sure the model is of it; where there is none, the value."""
        what = self._class_and_probability(seen, row)
        if self._has_classes:
            return what
        return " · ".join(filter(None, [f"{seen.scores[row]:.3g}", what]))

    def _class_and_probability(self, seen: Pass, row: int) -> str:
        index = int(seen.classes[row])
        if index < 0:
            return "no label"
        named = self._probes.class_names is not None and index < len(self._probes.class_names)
        if not self._has_classes:
            # A caption is one of several also where it has no name.
            is_one_of_several = named or (self._compares and seen.predicted is not None)
            return self._probes.class_name(index) if is_one_of_several else ""
        name = self._probes.class_name(index)
        if seen.probabilities is None:
            return name
        # Numbers first: what does not fit is cut at the end.
        return f"{seen.probabilities[row]:.0%} · {name}"

    def _verdict(self, seen: Pass, row: int) -> str:
        """What the model says and how sure it is of that, and the label."""
        said = []
        if seen.predicted is not None and self._has_classes:
            predicted = int(seen.predicted[row])
            name = self._probes.class_name(predicted)
            said.append(f"{self._verb} {name}{_sure(seen, row, predicted)}")
        if (label := self._texts[row]) is not None:
            said.append(f"label {label}")
        return ", ".join(said)


def _masks(seen: Pass) -> Sequence[NDArray[np.bool_]] | None:
    return None if seen.regions is None else list(seen.regions.masks())


def _strength(seen: Pass, row: int) -> str:
    """How strong a map is; that it is empty, where it is."""
    maps = seen.heatmaps if seen.signed is None else seen.signed
    if not maps[row].any():
        return "no heat"
    balance = seen.measures.get("balance")
    return "" if balance is None else f"balance {balance[row]:.0%}"


def _sure(seen: Pass, row: int, index: int) -> str:
    """The probability of a class of its own, where it is known."""
    if seen.top_classes is None or seen.top_probabilities is None:
        return ""
    known = dict(zip(seen.top_classes[row].tolist(), seen.top_probabilities[row], strict=True))
    return f" {known[index]:.0%}" if index in known else ""
