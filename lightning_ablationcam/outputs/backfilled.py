"""What a backfill has done so far, in a file beside its event files, so that it can go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from lightning_ablationcam.arguments import shown
from lightning_ablationcam.files import replaced
from lightning_ablationcam.network.weights import CheckpointError, read_checkpoint
from lightning_ablationcam.outputs.folder import file_stems
from lightning_ablationcam.records.format import HEAT_TAG
from lightning_ablationcam.run.checkpoint import StateError, checked_state
from lightning_ablationcam.run.fit import Fit

_VERSION = 1


class Backfilled:
    """Which steps of a run have a pass, and the state after the newest.

    Event files hold maps in 256 steps, which is not enough to measure how much the next ones have
    changed: so the state that the monitor keeps in checkpoints is kept here.

    Args:
        folder: The folder of the run.
        tag: The monitor's tag.
        settings: What must be the same where it goes on, by name of the argument.

    Attributes:
        folder: As given.
        done: The steps that have a pass, written whole.
    """

    def __init__(self, folder: Path, tag: str, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.done: dict[int, str] = {}
        self._tag = tag
        self._settings = dict(settings)
        self._file = folder / f"{file_stems([tag])[0]}.backfill"
        self._state: dict[str, Any] | None = None

    def read(self, names: Mapping[int, str], fit: Fit) -> None:
        """Read what an earlier call has done, and have its probes where those were kept.

        Args:
            names: The file of each step, as it is now.
            fit: What goes on.

        Raises:
            NotADirectoryError: If the folder is a file.
            ValueError: If the folder holds anything but passes with the same arguments.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"logdir={shown(str(self.folder))} is a file")
        recorded = recorded_steps(self.folder, self._tag)
        if not self._file.exists():
            if recorded:
                raise self._refused("holds the passes of another run")
            return
        self._take(self._content(), names)
        if not recorded >= self.done.keys():
            raise self._refused("has lost event files of what was done")
        if self._state is not None and self._state["probes"]["kept"] is not None:
            fit.source.resume(self._state["probes"])

    def _content(self) -> dict[str, Any]:
        try:
            content = read_checkpoint(self._file)
            if content["version"] != _VERSION:
                raise self._refused("was written by another version of this package")
            return {**content, "state": checked_state(content["state"])}
        except (CheckpointError, KeyError, StateError) as error:
            raise self._refused(f"cannot be gone on with: {self._file.name}: {error}") from error

    def _take(self, content: Mapping[str, Any], names: Mapping[int, str]) -> None:
        before = content["settings"]
        for name, now in self._settings.items():
            if before.get(name) != now:
                raise self._refused(f"holds passes with {name}={before.get(name)}, not {now}")
        for step, name in content["done"].items():
            if names.get(step, name) != name:
                raise self._refused(
                    f"holds passes of other checkpoints (at step {step} of {name}, now "
                    f"{names[step]})"
                )
        self.done, self._state = dict(content["done"]), content["state"]

    def _refused(self, problem: str) -> ValueError:
        return ValueError(f"logdir={shown(str(self.folder))} {problem}; give another folder")

    def resume(self, fit: Fit) -> None:
        """Go on from what was read.

        Args:
            fit: What goes on, with its probes.

        Raises:
            ValueError: If its probes are not those of before.
        """
        if self._state is None:
            return
        if self._state["probes"]["fingerprint"] != fit.probes().fingerprint:
            raise self._refused("holds passes over other probes")
        fit.resume(self._state)

    def note(self, step: int, name: str, fit: Fit) -> None:
        """Note that a step's pass is written whole.

        Args:
            step: The step.
            name: The checkpoint's file.
            fit: The fit, after the pass.
        """
        self.done[step] = name
        content = {
            "version": _VERSION,
            "settings": self._settings,
            "done": self.done,
            "state": fit.state_dict(),
        }
        with replaced(self._file) as partial:
            torch.save(content, partial)


def recorded_steps(folder: Path, tag: str) -> set[int]:
    """The steps of which event files of a folder hold a monitor's heat.

    Args:
        folder: The folder of a run; it need not exist.
        tag: The monitor's tag.

    Example:
        >>> recorded_steps(Path("no_such_folder"), "ablation_cam")
        set()
    """
    wanted = tag + HEAT_TAG
    return {
        int(event.step)
        for path in sorted(folder.glob("*tfevents*"))
        for event in EventFileLoader(str(path)).Load()
        if any(value.tag == wanted for value in event.summary.value)
    }
