"""What several layers cost from one recording, beside what each costs in a call of its own.

    python -m tests.benchmarks.bench_layers --models vgg16 --batch 1 --threads 2

Prices are processor time in units of one forward pass of the same batch. In every round a forward
pass, each layer alone and all layers together run one after the other; the medians over the rounds
are shown, and of what the layers together cost as a share of the sum also the quartiles. The first
call on a program is checked against a replay, and is not counted. EfficientNet-Lite0 has its
ImageNet weights; the others have random ones, on which prices do not depend.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torchvision
from torch import Tensor, nn

from lightning_ablationcam import ablation_cam
from tests.benchmarks.bench_depth import lite0
from tests.benchmarks.bench_engine import versions

LAYERS = {
    "resnet18": ["layer2", "layer3", "layer4"],
    "efficientnet_lite0": ["_blocks.4", "_blocks.10", "_conv_head:activation"],
    "vgg16": ["features.23", "features"],
}
LITE = "efficientnet_lite0"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--also", nargs="*", default=[], help='further classes, such as "rival"')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.device = "cpu"
    print(" ".join(f"{key}={value}" for key, value in versions(options).items()))
    for name in options.models:
        torch.manual_seed(0)
        model, layers = network(name), LAYERS[name]
        images = torch.randn(options.batch, 3, 224, 224)
        rounds = measured(model, layers, images, options.rounds, options.also)
        print(f"{name}, batch {options.batch}, {options.rounds} rounds", flush=True)
        for line in summary(layers, rounds):
            print("  " + line, flush=True)


def network(name: str) -> nn.Module:
    """A network in evaluation mode."""
    model = lite0() if name == LITE else getattr(torchvision.models, name)(weights=None)
    return model.eval()


def measured(
    model: nn.Module, layers: Sequence[str], images: Tensor, rounds: int, also: Sequence[str]
) -> list[list[float]]:
    """For each round the seconds of a forward pass, of each layer alone, and of all together."""

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def explain(target: str | Sequence[str]) -> Callable[[], object]:
        return lambda: ablation_cam(model, target, images, engine="propagate", also=tuple(also))

    runs = [forward, *(explain(layer) for layer in layers), explain(layers)]
    for run in runs:
        run()
    return [[seconds(run) for run in runs] for _ in range(rounds)]


def seconds(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def summary(layers: Sequence[str], rounds: Sequence[Sequence[float]]) -> list[str]:
    """Lines of prices in forward passes."""
    forward = statistics.median(first for first, *_ in rounds)
    *alone, together = (
        statistics.median(each) / forward for each in [*zip(*rounds, strict=True)][1:]
    )
    shares = [100 * last / sum(each) for _, *each, last in rounds]
    lower, middle, upper = statistics.quantiles(shares, n=4)
    return [
        *(f"{layer:24} {price:8.2f}" for layer, price in zip(layers, alone, strict=True)),
        f"{'sum':24} {sum(alone):8.2f} of a forward pass of {1e3 * forward:.0f} ms",
        f"{'together':24} {together:8.2f} or {middle:.1f} % of the sum [{lower:.1f}, {upper:.1f}]",
    ]


if __name__ == "__main__":
    main()
