"""Explain four photographs at three depths of one network, and say what each depth costs.

The network and the photographs are those of `explain_photos.py`. The three maps of a photograph
come from one recording, and the last column is one finer map of the three. Writes one picture, in
about a minute:

    python examples/compare_depths.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from explain_photos import CLASSES, photographs, pretrained
from PIL import Image
from torch import Tensor, nn

from lightning_ablationcam import AblationResult, ablation_cam
from lightning_ablationcam.render.caption import caption_block
from lightning_ablationcam.render.layout import column, framed, row
from lightning_ablationcam.render.legend import legend_block
from lightning_ablationcam.render.overlays import blend

# The last value of each resolution, from the coarse one before the classifier to fine ones.
LAYERS = ["_bn1:activation", "_blocks.10", "_blocks.4"]
TILE, GAP = 180, 6


def seconds(run: Callable[[], object]) -> float:
    """Processor time of a call, which other work on the machine hardly changes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def costs(model: nn.Module, images: Tensor, rounds: int) -> list[float]:
    """What each layer costs alone, and what all cost together, in forward passes.

    Medians of rounds in which a forward pass of all images and each call run once.
    """

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def explain(target: str | Sequence[str]) -> Callable[[], object]:
        return lambda: ablation_cam(model, target, images)

    runs = [forward, *map(explain, LAYERS), explain(LAYERS)]
    times = [[seconds(run) for run in runs] for _ in range(rounds)]
    unit, *spent = (statistics.median(each) for each in zip(*times, strict=True))
    return [each / unit for each in spent]


def picture(
    photos: Sequence[Image.Image], result: AblationResult, spent: Sequence[float]
) -> Image.Image:
    """Each photograph beside its maps, each on a scale of its own; below, what they cost."""

    def words(*lines: str) -> Image.Image:
        return caption_block(lines, TILE)

    heads = [words("photograph", "and what the network says")]
    feet = [legend_block("maximum of each map", TILE)]
    for each, price in zip(result.layers, spent, strict=False):
        height, width = each.heatmaps.shape[1:]
        heads.append(words(f"{height}x{width}, {each.weights.shape[1]:,} channels", each.layer))
        feet.append(words(f"{price:.1f} forward passes"))
    heads.append(words("all three fused", "hot where each of them is"))
    feet.append(words(f"{spent[-1]:.1f} for all three"))

    rows = [row(heads, GAP)]
    maps = [*(each.heatmaps for each in result.layers), result.fused()]
    for place, photo in enumerate(photos):
        shares = [(heats[place] / heats[place].max()).numpy() for heats in maps]
        rows.append(row([photo, *(blend(photo, share) for share in shares)], GAP))
        sure = float(result.probabilities[place])
        rows.append(words(f"{CLASSES[int(result.classes[place])]} ({sure:.0%})"))
    return framed(column([*rows, row(feet, GAP)], GAP))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for depths.jpg")
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement of the costs")
    options = parser.parse_args()

    probes, model = photographs(), pretrained()
    result = ablation_cam(model, LAYERS, probes.inputs)
    spent = costs(model, probes.inputs, options.rounds)
    for each, price in zip(result.layers, spent, strict=False):
        height, width = each.heatmaps.shape[1:]
        print(f"{each.layer:16} {height:2}x{width:<2} {price:5.1f} forward passes")
    print(f"{'together':22} {spent[-1]:5.1f} forward passes")
    options.out.mkdir(parents=True, exist_ok=True)
    photos = [Image.fromarray(each).resize((TILE, TILE)) for each in probes.pictures()]
    picture(photos, result, spent).save(options.out / "depths.jpg", quality=88)
    print(f"wrote {options.out / 'depths.jpg'}")


if __name__ == "__main__":
    main()
