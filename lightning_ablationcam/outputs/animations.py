"""The passes of a monitor as animated pictures in a folder."""

from __future__ import annotations

from pathlib import Path

from lightning_ablationcam.arguments import check_path, shown
from lightning_ablationcam.files import replaced
from lightning_ablationcam.outputs.folder import file_stems
from lightning_ablationcam.outputs.pictures import draw_animations, score_name
from lightning_ablationcam.outputs.watched import Watched, is_watched


def write_animations(monitor: Watched, folder: str | Path) -> list[Path]:
    """Write what a monitor has seen so far, as one animated picture for each probe.

    Each GIF shows the passes one after the other, at most 32 of them, in an endless loop. Call it
    whenever you like, during a fit or after it, also if the Trainer has no TensorBoardLogger.
    Files are never left incomplete; a file of the same name is replaced.

    Args:
        monitor: A monitor with at least one pass.
        folder: The folder to write to, created if it does not exist.

    Returns:
        The files, in the order of the probes. They are named by probe, spelled in ASCII.

    Raises:
        TypeError: If ``monitor`` is not an AblationCAMMonitor, or ``folder`` not a path.
        ValueError: If the monitor has no pass yet, or no folder can have this path.
        NotADirectoryError: If ``folder`` is a file.
        OSError: If a file cannot be written.

    Example:
        >>> from lightning_ablationcam import AblationCAMMonitor
        >>> write_animations(AblationCAMMonitor(), "animations")
        Traceback (most recent call last):
        ValueError: monitor has no pass yet; call write_animations after a validation of its fit
    """
    if not is_watched(monitor):
        raise TypeError(f"monitor={shown(monitor)}; expected an AblationCAMMonitor")
    place = check_path("folder", folder)
    probes, history = monitor.probes, monitor.history
    if probes is None or not history.passes:
        raise ValueError(
            "monitor has no pass yet; call write_animations after a validation of its fit"
        )
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(f"folder={shown(str(folder))} is a file; expected a folder")
    place.mkdir(parents=True, exist_ok=True)
    files = [place / f"{stem}.gif" for stem in file_stems(probes.names)]
    score = score_name(monitor.score)
    drawn = draw_animations(probes, history, scale=monitor.scale, score=score)
    for file, (_, animation) in zip(files, drawn, strict=True):
        with replaced(file) as partial:
            partial.write_bytes(animation)
    return files
