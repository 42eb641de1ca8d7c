"""Ops on changes that are taken together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ablationcam.engine.fusing import fused
from lightning_ablationcam.engine.program import Node, Ref

aten = torch.ops.aten


def convolution(source, output, padding=(0, 0), weight=None, transposed=False):
    weight = torch.rand(4, 3, 3, 3) if weight is None else weight
    args = (Ref(source), weight, None, [1, 1], list(padding), [1, 1], transposed, [0, 0], 1)
    return Node(aten.convolution.default, args, {}, (output,), module=nn.Conv2d(3, 4, 3))


def norm(source, output, scale=None):
    scale = torch.rand(1, 4, 1, 1) if scale is None else scale
    args = (torch.rand(1, 4, 1, 1), Ref(source), scale)
    return Node(aten.addcmul.default, args, {}, (output,))


def pad(source, output, margins):
    return Node(aten.constant_pad_nd.default, (Ref(source), margins, 0.5), {}, (output,))


def relu(source, output):
    return Node(aten.relu.default, (Ref(source),), {}, (output,))


def ops(nodes):
    return [node.op._schema.name.split("::")[-1] for node in nodes]


def test_a_padding_and_a_norm_become_parts_of_a_convolution():
    nodes = [pad(0, 1, [2, 2, 1, 1]), convolution(1, 2, (0, 3)), norm(2, 3), relu(3, 4)]
    joined, size = fused(nodes, {4}, 10**6)
    assert ops(joined) == ["convolution", "relu"]
    assert joined[0].refs() == [0]
    assert joined[0].outputs == (3,)
    assert joined[0].module is nodes[1].module
    weight = joined[0].args[1]
    assert size == weight.nbytes
    change = torch.rand(2, 3, 6, 7)
    plain = torch.conv2d(change, nodes[1].args[1], padding=(1, 5)) * nodes[2].args[2]
    found = joined[0].op(change, *joined[0].args[1:])
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize(
    "nodes",
    [
        [pad(0, 1, [0, 1, 0, 1]), convolution(1, 2)],
        [pad(0, 1, [-1, -1]), convolution(1, 2)],
        [pad(0, 1, [0, 0, 0, 0, 1, 1]), convolution(1, 2)],
        [pad(0, 1, [1, 1]), convolution(1, 2, weight=torch.rand(3, 4, 3, 3), transposed=True)],
        [convolution(0, 1, weight=torch.rand(3, 4, 3, 3), transposed=True), norm(1, 2)],
        [convolution(0, 1), norm(1, 2, torch.rand(1, 1, 1, 1))],
        [convolution(0, 1), norm(1, 2, torch.rand(1, 4, 5, 5))],
        [convolution(0, 1, weight=torch.rand(4, 3, 3, 3).bfloat16()), norm(1, 2)],
        [convolution(0, 1), norm(1, 2), relu(1, 3)],
        [relu(0, 1), norm(1, 2)],
    ],
)
def test_what_stays_apart(nodes):
    assert fused(nodes, set(), 10**6) == (nodes, 0)


def test_what_is_read_from_elsewhere_stays():
    nodes = [convolution(0, 1), norm(1, 2)]
    assert fused(nodes, {1}, 10**6) == (nodes, 0)


def test_without_memory_for_a_second_kernel_the_norm_stays():
    nodes = [pad(0, 1, [1, 1]), convolution(1, 2), norm(2, 3)]
    joined, size = fused(nodes, set(), 4 * 4 * 27 - 1)
    assert ops(joined) == ["convolution", "addcmul"]
    assert size == 0
