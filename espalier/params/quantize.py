"""Entries in integers."""

from typing import Literal

from pydantic import Field

from espalier.params.strict import Strict


class Quantize(Strict):
    """The parent's ONNX file in static int8: unsigned activations, signed weights per channel.

    Attributes:
        scheme: `static`: ranges of activations are measured on training images.
        calibration: How a range is chosen from what was measured.
        images: How many training images are measured.
        reduce_range: 7-bit weights: exact on processors without VNNI, whose 8-bit products can saturate.
    """

    by: Literal["quantize"]
    parent: str = Field(alias="from")
    scheme: Literal["static"] = "static"
    calibration: Literal["minmax", "percentile", "entropy"] = "entropy"
    images: int = Field(256, ge=1)
    reduce_range: bool = True
