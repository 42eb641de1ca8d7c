"""Compute what comes before the target layer once for an image, not again for every channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.recorder import Forward, run
from lightning_ablationcam.engine.tap import tapped
from lightning_ablationcam.network.inputs import Inputs
from lightning_ablationcam.network.targets import Target


class Prefix:
    """The results of the modules that finish before the target layer does, for one image.

    These are modules that ran once, returned one tensor and have no hooks on or inside them: a
    hook could keep or change something that is used later. The target layer is one of them.

    Args:
        model: The model, in evaluation mode.
        target: The target, whose module counts among them where it is its output.
        image: The model's input, for one image.
        forward: ``(model, inputs) -> output``.

    Attributes:
        output: What the model returned.
    """

    def __init__(self, model: nn.Module, target: Target, image: Inputs, forward: Forward) -> None:
        layer = target.module
        # Modules are told apart by identity: a metric's == returns a metric, which is true.
        finished: list[tuple[nn.Module, Any]] = []

        def note(module: nn.Module, _args: Any, output: Any) -> None:
            finished.append((module, output))

        plain = {id(m) for m in model.modules() if _is_plain(m)}
        watched = [
            m
            for m in model.modules()
            if m is layer or (id(m) in plain and all(part is not layer for part in m.modules()))
        ]
        before: list[int] = []

        def take(value: Any) -> Any:
            before.append(len(finished))
            return value

        handles = [module.register_forward_hook(note) for module in watched]
        try:
            # After the others, so that the target's module has finished when it returns.
            with tapped(target, take):
                self.output = run(model, image, forward)
        finally:
            for handle in handles:
                handle.remove()
        runs = Counter(id(module) for module, _ in finished)
        results = {
            id(module): output
            for module, output in finished[: before[0]]
            if runs[id(module)] == 1 and id(module) in plain and _is_one_row(output)
        }
        self._results = [(m, results[id(m)]) for m in _outermost(model, layer, set(results))]

    @contextmanager
    def standing_in(self, rows: int) -> Iterator[None]:
        """Make the modules return their stored results, for ``rows`` copies of the image.

        The copies share memory, so that an op that writes into them raises.
        """
        before = [(module, vars(module).get("forward")) for module, _ in self._results]
        try:
            for module, result in self._results:
                module.__dict__["forward"] = _returning(result.expand(rows, *result.shape[1:]))
            yield
        finally:
            for module, forward in before:
                if forward is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.__dict__["forward"] = forward


def _returning(result: Tensor) -> Any:
    return lambda *_args, **_kwargs: result


def _is_plain(module: nn.Module) -> bool:
    """Whether a stored result can stand in for a module: no hooks and no TorchScript inside."""
    return not any(
        isinstance(part, torch.jit.ScriptModule) or part._forward_hooks or part._forward_pre_hooks
        for part in module.modules()
    )


def _is_one_row(output: Any) -> bool:
    return isinstance(output, Tensor) and output.ndim > 0 and len(output) == 1


def _outermost(module: nn.Module, layer: nn.Module, known: set[int]) -> Iterator[nn.Module]:
    """The outermost modules whose ids are ``known``, without those inside the target layer."""
    for child in module.children():
        if id(child) in known:
            yield child
        elif child is not layer:
            yield from _outermost(child, layer, known)
