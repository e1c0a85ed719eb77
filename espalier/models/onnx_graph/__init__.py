"""The graph of an ONNX file as a torch network: layers of torch, and one function per other operator."""

from espalier.models.onnx_graph.network import OnnxNetwork, onnx_network
from espalier.models.onnx_graph.operators import OPERATORS
from espalier.models.onnx_graph.step import Step

__all__ = ["OPERATORS", "OnnxNetwork", "Step", "onnx_network"]
