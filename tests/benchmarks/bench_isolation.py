"""What it costs to leave a network as it was found, as a share of a pass.

Run: python -m tests.benchmarks.bench_isolation

For each network a whole later pass over four images of 224 pixels is timed, and what entering and
leaving the isolation takes of it; then the first pass, which finds out what the forward writes to.
"""

from __future__ import annotations

import statistics
import time

import torch
from torchvision import models

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.network.isolation import isolated

NETWORKS = {
    "resnet18": "layer4",
    "mobilenet_v3_large": "features",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}
ROUNDS = 7


def seconds(action, rounds: int = ROUNDS) -> float:
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    torch.set_num_threads(2)
    print(f"{'network':<20} {'a pass':>10} {'isolation':>10} {'share':>7} {'its first':>10}")
    for name, layer in NETWORKS.items():
        model = models.get_model(name).eval()
        images = torch.randn(4, 3, 224, 224)

        def isolate(model=model) -> None:
            with isolated(model):
                pass

        first = seconds(isolate, 1)
        a_pass = seconds(lambda m=model, t=layer, x=images: ablation_cam(m, t, x))
        each = seconds(isolate, 10 * ROUNDS)
        print(
            f"{name:<20} {a_pass * 1e3:>7.1f} ms {each * 1e3:>7.2f} ms {each / a_pass:>7.2%} "
            f"{first * 1e3:>7.1f} ms"
        )


if __name__ == "__main__":
    main()
