"""Write files completely or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A file to write that replaces the target in the end, or is removed if an error occurs.

    An existing target stays until then, and is never seen half written.

    Args:
        target: The file to write, in an existing folder.

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
    # Not named after the target, whose name may already have the greatest length allowed.
    partial = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
