"""Ops that summarise over some dimensions: means, pooling, softmax, norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_ablationcam.engine import owners as owner_maps
from lightning_ablationcam.engine.program import Node, is_ref
from lightning_ablationcam.engine.rules.tables import Bound, Context, Rules, Shapes
from lightning_ablationcam.engine.values import Change, Channelwise, Factored

aten = torch.ops.aten

RULES = Rules()

SUMS = (
    aten.mean.dim,
    aten.sum.dim_IntList,
    aten.mean.default,
    aten.sum.default,
)
EXTREMES = (
    aten.amax.default,
    aten.amin.default,
    aten.var.correction,
    aten.std.correction,
    aten.logsumexp.default,
    aten.linalg_vector_norm.default,
)
LINEAR_POOLS = {
    aten.avg_pool2d.default: 2,
    aten.avg_pool3d.default: 3,
    aten._adaptive_avg_pool2d.default: 2,
    aten._adaptive_avg_pool3d.default: 3,
    aten.upsample_nearest1d.default: 1,
    aten.upsample_nearest2d.default: 2,
    aten.upsample_nearest3d.default: 3,
    aten.upsample_bilinear2d.default: 2,
    aten.upsample_bicubic2d.default: 2,
    aten.upsample_trilinear3d.default: 3,
    aten.upsample_nearest2d.vec: 2,
    aten.upsample_bilinear2d.vec: 2,
    aten.upsample_bicubic2d.vec: 2,
}
OTHER_POOLS = {
    aten.max_pool2d_with_indices.default: 2,
    aten.max_pool3d_with_indices.default: 3,
    aten.adaptive_max_pool2d.default: 2,
    aten.adaptive_max_pool3d.default: 3,
}
SOFTMAXES = (aten._softmax.default, aten._log_softmax.default, aten._safe_softmax.default)


@RULES.owners(*SUMS, *EXTREMES)
def _over_dims(bound: Bound) -> Tensor | None:
    """Keeps channels apart unless it reduces over them."""
    named = _named(bound)
    value = bound.args[0]
    dims = named.get("dim")
    everything = list(range(value.base.ndim))
    chosen = everything if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    owner = owner_maps.reduced(value.owner, chosen)
    shape = bound.shapes[0]
    if owner is None or shape is None or len(shape) == owner.ndim:
        return owner
    gone = {dim % value.base.ndim for dim in chosen}
    return owner.view([size for dim, size in enumerate(owner.shape) if dim not in gone])


@RULES.owners(*LINEAR_POOLS, *OTHER_POOLS)
def _over_space(bound: Bound) -> list[Tensor] | Tensor | None:
    """Pooling and resizing look at the last dimensions only."""
    value = bound.args[0]
    dims = {**LINEAR_POOLS, **OTHER_POOLS}[bound.node.op]
    if not isinstance(value, Channelwise) or len(bound.channelwise()) != 1:
        return None
    owner = value.owner
    if any(size > 1 for size in owner.shape[owner.ndim - dims :]):
        return None
    return [owner] * len(bound.node.outputs) if bound.node.several else owner


@RULES.owners(*SOFTMAXES)
def _softmax(bound: Bound) -> Tensor | None:
    """A softmax over space keeps channels apart, one over channels does not."""
    return owner_maps.reduced(bound.args[0].owner, [bound.args[1]])


@RULES.owners(aten.native_layer_norm.default)
def _layer_norm(bound: Bound) -> list[Tensor] | None:
    value, normalised = bound.args[0], bound.args[1]
    if len(bound.channelwise()) != 1 or not isinstance(value, Channelwise):
        return None
    owner = owner_maps.reduced(value.owner, range(-len(normalised), 0))
    return None if owner is None else [owner] * 3


@RULES.owners(aten.native_group_norm.default)
def _group_norm(bound: Bound) -> list[Tensor] | None:
    """Keeps channels apart where each has a group of its own."""
    value, channels, groups = bound.args[0], bound.args[4], bound.args[6]
    if len(bound.channelwise()) != 1 or not isinstance(value, Channelwise) or channels != groups:
        return None
    if any(size > 1 for dim, size in enumerate(value.owner.shape) if dim != 1):
        return None
    statistics = value.owner.view(1, -1)
    return [value.owner, statistics, statistics]


@RULES.owners(
    aten.native_batch_norm.default,
    aten._native_batch_norm_legit.no_stats,
    aten.cudnn_batch_norm.default,
    aten.miopen_batch_norm.default,
)
def _instance_norm(bound: Bound) -> list[Tensor] | None:
    """Instance norm arrives as a batch norm on the statistics of (1, N K, ...)."""
    value = bound.args[0]
    if len(bound.channelwise()) != 1 or not isinstance(value, Channelwise):
        return None
    if any(size > 1 for dim, size in enumerate(value.owner.shape) if dim != 1):
        return None
    return [value.owner, *[value.owner.flatten()] * (len(bound.node.outputs) - 1)]


@RULES.linear(*SUMS, *LINEAR_POOLS)
def _no_shift(node: Node, _shapes: Shapes) -> Node | None:
    return node if is_ref(node.args[0]) and len(node.refs()) == 1 else None


@RULES.changes(aten.native_layer_norm.default)
def _layer_norm_over_channels(node: Node, context: Context) -> Change | None:
    """One entry of each position moves by d: mean and variance move by known amounts.

    With mean m, c = x - m, variance v, r = 1 / sqrt(v + eps) and K entries, the variance changes
    by (2 d c_k + d^2 (1 - 1/K)) / K; primed is after the change:
    result_j = gain_j ((r' - r) c_j + d r' [j = k] - d r' / K).
    """
    reference, normalised, gain, _, epsilon = node.args
    value = context.value(reference.index) if is_ref(reference) else None
    if not isinstance(value, Channelwise) or len(node.refs()) != 1 or len(normalised) != 1:
        return None
    entries = value.entries(context.groups)
    last = value.base.ndim - 1
    if entries is None or entries.dim != last or entries.index.shape[1] != 1:
        return None
    count = math.prod(normalised)
    x = value.base
    d = entries.masked(entries.take(value.change, last), last)
    centred = x - x.mean(-1, keepdim=True)
    inverse = (centred.square().mean(-1, keepdim=True) + epsilon).rsqrt()
    more = (2 * d * entries.take(centred, last) + d.square() * (1 - 1 / count)) / count
    moved = (inverse.square().reciprocal() + more).rsqrt()
    faster = -more * (inverse * moved).square() / (inverse + moved)
    gain = x.new_ones(count) if gain is None else gain
    one_hot = torch.nn.functional.one_hot(entries.index[:, 0], count).to(x) * gain
    flat = [1] * (x.ndim - 1)
    terms = (
        (faster, (centred * gain)[None]),
        (d * moved, one_hot.view(-1, *flat, count) - (gain / count)),
    )
    return Factored(terms, x.shape)


@RULES.changes(aten.mean.dim, aten.sum.dim_IntList)
def _sum_of_products(node: Node, context: Context) -> Change | None:
    """Products are summed over a dimension without writing them out."""
    change = context.value(node.refs()[0])
    dims = node.args[1] if len(node.args) > 1 else None
    (output,) = node.outputs
    if not isinstance(change, Factored) or output is None or not dims or "dtype" in node.kwargs:
        return None
    rank = len(change.shape)
    shape = context.program.shapes[output]
    over = [dim % rank for dim in dims]
    divisor = math.prod(change.shape[dim] for dim in over) if node.op is aten.mean.dim else 1
    terms = []
    for factors in change.terms:
        summed = summed_product(factors, change.shape, over) / divisor
        kept = [size for dim, size in enumerate(summed.shape[1:]) if dim not in over]
        terms.append((summed if len(shape) == rank else summed.reshape(len(summed), *kept),))
    return Factored(tuple(terms), shape)


def summed_product(factors: Sequence[Tensor], shape: Sequence[int], over: Sequence[int]) -> Tensor:
    """Sum a product of factors over some dimensions, which stay with size 1.

    Args:
        factors: Each of shape (n or 1, *dims), dims those of ``shape`` or 1.
        shape: The full shape of the product.
        over: Dimensions of ``shape``.
    """
    letters = [chr(ord("a") + i) for i in range(len(shape) + 1)]
    scale = 1
    for dim in over:
        if all(factor.shape[dim + 1] == 1 for factor in factors):
            scale *= shape[dim]
    inputs, operands, sizes = [], [], [1] * (len(shape) + 1)
    for factor in factors:
        dims = [i for i, size in enumerate(factor.shape) if size > 1]
        inputs.append("".join(letters[i] for i in dims))
        operands.append(factor.reshape([factor.shape[i] for i in dims]))
        for i in dims:
            sizes[i] = factor.shape[i]
    left = [i for i, size in enumerate(sizes) if size > 1 and i - 1 not in over]
    equation = ",".join(inputs) + "->" + "".join(letters[i] for i in left)
    result = torch.einsum(equation, *operands)
    return result.reshape([sizes[i] if i in left else 1 for i in range(len(sizes))]) * scale


def _named(bound: Bound) -> dict[str, Any]:
    names = [argument.name for argument in bound.node.op._schema.arguments]
    return {**dict(zip(names, bound.args, strict=False)), **bound.kwargs}
