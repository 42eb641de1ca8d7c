"""Numbers that sum up a heatmap, or the change between two, in one value.

Pure functions: of heatmaps, tensors or arrays of shape (N, l), (N, h, w) or (N, d, h, w), and those
of faithfulness, of tensors only.

>>> import numpy as np
>>> from lightning_ablationcam.measures import agreement, border_heat
>>> agreement(np.eye(4)[None], np.eye(4)[None]), border_heat(np.ones((1, 7, 7)))
(tensor([1.], dtype=torch.float64), tensor([0.3600], dtype=torch.float64))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_ablationcam.measures.change import agreement as agreement
    from lightning_ablationcam.measures.change import drift as drift
    from lightning_ablationcam.measures.change import shift as shift
    from lightning_ablationcam.measures.faithfulness import area_under as area_under
    from lightning_ablationcam.measures.faithfulness import average_drop as average_drop
    from lightning_ablationcam.measures.faithfulness import average_gain as average_gain
    from lightning_ablationcam.measures.faithfulness import explained_images as explained_images
    from lightning_ablationcam.measures.faithfulness import increase as increase
    from lightning_ablationcam.measures.focus import border_heat as border_heat
    from lightning_ablationcam.measures.focus import concentration as concentration
    from lightning_ablationcam.measures.focus import mask_heat as mask_heat
    from lightning_ablationcam.measures.focus import pointing_game as pointing_game
    from lightning_ablationcam.measures.likeness import rank_correlation as rank_correlation
    from lightning_ablationcam.measures.likeness import (
        structural_similarity as structural_similarity,
    )

# Lazy (PEP 562): TensorBoard's server reads ``axis`` and must not import torch for it.
_HOMES = {
    "agreement": "change",
    "area_under": "faithfulness",
    "average_drop": "faithfulness",
    "average_gain": "faithfulness",
    "border_heat": "focus",
    "concentration": "focus",
    "drift": "change",
    "explained_images": "faithfulness",
    "increase": "faithfulness",
    "mask_heat": "focus",
    "pointing_game": "focus",
    "rank_correlation": "likeness",
    "shift": "change",
    "structural_similarity": "likeness",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
