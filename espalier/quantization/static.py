"""Static int8: ranges of activations are measured once (Jacob et al. 2018)."""

import copy
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from espalier import files
from espalier.errors import BadInput
from espalier.quantization.front import float_nodes, with_exported_front
from espalier.quantization.observe import Activations
from espalier.quantization.quiet import quiet
from espalier.quantization.ranges import WITHOUT_COUNTS
from espalier.quantization.ready import make_ready
from espalier.quantization.robust import Ranges, ranges_of_each, robust_ranges

_OPERATORS = [
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Mul",
    "Relu",
    "Clip",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
]
_OPERATORS += ["Concat", "ReduceMean", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"]
_OPERATORS += ["Gather"]  # of embeddings alone
_WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Observed:
    """A deployed file that is ready for quantization, and its activations.

    Attributes:
        model: optimised graph of the file.
        samples: the activations for every sample of images.
    """

    model: onnx.ModelProto
    samples: tuple[Activations, ...]
    _chosen: dict[str, list[Ranges]] = field(default_factory=dict, repr=False)

    def each(self, calibration: str) -> list[Ranges]:
        """The ranges that a calibration chooses on each sample.

        Raises:
            BadInput: if the calibration is unknown.
        """
        if calibration not in self._chosen:
            counted = calibration not in WITHOUT_COUNTS
            histograms = [sample.histograms(counted=counted) for sample in self.samples]
            self._chosen[calibration] = ranges_of_each(histograms, calibration)
        return self._chosen[calibration]

    def ranges(self, calibration: str) -> Ranges:
        """The median ranges over the samples.

        Raises:
            BadInput: if the calibration is unknown.
        """
        return robust_ranges(self.each(calibration))

    @property
    def layers(self) -> list[str]:
        """The names of the nodes that multiply by weights, in the order of the graph."""
        weights = {weight.name for weight in self.model.graph.initializer}
        nodes = [node for node in self.model.graph.node if node.op_type in _WEIGHTED]
        return [node.name for node in nodes if node.input[1] in weights]


def quantize(
    source: Path,
    target: Path,
    images: np.ndarray,
    *,
    calibration: str = "entropy",
    per_channel: bool = True,
    reduce_range: bool = True,
) -> None:
    """Quantize a deployed file: unsigned 8-bit activations, signed 8-bit weights.

    Processors multiply unsigned activations with signed weights fast; with both signed, the file is
    slower than float32.

    Args:
        source: file to quantize; it is not changed.
        target: path to write to; it is the old or the whole new file at any time.
        images: stored inputs (N, ...) of the training split, on which ranges are measured.
        calibration: choice of a range from a histogram: `minmax`, `percentile` or `entropy`.
        per_channel: whether every filter of a weight has its own scale.
        reduce_range: whether weights use 7 bits. Processors without VNNI add pairs of 8-bit
            products in 16 bits, which can saturate; with 7 bits a file gives the same outputs
            everywhere.

    Raises:
        BadInput: if the calibration is unknown, there are no images, or the file has integers already.
    """
    observed = observe_file(source, [images])
    ranges = observed.ranges(calibration)
    model = insert(observed.model, ranges, per_channel=per_channel, reduce_range=reduce_range)
    with files.writing(target) as draft:
        onnx.save(model, draft)


def observe_file(source: Path, samples: Sequence[np.ndarray]) -> Observed:
    """Prepare a deployed file, and measure its activations on one or more samples of images.

    Args:
        source: file; it is not changed.
        samples: samples of stored inputs (N, ...).

    Raises:
        BadInput: if there are no images, or as of `make_ready`.
    """
    if not samples or not all(len(images) for images in samples):
        raise BadInput("Expected calibration to be given images; found none.")
    with tempfile.TemporaryDirectory() as folder, quiet():
        ready = Path(folder) / "ready.onnx"
        optimised = with_exported_front(make_ready(source, ready), onnx.load(source))
        return Observed(
            optimised, tuple(Activations(ready, images, _OPERATORS) for images in samples)
        )


def insert(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    *,
    per_channel: bool = True,
    reduce_range: bool = True,
    only: Collection[str] = (),
    floats: Collection[str] = (),
) -> onnx.ModelProto:
    """Insert quantizers and integer weights into a graph.

    Args:
        model: graph that was observed; it is not changed.
        ranges: range of every tensor, by name.
        per_channel: as in `quantize`.
        reduce_range: as in `quantize`.
        only: names of the nodes to quantize; if empty, all that can be quantized.
        floats: names of nodes that stay in floating point.
    """
    with quiet():
        quantizer = QDQQuantizer(
            copy.deepcopy(model),
            per_channel=per_channel,
            reduce_range=reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, _as_float32(ranges)),
            nodes_to_quantize=list(only),
            nodes_to_exclude=[*float_nodes(model), *floats],
            op_types_to_quantize=_OPERATORS,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        # ONNX Runtime reads nodes in any order, but the standard asks for this one
        quantizer.model.topological_sort()
    return quantizer.model.model


def _as_float32(
    ranges: Mapping[str, tuple[float, float]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        name: (np.array(low, np.float32), np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
