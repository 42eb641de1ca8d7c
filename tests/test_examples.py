"""The examples and the README's snippets, run as a user runs them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from PIL import Image
from pytorch_lightning.cli import LightningCLI
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam import AblationCAMMonitor
from tests.lightning import Module, data, loaders
from tests.networks import images

ROOT = Path(__file__).parent.parent


def run(folder, script, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / script), *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_monitor_training_writes_what_it_says(tmp_path):
    said = run(
        tmp_path,
        "monitor_training.py",
        "--logdir",
        "logs",
        "--max-epochs",
        "2",
        "--accelerator",
        "cpu",
    )
    assert re.search(r"^    .*tensorboard(\.main)? --logdir logs$", said, flags=re.MULTILINE)
    (event_file,) = (tmp_path / "logs").rglob("events*")
    events = EventAccumulator(str(event_file.parent), size_guidance={"images": 0}).Reload()
    tags = events.Tags()["images"]
    for line in re.findall(r"^    (ablation_cam\S+)", said, flags=re.MULTILINE):
        prefix = line.replace("<digit>", "")
        matching = [tag for tag in tags if tag.startswith(prefix)]
        assert len(matching) == (10 if "<digit>" in line else 1)
        times = 1 if "animation" in line else 2
        assert all(len(events.Images(tag)) == times for tag in matching)


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Where the object is in the 224x224 crops (x, y, x, y), read off the pictures by eye.
OBJECTS = {
    "cat": (15, 20, 205, 215),
    "coffee": (25, 5, 165, 150),
    "rocket": (60, 60, 145, 224),
}


def test_explain_photos_finds_cat_cup_and_rocket(tmp_path, monkeypatch, capsys):
    photos, results = example("explain_photos"), []
    explained = photos.ablation_cam
    monkeypatch.setattr(
        photos, "ablation_cam", lambda *given: results.append(explained(*given)) or results[0]
    )
    monkeypatch.setattr(sys, "argv", ["explain_photos.py", "--out", str(tmp_path / "there")])
    photos.main()
    said, result = capsys.readouterr().out, results[0]
    with Image.open(tmp_path / "there" / "photos.jpg") as drawn:
        assert drawn.width > 4 * 224
        assert drawn.height > 2 * 224
    assert re.search(r"^cat: .*\bcat\b", said, flags=re.MULTILINE)
    assert re.search(r"^coffee: (espresso|cup|coffee mug)", said, flags=re.MULTILINE)
    assert re.search(r"^rocket: (missile|projectile)", said, flags=re.MULTILINE)

    drops = [float(drop) for drop in re.findall(r"average drop ([\d.]+) %$", said, re.MULTILINE)]
    assert len(drops) == 4
    assert all(drop < most for drop, most in zip(drops, (1, 36, 12, 42), strict=True)), drops

    names = list(photos.PHOTOS)
    for name, (left, top, right, bottom) in OBJECTS.items():
        heat = result.heatmaps[names.index(name)].double()
        big = torch.nn.functional.interpolate(heat[None, None], size=(224, 224))[0, 0]
        share = (big[top:bottom, left:right].sum() / big.sum()).item()
        area = (right - left) * (bottom - top) / 224**2
        # How much denser heat is on the object than beside it.
        denser = share / area / ((1 - share) / (1 - area))
        assert denser > 1.7, (name, denser)


def blocks(language):
    return re.findall(
        rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL
    )


def test_readme_snippets_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fit, share, explain, together = blocks("python")
    train, validation = loaders()
    fit = fit.replace("module, datamodule", "module, train, validation")
    fit = fit.replace('"model.layer4"', '"model.conv"').replace(
        "max_epochs=3", "max_epochs=1, enable_progress_bar=False, log_every_n_steps=1"
    )
    names = {"val_set": data(8), "module": Module(), "train": train, "validation": validation}
    exec(fit, names)
    assert len(names["monitor"].history.passes) == 1
    exec(share, names)
    assert "Ablation-CAM" in (tmp_path / "report.html").read_text()
    assert len(list((tmp_path / "animations").glob("*.gif"))) == len(names["probes"])
    names = {"model": Module().model, "images": images()}
    exec(explain.replace('"layer4"', '"conv"'), names)
    assert torch.isfinite(names["result"].heatmaps).all()
    exec(
        together.replace('"layer4"', '"conv"').replace('"layer3"', '"conv"').replace("32", "2"),
        names,
    )
    assert "together" in capsys.readouterr().out
    assert set(names["groups"].tolist()) == {0, 1}


def test_readme_yaml_builds_the_monitor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "pictures" / "one.png")
    (config,) = blocks("yaml")
    (tmp_path / "config.yaml").write_text(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's own use of its parser.
        cli = LightningCLI(
            Module,
            args=["--config", "config.yaml"],
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
        )
    monitor = next(c for c in cli.trainer.callbacks if isinstance(c, AblationCAMMonitor))
    assert (monitor.target_layer, monitor.classes) == ("model.layer4", "predicted")
    assert monitor.probes.names == ["one"]
    assert monitor.probes.inputs.shape == (1, 3, 224, 224)


def test_readme_has_two_commands_and_its_pictures():
    commands = [line for block in blocks("bash") for line in block.strip().splitlines()]
    assert "examples/monitor_training.py" in commands[0]
    assert commands[1].endswith("-m pytest")
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / picture).is_file()
