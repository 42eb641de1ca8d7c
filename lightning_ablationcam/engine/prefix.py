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
from lightning_ablationcam.network.inputs import Inputs, count_of
from lightning_ablationcam.network.targets import Target


class Prefix:
    """The results of the modules that finish before the target layer does, for some images.

    These are modules that ran once, returned one tensor with a row for each image and have no hooks
    on or inside them: a hook could keep or change something that is used later. The target layer is
    one of them.

    Args:
        model: The model, in evaluation mode.
        target: The target, whose module counts among them where it is its output.
        images: The model's inputs, for one image or several.
        forward: ``(model, inputs) -> output``.

    Attributes:
        output: What the model returned.
    """

    def __init__(self, model: nn.Module, target: Target, images: Inputs, forward: Forward) -> None:
        layer = target.module
        self._count = count_of(images)
        plain = {id(m) for m in model.modules() if _is_plain(m)}
        watched = [
            m
            for m in model.modules()
            if m is layer or (id(m) in plain and all(part is not layer for part in m.modules()))
        ]
        # Modules are told apart by identity: a metric's == returns a metric, which is true.
        inside = {id(m): [id(part) for part in m.modules() if part is not m] for m in watched}
        runs: Counter[int] = Counter()
        finished: dict[int, Tensor] = {}
        before: list[dict[int, Tensor]] = []

        def note(module: nn.Module, _args: Any, output: Any) -> None:
            runs[id(module)] += 1
            if not before and id(module) in plain and self._is_by_row(output):
                # It stands in for what is inside it, whose results need not be held any longer.
                for part in inside[id(module)]:
                    finished.pop(part, None)
                finished[id(module)] = output

        def take(value: Any) -> Any:
            before.append(dict(finished))
            return value

        handles = [module.register_forward_hook(note) for module in watched]
        try:
            # After the others, so that the target's module has finished when it returns.
            with tapped(target, take):
                self.output = run(model, images, forward)
        finally:
            for handle in handles:
                handle.remove()
        results = {id_: output for id_, output in before[0].items() if runs[id_] == 1}
        self._results = [(m, results[id(m)]) for m in _outermost(model, layer, set(results))]

    @property
    def nbytes(self) -> int:
        """Memory of the results."""
        return sum(result.nbytes for _, result in self._results)

    @contextmanager
    def standing_in(self, rows: Tensor) -> Iterator[None]:
        """Make the modules return their stored results, row by row.

        Copies of one image share memory, so that an op that writes into them raises.

        Args:
            rows: (R,) int64, which of the images each row is.
        """
        before = [(module, vars(module).get("forward")) for module, _ in self._results]
        try:
            for module, result in self._results:
                module.__dict__["forward"] = _returning(self._repeated(result, rows))
            yield
        finally:
            for module, forward in before:
                if forward is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.__dict__["forward"] = forward

    def _is_by_row(self, output: Any) -> bool:
        return isinstance(output, Tensor) and output.ndim > 0 and len(output) == self._count

    def _repeated(self, result: Tensor, rows: Tensor) -> Tensor:
        if self._count == 1:
            return result.expand(len(rows), *result.shape[1:])
        return result[rows.to(result.device)]


def _returning(result: Tensor) -> Any:
    return lambda *_args, **_kwargs: result


def _is_plain(module: nn.Module) -> bool:
    """Whether a stored result can stand in for a module: no hooks and no TorchScript inside."""
    return not any(
        isinstance(part, torch.jit.ScriptModule) or part._forward_hooks or part._forward_pre_hooks
        for part in module.modules()
    )


def _outermost(module: nn.Module, layer: nn.Module, known: set[int]) -> Iterator[nn.Module]:
    """The outermost modules whose ids are ``known``, without those inside the target layer."""
    for child in module.children():
        if id(child) in known:
            yield child
        elif child is not layer:
            yield from _outermost(child, layer, known)
