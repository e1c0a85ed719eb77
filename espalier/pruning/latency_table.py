"""Times of single layers in ONNX Runtime on this device, as a function of how many channels go in and out.

Layers are measured inside one graph, as the runtime's own profiler tells them: without the call, and in the layout that
they have inside a network. What was measured is kept in a file of the user's cache.
"""

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from espalier import files
from espalier.measures.device import processor

_ROUNDS = 16
_AT_ONCE = 128 * 1024 * 1024  # bytes of weights and inputs in one graph
_STEPS = 6  # of a grid: layers of 64 channels are measured at every multiple of 8 down to a quarter


@dataclass(frozen=True)
class Kind:
    """A layer that multiplies, whatever its widths.

    Attributes:
        places: Height and width of what a convolution reads; the number of rows that a linear layer does.
        kernel: Height and width; empty for a linear layer.
        stride: Of a convolution.
        padding: Of a convolution.
        dilation: Of a convolution.
        groups: Of a convolution; 0 if every channel is filtered by itself.
    """

    places: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1


@dataclass(frozen=True)
class Point:
    """A layer of given widths: the rows of its weight, and the columns."""

    kind: Kind
    rows: int
    columns: int

    @property
    def key(self) -> str:
        """A name for it."""
        kind = self.kind
        form = [kind.places, kind.kernel, kind.stride, kind.padding, kind.dilation]
        return (
            "/".join("x".join(map(str, part)) for part in form)
            + f"/{kind.groups}/{self.rows}x{self.columns}"
        )

    @property
    def read(self) -> tuple[int, ...]:
        """The shape of its input, for one image."""
        if not self.kind.kernel:
            return (1, *self.kind.places, self.columns)
        return (1, self.columns * (self.kind.groups or self.rows), *self.kind.places)

    @property
    def weight(self) -> tuple[int, ...]:
        """The shape of its weight in the runtime."""
        return (
            (self.rows, self.columns, *self.kind.kernel)
            if self.kind.kernel
            else (self.columns, self.rows)
        )


def milliseconds(points: Iterable[Point], cache: Path | None = None) -> dict[Point, float]:
    """The time of each layer for one image on one thread, from the file or measured now.

    Args:
        points: The layers.
        cache: Where what was measured is kept; the user's cache by default.
    """
    cache = cache or default_cache()
    known: dict[str, float] = files.read_json(cache) if cache.exists() else {}
    points = list(dict.fromkeys(points))
    missing = [point for point in points if point.key not in known]
    for together in _batches(missing):
        known |= {point.key: time for point, time in zip(together, measure(together), strict=True)}
    if missing:
        files.write_json(cache, known)
    return {point: known[point.key] for point in points}


def default_cache() -> Path:
    """The file of this processor and this version of the runtime."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = files.digest(
        {"processor": processor(), "onnxruntime": onnxruntime.__version__, "threads": 1}
    )
    return home / "espalier" / "latency" / f"{key[:32]}.json"


def measure(points: Sequence[Point], rounds: int = _ROUNDS) -> list[float]:
    """The milliseconds of each layer for one image on one thread, all taking turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        model = _graph(points).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = {
            f"x{number}": np.full(point.read, 0.5, np.float32)
            for number, point in enumerate(points)
        }
        for _ in range(rounds + 2):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[int, list[float]] = defaultdict(list)
    for event in events:
        name = event["name"]
        if event["cat"] == "Node" and name.startswith("layer") and name.endswith("_kernel_time"):
            times[int(name.removeprefix("layer").partition("_")[0])].append(event["dur"])
    return [_typical(times[number][2:]) for number in range(len(points))]


def _typical(microseconds: Sequence[float]) -> float:
    """The milliseconds of an undisturbed call: the mean of the lower half. The profiler cuts off fractions."""
    lower = sorted(microseconds)[: max(1, len(microseconds) // 2)]
    return (float(np.mean(lower)) + 0.5) / 1000


def _graph(points: Sequence[Point]) -> onnx.ModelProto:
    """All layers, side by side. The outputs give the names that the profiler tells."""
    nodes, weights, inputs, outputs = [], [], [], []
    for number, point in enumerate(points):
        x, w, y = f"x{number}", f"w{number}", f"layer{number}"
        value = np.full(point.weight, 0.01, np.float32)
        weights.append(numpy_helper.from_array(value, w))
        inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, point.read))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, None))
        nodes.append(helper.make_node(_operator(point), [x, w], [y], name=y, **_attributes(point)))
    graph = helper.make_graph(nodes, "layers", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _operator(point: Point) -> str:
    return "Conv" if point.kind.kernel else "MatMul"


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
    """Points that are measured together."""
    batch: list[Point] = []
    size = 0
    for point in points:
        size += 4 * (int(np.prod(point.weight)) + int(np.prod(point.read)))
        if batch and size > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(point)
    if batch:
        yield batch


def axis(width: int, step: int, *, fixed: bool) -> list[int]:
    """The widths at which a dimension is measured: multiples of `step` (of a larger step if they are many), and all."""
    if fixed or width <= step:
        return [width]
    low = max(step, width // 4 // step * step)
    step *= -(-(width - low) // (step * _STEPS))
    return [*range(low, width, step), width]


@dataclass(frozen=True)
class Grid:
    """The times of one kind of layer at some widths, with straight lines between them.

    Attributes:
        rows: (r,) ascending.
        columns: (c,) ascending.
        times: (r, c) milliseconds.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    times: NDArray[np.float64]

    def at(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """The times at other widths: never outside those of the neighbours; at the border beyond it."""
        (i, a), (j, b) = _between(self.rows, rows), _between(self.columns, columns)
        more_i, more_j = (
            np.minimum(i + 1, len(self.rows) - 1),
            np.minimum(j + 1, len(self.columns) - 1),
        )
        low = (1 - b) * self.times[i, j] + b * self.times[i, more_j]
        high = (1 - b) * self.times[more_i, j] + b * self.times[more_i, more_j]
        return np.asarray((1 - a) * low + a * high)


def _between(
    points: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The point below, and how far it is from there to the next, in [0, 1]."""
    if len(points) == 1:
        return np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape)
    below = np.clip(np.searchsorted(points, wanted, side="right") - 1, 0, len(points) - 2)
    part = (wanted - points[below]) / (points[below + 1] - points[below])
    return below, np.clip(part, 0.0, 1.0)
