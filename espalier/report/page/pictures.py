"""Images as the page holds them: small, and embedded."""

import base64
import io

from PIL import Image

SIDE = 64  # pixels to which larger images are reduced


def reduced(image: Image.Image) -> Image.Image:
    """A picture, reduced to at most 64 pixels on each side."""
    smaller = image.copy()
    smaller.thumbnail((SIDE, SIDE))
    return smaller


def source(image: Image.Image) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
