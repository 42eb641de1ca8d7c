"""Explain what a segmentation network sees in two photographs, region by region.

A classifier becomes a segmentation network when its last layer is applied at every position instead
of after pooling: the fully convolutional trick (Long et al. 2015). Of the ImageNet classes of
EfficientNet-Lite0 five are kept, so every place must be one of five things. Writes one picture:

    python examples/segment_photo.py

Above, what each photograph mostly is, and the region that the network calls so; below, questions
about a rectangle. The score is the mean logit over the outlined region, so heat says what makes the
network call it that. Saucer and wood count as espresso too: the coffee makes it so most, the saucer
less, the wood least. Asked about the saucer alone, the network goes by the saucer. Heat does not
say where a thing ends, and may lie outside of the region: a channel is removed everywhere at once,
so all the wood lights up for a corner of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage
import torch
from explain_photos import CLASSES, MEAN, STD, pretrained
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from lightning_ablationcam import ablation_cam

SIZE = 480, 320
# The first counts as the background, as in most segmentation networks.
THINGS = ["dining table", "Egyptian cat", "espresso", "ladle", "quilt"]
# A thing, and a rectangle (left, top, right, bottom): is the saucer espresso, the corner a table?
QUESTIONS = [("espresso", (110, 200, 220, 290)), ("dining table", (360, 200, 470, 310))]


class Segmenter(nn.Module):
    """The classifier's last layer at every position: (N, 3, H, W) to logits (N, 5, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = pretrained()
        rows = [CLASSES.index(thing) for thing in THINGS]
        self.weight = nn.Parameter(self.classifier._fc.weight.data[rows, :, None, None])
        self.bias = nn.Parameter(self.classifier._fc.bias.data[rows])

    def forward(self, images: Tensor) -> Tensor:
        features = self.classifier.extract_features(images)
        logits = functional.conv2d(features, self.weight, self.bias)
        return functional.interpolate(logits, images.shape[2:], mode="bilinear")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for regions.jpg")
    options = parser.parse_args()

    photos = [Image.fromarray(skimage.data.chelsea()), Image.fromarray(skimage.data.coffee())]
    pictures = np.stack([photo.resize(SIZE) for photo in photos])
    inputs = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - MEAN) / STD
    model = Segmenter().eval()
    predicted = ablation_cam(model, "auto", inputs)

    coffee = [1] * len(QUESTIONS)
    masks = torch.zeros(len(QUESTIONS), *inputs.shape[2:], dtype=torch.bool)
    for mask, (_, (left, top, right, bottom)) in zip(masks, QUESTIONS, strict=True):
        mask[top:bottom, left:right] = True
    things = [THINGS.index(thing) for thing, _ in QUESTIONS]
    asked = ablation_cam(model, "auto", inputs[coffee], things, masks=masks)

    print("photograph  region     explained     of picture  probability there  heat inside")
    for result, names, region in (
        (predicted, ["cat", "coffee"], "predicted"),
        (asked, ["coffee"] * len(QUESTIONS), "given"),
    ):
        heat = functional.interpolate(result.heatmaps[:, None], inputs.shape[2:])[:, 0]
        inside = (heat * result.regions).sum((1, 2)) / heat.sum((1, 2))
        for row, name in enumerate(names):
            print(
                f"{name:<12}{region:<11}{THINGS[result.classes[row]]:<14}"
                f"{float(result.regions[row].float().mean()):>10.0%}"
                f"{float(result.probabilities[row]):>19.0%}{float(inside[row]):>13.0%}"
            )
    options.out.mkdir(parents=True, exist_ok=True)
    drawn = [predicted.draw(pictures, THINGS), asked.draw(pictures[coffee], THINGS)]
    Image.fromarray(np.concatenate(drawn)).save(options.out / "regions.jpg", quality=90)
    print(f"layer {predicted.layer!r}; wrote {options.out / 'regions.jpg'}")


if __name__ == "__main__":
    main()
