"""The recipes run as they stand, what they say holds, and links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningDataModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lightning_ablationcam
from lightning_ablationcam import AblationCAMMonitor, AblationResult, ProbeSet, ablation_cam
from lightning_ablationcam.cli import main
from lightning_ablationcam.engine.rules import RULES
from lightning_ablationcam.outputs import loggers as loggers_of_ours
from tests import backfilled
from tests.documents import DOCUMENTS, ROOT, anchor, blocks_in, blocks_of, rows_of, sections_of
from tests.lightning import Module, data, loaders, trainer
from tests.networks import images, seeded

RECIPES = ROOT / "examples" / "README.md"
DETAILS = ROOT / "examples" / "details.md"


class Data(LightningDataModule):
    def train_dataloader(self):
        return loaders()[0]

    def val_dataloader(self):
        return loaders()[1]


class Decoder(nn.Module):
    """A class index for each place of a picture."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        return self.head(self.decoder(x))


class Layers(nn.Module):
    """With the names that networks in the documents have."""

    def __init__(self):
        super().__init__()
        self.layer3 = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Conv2d(6, 6, 3, stride=2), nn.ReLU())
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(self.layer4(self.layer3(x)).mean(dim=(2, 3)))


QUIET = "enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, "


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Runs the code of a recipe, with names and with other text for what it says."""
    monkeypatch.chdir(tmp_path)

    def run(heading, names, *changes):
        (code,) = blocks_in(sections_of(RECIPES)[heading], "python")
        for before, after in changes:
            assert before in code, before
            code = code.replace(before, after)
        exec(code.replace("Trainer(", f"Trainer({QUIET}"), names)
        return names

    return run


def fitted(names):
    """What a monitor of a recipe makes of a fit."""
    module = names.get("module", Module())
    settings = {"max_epochs": 1, "enable_progress_bar": False, "log_every_n_steps": 1}
    fit = Trainer(callbacks=[names["monitor"]], enable_model_summary=False, **settings)
    fit.fit(module, names.get("datamodule", Data()))
    return names["monitor"]


def test_fine_tuning(recipe):
    names = {"module": Module(), "datamodule": Data(), "val_set": data(8)}
    done = recipe("Fine-tuning", names, ("max_epochs=10", "max_epochs=2"))
    # Twice an epoch.
    assert len(done["monitor"].history.passes) == 4
    assert done["best"].best_model_score is not None
    said = sections_of(RECIPES)["Fine-tuning"]
    finer = re.search(r"`(target_layer=\[.*?\], tolerance=0\.02)`", said)[1]
    layers = eval(f"dict({finer})")
    assert AblationCAMMonitor(**layers).target_layer == ["model.layer4", "model.layer3"]


def test_timm(recipe):
    pytest.importorskip("timm")
    names = {"images": torch.randn(2, 3, 64, 64)}
    done = recipe("timm", names, ("pretrained=True", "pretrained=False"))
    (said,) = re.findall(r'^result\.layer  # "(.*?)"', sections_of(RECIPES)["timm"], re.MULTILINE)
    assert done["result"].layer == said
    assert done["result"].engine == "propagate"


def test_hugging_face(recipe):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        image_size=32, patch_size=8, num_labels=3, id2label={0: "cat", 1: "dog", 2: "sofa"},
    )  # fmt: skip
    names = {"config": config, "images": torch.randn(2, 3, 32, 32)}
    done = recipe(
        "Hugging Face",
        names,
        ('from_pretrained("google/vit-base-patch16-224")', "from_config(config)"),
    )
    assert done["result"].heatmaps.shape == (2, 4, 4)
    assert set(done["names"]) <= {"cat", "dog", "sofa"}

    class Holds(Module):
        def training_step(self, batch):
            return F.cross_entropy(self(batch[0]).logits, batch[1] % 3)

        def validation_step(self, batch):
            self.log("val_loss", F.cross_entropy(self(batch[0]).logits, batch[1] % 3))

    code = re.search(r"`(forward=lambda .*?)`", sections_of(RECIPES)["Hugging Face"])[1]
    called = AblationCAMMonitor(
        probes=ProbeSet(names["images"]), classes=0, **eval(f"dict({code})")
    )
    plain = AblationCAMMonitor(probes=ProbeSet(names["images"]), classes=0)
    for monitor in (called, plain):
        torch.manual_seed(0)
        module = Holds(
            seeded(transformers.AutoModelForImageClassification.from_config(config)).train()
        )

        class Pictures(LightningDataModule):
            def train_dataloader(self):
                return DataLoader(TensorDataset(names["images"], torch.arange(2)))

            val_dataloader = train_dataloader

        fitted({"monitor": monitor, "module": module, "datamodule": Pictures()})
        assert monitor.result is not None
    assert torch.equal(called.result.heatmaps, plain.result.heatmaps)


class OfMaps(Module):
    def training_step(self, batch):
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))


def test_segmentation(recipe):
    maps = torch.zeros(8, 12, 12, dtype=torch.long)
    maps[:, 3:9, 3:9] = 1
    places = TensorDataset(torch.rand(8, 3, 12, 12), maps)

    class Places(LightningDataModule):
        def train_dataloader(self):
            return DataLoader(places, batch_size=4)

        val_dataloader = train_dataloader

    names = recipe("Segmentation", {"val_set": places})
    monitor = fitted({**names, "module": OfMaps(seeded(Decoder()).train()), "datamodule": Places()})
    assert monitor.result.task == "segmentation"
    assert set(monitor.result.classes.tolist()) == {1}
    assert bool(monitor.result.regions[:, 4:8, 4:8].all())


def test_several_labels(recipe):
    names = recipe("Several labels", {"images": images(2)})
    monitor = fitted(names)
    assert monitor.result.task == "multilabel"
    assert monitor.result.classes.tolist() == [0, 1]
    further = next(each for each in monitor.result.also if each.role == "label 2")
    assert further.classes.tolist() == [2, -1]


SCRIPT = """
from tests.lightning import Module
from tests.test_documents import Data

