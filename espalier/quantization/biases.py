"""Biases of a file of integers, as the floats that their integers stand for."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

_RECTIFIERS = ("Relu", "Clip")  # which the runtime computes as a part of the layer before


def store_biases_as_floats(graph: GraphProto) -> None:
    """Replace biases of 32-bit integers by floats where ONNX Runtime makes the same integers of them.

    The scale of a bias is that of the inputs times that of the weights (Jacob et al. 2018, section 2.4), and so its
    integers follow from floats: since version 1.21 ONNX Runtime computes them as it opens the file. A float takes the
    place of the integer, and neither its scale nor its quantizer are stored. A bias stays as it is where the integers
    would be others, or the runtime would not make them.

    Args:
        graph: graph of a file of integers; it is changed in place. Constants that nothing reads any more stay in it.
    """
    parts = _Parts(graph)
    biases = {node.input[2]: parts.bias_of(node) for node in graph.node if _has_bias(node)}
    for name, floats in biases.items():
        if floats is not None:
            graph.node.remove(parts.producers[name])
            graph.initializer.append(numpy_helper.from_array(floats, name))


def _has_bias(node: NodeProto) -> bool:
    return node.op_type in ("Conv", "Gemm") and len(node.input) == 3


class _Dequantized(NamedTuple):
    """A tensor that a node computes of integers.

    Attributes:
        integers: The integers, if they are a constant.
        scale: The scale, or one for each index along the axis.
        axis: The axis.
    """

    integers: np.ndarray | None
    scale: np.ndarray
    axis: int


class _Parts:
    """A graph by the names of its tensors."""

    def __init__(self, graph: GraphProto) -> None:
        self.producers = {name: node for node in graph.node for name in node.output}
        constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._dequantized = {
            node.output[0]: _Dequantized(constants.get(node.input[0]), scale, _axis(node))
            for node in graph.node
            if node.op_type == "DequantizeLinear"
            and (scale := constants.get(node.input[1])) is not None
            and scale.dtype == np.float32
        }
        self._consumer = {name: node for node in graph.node for name in node.input}
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._uses.update(one.name for one in graph.output)

    def bias_of(self, layer: NodeProto) -> np.ndarray | None:
        """The bias of a layer as floats, if the same integers follow from them; else None."""
        inputs, weights, bias = (self._dequantized.get(name) for name in layer.input)
        if inputs is None or weights is None or bias is None or not self._is_fused(layer):
            return None
        if bias.integers is None or inputs.scale.size != 1 or not _is_by_output(layer, weights):
            return None
        floats = (bias.integers * bias.scale).astype(np.float32)
        again = np.rint(floats / (inputs.scale * weights.scale))
        return floats if np.array_equal(again, bias.integers) else None

    def _is_fused(self, layer: NodeProto) -> bool:
        """Whether nothing else reads the bias, and nothing but a quantizer the output, after a rectifier or not."""
        if self._uses[layer.input[2]] != 1:
            return False
        last = layer
        while self._uses[last.output[0]] == 1 and last.output[0] in self._consumer:
            last = self._consumer[last.output[0]]
            if last.op_type not in _RECTIFIERS:
                break
        return str(last.op_type) == "QuantizeLinear"


def _axis(quantizer: NodeProto) -> int:
    return next((one.i for one in quantizer.attribute if one.name == "axis"), 1)


def _is_by_output(layer: NodeProto, weights: _Dequantized) -> bool:
    """Whether weights have one scale, or one for each output, and products are not scaled further."""
    given = {one.name: helper.get_attribute_value(one) for one in layer.attribute}
    if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
        return False
    outputs = 1 if layer.op_type == "Gemm" and not given.get("transB", 0) else 0
    return weights.scale.ndim == 0 or weights.axis == outputs
