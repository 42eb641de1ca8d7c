"""Log the scalars of a monitor through its module."""

from __future__ import annotations

from collections.abc import Mapping

from lightning_ablationcam.lightning import LightningModule


def log_values(
    module: LightningModule,
    tag: str,
    values: Mapping[str, float],
    *,
    many: bool,
    logger: bool | None = None,
) -> None:
    """Log values with ``self.log``, each as ``<tag>/<name>``.

    Args:
        module: The LightningModule, in one of its hooks.
        tag: The monitor's tag.
        values: The values, by name.
        many: Whether there are several processes.
        logger: False for callbacks alone.
    """
    # Lightning's own: the user's may take other arguments.
    log = next(cls.log for cls in type(module).__mro__ if cls.__name__ == "LightningModule")  # type: ignore[attr-defined]
    for name, value in values.items():
        # The same on every rank, but for the seconds, of which the slowest count.
        reduce = "max" if name == "seconds" else "mean"
        log(
            module,
            f"{tag}/{name}",
            value,
            logger=logger,
            reduce_fx=reduce,
            sync_dist=many,
            batch_size=1,
        )
