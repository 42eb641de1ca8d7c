"""Files that are whole or not there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A file to write, which takes the target's place in the end, or goes where that fails.

    What was at the target stays until then, and nobody ever sees a half of it.

    Args:
        target: The file to write, in a folder that is there.

    Raises:
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replaced(Path(folder, "a.txt")) as partial:
        ...         partial.write_text("whole")
        ...     [file.name for file in Path(folder).iterdir()]
        5
        ['a.txt']
    """
    # Not named after the target, whose name may be as long as names can be.
    partial = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
