"""Pictures as the bytes of an image file."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_ablationcam.render.validation import check_picture

# Each byte costs: TensorBoard's writer computes checksums in Python, 150 ms for a MiB.
JPEG_QUALITY = 80


def encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Return ``picture``, uint8 (H, W, 3), as a JPEG file: small and fast to make.

    Raises:
        TypeError: If ``picture`` is no uint8 array.
        ValueError: If ``picture`` has another shape.

    Example:
        >>> encode_jpeg(np.zeros((8, 8, 3), np.uint8))[:3]
        b'\\xff\\xd8\\xff'
    """
    return _encoded(picture, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Return ``picture``, uint8 (H, W, 3), as a PNG file: exact.

    Raises:
        TypeError: If ``picture`` is no uint8 array.
        ValueError: If ``picture`` has another shape.

    Example:
        >>> encode_png(np.zeros((8, 8, 3), np.uint8))[1:4]
        b'PNG'
    """
    return _encoded(picture, "PNG")


def _encoded(picture: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    check_picture(picture)
    file = BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()
