"""The program of a tail: what a network computes from its target layer's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload


class PropagationError(Exception):
    """Counterfactuals cannot be carried through the tail; replay can still compute the drops.

    Args:
        reason: Why not, as the end of a sentence.
        op: The ATen op that is the obstacle, where known.
        module: The innermost module that ran it, where known.
    """

    def __init__(
        self, reason: str, op: OpOverload | None = None, module: nn.Module | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.op = op
        self.module = module

    def explain(self, model: nn.Module) -> str:
        """The reason with op and module named."""
        names = {id(module): name for name, module in model.named_modules()}
        text = self.reason
        if self.op is not None:
            text = f"{self.op}: {text}"
        if self.module is not None:
            name = names.get(id(self.module)) or "the model itself"
            text += f" (in {name}, a {type(self.module).__name__})"
        return text


@dataclass(frozen=True)
class Ref:
    """Stands for a value that depends on the target layer's output."""

    index: int


@dataclass(frozen=True, eq=False)
class Node:
    """One ATen op, in its functional form.

    Attributes:
        op: The op.
        args: Its positional arguments, a :class:`Ref` in place of each dependent tensor.
        kwargs: Likewise.
        outputs: The index of each result, None for results that nothing can use.
        several: Whether the op returns a tuple or list.
        module: The innermost module that ran it, where known.
    """

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int | None, ...]
    several: bool = False
    module: nn.Module | None = None

    def refs(self) -> list[int]:
        """The values it reads, in order, repetitions included."""
        return [leaf.index for leaf in leaves((self.args, self.kwargs)) if is_ref(leaf)]

    def defined(self) -> list[int]:
        """The values it defines."""
        return [index for index in self.outputs if index is not None]


@dataclass(frozen=True, eq=False)
class Program:
    """A straight line of nodes. Value 0 is the target layer's output.

    Attributes:
        nodes: In the order they ran; no node without a path to the output.
        output: The model's output.
        shapes: The shape of each value.
        dtypes: The dtype of each value.
    """

    nodes: tuple[Node, ...]
    output: int
    shapes: Mapping[int, torch.Size]
    dtypes: Mapping[int, torch.dtype]

    @property
    def nbytes(self) -> int:
        """Memory of all its values."""
        return sum(shape.numel() * self.dtypes[i].itemsize for i, shape in self.shapes.items())

    def signature(self) -> tuple[Any, ...]:
        """Equal for programs that differ only in the numbers in their constant tensors."""
        nodes = tuple(
            (str(node.op), _signature_of((node.args, node.kwargs)), node.outputs)
            for node in self.nodes
        )
        return nodes, tuple(self.shapes[0]), self.dtypes[0], self.output


def is_ref(leaf: Any) -> bool:
    """Whether a leaf of a node's arguments is a dependent value."""
    return isinstance(leaf, Ref)


# PyTorch's own trees know any container and take a tenth of a millisecond for an op; the arguments
# of an op are in lists, tuples and dicts alone.
def leaves(tree: Any) -> Iterator[Any]:
    """The leaves of an op's arguments, in order.

    Example:
        >>> list(leaves(([1, (2, None)], {"dim": 3})))
        [1, 2, None, 3]
    """
    if isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from leaves(branch)
    elif isinstance(tree, dict):
        for branch in tree.values():
            yield from leaves(branch)
    else:
        yield tree


def mapped_leaves(new: Callable[[Any], Any], tree: Any) -> Any:
    """An op's arguments with ``new(leaf)`` for each leaf.

    Example:
        >>> mapped_leaves(str, ([1, (2,)], {"dim": 3}))
        (['1', ('2',)], {'dim': '3'})
    """
    if isinstance(tree, tuple):
        return tuple([mapped_leaves(new, branch) for branch in tree])
    if isinstance(tree, list):
        return [mapped_leaves(new, branch) for branch in tree]
    if isinstance(tree, dict):
        return {key: mapped_leaves(new, branch) for key, branch in tree.items()}
    return new(tree)


def substitute(tree: Any, value: Callable[[int], Any]) -> Any:
    """A node's arguments with each :class:`Ref` replaced by what ``value(index)`` returns."""
    return mapped_leaves(lambda leaf: value(leaf.index) if is_ref(leaf) else leaf, tree)


def run_node(node: Node, value: Callable[[int], Any]) -> tuple[Any, ...]:
    """Run a node on actual tensors; the results in the order of ``node.outputs``."""
    result = node.op(*substitute(node.args, value), **substitute(node.kwargs, value))
    return tuple(result) if node.several else (result,)


def pruned(nodes: list[Node], output: int) -> tuple[Node, ...]:
    """The nodes with a path to the output."""
    needed = {output}
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.defined()):
            needed.update(node.refs())
            kept.append(node)
    return tuple(reversed(kept))


def _signature_of(tree: Any) -> tuple[Any, ...]:
    return tuple(_leaf_signature(leaf) for leaf in leaves(tree))


def _leaf_signature(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return (tuple(leaf.shape), leaf.dtype, leaf.device)
    return leaf if isinstance(leaf, (int, bool, str, Ref)) else repr(leaf)


def readers(nodes: tuple[Node, ...]) -> dict[int, list[Node]]:
    """The nodes that read each value."""
    found: dict[int, list[Node]] = {}
    for node in nodes:
        for index in dict.fromkeys(node.refs()):
            found.setdefault(index, []).append(node)
    return found
