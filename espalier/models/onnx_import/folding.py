"""Operators whose operands are all known, computed while the file is read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from espalier.models.onnx_import.values import Activation, Array, Known, Unsupported

_MOST = 2**28  # elements of a computed constant; a hostile file asks for more than the memory


def fold(node: Any, operands: Sequence[Known | None], opsets: Sequence[Any]) -> list[Known]:
    """The outputs of a node whose operands are known.

    They are computed by the reference implementation of ONNX, in numpy.

    Raises:
        Unsupported: if the result is too large.
    """
    _refuse_large(node, operands)
    first = _evaluate(node, operands, 0, opsets)
    if all(one is None or one.is_constant for one in operands):
        return [Known.of(array) for array in first]
    second = _evaluate(node, operands, 1, opsets)
    return [Known(arrays) for arrays in zip(first, second, strict=True)]


def shape_of(node: Any, value: Activation) -> Known:
    """The output of `Shape`: sizes; that of the batch alone differs between the batch sizes."""
    chosen = {one.name: one.i for one in node.attribute}
    part = slice(chosen.get("start"), chosen.get("end"))
    one, other = (np.array(shape[part], np.int64) for shape in value.shapes)
    return Known((one, other))


def _evaluate(
    node: Any, operands: Sequence[Known | None], place: int, opsets: Sequence[Any]
) -> list[Array]:
    """The outputs of a node at one of the two batch sizes."""
    given = {}
    for name, value in zip(node.input, operands, strict=True):
        if value is not None:
            given[name] = value.arrays[place]
    inputs = [_untyped(name) for name in given]
    outputs = [_untyped(name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    model = helper.make_model(graph, opset_imports=opsets)
    found = ReferenceEvaluator(model).run(None, given)
    return [np.asarray(array) for array in found]


def _untyped(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)


def _refuse_large(node: Any, operands: Sequence[Known | None]) -> None:
    """Refuse an operator that a few numbers blow up."""
    if node.op_type not in ("ConstantOfShape", "Expand", "Tile", "Range"):
        return
    for value in operands:
        if value is None or value.arrays[0].dtype.kind != "i":
            continue
        sizes = value.arrays[0].astype(float)
        volume = float(np.abs(sizes).prod())
        if volume > _MOST:
            raise Unsupported(f"{volume:.0f} elements")
