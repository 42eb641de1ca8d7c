from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.outputs import publisher as publisher_room
from lightning_ablationcam.outputs.outlets import Outlet
from lightning_ablationcam.outputs.publisher import Publisher
from lightning_ablationcam.run.history import History, Pass


def story(passes=3, names=("p", "a\nb")):
    probes = ProbeSet(torch.rand(len(names), 1, 8, 8), names=list(names))
    history = History()
    for step in range(passes):
        heat = np.full((len(names), 2, 2), step + 1, np.float32)
        classes, scores = np.zeros(len(names), np.int64), np.ones(len(names))
        history.append(Pass(step, step, "conv", heat, classes, scores))
    return probes, history


def test_animations_under_tags_of_their_own(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    publisher = Publisher("cam", "probe", "logit")
    publisher.finish([logger], *story(), 7)
    events = EventAccumulator(publisher.places[0]).Reload()
    assert {"cam_animation/p", "cam_animation/a b"} <= set(events.Tags()["images"])
    (image,) = events.Images("cam_animation/p")
    assert (image.step, image.encoded_image_string[:6]) == (7, b"GIF89a")


def test_animations_share_the_writers_of_the_pictures(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    publisher = Publisher("cam", "probe", "logit")
    publisher.publish([logger], *story(), 7)
    publisher.finish([], *story(), 7)
    (place,) = publisher.places
    assert len(EventAccumulator(place).Reload().Tags()["images"]) == 1 + 2 + 2 + 2


class Pictures:
    """A backend that takes only pictures, and notes its calls."""

    place = "there"

    def __init__(self):
        self.done = []

    def spelled(self, names):
        return [name.encode().hex() for name in names]

    def check_room(self):
        self.done.append("room")

    def write_picture(self, kind, name, picture, step):
        self.done.append((kind, bytes.fromhex(name).decode(), step))

    def flush(self):
        self.done.append("flush")


class Films(Pictures):
    def write_animation(self, name, animation, step):
        self.done.append((animation[:6], bytes.fromhex(name).decode(), step))


def publisher_to(monkeypatch, *backends):
    outlets = [Outlet("logger", lambda backend=backend: backend) for backend in backends]
    monkeypatch.setattr(publisher_room, "outlets_of", lambda loggers, tag, files_in: outlets)
    return Publisher("cam", "probe", "logit")


def test_animations_are_brought_to_disk(monkeypatch):
    films = Films()
    publisher_to(monkeypatch, films).finish([], *story(), 7)
    strips = [("evolution", name, 7) for name in ("p", "a\nb")]
    gifs = [(b"GIF89a", name, 7) for name in ("p", "a\nb")]
    assert films.done == ["room", *strips, *gifs, "flush"]


def test_a_backend_gets_what_it_takes(monkeypatch):
    pictures, films = Pictures(), Films()
    publisher = publisher_to(monkeypatch, pictures, films)
    publisher.publish([], *story(), 7)
    drawn = [(kind, name, 7) for kind in ("probes", "evolution") for name in ("p", "a\nb")]
    told = ["room", ("overview", "", 7), *drawn, "flush"]
    assert pictures.done == films.done == told
    publisher.finish([], *story(), 8)
    assert pictures.done[len(told) :] == ["room", "flush"]
    assert len(films.done) == len(told) + 4
    assert publisher.places == ["there", "there"]


def test_strips_are_drawn_where_they_gain_much_and_in_the_end(monkeypatch):
    pictures = Pictures()
    publisher = publisher_to(monkeypatch, pictures)
    for passes in range(1, 12):
        publisher.publish([], *story(passes, ["p"]), passes)
    publisher.finish([], *story(11, ["p"]), 11)
    strips = [step for kind, _, step in filter(is_picture, pictures.done) if kind == "evolution"]
    assert strips == [1, 2, 4, 8, 11]


def is_picture(done):
    return isinstance(done, tuple)


def test_without_pictures_there_are_the_records_alone(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    publisher = Publisher("cam", "map", "logit", pictures=False)
    publisher.publish([logger], *story(), 7)
    publisher.finish([logger], *story(), 7)
    tags = EventAccumulator(logger.log_dir).Reload().Tags()
    assert tags["images"] == []
    assert tags["tensors"] == ["cam/probes", "cam/heat", "custom_scalars__config__"]


def test_nothing_is_drawn_of_one_pass_or_for_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(publisher_room, "draw_animations", None)
    logger = TensorBoardLogger(tmp_path)
    Publisher("cam", "probe", "logit").finish([logger], *story(passes=1), 7)
    publisher_to(monkeypatch, Pictures()).finish([], *story(), 7)


def test_a_csv_logger_gets_files(tmp_path):
    logger = CSVLogger(tmp_path)
    publisher = Publisher("cam/mine", "probe", "logit")
    for passes in (1, 2, 3):
        publisher.publish([logger], *story(passes), 10 * passes)
    publisher.finish([logger], *story(), 30)
    assert publisher.places == [logger.log_dir]
    place = Path(logger.log_dir) / "cam_mine"
    steps = ["00000010.jpg", "00000020.jpg", "00000030.jpg"]
    expected = [f"overview/{step}" for step in steps]
    for name in ("p", "a_b"):
        expected += [f"evolution/{name}.jpg", f"animation/{name}.gif"]
        expected += [f"probes/{name}/{step}" for step in steps]
    found = [file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file()]
    (events,) = [file for file in found if file.startswith("events.out.tfevents.")]
    assert sorted(found) == sorted([*expected, "heatmaps.npz", "report.html", events])
    for file in [*place.rglob("*.jpg"), *place.rglob("*.gif")]:
        with Image.open(file) as opened:
            assert opened.format == {".jpg": "JPEG", ".gif": "GIF"}[file.suffix]


def test_a_full_disk_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    publisher = Publisher("cam", "probe", "logit")
    (fault,) = publisher.finish([TensorBoardLogger(tmp_path)], *story(), 7)
    assert fault.called == "TensorBoardLogger"
    with pytest.raises(OSError, match="only 1 MiB are free"):
        raise fault.error
