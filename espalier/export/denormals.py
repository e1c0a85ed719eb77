"""Numbers too small to be normal, taken out of deployed files."""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from espalier.export.exported import Exported

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
_AT_ONCE = 2**20  # numbers, so that the masks of a large tensor take no memory


def flush_denormals(exported: Exported) -> None:
    """Set the constants of a file below the smallest normal number of their type to zero, in place.

    Processors compute with such numbers up to a hundred times slower, and next to anything else
    they are rounding. They come from weights that training lets fade, and from norms that the
    exporter folds into such.
    """
    graph, weights = exported.model.graph, exported.weights
    for place, tensor in enumerate(graph.initializer):
        weights[place] = _flushed(weights[place], tensor.data_type)
    for tensor in _constants(graph):
        content = numpy_helper.to_array(tensor).tobytes()
        flushed = _flushed(content, tensor.data_type)
        if flushed is not content:
            values = np.frombuffer(flushed, helper.tensor_dtype_to_np_dtype(tensor.data_type))
            tensor.CopyFrom(numpy_helper.from_array(values.reshape(tensor.dims), tensor.name))


def _flushed(content: bytes, kind: int) -> bytes:
    """The numbers of one of ONNX's types, with zero for denormal ones and for -0; `content` itself without any.

    They are compared as integers: a processor may take denormal numbers for zeros.
    """
    if kind not in _FLOATS:
        return content
    number = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    integer = np.dtype(f"u{number.itemsize}")
    smallest = np.finfo(number).tiny.view(integer)
    magnitude = np.iinfo(integer).max >> 1  # all bits but the sign
    bits = np.frombuffer(content, integer)
    for start in range(0, len(bits), _AT_ONCE):
        part = bits[start : start + _AT_ONCE]
        small = (part & magnitude < smallest) & (part != 0)
        if small.any():
            bits = bits if bits.flags.writeable else bits.copy()
            bits[start : start + _AT_ONCE][small] = 0
    return bits.tobytes() if bits.flags.writeable else content


def _constants(graph: onnx.GraphProto) -> list[TensorProto]:
    """The floating-point tensors in attributes of nodes."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [one.t for one in attributes if one.type == AttributeProto.TENSOR]
    return [tensor for tensor in tensors if tensor.data_type in _FLOATS]
