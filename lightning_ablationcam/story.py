"""What a run has seen so far: its history, and the numbers to log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_ablationcam.cam import replay_notice
from lightning_ablationcam.faults import Reports
from lightning_ablationcam.history import History, Pass
from lightning_ablationcam.result import AblationResult
from lightning_ablationcam.scalars import Scalars


class Story:
    """The passes of one run and the scalars of its newest.

    Attributes:
        history: The passes.
        scalars: What is logged at every validation.
    """

    def __init__(self) -> None:
        self.history = History()
        self.scalars = Scalars()

    def tell(self, result: AblationResult, step: int, epoch: int, reports: Reports) -> None:
        """Add a pass.

        Args:
            result: What was found for all probes.
            step: ``trainer.global_step``.
            epoch: ``trainer.current_epoch``.
            reports: Is told what the user should know of it.

        Raises:
            FloatingPointError: If no probe has a finite score and heatmap.
        """
        seen = _as_pass(result, step, epoch)
        if result.fallback is not None:
            reports.once(replay_notice(result.fallback))
        broken, count = int((~seen.finite).sum()), len(seen.scores)
        if broken == count:
            raise FloatingPointError(
                f"the class scores or activations of all {count} probes are NaN or infinite; the "
                "training seems to have diverged"
            )
        if broken:
            reports.once(
                f"the class scores or activations of {broken} of {count} probes are NaN or "
                "infinite; they are shown without heat and left out of the scalars"
            )
        known = self.history.passes
        if known and known[-1].layer != seen.layer:
            reports.once(
                f"the target layer is {seen.layer!r} and was {known[-1].layer!r} in earlier "
                "passes, whose heatmaps cannot be compared; the history starts afresh"
            )
        elif known and known[-1].heatmaps.shape != seen.heatmaps.shape:
            reports.once(
                f"the maps are {_size(seen)} and were {_size(known[-1])} in earlier passes, so "
                "that they cannot be compared; the history starts afresh"
            )
        elif known and known[-1].step > step:
            reports.once(
                f"the history reaches to step {known[-1].step}, and this pass is of step {step}: "
                "it is another run's; the history starts afresh"
            )
        self.scalars.update(self.history.append(seen))

    def aside(self) -> Story:
        """A story that begins with the same scalars, and leaves this one as it is."""
        other = Story()
        other.scalars.load_state_dict(self.scalars.state_dict())
        return other

    def state_dict(self) -> dict[str, Any]:
        """The story as tensors and primitives."""
        return {"history": self.history.state_dict(), "scalars": self.scalars.state_dict()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Story:
        """The story that :meth:`state_dict` described."""
        story = cls()
        story.history = History.from_state(state["history"])
        story.scalars.load_state_dict(state["scalars"])
        return story


def _size(seen: Pass) -> str:
    return "x".join(map(str, seen.heatmaps.shape[1:]))


def _as_pass(result: AblationResult, step: int, epoch: int) -> Pass:
    def array(values: Tensor | None) -> Any:
        return None if values is None else values.numpy()

    return Pass(
        step=step,
        epoch=epoch,
        layer=result.layer,
        heatmaps=result.heatmaps.numpy(),
        classes=result.classes.numpy(),
        scores=result.scores.double().numpy(),
        predicted=array(result.predicted),
        probabilities=array(result.probabilities),
    )
