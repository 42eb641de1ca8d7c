"""The affine end of a program, run backwards: class scores as weighted sums of earlier values.

A tail usually ends in ops that are affine: pooling, flattening, the classifier. There the drop of
a class score is a fixed weighted sum of the change, so that neither the other classes nor the
counterfactual scores are needed, and no two nearly equal scores are subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_ablationcam.engine import owners as owner_maps
from lightning_ablationcam.engine.program import Node, Program, mapped_leaves, readers, run_node
from lightning_ablationcam.engine.rules import linear_part
from lightning_ablationcam.engine.rules.reducing import summed_product
from lightning_ablationcam.engine.values import Change, Channelwise, Dense, written_out


class Readout(Protocol):
    """How drops are read off the values of a program."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The part of the program that has to be run."""

    @property
    def reads(self) -> tuple[int, ...]:
        """The values that drops are read off."""

    def drops(self, index: int, value: Channelwise | Change, groups: Tensor) -> Tensor:
        """(N, n, Q) the drops that a value's changes under n groups cause."""


@dataclass(frozen=True, eq=False)
class ScoreReadout:
    """Reads any score off the written-out outputs.

    Attributes:
        nodes: The whole program.
        reads: Its output.
        output: The intact output, (N, ...).
        score_of: (output of some rows, index of the image of each row) -> (rows, Q) scores.
        precise: Whether to add changes to the output in float64; the score must accept it.
    """

    nodes: tuple[Node, ...]
    reads: tuple[int, ...]
    output: Tensor
    score_of: Callable[[Any, Tensor], Tensor]
    precise: bool

    def drops(self, index: int, value: Channelwise | Change, groups: Tensor) -> Tensor:
        """Read the scores of all counterfactuals, and of the intact rows in the same call."""
        delta = written_out(value, groups)
        base = self.output.double() if self.precise else self.output
        rows = torch.cat([base[None], base + delta]).flatten(0, 1)
        images = torch.arange(len(base), device=base.device).repeat(len(delta) + 1)
        scores = self.score_of(rows, images)
        scores = scores.view(len(delta) + 1, len(base), scores.shape[1])
        return (scores[:1] - scores[1:]).transpose(0, 1)


@dataclass(frozen=True, eq=False)
class AffineReadout:
    """Weighs the values that enter the affine end of a program.

    Attributes:
        nodes: The program without its affine end.
        weights: For each value that enters the affine end, and each of Q scores, its derivative
            with respect to the value: (N, ...) of the value's shape, float32 or float64.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[int, Sequence[Tensor]]

    @property
    def reads(self) -> tuple[int, ...]:
        """The values that enter the affine end."""
        return tuple(self.weights)

    def drops(self, index: int, value: Channelwise | Change, groups: Tensor) -> Tensor:
        """(N, n, Q) the drops that a value's changes cause."""
        if isinstance(value, Channelwise) and value.owner.shape[0] > 1:
            value = value.dense(groups)
        drops = [_drops(value, weight, groups) for weight in self.weights[index]]
        return torch.stack(drops, dim=-1)


def _drops(value: Channelwise | Change, weight: Tensor, groups: Tensor) -> Tensor:
    """(N, n) the drops of one score."""
    if isinstance(value, Channelwise):
        return _channelwise_drops(value, weight, groups)
    if isinstance(value, Dense):
        return -_weighed(*_flat(value.delta.to(weight.dtype), weight))
    over = list(range(1, weight.ndim))
    factors = [[factor.to(weight.dtype) for factor in term] for term in value.terms]
    parts = [_contracted(term, weight, over) for term in factors]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return -total.expand(-1, weight.shape[0]).T


def _weighed(delta: Tensor, weight: Tensor) -> Tensor:
    """(N, n) each image's sum over e of (n, N, e) changes times its (N, e) weights."""
    if delta.device.type == "cpu":
        # Image by image: a batch of products with a vector takes ten times as long there.
        return torch.stack([delta[:, image] @ each for image, each in enumerate(weight)])
    return torch.einsum("gne,ne->ng", delta, weight)


