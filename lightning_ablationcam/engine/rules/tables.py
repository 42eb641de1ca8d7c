"""The three tables of rules, and how to add a rule.

An op needs no rule to be propagated exactly: an op without one is run on written-out copies.
A rule gives a cheaper way:

- ``owners``: from which channels each entry of the result comes, or None where channels are mixed.
- ``linear_part``: the same op without its constant shift, for ops that are affine in the dependent
  arguments; it acts on changes directly. None where it is not affine.
- ``changes``: a closed form of the change; None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

from lightning_ablationcam.engine.program import Node, Program
from lightning_ablationcam.engine.values import Change, Channelwise
from lightning_ablationcam.engine.winograd import Winograd

Shapes: TypeAlias = Mapping[int, torch.Size]


class Context(Protocol):
    """What a ``changes`` rule may ask for."""

    program: Program
    groups: Tensor
    fast: Mapping[int, Winograd]

    def value(self, index: int) -> Channelwise | Change:
        """A dependent value."""

    def base(self, index: int) -> Tensor:
        """The same in the intact network."""

    def spare(self, index: int) -> Tensor | None:
        """The written-out change, if the node is the last to need it, and may write over it."""


@dataclass(frozen=True)
class Bound:
    """A node with its Channelwise values in place of the references.

    Attributes:
        node: The node.
        args: Its arguments.
        kwargs: Its keyword arguments.
        shapes: The shape of each result.
    """

    node: Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: Sequence[torch.Size | None]

    def channelwise(self) -> list[Channelwise]:
        """The dependent arguments."""
        leaves = tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Channelwise)]


OwnerRule: TypeAlias = Callable[[Bound], Tensor | Sequence[Tensor] | None]
LinearRule: TypeAlias = Callable[[Node, Shapes], Node | None]
ChangeRule: TypeAlias = Callable[[Node, Context], Change | None]

_Rule = TypeVar("_Rule", OwnerRule, LinearRule, ChangeRule)


class Rules:
    """The rules of a family of ops, or of several families together.

    Attributes:
        of_owners: For each op, the rule for the owners of its results.
        of_linear_parts: For each op, the rule for its linear part.
        of_changes: For each op, the closed form of the change.
    """

    def __init__(self, *families: Rules) -> None:
        self.of_owners: dict[OpOverload, OwnerRule] = {}
        self.of_linear_parts: dict[OpOverload, LinearRule] = {}
        self.of_changes: dict[OpOverload, ChangeRule] = {}
        for family in families:
            _add(self.of_owners, family.of_owners)
            _add(self.of_linear_parts, family.of_linear_parts)
            _add(self.of_changes, family.of_changes)

    def owners(self, *ops: OpOverload) -> Callable[[OwnerRule], OwnerRule]:
        """Add the decorated rule for the owners of the results of some ops."""
        return _adding(self.of_owners, ops)

    def linear(self, *ops: OpOverload) -> Callable[[LinearRule], LinearRule]:
        """Add the decorated rule for the linear part of some ops."""
        return _adding(self.of_linear_parts, ops)

    def changes(self, *ops: OpOverload) -> Callable[[ChangeRule], ChangeRule]:
        """Add the decorated closed form for some ops."""
        return _adding(self.of_changes, ops)


def _adding(table: dict[OpOverload, _Rule], ops: Sequence[OpOverload]) -> Callable[[_Rule], _Rule]:
    def add(rule: _Rule) -> _Rule:
        _add(table, dict.fromkeys(ops, rule))
        return rule

    return add


def _add(table: dict[OpOverload, _Rule], more: Mapping[OpOverload, _Rule]) -> None:
    twice = [str(op) for op in more if op in table]
    if twice:
        raise ValueError(f"there are two rules of one kind for {', '.join(twice)}")
    table.update(more)


def rewritten(node: Node, op: OpOverload, *args: Any) -> Node:
    """The node with another op that has the same single result."""
    return replace(node, op=op, args=args, kwargs={})
