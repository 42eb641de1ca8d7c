"""How values pass through ATen ops: tables of rules, one module for each family of ops."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lightning_ablationcam.engine.program import Node
from lightning_ablationcam.engine.rules import mixing, pointwise, rearranging, reducing
from lightning_ablationcam.engine.rules.tables import Bound, Context, Rules, Shapes

__all__ = ["RULES", "Bound", "Context", "linear_part", "result_owners"]

RULES = Rules(pointwise.RULES, rearranging.RULES, reducing.RULES, mixing.RULES)
"""All rules. For a new family of ops, add a module beside these and an entry here."""


def result_owners(bound: Bound) -> Sequence[Tensor] | None:
    """The owner map of each result of a node, or None where it mixes channels."""
    rule = RULES.of_owners.get(bound.node.op)
    if rule is None and pointwise.is_pointwise(bound.node.op):
        rule = pointwise.entry_by_entry
    found = rule(bound) if rule else None
    return [found] if isinstance(found, Tensor) else found


def linear_part(node: Node, shapes: Shapes) -> Node | None:
    """The node as it acts on changes, or None where it is not affine."""
    rule = RULES.of_linear_parts.get(node.op)
    return rule(node, shapes) if rule else None
