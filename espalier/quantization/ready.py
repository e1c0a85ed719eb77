"""A deployed file made ready for quantizers."""

from pathlib import Path

import onnx
from onnx import version_converter
from onnx.shape_inference import InferenceError
from onnxruntime.quantization.shape_inference import quant_pre_process

from espalier.errors import BadInput, reason_of
from espalier.onnx_files import integer_operator

_OPSET = 13  # the first whose quantizers have a scale for each channel


def make_ready(source: Path, target: Path) -> onnx.ModelProto:
    """Write a file with folded constants, of an opset with scales per channel, whose nodes have names of their own.

    Args:
        source: file in floating point; it is not changed.
        target: file to write.

    Raises:
        BadInput: if the file has integers already, or is of an opset that onnx cannot convert.
    """
    model = onnx.load(source)
    integer = integer_operator(model)
    if integer:
        raise BadInput(
            f"Expected {source} to be in floating point; found {integer} in it: give the file that it "
            "was made of."
        )
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 1)
    given = str(source) if opset >= _OPSET else _converted(source, model, opset)
    del model  # a second copy of the weights
    quant_pre_process(given, str(target), skip_symbolic_shape=True)
    ready = onnx.load(target)
    _name_nodes(ready)
    onnx.save(ready, target)
    return ready


def _converted(source: Path, model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(model, _OPSET)
    except (RuntimeError, onnx.checker.ValidationError, InferenceError) as error:
        raise BadInput(
            f"Expected {source} to be of opset {_OPSET} or later, or one that onnx converts; found "
            f"opset {opset}: {reason_of(error)}. Export the network anew with a later one."
        ) from None


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give each node without a name, or with that of another, one of its own: quantizers are kept off nodes by name."""
    taken = {""}
    for number, node in enumerate(model.graph.node):
        if node.name in taken:
            node.name = f"{node.op_type}_{number}_of_espalier"
        taken.add(node.name)
