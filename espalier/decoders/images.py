"""Encoded images: to pixels and back."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from espalier.errors import reason_of
from espalier.settings.images import ImagePolicy, both_sides

# Named, because pillow also opens formats that run other programs (EPS) or that hold no pixels.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
HEIF = "HEIF"  # only with pillow-heif

Remark = Callable[[str], None]
"""Called with each change of an image that its user may want to know of."""

Box = tuple[int, int, int, int]
"""A part of an image: top, left, height and width in pixels."""

_PLAIN = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB"}  # pillow's modes, and what they become
_CONVERTED = ("CMYK", "YCbCr", "LAB", "HSV", "RGBX")
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_RESIZE: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "fit": lambda image, size: ImageOps.fit(image, size, Image.Resampling.BICUBIC),
    "pad": lambda image, size: ImageOps.pad(image, size, Image.Resampling.BICUBIC),
    "stretch": lambda image, size: image.resize(size, Image.Resampling.BICUBIC),
    "crop": lambda image, size: _centre(image, size),
}
_ORIENTATION, _UPRIGHT = 0x0112, 1  # of EXIF
_LYING = (5, 6, 7, 8)  # orientations that exchange height and width
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_LARGEST = 65535
_PER_BYTE = 257  # 65535 / 255


def decode(
    content: bytes,
    policy: ImagePolicy | None = None,
    remark: Remark = lambda _: None,
    before: Callable[[int], None] = lambda _: None,
) -> NDArray[np.uint8]:
    """The pixels (C, H, W) of an encoded image, with C = 1 or 3.

    Args:
        content: the encoded image.
        policy: form that it is brought into.
        remark: called with each change beyond decoding and the policy's own.
        before: called with the number of pixels, before they are decoded.

    Raises:
        ValueError: if it is damaged, transparent against the policy, or of an unknown kind.
    """
    policy = policy or ImagePolicy()
    with _errors_as_values(content), _opened(content, policy) as image:
        before(image.width * image.height)
        return _pixels(_brought_into_form(image, policy, remark))


def decode_crop(
    content: bytes,
    policy: ImagePolicy,
    box_of: Callable[[int, int], Box],
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """The pixels (C, H, W) of a part of an encoded image.

    A JPEG is decoded at a half, a quarter or an eighth of its size where the part still has the
    wanted size then: libjpeg leaves the higher frequencies out, which saves most of the time.

    Args:
        content: the encoded image.
        policy: channels, and treatment of transparent pixels.
        box_of: maps height and width of the upright image to the part.
        size: height and width to which the part is scaled.

    Raises:
        ValueError: as `decode` does.
    """
    with _errors_as_values(content), _opened(content, policy) as image:
        height, width = _upright_size(image)
        box = box_of(height, width)
        reduction = min(box[2] // size[0], box[3] // size[1])
        if reduction > 1:
            image.draft(None, (image.width // reduction, image.height // reduction))
        upright = _upright(image, policy, lambda _: None)
        part = _scaled_box(box, upright.height / height, upright.width / width)
        cut = upright.crop(part)
        return _pixels(cut.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """An image (C, H, W), gray or RGB, as PNG."""
    gray = len(pixels) == 1
    rows = pixels[0] if gray else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def _errors_as_values(content: bytes) -> Iterator[None]:
    """Turn every error of pillow into a ValueError with its reason."""
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError(f"{len(content)} bytes that begin like no image") from None
    except MemoryError:  # no fault of the image, unless the memory is limited
        raise
    except Exception as error:  # pillow's decoders raise nearly anything on a damaged file
        raise ValueError(reason_of(error)) from error


@contextmanager
def _opened(content: bytes, policy: ImagePolicy) -> Iterator[Image.Image]:
    with Image.open(io.BytesIO(content), formats=_formats()) as image:
        _refuse_large(image, policy.pixels)
        yield image


def _refuse_large(image: Image.Image, largest: int) -> None:
    """Refuse an image by the size in its header: 500 kB of PNG can decode to gigabytes."""
    count = image.width * image.height
    if count > largest:
        raise ValueError(
            f"{image.height}x{image.width} pixels, {count:,}, more than `data.images.pixels: "
            f"{largest}` allows"
        )


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width after the turn by the EXIF orientation."""
    if image.getexif().get(_ORIENTATION, _UPRIGHT) in _LYING:
        return image.width, image.height
    return image.height, image.width


def _scaled_box(box: Box, rows: float, columns: float) -> tuple[int, int, int, int]:
    """The left, upper, right and lower edge of a box in an image of another scale."""
    top, left, height, width = box
    return (
        round(left * columns),
        round(top * rows),
        round((left + width) * columns),
        round((top + height) * rows),
    )


@cache
def _formats() -> tuple[str, ...]:
    if find_spec("pillow_heif") is None:
        return FORMATS
    import pillow_heif  # noqa: PLC0415, RUF100  # optional

    pillow_heif.register_heif_opener()
    return (*FORMATS, HEIF)


def _brought_into_form(image: Image.Image, policy: ImagePolicy, remark: Remark) -> Image.Image:
    if getattr(image, "n_frames", 1) > 1:
        remark("only the first frame of several is taken")
    if image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
        remark("turned by their EXIF orientation")
    plain = _upright(image, policy, remark)
    if policy.size is None:
        return plain
    height, width = both_sides(policy.size)
    return _RESIZE[policy.resize](plain, (width, height))


def _upright(image: Image.Image, policy: ImagePolicy, remark: Remark) -> Image.Image:
    """The image turned by its EXIF orientation, with the channels of the policy."""
    turned = ImageOps.exif_transpose(image)
    plain = _plain(turned, policy, remark)
    if policy.channels != "auto":
        plain = plain.convert("L" if policy.channels == "gray" else "RGB")
    return plain


def _plain(image: Image.Image, policy: ImagePolicy, remark: Remark) -> Image.Image:
    """The image in gray or RGB of 8 bits, opaque."""
    if image.mode in _DEEP:
        remark("scaled from 16 bits to 8")
        return _scaled_down(image)
    if image.mode in _CONVERTED:
        remark(f"converted from {image.mode} to RGB")
        return image.convert("RGB")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        return _opaque(image, policy.alpha, remark)
    if image.mode not in _PLAIN:
        raise ValueError(f"an image of mode {image.mode}, whose values have no known range")
    return image.convert(_PLAIN[image.mode])


def _scaled_down(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _LARGEST:
        raise ValueError(f"values of {low} to {high}, which are not of 16 bits")
    rounded = (values + _PER_BYTE // 2) // _PER_BYTE
    return Image.fromarray(rounded.astype(np.uint8))


def _opaque(image: Image.Image, background: str, remark: Remark) -> Image.Image:
    """The image on a background; without one, if its alpha channel hides nothing."""
    gray = image.mode in ("LA", "La", "L")
    layers = image.convert("RGBA")
    if layers.getchannel("A").getextrema() != (255, 255):
        if background == "refuse":
            raise ValueError(
                "transparent pixels; `data.images.alpha: white` (or black) puts them on a colour"
            )
        remark(f"transparent pixels put on {background}")
        below = Image.new("RGBA", layers.size, background)
        layers = Image.alpha_composite(below, layers)
    return layers.convert("L" if gray else "RGB")


def _centre(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of an image.

    Raises:
        ValueError: if the image is smaller.
    """
    width, height = size
    left, top = (image.width - width) // 2, (image.height - height) // 2
    if left < 0 or top < 0:
        raise ValueError(
            f"{image.height}x{image.width} pixels, too few to crop {height}x{width} out of them"
        )
    return image.crop((left, top, left + width, top + height))
