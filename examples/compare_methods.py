"""Compare our heatmaps with those of pytorch-grad-cam and torchcam on real photographs.

Needs `pip install "grad-cam>=1.5.5" "torchcam>=0.5"` besides the other examples' packages. Prints a
table, and writes it as Markdown with one picture and, for sums of your own, all numbers:

    python examples/compare_methods.py

Everything is of the same value of the same network, the last convolution of EfficientNet-Lite0
after batch norm and activation (1,280 channels, 7x7), and explains the class that the network
predicts, right or wrong. Score-CAM runs the network once for every channel of every photograph,
which takes half an hour for both libraries; `--slow` asks for it.

The photographs are those that scikit-image and scikit-learn ship: of each the square in its middle,
and of five, both halves of which show the thing, also the two squares of 224 pixels left and right
of the centre, at full size. Left out is what no camera took (chessboard, colour wheel, horse, logo,
page, phantom, text), medical pictures (cell, ihc, microaneurysms, retina, two stacks), the right
eye of the stereo pair, and faces and a film of at most 25 pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
import sklearn.datasets
import torch
from explain_photos import CLASSES, MEAN, SIDE, STD, pretrained
from PIL import Image, ImageOps
from torch import Tensor, nn

from lightning_ablationcam import ablation_cam, faithfulness
from lightning_ablationcam.render.caption import caption_block
from lightning_ablationcam.render.layout import column, framed, row
from lightning_ablationcam.render.overlays import blend

try:
    import pytorch_grad_cam as grad_cam
    import torchcam.methods as torch_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
except ModuleNotFoundError as missing:
    raise SystemExit(f'{missing}; pip install "grad-cam>=1.5.5" "torchcam>=0.5"') from None

PACKAGES = Path(skimage.__file__).parent / "data", Path(sklearn.datasets.__file__).parent / "images"
THINGS = ["chelsea.png", "astronaut.png", "coffee.png", "motorcycle_left.png", "camera.png"]
OTHERS = [
    *("rocket.jpg", "china.jpg", "flower.jpg", "brick.png", "clock_motion.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "moon.png"),
]
MEASURES = "average_drop", "increase", "average_gain", "insertion", "deletion"
DRAWN = ["chelsea", "astronaut", "coffee", "motorcycle_left"]
TILE, GAP = 120, 4
Method = Callable[["Cut", Tensor, Tensor], Tensor]
"""Makes (N, 7, 7) maps of a network, N images and the classes to explain."""


def photographs() -> dict[str, Image.Image]:
    """The crops, by name."""
    crops = {}
    for file in THINGS + OTHERS:
        path = next(folder / file for folder in PACKAGES if (folder / file).exists())
        photo, name = Image.open(path).convert("RGB"), path.stem
        crops[name] = ImageOps.fit(photo, (SIDE, SIDE))
        left, top = photo.width // 2 - SIDE, (photo.height - SIDE) // 2
        for side, x in (("left", left), ("right", left + SIDE)):
            if file in THINGS:
                crops[f"{name}, {side}"] = photo.crop((x, top, x + SIDE, top + SIDE))
    return crops


class Features(nn.Module):
    """What the network computes before it pools."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, images: Tensor) -> Tensor:
        return self.whole.extract_features(images)


class Cut(nn.Module):
    """EfficientNet-Lite0, cut where it pools.

    The peers explain what a module returns, and the network's activation function is one module for
    the first convolution and the last. What stands in for a module that is everything before the
    pooling skips all of it, too: elsewhere pytorch-grad-cam's AblationCAM costs hundreds of passes.
    """

    def __init__(self) -> None:
        super().__init__()
        whole = pretrained()
        self.features = Features(whole)
        self.head = nn.Sequential(whole._avg_pooling, nn.Flatten(), whole._dropout, whole._fc)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def ours(**options: str) -> Method:
    """Ablation-CAM of all photographs in one call."""
    return lambda model, images, classes: (
        ablation_cam(model, "features", images, classes, **options).heatmaps
    )


