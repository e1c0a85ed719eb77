"""Biases of a file of integers, as the floats that their integers stand for."""

from collections import Counter

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

_BETWEEN = ("Relu", "Clip")  # what a runtime computes within the quantized operator before it


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
    for node in graph.node:
        bias = parts.bias_of(node)
        if bias is not None:
            name = f"{node.input[2]}_float"
            if name not in parts.constants:
                parts.constants[name] = bias
                graph.initializer.append(numpy_helper.from_array(bias, name))
            node.input[2] = name


class _Parts:
    """A graph by the names of its tensors."""

    def __init__(self, graph: GraphProto) -> None:
        self.constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._uses.update(one.name for one in graph.output)
        self._consumer = {name: node for node in graph.node for name in node.input}

    def bias_of(self, node: NodeProto) -> np.ndarray | None:
        """The bias of a layer as floats, if the same integers follow from them; else None."""
        if (
            node.op_type not in ("Conv", "Gemm")
            or len(node.input) < 3
            or not self._is_quantized(node)
        ):
            return None
        inputs, weights, bias = (self._producers.get(name) for name in node.input)
        scales = [self._scale(one) for one in (inputs, weights, bias)]
        of_inputs, of_weights, of_bias = scales
        if bias is None or of_inputs is None or of_weights is None or of_bias is None:
            return None
        integers = self.constants.get(bias.input[0])
        if integers is None or of_inputs.size != 1 or not _is_by_output(node, weights, of_weights):
            return None
        floats = (integers * of_bias).astype(np.float32)
        again = np.rint(floats / (of_inputs * of_weights))
        return floats if np.array_equal(again, integers) else None

    def _scale(self, quantizer: NodeProto | None) -> np.ndarray | None:
        """The float32 scale of a dequantizing node, a constant; None for other nodes."""
        if quantizer is None or quantizer.op_type != "DequantizeLinear":
            return None
        scale = self.constants.get(quantizer.input[1])
        return scale if scale is not None and scale.dtype == np.float32 else None

    def _is_quantized(self, node: NodeProto) -> bool:
        """Whether the output of a layer has no use but a quantizer."""
        while self._uses[node.output[0]] == 1 and node.output[0] in self._consumer:
            node = self._consumer[node.output[0]]
            if node.op_type not in _BETWEEN:
                break
        return str(node.op_type) == "QuantizeLinear"


def _is_by_output(node: NodeProto, weights: NodeProto | None, scale: np.ndarray) -> bool:
    """Whether weights have one scale, or one for each output."""
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if weights is None or given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
        return False
    outputs = 1 if node.op_type == "Gemm" and not given.get("transB", 0) else 0
    axis = next((one.i for one in weights.attribute if one.name == "axis"), 1)
    return scale.ndim == 0 or axis == outputs
