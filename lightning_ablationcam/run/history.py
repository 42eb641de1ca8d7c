"""What was seen: the heatmaps of all passes, bounded in size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_ablationcam.measures.registry import Maps, measured
from lightning_ablationcam.run.regions import Regions

Scale = Literal["map", "probe", "run"]
SCALES = ("map", "probe", "run")

MAX_PASSES = 64
"""How many passes a history holds; beyond, the one closest to its neighbours goes."""

MAX_BYTES, MIN_PASSES = 16 * 2**20, 8
"""Bytes that the heatmaps of a history may take: it is part of every checkpoint. Of large maps
fewer passes are held, but as many as a strip shows."""


@dataclass(frozen=True, eq=False)
class Further:
    """What a pass found for a class beside the one explained first.

    Attributes:
        heatmaps: (N, h, w) float32, not normalised; of any size, whatever that of the pass.
        classes: (N,) int64, -1 for a probe that has none.
        scores: (N,) float64 class scores.
        probabilities: (N,) probabilities of ``classes``, or None.
        signed: (N, h, w) float32, the maps before the ReLU, where they are kept.
        regions: The regions explained, where they are others than those of the pass.
        error: (N,) float64, how far the maps may be off, where that was stated.
    """

    heatmaps: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None
    signed: NDArray[np.float32] | None = None
    regions: Regions | None = None
    error: NDArray[np.float64] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the maps."""
        return _nbytes(self.heatmaps, self.signed, self.regions)


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over N probes.

    Attributes:
        step: ``trainer.global_step``.
        epoch: ``trainer.current_epoch``.
        layer: Dotted name of the target layer.
        heatmaps: (N, h, w) float32, not normalised; (N, d, h, w) of volumes.
        classes: (N,) int64, the classes explained.
        scores: (N,) float64 class scores.
        predicted: (N,) int64 predicted classes, or None.
        probabilities: (N,) probabilities of ``classes``, or None.
        measures: (N,) float64 of each measure that was taken, by name; see
            :data:`~lightning_ablationcam.measures.registry.MEASURES`.
        top_classes: (N, T) int64 classes with the highest scores, the highest first, or None.
        top_probabilities: (N, T) their probabilities, or None.
        also: What was found for further classes, by role, such as ``"rival"``.
        signed: (N, h, w) float32, the maps before the ReLU, where they are kept.
        regions: The regions explained, or None where that is the whole image.
        task: What the model's output was taken to mean, or None.
        alarms: For each alarm that rings, by name, (N,) bool: the probes for which it does.
        rules: Of these the rule by which each rings, as a resumed run may have others.
    """

    step: int
    epoch: int
    layer: str
    heatmaps: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]
    predicted: NDArray[np.int64] | None = None
    probabilities: NDArray[np.float64] | None = None
    measures: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    top_classes: NDArray[np.int64] | None = None
    top_probabilities: NDArray[np.float64] | None = None
    also: Mapping[str, Further] = field(default_factory=dict)
    signed: NDArray[np.float32] | None = None
    regions: Regions | None = None
    task: str | None = None
    alarms: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def map_shape(self) -> tuple[int, ...]:
        """The shape of a heatmap, such as (h, w)."""
        return self.heatmaps.shape[1:]

    @property
    def strength(self) -> NDArray[np.float64]:
        """(N,) the balance; 1 in passes from before it was measured, and where it is not finite."""
        balance = self.measures.get("balance", np.ones(len(self.scores)))
        return np.where(np.isfinite(balance), balance, 1.0)

    @property
    def nbytes(self) -> int:
        """Bytes of the maps."""
        mine = _nbytes(self.heatmaps, self.signed, self.regions)
        return mine + sum(each.nbytes for each in self.also.values())

    @property
    def finite(self) -> NDArray[np.bool_]:
        """(N,) whether a probe's score and heat are finite."""
        heat = np.isfinite(self.heatmaps).reshape(len(self.heatmaps), -1).all(axis=1)
        whole: NDArray[np.bool_] = heat & np.isfinite(self.scores)
        return whole


