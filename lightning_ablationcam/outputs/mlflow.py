"""Log pictures, animations and the report as artifacts of an MLflow run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_ablationcam.outputs.sent import Sent, Service


class MLflow(Service):
    """Logs artifacts below the monitor's tag, in the same files as in a folder."""

    @property
    def place(self) -> str:
        """The run."""
        return f"the artifacts of MLflow run {self._logger.run_id}"

    def send(self, files: Sequence[Sent], root: Path) -> None:
        """Log the whole folder."""
        self._logger.experiment.log_artifacts(self._logger.run_id, str(root), self._tag)
