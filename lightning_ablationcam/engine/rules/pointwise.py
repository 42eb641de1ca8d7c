"""Ops that treat each entry by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from lightning_ablationcam.engine import owners as owner_maps
from lightning_ablationcam.engine.program import Node, is_ref
from lightning_ablationcam.engine.rules.tables import Bound, Context, Rules, Shapes, rewritten
from lightning_ablationcam.engine.values import (
    Change,
    Dense,
    Factored,
    counterfactuals,
)

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

IN_PLACE: dict[OpOverload, OpOverload] = {
    aten.silu.default: aten.silu_.default,
    aten.gelu.default: aten.gelu_.default,
    aten.mish.default: aten.mish_.default,
    aten.elu.default: aten.elu_.default,
    aten.leaky_relu.default: aten.leaky_relu_.default,
    aten.hardswish.default: aten.hardswish_.default,
    aten.hardsigmoid.default: aten.hardsigmoid_.default,
    aten.sigmoid.default: aten.sigmoid_.default,
    aten.tanh.default: aten.tanh_.default,
}
"""Activations, and what runs them in place."""

CLAMPS: dict[OpOverload, OpOverload] = {
    aten.relu.default: aten.relu_.default,
    aten.relu6.default: aten.relu6_.default,
    aten.hardtanh.default: aten.hardtanh_.default,
}
"""Those that are linear between two limits."""


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
        return _product(node, context)
    change = context.value(value.index)
    if isinstance(change, Dense):
        return _written_scaled(change, scale, context.spare(value.index))
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
    if isinstance(first, Dense) and isinstance(second, Dense):
        return _written_sum(node, first.delta, second.delta, context)
    if not isinstance(first, Factored) or not isinstance(second, Factored):
        return None
    if first.shape != second.shape:
        return None
    return Factored(first.terms + second.terms, first.shape)


@RULES.changes(*CLAMPS)
def _clamped(node: Node, context: Context) -> Change | None:
    """With b the intact value: f(b + d) - f(b) = clamp(d, low - b, high - b) + (b - f(b))."""
    (value,) = node.args[:1]
    change = context.value(value.index)
    base, spare = context.base(value.index), context.spare(value.index)
    if not isinstance(change, Dense) or not _alike(base, change.delta) or len(change.delta) == 1:
        return _activated(node, context)
    low, high = _limits(node)
    out = torch.empty_like(change.delta) if spare is None else spare
    if high is None:
        torch.maximum(change.delta, low - base, out=out)
    else:
        torch.clamp(change.delta, low - base, high - base, out=out)
    return Dense(out.add_(base - context.base(node.defined()[0])), own=True)


@RULES.changes(*IN_PLACE)
def _activated(node: Node, context: Context) -> Change | None:
    """The copies are made, changed and compared in one buffer: a second one costs page faults."""
    value, *how = node.args
    if not is_ref(value) or len(node.refs()) != 1:
        return None
    base, result = context.base(value.index), context.base(node.defined()[0])
    spare = context.spare(value.index)
    if spare is not None and _alike(base, spare):
        copies = spare.add_(base)
    else:
        copies = counterfactuals(context.value(value.index), base, context.groups)
    if not _alike(base, copies) or result.dtype != base.dtype:
        return None
    run = CLAMPS.get(node.op) or IN_PLACE[node.op]
    return Dense(run(copies, *how, **node.kwargs).sub_(result), own=True)


def _limits(node: Node) -> tuple[float, float | None]:
    if node.op is aten.relu.default:
        return 0, None
    if node.op is aten.relu6.default:
        return 0, 6
    names = ("min_val", "max_val")
    given = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
    return given.get("min_val", -1), given.get("max_val", 1)


def _alike(base: Tensor, copies: Tensor) -> bool:
    """Whether copies of a value can be changed in place to copies of its dtype and shape."""
    return (
        base.is_floating_point() and base.dtype == copies.dtype and copies.shape[1:] == base.shape
    )


def _product(node: Node, context: Context) -> Change | None:
    """(a + da)(b + db) - ab = da (b + db) + a db, a of the result's shape."""
    first, second = node.args
    (output,) = node.outputs
    assert output is not None
    shape = context.program.shapes[output]
    for one, other in ((first, second), (second, first)):
        change, other_change = context.value(one.index), context.value(other.index)
        if one.index == other.index:
            return None
        if not isinstance(change, Dense) or not isinstance(other_change, Dense):
            return None
        da, db = change.delta, other_change.delta
        a, b = context.base(one.index), context.base(other.index)
        if a.shape != shape or a.ndim != b.ndim or not _alike(a, da) or not _alike(b, db):
            continue
        spare = context.spare(one.index)
        product = torch.mul(da, db + b, out=spare) if spare is not None else da * (db + b)
        return Dense(product.addcmul_(a, db), own=True)
    return None


def _written_scaled(change: Dense, scale: Any, spare: Tensor | None) -> Dense | None:
    """Scaled in place, if the constant broadcasts to the value's shape and keeps its dtype."""
    delta = change.delta
    if isinstance(scale, Tensor):
        sizes = zip(reversed(scale.shape), reversed(delta.shape[1:]), strict=False)
        fits = scale.ndim < delta.ndim and all(a in (1, b) for a, b in sizes)
        if scale.dtype != delta.dtype or not fits:
            return None
    elif not delta.is_floating_point():
        return None
    return Dense(delta * scale if spare is None else spare.mul_(scale), own=True)


def _written_sum(node: Node, a: Tensor, b: Tensor, context: Context) -> Dense | None:
    """Added in place, where one of the two is not needed any more."""
    first, second = (ref.index for ref in node.args)
    if a.shape != b.shape or a.dtype != b.dtype:
        return None
    if first != second and context.spare(first) is not None:
        return Dense(a.add_(b), own=True)
    if first != second and context.spare(second) is not None:
        return Dense(b.add_(a), own=True)
    return Dense(a + b, own=True)


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
