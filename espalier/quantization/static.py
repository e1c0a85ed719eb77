"""Static int8: ranges of activations are measured once; weights are quantized per channel (Jacob et al. 2018)."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from espalier.errors import BadInput
from espalier.quantization.observe import observe
from espalier.quantization.ranges import CALIBRATIONS

_OPERATORS = ["Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool"]
_OPERATORS += ["Concat", "ReduceMean", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"]


def quantize(
    source: Path, target: Path, images: np.ndarray, *, calibration: str = "entropy", reduce_range: bool = True
) -> None:
    """Quantize a deployed file: unsigned 8-bit activations, signed 8-bit weights per channel.

    Unsigned activations are what processors multiply fast with signed weights; both signed is slower than float32.

    Args:
        source: The file to quantize; it is left as it is.
        target: Where to write.
        images: (N, C, H, W) uint8, of the training split, on which ranges are measured.
        calibration: How a range is chosen from what was measured: `minmax`, `percentile` or `entropy` (KL).
        reduce_range: Use 7 bits for weights. Processors without VNNI add pairs of 8-bit products in 16 bits, which
            can saturate; with 7 bits the same file gives the same answers everywhere.

    Raises:
        BadInput: If the calibration is unknown or there are no images.
    """
    if calibration not in CALIBRATIONS:
        raise BadInput(f"`calibration` should be one of {', '.join(CALIBRATIONS)}. Found {calibration!r}.")
    if not len(images):
        raise BadInput("Calibration should be given images. Found none.")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        choose = CALIBRATIONS[calibration]
        ranges = {name: choose(histogram) for name, histogram in observe(ready, images, _OPERATORS).items()}
        model = onnx.load(ready)
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, _as_float32(ranges)),
            nodes_to_quantize=[],
            nodes_to_exclude=_before_the_network(model),
            op_types_to_quantize=_OPERATORS,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        onnx.save(quantizer.model.model, target)


def _as_float32(ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}


def _before_the_network(model: onnx.ModelProto) -> list[str]:
    """The nodes that turn pixels into the network's input: up to the first that multiplies by weights."""
    names = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul", "Reshape", "Flatten"):
            break
        names.append(node.name)
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's advice on how to call it from the user's terminal."""
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(former)