def _flat(delta: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(n, N, E) and (N, E), in the order in which the larger one lies in memory."""
    if weight.ndim == 1:
        # One number for each image is a value too, and has no dimension to flatten.
        return delta[..., None], weight[..., None]
    order = sorted(range(2, delta.ndim), key=delta.stride, reverse=True)
    delta = delta.permute(0, 1, *order)
    return delta.flatten(2), weight.permute(0, *[dim - 1 for dim in order]).flatten(1)


@dataclass(frozen=True, eq=False)
class Columns:
    """Scores that are sums of a few columns of an (N, C) output; to be called with it.

    Attributes:
        places: (N, Q, M) int64, M columns of each of Q scores.
        signs: (N, Q, M) what they are multiplied by.
    """

    places: Tensor
    signs: Tensor

    def __call__(self, output: Tensor) -> Tensor:
        """(N, Q) the scores."""
        picked = output.gather(1, self.places.flatten(1)).view(self.places.shape)
        return (picked * self.signs.to(output.dtype)).sum(dim=2)

    def of_product(self, left: Tensor, weight: Tensor) -> Tensor:
        """(N, Q) the scores of ``left @ weight``: only the columns that are asked for."""
        signs = self.signs.to(left.dtype)
        directions = torch.einsum("knqm,nqm->nqk", weight[:, self.places], signs)
        return torch.einsum("nk,nqk->nq", left, directions)


def affine_readout(
    program: Program, score_of: Columns | Callable[[Tensor], Tensor], device: torch.device
) -> AffineReadout:
    """Split a program where its affine end begins, and run that end backwards.

    Args:
        program: Its output is what scores are read off.
        score_of: (N, Q) scores of the output, affine in it and differentiable.
        device: Where the program's values are.

    Returns:
        The readout.
    """
    images = program.shapes[program.output][0]
    end = _affine_end(program, images)
    in_end = {id(node) for node in end}
    nodes = tuple(node for node in program.nodes if id(node) not in in_end)
    defined = {index for node in end for index in node.defined()}
    cut = sorted({index for node in end for index in node.refs()} - defined) or [program.output]
    parts = [part for node in end if (part := linear_part(node, program.shapes)) is not None]
    return AffineReadout(nodes, _adjoint(program, parts, cut, score_of, device))


def _affine_end(program: Program, images: int) -> list[Node]:
    """The longest end of affine ops that only reads values whose first dimension is the images."""
    end: dict[int, Node] = {}
    outside: set[int] = set()
    readers_of = readers(program.nodes)
    for node in reversed(program.nodes):
        later = [other for index in node.defined() for other in readers_of.get(index, ())]
        joins = all(id(other) in end for other in later)
        if joins and not node.several and linear_part(node, program.shapes) is not None:
            end[id(node)] = node
    while True:
        defined = {index for node in end.values() for index in node.defined()}
        outside = {index for node in end.values() for index in node.refs()} - defined
        wrong = {index for index in outside if tuple(program.shapes[index][:1]) != (images,)}
        dropped = [key for key, node in end.items() if wrong.intersection(node.refs())]
        if not dropped:
            return [node for node in program.nodes if id(node) in end]
        for key in dropped:
            del end[key]


def _adjoint(
    program: Program,
    parts: Sequence[Node],
    cut: Sequence[int],
    score_of: Columns | Callable[[Tensor], Tensor],
    device: torch.device,
) -> dict[int, list[Tensor]]:
    """Derivatives of each of Q scores with respect to the values in ``cut``."""
    dtype = torch.promote_types(program.dtypes[program.output], torch.float32)
    with torch.enable_grad():
        values: dict[int, Tensor] = {
            index: torch.zeros(
                program.shapes[index], dtype=dtype, device=device, requires_grad=True
            )
            for index in cut
        }
        leaves = [values[index] for index in cut]
        for node in parts:
            node = for_autograd(node, dtype)
            is_last = node.defined() == [program.output]
            if is_last and isinstance(score_of, Columns) and _is_product_with_constant(node):
                left, weight = node.args
                scores = score_of.of_product(values[left.index], weight)
                break
            (result,) = run_node(node, values.__getitem__)
            values[node.defined()[0]] = result
        else:
            scores = score_of(values[program.output])
        count = scores.shape[1]
        found = [
            torch.autograd.grad(scores[:, q].sum(), leaves, retain_graph=q + 1 < count)
            for q in range(count)
        ]
    return {index: [each[place] for each in found] for place, index in enumerate(cut)}


def _is_product_with_constant(node: Node) -> bool:
    return node.op is torch.ops.aten.mm.default and isinstance(node.args[1], Tensor)


def for_autograd(node: Node, dtype: torch.dtype | None = None) -> Node:
    """The node with constants that autograd may save.

    Args:
        node: A node whose constants may be parameters, or tensors made in inference mode.
        dtype: What its floats are to be; by default what they are.
    """

    def constant(leaf: object) -> object:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach()
        if dtype is not None and leaf.is_floating_point():
            leaf = leaf.to(dtype)
        return leaf.clone() if leaf.is_inference() else leaf

    args, kwargs = mapped_leaves(constant, (node.args, node.kwargs))
    return replace(node, args=args, kwargs=kwargs)


def _channelwise_drops(value: Channelwise, weight: Tensor, groups: Tensor) -> Tensor:
    """Weigh what ablation takes away and add it up by owner."""
    taken = (value.base.to(weight.dtype) - value.ablated.to(weight.dtype)) * weight
    owner = value.owner
    apart = owner_maps.varying(owner)
    over = [dim for dim in range(1, taken.ndim) if dim not in apart]
    summed = (taken.sum(over) if over else taken).reshape(len(taken), -1)
    flat = owner.flatten()
    columns = torch.full((int(max(groups.max(), flat.max())) + 1,), len(groups))
    columns[groups] = torch.arange(len(groups))
    place = torch.where(flat == owner_maps.NOBODY, len(groups), columns[flat.clamp(min=0)])
    if torch.equal(place, torch.arange(len(groups))):
        return summed
    drops = summed.new_zeros(len(summed), len(groups) + 1)
    return drops.index_add_(1, place.to(drops.device), summed)[:, :-1]


def _contracted(term: Sequence[Tensor], weight: Tensor, over: Sequence[int]) -> Tensor:
    """(n or 1, N or 1) a term's weighted sum.

    What is the same for all groups is multiplied in first, then the largest factors: a dimension is
    summed over as soon as no other factor has it, so that no product is written out for each group.
    """
    product = weight[None]
    rest = sorted(term, key=lambda factor: (len(factor) > 1, -factor.numel()))
    while rest:
        factor = rest.pop(0)
        done = [
            dim
            for dim in over
            if all(other.shape[dim + 1] == 1 for other in rest) and product.shape[dim + 1] > 1
        ]
        product = summed_product((product, factor), _sizes(product, factor), done)
    summed = product.sum([dim + 1 for dim in over]) if over else product
    return summed.reshape(summed.shape[0], summed.shape[1])


def _sizes(*factors: Tensor) -> list[int]:
    return [max(sizes) for sizes in zip(*(factor.shape[1:] for factor in factors), strict=True)]
