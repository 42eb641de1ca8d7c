"""The examples and the README's snippets, run as a user runs them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam import Alarm, ablation_cam
from tests.documents import blocks_of
from tests.lightning import Module, data, from_yaml, loaders
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
    return done


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
    ).stdout
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


def test_catch_a_shortcut_rings_for_the_tag_and_not_without_it(tmp_path):
    done = run(tmp_path, "catch_a_shortcut.py", "--logdir", "logs")
    (told,) = re.findall(r"^ablation_cam: alarm .*$", done.stderr, flags=re.MULTILINE)
    assert re.search(r"mean border_heat is 0\.\d+, above 0\.5, for 3 passes in a row", told)
    assert re.search(r"beyond: portrait \d \(0\.\d+\)", told)

    seen = r" +(\d+)% +(\d+)% *(rings|)"
    rows = re.findall(rf"^ +(\d+){seen}{seen}$", done.stdout, flags=re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(1, 16))
    tagged, clean = ([row[1 + at : 4 + at] for row in rows] for at in (0, 3))
    rings = [alarm == "rings" for _, _, alarm in tagged]
    assert not any(rings[:2])
    assert all(rings[10:])
    assert not any(alarm for _, _, alarm in clean)
    # While all looks perfect, more of the heat is on the border than even heat has; of the twin's
    # heat less.
    assert tagged[-1][0] == "100"
    assert int(tagged[-1][1]) > 55
    assert int(clean[-1][1]) < 36

    said = dict(re.findall(r"^(tagged|clean) +(\d+% +\d+%)$", done.stdout, flags=re.MULTILINE))
    with_tag, without = (int(share) for share in re.findall(r"\d+", said["tagged"]))
    assert (with_tag, without) == (100, pytest.approx(50, abs=10))
    assert all(int(share) > 80 for share in re.findall(r"\d+", said["clean"]))

    for name, expected in (("tagged", rings), ("clean", [False] * 15)):
        (event_file,) = (tmp_path / "logs" / name).rglob("events*")
        events = EventAccumulator(str(event_file.parent)).Reload()
        scalars = events.Scalars("ablation_cam/alarm_border_heat")
        assert [scalar.value == 1 for scalar in scalars] == expected
    assert re.search(r"^    .*tensorboard(\.main)? --logdir logs$", done.stdout, re.MULTILINE)
    assert (ROOT / "examples" / "pictures" / "shortcut.jpg").stat().st_size < 150_000
    with Image.open(tmp_path / "logs" / "shortcut.jpg") as drawn:
        assert drawn.width > 6 * 224
        assert drawn.height > 4 * 224


def test_finetune_photos_moves_heat_off_the_things_where_all_layers_are_trained(tmp_path):
    said = run(tmp_path, "finetune_photos.py", "--logdir", "logs", "--max-epochs", "2").stdout
    rows = re.findall(r"^ +[12] +(\d+)% +(\d+)% +(\d+)% +(\d+)%$", said, flags=re.MULTILINE)
    assert len(rows) == 2
    of_all, heat_of_all, of_last, heat_of_last = (int(share) for share in rows[-1])
    assert (of_all, of_last) == (100, 100)
    assert heat_of_all < heat_of_last - 8
    found = re.findall(r"^(?:all layers|last layer) +(\d+)% +(\d+)%$", said, flags=re.MULTILINE)
    assert [as_they_are for as_they_are, _ in found] == ["100", "100"]
    assert all(int(elsewhere) > 60 for _, elsewhere in found)
    assert re.search(r"^    .*tensorboard(\.main)? --logdir logs$", said, re.MULTILINE)
    for name in ("all_layers", "last_layer"):
        (event_file,) = (tmp_path / "logs" / name).rglob("events*")
        events = EventAccumulator(str(event_file.parent)).Reload()
        assert len(events.Scalars("ablation_cam/mask_heat")) == 2


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


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """Runs an example: the module, what it said, its results and its picture."""

    def run_it(name, picture, *arguments, most_bytes=150_000):
        monkeypatch.syspath_prepend(ROOT / "examples")
        module, results = example(name), []
        explained = module.ablation_cam

        def ablation_cam(*given, **named):
            results.append(explained(*given, **named))
            return results[-1]

        monkeypatch.setattr(module, "ablation_cam", ablation_cam)
        monkeypatch.setattr(
            sys, "argv", [f"{name}.py", "--out", str(tmp_path / "there"), *arguments]
        )
        module.main()
        said = capsys.readouterr().out
        assert f"wrote {tmp_path / 'there' / picture}" in said
        assert (ROOT / "examples" / "pictures" / picture).stat().st_size < most_bytes
        with Image.open(tmp_path / "there" / picture) as drawn:
            return module, said, results, drawn.size

    return run_it


def density(heat, left, top, right, bottom):
    """How much denser heat is in a box, in shares of the sides, than beside it."""
    big = torch.nn.functional.interpolate(heat[None, None].double(), size=(224, 224))[0, 0]
    rows, columns = (
        slice(round(224 * top), round(224 * bottom)),
        slice(round(224 * left), round(224 * right)),
    )
    share = (big[rows, columns].sum() / big.sum()).item()
    area = big[rows, columns].numel() / big.numel()
    return share / area / ((1 - share) / (1 - area))


def test_explain_photos_finds_cat_cup_and_rocket(ran):
    photos, said, (result,), (width, height) = ran("explain_photos", "photos.jpg")
    assert width > 4 * 224
    assert height > 2 * 224
    assert re.search(r"^cat: .*\bcat\b", said, flags=re.MULTILINE)
    assert re.search(r"^coffee: (espresso|cup|coffee mug)", said, flags=re.MULTILINE)
    assert re.search(r"^rocket: (missile|projectile)", said, flags=re.MULTILINE)

    drops = [float(drop) for drop in re.findall(r"average drop ([\d.]+) %$", said, re.MULTILINE)]
    assert len(drops) == 4
    assert all(drop < most for drop, most in zip(drops, (1, 36, 12, 42), strict=True)), drops

    names = list(photos.PHOTOS)
    for name, box in OBJECTS.items():
        denser = density(result.heatmaps[names.index(name)], *(side / 224 for side in box))
        assert denser > 1.7, (name, denser)


def test_segment_photo_explains_regions(ran):
    segment, said, (predicted, asked), (width, height) = ran("segment_photo", "regions.jpg")
    assert width > 2 * 224
    assert height > 4 * 149
    assert predicted.task == asked.task == "segmentation"
    found = re.findall(r"^(\w+) +(\w+) +(.+?) +(\d+)% +(\d+)% +(\d+)%$", said, flags=re.MULTILINE)
    assert [row[:3] for row in found] == [
        ("cat", "predicted", "Egyptian cat"),
        ("coffee", "predicted", "espresso"),
        ("coffee", "given", "espresso"),
        ("coffee", "given", "dining table"),
    ]
    cat, coffee, saucer, table = [[int(number) for number in row[3:]] for row in found]
    assert cat[2] > 90
    assert coffee[2] > 80
    # Heat is denser in the rectangles than elsewhere, though most of it is outside of them.
    assert all(share > 1.5 * area for area, _, share in (saucer, table)), said
    assert predicted.regions[0].shape == asked.regions[0].shape == segment.SIZE[::-1]
    # The cup has a fifth of the picture and a third of the heat, and is where it is hottest.
    heat = predicted.heatmaps[1]
    assert density(heat, 0.28, 0.05, 0.68, 0.5) > 2
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    assert row < 5
    assert 4 < column < 10


def test_several_labels_are_on_their_own_halves(ran):
    _, said, (result,), (width, height) = ran("several_labels", "labels.jpg")
    assert width > 4 * 224
    assert height > 2 * 134
    assert result.task == "multilabel"
    assert bool((result.probabilities > 0.7).all())
    found = re.findall(r"^(.+?) +(tiger cat|espresso|missile) +(\d+)% +(\d+)%$", said, re.MULTILINE)
    assert [row[:2] for row in found] == [
        ("cat and coffee", "tiger cat"),
        ("cat and coffee", "espresso"),
        ("rocket and coffee", "espresso"),
        ("rocket and coffee", "missile"),
    ]
    for _, label, left, right in found:
        assert int(right if label == "espresso" else left) > 75, said


def test_explain_captions_finds_helmet_and_shuttle(ran):
    captions, said, (result, own), (width, height) = ran("explain_captions", "captions.jpg")
    assert width > 4 * 224
    assert height > 2 * 224
    assert result.task == own.task == "similarity"
    helmet, shuttle, cat, itself = (
        float(number) for number in re.findall(r"(-?\d\.\d\d) +\d+%$", said, re.MULTILINE)
    )
    assert itself == 1 > helmet > shuttle > 0 > cat
    assert captions.CAPTIONS[:2] == ["a helmet", "the shuttle"]
    # Read off the photograph by eye.
    assert density(result.heatmaps[0], 0.58, 0.6, 1, 1) > 4
    assert density(result.heatmaps[1], 0.7, 0, 1, 0.6) > 4


def test_compare_depths_draws_finer_maps_and_says_what_they_cost(ran):
    depths, said, results, (width, height) = ran(
        "compare_depths", "depths.jpg", "--rounds", "1", most_bytes=250_000
    )
    assert width > 5 * depths.TILE
    assert height > 4 * depths.TILE
    found = re.findall(r"^(\S+) +(\d+x\d+)? +(\d+\.\d) forward passes$", said, re.MULTILINE)
    sides = ["7x7", "14x14", "28x28"]
    assert [row[:2] for row in found] == [*zip(depths.LAYERS, sides, strict=True), ("together", "")]
    assert all(float(price) > 0 for *_, price in found)
    # What is drawn is what each layer gives alone, and every call of the measurement says the same.
    together, *alone, again = results
    for each, single, other in zip(together.layers, alone, again.layers, strict=True):
        assert each.layer == single.layer == other.layer
        assert each.engine == "propagate"
        most = float(each.heatmaps.max())
        torch.testing.assert_close(each.heatmaps, single.heatmaps, rtol=0, atol=1e-3 * most)
    # The 7x7 map says that it is the cup; the fused one is denser on it too, read off by eye.
    fused = together.fused()
    assert fused.shape == (4, 28, 28)
    for name, box in (("coffee", OBJECTS["coffee"]), ("rocket", OBJECTS["rocket"])):
        place = ["cat", "astronaut", "coffee", "rocket"].index(name)
        assert density(fused[place], *(side / 224 for side in box)) > 1.7, name


@pytest.mark.filterwarnings("ignore")
def test_compare_methods_compares_maps_of_one_value(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pytorch_grad_cam", exc_type=ImportError)
    pytest.importorskip("torchcam")
    monkeypatch.syspath_prepend(ROOT / "examples")
    compare = example("compare_methods")
    there = ["--out", str(tmp_path / "there")]
    few = [
        "--photos",
        "2",
        "--steps",
        "2",
        "--methods",
        "ours: logit",
        "Grad",
        "Layer",
        "no method",
    ]
    monkeypatch.setattr(sys, "argv", ["compare_methods.py", *few, *there])
    compare.main()
    said = capsys.readouterr().out
    assert re.search(r"^chelsea, left: .*\bcat \(\d+%\)$", said, flags=re.MULTILINE)
    markdown = (tmp_path / "there" / "methods.md").read_text()
    assert markdown in said
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines()]
    heading, _, *lines = lines
    assert heading[2:] == [name.replace("_", " ") for name in compare.MEASURES]
    shown = {name: [float(cell) for cell in cells[1:]] for name, *cells in lines}
    found = torch.load(tmp_path / "there" / "methods.pt")
    assert list(shown) == list(found)
    assert not set(found) & set(compare.SLOW)
    for name, (_, _, values) in found.items():
        assert shown[name] == pytest.approx((100 * values.mean(dim=0)).tolist(), abs=0.051), name
    # What is left as it is loses and gains nothing.
    assert shown["no method: even"][:3] == [0, 0, 0]

    # What the definitions make of the value that ours is of, for a class score that is linear in
    # that value's means: every peer hooks the same value, and its maps are neither stretched nor
    # enlarged.
    images = torch.stack(
        [
            torch.from_numpy(np.array(crop)).permute(2, 0, 1) / 255
            for crop in list(compare.photographs().values())[:2]
        ]
    )
    images = (images - compare.MEAN) / compare.STD
    network = compare.Cut().eval()
    own = ablation_cam(network.features.whole, "auto", images)
    gradients = network.head[-1].weight[own.classes].detach()[:, :, None, None] / 49
    expected = {
        "ours: logit, zero (default)": own.heatmaps,
        "GradCAM": (gradients * own.channel_maps).sum(dim=1).relu(),
        "AblationCAM": own.heatmaps,
        "LayerCAM": (gradients.relu() * own.channel_maps).sum(dim=1),
    }
    for name, (maps, cost, _) in found.items():
        wanted = expected.get(name, expected.get(name.split(": ")[1]))
        assert maps.shape == (2, 7, 7)
        assert cost > 0
        if wanted is not None:
            torch.testing.assert_close(maps, wanted, rtol=1e-4, atol=1e-5 * float(wanted.max()))
    assert {name.split(": ")[0] for name in found} == {
        "ours", "pytorch-grad-cam", "torchcam", "no method"
    }  # fmt: skip

    # One that is kept is not made again.
    monkeypatch.setattr(compare, "timed", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(sys, "argv", ["compare_methods.py", *few, *there, "--resume"])
    compare.main()
    assert markdown in capsys.readouterr().out
    with Image.open(tmp_path / "there" / "methods.jpg") as drawn:
        assert drawn.width > 5 * compare.TILE
    assert (ROOT / "examples" / "pictures" / "methods.jpg").stat().st_size < 250_000


def blocks(language):
    return blocks_of(ROOT / "README.md", language)


def test_readme_snippets_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fit, alarm, share, explain, check, together = blocks("python")
    train, validation = loaders()
    fit = fit.replace("module, datamodule", "module, train, validation")
    fit = fit.replace('"model.layer4"', '"model.conv"').replace(
        "max_epochs=3", "max_epochs=1, enable_progress_bar=False, log_every_n_steps=1"
    )
    names = {"val_set": data(8), "module": Module(), "train": train, "validation": validation}
    exec(fit, names)
    assert len(names["monitor"].history.passes) == 1
    exec(alarm, dict(names))
    exec(share, names)
    assert "Ablation-CAM" in (tmp_path / "report.html").read_text()
    assert len(list((tmp_path / "animations").glob("*.gif"))) == len(names["probes"])
    names = {"model": Module().model, "images": images()}
    exec(explain.replace('"layer4"', '"conv"'), names)
    assert torch.isfinite(names["result"].heatmaps).all()
    exec(check.replace('"layer4"', '"conv"'), names)
    assert "maps follow the parameters" in capsys.readouterr().out
    exec(
        together.replace('"layer4"', '"conv"').replace('"layer3"', '"conv"').replace("32", "2"),
        names,
    )
    assert "together" in capsys.readouterr().out
    assert set(names["groups"].tolist()) == {0, 1}


def test_readme_yaml_builds_the_monitor(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "pictures" / "one.png")
    (config,) = blocks("yaml")
    monitor = from_yaml(tmp_path, monkeypatch, config)
    assert (monitor.target_layer, monitor.classes) == ("model.layer4", "predicted")
    assert monitor.probes.names == ["one"]
    assert monitor.measuring.alarms == (Alarm("border_heat", above=0.5, for_passes=3),)
    assert monitor.probes.inputs.shape == (1, 3, 224, 224)


def test_readme_has_two_commands_and_its_pictures():
    commands = [line for block in blocks("bash") for line in block.strip().splitlines()]
    assert "examples/monitor_training.py" in commands[0]
    assert " -m pytest" in commands[1]
