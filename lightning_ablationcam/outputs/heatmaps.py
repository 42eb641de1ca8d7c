"""The newest heatmaps as a file of arrays, for notebooks and other programs."""

from __future__ import annotations

from io import BytesIO

import numpy as np

from lightning_ablationcam.probes.probe_set import ProbeSet
from lightning_ablationcam.run.history import Pass


def encode_heatmaps(probes: ProbeSet, seen: Pass) -> bytes:
    """Return the maps of a pass as an npz file, which ``numpy.load`` reads without pickle.

    Args:
        probes: The N probes.
        seen: The pass.

    Returns:
        A file of ``names`` (N,), ``classes`` (N,) int64, ``scores`` (N,) float64, ``heatmaps``
        (N, h, w) float32, not normalised, and the scalars ``step``, ``epoch`` and ``layer``; with
        ``signed`` (N, h, w) float32, the maps before the ReLU, where they are kept.

    Example:
        >>> import torch
        >>> probes = ProbeSet(torch.rand(1, 1, 8, 8), names=["cat"])
        >>> maps = np.ones((1, 2, 2), np.float32)
        >>> seen = Pass(24, 1, "layer4", maps, np.array([3]), np.array([0.5]))
        >>> with np.load(BytesIO(encode_heatmaps(probes, seen)), allow_pickle=False) as file:
        ...     file["names"].tolist(), int(file["step"]), file["heatmaps"].shape
        (['cat'], 24, (1, 2, 2))
    """
    arrays = {
        "names": np.array(probes.names, dtype=np.str_),
        "classes": np.asarray(seen.classes, np.int64),
        "scores": np.asarray(seen.scores, np.float64),
        "heatmaps": np.asarray(seen.heatmaps, np.float32),
        "step": np.int64(seen.step),
        "epoch": np.int64(seen.epoch),
        "layer": np.str_(seen.layer),
    }
    if seen.signed is not None:
        arrays["signed"] = np.asarray(seen.signed, np.float32)
    file = BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
