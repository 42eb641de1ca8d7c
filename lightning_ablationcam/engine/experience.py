"""What earlier passes found out about a program, so that later ones do not pay for it again."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary


@dataclass
class Experience:
    """What is known of one program on one model.

    Attributes:
        checked: Whether its drops were compared with replay, and were right.
        group_bytes: Peak memory of one more group in a chunk, or None before it is measured.
        live_bytes: The part of it in use between two ops, which has to fit into caches.
        apart: Whether images are explained one by one within a tolerance.
        work: The multiplications of a forward pass of one image, or None before they are counted.
    """

    checked: bool = False
    group_bytes: int | None = None
    live_bytes: int = 1
    apart: bool = False
    work: int | None = None


# By identity: a module's own == and hash may say anything (a metric's hash changes).
_known: MutableMapping[nn.Module, dict[Hashable, Experience]] = WeakIdKeyDictionary()


def experience_of(model: nn.Module, signature: Hashable) -> Experience:
    """What is known of a program; kept for as long as the model lives.

    Args:
        model: The model.
        signature: What distinguishes this computation from others on the same model.
    """
    return _known.setdefault(model, {}).setdefault(signature, Experience())
