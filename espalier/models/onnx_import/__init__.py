"""ONNX files of others: their graph and weights, read without running code, for `espalier:onnx`."""

from espalier.models.onnx_import.program import OnnxProgram
from espalier.models.onnx_import.reading import read_onnx

__all__ = ["OnnxProgram", "read_onnx"]
