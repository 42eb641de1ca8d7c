"""Estimates of all drops at once, for those that are not computed one by one.

An estimate is never an answer: it is regressed on drops that were computed, and what it may be off
by is found from them (see :mod:`~lightning_ablationcam.method.bounds`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_ablationcam.engine.program import Program, run_node
from lightning_ablationcam.engine.propagate import Propagation
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.readout import Columns, for_autograd
from lightning_ablationcam.network.isolation import has_reduced_precision, reduced_precision
from lightning_ablationcam.network.memory import is_out_of_memory


def estimated_drops(
    program: Program, question: Question, propagation: Propagation
) -> Tensor | None:
    """(N, G, Q) estimates of the drops, None where there are none.

    A device that multiplies in TF32 computes all changes so, several times as fast; as only changes
    are rounded, not values, their drops are off by a thousandth. Elsewhere first order serves.

    Args:
        program: The recorded tail.
        question: What is asked.
        propagation: Of the program.
    """
    if is_reducible(question.activations):
        with reduced_precision():
            return propagation.drops()
    return first_order(program, question)


def is_reducible(activations: Tensor) -> bool:
    """Whether changes of a value can be computed in reduced precision, and that is faster."""
    return activations.dtype == torch.float32 and has_reduced_precision(activations.device)


def first_order(program: Program, question: Question) -> Tensor | None:
    """(N, G, Q) the gradient of the scores times what ablation takes away, summed over each group.

    Returns:
        None where the tail or the score has no derivative: then every channel is computed.
    """
    try:
        gradients = _gradients(program, question)
    except Exception as error:  # A score of the user's own may raise any.
        if is_out_of_memory(error):
            raise
        return None
    taken = question.activations - question.ablated
    parts = [(taken * each).movedim(question.channel_dim, 1) for each in gradients]
    sums = torch.stack([part.flatten(2).sum(dim=2) for part in parts], dim=-1)
    return over_groups(sums, question)


def change_sizes(question: Question) -> Tensor:
    """(N, G) the norm of what ablation takes away from each group."""
    taken = (question.activations - question.ablated).movedim(question.channel_dim, 1)
    return over_groups(taken.double().square().flatten(2), question).sum(dim=2).sqrt()


def over_groups(values: Tensor, question: Question) -> Tensor:
    """(N, G, X) the sums of (N, K, X) values over the channels of each group."""
    count, groups = question.changed.shape
    mine = question.owners >= 0
    sums = values.new_zeros(count, groups, values.shape[2])
    return sums.index_add_(1, question.owners[mine], values[:, mine])


def _gradients(program: Program, question: Question) -> list[Tensor]:
    """Of each of the Q scores with respect to the layer's output, of its shape."""
    with torch.enable_grad():
        start = question.activations.detach().clone().requires_grad_()
        values = {0: start}
        for node in program.nodes:
            results = run_node(for_autograd(node), values.__getitem__)
            named = zip(node.outputs, results, strict=True)
            values.update({index: result for index, result in named if index is not None})
        output = values[program.output]
        if question.columns is None:
            scores = question.differentiable(output)
        else:
            scores = Columns(*question.columns)(output)
        count = scores.shape[1]
        return [
            torch.autograd.grad(scores[:, place].sum(), start, retain_graph=place + 1 < count)[0]
            for place in range(count)
        ]
