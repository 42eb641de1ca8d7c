"""Explain which part of a photograph makes it fit a caption.

An image tower and a text tower share a space, as in CLIP, but nothing is downloaded: the image
tower is EfficientNet-Lite0 up to its pooled features, and the text tower knows a caption only as
the mean of the classifier's rows, each of length 1, for the ImageNet classes whose names share a
word with it. Writes one picture, a map for each caption and one for the image's own embedding:

    python examples/explain_captions.py

Look at the similarity first. Each map is on a scale of its own, so that of a caption that does not
fit is as bright as the others, and says little: "a cat" points at a flag. The map of the image's
own embedding shows what the network keeps of the whole photograph, and asks about no caption.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import skimage
import torch
from explain_photos import CLASSES, MEAN, STD, pretrained
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from lightning_ablationcam import ablation_cam

SIDE = 256
CAPTIONS = ["a helmet", "the shuttle", "a cat"]


class ImageTower(nn.Module):
    """Pooled features: (N, 3, H, W) to (N, 1280)."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.extract_features(images).mean(dim=(2, 3))


def words(text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower())) - {"a", "the"}


def text_tower(classifier: nn.Module, caption: str) -> Tensor:
    """The caption's embedding, (1280,)."""
    rows = [row for row, name in enumerate(CLASSES) if words(name) & words(caption)]
    return functional.normalize(classifier._fc.weight.data[rows], dim=1).mean(dim=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for captions.jpg")
    options = parser.parse_args()

    photo = Image.fromarray(skimage.data.astronaut()).resize((SIDE, SIDE))
    pictures = np.stack([photo] * len(CAPTIONS))
    inputs = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - MEAN) / STD
    classifier = pretrained()
    model = ImageTower(classifier).eval()
    captions = torch.stack([text_tower(classifier, caption) for caption in CAPTIONS])
    # The photograph once for each caption; a class is a row of the embeddings.
    rows = list(range(len(CAPTIONS)))
    result = ablation_cam(model, "auto", inputs, rows, embeddings=captions)
    own = ablation_cam(model, "auto", inputs[:1], embeddings="own")

    print("caption      similarity  balance")
    for row, caption in enumerate(CAPTIONS):
        print(f"{caption:<13}{result.scores[row]:>10.2f}{result.balance[row]:>9.0%}")
    print(f"{'its own':<13}{own.scores[0]:>10.2f}{own.balance[0]:>9.0%}")
    options.out.mkdir(parents=True, exist_ok=True)
    drawn = [result.draw(pictures, CAPTIONS), own.draw(pictures[:1], ["its own embedding"])]
    beside = Image.fromarray(np.concatenate(drawn, axis=1))
    beside.save(options.out / "captions.jpg", quality=85)
    print(f"layer {result.layer!r}; wrote {options.out / 'captions.jpg'}")


if __name__ == "__main__":
    main()
