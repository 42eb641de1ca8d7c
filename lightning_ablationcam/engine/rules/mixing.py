"""Ops that mix channels linearly: matrix products and convolutions."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lightning_ablationcam.engine import owners as owner_maps
from lightning_ablationcam.engine.program import Node, is_ref
from lightning_ablationcam.engine.rules.tables import Bound, Context, Rules, Shapes, rewritten
from lightning_ablationcam.engine.values import (
    Change,
    Channelwise,
    Dense,
    Factored,
    goes_channels_last,
    laid_out,
    written_out,
)

aten = torch.ops.aten

RULES = Rules()

PRODUCTS = (aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default)
MIN_SKIPPED = 0.25
"""Columns of zeros are left out of a product if they are at least this share of all."""

MIN_PRODUCT = 2**28
"""Multiplications below which a product is not looked through for columns of zeros."""

GATHERED_BYTES = 2**21
"""Most bytes of a matrix that are gathered at a time: fresh memory for more costs page faults."""

WITH_BIAS = {aten.addmm.default: aten.mm.default, aten.baddbmm.default: aten.bmm.default}


@RULES.owners(*PRODUCTS)
def _product_owners(bound: Bound) -> Tensor | None:
    """A product mixes the dimension it sums over; rows and columns stay apart."""
    left, right = bound.args[-2:]
    maps = []
    for operand, summed in ((left, -1), (right, -2)):
        if isinstance(operand, Channelwise):
            owner = owner_maps.reduced(operand.owner, [summed])
            if owner is None:
                return None
            maps.append(owner)
    maps += [bias.owner for bias in bound.args[:-2] if isinstance(bias, Channelwise)]
    shape = bound.shapes[0]
    assert shape is not None
    return owner_maps.combined(maps, len(shape))


@RULES.owners(aten.convolution.default)
def _convolution_owners(bound: Bound) -> Tensor | None:
    """A convolution group whose inputs have one owner passes it on, as in depthwise ones."""
    value, weight = bound.args[:2]
    if not isinstance(value, Channelwise) or len(bound.channelwise()) != 1:
        return None
    if any(size > 1 for dim, size in enumerate(value.owner.shape) if dim != 1):
        return None
    transposed, groups = bound.args[6], bound.args[8]
    inputs, outputs = value.base.shape[1], weight.shape[1] * groups
    if not transposed:
        outputs = weight.shape[0]
    owner = value.owner.flatten().expand(inputs).view(groups, -1)
    shared = owner_maps.reduced(owner, [1])
    if shared is None:
        return None
    handed_on = shared.expand(groups, outputs // groups).reshape(1, -1)
    return owner_maps.compressed(handed_on.view(1, -1, *[1] * (value.base.ndim - 2)))


@RULES.linear(*PRODUCTS)
def _product(node: Node, _shapes: Shapes) -> Node | None:
    """Drop the bias, which does not change. With two changing operands it is not linear."""
    *bias, left, right = node.args
    if node.kwargs or any(map(is_ref, bias)) or is_ref(left) == is_ref(right):
        return None
    return rewritten(node, WITH_BIAS.get(node.op, node.op), left, right)


@RULES.linear(aten.convolution.default)
def _convolution(node: Node, _shapes: Shapes) -> Node | None:
    value, weight, bias, *rest = node.args
    if not is_ref(value) or is_ref(weight) or is_ref(bias):
        return None
    return replace(node, args=(value, weight, None, *rest))


@RULES.changes(*PRODUCTS)
def _product_of_changes(node: Node, context: Context) -> Change | None:
    """(a + da)(b + db) - ab = da b + a db + da db, each with its factors kept apart."""
    *bias, left, right = node.args
    if node.kwargs or any(map(is_ref, bias)):
        return None
    (output,) = node.outputs
    assert output is not None
    shape = context.program.shapes[output]
    if not is_ref(right):
        change = _channel_times_matrix(left.index, right, context)
        if change is not None:
            return change
    left_terms = _terms(left.index, context) if is_ref(left) else ()
    right_terms = _terms(right.index, context) if is_ref(right) else ()
    base_left = context.base(left.index) if is_ref(left) else left
    base_right = context.base(right.index) if is_ref(right) else right
    terms = [_times(term, base_right) for term in left_terms]
    terms += [_from_left(base_left, term) for term in right_terms]
    for term in left_terms:
        for other in right_terms:
            terms.append(_from_left(_multiplied(term), other))
    if all(len(term) == 1 for term in terms):
        return Factored(tuple(terms), shape).dense()
    return Factored(tuple(terms), shape)


@RULES.changes(aten.convolution.default)
def _convolution_of_changes(node: Node, context: Context) -> Change | None:
    """The copies are one large batch."""
    value, weight, _, *how = node.args
    if not is_ref(value) or len(node.refs()) != 1:
        return None
    change = _channel_through_convolution(node, context)
    if change is not None:
        return change
    delta = written_out(context.value(value.index), context.groups)
    if delta.ndim != weight.ndim + 1:
        return None
    maps = laid_out(delta.flatten(0, 1))
    (output,) = node.outputs
    fast = context.fast.get(output)  # type: ignore[arg-type]
    mixed = fast(maps) if fast else torch.convolution(maps, weight, None, *how)
    return Dense(mixed.view(*delta.shape[:2], *mixed.shape[1:]), own=True)


def _channel_through_convolution(node: Node, context: Context) -> Change | None:
    """Each channel needs only its own slice of the kernel, so all together cost one convolution."""
    value, weight, _, stride, padding, dilation, transposed, _, groups = node.args
    if transposed or groups != 1:
        return None
    changing = context.value(value.index)
    if not isinstance(changing, Channelwise):
        return None
    entries = changing.entries(context.groups)
    if entries is None or entries.dim != 1:
        return None
    n = len(entries.index)
    d = entries.masked(entries.take(changing.change, 1), 1)
    kernels = entries.take(weight, 1)
    if goes_channels_last(changing.base):
        return _patches_times_kernels(d, kernels, node, context)
    d = d.transpose(0, 1).flatten(1, 2)
    kernels = kernels.flatten(0, 1)
    mixed = torch.convolution(
        d, kernels, None, stride, padding, dilation, False, [0] * len(stride), n
    )
    return Dense(torch.unflatten(mixed, 1, (n, -1)).transpose(0, 1), own=True)


def _patches_times_kernels(d: Tensor, kernels: Tensor, node: Node, context: Context) -> Change:
    """A convolution of (n, N, m, h, w) with (n, O, m, k, k) whose result has channels last."""
    _, _, _, stride, padding, dilation, *_ = node.args
    (output,) = node.outputs
    assert output is not None
    images, out, tall, wide = context.program.shapes[output]
    sides = kernels.shape[-2:]
    patches = torch.nn.functional.unfold(d.flatten(0, 1), sides, dilation, padding, stride)
    patches = torch.unflatten(patches, 0, (len(d), images)).transpose(2, 3).flatten(1, 2)
    rows = kernels.flatten(2).transpose(1, 2)
    mixed = patches * rows if rows.shape[1] == 1 else torch.bmm(patches, rows)
    return Dense(mixed.view(len(d), images, tall, wide, out).movedim(-1, 2), own=True)


def _channel_times_matrix(index: int, matrix: Tensor, context: Context) -> Change | None:
    """The change of one channel times a matrix is that change times one row of the matrix."""
    value = context.value(index)
    if not isinstance(value, Channelwise) or matrix.ndim != 2:
        return None
    entries = value.entries(context.groups)
    if entries is None or entries.dim != value.base.ndim - 1:
        return None
    d = entries.masked(entries.take(value.change, -1), -1)
    rows = entries.take(matrix, 0)
    if entries.index.shape[1] == 1:
        shape = torch.Size((*value.base.shape[:-1], matrix.shape[1]))
        return Factored(((d, rows),), shape)
    return Dense(d @ rows)


def _terms(index: int, context: Context) -> tuple[tuple[Tensor, ...], ...]:
    value = context.value(index)
    if isinstance(value, Factored):
        return value.terms
    return ((written_out(value, context.groups),),)


def _times(term: tuple[Tensor, ...], matrix: Tensor) -> tuple[Tensor, ...]:
    """A term times a matrix: only factors that vary along the summed dimension are touched."""
    apart, meeting = _split(term, -1, matrix.shape[-2])
    return (*apart, _folded(meeting, matrix))


def _from_left(matrix: Tensor, term: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    apart, meeting = _split(term, -2, matrix.shape[-1])
    product = _folded(meeting.transpose(-1, -2), matrix.transpose(-1, -2))
    return (*apart, product.transpose(-1, -2))


def _split(term: tuple[Tensor, ...], dim: int, size: int) -> tuple[list[Tensor], Tensor]:
    """The factors that do not change along a dimension, and the product of those that do."""
    meeting = [factor for factor in term if factor.shape[dim] > 1]
    apart = [factor for factor in term if factor.shape[dim] == 1]
    if meeting:
        return apart, _multiplied(tuple(meeting))
    sizes = [-1] * apart[-1].ndim
    sizes[dim] = size
    return apart[:-1], apart[-1].expand(sizes)


def _multiplied(term: tuple[Tensor, ...]) -> Tensor:
    product = term[0]
    for factor in term[1:]:
        product = product * factor
    return product


def _folded(rows: Tensor, matrix: Tensor) -> Tensor:
    """(n, ..., r, t) times (..., t, c), without a copy of the matrix for each of the n."""
    if matrix.ndim == 2:
        return _rows_times_matrix(rows, matrix)
    if matrix.ndim == rows.ndim:
        return torch.matmul(rows, matrix)
    n, _, r, t = rows.shape
    batch = matrix.shape[0]
    stacked = rows.expand(n, batch, r, t).transpose(0, 1).reshape(batch, n * r, t)
    return torch.bmm(stacked, matrix).view(batch, n, r, -1).transpose(0, 1)


def _rows_times_matrix(rows: Tensor, matrix: Tensor) -> Tensor:
    """(..., t) times (t, c), without what is zero in all rows.

    Behind a rectifier, units that stay shut under all counterfactuals do not change.
    """
    live = _live_columns(rows, matrix.shape[1])
    if live is None:
        return torch.matmul(rows, matrix)
    # The gathered rows take no more than what made the zeros has just freed.
    rows = rows.index_select(-1, live)
    step = max(1, GATHERED_BYTES // max(1, len(live) * matrix.element_size()))
    result = rows.new_empty(*rows.shape[:-1], matrix.shape[1])
    for place in range(0, matrix.shape[1], step):
        part = _gathered(matrix[:, place : place + step], live)
        result[..., place : place + step] = torch.matmul(rows, part)
    return result


def _live_columns(rows: Tensor, width: int) -> Tensor | None:
    """The columns that are not zero in all rows; None if there is little to be saved."""
    flat = rows.flatten(0, -2)
    # Elsewhere a question about values would wait for the device.
    if rows.device.type != "cpu" or flat.numel() * width < MIN_PRODUCT:
        return None
    most = (1 - MIN_SKIPPED) * flat.shape[1]
    if flat[0].count_nonzero() > most:  # Most values have no zeros, and one row shows it.
        return None
    live = flat.abs().amax(dim=0).nonzero().flatten()
    return live if len(live) <= most else None


def _gathered(matrix: Tensor, live: Tensor) -> Tensor:
    """Rows of a matrix, which often is a transposed one that is faster to read the other way."""
    if matrix.stride(0) == 1:
        return matrix.t().index_select(1, live).t()
    return matrix.index_select(0, live)
