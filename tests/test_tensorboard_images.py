from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.loggers.logger import DummyLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import img_mime_type_detector

from lightning_ablationcam.outputs.backend import TakesAnimations, TakesRecords
from lightning_ablationcam.outputs.folder import Folder
from lightning_ablationcam.outputs.loggers import needs_files, outlets_of, unknown_loggers
from lightning_ablationcam.outputs.tensorboard import TensorBoard, tag_names
from lightning_ablationcam.render import encode_gif


def backends_of(loggers, tag, files_in=None):
    return [outlet.make() for outlet in outlets_of(loggers, tag, files_in)]


def test_pictures_are_read_back_as_written(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    (board,) = backends_of([logger], "cam")
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 32:] = 200
    board.write_picture("probes", "cat", picture, 7)
    board.write_picture("overview", "", picture, 7)
    board.flush()
    events = EventAccumulator(board.place).Reload()
    assert events.Tags()["images"] == ["cam_probes/cat", "cam/overview"]
    (image,) = events.Images("cam_probes/cat")
    assert (image.step, image.height, image.width) == (7, 40, 60)
    read = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert np.abs(read.astype(int) - picture).max() < 12


def test_loggers_that_have_a_backend(tmp_path):
    class Other:
        pass

    board, table = TensorBoardLogger(tmp_path), CSVLogger(tmp_path)
    backends = backends_of([Other(), table, board], "cam", tmp_path)
    assert [type(each) for each in backends] == [Folder, TensorBoard]
    assert not needs_files([Other(), board])
    assert not needs_files([table])
    assert needs_files([Other()])
    assert needs_files([])
    assert unknown_loggers([Other(), board, Other(), DummyLogger()]) == ["Other"]
    assert not needs_files([DummyLogger()])


def test_other_writers_get_plain_images_and_one_warning():
    class OtherWriter:
        log_dir = "there"

        def __init__(self):
            self.images = []

        def add_image(self, *args, **kwargs):
            self.images.append((args, kwargs))

    class OtherLogger(TensorBoardLogger):
        def __init__(self):
            self.writer = OtherWriter()

        @property
        def experiment(self):
            return self.writer

    logger = OtherLogger()
    with pytest.warns(UserWarning, match="as PNG") as caught:
        (board,) = backends_of([logger], "cam")
        board.write_picture("overview", "", np.zeros((2, 2, 3), np.uint8), 1)
        board.write_picture("overview", "", np.zeros((2, 2, 3), np.uint8), 2)
    assert len(caught) == 1
    assert [args[2] for args, _ in logger.writer.images] == [1, 2]
    assert logger.writer.images[0][1] == {"dataformats": "HWC"}
    assert not isinstance(board, (TakesAnimations, TakesRecords))


def test_files_are_read_back_byte_for_byte_and_served_as_what_they_are(tmp_path):
    frames = [np.full((20, 30, 3), grey, np.uint8) for grey in (0, 255)]
    film = encode_gif(frames, [100, 100], np.zeros((1, 3), np.uint8))
    (board,) = backends_of([TensorBoardLogger(tmp_path)], "cam")
    board.write_animation("cat", film, 3)
    board.flush()
    (image,) = EventAccumulator(board.place).Reload().Images("cam_animation/cat")
    assert (image.step, image.height, image.width) == (3, 20, 30)
    assert image.encoded_image_string == film
    assert img_mime_type_detector.from_bytes(film) == "image/gif"


def test_tag_names_are_printable_short_and_distinct():
    hostile = ["a\nb", "a b", "\x00", "", "x" * 10_000, "x" * 10_000 + "y", "<b>🐱</b>"]
    tags = tag_names(hostile)
    assert len(set(tags)) == len(hostile)
    assert all(tag.isprintable() and tag.strip() == tag and 0 < len(tag) < 140 for tag in tags)
    assert tags[-1] == "<b>🐱</b>"