@dataclass
class History:
    """Passes in the order of their steps, and the largest heat each probe has had.

    All passes are of one layer and one shape of map, so that they can be compared.

    Attributes:
        passes: At most :data:`MAX_PASSES`, fewer of large maps; the first and the newest stay.
        strongest: (N,) the largest balance of each probe in any pass so far, also in passes that
            were thinned out.
    """

    passes: list[Pass] = field(default_factory=list)
    strongest: NDArray[np.float64] | None = None

    def append(
        self, new: Pass, size: Sequence[int] | None = None, masks: Tensor | None = None
    ) -> Pass:
        """Add a pass; one of the same step takes the place of the earlier one, but for its epoch.

        Steps that go back are another run, and another layer is another story: the passes so far
        are forgotten.

        Args:
            new: The pass, with those measures only that its maps do not tell.
            size: The shape of a picture, for measures in pixels.
            masks: (N, H, W) bool, where the object is.

        Returns:
            The pass as it was added, with its measures.
        """
        if not self.continues_with(new):
            self.passes, self.strongest = [], None
        if self.passes and new.step == self.passes[-1].step:
            new = replace(new, epoch=self.passes.pop().epoch)
        new = self._measured(new, size, masks)
        self.passes.append(new)
        while len(self.passes) > most_passes(new.nbytes):
            steps = [seen.step for seen in self.passes]
            inner = range(1, len(steps) - 1)
            del self.passes[min(inner, key=lambda i: steps[i + 1] - steps[i - 1])]
        now = new.strength
        self.strongest = now if self.strongest is None else np.fmax(self.strongest, now)
        return new

    def continues_with(self, new: Pass) -> bool:
        """Whether a pass belongs to these: of the same layer and map size, and not before them."""
        if not self.passes:
            return False
        last = self.passes[-1]
        same_maps = (last.layer, last.heatmaps.shape) == (new.layer, new.heatmaps.shape)
        return same_maps and new.step >= last.step

    def _measured(self, new: Pass, size: Sequence[int] | None, masks: Tensor | None) -> Pass:
        def heat_of(seen: Pass) -> Tensor:
            return over_picture(torch.from_numpy(seen.heatmaps), size)

        maps = Maps(
            now=heat_of(new),
            before=heat_of(self.passes[-1]) if self.passes else None,
            first=heat_of(self.passes[0]) if self.passes else None,
            size=size,
            masks=masks,
            given={name: torch.from_numpy(values) for name, values in new.measures.items()},
        )
        return replace(new, measures={n: values.numpy() for n, values in measured(maps).items()})

    def mark(self, alarms: Mapping[str, NDArray[np.bool_]], rules: Mapping[str, str]) -> None:
        """Note which alarms ring in the newest pass, for which probes and by which rules."""
        self.passes[-1] = replace(self.passes[-1], alarms=alarms, rules=rules)

    def state_dict(self) -> dict[str, Any]:
        """The history as tensors and primitives, at most :data:`MAX_PASSES` passes of it.

        Returns:
            What :meth:`from_state` takes; fit for ``torch.load(weights_only=True)``.
        """

        def plain(value: Any) -> Any:
            if isinstance(value, (Further, Regions)):
                value = vars(value)
            if isinstance(value, Mapping):
                return {name: plain(each) for name, each in value.items()}
            return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value

        passes = [plain(vars(seen)) for seen in self.passes]
        return {"passes": passes, "strongest": plain(self.strongest)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> History:
        """The history that :meth:`state_dict` described."""

        def array(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: array(each) for name, each in value.items()}
            return value.numpy() if isinstance(value, Tensor) else value

        def with_regions(arrays: dict[str, Any]) -> dict[str, Any]:
            regions = arrays.get("regions")
            return arrays if regions is None else {**arrays, "regions": Regions(**regions)}

        def seen(fields: Mapping[str, Any]) -> Pass:
            arrays = with_regions(array(fields))
            further = arrays.pop("also").items()
            also = {role: Further(**with_regions(each)) for role, each in further}
            return Pass(**arrays, also=also)

        passes = [seen(fields) for fields in state["passes"]]
        return cls(passes, array(state["strongest"]))

    @property
    def signed(self) -> bool:
        """Whether the newest pass says what speaks against the classes, too."""
        return bool(self.passes) and self.passes[-1].signed is not None

    def scaled(self, index: int, scale: Scale, *, signed: bool = False) -> NDArray[np.float32]:
        """The heatmaps of one pass as shares of the colour scale.

        Each map is drawn on its own scale first, since heat itself cannot be compared over time. In
        ``"probe"`` and ``"run"`` it is as bright as its balance, which can.

        Args:
            index: Which pass; -1 is the newest.
            scale: What 1 stands for: each map's own maximum (``"map"``), that of its probe's map
                with the largest balance so far (``"probe"``), or that of all (``"run"``).
            signed: Whether what speaks against the class is below 0, on the same scale: the largest
                value of either sign is a map's maximum then. A pass that does not hold it has none.

        Returns:
            (N, h, w), or whatever shape the heatmaps have, in 0 ... 1, or -1 ... 1; all zero where
            a map has no heat.
        """
        assert self.strongest is not None
        seen = self.passes[index]
        maps = seen.signed if signed and seen.signed is not None else seen.heatmaps
        peaks = peak_heat(np.abs(maps))
        finite = np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)
        each = (-1, *[1] * (finite.ndim - 1))
        shares = finite / np.where(peaks > 0, peaks, 1).reshape(each)
        if scale != "map":
            largest = self.strongest if scale == "probe" else np.nanmax(self.strongest)
            brightness = seen.strength / np.where(largest > 0, largest, 1)
            shares = shares * brightness.reshape(each)
        lowest = -1 if signed else 0
        clipped: NDArray[np.float32] = np.clip(np.nan_to_num(shares), lowest, 1).astype(np.float32)
        return clipped


