"""Encoded images: to pixels and back."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

# Named, because pillow also opens formats that run other programs (EPS) or that hold no pixels.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

_MODES = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB"}  # pillow's modes, and what they become


def decode(content: bytes) -> NDArray[np.uint8]:
    """The pixels (C, H, W) of an encoded image, with C = 1 or 3.

    Raises:
        ValueError: if it is damaged, or not 8-bit gray or RGB without transparency.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            pixels = np.asarray(_plain(image))
    except UnidentifiedImageError:
        raise ValueError(f"{len(content)} bytes that begin like no image") from None
    except Exception as error:  # pillow's decoders raise nearly anything on a damaged file
        message = " ".join(str(error).split()).rstrip(".")
        raise ValueError(message or type(error).__name__) from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """An image (C, H, W), gray or RGB, as PNG."""
    gray = len(pixels) == 1
    rows = pixels[0] if gray else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "PNG")
    return buffer.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    """The image in gray or RGB, without an alpha channel that hides nothing."""
    if image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode[:-1])
    mode = _MODES.get(image.mode)
    if mode is None or "transparency" in image.info:
        raise ValueError(
            f"an image of mode {image.mode}, neither 8-bit gray nor RGB, or with transparency"
        )
    return image.convert(mode)
