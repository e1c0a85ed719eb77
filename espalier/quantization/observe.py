"""Histograms of the activations of a deployed file."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from espalier.quantization.ranges import BINS, Histogram
from espalier.runtimes import DEFAULT

_BATCH = 64
_TINY = 1e-20  # the range of a tensor of zeros, whose bins are still of normal numbers


def observe(path: Path, images: np.ndarray, operators: Collection[str]) -> dict[str, Histogram]:
    """Measure the float tensors that some operators read and write.

    Args:
        path: file with inferred shapes.
        images: stored inputs (N, ...).
        operators: types of the operators.

    Returns:
        A histogram for each tensor, by name. The images are run twice: for the ranges, then for the bins.
    """
    model = onnx.load(path)
    names = _tensors(model, operators)
    outputs = {output.name for output in model.graph.output}
    added = [onnx.ValueInfoProto(name=name) for name in names if name not in outputs]
    model.graph.output.extend(added)
    opened = DEFAULT.open(model.SerializeToString())
    low = dict.fromkeys(names, np.inf)
    high = dict.fromkeys(names, -np.inf)
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    for batch in batches:
        for name, values in opened.tensors(batch, names).items():
            low[name] = min(low[name], float(values.min()))
            high[name] = max(high[name], float(values.max()))
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    for batch in batches:
        for name, values in opened.tensors(batch, names).items():
            most = max(abs(low[name]), abs(high[name]), _TINY)
            found, _ = np.histogram(np.abs(values), BINS, (0.0, most))
            counts[name] += found
    return {name: Histogram(low[name], high[name], counts[name]) for name in names}


def _tensors(model: onnx.ModelProto, operators: Collection[str]) -> list[str]:
    """The names of float values (not of weights) around the operators, in the order of the graph."""
    infos = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    floats = {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats -= {weight.name for weight in model.graph.initializer}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in operators:
            names |= dict.fromkeys([*node.input, *node.output])
    return [name for name in names if name in floats]
