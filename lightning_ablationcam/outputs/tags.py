"""What pictures are called where they have tags: in TensorBoard and in services like it."""

from __future__ import annotations

from lightning_ablationcam.outputs.pictures import Kind


def picture_tag(tag: str, kind: Kind, name: str) -> str:
    """The tag of a picture.

    Each kind has a prefix of its own, so that probes' names never clash with our own tags.

    Args:
        tag: The monitor's tag.
        kind: What the picture shows.
        name: The probe's name; empty for all probes.

    Example:
        >>> picture_tag("cam", "overview", ""), picture_tag("cam", "probes", "cat")
        ('cam/overview', 'cam_probes/cat')
    """
    return f"{tag}/overview" if kind == "overview" else f"{tag}_{kind}/{name}"


def animation_tag(tag: str, name: str) -> str:
    """The tag of a probe's animation."""
    return f"{tag}_animation/{name}"
