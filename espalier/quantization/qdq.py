"""Fake quantizers, which torch exports as pairs of QuantizeLinear and DequantizeLinear, made a file of integers.

ONNX Runtime fuses such pairs with what is between them into integer kernels, if weights and biases are integers too.
"""

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from espalier.quantization.compact import drop_unread_constants

_LARGEST = 2**30  # of a bias, so that there is room for the sum of products


def with_integer_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store quantized weights as 8-bit integers in the file, and their biases as 32-bit integers.

    A bias has the scale of its layer's products: that of the activations times that of the weights
    (Jacob et al. 2018, section 2.4). If a bias does not fit into 32 bits, its weights are a billionth
    of it, and get larger steps.

    Args:
        model: model; it is changed in place.
    """
    graph = _Graph(model)
    graph.drop_identities()
    for node in [node for node in model.graph.node if node.op_type == "QuantizeLinear"]:
        if node.input[0] in graph.weights:
            graph.quantize_weight(node)
    for node in [node for node in model.graph.node if node.op_type == "Transpose"]:
        graph.transpose_weight(node)
    for node in [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]:
        graph.quantize_bias(node)
    graph.drop_unused()
    return model


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self.weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output}

    def drop_identities(self) -> None:
        """Replace the names of equal weights, which the exporter writes as nodes, by the first name."""
        same: dict[str, str] = {}
        for node in [node for node in self._graph.node if node.op_type == "Identity"]:
            source = same.get(node.input[0], node.input[0])
            if source in self.weights:
                same[node.output[0]] = source
                self._graph.node.remove(node)
        for node in self._graph.node:
            for place, name in enumerate(node.input):
                node.input[place] = same.get(name, name)

    def quantize_weight(self, node: NodeProto) -> None:
        """Replace a weight and its quantizing node by integers."""
        weight, scale, zero = (self.weights[name] for name in node.input)
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0) if scale.ndim else 0
        shape = [-1 if dimension == axis else 1 for dimension in range(weight.ndim)]
        scale, zero = (one.reshape(shape) if one.ndim else one for one in (scale, zero))
        bounds = np.iinfo(zero.dtype)
        integers = np.clip(np.rint(weight / scale) + zero, bounds.min, bounds.max).astype(
            zero.dtype
        )
        self._add(node.output[0], integers)
        self._graph.node.remove(node)

    def transpose_weight(self, node: NodeProto) -> None:
        """Transpose the integers of a transposed quantized weight of two dimensions."""
        before = self._producers.get(node.input[0])
        if (
            before is None
            or before.op_type != "DequantizeLinear"
            or before.input[0] not in self.weights
        ):
            return
        integers = self.weights[before.input[0]]
        if integers.ndim != 2:
            return
        self._add(f"{node.output[0]}_integers", integers.T)
        dequantize = helper.make_node(
            "DequantizeLinear",
            [f"{node.output[0]}_integers", *before.input[1:]],
            [node.output[0]],
            axis=1,
        )
        self._insert(node, dequantize)
        self._graph.node.remove(node)

    def quantize_bias(self, node: NodeProto) -> None:
        """Replace the bias of a layer that multiplies integers by integers."""
        if len(node.input) < 3 or node.input[2] not in self.weights:
            return
        scales = [self._scale(name) for name in node.input[:2]]
        if scales[0] is None or scales[1] is None:
            return
        bias = self.weights[node.input[2]].astype(np.float64)
        growth = np.maximum(1.0, np.abs(bias) / (scales[0] * scales[1]) / _LARGEST)
        if growth.max() > 1:
            scales[1] = self._coarser(node, growth)
        scale = np.broadcast_to((scales[0] * scales[1]).astype(np.float32), bias.shape)
        name = f"{node.output[0]}_bias"
        self._add(f"{name}_integers", np.rint(bias / scale).astype(np.int32))
        self._add(f"{name}_scale", scale)
        self._insert(
            node,
            helper.make_node(
                "DequantizeLinear", [f"{name}_integers", f"{name}_scale"], [name], axis=0
            ),
        )
        node.input[2] = name

    def _coarser(self, node: NodeProto, growth: np.ndarray) -> np.ndarray:
        """Multiply the steps of a layer's filters by `growth`; returns the steps."""
        former = self._producers[node.input[1]]
        integers = self.weights[former.input[0]]
        scale = self.weights[former.input[1]]
        growth = growth if scale.ndim else growth.max()
        axis = next((one.i for one in former.attribute if one.name == "axis"), 0)
        shape = [-1 if dimension == axis else 1 for dimension in range(integers.ndim)]
        name = f"{node.output[0]}_weight"
        coarser = np.rint(integers / np.reshape(growth, shape if scale.ndim else ()))
        steps: np.ndarray = (scale * growth).astype(np.float32)
        self._add(f"{name}_integers", coarser.astype(np.int8))
        self._add(f"{name}_scale", steps)
        names = [f"{name}_integers", f"{name}_scale", former.input[2]]
        self._insert(node, helper.make_node("DequantizeLinear", names, [name], axis=axis))
        node.input[1] = name
        return steps

    def drop_unused(self) -> None:
        """Remove nodes without used outputs, and weights without a reader."""
        while unused := self._unused_nodes():
            for node in unused:
                self._graph.node.remove(node)
        drop_unread_constants(self._graph)

    def _unused_nodes(self) -> list[NodeProto]:
        read = {name for node in self._graph.node for name in node.input}
        used = read | {output.name for output in self._graph.output}
        return [node for node in self._graph.node if used.isdisjoint(node.output)]

    def _scale(self, name: str) -> np.ndarray | None:
        producer = self._producers.get(name)
        return (
            self.weights.get(producer.input[1])
            if producer is not None and producer.op_type == "DequantizeLinear"
            else None
        )

    def _add(self, name: str, values: np.ndarray) -> None:
        self.weights[name] = values
        tensor: TensorProto = numpy_helper.from_array(np.ascontiguousarray(values), name)
        self._graph.initializer.append(tensor)

    def _insert(self, before: NodeProto, node: NodeProto) -> None:
        node.name = node.output[0]
        self._graph.node.insert(list(self._graph.node).index(before), node)
        self._producers |= dict.fromkeys(node.output, node)
