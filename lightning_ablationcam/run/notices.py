"""Tell the user what went wrong, once, and what to do about it."""

from __future__ import annotations

import math
import re

from lightning_ablationcam.lightning import rank_zero_info, rank_zero_warn
from lightning_ablationcam.network.memory import is_out_of_memory
from lightning_ablationcam.result import AblationResult
from lightning_ablationcam.run.tolerance import share_computed

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")

TAB = (
    "TensorBoard's tab Ablation-CAM plays them (in a narrow window it stands behind the arrow at "
    "the end of the tabs; #ablation_cam at the end of TensorBoard's address opens it in any)"
)
"""Where the tab is."""


class Notices:
    """Tells the user about a run, each kind of message once.

    Example:
        >>> notices = Notices()
        >>> notices.is_new("12 of 16 probes"), notices.is_new("13 of 16 probes")
        (True, False)
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def is_new(self, message: str) -> bool:
        """Whether the message is new; messages that differ only in numbers count as the same."""
        kind = _NUMBER.sub("#", message)
        new = kind not in self._told
        self._told.add(kind)
        return new

    def fault(self, error: Exception, lost: str = "no heatmaps", where: str = "") -> None:
        """Warn about a pass that failed, and say what of it is lost, and where."""
        if self.is_new(f"{type(error).__name__}: {error}{where}"):
            self.warn(
                f"{lost} this time{where}, training goes on. {type(error).__name__}: {error}"
                f"{_advice(error)} (reported once; the next validation tries again; "
                "on_error='raise' stops the training instead)"
            )

    def once(self, message: str) -> None:
        """Warn, unless a message of the same kind was told before in this fit."""
        if self.is_new(message):
            self.warn(message)

    def warn(self, message: str) -> None:
        """Warn; if the user turned warnings into errors, log instead of ending the training."""
        try:
            rank_zero_warn(f"ablation_cam: {message}")
        except UserWarning as raised:
            rank_zero_info(str(raised))


def started(result: AblationResult, seconds: float, called: str | None, exact: str | None) -> str:
    """What is said of the first pass.

    Args:
        result: What it found.
        seconds: How long it took.
        called: What of the module is called, where that is not plainly itself.
        exact: How exact the maps are, see :func:`exactness`, where passes have a tolerance.
    """
    count, *sizes = result.heatmaps.shape
    return (
        f"ablation_cam: watching {count} probes at {result.layer!r} "
        f"({result.drops.shape[1]} channels, {'x'.join(map(str, sizes))}), {result.engine} "
        f"engine, {seconds:.1f} s a pass"
        + (f"; {exact}" if exact else "")
        + (f"; its task is taken to be {result.task!r}" if result.task else "")
        + (f"; calls {called}" if called else "")
    )


def exactness(result: AblationResult, tolerance: float | None) -> str:
    """How exact the maps of a pass are, and how much was computed for that.

    The largest of all stated bounds, over the images, the layers and the further classes of each:
    ``<tag>/error`` and the monitor's table are of the class explained at the first layer alone.
    Images of which nothing is explained have none.

    Args:
        result: What it found.
        tolerance: Its tolerance.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> computed = torch.tensor([[True, False, False, False]])
        >>> drops, error = torch.ones(1, 4), torch.tensor([0.0213])
        >>> result = SimpleNamespace(error=error, computed=computed, drops=drops, also=())
        >>> result.layers = [result]
        >>> exactness(result, 0.05)
        'tolerance 0.05: maps within 2.2 % of exact (99 %), 25 % of the drops computed'
    """
    taken = "no tolerance" if tolerance is None else f"tolerance {tolerance:g}"
    largest = _largest_error(result)
    if largest <= 0:
        return f"{taken}: maps are exact"
    bound, share = _at_least(100 * largest), share_computed(result)
    within = "how exact maps are is not known"
    if bound is not None:
        within = f"maps within {bound} % of exact (99 %)"
    return f"{taken}: {within}, {100 * share:.0f} % of the drops computed"


def _largest_error(result: AblationResult) -> float:
    """What any of the maps may be off by; 0 where none says so, NaN where nothing is explained."""
    every = [each for layer in result.layers for each in (layer, *layer.also)]
    stated = [each.error for each in every if each.error is not None]
    if not stated:
        return 0.0
    known = [error[~error.isnan()] for error in stated]
    return max((float(each.amax()) for each in known if each.numel()), default=math.nan)


def _at_least(value: float) -> str | None:
    """A number above 0 in two digits, rounded up: it is a bound; None where it is not finite."""
    if not math.isfinite(value):
        return None
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit - 1e-6) * unit:.3g}"


def _advice(error: Exception) -> str:
    if is_out_of_memory(error):
        return ". Memory ran out: pass memory_budget=<bytes>, or fewer or smaller probes"
    if isinstance(error, OSError):
        return ". Check that there is room in the log directory and that it can be written"
    return ""
