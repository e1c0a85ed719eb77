"""Dynamic int8: the range of an activation is measured anew in every call; only weights are integers in the file."""

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from espalier.errors import BadInput
from espalier.quantization.quiet import quiet
from espalier.quantization.unfolded import with_exported_front

_OPERATORS = ["Gemm", "MatMul"]  # a convolution would be four times as slow as in float32
_INTEGER = ("MatMulInteger", "DynamicQuantizeMatMul")


def quantize_dynamically(
    source: Path, target: Path, *, per_channel: bool = True, reduce_range: bool = True
) -> None:
    """Quantize the linear layers of a deployed file: signed 8-bit weights; activations become unsigned as they come.

    For networks that are mostly linear layers (perceptrons, transformers). It needs no images.

    Args:
        source: The file to quantize; it is left as it is.
        target: file to write.
        per_channel: A scale for every output of a layer, instead of one for all of them.
        reduce_range: 7-bit weights, exact on processors without VNNI.

    Raises:
        BadInput: If the network has no linear layer.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        ready, done = Path(folder) / "ready.onnx", Path(folder) / "done.onnx"
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantize_dynamic(
            ready,
            done,
            op_types_to_quantize=_OPERATORS,
            per_channel=per_channel,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
        )
        model = with_exported_front(onnx.load(done), onnx.load(source))
    if not any(node.op_type in _INTEGER for node in model.graph.node):
        raise BadInput(
            "Expected a network to be quantized dynamically to have linear layers; found none."
        )
    onnx.save(model, target)
