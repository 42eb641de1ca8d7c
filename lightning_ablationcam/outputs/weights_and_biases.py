"""Log pictures, animations and the report to a run of Weights & Biases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_ablationcam.outputs.sent import Sent, Service


class WeightsAndBiases(Service):
    """Logs media under the tags that TensorBoard has them under, after the logger's prefix.

    Nothing is committed and no step is given: what is logged joins the row that the run is at,
    which Lightning commits with the metrics of the same validation (and the end of the run, where
    nothing else does), and has that row's ``trainer/global_step``. A row of our own would move the
    run's own step on: what a user logs under ``step=`` would be refused as too late, and what waits
    to be committed would land in another row.
    """

    @property
    def place(self) -> str:
        """The name of the run."""
        run = self._logger.experiment
        return f"the W&B run {getattr(run, 'name', None) or getattr(run, 'id', '')}"

    def send(self, files: Sequence[Sent], root: Path) -> None:
        """Log files in the row that the run is at."""
        prefix = getattr(self._logger, "_prefix", "")
        start = f"{prefix}{self._logger.LOGGER_JOIN_CHAR}" if prefix else ""
        row = {start + one.tag: _media(root / one.file) for one in files}
        self._logger.experiment.log(row, commit=False)


def _media(path: Path) -> Any:
    import wandb

    if path.suffix == ".gif":
        return wandb.Video(str(path), format="gif")
    if path.suffix == ".html":
        # As it stands: the page allows no style or script but its own.
        return wandb.Html(str(path), inject=False)
    return wandb.Image(str(path))