def of_grad_cam(method: type, **options: int) -> Method:
    """What pytorch-grad-cam finds, as it is before it stretches and enlarges it."""

    def maps(model: Cut, images: Tensor, classes: Tensor) -> Tensor:
        found = []
        with method(model, [model.features]) as cam:
            vars(cam).update(options)
            made = cam.get_cam_image
            cam.get_cam_image = lambda *given: found.append(made(*given)) or found[-1]
            with contextlib.redirect_stderr(io.StringIO()):  # Its progress bars.
                cam(images, [ClassifierOutputTarget(int(index)) for index in classes])
        return torch.from_numpy(found[0]).relu()

    return maps


def of_torch_cam(method: type, **options: int) -> Method:
    """What torchcam finds, as it is before it stretches it."""

    def maps(model: Cut, images: Tensor, classes: Tensor) -> Tensor:
        with method(model, "features", **options) as extractor:
            scores = model(images)
            (found,) = extractor(classes.tolist(), scores, normalized=False)
        return found.detach().relu()

    return maps


def blob(model: Cut, images: Tensor, classes: Tensor) -> Tensor:
    """A Gaussian in the middle of the picture, two cells wide, whatever the picture shows."""
    line = torch.exp(-((torch.arange(7) - 3.0) ** 2) / 8)
    return (line[:, None] * line).expand(len(images), 7, 7)


METHODS: dict[str, Method] = {
    "ours: logit, zero (default)": ours(),
    "ours: probability, zero": ours(score="probability"),
    "ours: contrast, zero": ours(score="contrast"),
    "ours: logit, mean": ours(ablation="mean"),
    "ours: logit, noise": ours(ablation="noise"),
    "pytorch-grad-cam: GradCAM": of_grad_cam(grad_cam.GradCAM),
    "pytorch-grad-cam: GradCAMPlusPlus": of_grad_cam(grad_cam.GradCAMPlusPlus),
    "pytorch-grad-cam: ScoreCAM": of_grad_cam(grad_cam.ScoreCAM, batch_size=4),
    "pytorch-grad-cam: EigenCAM": of_grad_cam(grad_cam.EigenCAM),
    "pytorch-grad-cam: LayerCAM": of_grad_cam(grad_cam.LayerCAM),
    "pytorch-grad-cam: AblationCAM": of_grad_cam(grad_cam.AblationCAM),
    "torchcam: GradCAM": of_torch_cam(torch_cam.GradCAM),
    "torchcam: GradCAMpp": of_torch_cam(torch_cam.GradCAMpp),
    "torchcam: SmoothGradCAMpp": of_torch_cam(torch_cam.SmoothGradCAMpp),
    "torchcam: XGradCAM": of_torch_cam(torch_cam.XGradCAM),
    "torchcam: ScoreCAM": of_torch_cam(torch_cam.ScoreCAM, batch_size=4),
    "torchcam: LayerCAM": of_torch_cam(torch_cam.LayerCAM),
    "no method: blob in the middle": blob,
    "no method: even": lambda model, images, classes: torch.ones(len(images), 7, 7),
    "no method: random": lambda model, images, classes: torch.rand(len(images), 7, 7),
}
SLOW = ["pytorch-grad-cam: ScoreCAM", "torchcam: ScoreCAM"]
PICTURED = [*list(METHODS)[:3], *(name for name in METHODS if name.startswith("pytorch"))]


def timed(
    method: Method, slow: bool, model: Cut, images: Tensor, classes: Tensor
) -> tuple[Tensor, float]:
    """The maps, and the time that they take in forward passes of the same images.

    The median of three pairs of a forward pass and the method, one after the other; of the slow
    methods, of which some need a gigabyte for each photograph, of a pair for each photograph.
    """
    parts = [slice(i, i + 1) for i in range(len(images))] if slow else [slice(None)] * 3
    found, ratios = [], []
    for part in parts:
        start = time.perf_counter()
        with torch.no_grad():
            model(images[part])
        between = time.perf_counter()
        found.append(method(model, images[part], classes[part]))
        ratios.append((time.perf_counter() - between) / (between - start))
    return torch.cat(found) if slow else found[-1], statistics.median(ratios)


