"""Two real processes with one monitor each, against what one process finds."""

from __future__ import annotations

import gc
import os
import re
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import distributed

from lightning_ablationcam.measures.registry import FORWARDS
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.run.ranks import Ranks
from lightning_ablationcam.run.tolerance import STEPS
from tests.lightning import Module, fit
from tests.test_callback import monitor
from tests.tolerances import STATED
from tests.two_ranks import ALARM, CHOSEN, WATCHED

ROOT = Path(__file__).parent.parent
WHOLE = [
    "same",
    "fewer_probes_than_ranks",
    "listed",
    "auto",
    "captured",
    "batch_statistics",
    "whole_batch",
    "measured",
    "tolerant",
]
# The runs that end with an error come last: they leave the processes' group as it is.
CASES = [
    *WHOLE,
    *WATCHED[1:],
    "moved",
    "overhead",
    "fault",
    "fault_on_first",
    "cannot_travel",
    "probes_fail",
    "probes_fail_on_first",
    "fault_raised",
]
SECONDS = 240
"""A timeout, because a rank waiting for a missing one would wait for ever."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each rank saw, by case."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "tests",
    }
    command = [sys.executable, "-m", "tests.two_ranks", str(folder), *CASES]
    logs = [folder / f"log{rank}.txt" for rank in range(2)]
    processes = []
    for rank, log in enumerate(logs):
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with log.open("w") as out:
            processes.append(
                subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
                )
            )
    try:
        codes = [process.wait(SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], "\n".join(log.read_text()[-4000:] for log in logs)
    return {
        case: [torch.load(folder / case / f"rank{rank}.pt") for rank in range(2)] for case in CASES
    } | {"folder": folder}


def heatmaps(seen):
    return [one["heatmaps"] for one in seen["state"]["history"]["passes"]]


@pytest.mark.parametrize("case", WHOLE)
def test_two_ranks_find_what_one_finds(ranks, case):
    first, second = ranks[case]
    assert first["error"] is second["error"] is None
    assert len(heatmaps(first)) == len(first["alone"]) == 3
    for index, (alone, scores) in enumerate(first["alone"]):
        shared = first["state"]["history"]["passes"][index]
        torch.testing.assert_close(shared["heatmaps"], alone, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(shared["scores"].float(), scores, rtol=1e-5, atol=1e-6)
        assert alone.max() > 0
    for a, b in zip(heatmaps(first), heatmaps(second), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first["inputs"], second["inputs"])


def scalars_of(case):
    names = set(Measuring().neutral(None))
    if case in WATCHED:
        names |= {*FORWARDS, ALARM, "mask_heat", "pointing_game"}
    if case == "tolerant":
        names.add("error")
    return {f"ablation_cam/{name}" for name in names}


@pytest.mark.parametrize("case", [*WHOLE, "overhead", "fault", "fault_on_first"])
def test_every_rank_sees_the_same_scalars(ranks, case):
    first, second = ranks[case]
    assert len(first["scalars"]) == 3
    assert first["scalars"] == second["scalars"]
    for scalars in first["scalars"]:
        assert all(np.isfinite(value) for value in scalars.values())
        assert set(scalars) == scalars_of(case)
    passes = first["state"]["history"]["passes"]
    expected = passes[-1]["measures"]["drift"].mean().item() if len(passes) > 1 else 1.0
    assert first["scalars"][-1]["ablation_cam/drift"] == pytest.approx(expected, rel=1e-5)


def test_two_ranks_measure_what_one_measures_and_ring_together(ranks):
    first, second = ranks["measured"]
    assert first["table"] == second["table"]
    assert len(first["table"]["step"]) == 15
    means, alone = first["scalars"], first["faithful"]
    for name in FORWARDS:
        key = f"ablation_cam/{name}"
        # In the first pass, not in the second, and in the third.
        for index, taken in enumerate((0, 0, 2)):
            assert means[index][key] == pytest.approx(alone[taken][name], rel=1e-4, abs=1e-6)
    for seen in (first, second):
        assert [scalars[f"ablation_cam/{ALARM}"] for scalars in seen["scalars"]] == [0, 1, 1]
        (state,) = seen["state"]["alarms"].values()
        assert state["in_a_row"].tolist() == [3] * 5
    assert [text.count("alarm 'concentration'") for text in first["told"]] == [1]
    assert second["told"] == []


def test_the_first_rank_chooses_the_tolerance(ranks):
    first, second = ranks["tolerant"]
    assert first["asked"] == second["asked"] == list(CHOSEN)
    # Three probes are the first rank's, two the second's.
    shares = np.array([1, 1 / 2, 1 / 3, 1, 1 / 2])
    expected = [STATED * (tolerance or 0) * shares for tolerance in CHOSEN]
    for seen in (first, second):
        np.testing.assert_allclose(seen["table"]["error"], np.concatenate(expected))
    budgets = [seen["state"]["budget"]["ladder"] for seen in (first, second)]
    assert budgets[0]["at"] == budgets[1]["at"] == STEPS.index(CHOSEN[-1])


def test_an_alarm_ends_the_fit_on_both_ranks(ranks):
    for seen in ranks["stopped"]:
        assert seen["error"] is None
        assert [one["step"] for one in seen["state"]["history"]["passes"]] == [3, 6]
    told = ranks["stopped"][0]["told"]
    assert len([text for text in told if "asks the fit to end (stop=True)" in text]) == 1
    assert not ranks["stopped"][1]["told"]


def test_without_probabilities_both_ranks_go_on(ranks):
    for seen in ranks["no_probabilities"]:
        assert seen["error"] is None
        assert [one["step"] for one in seen["state"]["history"]["passes"]] == [3, 6, 9]
        assert seen["scalars"][-1]["ablation_cam/average_drop"] == 1.0
    told = ranks["no_probabilities"][0]["told"]
    assert len([text for text in told if "cannot be measured" in text]) == 1


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("fault", "RankError: on rank 1: RejectedError: .*injected"),
        ("fault_on_first", "RejectedError: .*float32 on cpu: in"),
    ],
)
def test_a_fault_on_one_rank_ends_the_pass_on_all(ranks, case, told):
    first, second = ranks[case]
    for seen in (first, second):
        # Ten samples a rank in batches of four; the second of three passes failed.
        assert [one["step"] for one in seen["state"]["history"]["passes"]] == [3, 9]
        assert seen["error"] is None
    assert len(first["told"]) == 1
    assert re.search(told, first["told"][0])
    assert not second["told"]


def test_probes_that_cannot_be_sent_are_a_fault_and_no_hang(ranks):
    first, second = ranks["cannot_travel"]
    assert len(first["told"]) == 1
    assert "pickle" in first["told"][0]
    for seen in (first, second):
        assert len(seen["scalars"]) == 3
        assert not seen["state"]["history"]["passes"]


@pytest.mark.parametrize(("case", "broken"), [("probes_fail", 1), ("probes_fail_on_first", 0)])
def test_probes_that_cannot_be_built_on_one_rank_are_an_error_on_both(ranks, case, broken):
    own = f"FileNotFoundError: no pictures on rank {broken}"
    for rank, seen in enumerate(ranks[case]):
        assert seen["error"] == (own if rank == broken else f"RankError: on rank {broken}: {own}")
        assert not seen["scalars"]


def test_a_failed_pass_keeps_nothing_alive(monkeypatch):
    def all_gather_object(parcels, told):
        parcels[:] = [told, told]

    class Held:
        pass

    def fail():
        held = Held()
        alive.append(weakref.ref(held))
        raise RuntimeError("injected")

    alive = []
    monkeypatch.setattr(distributed, "all_gather_object", all_gather_object)
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="injected") as raised:
            Ranks(0, 2).gather(fail)
        del raised
        assert alive[0]() is None
    finally:
        gc.enable()


def test_an_error_is_raised_on_every_rank(ranks):
    first, second = ranks["fault_raised"]
    assert first["error"].startswith("RankError: on rank 1: RejectedError")
    assert second["error"].startswith("RejectedError: Module rejected the inputs")


def test_the_first_ranks_clock_decides(ranks):
    for seen in ranks["overhead"]:
        assert [one["step"] for one in seen["state"]["history"]["passes"]] == [3, 9]


def test_a_layer_that_is_gone_is_looked_for_on_all_ranks_at_once(ranks):
    # One probe, which the first rank explains: the second finds out from it.
    for seen in ranks["moved"]:
        assert seen["error"] is None
        passes = seen["state"]["history"]["passes"]
        assert [(one["step"], one["layer"]) for one in passes] == [
            (6, "moved.conv:activation"),
            (9, "moved.conv:activation"),
        ]
    assert ranks["moved"][0]["scalars"] == ranks["moved"][1]["scalars"]


def test_the_first_rank_writes_alone(ranks):
    run = ranks["folder"] / "same" / "run"
    (events,) = run.glob("events*")
    images = EventAccumulator(str(events)).Reload().Images("ablation_cam/overview")
    assert [image.step for image in images] == [3, 6, 9]


def test_rows_are_shared_out_in_order():
    for count in range(7):
        for size in range(1, 5):
            rows = [range(count)[Ranks(rank, size).rows(count)] for rank in range(size)]
            assert [row for part in rows for row in part] == list(range(count))
            assert max(map(len, rows)) - min(map(len, rows)) <= 1
            whole = [range(count)[Ranks(r, size).rows(count, split=False)] for r in range(size)]
            assert list(map(len, whole)) == [count, *[0] * (size - 1)]


def test_one_process_communicates_nothing():
    assert Ranks().gather(lambda: 3) == [3]
    assert Ranks().share(lambda: 4) == 4
    with pytest.raises(ZeroDivisionError):
        Ranks().gather(lambda: 1 / 0)


class FSDPStrategy:
    pass


class ModelParallelStrategy:
    pass


class DeepSpeedStrategy:
    def __init__(self, stage):
        self.zero_stage_3 = stage == 3


class XLAStrategy:
    pass


@pytest.mark.parametrize(
    ("strategy", "size", "reason"),
    [
        (FSDPStrategy(), 1, "FSDPStrategy, which splits the parameters"),
        (ModelParallelStrategy(), 2, "ModelParallelStrategy, which splits the parameters"),
        (DeepSpeedStrategy(3), 2, "DeepSpeedStrategy, which splits the parameters"),
        (XLAStrategy(), 2, "XLAStrategy with 2 processes: it needs torch.distributed"),
    ],
)
def test_strategies_it_cannot_run_under_are_refused(strategy, size, reason):
    trainer = SimpleNamespace(strategy=strategy, world_size=size, global_rank=0)
    with pytest.raises(ValueError, match=f"{reason}.*strategy='ddp'"):
        Ranks.of(trainer)


def test_others_are_not():
    trainer = SimpleNamespace(strategy=DeepSpeedStrategy(2), world_size=1, global_rank=0)
    assert Ranks.of(trainer).size == 1


def test_the_refusal_comes_at_fit_start(tmp_path, monkeypatch):
    runs = []

    def refuse(trainer):
        runs.append(trainer.global_step)
        raise ValueError("refused")

    monkeypatch.setattr(Ranks, "of", refuse)
    with pytest.raises(ValueError, match="refused"):
        fit(tmp_path, monitor(on_error="warn"), module=Module())
    assert runs == [0]
