"""A resumed run goes on where the checkpoint was written."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.strategies import SingleDeviceStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from lightning_ablationcam import AblationCAMMonitor, ProbeSet
from lightning_ablationcam.run import checkpoint
from lightning_ablationcam.run.history import MAX_PASSES, Pass
from tests.killed_run import EPOCHS
from tests.lightning import BATCHES, Module, data, loaders, trainer
from tests.networks import ConvBN, images, seeded

ROOT = Path(__file__).parent.parent
SECONDS = 120

# Lightning's own: the folder of the checkpoint it goes on from.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled"),
]


def probe_set(seed=9):
    return ProbeSet(images(3, seed=seed), labels=[0, 1, 2])


def monitor(probes=None, **options):
    probes = probe_set() if probes is None else probes
    return AblationCAMMonitor("model.conv", probes, **{"on_error": "raise", **options})


def fit(folder, watching, epochs, *, checkpoint=None, module=None, validation=None, others=()):
    """Fit up to an epoch; returns the path of the checkpoint written at its end."""
    torch.manual_seed(epochs)
    keep = ModelCheckpoint(folder / "kept", filename=f"{epochs}", enable_version_counter=False)
    runner = trainer(folder, watching, *others, keep, max_epochs=epochs, enable_checkpointing=True)
    train, usual = loaders()
    runner.fit(module or Module(), train, validation or usual, ckpt_path=checkpoint)
    return folder / "kept" / f"{epochs}.ckpt"


def steps(watching):
    return [seen.step for seen in watching.history.passes]


def test_the_state_is_plain_and_comes_back_whole(tmp_path):
    watching = monitor()
    path = fit(tmp_path, watching, 2)
    # Lightning's own state is plain as well, so the whole file can be read safely.
    state = torch.load(path, weights_only=True)["callbacks"][watching.state_key]
    again = type(watching.history).from_state(state["history"])
    for seen, kept in zip(watching.history.passes, again.passes, strict=True):
        assert vars(seen).keys() == vars(kept).keys()
        assert seen.measures.keys() == kept.measures.keys()
        ours, theirs = ({**vars(each), **each.measures} for each in (seen, kept))
        for name, value in ours.items():
            if name not in ("measures", "also"):
                np.testing.assert_array_equal(theirs[name], value)
                assert type(theirs[name]) is type(value)
    assert (again.strongest == watching.history.strongest).all()
    assert state["probes"] == {"fingerprint": probe_set().fingerprint, "kept": None}


def test_strips_and_curves_go_on(tmp_path):
    before, after = monitor(every_n_validations=2), monitor(every_n_validations=2)
    path = fit(tmp_path, before, 3)
    assert steps(before) == [BATCHES, 3 * BATCHES]
    logged = []

    class Metrics(Callback):
        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                logged.append({k: v.item() for k, v in trainer.callback_metrics.items()})

    fit(tmp_path, after, 6, checkpoint=path, others=[Metrics()])
    # Every second validation, counted from the beginning; the last in any case.
    assert steps(after) == [BATCHES * epoch for epoch in (1, 3, 5, 6)]
    assert [seen.epoch for seen in after.history.passes] == [0, 2, 4, 5]
    for old, new in zip(before.history.passes, after.history.passes, strict=False):
        np.testing.assert_array_equal(old.heatmaps, new.heatmaps)
    assert "drift" in after.history.passes[2].measures
    # At the fourth epoch there was no pass: the value of the checkpoint is logged again.
    assert logged[0]["ablation_cam/drift"] == pytest.approx(
        before.history.passes[-1].measures["drift"].mean()
    )


def test_in_one_process_too(tmp_path):
    watching, module = monitor(), Module()
    path = fit(tmp_path, watching, 2, module=module)
    fit(tmp_path, watching, 3, module=module)
    fit(tmp_path, watching, 4, module=module, checkpoint=path)
    assert steps(watching) == [BATCHES * epoch for epoch in (1, 2, 3, 4)]


def test_other_probes_start_afresh_and_say_so(tmp_path):
    path = fit(tmp_path, monitor(), 2)
    other = monitor(probe_set(seed=5))
    with pytest.warns(UserWarning, match="probes are not those of the checkpoint.*starts afresh"):
        fit(tmp_path, other, 4, checkpoint=path)
    assert steps(other) == [3 * BATCHES, 4 * BATCHES]


def test_another_layer_starts_afresh_and_says_so(tmp_path):
    path = fit(tmp_path, monitor(), 2, module=Module(seeded(ConvBN()).train()))
    other = AblationCAMMonitor("model.bn", probe_set(), on_error="raise")
    with pytest.warns(UserWarning, match="'model.bn' and was 'model.conv'.*starts afresh"):
        fit(tmp_path, other, 4, checkpoint=path, module=Module(seeded(ConvBN()).train()))
    assert steps(other) == [3 * BATCHES, 4 * BATCHES]


def shuffled():
    return DataLoader(data(8, seed=4), batch_size=4, shuffle=True)


def test_probes_kept_from_validation_are_kept_for_good(tmp_path):
    before, after = monitor(probes=3), monitor(probes=3)
    path = fit(tmp_path, before, 2, validation=shuffled())
    fit(tmp_path, after, 4, checkpoint=path, validation=shuffled())
    assert after.probes.fingerprint == before.probes.fingerprint
    assert steps(after) == [BATCHES * epoch for epoch in (1, 2, 3, 4)]
    more = monitor(probes=5)
    with pytest.warns(UserWarning, match="probes are not those of the checkpoint"):
        fit(tmp_path, more, 4, checkpoint=path, validation=shuffled())
    assert len(more.probes) == 5
    assert steps(more) == [3 * BATCHES, 4 * BATCHES]


def test_a_checkpoint_from_before_the_first_pass_or_without_the_monitor(tmp_path):
    def broken(module, inputs):
        raise RuntimeError("injected")

    failing = monitor(probes=3, forward=broken, on_error="warn")
    with pytest.warns(UserWarning, match="injected"):
        path = fit(tmp_path, failing, 1)
    after = monitor(probes=3)
    fit(tmp_path, after, 2, checkpoint=path)
    assert steps(after) == [2 * BATCHES]
    other = monitor(tag="other")
    with pytest.warns(UserWarning, match="callbacks used to create the checkpoint"):
        fit(tmp_path, other, 3, checkpoint=path)
    assert steps(other) == [2 * BATCHES, 3 * BATCHES]


def test_two_monitors_keep_two_states(tmp_path):
    first, second = monitor(), monitor(tag="second", every_n_validations=2)
    path = fit(tmp_path, first, 3, others=[second])
    states = torch.load(path, weights_only=True)["callbacks"]
    assert {first.state_key, second.state_key} <= set(states)
    assert "second" in second.state_key
    first, second = monitor(), monitor(tag="second", every_n_validations=2)
    fit(tmp_path, first, 4, others=[second], checkpoint=path)
    assert steps(first) == [BATCHES * epoch for epoch in (1, 2, 3, 4)]
    assert steps(second) == [BATCHES * epoch for epoch in (1, 3, 4)]


def test_a_state_of_another_version_is_told(tmp_path, monkeypatch):
    path = fit(tmp_path, monitor(), 1)
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    watching = monitor()
    with pytest.warns(UserWarning, match="it is of version 1, and this version reads 99"):
        fit(tmp_path, watching, 2, checkpoint=path)
    assert steps(watching) == [2 * BATCHES]


def saved_bytes(watching):
    file = io.BytesIO()
    torch.save(watching.state_dict(), file)
    return file.tell()


def test_the_state_stops_growing():
    watching, zeros = monitor(), np.zeros(3)
    sizes = []
    for step in range(3 * MAX_PASSES):
        heat = np.random.default_rng(step).random((3, 7, 7)).astype(np.float32)
        watching.history.append(
            Pass(step, step, "model.conv", heat, zeros.astype(np.int64), zeros, None, zeros)
        )
        if step >= MAX_PASSES and step % 32 == 0:
            sizes.append(saved_bytes(watching))
    assert max(sizes) - min(sizes) < 0.01 * max(sizes)


def test_a_killed_run_that_is_resumed_shows_each_validation_once(tmp_path):
    command = [sys.executable, "-m", "tests.killed_run", str(tmp_path)]
    with (tmp_path / "log.txt").open("w") as log:
        first = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + SECONDS
            while not (tmp_path / "ready").exists():
                assert first.poll() is None, (tmp_path / "log.txt").read_text()[-3000:]
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            first.kill()  # SIGKILL
            first.wait()
        (checkpoint,) = tmp_path.glob("*.ckpt")
        command.append(str(checkpoint))
        subprocess.run(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=True, timeout=SECONDS
        )
    everything = [BATCHES * epoch for epoch in range(1, EPOCHS + 1)]
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    assert len(list((tmp_path / "run").glob("events*"))) == 2
    overview = [image.step for image in events.Images("ablation_cam/overview")]
    # The killed run had validated once more after its checkpoint.
    assert sorted(overview) == sorted([*everything, 3 * BATCHES])
    assert sorted(set(overview)) == everything
    measured = {s - 1 for s in everything}
    assert {s.step for s in events.Scalars("ablation_cam/concentration")} == measured
    # Of the first pass the drift is not known.
    assert {s.step for s in events.Scalars("ablation_cam/drift")} == measured - {min(measured)}
    last = max(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    (state,) = (
        state
        for key, state in torch.load(last, weights_only=True)["callbacks"].items()
        if "ablation_cam" in key
    )
    assert [seen["step"] for seen in state["history"]["passes"]] == everything


class LoadsLate(SingleDeviceStrategy):
    """As DeepSpeed does: the checkpoint is read when the fit has started."""

    @property
    def restore_checkpoint_after_setup(self):
        return True


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")
def test_a_strategy_that_loads_the_checkpoint_late(tmp_path):
    before, after = monitor(), monitor()
    path = fit(tmp_path, before, 2)
    torch.manual_seed(0)
    runner = trainer(tmp_path, after, max_epochs=4, strategy=LoadsLate("cpu"))
    runner.fit(Module(), *loaders(), ckpt_path=path)
    assert steps(after) == [BATCHES * epoch for epoch in (1, 2, 3, 4)]
