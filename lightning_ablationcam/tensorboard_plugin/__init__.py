"""The Ablation-CAM tab of TensorBoard.

TensorBoard imports this module when it starts, and an error in the import ends TensorBoard. So it
imports almost nothing, and never torch; :meth:`Loader.load` imports the rest.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorboard.plugins import base_plugin

_NAME = "ablation_cam"


class Loader(base_plugin.TBLoader):  # type: ignore[misc]
    """Loads the tab, or leaves TensorBoard without it."""

    def fix_flags(self, flags: Any) -> None:
        """Ask TensorBoard to keep every step of this plugin, unless the user says how many.

        By default it keeps ten steps, chosen at random.

        Args:
            flags: The flags of TensorBoard, changed in place.
        """
        samples = getattr(flags, "samples_per_plugin", None)
        # The value is None if TensorBoard was started from Python with None.
        if samples is None and flags is not None:
            samples = flags.samples_per_plugin = {}
        if isinstance(samples, dict):
            samples.setdefault(_NAME, 0)

    def load(self, context: Any) -> Any:
        """Build the plugin.

        Args:
            context: TensorBoard's ``TBContext``.

        Returns:
            The plugin, or None where it cannot be loaded; the log says why.
        """
        # The one place that catches everything: a broken installation or another version of
        # TensorBoard must break this tab alone.
        try:
            from lightning_ablationcam.tensorboard_plugin.plugin import AblationCAMPlugin

            return AblationCAMPlugin(context)
        except Exception as error:
            logging.getLogger("tensorboard").error(
                "The Ablation-CAM tab cannot be shown; everything else works. %s: %s",
                type(error).__name__,
                error,
                exc_info=True,
            )
            return None