if __name__ == "__main__":
    module, datamodule = Module(), Data()
    {code}
    (monitor,) = (each for each in trainer.callbacks if isinstance(each, AblationCAMMonitor))
    if trainer.is_global_zero:
        print("passes", len(monitor.history.passes), "of", trainer.world_size)
"""


def test_several_processes(tmp_path):
    (code,) = blocks_in(sections_of(RECIPES)["Several processes"], "python")
    for before, after in (('"gpu"', '"cpu"'), ("devices=4", "devices=2, max_epochs=1")):
        assert before in code
        code = code.replace(before, after)
    code = code.replace("Trainer(", f"Trainer({QUIET}")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(code=code.replace("\n", "\n    ")))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "passes 1 of 2" in done.stdout


def test_sweeps(recipe, tmp_path):
    made = []

    def make_module(width):
        made.append(width)
        return Module()

    recipe("Sweeps", {"val_set": data(8), "make_module": make_module, "datamodule": Data()})
    assert made == [8, 16]
    report = (tmp_path / "sweep.html").read_text()
    assert "width 8" in report
    assert "width 16" in report


def test_numbers_and_maps(recipe, tmp_path, monkeypatch):
    class Frame(dict):
        def __init__(self, columns):
            super().__init__(columns)
            assert len({len(column) for column in columns.values()}) == 1

    pandas = type(sys)("pandas")
    pandas.DataFrame = Frame
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    monitor = fitted({"monitor": AblationCAMMonitor(probes=2)})
    names = recipe("Numbers and maps, to go on with", {"monitor": monitor})
    assert names["table"]["probe"]
    with np.load(tmp_path / "newest.npz") as file:
        np.testing.assert_array_equal(file["heatmaps"], monitor.result.heatmaps.numpy())
    again = eval(re.search(r"`(AblationResult\.load.*?)`", RECIPES.read_text())[1])
    assert torch.equal(again.drops, monitor.result.drops)
    assert isinstance(again, AblationResult)


# Coming from other packages ----------------------------------------------------------------------

MOVES = rows_of(sections_of(RECIPES)["Coming from other packages"])


def network():
    return seeded(Layers()).eval()


@pytest.mark.parametrize(("there", "here"), MOVES, ids=[there for there, _ in MOVES])
def test_what_is_called_here_runs(there, here):
    if here.startswith("nothing"):
        return
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    names = {**vars(lightning_ablationcam), "ablation_cam": ablation_cam, "F": F, "class_idx": 2}
    names["AblationCAMMonitor"] = AblationCAMMonitor
    names.update(model=network(), images=torch.rand(2, 3, 20, 20), pictures=pixels)
    found = eval(here.strip("`"), names)
    assert found is not None
    if "interpolate" in here:
        assert found.shape == (2, 1, 224, 224)


def test_it_is_what_ablation_cam_of_pytorch_grad_cam_gives():
    grad_cam = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError)
    model, pictures = network(), torch.rand(2, 3, 20, 20)
    with grad_cam.AblationCAM(model, [model.layer4]) as theirs:
        expected = torch.from_numpy(theirs(pictures, targets=None))
    (code,) = blocks_in(sections_of(RECIPES)["Coming from other packages"], "python")
    names = {"ablation_cam": ablation_cam, "model": model, "images": pictures}
    exec(code, names)
    enlarged = between_0_and_1(
        F.interpolate(between_0_and_1(names["maps"])[:, None], (20, 20), mode="bilinear")[:, 0]
    )
    assert (enlarged - expected).abs().max() < 1e-4


def between_0_and_1(maps):
    maps = maps - maps.amin(dim=(1, 2), keepdim=True)
    return maps / maps.amax(dim=(1, 2), keepdim=True)


# The command line --------------------------------------------------------------------------------


def test_the_commands_of_the_readme_run(tmp_path, monkeypatch, capsys):
    """In the order in which they stand, after a training that kept its checkpoints."""
    monkeypatch.chdir(tmp_path)
    for name in ("nets", "data"):
        monkeypatch.setitem(sys.modules, name, backfilled)
    Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 9).convert("RGB").save("photo.jpg")
    monitor = AblationCAMMonitor("features", probes=2)
    kept = ModelCheckpoint("checkpoints", save_top_k=-1, save_on_train_epoch_end=True)
    logger = TensorBoardLogger("lightning_logs", name=None)
    seed_everything(1)
    trainer(tmp_path, monitor, kept, logger=logger, enable_checkpointing=True, max_epochs=2).fit(
        backfilled.Net(), backfilled.Digits()
    )
    (block,) = (one for one in blocks_of(ROOT / "README.md", "bash") if "doctor" in one)
    for line in block.splitlines():
        program, *words = line.split()
        assert program == "lightning-ablationcam"
        assert main(words) == 0, capsys.readouterr()
    assert "2 passes written to runs/backfill" in capsys.readouterr().out
    assert sorted(path.suffix for path in Path("explained").iterdir()) == [".npz", ".png"]
    assert "Ablation-CAM" in Path("report.html").read_text()
    assert len(list(Path("animations").rglob("*.gif"))) == 2


# Rules and links ---------------------------------------------------------------------------------


class Below(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.conv(x).relu().tril().mean(dim=(2, 3)))


def test_a_rule_is_added_as_the_details_say(monkeypatch):
    (code,) = blocks_in(sections_of(DETAILS)["Add a rule"], "python")
    monkeypatch.setattr(RULES, "of_owners", dict(RULES.of_owners))
    model, pictures = seeded(Below()).eval(), torch.rand(2, 3, 10, 10)
    expected = ablation_cam(model, "conv", pictures, engine="replay")
    exec(code, {})
    tril = torch.ops.aten.tril.default
    asked = []
    ruled = RULES.of_owners[tril]
    RULES.of_owners[tril] = lambda bound: asked.append(bound) or ruled(bound)
    found = ablation_cam(model, "conv", pictures, engine="propagate")
    assert asked
    torch.testing.assert_close(found.drops, expected.drops)


class AimLogger(Logger):
    """Keeps what is tracked."""

    name, version = "aim", "0"

    def __init__(self):
        super().__init__()
        self.tracked = {}

    @property
    def experiment(self):
        return self

    def track(self, content, name, step):
        self.tracked[name, step] = content

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params):
        pass


def test_a_logger_is_added_as_the_details_say(monkeypatch, tmp_path):
    (code,) = blocks_in(sections_of(DETAILS)["Add a logger"], "python")
    monkeypatch.setattr(loggers_of_ours, "BACKENDS", dict(loggers_of_ours.BACKENDS))
    exec(code, {})
    logger = AimLogger()
    monitor = AblationCAMMonitor(probes=2)
    trainer(tmp_path, monitor, logger=logger, max_epochs=2).fit(Module(), Data())
    ends = {name.split("/")[0] for name, _ in logger.tracked}
    assert ends == {
        "ablation_cam", "ablation_cam_probes", "ablation_cam_evolution", "ablation_cam_animation",
    }  # fmt: skip
    assert b"Ablation-CAM" in logger.tracked["ablation_cam/report", 10]
    assert not [path for path in tmp_path.rglob("*") if "ablation_cam" in path.name]


LINKS = [
    (document, link)
    for document in DOCUMENTS
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text())
]


@pytest.mark.parametrize(
    ("document", "link"), LINKS, ids=[f"{document.name} {link}" for document, link in LINKS]
)
def test_links_lead_somewhere(document, link):
    if link.startswith("https://"):
        return
    path, _, heading = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    assert target.exists()
    if heading:
        assert heading in {anchor(one) for one in sections_of(target)}


def test_every_block_of_the_recipes_is_run():
    headings = [name for name, text in sections_of(RECIPES).items() if blocks_in(text, "python")]
    assert headings == [
        "Fine-tuning",
        "timm",
        "Hugging Face",
        "Segmentation",
        "Several labels",
        "Several processes",
        "Sweeps",
        "Numbers and maps, to go on with",
        "Coming from other packages",
    ]
    assert len(blocks_of(RECIPES, "python")) == len(headings)
