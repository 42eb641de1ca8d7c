"""The loggers of a run, each failing by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lightning_ablationcam.outputs.backend import Backend


class Fault(NamedTuple):
    """What went wrong in one of the loggers.

    Attributes:
        called: The logger's class.
        error: What was raised.
    """

    called: str
    error: Exception


@dataclass(eq=False)
class Outlet:
    """One logger, and what it has got so far.

    Attributes:
        called: Its class, for the user.
        make: Makes its backend, when something is first written.
        backend: The backend, once it is made.
        failed: Whether something went wrong in the newest pass.
        described: The probes and the layer that its records are of.
        laid_out: Whether its scalars were grouped.
    """

    called: str
    make: Callable[[], Backend]
    backend: Backend | None = None
    failed: bool = False
    described: tuple[str, str] | None = None
    laid_out: bool = False


class Outlets:
    """All outlets of a fit. Where one fails, the others get the rest of the pass all the same.

    Args:
        outlets: The outlets.

    Attributes:
        faults: What went wrong in the newest pass.

    Example:
        >>> def full(outlet, backend):
        ...     raise OSError("no space left")
        >>> outlets = Outlets([Outlet("CSVLogger", lambda: None)])
        >>> outlets.each(full)
        >>> outlets.faults
        [Fault(called='CSVLogger', error=OSError('no space left'))]
    """

    def __init__(self, outlets: Iterable[Outlet]) -> None:
        self._all = list(outlets)
        self.faults: list[Fault] = []

    @property
    def backends(self) -> list[Backend]:
        """The backends that were made, and where nothing went wrong in the newest pass."""
        return [each.backend for each in self._all if each.backend is not None and not each.failed]

    def begin(self) -> None:
        """Begin a pass: make backends where there are none yet, and ask whether there is room."""
        self.faults = []
        for outlet in self._all:
            outlet.failed = False
        self.each(lambda outlet, backend: backend.check_room())

    def each(self, act: Callable[[Outlet, Backend], None]) -> None:
        """Do something with each outlet where nothing went wrong in this pass.

        Args:
            act: What to do, given the outlet and its backend.
        """
        for outlet in self._all:
            if outlet.failed:
                continue
            try:
                if outlet.backend is None:
                    outlet.backend = outlet.make()
                act(outlet, outlet.backend)
            # Whatever a logger's own library raises: a service that is away, a run that is over.
            except Exception as error:
                outlet.failed = True
                self.faults.append(Fault(outlet.called, error))
