"""Ranges and histograms of the activations of a deployed file."""

import math
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from espalier.errors import BadInput
from espalier.processors import batch_size_for
from espalier.quantization.front import float_nodes
from espalier.quantization.ranges import BINS, Histogram, count_magnitudes
from espalier.runtimes import DEFAULT

_MOST_IMAGES = 64


class Activations:
    """The float tensors that some operators read and write, for the images of a sample.

    Tensors around nodes that stay in floating point do not count: the front of a table reads missing
    numbers. The images are run once for the smallest and largest values, and once more when counts
    are asked for.
    """

    def __init__(self, path: Path, images: np.ndarray, operators: Collection[str]) -> None:
        """Run the images.

        Args:
            path: file with inferred shapes.
            images: stored inputs (N, ...).
            operators: types of the operators.

        Raises:
            BadInput: if a value is not finite.
        """
        model = onnx.load(path)
        names = _tensors(model, operators)
        outputs = {output.name for output in model.graph.output}
        added = [onnx.ValueInfoProto(name=name) for name in names if name not in outputs]
        model.graph.output.extend(added)
        self._names, self._images, self._batch_size = names, images, _batch_size(model, names)
        self._opened = DEFAULT.open(model.SerializeToString())
        self._low = dict.fromkeys(names, np.inf)
        self._high = dict.fromkeys(names, -np.inf)
        for name, values in self._values():
            low, high = float(values.min()), float(values.max())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise BadInput(
                    "Expected every layer to give finite values for the calibration images; found "
                    f"{low:g} to {high:g} in {name!r}: its layer overflows, or has weights that "
                    "are not finite. Check the network on these images before it is quantized."
                )
            self._low[name] = min(self._low[name], low)
            self._high[name] = max(self._high[name], high)

    def histograms(self, *, counted: bool) -> dict[str, Histogram]:
        """The histogram of each tensor, by name; without counts, it has the extremes alone."""
        counts = self._counts if counted else dict.fromkeys(self._names, np.zeros(0, np.int64))
        return {
            name: Histogram(self._low[name], self._high[name], counts[name]) for name in self._names
        }

    @cached_property
    def _counts(self) -> dict[str, np.ndarray]:
        counts = {name: np.zeros(BINS, np.int64) for name in self._names}
        for name, values in self._values():
            counts[name] += count_magnitudes(values, self._low[name], self._high[name])
        return counts

    def _values(self) -> Iterator[tuple[str, np.ndarray]]:
        """The tensors of each batch, with their names."""
        for start in range(0, len(self._images), self._batch_size):
            batch = self._images[start : start + self._batch_size]
            yield from self._opened.tensors(batch, self._names).items()


def _batch_size(model: onnx.ModelProto, names: Collection[str]) -> int:
    """The number of images that the file takes at a time, else a power of two from 1 to 64 by the largest tensor."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if dims and dims[0].dim_value:
        return int(dims[0].dim_value)
    infos = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    sizes = [_bytes_of_one(info) for info in infos if info.name in names]
    return batch_size_for(max(sizes, default=1), 1, _MOST_IMAGES)


def _bytes_of_one(info: onnx.ValueInfoProto) -> int:
    """The bytes of a float tensor (N, ...) for one image; a dimension of unknown size counts as 1."""
    sizes = [int(dimension.dim_value) for dimension in info.type.tensor_type.shape.dim]
    return 4 * math.prod(max(1, size) for size in sizes[1:])


def _tensors(model: onnx.ModelProto, operators: Collection[str]) -> list[str]:
    """The names of float values (not of weights) around the operators, in the order of the graph."""
    left_out = set(float_nodes(model))
    infos = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    floats = {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats -= {weight.name for weight in model.graph.initializer}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in operators and node.name not in left_out:
            names |= dict.fromkeys([*node.input, *node.output])
    return [name for name in names if name in floats]
