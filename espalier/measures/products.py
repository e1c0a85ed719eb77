"""The products of a deployed file: in integers, or in floating point."""

import onnx
from onnx import NodeProto

NETWORK = "/network/"  # prefix of the nodes of the network in deployed files
_FLOAT = ("Conv", "ConvTranspose", "Einsum", "Gemm", "GRU", "LSTM", "MatMul", "RNN")
INTEGER = ("MatMulInteger", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")


def products(model: onnx.ModelProto) -> list[bool]:
    """Whether each convolution, matrix product and recurrent layer of the network computes in integers.

    Runtimes compute a product in integers where both of its factors are stored as integers, so that
    each is the output of a `DequantizeLinear`.

    Args:
        model: deployed file, as Espalier exports or quantizes it.
    """
    nodes = model.graph.node
    stored = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return [
        node.op_type in INTEGER or stored.issuperset(node.input[:2])
        for node in nodes
        if _is_product(node)
    ]


def _is_product(node: NodeProto) -> bool:
    return node.op_type in (*_FLOAT, *INTEGER) and node.name.startswith(NETWORK)
