from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.loggers import publisher as publisher_room
from lightning_ablationcam.loggers.publisher import Publisher
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
    publisher.publish_animations([CSVLogger(tmp_path), logger], *story(), 7)
    events = EventAccumulator(publisher.places[0]).Reload()
    assert events.Tags()["images"] == ["cam_animation/p", "cam_animation/a b"]
    (image,) = events.Images("cam_animation/p")
    assert (image.step, image.encoded_image_string[:6]) == (7, b"GIF89a")


def test_animations_share_the_writers_of_the_pictures(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    publisher = Publisher("cam", "probe", "logit")
    publisher.publish([logger], *story(), 7)
    publisher.publish_animations([], *story(), 7)
    (place,) = publisher.places
    assert len(EventAccumulator(place).Reload().Tags()["images"]) == 1 + 2 + 2 + 2


def test_animations_are_brought_to_disk(monkeypatch):
    class Writer:
        takes_files = True
        done = ()

        def check_room(self):
            self.done += ("room",)

        def write_file(self, tag, file, step):
            self.done += (tag,)

        def flush(self):
            self.done += ("flush",)

    writer = Writer()
    monkeypatch.setattr(publisher_room, "tensorboard_images", lambda loggers: [writer])
    Publisher("cam", "probe", "logit").publish_animations([], *story(), 7)
    assert writer.done == ("room", "cam_animation/p", "cam_animation/a b", "flush")


def test_nothing_is_drawn_of_one_pass_or_for_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(publisher_room, "draw_animations", None)
    logger = TensorBoardLogger(tmp_path)
    Publisher("cam", "probe", "logit").publish_animations([logger], *story(passes=1), 7)
    Publisher("cam", "probe", "logit").publish_animations([CSVLogger(tmp_path)], *story(), 7)


def test_other_writers_get_no_animation(monkeypatch):
    class Writer:
        takes_files = False

        def check_room(self):
            pass

    monkeypatch.setattr(publisher_room, "draw_animations", None)
    monkeypatch.setattr(publisher_room, "tensorboard_images", lambda loggers: [Writer()])
    Publisher("cam", "probe", "logit").publish_animations([], *story(), 7)


def test_a_full_disk_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(OSError, match="only 1 MiB are free"):
        Publisher("cam", "probe", "logit").publish_animations(
            [TensorBoardLogger(tmp_path)], *story(), 7
        )
