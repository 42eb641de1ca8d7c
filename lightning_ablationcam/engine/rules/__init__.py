"""How values pass through ATen ops: tables of rules, one module a family of ops."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lightning_ablationcam.engine.rules import mixing, pointwise, rearranging, reducing
from lightning_ablationcam.engine.rules.tables import (
    CHANGES,
    LINEAR,
    OWNERS,
    Bound,
    Context,
    linear_part,
)

__all__ = [
    "CHANGES",
    "LINEAR",
    "OWNERS",
    "Bound",
    "Context",
    "linear_part",
    "mixing",
    "pointwise",
    "rearranging",
    "reducing",
    "result_owners",
]


def result_owners(bound: Bound) -> Sequence[Tensor] | None:
    """The owner map of each result of a node, or None where it mixes channels."""
    rule = OWNERS.get(bound.node.op)
    if rule is None and pointwise.is_pointwise(bound.node.op):
        rule = pointwise.entry_by_entry
    found = rule(bound) if rule else None
    return [found] if isinstance(found, Tensor) else found
