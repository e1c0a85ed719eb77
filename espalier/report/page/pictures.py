"""Images as the page holds them: small, and part of the file."""

import base64
import io

import numpy as np
from PIL import Image

SIDE = 64  # pixels to which larger images are reduced
_COLOURS = 3


def picture(image: np.ndarray) -> Image.Image:
    """An image (C, H, W) uint8; in grey unless it has three channels, and not larger than it is shown."""
    found = Image.fromarray(image.transpose(1, 2, 0) if len(image) == _COLOURS else image[0])
    found.thumbnail((SIDE, SIDE))
    return found


def source(image: Image.Image) -> str:
    """The address under which a picture is part of the page: itself."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
