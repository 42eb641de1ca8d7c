"""Log pictures, animations and the report to a Comet experiment."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from lightning_ablationcam.outputs.sent import Sent, Service


class Comet(Service):
    """Logs images under the tags that TensorBoard has them under, and the report as an asset."""

    @property
    def place(self) -> str:
        """The experiment."""
        return f"the Comet experiment {self._logger.version}"

    def send(self, files: Sequence[Sent], root: Path) -> None:
        """Log the files, each under its step."""
        experiment = self._logger.experiment
        # Logging a picture moves on what the user logs without a step.
        before = experiment.curr_step
        try:
            for one in files:
                # Not by path: a thread would read the file when it is gone.
                content, kind = BytesIO(one.content), one.file.rsplit(".", 1)[1]
                if kind == "html":
                    experiment.log_asset(content, file_name=f"{self._tag}/{one.file}")
                else:
                    experiment.log_image(content, one.tag, image_format=kind, step=one.step)
        finally:
            experiment.curr_step = before
