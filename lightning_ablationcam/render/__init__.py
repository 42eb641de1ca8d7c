"""Pictures of heat maps: overlays, captions and colour bars, with NumPy and Pillow alone."""

from __future__ import annotations

from lightning_ablationcam.render.colors import DEFAULT_COLORMAP, colorize
from lightning_ablationcam.render.encode import encode_jpeg, encode_png
from lightning_ablationcam.render.evolution import evolution_strip, frame_indices
from lightning_ablationcam.render.overlays import overlay
from lightning_ablationcam.render.overview import overview_grid
from lightning_ablationcam.render.probe import probe_picture
from lightning_ablationcam.render.sizes import display_size

__all__ = [
    "DEFAULT_COLORMAP",
    "colorize",
    "display_size",
    "encode_jpeg",
    "encode_png",
    "evolution_strip",
    "frame_indices",
    "overlay",
    "overview_grid",
    "probe_picture",
]
