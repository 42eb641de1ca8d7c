"""Compute only what the output reads: move a class token's selection towards the target layer.

Where a classifier reads one token, the last block's projections and its multilayer perceptron are
needed for that token alone. The selection at the end of a program is pushed up through ops that
treat each token by itself, up to the attention that mixes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lightning_ablationcam.engine.program import Node, Program, Ref, is_ref
from lightning_ablationcam.engine.rules.pointwise import is_pointwise
from lightning_ablationcam.engine.rules.reducing import SOFTMAXES

aten = torch.ops.aten


@dataclass(frozen=True)
class Pick:
    """Keeps one token of a dimension that is seen as (outer, count, inner).

    Attributes:
        dim: The dimension.
        outer: How often the row of tokens is repeated in the dimension.
        count: The number of tokens.
        inner: How many entries belong to each token.
        index: The token kept.
    """

    dim: int
    outer: int
    count: int
    inner: int
    index: int

    def shape(self, shape: Sequence[int]) -> list[int]:
        """The shape of what is kept of a tensor of some shape."""
        return [self.outer * self.inner if d == self.dim else n for d, n in enumerate(shape)]

    def of(self, tensor: Tensor) -> Tensor:
        """The part of a tensor that is kept."""
        split = torch.unflatten(tensor, self.dim, (self.outer, self.count, self.inner))
        return split.select(self.dim + 1, self.index).flatten(self.dim, self.dim + 1)


Demands = dict[int, Pick | None]
Narrow = Callable[[Node, Pick, "Program"], "tuple[Demands, tuple[Any, ...]] | None"]


def narrowed(program: Program) -> Program:
    """The program that computes the same output from fewer tokens."""
    if not any(node.op is aten.select.int for node in program.nodes):
        return program
    return _Rebuilt(program, _plans(program)).program()


def _plans(program: Program) -> dict[int, tuple[Pick | None, Demands, tuple[Any, ...]]]:
    """By each node's position: the pick of its result, what it demands, its new arguments."""
    wanted: dict[int, set[Pick | None]] = {program.output: {None}}
    plans = {}
    for place in reversed(range(len(program.nodes))):
        node = program.nodes[place]
        picks = set().union(*(wanted.get(index, set()) for index in node.defined()))
        pick = next(iter(picks)) if len(picks) == 1 else None
        plan = None
        if pick is not None:
            plan = _push(node, pick, program)
        elif node.op is aten.select.int:
            plan = _begin(node, program)
        if plan is None:
            pick, plan = None, (dict.fromkeys(node.refs()), node.args)
        plans[place] = (pick, *plan)
        for index, demand in plan[0].items():
            wanted.setdefault(index, set()).add(demand)
    return plans


class _Rebuilt:
    """Writes the narrowed program, front to back."""

    def __init__(
        self, program: Program, plans: dict[int, tuple[Pick | None, Demands, tuple[Any, ...]]]
    ) -> None:
        self._old = program
        self._plans = plans
        self._nodes: list[Node] = []
        self._shapes = dict(program.shapes)
        self._dtypes = dict(program.dtypes)
        self._names: dict[tuple[int, Pick | None], int] = {(0, None): 0}

    def program(self) -> Program:
        """The narrowed program."""
        for place, node in enumerate(self._old.nodes):
            pick, demands, args = self._plans[place]
            begins = pick is None and any(demands.values())
            if begins and not all((i, p) in self._names for i, p in demands.items()):
                demands, args = dict.fromkeys(node.refs()), node.args
            names = {index: self._name(index, demand) for index, demand in demands.items()}
            self._append(replace(node, args=_renamed(args, names)), pick)
        output = self._name(self._old.output, None)
        return Program(tuple(self._nodes), output, self._shapes, self._dtypes)

    def _append(self, node: Node, pick: Pick | None) -> None:
        if pick is None:
            self._names.update({(index, None): index for index in node.defined()})
            self._nodes.append(node)
            return
        first = node.outputs[0]
        assert first is not None
        new = self._define(pick.shape(self._old.shapes[first]), first)
        self._names[first, pick] = new
        outputs = (new, *[None] * (len(node.outputs) - 1))
        self._nodes.append(replace(node, outputs=outputs))

    def _name(self, index: int, pick: Pick | None) -> int:
        """The value's new index; selects here where the selection could not be pushed further."""
        if (index, pick) not in self._names:
            assert pick is not None
            self._names[index, pick] = self._select(index, pick)
        return self._names[index, pick]

    def _select(self, index: int, pick: Pick) -> int:
        shape = list(self._old.shapes[index])
        split = [*shape[: pick.dim], pick.outer, pick.count, pick.inner, *shape[pick.dim + 1 :]]
        kept = [*shape[: pick.dim], pick.outer, 1, pick.inner, *shape[pick.dim + 1 :]]
        value = self._emit(aten.reshape.default, (Ref(index), split), split, index)
        bounds = (pick.dim + 1, pick.index, pick.index + 1)
        value = self._emit(aten.slice.Tensor, (Ref(value), *bounds), kept, index)
        left = pick.shape(shape)
        return self._emit(aten.reshape.default, (Ref(value), left), left, index)

    def _emit(self, op: Any, args: tuple[Any, ...], shape: Sequence[int], like: int) -> int:
        new = self._define(shape, like)
        self._nodes.append(Node(op, args, {}, (new,)))
        return new

    def _define(self, shape: Sequence[int], like: int) -> int:
        new = len(self._shapes)
        self._shapes[new] = torch.Size(shape)
        self._dtypes[new] = self._dtypes[like]
        return new


