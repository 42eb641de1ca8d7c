"""What a pass must not say: the user's own logging and metrics inside ``forward``."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torchmetrics import Metric


@contextmanager
def silenced(module: nn.Module) -> Iterator[None]:
    """Keep ``self.log`` in the user's forward from logging, and its metrics from counting.

    A pass feeds the network with ablated activations; what a forward logs or counts of them would
    end up in the user's curves and in what early stopping monitors.

    Args:
        module: The LightningModule; modules inside it are silenced as well.
    """
    talking = [part for part in module.modules() if callable(getattr(part, "log_dict", None))]
    counting = [part for part in module.modules() if isinstance(part, Metric)]
    states = [(metric, _state(metric)) for metric in counting]
    try:
        for part in talking:
            part.__dict__.update(log=_say_nothing, log_dict=_say_nothing)
        for metric in counting:
            # Its checks of values would also keep the engine from recording the network.
            metric.__dict__["update"] = _say_nothing
        yield
    finally:
        for part in talking:
            del part.__dict__["log"], part.__dict__["log_dict"]
        for metric, state in states:
            metric.__dict__.update(state)


def _say_nothing(*_args: Any, **_kwargs: Any) -> None:
    """Take the place of ``self.log`` and of a metric's ``update``."""


def _state(metric: Metric) -> dict[str, Any]:
    """A copy of what updating a metric changes: its states, which add in place, and its counts."""
    counters = ("_update_count", "_computed", "_cache", "_is_synced", "_to_sync", "_should_unsync")
    names = [*metric._defaults, "update", *counters]
    present = {name: metric.__dict__[name] for name in names if name in metric.__dict__}
    # ``update`` is a wrapped function, which is kept and not copied.
    return {name: copy.copy(v) if callable(v) else copy.deepcopy(v) for name, v in present.items()}
