"""Quantization of deployed files."""

from espalier.quantization.ranges import CALIBRATIONS
from espalier.quantization.static import quantize

__all__ = ["CALIBRATIONS", "quantize"]
