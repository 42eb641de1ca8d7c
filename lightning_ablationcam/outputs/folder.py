"""Write what was seen as files in a folder, for runs without TensorBoard."""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from anyascii import anyascii
from numpy.typing import NDArray
from tensorboard.compat.proto import summary_pb2

from lightning_ablationcam.files import replaced
from lightning_ablationcam.outputs.disk_space import check_quota, check_room
from lightning_ablationcam.outputs.event_file import OwnEventFile
from lightning_ablationcam.outputs.pictures import Kind
from lightning_ablationcam.outputs.tensorboard import summary_value
from lightning_ablationcam.render import encode_jpeg

MAX_STEM_LENGTH = 100
"""Characters of a probe's name that its file keeps at most."""

_OTHER = re.compile(r"[^A-Za-z0-9.-]+")
# Windows reserves these names for devices in every folder, whatever the suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class Folder:
    """Writes pictures as JPEG, animations as GIF, and the numbers and maps beside them.

    Each pass adds ``overview/<step>.jpg`` and ``probes/<probe>/<step>.jpg``;
    ``evolution/<probe>.jpg`` and ``animation/<probe>.gif`` show all passes and are replaced.
    ``heatmaps.npz`` holds the newest maps, and an event file the data of the tab, for TensorBoard
    and :func:`~lightning_ablationcam.write_report`. In the end there is ``report.html``.

    Args:
        root: The folder; it is made when something is written.
        tag: The monitor's tag.
        place: Where to find it, for the user; default ``root``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as run:
        ...     folder = Folder(Path(run) / "cam", "cam")
        ...     folder.write_picture("overview", "", np.zeros((8, 8, 3), np.uint8), 24)
        ...     [file.relative_to(run).as_posix() for file in Path(run).rglob("*.jpg")]
        ['cam/overview/00000024.jpg']
    """

    def __init__(self, root: Path, tag: str, place: str | None = None) -> None:
        self._root = root
        self._tag = tag
        self.place = str(root) if place is None else place
        self._events = OwnEventFile(root)

    def spelled(self, names: Sequence[str]) -> list[str]:
        """The names as file names, see :func:`file_stems`."""
        return file_stems(names)

    def check_room(self) -> None:
        """Raise an ``OSError`` if there is too little room, before anything is drawn."""
        self._root.mkdir(parents=True, exist_ok=True)
        check_room(str(self._root))
        check_quota(str(self._root))

    def write_picture(self, kind: Kind, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Write one picture, (H, W, 3) uint8."""
        self._write(picture_file(kind, name, step), encode_jpeg(picture))

    def write_animation(self, name: str, animation: bytes, step: int) -> None:
        """Write a GIF."""
        self._write(animation_file(name), animation)

    def write_record(self, suffix: str, strings: Sequence[bytes], step: int) -> None:
        """Write a record of the tab."""
        value = summary_value(self._tag + suffix, strings)
        self._events.add(summary_pb2.Summary(value=[value]), step)

    def write_heatmaps(self, file: bytes, step: int) -> None:
        """Write the newest maps."""
        self._write("heatmaps.npz", file)

    def write_report(self, page: str, step: int) -> None:
        """Write the report."""
        self._write(REPORT, page.encode())

    def flush(self) -> None:
        """Do nothing: files are written at once."""

    def _write(self, name: str, content: bytes) -> None:
        file = self._root / name
        check_room(str(self._root), len(content))
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as partial:
            partial.write_bytes(content)


def csv_folder(logger: Any, tag: str) -> Folder:
    """The folder of a ``CSVLogger``, beside its own files.

    Raises:
        OSError: If those are not on this machine.
    """
    parent = local_folder(logger.log_dir)
    return Folder(parent / file_stems([tag])[0], tag, str(parent))


def numbered_folder(parent: str | Path, tag: str) -> Folder:
    """A new folder for a run without a logger: ``<parent>/<tag>/version_<number>``.

    Args:
        parent: ``trainer.default_root_dir``.
        tag: The monitor's tag.

    Raises:
        OSError: If it is not on this machine, or cannot be written.
    """
    of_tag = local_folder(parent) / file_stems([tag])[0]
    of_tag.mkdir(parents=True, exist_ok=True)
    for version in itertools.count():
        # Another run may take the same number at this moment.
        with contextlib.suppress(FileExistsError):
            (of_tag / f"version_{version}").mkdir()
            break
    return Folder(of_tag / f"version_{version}", tag)


def local_folder(path: str | Path) -> Path:
    """A folder of the run.

    Raises:
        OSError: If it is not on this machine, as those of a cloud's storage are.
    """
    if "://" in str(path):
        raise NotADirectoryError(
            errno.ENOTDIR, "it is not on this machine, and files are written to folders only", path
        )
    return Path(path)


REPORT = "report.html"


def picture_file(kind: Kind, name: str, step: int) -> str:
    """The file of a picture, below the monitor's folder.

    Args:
        kind: What it shows.
        name: The probe's name, as :func:`file_stems` has it; empty for all probes.
        step: ``trainer.global_step``.

    Example:
        >>> picture_file("overview", "", 24), picture_file("probes", "cat", 24)
        ('overview/00000024.jpg', 'probes/cat/00000024.jpg')
    """
    if kind == "evolution":
        return f"{kind}/{name}.jpg"
    return f"{kind}/{name}/{step:08}.jpg" if name else f"{kind}/{step:08}.jpg"


def animation_file(name: str) -> str:
    """The file of a probe's animation, likewise."""
    return f"animation/{name}.gif"


def file_stems(names: Iterable[str]) -> list[str]:
    """Turn probe names into names of files: safe on every system, and still distinct.

    Example:
        >>> file_stems(["cats/кошка", "../../etc", "a b", "A?B", ""])
        ['cats_koshka', 'etc', 'a_b', 'A_B_2', 'probe']
    """
    stems: list[str] = []
    taken: set[str] = set()
    for name in names:
        # Cut first: the ASCII spelling of a letter can be forty characters long.
        ascii_name = anyascii(name[:MAX_STEM_LENGTH])
        stem = _OTHER.sub("_", ascii_name)[:MAX_STEM_LENGTH].strip("._-") or "probe"
        if _DEVICE.match(stem):
            stem = f"probe_{stem}"
        unique, repeat = stem, 1
        # Some file systems treat "a" and "A" as the same name.
        while unique.lower() in taken:
            repeat += 1
            unique = f"{stem}_{repeat}"
        taken.add(unique.lower())
        stems.append(unique)
    return stems