def over_picture(heatmaps: Tensor, size: Sequence[int] | None) -> Tensor:
    """Heatmaps with as many sides as what they lie over: a signal's are a row (N, 1, l) else.

    Args:
        heatmaps: (N, h, w), or (N, d, h, w).
        size: The shape of a picture, with its channels; None where that is not known.

    Example:
        >>> row = torch.ones(2, 1, 4)
        >>> over_picture(row, (3, 16)).shape, over_picture(row, (3, 1, 16)).shape
        (torch.Size([2, 4]), torch.Size([2, 1, 4]))
    """
    is_row = heatmaps.ndim == 3 and heatmaps.shape[1] == 1
    return heatmaps[:, 0] if is_row and size is not None and len(size) == 2 else heatmaps


def _nbytes(
    heatmaps: NDArray[np.float32], signed: NDArray[np.float32] | None, regions: Regions | None
) -> int:
    of_regions = 0 if regions is None else regions.bits.nbytes
    return heatmaps.nbytes + (0 if signed is None else signed.nbytes) + of_regions


def most_passes(nbytes: int) -> int:
    """How many passes a history holds of which each takes so many bytes.

    Example:
        >>> most_passes(16 * 7 * 7 * 4), most_passes(16 * 112 * 112 * 4), most_passes(2**30)
        (64, 20, 8)
    """
    return max(MIN_PASSES, min(MAX_PASSES, MAX_BYTES // max(1, nbytes)))


def peak_heat(heatmaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest finite heat of each map: (N,) from (N, ...)."""
    finite = np.where(np.isfinite(heatmaps), heatmaps, 0)
    peaks: NDArray[np.float32] = finite.reshape(len(finite), -1).max(axis=1).astype(np.float32)
    return peaks
