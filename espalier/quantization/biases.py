"""Biases of a file of integers, as the floats that their integers stand for."""

from collections import Counter

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


class _Parts:
    """A graph by the names of its tensors."""

    def __init__(self, graph: GraphProto) -> None:
        self.producers = {name: node for node in graph.node for name in node.output}
        self._constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._consumer = {name: node for node in graph.node for name in node.input}
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._uses.update(one.name for one in graph.output)

    def bias_of(self, layer: NodeProto) -> np.ndarray | None:
        """The bias of a layer as floats, if the same integers follow from them; else None."""
        inputs, weights, bias = (self.producers.get(name) for name in layer.input)
        if inputs is None or weights is None or bias is None:
            return None
        of_inputs, of_weights, of_bias = (self._scale(one) for one in (inputs, weights, bias))
        if of_inputs is None or of_weights is None or of_bias is None:
            return None
        if not self._is_fused(layer) or not _is_by_output(layer, weights, of_weights):
            return None
        integers = self._constants.get(bias.input[0])
        if integers is None or of_inputs.size != 1:
            return None
        floats = (integers * of_bias).astype(np.float32)
        again = np.rint(floats / (of_inputs * of_weights))
        return floats if np.array_equal(again, integers) else None

    def _scale(self, quantizer: NodeProto) -> np.ndarray | None:
        """The float32 scale of a dequantizing node, a constant; None for other nodes."""
        if quantizer.op_type != "DequantizeLinear":
            return None
        scale = self._constants.get(quantizer.input[1])
        return scale if scale is not None and scale.dtype == np.float32 else None

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


def _is_by_output(layer: NodeProto, weights: NodeProto, scale: np.ndarray) -> bool:
    """Whether weights have one scale, or one for each output, and products are not scaled further."""
    given = {one.name: helper.get_attribute_value(one) for one in layer.attribute}
    if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
        return False
    outputs = 1 if layer.op_type == "Gemm" and not given.get("transB", 0) else 0
    axis = next((one.i for one in weights.attribute if one.name == "axis"), 1)
    return scale.ndim == 0 or axis == outputs
