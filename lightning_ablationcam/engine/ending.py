"""Which activation a network ends in."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from lightning_ablationcam.engine.program import Program, is_ref
from lightning_ablationcam.method.heads.base import Activation

# Ops that pass values on unchanged.
_HANDING_ON = frozenset(
    f"aten::{name}"
    for name in (
        *("view", "_unsafe_view", "reshape", "flatten", "squeeze", "unsqueeze"),
        *("alias", "clone", "detach", "contiguous", "to", "_to_copy"),
    )
)


def last_activation(program: Program) -> Activation:
    """Whether a program ends in a sigmoid, or in a softmax over the classes.

    Args:
        program: A program whose output is (N, C).

    Returns:
        ``"sigmoid"``, ``"softmax"``, or None for anything else.
    """
    makers = {index: node for node in program.nodes for index in node.defined()}
    node = makers.get(program.output)
    while node is not None and node.op._schema.name in _HANDING_ON and is_ref(node.args[0]):
        node = makers.get(node.args[0].index)
    return None if node is None else _activation(node.op, node.args)


class Endings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what activations make, in a forward pass of which no program is needed.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(dim=1))
        >>> with torch.no_grad(), Endings() as endings:
        ...     output = model(torch.ones(1, 2)).clone()
        >>> endings.activation_of(output)
        'softmax'
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made_by: Any = WeakTensorKeyDictionary()

    def activation_of(self, output: Tensor) -> Activation:
        """What :func:`last_activation` says of a program with this output."""
        found: Activation = self._made_by.get(output)
        return found

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            made_by = _activation(func, args)
            if func._schema.name in _HANDING_ON:
                made_by = self._made_by.get(args[0])
            if made_by is not None:
                self._made_by[result] = made_by
            elif func._schema.is_mutable:
                self._made_by.pop(result, None)
        return result


def _activation(op: OpOverload, args: Any) -> Activation:
    name = op._schema.name
    if name in ("aten::sigmoid", "aten::sigmoid_"):
        return "sigmoid"
    over_classes = name in ("aten::softmax", "aten::_softmax") and args[1] in (1, -1)
    return "softmax" if over_classes else None
