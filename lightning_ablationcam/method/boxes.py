"""Scores of detectors, which return boxes instead of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_ablationcam.arguments import shown


def strongest_box(output: Sequence[Mapping[str, Tensor]], classes: Tensor) -> Tensor:
    """The score of a detector: that of the strongest box of a class, 0 where there is none.

    For ``ablation_cam(model, "backbone.body.layer4", images, classes, score=strongest_box)`` and
    the monitor likewise. Detectors choose boxes by their values, so that the network is replayed
    for every channel. Another box may become the strongest when a channel is ablated; the drop is
    what the class loses in all.

    Args:
        output: For each of N images a dict with ``"labels"``, (B,) classes, and ``"scores"``, (B,)
            probabilities, as torchvision's detectors return them.
        classes: (N,) int64, the class of each image.

    Returns:
        (N,) scores.

    Raises:
        TypeError: If the output is anything else.

    Example:
        >>> boxes = {"labels": torch.tensor([3, 7, 3]), "scores": torch.tensor([0.4, 0.9, 0.6])}
        >>> strongest_box([boxes, boxes], torch.tensor([3, 1]))
        tensor([0.6000, 0.0000])
    """
    is_list = isinstance(output, (list, tuple))
    if not is_list or not all(isinstance(of, Mapping) and of.keys() >= _KEYS for of in output):
        raise TypeError(
            f"strongest_box got {shown(output)}; expected a list of dicts with 'labels' and "
            "'scores', as torchvision's detectors return them"
        )
    best = []
    for boxes, c in zip(output, classes, strict=True):
        scores = boxes["scores"][boxes["labels"] == c]
        best.append(torch.cat([scores, scores.new_zeros(1)]).amax())
    return torch.stack(best)


_KEYS = {"labels", "scores"}
