"""Make passes over the probes, keep them, and turn them into the numbers to log."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lightning_ablationcam.cam import replay_notice
from lightning_ablationcam.measures.axis import ERROR
from lightning_ablationcam.measures.registry import FORWARDS
from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.result import AblationResult
from lightning_ablationcam.run.alarms import Alarms
from lightning_ablationcam.run.execution import Execution
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.history import Further, History, Pass
from lightning_ablationcam.run.measuring import Measuring, alarm_scalar
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.regions import Regions
from lightning_ablationcam.run.scalars import Scalars

MAX_ROLE_LENGTH = 90
"""Characters of a layer's name that its maps are called by; the last ones tell layers apart."""


MAX_CELLS = 128
"""Most cells of a side of the maps that are kept, drawn and written: pictures are hardly larger."""


class Passes:
    """The passes of one run, and the scalars of the newest pass.

    It needs no Trainer: a folder of old checkpoints works in the same way as a running fit.

    Args:
        measuring: What is measured besides what every pass is, and what rings an alarm.

    Attributes:
        history: The passes.
        scalars: What is logged at every validation.
        alarms: How the alarms stand.
        made: How many passes there were.
        owed: Whether a pass was to take the measures that cost forwards, and could not.
        forwards_took: How many seconds those forwards took in the newest pass.
        explaining_took: How many seconds it took to explain the probes; 0 where that failed.

    Example:
        >>> import torch
        >>> from lightning_ablationcam.options import Options
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 4, 2))
        >>> probes, explainer = ProbeSet(torch.rand(3, 1, 4, 4)), Explainer("0", 1, Options())
        >>> passes = Passes()
        >>> for step in (10, 20):  # Load a checkpoint into the model here.
        ...     result = passes.look(model, probes, explainer, Notices(), step=step, epoch=0)
        >>> [seen.step for seen in passes.history.passes]
        [10, 20]
    """

    def __init__(self, measuring: Measuring | None = None) -> None:
        self.measuring = Measuring() if measuring is None else measuring
        self.made = 0
        self.owed = False
        self.forwards_took = self.explaining_took = 0.0
        self._begin()

    def _begin(self) -> None:
        self.history, self.scalars = History(), Scalars()
        self.alarms = Alarms(self.measuring.alarms)
        self.expect(None)

    def expect(self, probes: ProbeSet | None) -> None:
        """Have a scalar for whatever is measured of some probes; None while they are not known."""
        self.scalars.expect(self.measuring.neutral(probes))

    @property
    def takes_forwards(self) -> bool:
        """Whether the next pass takes the measures that cost forward passes."""
        return self.owed or self.measuring.is_due(self.made)

    def look(
        self,
        module: nn.Module,
        probes: ProbeSet,
        explainer: Explainer,
        notices: Notices,
        *,
        step: int,
        epoch: int,
        execution: Execution | None = None,
        signed: bool = False,
        last: bool = False,
        faults: list[Exception] | None = None,
    ) -> AblationResult:
        """Make a pass: explain the probes, measure the maps, and add the result.

        Args:
            module: The module, as it is at that step.
            probes: The probes.
            explainer: Explains the probes.
            notices: Tells the user about the pass.
            step: How many steps the module has been trained for.
            epoch: The epoch of that step.
            execution: How the module is run; by default by itself.
            signed: Whether what speaks against the classes is kept, too.
            last: Whether no pass follows, so that everything is measured.
            faults: Takes what goes wrong with the forward passes that measures cost. The pass is
                added in any case; by default it is raised after that.

        Returns:
            The result for all probes.

        Raises:
            FloatingPointError: If no probe has a finite score and heatmap.
        """
        self.expect(probes)
        self.forwards_took = self.explaining_took = 0.0
        began = time.perf_counter()
        result = explainer.explain(module, probes, execution, notices.once)
        self.explaining_took = time.perf_counter() - began
        wrong: list[Exception] = []
        measures: Mapping[str, Tensor] = {}
        if last or self.takes_forwards:
            wanted, began = self.measuring.forwards, time.perf_counter()
            try:
                measures = explainer.measure(
                    module, probes, result, wanted, execution, notices.once
                )
            except Exception as error:
                wrong.append(error)
            self.owed, self.forwards_took = bool(wrong), time.perf_counter() - began
        self.add(result, step, epoch, notices, signed=signed, probes=probes, measures=measures)
        if faults is not None:
            faults += wrong
        elif wrong:
            raise wrong.pop()
        return result

    def add(
        self,
        result: AblationResult,
        step: int,
        epoch: int,
        notices: Notices,
        *,
        signed: bool = False,
        probes: ProbeSet | None = None,
        measures: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Add a pass.

        Args:
            result: The result for all probes.
            step: ``trainer.global_step``.
            epoch: ``trainer.current_epoch``.
            notices: Tells the user about the pass.
            signed: Whether what speaks against the classes is kept, too.
            probes: The probes, for measures that need more than maps, and for their names.
            measures: (N,) float64 of each measure that the maps do not tell, by name.

        Raises:
            FloatingPointError: If no probe has a finite score and heatmap.
        """
        tolerant = self.measuring.tolerant
        seen = _as_pass(result, step, epoch, signed, tolerant, measures or {})
        if result.fallback is not None:
            notices.once(replay_notice(result.fallback))
        broken, count = int((~seen.finite).sum()), len(seen.scores)
        if broken == count:
            raise FloatingPointError(
                f"the class scores or activations of all {count} probes are NaN or infinite; the "
                "training seems to have diverged"
            )
        if broken:
            notices.once(
                f"the class scores or activations of {broken} of {count} probes are NaN or "
                "infinite; they are shown without heat and left out of the scalars"
            )
        known = self.history.passes
        if known and not self.history.continues_with(seen):
            notices.once(f"{_break(known[-1], seen)}; the history starts afresh")
            self._begin()  # How much the maps changed since then cannot be said.
            self.expect(probes)
        self._take(seen, notices, probes)

    def _take(self, seen: Pass, notices: Notices, probes: ProbeSet | None) -> None:
        """Measure a pass, keep it, and ring."""
        last = self.history.passes[-1] if self.history.passes else None
        carried: dict[str, NDArray[np.float64]] = {}
        if last is not None and last.step == seen.step:  # Of the same weights.
            known = {n: values for n, values in last.measures.items() if n in FORWARDS}
            carried = {n: values for n, values in known.items() if n not in seen.measures}
        seen = replace(seen, measures={**carried, **seen.measures})
        size = None if probes is None else tuple(probes.images.shape[1:])
        seen = self.history.append(seen, size, None if probes is None else probes.masks)
        self.made += 1
        self.scalars.update(seen)
        names = list(map(str, range(len(seen.scores)))) if probes is None else probes.names
        taken = {n: values for n, values in seen.measures.items() if n not in carried}
        for ring in self.alarms.update(taken, seen.step):
            notices.warn(ring.text(names))
        ringing = self.alarms.ringing
        self.history.mark(ringing, self.alarms.rules_of(ringing))
        for alarm in self.measuring.judged(probes):
            self.scalars.note(alarm_scalar(alarm.called), float(alarm.called in ringing))

    def aside(self) -> Passes:
        """New, independent passes that begin with the same scalars, and alarms, as these."""
        other = Passes(self.measuring)
        other.scalars.expect(self.scalars.values)
        other.scalars.load_state_dict(self.scalars.state_dict())
        other.alarms = self.alarms.copy()
        return other

    def state_dict(self) -> dict[str, Any]:
        """The passes as tensors and primitives."""
        return {
            "history": self.history.state_dict(),
            "scalars": self.scalars.state_dict(),
            "alarms": self.alarms.state_dict(),
            "made": self.made,
            "owed": self.owed,
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], measuring: Measuring, probes: ProbeSet | None
    ) -> Passes:
        """The passes that :meth:`state_dict` described.

        Args:
            state: What it returned.
            measuring: What is measured from now on.
            probes: The probes.
        """
        passes = cls(measuring)
        passes.expect(probes)
        passes.history = History.from_state(state["history"])
        passes.scalars.load_state_dict(state["scalars"])
        passes.alarms.load_state_dict(state["alarms"])
        passes.made, passes.owed = state["made"], state["owed"]
        return passes


def _break(before: Pass, seen: Pass) -> str:
    """Why a pass cannot be compared with the one before it."""
    if before.layer != seen.layer:
        return (
            f"the target layer is {seen.layer!r} and was {before.layer!r} in earlier passes, whose "
            "heatmaps cannot be compared"
        )
    if before.heatmaps.shape != seen.heatmaps.shape:
        return (
            f"the maps are {_size(seen)} and were {_size(before)} in earlier passes, so that they "
            "cannot be compared"
        )
    return (
        f"the history reaches to step {before.step}, and this pass is of step {seen.step}: it is "
        "another run's"
    )


def _size(seen: Pass) -> str:
    return "x".join(map(str, seen.heatmaps.shape[1:]))


def _role_of_layer(layer: str, taken: Container[str]) -> str:
    """What the maps of a further layer are called: its name, as far as records take it.

    Example:
        >>> _role_of_layer("model.layer3", ()), _role_of_layer("ünet.rival", ())
        ('model.layer3', '_net.rival')
    """
    name = re.sub(r"[^A-Za-z0-9_ .:#+-]", "_", layer)[-MAX_ROLE_LENGTH:].lstrip(" .:#+-")
    return f"layer {name}" if name in taken or name in ("fused", "__proto__", "") else name


def _as_pass(
    result: AblationResult,
    step: int,
    epoch: int,
    signed: bool,
    tolerant: bool,
    measures: Mapping[str, Tensor],
) -> Pass:
    def array(values: Tensor | None) -> Any:
        return None if values is None else values.numpy()

    def other_regions(each: AblationResult) -> Regions | None:
        mine, theirs = result.regions, each.regions
        if theirs is None or (mine is not None and torch.equal(mine, theirs)):
            return None
        return Regions.of(theirs)

    def further(each: AblationResult, **changes: Any) -> Further:
        found = Further(
            heatmaps=_held(each.heatmaps),
            classes=each.classes.numpy(),
            scores=each.scores.double().numpy(),
            probabilities=array(each.probabilities),
            signed=_held(each.signed) if signed and each.signed is not None else None,
            regions=other_regions(each),
            error=array(_held_error(each)) if tolerant else None,
        )
        return replace(found, **changes)

    also = {each.role: further(each) for each in result.also}
    for each in result.further:
        also[_role_of_layer(each.layer, also)] = further(each)
    if len({each.heatmaps.ndim for each in result.layers}) == 1 < len(result.layers):
        also["fused"] = further(result, heatmaps=_held(result.fused()), signed=None, error=None)

    given = dict(measures)
    if result.balance is not None:
        given["balance"] = result.balance
    error = _held_error(result) if tolerant else None
    if error is not None:
        given[ERROR.name] = error
    return Pass(
        step=step,
        epoch=epoch,
        layer=result.layer,
        heatmaps=_held(result.heatmaps),
        classes=result.classes.numpy(),
        scores=result.scores.double().numpy(),
        predicted=array(result.predicted),
        probabilities=array(result.probabilities),
        measures={name: values.numpy() for name, values in given.items()},
        top_classes=array(result.top_classes),
        top_probabilities=array(result.top_probabilities),
        also=also,
        signed=_held(result.signed) if signed and result.signed is not None else None,
        regions=None if result.regions is None else Regions.of(result.regions),
        task=result.task,
    )


def _held(maps: Tensor) -> NDArray[np.float32]:
    """Maps as a history holds them: large ones as means of areas, at most MAX_CELLS a side."""
    size = [min(side, MAX_CELLS) for side in maps.shape[1:]]
    if size == list(maps.shape[1:]):
        held: NDArray[np.float32] = maps.numpy()
        return held
    smaller: NDArray[np.float32] = interpolate(maps[:, None], size, mode="area")[:, 0].numpy()
    return smaller


def _held_error(result: AblationResult) -> Tensor | None:
    """(N,) float64: what held maps may be off by, as shares of their own maxima.

    A mean of an area is off by no more than the largest error in it, but the largest mean is less
    than the largest heat. Of a map without heat the largest size of what speaks against it counts.
    """
    maps, error = result.heatmaps, result.error
    if error is None or max(maps.shape[1:]) <= MAX_CELLS:
        return error
    times = _shrunk(maps)
    if result.signed is not None:
        heatless = maps.flatten(1).amax(1) <= 0
        times = torch.where(heatless, _shrunk(result.signed), times)
    return error * times


def _shrunk(maps: Tensor) -> Tensor:
    """(N,) float64: how many times the largest size of a map is that of the map held of it."""
    native, held = (
        each.flatten(1).abs().amax(1).double() for each in (maps, torch.from_numpy(_held(maps)))
    )
    return torch.where(held > 0, native / held, 1.0)  # NaN, too, has none.
