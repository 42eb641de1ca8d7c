"""What showing a pass costs, beside the pass itself.

    python -m tests.benchmarks.bench_pictures

Runs the Ablation-CAM of 16 probes of 224x224 at ResNet-18's last stage, and draws, encodes and
writes everything that the monitor logs of it (an overview, 16 overlays, 16 full evolution strips,
the tab's records), one after the other, several times. Prints the median of the ratios, what the
animations at the end of a fit take, and what PNG would have cost.
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

from lightning_ablationcam import ProbeSet, ablation_cam
from lightning_ablationcam.outputs.pictures import Drawing, draw_evolutions, draw_pass
from lightning_ablationcam.outputs.publisher import Publisher
from lightning_ablationcam.render import encode_jpeg, encode_png
from lightning_ablationcam.run.history import History, Pass

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
        drawn = draw_pass(probes, history, scale="map", score="logit")
        return [*drawn, *draw_evolutions(probes, history, scale="map")]

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        logger = TensorBoardLogger(folder)
        publisher = Publisher("ablation_cam", "map", "logit")

        def cam() -> None:
            ablation_cam(model, "layer4", probes.inputs, 0)

        def publish() -> None:
            publisher.publish([logger], probes, history, 0)

        def size() -> int:
            return sum(file.stat().st_size for file in Path(logger.log_dir).iterdir())

        cam(), publish(), model(probes.inputs)
        before = size()
        runs = [
            (seconds(lambda: model(probes.inputs)), seconds(cam), seconds(publish))
            for _ in range(options.repeats)
        ]
        a_pass = (size() - before) / options.repeats
        before = size()
        at_the_end = seconds(lambda: publisher.finish([logger], probes, history, 0))
        animations = size() - before
    forward, explained, published = (statistics.median(times) for times in zip(*runs, strict=True))
    ratios = sorted(published / explained for _, explained, published in runs)
    drawn = pictures()
    print(f"torch {torch.__version__}, {options.threads} threads, {PROBES} probes of {SIDE}x{SIDE}")
    print(f"forward (resnet18)    {forward * 1e3:7.0f} ms")
    print(f"the CAM itself        {explained * 1e3:7.0f} ms")
    print(f"draw, encode, write   {published * 1e3:7.0f} ms, with the tab's records")
    print(
        f"ratio to the CAM      {statistics.median(ratios):7.2f}"
        f"    ({ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} runs)"
    )
    print(f"event file a pass     {a_pass / 2**20:7.2f} MiB")
    print(f"animations at the end {at_the_end * 1e3:7.0f} ms, {animations / 2**20:.2f} MiB")
    for name, encode in (("JPEG", encode_jpeg), ("PNG", encode_png)):
        sizes: list[int] = []
        spent = seconds(lambda: sizes.extend(len(encode(d.picture)) for d in drawn))  # noqa: B023
        print(f"encoded as {name:5s}      {spent * 1e3:7.0f} ms, {sum(sizes) / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
