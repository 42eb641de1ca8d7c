"""How much arithmetic a computation takes, roughly, in multiplications."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_ablationcam.engine.program import Node, Program, is_ref
from lightning_ablationcam.engine.recorder import Forward, run
from lightning_ablationcam.engine.rules.mixing import PRODUCTS
from lightning_ablationcam.network.inputs import Inputs, count_of

aten = torch.ops.aten


def work_of_forward(model: nn.Module, inputs: Inputs, forward: Forward) -> int:
    """The multiplications of a forward pass for each image, counted in one of all of them."""
    counter = FlopCounterMode(display=False)
    with counter:
        run(model, inputs, forward)
    # A multiplication and an addition are two.
    return int(counter.get_total_flops()) // (2 * count_of(inputs))


def work_of_group(program: Program, nodes: Sequence[Node]) -> tuple[int, int]:
    """What each group of channels needs of its own, for one image.

    Those are the operations after the first that mixes channels: of that one, a channel needs only
    its own part, and what comes before it keeps channels apart.

    Args:
        program: The tail.
        nodes: Those of its nodes that are run on changes.

    Returns:
        How many multiplications mixing takes, and how many numbers are written.
    """
    mixed: set[int] = set()
    total = numbers = 0
    for node in nodes:
        mixes, again = _mixes(node, program), bool(mixed.intersection(node.refs()))
        if mixes and again:
            total += _multiplications(node, program)
        if mixes or again:
            mixed.update(node.defined())
            numbers += sum(program.shapes[index].numel() for index in node.defined())
    images = max(1, program.shapes[0][0])
    return total // images, numbers // images


def _mixes(node: Node, program: Program) -> bool:
    if node.op is aten.convolution.default:
        return _shape(node.args[1], program)[1] > 1  # Not depthwise.
    return node.op in PRODUCTS


def _multiplications(node: Node, program: Program) -> int:
    results = sum(program.shapes[index].numel() for index in node.defined())
    if node.op is aten.convolution.default:
        return results * math.prod(_shape(node.args[1], program)[1:])
    return results * _shape(node.args[-1], program)[-2]


def _shape(operand: object, program: Program) -> torch.Size:
    if is_ref(operand):
        return program.shapes[operand.index]  # type: ignore[attr-defined]
    assert isinstance(operand, torch.Tensor)
    return operand.shape
