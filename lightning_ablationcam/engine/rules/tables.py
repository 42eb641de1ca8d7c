"""The three tables of rules, and how one is added.

An op needs no rule to be propagated exactly: whatever is not listed is run on written-out copies.
A rule says what is cheaper:

- ``owners``: from which channels each entry of the result comes, or None where channels are mixed.
- ``linear_part``: the same op without its constant shift, for ops that are affine in the dependent
  arguments; it acts on changes directly. None where it is not affine.
- ``changes``: a closed form of the change; None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

from lightning_ablationcam.engine.program import Node, Program
from lightning_ablationcam.engine.values import Change, Channelwise

Shapes: TypeAlias = Mapping[int, torch.Size]


class Context(Protocol):
    """What a ``changes`` rule may ask for."""

    program: Program
    groups: Tensor

    def value(self, index: int) -> Channelwise | Change:
        """A dependent value."""

    def base(self, index: int) -> Tensor:
        """The same in the intact network."""


@dataclass(frozen=True)
class Bound:
    """A node with its Channelwise values in place of the references.

    Attributes:
        node: The node.
        args: Its arguments.
        kwargs: Likewise.
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

OWNERS: dict[OpOverload, OwnerRule] = {}
LINEAR: dict[OpOverload, LinearRule] = {}
CHANGES: dict[OpOverload, ChangeRule] = {}


def owners(*ops: OpOverload) -> Callable[[OwnerRule], OwnerRule]:
    """Register a rule for how owner maps pass some ops."""

    def register(rule: OwnerRule) -> OwnerRule:
        OWNERS.update(dict.fromkeys(ops, rule))
        return rule

    return register


def linear(*ops: OpOverload) -> Callable[[LinearRule], LinearRule]:
    """Register a rule for the linear part of some ops."""

    def register(rule: LinearRule) -> LinearRule:
        LINEAR.update(dict.fromkeys(ops, rule))
        return rule

    return register


def changes(*ops: OpOverload) -> Callable[[ChangeRule], ChangeRule]:
    """Register a closed form for some ops."""

    def register(rule: ChangeRule) -> ChangeRule:
        CHANGES.update(dict.fromkeys(ops, rule))
        return rule

    return register


def linear_part(node: Node, shapes: Shapes) -> Node | None:
    """The node as it acts on changes, or None where it is not affine."""
    rule = LINEAR.get(node.op)
    return rule(node, shapes) if rule else None


def rewritten(node: Node, op: OpOverload, *args: Any) -> Node:
    """The node with another op that has the same single result."""
    return replace(node, op=op, args=args, kwargs={})
