"""Images as the page holds them: small, and embedded."""

import base64
import io

import numpy as np
from PIL import Image

SIDE = 64  # pixels to which larger images are reduced
_COLOURS = 3


def picture(image: np.ndarray) -> Image.Image:
    """An image (C, H, W) uint8, reduced to 64 pixels; grey unless it has three channels."""
    pixels = image.transpose(1, 2, 0) if len(image) == _COLOURS else image[0]
    drawn = Image.fromarray(pixels)
    drawn.thumbnail((SIDE, SIDE))
    return drawn


def source(image: Image.Image) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