def _renamed(args: tuple[Any, ...], names: dict[int, int]) -> tuple[Any, ...]:
    renamed: tuple[Any, ...] = tree_map(
        lambda leaf: Ref(names[leaf.index]) if is_ref(leaf) else leaf, args
    )
    return renamed


def _begin(node: Node, program: Program) -> tuple[Demands, tuple[Any, ...]] | None:
    value, dim, index = node.args
    shape = program.shapes[value.index]
    count = shape[dim]
    if count == 1:
        return None
    pick = Pick(dim % len(shape), 1, count, 1, index % count)
    return {value.index: pick}, (value, dim, 0)


def _push(node: Node, pick: Pick, program: Program) -> tuple[Demands, tuple[Any, ...]] | None:
    """What a node demands if only a pick of its result is wanted, and its new arguments."""
    rule = _PUSHES.get(node.op)
    if rule is None and is_pointwise(node.op):
        rule = _push_pointwise
    return rule(node, pick, program) if rule and not _has_tensor(node.kwargs) else None


def _push_pointwise(
    node: Node, pick: Pick, program: Program
) -> tuple[Demands, tuple[Any, ...]] | None:
    rank = len(program.shapes[node.defined()[0]])
    demands: Demands = {}

    def narrow(leaf: Any) -> Any:
        if not (is_ref(leaf) or isinstance(leaf, Tensor)):
            return leaf
        shape = program.shapes[leaf.index] if is_ref(leaf) else leaf.shape
        dim = pick.dim - (rank - len(shape))
        mine = replace(pick, dim=dim) if dim >= 0 and shape[dim] > 1 else None
        if is_ref(leaf):
            demands[leaf.index] = mine
            return leaf
        return leaf if mine is None else mine.of(leaf)

    return demands, tree_map(narrow, node.args)


def _push_reshape(
    node: Node, pick: Pick, program: Program
) -> tuple[Demands, tuple[Any, ...]] | None:
    """The token's place in memory order tells which dimension of the argument holds it."""
    value = node.args[0]
    old, new = program.shapes[value.index], program.shapes[node.defined()[0]]
    outer = math.prod(new[: pick.dim]) * pick.outer
    inner = math.prod(new[pick.dim + 1 :]) * pick.inner
    for dim, size in enumerate(old):
        before, after = math.prod(old[:dim]), math.prod(old[dim + 1 :])
        if outer % before or inner % after:
            continue
        if outer // before * pick.count * (inner // after) == size:
            mine = Pick(dim, outer // before, pick.count, inner // after, pick.index)
            return {value.index: mine}, (value, pick.shape(new))
    return None


def _push_permute(
    node: Node, pick: Pick, program: Program
) -> tuple[Demands, tuple[Any, ...]] | None:
    value = node.args[0]
    order = list(range(len(program.shapes[value.index])))
    if node.op is aten.permute.default:
        order = [dim % len(order) for dim in node.args[1]]
    else:
        first, second = node.args[1:3] if len(node.args) > 1 else (0, 1)
        order[first], order[second] = order[second], order[first]
    return {value.index: replace(pick, dim=order[pick.dim])}, node.args


def _push_select(
    node: Node, pick: Pick, program: Program
) -> tuple[Demands, tuple[Any, ...]] | None:
    value, dim, _ = node.args
    dim = dim % len(program.shapes[value.index])
    mine = replace(pick, dim=pick.dim if pick.dim < dim else pick.dim + 1)
    return {value.index: mine}, node.args


def _push_expand(
    node: Node, pick: Pick, program: Program
) -> tuple[Demands, tuple[Any, ...]] | None:
    value = node.args[0]
    shape = program.shapes[node.defined()[0]]
    if program.shapes[value.index] != shape:
        return None
    return {value.index: pick}, (value, pick.shape(shape))


def _push_rows(node: Node, pick: Pick, program: Program) -> tuple[Demands, tuple[Any, ...]] | None:
    """A row of a matrix product needs that row of the left operand, and all of the right."""
    *bias, left, right = node.args
    rank = len(program.shapes[node.defined()[0]])
    fits = all(isinstance(b, Tensor) and b.ndim == 1 for b in bias)
    if pick.dim != rank - 2 or not is_ref(left) or not fits:
        return None
    demands: Demands = {left.index: pick}
    if is_ref(right):
        if right.index == left.index:
            return None
        demands[right.index] = None
    return demands, node.args


def _push_rowwise(
    node: Node, pick: Pick, program: Program
) -> tuple[Demands, tuple[Any, ...]] | None:
    """Softmax and layer norm: each row is normalised by itself."""
    value = node.args[0]
    rank = len(program.shapes[value.index]) if is_ref(value) else 0
    is_norm = node.op is aten.native_layer_norm.default
    dims = range(rank - len(node.args[1]), rank) if is_norm else [node.args[1] % max(1, rank)]
    if not is_ref(value) or len(node.refs()) != 1 or pick.dim in dims:
        return None
    return {value.index: pick}, node.args


def _has_tensor(kwargs: dict[str, Any]) -> bool:
    return any(is_ref(value) or isinstance(value, Tensor) for value in kwargs.values())


_PUSHES: dict[Any, Narrow] = {
    aten.reshape.default: _push_reshape,
    aten.permute.default: _push_permute,
    aten.transpose.int: _push_permute,
    aten.t.default: _push_permute,
    aten.select.int: _push_select,
    aten.expand.default: _push_expand,
    aten.mm.default: _push_rows,
    aten.bmm.default: _push_rows,
    aten.addmm.default: _push_rows,
    aten.native_layer_norm.default: _push_rowwise,
    **dict.fromkeys(SOFTMAXES, _push_rowwise),
}
