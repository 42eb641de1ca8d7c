"""Run as a script, in two processes: fits one after another, of which each rank saves what it saw.

python -m tests.two_ranks FOLDER CASE...
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import distributed

from lightning_ablationcam import AblationCAMMonitor, Alarm, ProbeSet, ablation_cam, faithfulness
from lightning_ablationcam.measures.registry import FORWARDS
from lightning_ablationcam.run import explainer
from lightning_ablationcam.run.schedule import Schedule
from tests.lightning import Module, fit
from tests.networks import BatchStatistics, Dropouts, images, seeded
from tests.tolerances import Engine

WATCHED = ("measured", "stopped", "no_probabilities")
"""The cases with every measure and an alarm."""
CHOSEN = (0.1, 0.02, None)
"""The tolerances that the first rank chooses; what another would choose is none."""
ALARM = "alarm_concentration"

RANK = int(os.environ.get("LOCAL_RANK", 0))


def broken_on_the_second(module, inputs):
    if RANK == 1 and module.trainer.current_epoch == 1:
        raise RuntimeError("injected")
    return module(inputs)


class FragileError(Exception):
    """Cannot be pickled."""

    def __init__(self, one, two):
        super().__init__(one)
        self.two = lambda: two


def fragile_on_the_first(module, inputs):
    if RANK == 0 and module.trainer.current_epoch == 1:
        raise FragileError("in", "jected")
    return module(inputs)


class CannotTravel(ProbeSet):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.open = lambda: None


class OnBatches(Module):
    """Its forward also takes what a monitor tries after the images alone: the whole batch."""

    def forward(self, x):
        if not self.training and not isinstance(x, dict) and not self.trainer.validating_itself:
            raise KeyError("image")
        return self.model(x["image"] if isinstance(x, dict) else x)

    def on_validation_start(self):
        self.trainer.validating_itself = True

    def on_validation_epoch_end(self):
        self.trainer.validating_itself = False


class Moves(Callback):
    """The network is under another name from the second epoch on."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            pl_module.moved, pl_module.model = pl_module.model, None
            pl_module.forward = lambda x: pl_module.moved(x)


def build_what_cannot_travel(trainer, module):
    return CannotTravel(images(2, seed=9), [0, 1])


def build_on_all_but(broken):
    def build(trainer, module):
        if broken == RANK:
            raise FileNotFoundError(f"no pictures on rank {RANK}")
        return ProbeSet(images(2, seed=9), [0, 1])

    return build


def monitor(case: str) -> AblationCAMMonitor:
    if case == "captured":
        return AblationCAMMonitor("model.conv", probes=3, on_error="raise")
    if case == "cannot_travel":
        return AblationCAMMonitor("model.conv", build_what_cannot_travel, on_error="warn")
    if case.startswith("probes_fail"):
        build = build_on_all_but(0 if case == "probes_fail_on_first" else 1)
        return AblationCAMMonitor("model.conv", build, on_error="warn")
    count = 1 if case in ("fewer_probes_than_ranks", "moved") else 5
    probes = ProbeSet(images(count, seed=9), labels=[index % 4 for index in range(count)])
    if case == "whole_batch":
        probes = ProbeSet(probes.inputs, probes.labels, batch={"image": probes.inputs})
    forwards = {"fault": broken_on_the_second, "fault_on_first": fragile_on_the_first}
    measured: dict[str, Any] = {}
    if case in WATCHED:
        alarm = Alarm("concentration", above=0.1, for_passes=2, stop=case == "stopped")
        measured = {"measures": FORWARDS, "measure_every_n_passes": 2, "alarms": [alarm]}
        masks = torch.zeros(count, 8, 8)
        masks[:, :4] = 1
        probes = ProbeSet(probes.inputs, probes.labels, masks=masks)
    if case == "no_probabilities":  # One rank measures nothing, and learns that from the other.
        probes = ProbeSet(probes.inputs[:1], [0.5])
    return AblationCAMMonitor(
        "auto" if case in ("auto", "moved", "whole_batch") else "model.conv",
        probes,
        forward=broken_on_the_second if case == "fault_raised" else forwards.get(case),
        classes={"listed": [3, 2, 1, 0, 3], "no_probabilities": 0}.get(case, "label"),
        on_error="warn" if case in forwards else "raise",
        max_overhead={"overhead": 1e-9, "tolerant": 0.9}.get(case),
        tolerance="auto" if case == "tolerant" else None,
        **measured,
    )


@contextmanager
def tolerances(case: str) -> Iterator[list[float | None]]:
    """The tolerances that this rank was asked for; only the first may choose them."""
    if case != "tolerant":
        yield []
        return
    engine = Engine()
    with (
        mock.patch.object(explainer, "explain_classes", engine),
        mock.patch.object(Schedule, "too_costly", return_value=False),
        mock.patch.object(Schedule, "tolerance", side_effect=CHOSEN if RANK == 0 else [5, 5, 5]),
    ):
        yield engine.asked


class Metrics(Callback):
    """The scalars of each validation, and what this rank alone finds for all probes."""

    def __init__(self, watching):
        self.watching, self.scalars, self.alone, self.faithful = watching, [], [], []

    def on_validation_end(self, trainer, pl_module):
        if trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics.items()
        self.scalars.append({k: v.item() for k, v in metrics if "ablation_cam" in k})
        probes, classes = self.watching.probes, self.watching.classes
        classes = probes.labels if classes == "label" else classes
        layer = self.watching.result.layer if self.watching.result else "model.conv"
        fed = {"x": probes.batch} if isinstance(probes.batch, dict) else probes.inputs
        result = ablation_cam(pl_module, layer, fed, classes)
        self.alone.append(result)
        if self.watching._measuring.forwards and probes.label_kind == "class":
            maps = result.heatmaps
            self.faithful.append(faithfulness(pl_module, fed, maps, result.classes).means())


def run(folder: Path, case: str) -> None:
    torch.manual_seed(0)
    # Where the statistics are those of the batch, it must not be split.
    network = BatchStatistics() if case == "batch_statistics" else Dropouts()
    kind = OnBatches if case == "whole_batch" else Module
    watching, module = monitor(case), kind(seeded(network).train())
    metrics, error, asked = Metrics(watching), None, list[float | None]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with tolerances(case) as asked:
                fit(
                    folder,
                    watching,
                    metrics,
                    *([Moves()] if case == "moved" else []),
                    *(
                        callback
                        for name in ("drift", *(["average_drop", ALARM] if case in WATCHED else []))
                        for callback in (
                            EarlyStopping(f"ablation_cam/{name}", patience=9),
                            ModelCheckpoint(folder / name, monitor=f"ablation_cam/{name}"),
                        )
                    ),
                    module=module,
                    devices=2,
                    strategy="ddp",
                    enable_checkpointing=True,
                )
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
    told = [str(w.message) for w in caught if "ablation_cam:" in str(w.message)]
    seen = {
        "state": watching.state_dict(),
        "scalars": metrics.scalars,
        "alone": [(result.heatmaps, result.scores) for result in metrics.alone],
        "faithful": metrics.faithful,
        "table": watching.table(),
        "told": told,
        "error": error,
        "asked": asked,
        "inputs": None if watching.probes is None else watching.probes.inputs,
    }
    torch.save(seen, folder / f"rank{RANK}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in sys.argv[2:]:
        folder = Path(sys.argv[1]) / case
        folder.mkdir(exist_ok=True)
        run(folder, case)
    if distributed.is_initialized():  # After an error Lightning leaves the group as it is.
        distributed.destroy_process_group()
