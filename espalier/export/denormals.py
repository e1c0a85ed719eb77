"""Numbers too small to be normal, taken out of deployed files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def flush_denormals(path: Path) -> None:
    """Set the constants of an ONNX file below the smallest normal number of their type to zero.

    Processors compute with such numbers up to a hundred times slower, and next to anything else
    they are rounding. They come from weights that training lets fade, and from norms that the
    exporter folds into such. A file without any stays as it is.
    """
    model, changed = onnx.load(path), False
    for tensor in _constants(model.graph):
        if tensor.data_type in _FLOATS:
            values = numpy_helper.to_array(tensor)
            # where the processor already takes them for zero, they are not unequal to it: so bytes
            # are compared
            flushed = np.where(
                np.abs(values) < np.finfo(values.dtype).tiny, values.dtype.type(0), values
            )
            if flushed.tobytes() != values.tobytes():
                tensor.CopyFrom(numpy_helper.from_array(flushed, tensor.name))
                changed = True
    if changed:
        onnx.save(model, path)


def _constants(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
