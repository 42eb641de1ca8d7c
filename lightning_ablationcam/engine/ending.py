"""Which activation a program ends in."""

from __future__ import annotations

from lightning_ablationcam.engine.program import Node, Program, is_ref
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
    if node is None:
        return None
    if node.op._schema.name == "aten::sigmoid":
        return "sigmoid"
    return "softmax" if _is_softmax_over_classes(node) else None


def _is_softmax_over_classes(node: Node) -> bool:
    return node.op._schema.name in ("aten::softmax", "aten::_softmax") and node.args[1] in (1, -1)
