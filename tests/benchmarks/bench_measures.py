"""What measures cost, beside the pass that they are of.

    python -m tests.benchmarks.bench_measures

Runs the Ablation-CAM of 16 probes of 224x224 of a ResNet-18, measures the maps as a monitor does,
with masks at the pictures' size, and alarms, and then takes each measure that costs forward passes,
one after the other, several times. Prints medians: of all that need no forwards the share of a
pass, in processor time, which other programs do not disturb; and of the others how many forwards
each image takes and their time in units of one forward.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torchvision

from lightning_ablationcam import Alarm, ProbeSet, ablation_cam, faithfulness
from lightning_ablationcam.measures.registry import FORWARDS
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.explainer import Explainer
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.run.notices import Notices
from lightning_ablationcam.run.passes import Passes

PROBES, SIDE = 16, 224
LAYERS = ("layer4", "layer2")


def seconds(action: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    action()
    return clock() - start


def without_forwards(model: torch.nn.Module, probes: ProbeSet, layer: str, repeats: int) -> None:
    """Print what a pass takes, and what of it is measuring."""
    measuring = Measuring(alarms=[Alarm("border_heat", above=0.99), Alarm("drift", above=0.99)])
    passes, bare = Passes(measuring), Explainer(layer, 0, Options(also=("rival",)))
    notices = Notices()
    results = [bare.explain(model, probes), bare.explain(model, probes)]
    passes.add(results[0], 0, 0, notices, probes=probes)
    explained, measured = [], []
    for step in range(1, repeats + 1):
        explained.append(seconds(lambda: bare.explain(model, probes), time.process_time))
        add = partial(passes.add, results[1], step, 0, notices, probes=probes)
        measured.append(seconds(add, time.process_time))
    taken = passes.history.passes[-1].measures
    shares = sorted(m / (m + e) for m, e in zip(measured, explained, strict=True))
    size = "x".join(map(str, results[0].heatmaps.shape[1:]))
    print(
        f"{layer:7s} {size:>8s}   pass {statistics.median(explained) * 1e3:7.1f} ms,"
        f" {len(taken)} measures {statistics.median(measured) * 1e3:6.2f} ms,"
        f" {statistics.median(shares):6.2%} ({shares[0]:.2%} to {shares[-1]:.2%})"
    )


def with_forwards(model: torch.nn.Module, probes: ProbeSet, repeats: int) -> None:
    """Print what each measure takes that costs forward passes."""
    maps = ablation_cam(model, "layer4", probes.inputs, 0).heatmaps
    groups = [("average_drop", "increase", "average_gain"), ("insertion",), ("deletion",), FORWARDS]
    for names in groups:
        ratios, counts = [], set()
        for _ in range(repeats):
            forward = seconds(lambda: model(probes.inputs), time.perf_counter)
            began = time.perf_counter()
            found = faithfulness(model, probes.inputs, maps, 0, measures=names)
            ratios.append((time.perf_counter() - began) / forward)
            counts.add(found.forwards)
        (count,) = counts
        label = "all five" if names == FORWARDS else ", ".join(names)
        print(
            f"{label:38s} {count:4d} forwards an image, {statistics.median(ratios):6.1f} times one"
            f" forward ({min(ratios):.1f} to {max(ratios):.1f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    inside = torch.zeros(PROBES, SIDE, SIDE, dtype=torch.bool)
    inside[:, 50:170, 60:180] = True
    probes = ProbeSet(torch.randn(PROBES, 3, SIDE, SIDE), labels=[0] * PROBES, masks=inside)
    print(f"torch {torch.__version__}, {options.threads} threads, {PROBES} probes of {SIDE}x{SIDE}")
    with torch.no_grad():
        model(probes.inputs)
        print("measures that need no forwards, beside the explanation:")
        for layer in LAYERS:
            without_forwards(model, probes, layer, options.repeats)
        print("measures that do:")
        with_forwards(model, probes, max(1, options.repeats // 4))


if __name__ == "__main__":
    main()
