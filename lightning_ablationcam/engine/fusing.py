"""Fewer passes over memory: ops on changes that can be taken together exactly."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

import torch
from torch import Tensor

from lightning_ablationcam.engine.program import Node, is_ref, readers

aten = torch.ops.aten

PRECISE = (torch.float32, torch.float64)
"""In a narrower dtype a scaled kernel would be rounded a second time."""


def fused(nodes: Sequence[Node], kept: Set[int], most_bytes: int) -> tuple[list[Node], int]:
    """Join convolutions with the padding before and the batch norm after them.

    Zeros around a map become the convolution's own padding. A batch norm in evaluation mode scales
    the kernel. The constant parts, bias and shift, are left out: they do not change.

    Args:
        nodes: Nodes that run on changes.
        kept: The values that are read from elsewhere.
        most_bytes: Bytes that scaled kernels may take.

    Returns:
        Nodes that have the same changes, and the bytes of their scaled kernels.
    """
    single = {i for i, reading in readers(tuple(nodes)).items() if len(reading) == 1} - kept
    # By the first value they define; a joined node takes the place of the later one.
    result: dict[int, Node] = {}
    spent = 0
    for node in nodes:
        source, defined = _source(node), node.defined()[0]
        before = result.get(source) if source in single else None
        joined, size = _joined(before, node) if before is not None else (None, 0)
        if joined is not None and spent + size <= most_bytes:
            del result[source]
            spent += size
            node = joined
        result[defined] = node
    return list(result.values()), spent


def _source(node: Node) -> int:
    """The value that the node is run on, if it is but one."""
    read = node.refs()
    return read[0] if len(read) == 1 else -1


def _joined(before: Node, node: Node) -> tuple[Node | None, int]:
    """Two nodes as one, or None, and the bytes of a kernel that was made for it."""
    if node.op is aten.convolution.default and before.op is aten.constant_pad_nd.default:
        return _with_padding(before, node), 0
    if node.op is aten.addcmul.default and before.op is aten.convolution.default:
        return _with_scale(before, node)
    return None, 0


def _with_padding(pad: Node, convolution: Node) -> Node | None:
    value, weight, _, stride, padding, dilation, transposed, *rest = convolution.args
    margins = pad.args[1]
    spatial = weight.ndim - 2 if isinstance(weight, Tensor) else 0
    margins = [*margins, *[0] * (2 * spatial - len(margins))]
    even = margins[::2] == margins[1::2] and min(margins, default=-1) >= 0
    if not is_ref(value) or transposed or not even or len(margins) != 2 * len(padding):
        return None
    both = [a + b for a, b in zip(padding, margins[::-2], strict=True)]
    args = (pad.args[0], weight, None, stride, both, dilation, transposed, *rest)
    return replace(convolution, args=args)


def _with_scale(convolution: Node, norm: Node) -> tuple[Node | None, int]:
    shift, value, scale = norm.args
    source, weight, _, *rest = convolution.args
    constants = isinstance(weight, Tensor) and isinstance(scale, Tensor) and not is_ref(shift)
    if norm.kwargs or not is_ref(value) or not is_ref(source) or not constants:
        return None, 0
    of_channels = scale.ndim == weight.ndim and scale.numel() == scale.shape[1] == len(weight)
    if rest[3] or not of_channels or weight.dtype not in PRECISE or scale.dtype != weight.dtype:
        return None, 0
    scaled = weight * scale.view([-1] + [1] * (weight.ndim - 1))
    joined = replace(convolution, args=(source, scaled, None, *rest), outputs=norm.outputs)
    return joined, scaled.nbytes
