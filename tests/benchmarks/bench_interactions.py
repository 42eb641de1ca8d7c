"""What ``interaction`` costs, and whether the channels that it chooses are those that interact.

    python -m tests.benchmarks.bench_interactions --threads 2
    python -m tests.benchmarks.bench_interactions --no-price --seeds 3

The price is in forward passes of the same batch, each measured beside one. The ranking is judged on
small networks trained on handwritten digits, where all pairs can be computed: of the ten pairs with
the largest interactions, summed over the images, how many have both channels among the chosen, by
|drop| and as ``interaction`` ranks them; and the share of all interactions that lies between them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable

import torch
import torchvision
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ablationcam import ablation_cam, interaction
from tests.benchmarks.bench_engine import interleaved

LAYERS = [
    ("resnet18", "layer4", "logit"),
    ("resnet18", "layer4", "probability"),
    ("mobilenet_v3_large", "features", "logit"),
    ("resnet18", "layer3", "logit"),
]
CHANNELS, CHOSEN, STRONGEST, PROBES = 24, 8, 10, 32
KINDS = ["plain", "dropout", "stand-ins", "saturating"]


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--price", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--ranking", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.price:
        for name, layer, score in LAYERS:
            show_price(name, layer, score, options)
    if options.ranking:
        for kind in KINDS:
            for score in ("logit", "probability"):
                show_ranking(kind, score, options.seeds)


def show_price(name: str, layer: str, score: str, options: argparse.Namespace) -> None:
    """What 16 channels cost, ranked first or given, beside an ordinary explanation."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval()
    images = torch.randn(options.batch, 3, 224, 224)

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def price(run: Callable[[], object]) -> float:
        run()
        return statistics.median(interleaved(run, forward, options.pairs, "cpu")[0])

    of = (model, layer, images, 0)
    explained = price(lambda: ablation_cam(*of, score=score))
    ranked = price(lambda: interaction(*of, score=score))
    given = price(lambda: interaction(*of, score=score, channels=range(16)))
    print(
        f"{name:20} {layer:10} {score:12} 16 of all channels {ranked:6.1f}, 16 given ones "
        f"{given:6.1f}, ablation_cam {explained:6.1f} forward passes",
        flush=True,
    )


class Digits(nn.Module):
    """A small network whose channels in ``body`` go on in one of four ways."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        count = CHANNELS // 2 if kind == "stand-ins" else CHANNELS
        body = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*body, nn.Conv2d(16, count, 3, padding=1), nn.ReLU())
        self.drop = nn.Dropout2d(0.5 if kind == "dropout" else 0)
        self.mix, self.head = nn.Conv2d(count, 16, 3), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of (N, 1, 8, 8) digits."""
        x = self.drop(self.body(x))
        if self.kind == "stand-ins":
            x = x.unflatten(1, (-1, self.mix.in_channels)).amax(1)
        if self.kind == "saturating":
            x = x.clamp(max=0.5)
        return self.head(F.relu(self.mix(x)).mean((2, 3)))

    def doubled(self) -> None:
        """Give each channel a copy, and go on with the larger of the two: the same function."""
        last = self.body[3]
        self.body[3] = nn.Conv2d(16, CHANNELS, 3, padding=1)
        self.body[3].weight.data = last.weight.data.repeat(2, 1, 1, 1)
        self.body[3].bias.data = last.bias.data.repeat(2)


def trained(kind: str, seed: int, images: Tensor, labels: Tensor) -> Digits:
    """A network after 25 epochs."""
    torch.manual_seed(seed)
    model = Digits(kind)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(25):
        for rows in torch.randperm(len(images)).split(100):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    if kind == "stand-ins":
        model.doubled()
    return model.eval()


def show_ranking(kind: str, score: str, seeds: int) -> None:
    """How many of the strongest pairs are among the chosen channels, over some trainings."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    found: dict[str, list[tuple[float, float]]] = {}
    accuracies = []
    for seed in range(seeds):
        model = trained(kind, seed, images[:1500], labels[:1500])
        with torch.no_grad():
            right = model(images[1500:]).argmax(1) == labels[1500:]
        accuracies.append(float(right.float().mean()))
        probes = images[1500 : 1500 + PROBES].double()
        model.double()
        everything = interaction(model, "body", probes, score=score, channels=range(CHANNELS))
        strength = everything.interaction.abs().sum(0)
        drops = everything.drops.abs().sum(0).topk(CHOSEN).indices
        chosen = interaction(model, "body", probes, score=score, channels=CHOSEN).channels
        for name, channels in (("by drop", drops), ("as ranked", chosen)):
            found.setdefault(name, []).append(judged(strength, set(channels.tolist())))
    said = [
        f"{name} {statistics.mean(pairs for pairs, _ in each):4.0%} of the strongest pairs, "
        f"{statistics.mean(share for _, share in each):4.0%} of all interaction"
        for name, each in found.items()
    ]
    print(
        f"{kind:10} {score:12} right {statistics.mean(accuracies):.0%}: {'; '.join(said)}",
        flush=True,
    )


def judged(strength: Tensor, chosen: set[int]) -> tuple[float, float]:
    """The share of the strongest pairs, and of all interaction, between the chosen channels."""
    pairs = list(itertools.combinations(range(CHANNELS), 2))
    pairs.sort(key=lambda pair: -float(strength[pair]))
    inside = [pair for pair in pairs if chosen.issuperset(pair)]
    strongest = len(set(inside) & set(pairs[:STRONGEST])) / STRONGEST
    total = sum(float(strength[pair]) for pair in pairs)
    return strongest, sum(float(strength[pair]) for pair in inside) / total


if __name__ == "__main__":
    main()
