"""The command line, as a user types it."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lightning_ablationcam import AblationCAMMonitor, ProbeSet, __version__, ablation_cam, cli
from lightning_ablationcam.cli import COMMANDS, doctor, main
from lightning_ablationcam.cli.backfill import arguments as backfill_arguments
from lightning_ablationcam.cli.importing import imported
from lightning_ablationcam.cli.monitor import LEFT_OUT, monitor_arguments
from tests import backfilled
from tests.networks import seeded


class Small(nn.Module):
    """A network that can be explained."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


class Unrecordable(Small):
    """What follows its layer depends on the layer's values."""

    def forward(self, x):
        features = self.conv(x)
        return self.head(features.relu().mean((2, 3))) * (1.0 if features.sum() > 0 else 2.0)


NUMBER = 3


def run(*words, expected=0):
    assert main([str(word) for word in words]) == expected


def refused(capsys, *words):
    """What is said where arguments cannot be used."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 2
    return capsys.readouterr().err


def failed(capsys, *words):
    run(*words, expected=1)
    return capsys.readouterr().err


def test_the_module_is_the_command_and_costs_nothing_to_ask():
    code = "import sys, runpy\nsys.argv = ['x', '--help']\n"
    code += "try:\n    runpy.run_module('lightning_ablationcam', run_name='__main__')\n"
    code += "finally:\n    print(sorted({'torch', 'jsonargparse'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    for name, what in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert what in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_documents_itself(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"  lightning-ablationcam {name}" in text  # An example.
    assert "``" not in text
    assert ":func:" not in text
    assert "known subclasses" not in text


def test_versions_and_what_is_no_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, __version__ in capsys.readouterr().out) == (0, True)
    assert "choose from" in refused(capsys, "doctr")
    assert "required" in refused(capsys, "backfill", "checkpoints")
    assert "nothing" in refused(capsys, "report", "a", "b", "--nothing")


def test_the_extra_is_named_where_it_is_lacking(capsys, monkeypatch):
    monkeypatch.setattr(
        cli, "find_spec", lambda name: None if name == "jsonargparse" else find_spec(name)
    )
    assert "pip install 'lightning-ablationcam[cli]'" in refused(capsys, "doctor")


def test_an_error_is_a_sentence_or_with_debug_a_traceback(capsys, tmp_path):
    said = failed(capsys, "report", tmp_path / "nowhere", tmp_path / "out.html")
    assert said.startswith("lightning-ablationcam report: FileNotFoundError: source=")
    assert said.count("\n") == 1
    with pytest.raises(FileNotFoundError, match="no such directory"):
        main(["report", str(tmp_path / "nowhere"), str(tmp_path / "out.html"), "--debug"])


# ---- doctor --------------------------------------------------------------------------------------


def test_doctor_says_that_all_is_well(capsys):
    run("doctor")
    text = capsys.readouterr().out
    assert f"torch                  {torch.__version__.split('+')[0]}" in text
    assert "the Ablation-CAM tab is registered and loads" in text
    assert text.endswith("all is well\n")


def test_doctor_looks_at_a_network(capsys):
    run(
        "doctor",
        "--module",
        "tests.test_cli:Small",
        "--init.width",
        6,
        "--shape",
        3,
        8,
        8,
        "--json",
    )
    found = json.loads(capsys.readouterr().out)
    network = found["network"]
    assert (found["ok"], found["problems"], found["tab"]) == (True, [], None)
    assert (network["layer"], network["channels"], network["map"]) == ("conv:activation", 6, [6, 6])
    assert (network["engine"], network["fallback"]) == ("propagate", None)
    assert network["forwards"] == network["seconds_pass"] / network["seconds_forward"] > 0


def test_doctor_names_what_a_network_falls_back_for(capsys):
    words = ["doctor", "--module", "tests.test_cli:Unrecordable", "--shape", 3, 8, 8]
    run(*words, "--layer", "conv", expected=1)
    text = capsys.readouterr().out
    assert "runs once per channel (replay engine)" in text
    assert "not well: the network has to be run once per channel" in text
    assert "all is well" not in text


def test_doctor_says_why_a_network_cannot_be_explained(capsys):
    words = ["doctor", "--shape", 3, 8, 8, "--json", "--module"]

    def problem(*more):
        run(*words, *more, expected=1)
        return json.loads(capsys.readouterr().out)["problems"][0]

    assert "'nothing' is not a layer" in problem("tests.test_cli:Small", "--layer", "nothing")
    assert "did you mean Small" in problem("tests.test_cli:Smal")
    assert "cannot be imported" in problem("tests.no_such_module:Net")
    assert "did you mean resnet18" in problem("resnet-18")
    assert "is a int" in problem("tests.test_cli:NUMBER")
    assert "unexpected keyword" in problem("tests.test_cli:Small", "--init.depth", 3)
    assert "makes a str" in problem("builtins:str")
    assert "expected package.module:name" in problem("tests.test_cli:")


def test_doctor_says_why_the_tab_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "entry_points", lambda **_: [])
    run("doctor", expected=1)
    assert "no installed package registers it" in capsys.readouterr().out
    broken = doctor.EntryPoint("ablation_cam", "no_such_module:Loader", "tensorboard_plugins")
    monkeypatch.setattr(doctor, "entry_points", lambda **_: [broken])
    run("doctor", expected=1)
    assert "no_such_module:Loader does not load: ModuleNotFoundError" in capsys.readouterr().out


# ---- backfill ------------------------------------------------------------------------------------


def test_every_argument_of_the_monitor_is_an_option_or_left_out_for_a_reason():
    words = ["checkpoints", "--module", "m:n", "--logdir", "runs"]
    asked = monitor_arguments(backfill_arguments().parse_args(words))
    known = inspect.signature(AblationCAMMonitor).parameters
    assert asked.keys() | LEFT_OUT.keys() | {"probes"} == known.keys()
    assert not asked.keys() & LEFT_OUT.keys()
    for name, value in asked.items():
        default = known[name].default
        assert (tuple(value) if isinstance(value, list) else value) == default, name


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A folder of a run with three passes, and its checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    backfilled.train(folder, epochs=3)
    return folder


def test_backfill_watches_a_folder_of_pictures(run_folder, tmp_path, capsys):
    for name in ("b", "a"):
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    words = ["backfill", run_folder / "checkpoints", "--module", "tests.test_cli:grey"]
    words += ["--images", tmp_path, "--size", 8, "--labels", 3, 4, "--accelerator", "cpu"]
    words += ["--target_layer", "features", "--no-progress", "--no-pictures", "--also", "none"]
    run(*words, "--logdir", tmp_path / "run")
    assert capsys.readouterr().out == f"3 passes written to {tmp_path / 'run'}\n"
    found = backfilled.records(tmp_path / "run")
    assert found["probes"][0].names == ("a", "b")
    assert found["probes"][0].labels == (3, 4)
    assert [(step, heat.classes, heat.also) for step, heat in found["heat"].items()] == [
        (step, (3, 4), {}) for step in (5, 10, 15)
    ]
    assert backfilled.pictures(tmp_path / "run") == {}


class Grey(backfilled.Net):
    """Takes pictures in colour."""

    def forward(self, images):
        return super().forward(images[:, :1])


def grey():
    return Grey(6)


def test_backfill_says_what_does_not_go_together(run_folder, tmp_path, capsys):
    words = ["backfill", run_folder, "--module", "tests.test_cli:grey", "--logdir", tmp_path / "a"]
    assert "--labels=[1] are those of --images" in failed(capsys, *words, "--labels", 1)
    both = ["--images", tmp_path, "--data", "tests.backfilled:Digits"]
    assert "give one of them" in failed(capsys, *words, *both)


def test_backfill_ends_with_1_and_a_sentence_where_a_checkpoint_is_broken(
    run_folder, tmp_path, capsys
):
    (tmp_path / "broken.ckpt").write_bytes(b"words")
    words = ["backfill", tmp_path, "--module", "tests.backfilled:Net", "--logdir", tmp_path / "run"]
    said = failed(capsys, *words)
    assert "no file can be used: broken.ckpt: it cannot be read" in said
    shutil.copytree(run_folder / "checkpoints", tmp_path, dirs_exist_ok=True)
    words += ["--data", "tests.backfilled:Digits", "--accelerator", "cpu"]
    with pytest.warns(UserWarning, match=r"left out \(checkpoints: 1\)"):
        run(*words, expected=1)
    assert capsys.readouterr().out.endswith(f"3 passes written to {tmp_path / 'run'}, 1 left out\n")


def test_ctrl_c_ends_a_command_with_130(run_folder, tmp_path, capsys):
    words = ["backfill", run_folder / "checkpoints", "--module", "tests.test_cli:interrupted"]
    words += ["--data", "tests.backfilled:Digits", "--accelerator", "cpu"]
    run(*words, "--logdir", tmp_path / "run", expected=130)
    assert capsys.readouterr().err.endswith("lightning-ablationcam backfill: interrupted\n")
    assert list(backfilled.records(tmp_path / "run")["heat"]) == [5, 10]


def interrupted():
    """Ctrl-C comes while the third checkpoint is loaded."""
    net = backfilled.Interrupted(6)
    net.loaded = 1
    return net


# ---- report and animate --------------------------------------------------------------------------


def test_report_writes_the_page(run_folder, tmp_path, capsys):
    run("report", run_folder, tmp_path / "report.html")
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert "ablation-cam-data" in (tmp_path / "report.html").read_text()


def test_animate_writes_one_gif_for_each_probe(run_folder, tmp_path, capsys):
    run("animate", run_folder, "--out", tmp_path)
    written = capsys.readouterr().out.split()
    assert len(written) == backfilled.OPTIONS["probes"]
    for path in written:
        with Image.open(path) as film:
            assert (film.format, film.n_frames) == ("GIF", 3)
    run("animate", run_folder, "--out", tmp_path / "one", "--probe", "01_class1", "--of", "rival")
    assert len(list((tmp_path / "one").iterdir())) == 1
    said = failed(capsys, "animate", run_folder, "--out", tmp_path, "--of", "nothing")
    assert "of='nothing' is not known; choose 'explained', 'rival'" in said
    said = failed(capsys, "animate", run_folder, "--out", tmp_path, "--probe", "x")
    assert "probe='x' is not known" in said
    said = failed(capsys, "animate", run_folder, "--out", tmp_path, "--run", "x")
    assert "run='x' is not known; choose 'run'" in said


# ---- explain -------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a cat.png")
    return tmp_path / "a cat.png"


@pytest.mark.parametrize(("words", "expected"), [((), None), (("--tolerance", 0.02), 0.02)])
def test_explain_hands_the_tolerance_on(image, tmp_path, monkeypatch, words, expected):
    asked = []

    def explained(*given, **options):
        asked.append(options["tolerance"])
        return ablation_cam(*given, **options)

    monkeypatch.setattr("lightning_ablationcam.cam.ablation_cam", explained)
    model = ["--model", "tests.test_cli:Small", "--layer", "conv", "--size", 16]
    run("explain", image, *model, "--out", tmp_path / "out", *words)
    assert asked == [expected]


def test_explain_writes_a_picture_and_numbers_of_each_file(image, tmp_path, capsys):
    model = seeded(Small(6))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    out = tmp_path / "out"
    words = ["explain", image, image, "--model", "tests.test_cli:Small", "--init.width", 6]
    words += ["--checkpoint", tmp_path / "weights.pt", "--layer", "conv", "--size", 16]
    run(*words, "--out", out, "--class", 2, "--class_names", "cat", "dog", "fish")
    text = capsys.readouterr().out
    assert "mean 0.485 0.456 0.406" in text
    assert "fish, probability" in text
    names = ["a_cat.npz", "a_cat.png", "a_cat_2.npz", "a_cat_2.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    inputs = ProbeSet.from_folder(tmp_path, 16, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).inputs
    wanted = ablation_cam(model, "conv", inputs, 2)
    with np.load(out / "a_cat.npz", allow_pickle=False) as found:
        np.testing.assert_allclose(found["heatmap"], wanted.heatmaps[0].numpy(), rtol=1e-4)
        np.testing.assert_allclose(found["weights"], wanted.weights[0].numpy(), rtol=1e-4)
        assert found["heatmap"].dtype == np.float32
        assert found["score"] == pytest.approx(wanted.scores[0].item(), rel=1e-4)
        assert found["probability"] == pytest.approx(wanted.probabilities[0].item(), rel=1e-4)
        assert (int(found["class"]), str(found["layer"])) == (2, "conv")
    with Image.open(out / "a_cat.png") as picture:
        assert picture.width >= 224


def test_explain_takes_a_lightning_checkpoint_and_says_what_is_wrong(
    image, run_folder, tmp_path, capsys
):
    checkpoint = next((run_folder / "checkpoints").glob("*.ckpt"))
    words = ["explain", image, "--size", 8, "--out", tmp_path / "out"]
    run(*words, "--model", "tests.test_cli:grey", "--checkpoint", checkpoint)
    assert len(list((tmp_path / "out").iterdir())) == 2
    other = ["--model", "tests.test_cli:Small", "--checkpoint", checkpoint]
    assert "its weights are not those of Small" in failed(capsys, *words, *other)
    small = ["--model", "tests.test_cli:Small"]
    assert "classes contains 9" in failed(capsys, *words, *small, "--class", 9)
    assert "no such file" in failed(capsys, "explain", "x.png", "--out", tmp_path, *small)
    (tmp_path / "words.png").write_text("words")
    said = failed(capsys, "explain", tmp_path / "words.png", "--out", tmp_path, *small)
    assert "is no picture" in said


def test_what_is_named_is_found_where_the_command_is_run(tmp_path, monkeypatch):
    """A console script's path begins with the folder of scripts."""
    (tmp_path / "own_nets_here.py").write_text("class Net:\n    size = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    assert imported("--module", "own_nets_here:Net").size == 3
