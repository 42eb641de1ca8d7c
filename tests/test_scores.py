from __future__ import annotations

import numpy as np
import torch

from lightning_ablationcam.method.scores import resolve_classes


def test_resolve_classes():
    device = torch.device("cpu")
    assert resolve_classes(1, 2, device).tolist() == [1, 1]
    assert resolve_classes(np.array([2, 0]), 2, device).dtype == torch.int64