def table(found: dict[str, tuple[Tensor, float, Tensor]], chosen: Tensor) -> str:
    """Means over the chosen photographs in per cent, as text that is Markdown too."""
    lines = [["method", "forward passes", *(name.replace("_", " ") for name in MEASURES)]]
    for name, (_, cost, values) in found.items():
        spent = "" if name.startswith("no method") else f"{cost:.{0 if cost > 20 else 1}f}"
        lines.append([name, spent, *(f"{mean:.1f}" for mean in 100 * values[chosen].mean(dim=0))])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join(
        f"| {first.ljust(widths[0])} | {' | '.join(map(str.rjust, cells, widths[1:]))} |"
        for first, *cells in lines
    )


def picture(crops: dict[str, Image.Image], captions: list[str], maps: dict[str, Tensor]) -> Image:
    """Photographs and, beside each, its maps, each on a scale of its own."""
    heads = [["photograph", ""], *(name.split(": ")[::-1] for name in maps)]
    rows = [row([caption_block(head, TILE) for head in heads], GAP)]
    for place, name in enumerate(crops):
        if name in DRAWN:
            photo = crops[name].resize((TILE, TILE))
            shares = [found[place] / found[place].max() for found in maps.values()]
            tiles = [photo, *(blend(photo, share.numpy()) for share in shares)]
            rows += [row(tiles, GAP), caption_block([captions[place]], rows[0].width)]
    return framed(column(rows, GAP))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for what is written")
    parser.add_argument("--methods", nargs="+", default=[""], help="only rows that contain these")
    parser.add_argument("--photos", type=int, default=None, help="only so many photographs")
    parser.add_argument("--slow", action="store_true", help="Score-CAM too, half an hour")
    parser.add_argument("--steps", type=int, default=16, help="of insertion and deletion")
    parser.add_argument("--resume", action="store_true", help="go on from methods.pt in --out")
    options = parser.parse_args()

    crops = dict(list(photographs().items())[: options.photos])
    pixels = torch.from_numpy(np.stack(list(crops.values()))).permute(0, 3, 1, 2)
    images = (pixels / 255 - MEAN) / STD
    model = Cut().eval().to(memory_format=torch.channels_last)
    with torch.no_grad():
        probabilities, classes = model(images).softmax(dim=1).max(dim=1)
    captions = [f"{CLASSES[c]} ({p:.0%})" for c, p in zip(classes, probabilities, strict=True)]
    print(*map("{}: {}".format, crops, captions), sep="\n")
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "methods.pt"
    found = torch.load(kept) if options.resume and kept.exists() else {}
    for name, method in METHODS.items():
        asked = any(words in name for words in options.methods)
        if name in found or not asked or (name in SLOW and not options.slow):
            continue
        torch.manual_seed(0)
        maps, cost = timed(method, name in SLOW, model, images, classes)
        faithful = faithfulness(
            model, images, maps, classes, steps=options.steps, memory_budget=2**26
        )
        values = torch.stack([getattr(faithful, measure) for measure in MEASURES], dim=1)
        found[name] = maps, cost, values
        torch.save(found, kept)
    found = {name: found[name] for name in METHODS if name in found}

    sure = probabilities > 0.5
    for chosen in (sure | True, sure):
        mean = float(probabilities[chosen].mean())
        print(f"\n{int(chosen.sum())} photographs, mean probability {mean:.0%}; means in %:\n")
        print(table(found, chosen))
    (options.out / "methods.md").write_text(table(found, sure | True) + "\n")
    pictured = {name: maps for name, (maps, _, _) in found.items() if name in PICTURED}
    picture(crops, captions, pictured).save(options.out / "methods.jpg", quality=88)
    print(f"\nwrote methods.md, methods.jpg and methods.pt into {options.out}")


if __name__ == "__main__":
    main()
