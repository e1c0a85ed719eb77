"""Static int8: ranges of activations are measured once; weights are quantized per channel (Jacob et al. 2018)."""

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
from onnxruntime.quantization.shape_inference import quant_pre_process

from espalier.errors import BadInput
from espalier.quantization.observe import observe
from espalier.quantization.quiet import quiet
from espalier.quantization.ranges import Histogram
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
_WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Observed:
    """A deployed file, made ready to be quantized, and what its activations were like.

    Attributes:
        model: The file's graph, optimised.
        samples: For every sample of images, a histogram of each tensor by its name.
    """

    model: onnx.ModelProto
    samples: tuple[Mapping[str, Histogram], ...]
    _chosen: dict[str, list[Ranges]] = field(default_factory=dict, repr=False)

    def each(self, calibration: str) -> list[Ranges]:
        """The ranges that a calibration chooses on each sample by itself.

        Raises:
            BadInput: If the calibration is unknown.
        """
        if calibration not in self._chosen:
            self._chosen[calibration] = ranges_of_each(self.samples, calibration)
        return self._chosen[calibration]

    def ranges(self, calibration: str) -> Ranges:
        """Their medians.

        Raises:
            BadInput: If the calibration is unknown.
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

    Unsigned activations are what processors multiply fast with signed weights; both signed is
    slower than float32.

    Args:
        source: The file to quantize; it is left as it is.
        target: Where to write.
        images: (N, C, H, W) uint8, of the training split, on which ranges are measured.
        calibration: How a range is chosen from what was measured: `minmax`, `percentile` or
            `entropy` (KL).
        per_channel: A scale for every filter of a weight, instead of one for all of them.
        reduce_range: Use 7 bits for weights. Processors without VNNI add pairs of 8-bit products in
            16 bits, which can saturate; with 7 bits the same file gives the same answers
            everywhere.

    Raises:
        BadInput: If the calibration is unknown or there are no images.
    """
    observed = observe_file(source, [images])
    ranges = observed.ranges(calibration)
    onnx.save(
        insert(observed.model, ranges, per_channel=per_channel, reduce_range=reduce_range), target
    )


def observe_file(source: Path, samples: Sequence[np.ndarray]) -> Observed:
    """Make a deployed file ready, and measure its activations on one or more samples of images.

    Args:
        source: The file; it is left as it is.
        samples: Each (N, C, H, W) uint8.

    Raises:
        BadInput: If there are no images.
    """
    if not samples or not all(len(images) for images in samples):
        raise BadInput("Expected calibration to be given images; found none.")
    with tempfile.TemporaryDirectory() as folder, quiet():
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        return Observed(
            onnx.load(ready), tuple(observe(ready, images, _OPERATORS) for images in samples)
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
    """Put quantizers and integer weights into a graph.

    Args:
        model: The graph that was observed; it is left as it is.
        ranges: Of every tensor, by name.
        per_channel: As in `quantize`.
        reduce_range: Likewise.
        only: The names of the only nodes to quantize; all that can be, if there are none.
        floats: The names of nodes that stay in floating point.
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
            nodes_to_exclude=[*_before_the_network(model), *floats],
            op_types_to_quantize=_OPERATORS,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        # its own runtime reads nodes in any order, the standard wants this one
        quantizer.model.topological_sort()
    return quantizer.model.model


def _as_float32(
    ranges: Mapping[str, tuple[float, float]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        name: (np.array(low, np.float32), np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }


def _before_the_network(model: onnx.ModelProto) -> list[str]:
    """The nodes that turn pixels into the network's input: up to the first that multiplies by weights."""
    names = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul", "Reshape", "Flatten"):
            break
        names.append(node.name)
    return names
