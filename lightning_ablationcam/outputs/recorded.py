"""Animations of what event files hold, without the network or the probes it was recorded of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.arguments import check_choice, check_path, shown
from lightning_ablationcam.files import replaced
from lightning_ablationcam.outputs.folder import file_stems
from lightning_ablationcam.outputs.report import series_of_directory
from lightning_ablationcam.records.series import Series
from lightning_ablationcam.render.animation import MAX_ANIMATION_FRAMES, probe_animation
from lightning_ablationcam.selection import evenly_chosen

_FULL = {
    "map": "maximum of each map",
    "probe": "maximum at its largest balance",
    "run": "maximum at the largest balance of all",
}


def animate_records(
    logdir: str | Path,
    folder: str | Path,
    *,
    run: str | None = None,
    tag: str | None = None,
    probes: Sequence[str] = (),
    of: str = "explained",
) -> list[Path]:
    """Write an animated picture of each probe, from what a log directory holds.

    Args:
        logdir: The log directory.
        folder: The folder to write to, created if it does not exist.
        run: The run, as TensorBoard calls it; default all.
        tag: The monitor's tag; default all.
        probes: Names of the probes; default all.
        of: ``"explained"``, or a further class that was recorded, such as ``"rival"``.

    Returns:
        The GIF files. A map has 255 steps of its maximum there, as in event files.

    Raises:
        FileNotFoundError: If there is no such log directory.
        NotADirectoryError: If it is a file, or ``folder`` is one.
        ValueError: If nothing was recorded, or nothing by these names.

    Example:
        >>> animate_records("no_such_logs", "animations")
        Traceback (most recent call last):
        FileNotFoundError: source='no_such_logs': there is no such directory; give the one that
        tensorboard --logdir gets
    """
    place = check_path("folder", folder)
    everything = series_of_directory(check_path("logdir", logdir))
    if run is not None:
        check_choice("run", run, [series.run for series in everything])
    chosen = [series for series in everything if run in (None, series.run)]
    if tag is not None:
        check_choice("tag", tag, [series.tag for series in chosen])
    chosen = [series for series in chosen if tag in (None, series.tag)]
    for series in chosen:
        check_choice("of", of, ["explained", *series.roles])
    known = sorted({name for series in chosen for name in series.probes.names})
    for name in probes:
        check_choice("probe", name, known)
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(f"folder={shown(str(folder))} is a file; expected a folder")
    place.mkdir(parents=True, exist_ok=True)
    rows = [
        (series, row, name)
        for series in chosen
        for row, name in enumerate(series.probes.names)
        if not probes or name in probes
    ]
    files = [place / f"{stem}.gif" for stem in file_stems(_called(rows))]
    for file, (series, row, _) in zip(files, rows, strict=True):
        with replaced(file) as partial:
            partial.write_bytes(_film(series, row, "" if of == "explained" else of))
    return files


def _called(rows: Sequence[tuple[Series, int, str]]) -> Iterator[str]:
    """What each probe is called, with its run and tag as far as there are several."""
    several_runs = len({series.run for series, _, _ in rows}) > 1
    several_tags = len({series.tag for series, _, _ in rows}) > 1
    for series, _, name in rows:
        parts = [series.run] * several_runs + [series.tag] * several_tags
        yield "_".join([*parts, name])


def _film(series: Series, row: int, role: str) -> bytes:
    """The animation of one probe."""
    probes = series.probes
    with Image.open(BytesIO(probes.pictures[row])) as opened:
        picture = np.asarray(opened.convert("RGB"))
    steps = [each for each in series.steps if series.explained(each, role) is not None]
    steps = [steps[index] for index in evenly_chosen(len(steps), MAX_ANIMATION_FRAMES)]
    heats, captions = [], []
    for stamped in steps:
        found: Any = series.explained(stamped, role)
        heats.append(_heat(found, found.shape or stamped.record.shape, row))
        number, probability = found.scores[row], found.probabilities
        lines = [
            probes.names[row],
            f"epoch {stamped.record.epoch} · step {stamped.step}",
            _class(series, found.classes[row]),
            f"{probes.score} {'unknown' if number is None else format(number, '.3g')}",
        ]
        if probability is not None and probability[row] is not None:
            lines.append(f"probability {probability[row]:.0%}")
        captions.append(lines)
    heats = [
        heat * share for heat, share in zip(heats, _brightness(series, steps, row), strict=True)
    ]
    progress = [stamped.step / max(steps[-1].step, 1) for stamped in steps]
    return probe_animation(picture, heats, captions, progress, _FULL[probes.scale])


def _heat(found: Any, shape: tuple[int, int, int], row: int) -> NDArray[np.float64]:
    maps = np.frombuffer(found.maps, np.uint8).reshape(shape)
    heat: NDArray[np.float64] = maps[row].astype(np.float64) / 255
    return heat


def _class(series: Series, index: int) -> str:
    if index < 0:
        return "no such class"
    names = series.probes.class_names or ()
    return names[index] if 0 <= index < len(names) else f"class {index}"


def _brightness(series: Series, steps: Sequence[Any], row: int) -> list[float]:
    """How bright each map is beside the others: all alike on the scale of each map."""
    if series.probes.scale == "map":
        return [1.0] * len(steps)

    def balances(stamped: Any) -> list[float]:
        known = stamped.record.measures.get("balance") or [None] * len(series.probes.names)
        return [0.0 if value is None else float(value) for value in known]

    of_all = [balances(stamped) for stamped in series.steps]
    only = series.probes.scale == "probe"
    largest = max(max(each[row : row + 1] if only else each) for each in of_all)
    return [balances(stamped)[row] / largest if largest > 0 else 0.0 for stamped in steps]
