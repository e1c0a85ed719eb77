"""Dynamic int8: the range of an activation is measured anew in every call; only weights are integers in the file."""

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from espalier import files
from espalier.errors import BadInput
from espalier.measures.products import INTEGER
from espalier.quantization.front import float_nodes, with_exported_front
from espalier.quantization.quiet import quiet
from espalier.quantization.ready import make_ready
from espalier.quantization.recurrent import recurrent_notes

# a convolution would be four times as slow as in float32; of lookups only embeddings are quantized
_OPERATORS = ["Gemm", "MatMul", "LSTM", "Gather"]


def quantize_dynamically(
    source: Path, target: Path, *, per_channel: bool = True, reduce_range: bool = True
) -> None:
    """Quantize linear layers, LSTMs and embeddings: signed 8-bit weights; activations become unsigned as they come.

    For networks that are mostly linear or recurrent layers (perceptrons, transformers). It needs no examples.

    Args:
        source: The file to quantize; it is left as it is.
        target: file to write.
        per_channel: A scale for every output of a layer, instead of one for all of them.
        reduce_range: 7-bit weights, exact on processors without VNNI.

    Raises:
        BadInput: if the network has neither linear layers nor LSTMs, or has integers already.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        ready, done = Path(folder) / "ready.onnx", Path(folder) / "done.onnx"
        prepared = make_ready(source, ready)
        quantize_dynamic(
            ready,
            done,
            op_types_to_quantize=_OPERATORS,
            per_channel=per_channel,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=float_nodes(prepared),
        )
        model = with_exported_front(onnx.load(done), onnx.load(source))
    if not any(node.op_type in INTEGER for node in model.graph.node):
        expected = "Expected a network to be quantized dynamically to have linear layers or LSTMs; found none."
        raise BadInput(" ".join((expected, *recurrent_notes(model))))
    with files.writing(target) as draft:
        onnx.save(model, draft)
