"""Explain every label that a multi-label network gives a picture.

Two photographs side by side make an honest picture of two things. Four rows of EfficientNet-Lite0's
ImageNet classifier become four independent labels, each with a sigmoid of its own. Writes one
picture, with one map for each label that is given:

    python examples/several_labels.py

Each map should lie on its own half. That the network says yes to both is no proof that it knows
where they are: the maps are what shows that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage
import torch
from explain_photos import CLASSES, MEAN, STD, pretrained
from PIL import Image, ImageOps
from torch import nn

from lightning_ablationcam import ablation_cam

HALF = 160, 192
PAIRS = {
    "cat and coffee": (skimage.data.chelsea, skimage.data.coffee),
    "rocket and coffee": (skimage.data.rocket, skimage.data.coffee),
}
LABELS = ["tiger cat", "espresso", "missile", "daisy"]
# ImageNet's classes were trained against each other, which leaves open where a logit is zero. Set
# by eye, between the logits of what is in these pictures and of what is not.
LEVEL = 4


def multilabel() -> nn.Module:
    """EfficientNet-Lite0 with one logit for each label."""
    model = pretrained()
    rows = [CLASSES.index(label) for label in LABELS]
    model._fc.weight = nn.Parameter(model._fc.weight.data[rows])
    model._fc.bias = nn.Parameter(model._fc.bias.data[rows] - LEVEL)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for labels.jpg")
    options = parser.parse_args()

    halves = [
        [ImageOps.fit(Image.fromarray(load()), HALF, centering=(0.6, 0.5)) for load in pair]
        for pair in PAIRS.values()
    ]
    pictures = np.stack([np.concatenate(pair, axis=1) for pair in halves])
    inputs = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - MEAN) / STD
    model = multilabel()
    with torch.no_grad():
        probabilities = model(inputs).sigmoid()
    print(f"{'probability':<18}" + "".join(f"{label:>10}" for label in LABELS))
    for name, row in zip(PAIRS, probabilities.tolist(), strict=True):
        print(f"{name:<18}" + "".join(f"{share:>10.0%}" for share in row))

    # One row for each label that is given, so the same picture may stand in several rows.
    rows, labels = (probabilities > 0.5).nonzero(as_tuple=True)
    result = ablation_cam(model, "auto", inputs[rows], labels, task="multilabel")
    print(f"\n{'heat':<18}{'label':<12}left  right")
    for name, label, heat in zip(rows, labels, result.heatmaps, strict=True):
        left, right = (float(half.sum() / heat.sum()) for half in heat.chunk(2, dim=1))
        print(f"{list(PAIRS)[name]:<18}{LABELS[label]:<10}{left:>6.0%}{right:>7.0%}")
    options.out.mkdir(parents=True, exist_ok=True)
    drawn = Image.fromarray(result.draw(pictures[rows], LABELS))
    drawn.save(options.out / "labels.jpg", quality=90)
    print(f"layer {result.layer!r}; wrote {options.out / 'labels.jpg'}")


if __name__ == "__main__":
    main()
