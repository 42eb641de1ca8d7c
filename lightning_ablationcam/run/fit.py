"""The state of one fit; each fit gets a new one, so that nothing has to be reset."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_ablationcam.lightning import LightningModule, Trainer
from lightning_ablationcam.network.module_state import forget_unwritten
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.probes.source import ProbeSource
from lightning_ablationcam.result import AblationResult
from lightning_ablationcam.run.checkpoint import VERSION, StateError, checked_state
from lightning_ablationcam.run.execution import UnderTrainer
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.passes import Passes
from lightning_ablationcam.run.ranks import Ranks
from lightning_ablationcam.run.schedule import Schedule


@dataclass(eq=False)
class Fit:
    """One fit, or one validation by itself, as a monitor sees it.

    Attributes:
        source: Where its probes come from.
        explainer: Explains the probes.
        schedule: Says when a pass is due.
        passes: The passes made so far.
        ranks: The processes.
        notices: What the user was told.
        running: Whether the fit has started and not ended.
        agreed: Whether all ranks have the same probes.
        knows_writes: Whether a pass has found out what the module's forward writes to.
        of: Weak references to its Trainer and module, if it has them.
        signed: Whether what speaks against the classes is kept, too.
        told_tolerance: The tolerance that the user was told of last.
    """

    source: ProbeSource
    explainer: Explainer
    schedule: Schedule
    passes: Passes = field(default_factory=Passes)
    ranks: Ranks = field(default_factory=Ranks)
    notices: Notices = field(default_factory=Notices)
    running: bool = False
    agreed: bool = False
    knows_writes: bool = False
    of: tuple[weakref.ref[Trainer], weakref.ref[LightningModule]] | None = None
    signed: bool = False
    told_tolerance: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be copied, so that a monitor can be copied during a fit."""
        return {**self.__dict__, "of": None, "running": False}

    def is_of(self, trainer: Trainer) -> bool:
        """Whether this fit belongs to a Trainer."""
        return self.of is not None and self.of[0]() is trainer

    def goes_on_in(self, trainer: Trainer, module: LightningModule) -> bool:
        """Whether a new fit continues this one: the same Trainer trains the same module."""
        return self.is_of(trainer) and self.of is not None and self.of[1]() is module

    def build_probes(self, trainer: Trainer, module: LightningModule) -> None:
        """Build the probes on every rank; if that fails on one, all of them raise."""
        self.ranks.gather(lambda: self.source.build(trainer, module))

    def probes(self) -> ProbeSet:
        """The first rank's probes, on every rank: each saw other batches or augmentations.

        Raises:
            ValueError: If no image could be kept from validation.
        """
        if not self.agreed:
            for note in self.source.notes:
                self.notices.once(f"probes={self.source.wanted}: {note}")
            self.source.settle(self.ranks.share(self.source.found))
            self.agreed = True
            masks = self.source.found().masks
            if masks is not None and not masks.any():
                self.notices.once(
                    f"the masks of all {len(masks)} probes are empty, so that no heat is measured "
                    "in them"
                )
        return self.source.found()

    def expect(self) -> None:
        """Have a scalar for whatever is measured of the probes, as far as they are known.

        Raises:
            ValueError: If an alarm does not fit them, unless they are kept from validation: then
                the user is told once.
        """
        probes, measuring = self.source.probes, self.passes.measuring
        self.passes.expect(probes)
        problem = None if probes is None else measuring.problem(probes)
        if problem is not None:
            if not isinstance(self.source.wanted, int):
                raise ValueError(problem)
            self.notices.once(f"{problem}. They are left out")

    def look(
        self,
        trainer: Trainer,
        module: LightningModule,
        epoch: int,
        *,
        last: bool = False,
        faults: list[Exception] | None = None,
    ) -> AblationResult:
        """Make a pass over the probes; the last two as :meth:`Passes.look` takes them."""
        probes = self.probes()
        self.expect()
        if not self.knows_writes:
            forget_unwritten(module)  # Another monitor's forward may write to other things.
        result = self.passes.look(
            module,
            probes,
            self.explainer,
            self.notices,
            step=trainer.global_step,
            epoch=epoch,
            execution=UnderTrainer(trainer, module),
            signed=self.signed,
            last=last,
            faults=faults,
        )
        self.knows_writes = True
        return result

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed fit goes on from, in tensors and primitives."""
        return {
            "version": VERSION,
            "probes": self.source.state_dict(),
            "validations": self.schedule.validations,
            "budget": self.schedule.state_dict(),
            **self.passes.state_dict(),
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint, or warn why that is impossible and start afresh."""
        measuring = self.passes.measuring
        self.passes = Passes(measuring)
        try:
            checked = checked_state(state)
        except StateError as error:
            self._refuse(error)
            return
        self.schedule.validations = checked["validations"]
        self.schedule.load_state_dict(checked["budget"])
        passes = checked["history"]["passes"]
        if not passes:
            return
        if not self.source.resume(checked["probes"]):
            self.notices.warn(
                "the probes are not those of the checkpoint, so their heatmaps cannot be compared; "
                "the history starts afresh. Give the same probes to go on with it"
            )
            return
        held, count = len(passes[0]["heatmaps"]), len(self.source.found())
        if held != count:
            self._refuse(f"it holds heatmaps of {held} probes, and there are {count}")
            return
        self.passes = Passes.from_state(checked, measuring, self.source.probes)

    def _refuse(self, problem: object) -> None:
        # Also with on_error="raise": no pass has failed, and training loses nothing.
        self.notices.warn(
            f"the monitor's state in the checkpoint cannot be read: {problem}; the history starts "
            "afresh"
        )
