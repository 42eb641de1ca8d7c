"""Lightning, under whichever of its two names a run uses it.

Lightning is published twice, as ``pytorch_lightning`` and as ``lightning.pytorch``, with classes
that have nothing in common but their names. The rest of the house takes its names from here, and
tells the classes of a Trainer's world by name (:func:`~lightning_ablationcam.arguments.is_a`).

A package that the user does not import is not imported for a monitor: it would cost time, and each
takes the log of ``rank_zero_info`` over from the other. Only where neither is imported yet, one is.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeGuard

from lightning_ablationcam.arguments import is_a

PACKAGES = ("pytorch_lightning", "lightning.pytorch")
"""The names of Lightning, the one that the project depends on first."""


def imported_packages() -> list[str]:
    """Those of the :data:`PACKAGES` that are imported; where none was, one that is installed is.

    Raises:
        ModuleNotFoundError: If none is installed.
    """
    imported = [name for name in PACKAGES if sys.modules.get(name) is not None]
    if imported:
        return imported
    installed = [name for name in PACKAGES if find_spec(name.partition(".")[0]) is not None]
    if not installed:
        raise ModuleNotFoundError(
            "AblationCAMMonitor needs Lightning: pip install pytorch-lightning, or lightning"
        )
    importlib.import_module(installed[0])
    return installed[:1]


def _callbacks() -> tuple[type, ...]:
    return tuple(importlib.import_module(name).Callback for name in imported_packages())


_BASES = _callbacks()

# After a package of Lightning's, which says what the rank is. Both take these from here.
from lightning_utilities.core.rank_zero import rank_zero_info as rank_zero_info  # noqa: E402
from lightning_utilities.core.rank_zero import rank_zero_warn as rank_zero_warn  # noqa: E402

if TYPE_CHECKING:
    from pytorch_lightning import Callback as Callback
    from pytorch_lightning import LightningModule as LightningModule
    from pytorch_lightning import Trainer as Trainer
else:
    # For annotations alone: whether something is one is asked of its name.
    LightningModule = Trainer = Any

    class Callback(*_BASES):
        """A callback of each package of Lightning's that is imported, whenever that was."""

        def __new__(cls, *_args: Any, **_options: Any) -> Callback:
            """Be a callback of a package that was imported since, too."""
            join_imported()
            return super().__new__(cls)


def join_imported() -> None:
    """Make every :class:`Callback` one of the packages that were imported since, too.

    A Trainer takes a callback that does not stand in a list, and LightningCLI any at all, only if
    it is an instance of its own package's class.
    """
    bases = _callbacks()
    if set(bases) != set(Callback.__bases__):
        Callback.__bases__ = bases


def package_of(thing: object, name: str) -> str | None:
    """Which of the :data:`PACKAGES` something is from.

    Args:
        thing: A Trainer, a module or the like.
        name: Name of the class of Lightning's that it is an instance of.

    Returns:
        The package's name; None if there is no such class among its own.

    Example:
        >>> package_of(Callback(), "Callback") in PACKAGES, package_of("text", "Trainer")
        (True, None)
    """
    homes = (cls.__module__ for cls in type(thing).__mro__ if cls.__name__ == name)
    return next((p for home in homes for p in PACKAGES if f"{home}.".startswith(f"{p}.")), None)


def package_for(thing: object, name: str) -> Any:
    """The package that something is from; where it is from none, one that is imported.

    Args:
        thing: A Trainer, a module or the like.
        name: Name of the class of Lightning's that it may be an instance of.

    Example:
        >>> package_for("text", "LightningModule").__name__ in PACKAGES
        True
    """
    return importlib.import_module(package_of(thing, name) or imported_packages()[0])


def is_module(thing: object) -> TypeGuard[LightningModule]:
    """Whether something is a LightningModule, of either package."""
    return is_a(thing, "LightningModule")


def is_module_class(thing: object) -> TypeGuard[type[LightningModule]]:
    """Whether something is a class of LightningModules, of either package.

    Example:
        >>> is_module_class(package_for("", "").LightningModule), is_module_class(Callback)
        (True, False)
    """
    return isinstance(thing, type) and any(
        base.__name__ == "LightningModule" for base in thing.__mro__
    )


def check_one_package(trainer: Trainer, module: LightningModule) -> None:
    """Check that a Trainer and its module are from one package.

    Lightning refuses a mixture before it asks any callback, as far as it notices it, but says that
    a LightningModule is none.

    Raises:
        TypeError: If they are from two.
    """
    runs, holds = package_of(trainer, "Trainer"), package_of(module, "LightningModule")
    if runs is not None and holds is not None and runs != holds:
        raise TypeError(
            f"the Trainer is from {runs!r} and the module, {type(module).__name__}, from {holds!r}:"
            f" two packages that do not know each other's classes. Import LightningModule from "
            f"{runs!r}, or Trainer from {holds!r}"
        )
