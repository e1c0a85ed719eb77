"""Latencies of single layers in ONNX Runtime on this device, by the widths of the layer.

Layers are measured inside one graph by the runtime's own profiler: without the cost of a call, and
in the memory layout that they have inside a network. A file in the user's cache keeps the results.
"""

import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from espalier import files
from espalier.errors import BadInput
from espalier.measures.device import processor
from espalier.runtimes import DEFAULT

_ROUNDS = 16
_AT_ONCE = 128 * 1024 * 1024  # bytes of weights and inputs in one graph
_STEPS = 6  # of a grid: 64 channels are measured at every multiple of 8 down to a quarter


@dataclass(frozen=True)
class Kind:
    """A layer that multiplies, regardless of its widths.

    Attributes:
        places: sizes of the input of a convolution, height and width of an image; number of rows of a
            linear layer.
        kernel: sizes of the kernel; empty for a linear layer.
        stride: stride of a convolution.
        padding: padding of a convolution.
        dilation: dilation of a convolution.
        groups: number of groups of a convolution; 0 for a depthwise convolution.
    """

    places: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1


@dataclass(frozen=True)
class Point:
    """A layer of given widths.

    Attributes:
        kind: kind of the layer.
        rows: rows of its weight: outputs.
        columns: columns of its weight: inputs of a group.
    """

    kind: Kind
    rows: int
    columns: int

    @property
    def key(self) -> str:
        """The name of the point in the cache."""
        kind = self.kind
        form = [kind.places, kind.kernel, kind.stride, kind.padding, kind.dilation]
        spelled = "/".join("x".join(map(str, part)) for part in form)
        return f"{spelled}/{kind.groups}/{self.rows}x{self.columns}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the input, for one example."""
        if not self.kind.kernel:
            return (1, *self.kind.places, self.columns)
        return (1, self.columns * (self.kind.groups or self.rows), *self.kind.places)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weight in the runtime."""
        if self.kind.kernel:
            return (self.rows, self.columns, *self.kind.kernel)
        return (self.columns, self.rows)

    @property
    def bytes(self) -> int:
        """The bytes of its weight and input."""
        return 4 * (int(np.prod(self.weight_shape)) + int(np.prod(self.input_shape)))


def milliseconds(points: Iterable[Point], cache: Path | None = None) -> dict[Point, float]:
    """The latency of each layer for one example on one thread, from the cache or measured now.

    Args:
        points: the layers.
        cache: file of the measured latencies; a file in the user's cache by default.
    """
    cache = cache or default_cache()
    known = _known(cache) if cache.exists() else {}
    points = list(dict.fromkeys(points))
    missing = [point for point in points if point.key not in known]
    for batch in _batches(missing):
        for point, time in zip(batch, measure(batch), strict=True):
            known[point.key] = time
    if missing:
        files.write_json(cache, known)
    return {point: known[point.key] for point in points}


def _known(cache: Path) -> dict[str, float]:
    """The measured latencies of a cache.

    Raises:
        BadInput: if it holds something else.
    """
    known = files.read_json_object(cache)
    if not all(isinstance(one, int | float) and 0 <= one < math.inf for one in known.values()):
        raise BadInput(
            f"Expected {cache} to hold milliseconds by layer; found other values: delete it, and it is "
            "measured again."
        )
    return known


def default_cache() -> Path:
    """The cache of this processor and this version of the runtime."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    key = files.digest({"processor": processor(), DEFAULT.name: DEFAULT.version, "threads": 1})
    return home / "espalier" / "latency" / f"{key[:32]}.json"


def _home() -> Path:
    """The user's home; the temporary folder for a user without one, as in containers."""
    try:
        return Path.home()
    except (KeyError, RuntimeError):
        return Path(tempfile.gettempdir()) / f"espalier-{os.getuid()}"


