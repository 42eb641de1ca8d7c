"""What plain defaults do with modules that other people wrote.

    python -m tests.benchmarks.model_zoo --family huggingface clip
    python -m tests.benchmarks.model_zoo --family timm --only vit swin >> zoo.md

Each module has random weights and gets a batch of two. A row shows the value that "auto" takes, its
channels and the size of its map, the engine (why, if it replays), the processor time of a pass in
units of one forward pass (on modules as small as most of these, the least that a pass costs), and
the largest error of the drops of a few channels, the one with the largest drop among them, against
plain forward passes with that channel set to zero, all in float64, as a share of the largest of
these drops. The last column has the arguments that a user could not avoid. Families whose package
is not installed are skipped.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tests.plain_passes import exact_error, explain
from tests.real_modules import FAMILIES, PACKAGES, Brought

PAIRS = 3
SAMPLED = 4
"""Channels whose drops are compared."""

HEADER = (
    "| module | value | channels | map | engine | passes | error | needed |\n"
    "|---|---|---:|---|---|---:|---:|---|"
)


@dataclass(frozen=True)
class Row:
    """What was found of one module."""

    module: str
    value: str
    channels: int
    map: tuple[int, ...]
    engine: str
    passes: float
    error: float
    needed: str

    def __str__(self) -> str:
        size = "x".join(map(str, self.map))
        return (
            f"| {self.module} | {self.value} | {self.channels} | {size} | {self.engine} "
            f"| {self.passes:.2f} | {self.error:.0e} | {self.needed} |"
        )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names that contain one of these")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="show where errors come from")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    print(HEADER, flush=True)
    for family in options.family:
        package = PACKAGES[family]
        if importlib.util.find_spec(package) is None:
            print(
                f"| {family} | skipped: {package} is missing; "
                "pip install 'lightning-ablationcam[benchmark]' |"
            )
            continue
        for name, build in FAMILIES[family]().items():
            if options.only is None or any(part in name for part in options.only):
                print(told(f"{family} {name}", build, options.trace), flush=True)


def told(name: str, build: Callable[[], Brought], trace: bool) -> Row | str:
    """A row, or why there is none."""
    brought = build()
    try:
        return explained(name, brought)
    except Exception as error:
        if trace:
            traceback.print_exc()
        said = (str(error) or "no message").splitlines()[0]
        needed = needs(brought)
        return f"| {name} | refused: {type(error).__name__}: {said} | | | | | | {needed} |"


def explained(name: str, brought: Brought) -> Row:
    """Explain a module, time it and hold it against plain forward passes."""
    error, result = exact_error(brought, SAMPLED)

    pairs = PAIRS if result.engine == "propagate" else 1
    return Row(
        name,
        result.layer,
        result.weights.shape[1],
        tuple(result.heatmaps.shape[1:]),
        result.engine if result.fallback is None else f"replay: {result.fallback}",
        statistics.median(passes(brought) for _ in range(pairs)),
        error,
        needs(brought),
    )


@torch.no_grad()
def passes(brought: Brought) -> float:
    """What a pass costs beside a forward pass that runs just before it."""
    started = time.process_time()
    brought()
    between = time.process_time()
    explain(brought)
    return (time.process_time() - between) / (between - started)


def needs(brought: Brought) -> str:
    """The arguments that a user could not avoid."""
    shown = {
        key: f"{value!r}" if isinstance(value, (str, int)) else "..."
        for key, value in brought.needed.items()
    }
    return ", ".join(f"{key}={value}" for key, value in shown.items())


if __name__ == "__main__":
    main()
