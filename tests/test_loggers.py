"""Each logger gets everything, as it shows it; what real ones wrote offline is read back."""

from __future__ import annotations

import io
import json
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from PIL import Image
from pytorch_lightning import seed_everything
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import (
    CometLogger,
    CSVLogger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from pytorch_lightning.loggers.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam import AblationCAMMonitor, ProbeSet, write_report
from lightning_ablationcam.outputs.event_file import OwnEventFile
from lightning_ablationcam.outputs.loggers import BACKENDS
from lightning_ablationcam.outputs.outlets import Outlet, Outlets
from lightning_ablationcam.outputs.sent import Service
from tests.lightning import BATCHES, Module, fit
from tests.networks import images
from tests.wandb_files import history

STEPS = [BATCHES, 2 * BATCHES, 3 * BATCHES]
NAMES = ["cat", "../кошка", "a b"]
STEMS = ["cat", "koshka", "a_b"]
TAGS = ["cat", "../кошка", "a b"]  # As TensorBoard has them.


def monitor(**options):
    probes = ProbeSet(images(3, seed=9), labels=[0, 1, 2], names=NAMES)
    return AblationCAMMonitor("model.conv", probes, **options)


def board(folder):
    return TensorBoardLogger(folder, name=None, version="run")


def shown(folder):
    """The pictures in TensorBoard's file, by tag and step."""
    events = EventAccumulator(str(folder / "run"), {"images": 0}).Reload()
    return {
        (tag, image.step): image.encoded_image_string
        for tag in events.Tags()["images"]
        for image in events.Images(tag)
    }


def pixels(file):
    with Image.open(io.BytesIO(file)) as opened:
        return np.asarray(opened.convert("RGB"))


def warned(caught):
    return [str(w.message) for w in caught if "ablation_cam" in str(w.message)]


def assert_is_report(page, passes=3):
    assert page.startswith("<!doctype html>")
    data = page.split('id="ablation-cam-data">')[1].split("</script>")[0]
    (series,) = json.loads(data)["series"]
    assert len(series["steps"]) == passes


@pytest.fixture
def quiet_wandb(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    # Otherwise it sends what fails in it.
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    made = []
    yield made
    for logger in made:
        logger.experiment.finish()
    wandb.teardown()  # It would keep the mode for the next test.


@pytest.fixture
def wandb_logger(quiet_wandb, tmp_path):
    def make(**options):
        logger = WandbLogger(save_dir=str(tmp_path), **options)
        quiet_wandb.append(logger)
        return logger

    return make


@pytest.fixture
def mlflow_logger(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return MLFlowLogger(experiment_name="e", save_dir=str(tmp_path / "mlruns"))


@pytest.fixture
def comet_logger(monkeypatch, tmp_path):
    monkeypatch.setenv("COMET_START_ONLINE", "0")
    monkeypatch.setenv("COMET_LOGGING_CONSOLE", "ERROR")
    options = {"log_code": False, "log_env_details": False, "auto_output_logging": False}
    return CometLogger(offline_directory=str(tmp_path / "comet"), **options)


class TestFiles:
    def files(self, root):
        found = [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]
        return sorted(name for name in found if "tfevents" not in name)

    def expected(self):
        pictures = [f"overview/{step:08}.jpg" for step in STEPS]
        for stem in STEMS:
            pictures += [f"probes/{stem}/{step:08}.jpg" for step in STEPS]
            pictures += [f"evolution/{stem}.jpg", f"animation/{stem}.gif"]
        return sorted([*pictures, "heatmaps.npz", "report.html"])

    def test_without_a_logger_nothing_is_lost(self, tmp_path, caplog):
        watching = monitor()
        with caplog.at_level("INFO"):
            fit(tmp_path, watching, logger=False)
        root = tmp_path / "ablation_cam" / "version_0"
        assert self.files(root) == self.expected()
        (said,) = [line for line in caplog.messages if "watching" in line]
        assert f"pictures under 'ablation_cam' in {root}" in said
        assert f"adds the report to {root}" in said
        assert_is_report((root / "report.html").read_text())
        # The tab's data: what the report of the folder is made of.
        write_report(root, tmp_path / "again.html")
        assert_is_report((tmp_path / "again.html").read_text())
        tags = EventAccumulator(str(root)).Reload().Tags()["tensors"]
        assert tags == ["ablation_cam/probes", "ablation_cam/heat"]

    def test_the_newest_maps_as_arrays(self, tmp_path):
        watching = monitor(signed=True)
        fit(tmp_path, watching, logger=CSVLogger(tmp_path, name=None, version="csv"))
        newest = watching.history.passes[-1]
        file = tmp_path / "csv" / "ablation_cam" / "heatmaps.npz"
        with np.load(file, allow_pickle=False) as arrays:
            assert arrays["names"].tolist() == NAMES
            assert (int(arrays["step"]), str(arrays["layer"])) == (STEPS[-1], "model.conv")
            assert arrays["heatmaps"].dtype == np.float32
            np.testing.assert_array_equal(arrays["heatmaps"], newest.heatmaps)
            np.testing.assert_array_equal(arrays["signed"], newest.signed)
            np.testing.assert_array_equal(arrays["classes"], newest.classes)
            np.testing.assert_array_equal(arrays["scores"], newest.scores)

    def test_each_run_has_a_folder_of_its_own(self, tmp_path):
        for _ in range(2):
            fit(tmp_path, monitor(), logger=False, max_epochs=1)
        fit(tmp_path, monitor(tag="other/cam"), logger=False, max_epochs=1)
        folders = sorted(f.relative_to(tmp_path).as_posix() for f in tmp_path.glob("*/*"))
        assert folders == [
            "ablation_cam/version_0",
            "ablation_cam/version_1",
            "other_cam/version_0",
        ]

    def test_beside_tensorboard_the_tab_shows_a_run_once(self, tmp_path):
        csv = CSVLogger(tmp_path, name=None, version="run")
        fit(tmp_path, monitor(), logger=[csv, board(tmp_path)], max_epochs=1)
        events = list((tmp_path / "run").rglob("*tfevents*"))
        assert [file.parent for file in events] == [tmp_path / "run"]
        elsewhere = CSVLogger(tmp_path, name=None, version="csv")
        fit(tmp_path, monitor(), logger=[elsewhere, board(tmp_path)], max_epochs=1)
        assert list((tmp_path / "csv" / "ablation_cam").glob("*tfevents*"))

    def test_without_pictures_there_are_the_maps_and_the_report(self, tmp_path):
        fit(tmp_path, monitor(pictures=False), logger=False)
        root = tmp_path / "ablation_cam" / "version_0"
        assert self.files(root) == ["heatmaps.npz", "report.html"]

    @pytest.mark.parametrize("option", ["fast_dev_run", "barebones"])
    def test_runs_that_leave_nothing_behind(self, tmp_path, option):
        options = {"logger": None, "log_every_n_steps": None, option: True}
        if option == "barebones":
            options["enable_model_summary"] = options["enable_progress_bar"] = False
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit(tmp_path, monitor(), **options)
        assert list(tmp_path.iterdir()) == []
        told = warned(caught)
        assert len(told) == (option == "barebones")
        assert all("barebones=True" in one and "monitor.history" in one for one in told)

    def test_a_folder_elsewhere_is_a_warning(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.warns(UserWarning, match="in files, .*not on this machine") as caught:
            runner = fit("memory://run", monitor(), logger=False)
        assert (len(warned(caught)), runner.global_step) == (1, STEPS[-1])
        assert list(tmp_path.iterdir()) == []

    def test_after_a_failed_write_an_event_file_is_begun_anew(self, tmp_path, monkeypatch):
        real = OwnEventFile.add
        failing = [True]

        def add(self, summary, step):
            if step == STEPS[1] and failing:
                failing.clear()
                for file in tmp_path.rglob("*tfevents*"):
                    file.unlink()
            real(self, summary, step)

        monkeypatch.setattr(OwnEventFile, "add", add)
        with pytest.warns(UserWarning, match="no heatmaps this time in files, .*FileNotFound"):
            fit(tmp_path, monitor(), logger=False)
        (file,) = tmp_path.rglob("*tfevents*")
        events = EventAccumulator(str(file)).Reload()
        assert [event.step for event in events.Tensors("ablation_cam/heat")] == STEPS[2:]


class Silent(Logger):
    """Somebody's logger that shows nothing."""

    name, version = "silent", 0

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params):
        pass


class TestUnknown:
    def test_one_warning_and_files(self, tmp_path):
        with pytest.warns(UserWarning, match="nothing can be shown in Silent") as caught:
            fit(tmp_path, monitor(), logger=[Silent(), Silent()])
        (told,) = warned(caught)
        assert all(name in told for name in BACKENDS)
        assert f"files below {tmp_path}" in told
        assert (tmp_path / "ablation_cam" / "version_0" / "report.html").exists()

    def test_beside_one_that_shows_everything_there_are_no_files(self, tmp_path):
        with pytest.warns(UserWarning, match="the other loggers show everything") as caught:
            fit(tmp_path, monitor(), logger=[Silent(), board(tmp_path)], max_epochs=1)
        assert len(warned(caught)) == 1
        assert [file.name for file in tmp_path.iterdir()] == ["run"]


class Logging(Callback):
    """What a user logs in a run of W&B beside Lightning, in ways that a row of ours would spoil."""

    def on_validation_epoch_start(self, trainer, pl_module):
        if not trainer.sanity_checking:
            pl_module.logger.experiment.log({"waiting": trainer.global_step}, commit=False)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        run = pl_module.logger.experiment
        run.log({"stepped": trainer.global_step}, step=run.step)


class TestWandb:
    def rows(self, logger):
        folder = Path(logger.experiment.dir).parent
        logger.experiment.finish()
        wandb.teardown()  # Only then is the file whole.
        return history(folder), folder / "files"

    def test_pictures_are_those_of_tensorboard(self, tmp_path, wandb_logger):
        logger = wandb_logger()
        fit(tmp_path, monitor(), logger=[logger, board(tmp_path)])
        rows, files = self.rows(logger)
        media: dict[str, list[bytes]] = {}
        for row in rows:
            for key, value in row.items():
                if isinstance(value, dict) and "path" in value:
                    media.setdefault(key, []).append((files / value["path"]).read_bytes())
        stems = dict(zip(TAGS, STEMS, strict=True))
        expected: dict[str, list[bytes]] = {}
        for (tag, _), content in shown(tmp_path).items():
            start, name = tag.split("/", 1)
            expected.setdefault(f"{start}/{stems.get(name, name)}", []).append(content)
        assert_is_report(media.pop("ablation_cam/report")[0].decode())
        assert media.keys() == expected.keys()
        for key, contents in expected.items():
            assert media[key] == contents
            found, wanted = pixels(media[key][0]), pixels(contents[0])
            np.testing.assert_array_equal(found, wanted)
        with_metrics = [row for row in rows if "ablation_cam/overview" in row]
        assert all("val_loss" in row for row in with_metrics)
        assert len(with_metrics) == 3

    def test_nothing_of_the_users_is_dropped_or_shifted(self, tmp_path, wandb_logger):
        found = []
        for callbacks in [[monitor()], []]:
            logger = wandb_logger()
            seed_everything(3, verbose=False)
            fit(tmp_path, *callbacks, Logging(), logger=logger)
            rows, _ = self.rows(logger)
            found.append([self.of_user(row) for row in rows])
        # What is drawn at the end of the fit has a row of its own, after all others.
        last = found[1][-1]["trainer/global_step"]
        assert found[0].pop() == {"_step": len(found[1]), "trainer/global_step": last}
        assert found[0] == found[1]
        assert [row["waiting"] for row in found[0] if "waiting" in row] == STEPS
        assert [row["stepped"] for row in found[0] if "stepped" in row] == list(range(1, 16))

    def of_user(self, row):
        mine = ("_runtime", "_timestamp", "_wandb")
        return {k: v for k, v in row.items() if not k.startswith(("ablation_cam", *mine))}

    def test_keys_have_the_loggers_prefix(self, tmp_path, wandb_logger):
        logger = wandb_logger(prefix="mine")
        fit(tmp_path, monitor(), monitor(tag="early/cam"), logger=logger, max_epochs=1)
        rows, _ = self.rows(logger)
        keys = {key for row in rows for key in row}
        assert {"mine-ablation_cam/overview", "mine-early/cam/overview"} <= keys
        assert "mine-ablation_cam/balance" in keys

    def test_a_disabled_run_gets_nothing_and_says_nothing(
        self, tmp_path, wandb_logger, monkeypatch
    ):
        monkeypatch.setenv("WANDB_MODE", "disabled")
        runner = fit(tmp_path, monitor(on_error="raise"), logger=wandb_logger())
        assert runner.global_step == STEPS[-1]

    def test_a_run_that_ends_in_the_middle_is_one_warning(self, tmp_path, wandb_logger):
        logger = wandb_logger()

        class Ends(Callback):
            def on_validation_end(self, trainer, pl_module):
                logger.experiment.finish()
                logger.log_metrics = lambda metrics, step=None: None

        with pytest.warns(UserWarning, match="this time in WandbLogger, .*finished") as caught:
            runner = fit(tmp_path, monitor(), Ends(), logger=[logger, board(tmp_path)])
        assert (len(warned(caught)), runner.global_step) == (1, STEPS[-1])
        assert [step for tag, step in shown(tmp_path) if tag.endswith("overview")] == STEPS


class TestMLflow:
    def artifacts(self, logger, path=""):
        for one in logger.experiment.list_artifacts(logger.run_id, path):
            yield from self.artifacts(logger, one.path) if one.is_dir else [one.path]

    def test_artifacts_are_the_pictures_of_tensorboard(self, tmp_path, mlflow_logger):
        fit(tmp_path, monitor(), logger=[mlflow_logger, board(tmp_path)])
        client, run = mlflow_logger.experiment, mlflow_logger.run_id
        names = sorted(self.artifacts(mlflow_logger))
        without_maps = [name for name in TestFiles().expected() if name != "heatmaps.npz"]
        assert names == sorted(f"ablation_cam/{name}" for name in without_maps)
        pictures = shown(tmp_path)

        def content(name):
            return Path(client.download_artifacts(run, f"ablation_cam/{name}")).read_bytes()

        for step in STEPS:
            found = content(f"overview/{step:08}.jpg")
            np.testing.assert_array_equal(
                pixels(found), pixels(pictures["ablation_cam/overview", step])
            )
            probe = content(f"probes/koshka/{step:08}.jpg")
            assert probe == pictures["ablation_cam_probes/../кошка", step]
        assert content("evolution/a_b.jpg") == pictures["ablation_cam_evolution/a b", STEPS[-1]]
        assert content("animation/cat.gif") == pictures["ablation_cam_animation/cat", STEPS[-1]]
        assert_is_report(content("report.html").decode())
        assert client.get_run(run).info.status == "FINISHED"

    def test_two_monitors(self, tmp_path, mlflow_logger):
        fit(tmp_path, monitor(), monitor(tag="early/x"), logger=mlflow_logger, max_epochs=1)
        folders = {name.rsplit("/overview/")[0] for name in self.artifacts(mlflow_logger)}
        assert {"ablation_cam", "early/x"} <= folders

    def test_a_store_that_is_gone_is_one_warning(self, tmp_path, mlflow_logger):
        class Removes(Callback):
            """Just for the monitor: Lightning logs to it as well."""

            def on_validation_epoch_end(self, trainer, pl_module):
                run = mlflow_logger
                run._run_id = self.kept if run._run_id == "0" * 32 else "0" * 32

            def on_fit_start(self, trainer, pl_module):
                self.kept = mlflow_logger.run_id

        removes = Removes()
        with pytest.warns(UserWarning, match="this time in MLFlowLogger, .*Exception") as caught:
            runner = fit(
                tmp_path, removes, monitor(), removes, logger=[mlflow_logger, board(tmp_path)]
            )
        assert (len(warned(caught)), runner.global_step) == (1, STEPS[-1])
        assert ("ablation_cam/overview", STEPS[-1]) in shown(tmp_path)


class StepsOfComet(Callback):
    """What a metric without a step would be logged under, before the monitor and after it."""

    def __init__(self):
        self.found = []

    def on_validation_epoch_end(self, trainer, pl_module):
        self.found.append(trainer.loggers[0].experiment.curr_step)


class TestComet:
    def test_the_users_own_step_is_left_as_it_is(self, tmp_path, comet_logger):
        steps = StepsOfComet()
        fit(tmp_path, steps, monitor(), steps, logger=comet_logger, num_sanity_val_steps=0)
        assert steps.found[::2] == steps.found[1::2]
        assert steps.found[::2] == [step - 1 for step in STEPS]

    def test_images_and_report_in_the_offline_archive(self, tmp_path, comet_logger):
        fit(tmp_path, monitor(), logger=[comet_logger, board(tmp_path)])
        comet_logger.experiment.end()
        (archive,) = (tmp_path / "comet").glob("*.zip")
        with zipfile.ZipFile(archive) as opened:
            lines = opened.read("messages.json").decode().splitlines()
            sent = {}
            for line in lines:
                message = json.loads(line)
                if message["type"] != "file_upload":
                    continue
                payload = message["payload"]
                about = payload["additional_params"]
                name = about.get("fileName") or about.get("figName")
                sent[name, about.get("step")] = opened.read(Path(payload["file_path"]).name)
        tags = dict(zip(TAGS, STEMS, strict=True))
        for (tag, step), expected in shown(tmp_path).items():
            start, name = tag.split("/", 1)
            assert sent.pop((f"{start}/{tags.get(name, name)}", step)) == expected
        ((name, _), report) = sent.popitem()
        assert (name, sent) == ("ablation_cam/report.html", {})
        assert_is_report(report.decode())


class TestAll:
    def test_training_is_bit_identical(self, tmp_path, wandb_logger, mlflow_logger, comet_logger):
        found = []
        loggers = [
            wandb_logger(),
            mlflow_logger,
            comet_logger,
            board(tmp_path),
            CSVLogger(tmp_path, name=None, version="csv"),
        ]
        for logger in loggers:
            _ = logger.experiment
        for callbacks in [[], [monitor()]]:
            seed_everything(3, verbose=False)
            module = Module()
            fit(tmp_path, *callbacks, module=module, logger=loggers)
            randoms = [torch.get_rng_state().tolist(), random.random(), np.random.random()]  # noqa: NPY002
            found.append((module.state_dict(), randoms))
        assert found[0][1] == found[1][1]
        assert all(torch.equal(found[0][0][key], value) for key, value in found[1][0].items())

    def test_where_one_fails_the_others_get_everything(self, tmp_path, monkeypatch):
        class Broken:
            place = "nowhere"

            def __getattr__(self, name):
                raise ConnectionError("no answer")

        monkeypatch.setitem(BACKENDS, "Silent", lambda logger, tag: Broken())
        csv = CSVLogger(tmp_path, name=None, version="csv")
        loggers = [board(tmp_path), Silent(), csv]
        with pytest.warns(UserWarning, match="in Silent, .*ConnectionError: no answer") as caught:
            fit(tmp_path, monitor(), logger=loggers)
        assert len(warned(caught)) == 1
        assert len(shown(tmp_path)) == 3 + 9 + 9 + 3
        assert TestFiles().files(tmp_path / "csv" / "ablation_cam") == TestFiles().expected()
        with pytest.raises(ConnectionError, match="no answer"):
            fit(tmp_path, monitor(on_error="raise"), logger=[Silent()])

    def test_an_outlet_that_failed_is_tried_again(self):
        class Backend:
            full = True

            def check_room(self):
                if self.full:
                    raise OSError("full")

        backend, done = Backend(), []
        outlets = Outlets([Outlet("x", lambda: backend)])
        for backend.full in (True, False):
            outlets.begin()
            outlets.each(lambda outlet, backend: done.append(backend.full))
        assert (done, outlets.faults, outlets.backends) == ([False], [], [backend])


class AwayOnce(Service):
    """A service that is away when it is first sent something."""

    place = "a service"

    def __init__(self):
        super().__init__(None, "cam")
        self.sent = None

    def send(self, files, root):
        if self.sent is None:
            self.sent = []
            raise ConnectionError("away")
        self.sent += [(one.file, (root / one.file).read_bytes() == one.content) for one in files]


def test_what_could_not_be_sent_does_not_come_with_the_next_pass():
    service, picture = AwayOnce(), np.zeros((8, 8, 3), np.uint8)
    service.check_room()
    service.write_picture("probes", "cat", picture, 10)
    with pytest.raises(ConnectionError):
        service.flush()
    service.check_room()
    service.write_picture("probes", "cat", picture, 20)
    service.flush()
    service.flush()
    assert service.sent == [("probes/cat/00000020.jpg", True)]
