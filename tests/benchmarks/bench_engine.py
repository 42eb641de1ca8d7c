"""What a pass costs, as a ratio to one forward pass of the same batch.

    python -m tests.benchmarks.bench_engine --models resnet50 --batch 4 --threads 2 --no-peers

Each contestant runs in turn with a forward pass, pair by pair, and the median of the pair ratios is
shown with its quartiles: on a busy machine two runs one after the other differ by far more than the
contestants do. A peer that needs hundreds of forward passes is timed once.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from lightning_ablationcam import ablation_cam

LAYERS = {
    "resnet18": ["layer4", "layer4.1.conv2", "layer3"],
    "resnet50": ["layer4"],
    "densenet121": ["features.denseblock4"],
    "convnext_tiny": ["features"],
    "efficientnet_b0": ["features"],
    "mobilenet_v2": ["features"],
    "mobilenet_v3_large": ["features"],
    "swin_t": ["features"],
    "vgg16": ["features"],
    "vit_b_16": ["encoder.layers.encoder_layer_11.ln_1"],
}
PAIRS = 7
SLOW = 20.0
"""Seconds; what takes longer is not repeated."""


@dataclass(frozen=True)
class Row:
    """One contestant on one layer; times in units of one forward pass."""

    model: str
    layer: str
    batch: int
    contestant: str
    ratio: float
    lower: float
    upper: float
    pairs: int
    forward_seconds: float
    peak_mib: float


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--batch", type=int, default=None, help="default 4, and 1 for vit_b_16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--replay", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = versions(options)
    print(" ".join(f"{key}={value}" for key, value in setting.items()))
    rows = []
    for name in options.models:
        for row in bench_model(name, options):
            rows.append(asdict(row))
            print(
                f"{row.model:20} {row.layer:38} {row.contestant:24} {row.ratio:9.2f} "
                f"[{row.lower:.2f}, {row.upper:.2f}] of {row.forward_seconds * 1e3:.0f} ms, "
                f"{row.pairs} pairs, peak {row.peak_mib:.0f} MiB",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1))


def bench_model(name: str, options: argparse.Namespace) -> Iterator[Row]:
    """All contestants on all layers of one model."""
    batch = options.batch or (1 if name.startswith("vit") else 4)
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval().to(options.device)
    images = torch.randn(batch, 3, 224, 224, device=options.device)

    def forward() -> None:
        with torch.no_grad():
            model(images)

    _, forwards = interleaved(forward, forward, PAIRS, options.device)
    for layer in LAYERS[name]:
        for contestant, run in contestants(model, layer, images, options):
            first = seconds(run, options.device)
            pairs = 0 if first > SLOW else PAIRS
            if pairs:
                ratios, forwards = interleaved(run, forward, pairs, options.device)
            else:
                # Measured beside the contestant before: a forward pass that follows minutes of
                # other work is slower than usual.
                ratios = [first / statistics.median(forwards)]
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            yield Row(
                name,
                layer,
                batch,
                contestant,
                statistics.median(ratios),
                quartiles[0],
                quartiles[2],
                len(ratios),
                statistics.median(forwards),
                peak_mib(options.device),
            )
            if contestant == "propagate":
                typical = statistics.median(forwards)
                yield Row(
                    name, layer, batch, "propagate, first call", first / typical, first / typical,
                    first / typical, 1, typical, peak_mib(options.device),
                )  # fmt: skip


def contestants(
    model: nn.Module, layer: str, images: Tensor, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and a function that explains the images once."""
    yield "propagate", lambda: ablation_cam(model, layer, images, engine="propagate")
    for count, also in (("two", ("rival",)), ("three", ("rival", 0))):
        yield (
            f"propagate, {count} classes",
            lambda also=also: ablation_cam(model, layer, images, engine="propagate", also=also),
        )
    if options.replay:
        yield "replay", lambda: ablation_cam(model, layer, images, engine="replay")
    if options.peers:
        yield from peers(model, layer, images)


def peers(
    model: nn.Module, layer: str, images: Tensor
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What other packages need for the same images."""
    from captum.attr import LayerFeatureAblation
    from pytorch_grad_cam import AblationCAM, GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    target = model.get_submodule(layer)
    with torch.no_grad():
        classes = model(images).argmax(1)
    targets = [ClassifierOutputTarget(int(c)) for c in classes]
    kept: list[Tensor] = []
    handle = target.register_forward_hook(lambda _m, _a, output: kept.append(output))
    with torch.no_grad():
        model(images)
    handle.remove()

    def grad_cam(method: type) -> Callable[[], object]:
        def run() -> object:
            with method(model=model, target_layers=[target]) as cam:
                return cam(input_tensor=images, targets=targets)

        return run

    if kept[0].ndim != 4 or kept[0].shape[1] == kept[0].shape[2]:
        return  # their defaults expect channels first
    mask = torch.arange(kept[0].shape[1], device=images.device).view(1, -1, 1, 1)
    yield "grad-cam GradCAM", grad_cam(GradCAM)
    yield "grad-cam AblationCAM", grad_cam(AblationCAM)
    ablation = LayerFeatureAblation(model, target)
    yield (
        "captum LayerFeatureAblation",
        lambda: ablation.attribute(
            images, target=classes, layer_mask=mask.expand_as(kept[0][:1]), perturbations_per_eval=1
        ),
    )


def interleaved(
    run: Callable[[], object], forward: Callable[[], object], pairs: int, device: str
) -> tuple[list[float], list[float]]:
    """Ratios of run to forward, pair by pair, and the forward times in seconds."""
    forward()
    forwards, ratios = [], []
    for _ in range(pairs):
        forwards.append(seconds(forward, device))
        ratios.append(seconds(run, device) / forwards[-1])
    return ratios, forwards


def seconds(run: Callable[[], object], device: str) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_mib(device: str) -> float:
    """The most memory so far: of the device, or of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def versions(options: argparse.Namespace) -> dict[str, object]:
    """What the figures depend on."""
    found: dict[str, object] = {
        "device": options.device,
        "threads": options.threads,
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    for package in ("torch", "torchvision", "grad-cam", "captum"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
