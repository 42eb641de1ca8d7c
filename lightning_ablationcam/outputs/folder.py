"""Write pictures as files in a folder, for runs without TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from anyascii import anyascii
from numpy.typing import NDArray

from lightning_ablationcam.files import replaced
from lightning_ablationcam.outputs.disk_space import check_quota, check_room
from lightning_ablationcam.outputs.pictures import Kind
from lightning_ablationcam.render import encode_jpeg

MAX_STEM_LENGTH = 100
"""Characters of a probe's name that its file keeps at most."""

_OTHER = re.compile(r"[^A-Za-z0-9.-]+")
# Windows reserves these names for devices in every folder, whatever the suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class Folder:
    """Writes pictures as JPEG and animations as GIF.

    Each pass adds ``overview/<step>.jpg`` and ``probes/<probe>/<step>.jpg``;
    ``evolution/<probe>.jpg`` and ``animation/<probe>.gif`` show all passes and are replaced.

    Args:
        parent: A folder of the run.
        tag: The monitor's tag, which names the folder inside ``parent``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as run:
        ...     folder = Folder(Path(run), "cam")
        ...     folder.write_picture("overview", "", np.zeros((8, 8, 3), np.uint8), 24)
        ...     [file.relative_to(run).as_posix() for file in Path(run).rglob("*.jpg")]
        ['cam/overview/00000024.jpg']
    """

    def __init__(self, parent: Path, tag: str) -> None:
        self._root = parent / file_stems([tag])[0]
        self.place = str(parent)

    def spelled(self, names: Sequence[str]) -> list[str]:
        """The names as file names, see :func:`file_stems`."""
        return file_stems(names)

    def check_room(self) -> None:
        """Raise an ``OSError`` if there is too little room, before anything is drawn."""
        self._root.mkdir(parents=True, exist_ok=True)
        check_room(self.place)
        check_quota(self.place)

    def write_picture(self, kind: Kind, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Write one picture, (H, W, 3) uint8."""
        place = self._root / kind / name
        file = place.with_name(f"{name}.jpg") if kind == "evolution" else place / f"{step:08}.jpg"
        self._write(file, encode_jpeg(picture))

    def write_animation(self, name: str, animation: bytes, step: int) -> None:
        """Write a GIF."""
        self._write(self._root / "animation" / f"{name}.gif", animation)

    def flush(self) -> None:
        """Do nothing: files are written at once."""

    def _write(self, file: Path, content: bytes) -> None:
        check_room(self.place, len(content))
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as partial:
            partial.write_bytes(content)


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
