"""Whether the alarm of examples/catch_a_shortcut.py rings over many seeds, and never falsely.

Run: python -m tests.benchmarks.bench_shortcut [number of seeds, default 5]

For each seed, with the tag and without it: the border heat in % and the accuracy in % at each
validation, the first epoch at which the alarm rings, and the accuracies at the end.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def main() -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(EXAMPLES))
    example = importlib.import_module("catch_a_shortcut")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"alarm: {example.ALARM}\n")
    for seed in range(seeds):
        for tag in (True, False):
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                run = example.train(tag, seed, Path(folder))
            seconds = time.perf_counter() - started
            rings = [epoch[f"ablation_cam/alarm_{example.ALARM.name}"] for epoch in run.epochs]
            first = f"rings from epoch {rings.index(1) + 1}" if 1 in rings else "never rings"
            print(
                f"seed {seed}, {'tagged' if tag else 'clean '}: {first}; at the end "
                f"{run.with_tag:.0%} with the tag, {run.without:.0%} without; {seconds:.0f} s"
            )
            for title, name in (
                ("border heat", f"ablation_cam/{example.ALARM.measure}"),
                ("accuracy", "val_accuracy"),
            ):
                values = "".join(f"{100 * epoch[name]:>5.0f}" for epoch in run.epochs)
                print(f"  {title:<12}{values}", flush=True)


if __name__ == "__main__":
    main()
