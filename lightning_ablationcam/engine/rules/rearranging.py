"""Ops that move entries without changing them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lightning_ablationcam.engine import owners as owner_maps
from lightning_ablationcam.engine.program import Node, is_ref
from lightning_ablationcam.engine.rules.tables import Bound, Context, Rules, Shapes
from lightning_ablationcam.engine.values import Change, Channelwise, Dense, Factored

aten = torch.ops.aten

RULES = Rules()

LAZY = (
    aten.reshape.default,
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.expand.default,
)
"""Ops that can also run on a tensor with size 1 wherever it does not change."""

ANY = (
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
    aten.flip.default,
    aten.roll.default,
    aten.index.Tensor,
    aten.index_select.default,
    aten.gather.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.unfold.default,
    aten.repeat.default,
)


@RULES.owners(*LAZY)
def _moved_lazily(bound: Bound) -> Tensor | None:
    value = bound.args[0]
    if not isinstance(value, Channelwise) or len(bound.channelwise()) != 1:
        return None
    owner = moved(bound.node, value.owner, value.base.shape, _single(bound), lead=0)
    return owner_maps.compressed(owner)


@RULES.owners(*ANY)
def _moved(bound: Bound) -> Tensor | list[Tensor] | None:
    """An entry keeps its owner wherever it is moved to: the op is run on the owners."""
    value = bound.args[0]
    if not isinstance(value, Channelwise) or len(bound.channelwise()) != 1:
        return None
    args = tree_map(lambda a: a.cpu() if isinstance(a, Tensor) else a, bound.args[1:])
    result = bound.node.op(value.owner.expand(value.base.shape), *args, **bound.kwargs)
    if isinstance(result, Tensor):
        return owner_maps.compressed(result)
    return [owner_maps.compressed(part) for part in result]


@RULES.owners(aten.cat.default)
def _concatenated(bound: Bound) -> Tensor:
    """Constant parts belong to ``NOBODY``."""
    parts = bound.args[0]
    dim = bound.args[1] if len(bound.args) > 1 else bound.kwargs.get("dim", 0)
    maps = []
    for part in parts:
        changing = isinstance(part, Channelwise)
        shape = part.base.shape if changing else part.shape
        owner = part.owner if changing else owner_maps.nobody(len(shape))
        maps.append((owner, shape))
    dim = dim % len(_single(bound))
    sizes = [max(owner.shape[d] for owner, _ in maps) for d in range(len(_single(bound)))]
    spread = []
    for owner, shape in maps:
        spread.append(owner.expand([shape[d] if d == dim else n for d, n in enumerate(sizes)]))
    return owner_maps.compressed(torch.cat(spread, dim))


@RULES.owners(aten.stack.default)
def _stacked(bound: Bound) -> Tensor | None:
    if len(bound.channelwise()) != len(bound.args[0]):
        return None
    parts = [part.owner.expand(part.base.shape) for part in bound.args[0]]
    return owner_maps.compressed(torch.stack(parts, *bound.args[1:], **bound.kwargs))


@RULES.owners(aten.constant_pad_nd.default)
def _padded(bound: Bound) -> Tensor:
    """The padding belongs to ``NOBODY``."""
    value, margins = bound.args[:2]
    sizes = list(value.owner.shape)
    for place, (before, after) in enumerate(zip(margins[::2], margins[1::2], strict=True)):
        if before or after:
            sizes[-1 - place] = value.base.shape[-1 - place]
    spread = value.owner.expand(sizes)
    kept = [m if sizes[-1 - i // 2] > 1 or m else 0 for i, m in enumerate(margins)]
    return owner_maps.compressed(aten.constant_pad_nd(spread, kept, owner_maps.NOBODY))


@RULES.linear(*LAZY, *ANY)
def _one_argument(node: Node, _shapes: Shapes) -> Node | None:
    return node if is_ref(node.args[0]) and len(node.refs()) == 1 else None


@RULES.linear(aten.cat.default, aten.stack.default)
def _constants_do_not_change(node: Node, _shapes: Shapes) -> Node:
    parts = [part if is_ref(part) else torch.zeros_like(part) for part in node.args[0]]
    return _with_args(node, (parts, *node.args[1:]))


@RULES.linear(aten.constant_pad_nd.default)
def _margin_does_not_change(node: Node, _shapes: Shapes) -> Node:
    return _with_args(node, node.args[:2])


@RULES.changes(*LAZY)
def _factors_moved(node: Node, context: Context) -> Change | None:
    """Each factor of a product is moved by itself."""
    change = context.value(node.refs()[0])
    (output,) = node.outputs
    if not isinstance(change, Factored) or output is None:
        return None
    shape = context.program.shapes[output]
    terms = [
        tuple(moved(node, factor, change.shape, shape, lead=1) for factor in factors)
        for factors in change.terms
    ]
    return Factored(tuple(terms), shape)


@RULES.changes(aten.constant_pad_nd.default)
def _padded_copies(node: Node, context: Context) -> Change | None:
    """The copies are one large batch, so that maps keep their order in memory."""
    value, margins = node.args[:2]
    change = context.value(value.index)
    if not isinstance(change, Dense) or len(margins) > 2 * (change.delta.ndim - 2):
        return None
    padded = aten.constant_pad_nd(change.delta.flatten(0, 1), margins)
    copies = padded.view(*change.delta.shape[:2], *padded.shape[1:])
    return Dense(copies, own=any(margins))


def moved(
    node: Node, tensor: Tensor, old: Sequence[int], new: Sequence[int], *, lead: int
) -> Tensor:
    """Run one of the lazy ops on a tensor that broadcasts to the op's argument.

    Args:
        node: The node.
        tensor: ``lead`` dimensions, then those of the argument, some of size 1.
        old: The argument's shape.
        new: The result's shape.
        lead: Number of dimensions in front that the op does not see.
    """
    if node.op is aten.reshape.default:
        return owner_maps.reshaped(tensor, old, new, lead)
    if node.op is aten.expand.default:
        missing = len(new) - len(old)
        return tensor.view(*tensor.shape[:lead], *[1] * missing, *tensor.shape[lead:])
    if node.op is aten.permute.default:
        order = [lead + dim % len(old) for dim in node.args[1]]
        return tensor.permute(*range(lead), *order)
    if node.op in (aten.transpose.int, aten.t.default):
        if len(old) < 2:
            return tensor
        first, second = node.args[1:3] if len(node.args) > 1 else (0, 1)
        return tensor.transpose(lead + first % len(old), lead + second % len(old))
    dim = (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) % len(old)
    if node.op is aten.select.int:
        return tensor.select(lead + dim, node.args[2] if tensor.shape[lead + dim] > 1 else 0)
    if tensor.shape[lead + dim] == 1:
        return tensor
    sliced: Tensor = aten.slice.Tensor(
        tensor, lead + dim, *node.args[2:], **_without_dim(node.kwargs)
    )
    return sliced


def _without_dim(kwargs: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in kwargs.items() if key != "dim"}


def _single(bound: Bound) -> torch.Size:
    (shape,) = bound.shapes
    assert shape is not None
    return shape


def _with_args(node: Node, args: tuple[object, ...]) -> Node:
    return Node(node.op, args, node.kwargs, node.outputs, node.several, node.module)
