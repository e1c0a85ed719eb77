"""Settings of images."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from espalier.errors import BadInput

CROP_SCALE, CROP_RATIO = (0.08, 1.0), (0.75, 4 / 3)  # of Inception's random crops


@dataclass(frozen=True, kw_only=True)
class ImagePolicy:
    """The form that images of any kind are brought into when data are prepared.

    Turning by the EXIF orientation, the conversion of CMYK and palettes, and the scaling of 16 bits
    need no key; what was done is said.

    Attributes:
        size: height and width in pixels; a number is both; None demands that all are alike.
        resize: way to that size. `fit` scales until the shorter side fits and cuts off what
            overhangs, `pad` scales until the longer side fits and adds black, `stretch` ignores
            proportions, `crop` cuts the centre out unscaled.
        channels: `auto` keeps gray images gray, unless some are coloured.
        alpha: `refuse` transparent images, or put them on `white` or `black`.
        decode: `ahead` stores pixels of the size. `on_the_fly` keeps the images of train encoded, in
            their own sizes, and decodes them at each use; augmented training sees random crops.
        crop_scale: least and largest area of a random crop, as fractions of the image's area.
        crop_ratio: least and largest width of a random crop, as fractions of its height.
        pixels: largest number of pixels of an encoded image, checked before it is decoded.
    """

    size: int | tuple[int, int] | None = None
    resize: Literal["fit", "crop", "pad", "stretch"] = "fit"
    channels: Literal["auto", "rgb", "gray"] = "auto"
    alpha: Literal["refuse", "white", "black"] = "refuse"
    decode: Literal["ahead", "on_the_fly"] = "ahead"
    crop_scale: tuple[float, float] = CROP_SCALE
    crop_ratio: tuple[float, float] = CROP_RATIO
    pixels: int = 50_000_000

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        """Refuse a size of no pixels, and crops that no image has.

        Raises:
            BadInput: if a side is below 1, or a bound of the crops is out of range or of no use.
        """
        if any(side < 1 for side in both_sides(self.size)):
            raise BadInput(f"Expected `data.images.size` to be at least 1; found {self.size}.")
        _check_bounds("crop_scale", self.crop_scale, largest=1.0)
        _check_bounds("crop_ratio", self.crop_ratio, largest=math.inf)
        crops = self.crop_scale, self.crop_ratio
        if self.decode == "ahead" and crops != (CROP_SCALE, CROP_RATIO):
            raise BadInput(
                "Expected `crop_scale` and `crop_ratio` of `data.images` with `decode: on_the_fly`; "
                "found `decode: ahead`, which stores no pixels outside the size."
            )


@dataclass(frozen=True, kw_only=True)
class ImagePreprocessing:
    """How a trained network expects its images, in the order in which the steps are applied.

    Attributes:
        resize: length to which the shorter side is scaled, in pixels; None keeps the size.
        size: height and width to which images are stretched, in pixels; a number is both.
        crop: height and width that are cut out of the centre, in pixels; a number is both.
        interpolation: filter of the scaling, with antialiasing, as torchvision and timm use it.
        channels: order of the colours; gray images are repeated three times.
        range: values of a black and of a white pixel before `mean` and `std`.
        mean: number that is subtracted from each channel; a single one holds for all of them.
        std: number by which each channel is divided after that, likewise.

    Example:
        `{range: [0, 255], channels: bgr, mean: [103.939, 116.779, 123.68]}` is the preprocessing of
        networks that come from Caffe.
    """

    resize: int | None = None
    size: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    channels: Literal["rgb", "bgr", "gray"] | None = None
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        """Refuse settings that no image can have.

        Raises:
            BadInput: if a size or a deviation is not above 0, or two settings exclude each other.
        """
        lengths = [
            *both_sides(self.size),
            *both_sides(self.crop),
            *([self.resize] if self.resize else []),
        ]
        if self.resize is not None and self.size is not None:
            raise BadInput(
                "Expected `input` to have `resize` (scale the shorter side) or `size` (stretch); "
                "found both."
            )
        if self.resize == 0 or any(length < 1 for length in lengths):
            raise BadInput("Expected sizes in `input` to be at least 1 pixel; found a smaller one.")
        if not all(deviation > 0 for deviation in self.std):
            raise BadInput(f"Expected `std` in `input` to be above 0; found {list(self.std)}.")
        if self.range[0] >= self.range[1]:
            raise BadInput(
                f"Expected `range` in `input` to be [black, white]; found {list(self.range)}."
            )


def _check_bounds(name: str, bounds: tuple[float, float], largest: float) -> None:
    least, most = bounds
    if not 0 < least <= most <= largest:
        upper = f" and at most {largest:g}" if math.isfinite(largest) else ""
        raise BadInput(
            f"Expected `data.images.{name}` to be [least, largest], above 0{upper}; found "
            f"{list(bounds)}."
        )


def both_sides(length: int | tuple[int, int] | None) -> tuple[int, ...]:
    """Height and width, where a number is both; empty for None."""
    if length is None:
        return ()
    return (length, length) if isinstance(length, int) else tuple(length)
