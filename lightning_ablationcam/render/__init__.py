"""Pictures of heat maps, still and animated, with NumPy and Pillow alone."""

from __future__ import annotations

from lightning_ablationcam.render.animation import MAX_ANIMATION_FRAMES, probe_animation
from lightning_ablationcam.render.colors import DEFAULT_COLORMAP, colorize
from lightning_ablationcam.render.encode import encode_gif, encode_jpeg, encode_png
from lightning_ablationcam.render.evolution import MAX_FRAMES, evolution_strip, evolution_strips
from lightning_ablationcam.render.gallery import gallery
from lightning_ablationcam.render.overlays import overlay
from lightning_ablationcam.render.overview import overview_grid
from lightning_ablationcam.render.probe import probe_picture
from lightning_ablationcam.render.sizes import display_size

__all__ = [
    "DEFAULT_COLORMAP",
    "MAX_ANIMATION_FRAMES",
    "MAX_FRAMES",
    "colorize",
    "display_size",
    "encode_gif",
    "encode_jpeg",
    "encode_png",
    "evolution_strip",
    "evolution_strips",
    "gallery",
    "overlay",
    "overview_grid",
    "probe_animation",
    "probe_picture",
]
