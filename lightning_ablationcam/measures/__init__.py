"""Numbers that say in one value what a heatmap, or two of them, show."""

from lightning_ablationcam.measures.change import drift
from lightning_ablationcam.measures.focus import concentration

__all__ = ["concentration", "drift"]