def measure(points: Sequence[Point], rounds: int = _ROUNDS) -> list[float]:
    """The milliseconds of each layer for one example on one thread, measured in turn."""
    model = _graph(points).SerializeToString()
    inputs = {
        f"x{number}": np.full(point.input_shape, 0.5, np.float32)
        for number, point in enumerate(points)
    }
    times = DEFAULT.profile_layers(model, inputs, rounds + 2)
    layers: dict[int, list[float]] = defaultdict(list)
    for name, own in times.items():
        if name.startswith("layer"):
            number = int(name.removeprefix("layer").partition("_")[0])
            layers[number] += own
    return [_typical(layers[number][2:]) for number in range(len(points))]


def _typical(microseconds: Sequence[float]) -> float:
    """The milliseconds of an undisturbed call: the mean of the lower half.

    Half a microsecond is added, because the profiler truncates.
    """
    lower = sorted(microseconds)[: max(1, len(microseconds) // 2)]
    return (float(np.mean(lower)) + 0.5) / 1000


def _graph(points: Sequence[Point]) -> onnx.ModelProto:
    """All layers side by side; the profiler reports them by the names of their outputs."""
    nodes, weights, inputs, outputs = [], [], [], []
    for number, point in enumerate(points):
        x, w, y = f"x{number}", f"w{number}", f"layer{number}"
        value = np.full(point.weight_shape, 0.01, np.float32)
        weights.append(numpy_helper.from_array(value, w))
        inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, point.input_shape))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, None))
        operator = "Conv" if point.kind.kernel else "MatMul"
        nodes.append(helper.make_node(operator, [x, w], [y], name=y, **_attributes(point)))
    graph = helper.make_graph(nodes, "layers", inputs, outputs, weights)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def _attributes(point: Point) -> dict[str, object]:
    kind = point.kind
    if not kind.kernel:
        return {}
    return {
        "kernel_shape": kind.kernel,
        "strides": kind.stride,
        "pads": (*kind.padding, *kind.padding),
        "dilations": kind.dilation,
        "group": kind.groups or point.rows,
    }


def _batches(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Points that are measured in one graph."""
    batch: list[Point] = []
    size = 0
    for point in points:
        size += point.bytes
        if batch and size > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(point)
    if batch:
        yield batch


def axis(width: int, step: int, *, fixed: bool) -> list[int]:
    """The widths at which a dimension is measured, in multiples of `step`, and its full width.

    Args:
        width: full width.
        step: smallest step; a multiple of it if there would be more than six widths.
        fixed: whether nothing can be removed.

    Example:
        >>> axis(64, 8, fixed=False)
        [16, 24, 32, 40, 48, 56, 64]
    """
    if fixed or width <= step:
        return [width]
    low = max(step, width // 4 // step * step)
    step *= -(-(width - low) // (step * _STEPS))
    return [*range(low, width, step), width]


@dataclass(frozen=True)
class Grid:
    """The latencies of one kind of layer at some widths, interpolated linearly between them.

    Attributes:
        rows: (r,) ascending.
        columns: (c,) ascending.
        times: (r, c) milliseconds.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    times: NDArray[np.float64]

    def at(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """The latencies at other widths; beyond the border those at the border."""
        i, a = _between(self.rows, rows)
        j, b = _between(self.columns, columns)
        next_i = np.minimum(i + 1, len(self.rows) - 1)
        next_j = np.minimum(j + 1, len(self.columns) - 1)
        low = (1 - b) * self.times[i, j] + b * self.times[i, next_j]
        high = (1 - b) * self.times[next_i, j] + b * self.times[next_i, next_j]
        return np.asarray((1 - a) * low + a * high)


def _between(
    points: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The number of the point below, and the relative distance to the next one, in [0, 1]."""
    if len(points) == 1:
        return np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape)
    position = np.searchsorted(points, wanted, side="right") - 1
    below = np.clip(position, 0, len(points) - 2)
    distance = (wanted - points[below]) / (points[below + 1] - points[below])
    return below, np.clip(distance, 0.0, 1.0)
