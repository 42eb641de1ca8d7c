"""What the pictures of a pass cost, beside one forward pass of the same probes.

    python tests/benchmarks/bench_pictures.py

Draws, encodes and writes everything that one pass of 16 probes of 224x224 logs (an overview,
16 overlays, 16 full evolution strips) and runs a ResNet-18 forward of the same probes, one after
the other, several times. Prints the median of the ratios, and what PNG would have cost.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage
import torch
import torchvision
from PIL import Image, ImageOps
from pytorch_lightning.loggers import TensorBoardLogger

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.drawing import Drawing, draw
from lightning_ablationcam.history import History, Pass
from lightning_ablationcam.loggers.tensorboard import TensorBoardImages
from lightning_ablationcam.render import encode_jpeg, encode_png

PROBES, SIDE = 16, 224


def photographs() -> ProbeSet:
    """Sixteen different squares cut from real photographs."""
    photos = [
        skimage.data.chelsea(),
        skimage.data.astronaut(),
        skimage.data.coffee(),
        skimage.data.rocket(),
    ]
    squares = []
    for index in range(PROBES):
        place = ((index // 4) % 2, (index // 8) % 2)
        square = ImageOps.fit(Image.fromarray(photos[index % 4]), (SIDE, SIDE), centering=place)
        squares.append(torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1))
    return ProbeSet(torch.stack(squares).float() / 255, labels=[0] * PROBES, mean=0, std=1)


def eight_passes() -> History:
    """A history that fills the strips, of smooth maps as networks make them."""
    history, random = History(), np.random.default_rng(0)
    for step in range(8):
        heat = random.random((PROBES, 7, 7)).astype(np.float32) ** 3
        zeros = np.zeros(PROBES, np.int64)
        history.append(Pass(step, step, "layer4", heat, zeros, random.random(PROBES), zeros))
    return history


def seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    probes, history = photographs(), eight_passes()
    model = torchvision.models.resnet18().eval()

    def pictures() -> list[Drawing]:
        return list(draw(probes, history, scale="probe", score="logit"))

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        writer = TensorBoardImages(TensorBoardLogger(folder))

        def log() -> None:
            for drawing in pictures():
                writer.write(f"{drawing.kind}/{drawing.name}", drawing.picture, 0)
            writer.flush()

        log(), model(probes.inputs)
        pairs = [
            (seconds(lambda: model(probes.inputs)), seconds(log)) for _ in range(options.repeats)
        ]
        files = sum(file.stat().st_size for file in Path(writer.directory).iterdir())
    ratios = sorted(log / forward for forward, log in pairs)
    drawn = pictures()
    print(f"torch {torch.__version__}, {options.threads} threads, {PROBES} probes of {SIDE}x{SIDE}")
    print(f"forward (resnet18)    {statistics.median(f for f, _ in pairs) * 1e3:7.0f} ms")
    print(f"draw, encode, write   {statistics.median(w for _, w in pairs) * 1e3:7.0f} ms")
    print(
        f"ratio to the forward  {statistics.median(ratios):7.2f}"
        f"    ({ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} pairs)"
    )
    print(f"event file a pass     {files / (options.repeats + 1) / 2**20:7.2f} MiB")
    for name, encode in (("JPEG", encode_jpeg), ("PNG", encode_png)):
        sizes: list[int] = []
        spent = seconds(lambda: sizes.extend(len(encode(d.picture)) for d in drawn))  # noqa: B023
        print(f"encoded as {name:5s}      {spent * 1e3:7.0f} ms, {sum(sizes) / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
