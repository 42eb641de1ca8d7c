"""Ops that treat each entry by itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._ops import OpOverload

from lightning_ablationcam.engine import owners as owner_maps
from lightning_ablationcam.engine.program import Node, is_ref
from lightning_ablationcam.engine.rules.tables import Bound, Context, Rules, Shapes, rewritten
from lightning_ablationcam.engine.values import Change, Factored

aten = torch.ops.aten

RULES = Rules()

# Pointwise, though ATen does not tag them so.
UNTAGGED = (
    aten.hardswish.default,
    aten.hardsigmoid.default,
    aten.hardtanh.default,
    aten.relu6.default,
    aten.elu.default,
    aten.celu.default,
    aten.selu.default,
    aten.silu.default,
    aten.mish.default,
    aten.gelu.default,
    aten.softplus.default,
    aten.leaky_relu.default,
    aten.log_sigmoid_forward.default,
    aten._prelu_kernel.default,
    aten.copy.default,
    aten._to_copy.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.fill.Scalar,
    aten.zero.default,
    aten.masked_fill.Scalar,
    aten.masked_fill.Tensor,
)


def is_pointwise(op: OpOverload) -> bool:
    """Whether entry i of the result depends on entry i of the arguments only."""
    return torch.Tag.pointwise in op.tags or op in UNTAGGED


@RULES.owners(*UNTAGGED)
def entry_by_entry(bound: Bound) -> Tensor | None:
    """An entry has the owner of the entries that it is computed from."""
    shape = bound.shapes[0]
    assert shape is not None
    return owner_maps.combined([value.owner for value in bound.channelwise()], len(shape))


@RULES.linear(aten.add.Tensor, aten.add.Scalar)
def _add(node: Node, shapes: Shapes) -> Node | None:
    """Drop a constant summand, which does not change."""
    first, second, scale = _operands(node)
    if is_ref(first) and is_ref(second):
        return node
    return _spread(node, first, 1, shapes) or _spread(node, second, scale, shapes)


@RULES.linear(aten.sub.Tensor, aten.sub.Scalar)
def _sub(node: Node, shapes: Shapes) -> Node | None:
    first, second, scale = _operands(node)
    if is_ref(first) and is_ref(second):
        return node
    return _spread(node, first, 1, shapes) or _spread(node, second, -scale, shapes)


@RULES.linear(aten.mul.Tensor, aten.mul.Scalar)
def _mul(node: Node, _shapes: Shapes) -> Node | None:
    return node if sum(map(is_ref, node.args)) == 1 else None


@RULES.linear(aten.div.Tensor, aten.div.Scalar)
def _div(node: Node, _shapes: Shapes) -> Node | None:
    return node if is_ref(node.args[0]) and not is_ref(node.args[1]) else None


@RULES.linear(aten.neg.default)
def _neg(node: Node, _shapes: Shapes) -> Node:
    return node


@RULES.linear(aten.addcmul.default)
def _multiply_add(node: Node, _shapes: Shapes) -> Node | None:
    """Batch norm in evaluation mode: drop the shift, which does not change."""
    shift, value, scale = node.args
    if node.kwargs or is_ref(shift) or is_ref(scale):
        return None
    return rewritten(node, aten.mul.Tensor, value, scale)


@RULES.changes(aten.mul.Tensor, aten.mul.Scalar)
def _scaled(node: Node, context: Context) -> Change | None:
    """Scale each term by the constant, if the constant broadcasts to its shape."""
    value, scale = node.args if is_ref(node.args[0]) else node.args[::-1]
    if is_ref(scale):
        return None
    change = context.value(value.index)
    if not isinstance(change, Factored):
        return None
    if isinstance(scale, Tensor) and scale.ndim:
        return _scaled_by_tensor(change, scale)
    terms = tuple((factors[0] * scale, *factors[1:]) for factors in change.terms)
    return Factored(terms, change.shape)


@RULES.changes(aten.add.Tensor)
def _sum(node: Node, context: Context) -> Change | None:
    """Sums of products stay sums of products."""
    if node.kwargs or not all(map(is_ref, node.args)):
        return None
    first, second = (context.value(ref.index) for ref in node.args)
    if not isinstance(first, Factored) or not isinstance(second, Factored):
        return None
    if first.shape != second.shape:
        return None
    return Factored(first.terms + second.terms, first.shape)


def _scaled_by_tensor(change: Factored, scale: Tensor) -> Factored | None:
    if scale.ndim > len(change.shape):
        return None
    scale = scale[(None,) * (len(change.shape) + 1 - scale.ndim)]
    if any(a > b for a, b in zip(scale.shape[1:], change.shape, strict=True)):
        return None
    return Factored(tuple((*factors, scale) for factors in change.terms), change.shape)


def _operands(node: Node) -> tuple[object, object, float]:
    scale = node.args[2] if len(node.args) > 2 else node.kwargs.get("alpha", 1)
    return node.args[0], node.args[1], scale


def _spread(node: Node, operand: object, scale: float, shapes: Shapes) -> Node | None:
    """The operand alone, times a number, in the shape of the result."""
    (output,) = node.outputs
    assert output is not None
    if not is_ref(operand):
        return None
    if scale == 1:
        return rewritten(node, aten.expand.default, operand, list(shapes[output]))
    if shapes[operand.index] == shapes[output]:  # type: ignore[attr-defined]
        return rewritten(node, aten.mul.Scalar, operand, scale)
    return None
