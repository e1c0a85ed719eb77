"""Quantization of deployed files, and training for it."""

from espalier.quantization.aware import Aware, aware
from espalier.quantization.compact import compact
from espalier.quantization.deploy import export_integers
from espalier.quantization.dynamic import quantize_dynamically
from espalier.quantization.ranges import CALIBRATIONS
from espalier.quantization.static import quantize

__all__ = [
    "CALIBRATIONS",
    "Aware",
    "aware",
    "compact",
    "export_integers",
    "quantize",
    "quantize_dynamically",
]
