"""ONNX files from elsewhere, read without what they refer to outside their folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto
from onnx.external_data_helper import load_external_data_for_model

from espalier import files
from espalier.errors import BadInput
from espalier.reading import reading, refuse_special
from espalier.settings.limits import ONNX_BYTES

_FORM = "an ONNX file"
_ENDLESS = ("Loop",)  # operators whose end a file decides while it runs
_INTEGER = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "ConvInteger",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
)


def load_onnx(path: Path, *, external: bool = False) -> Any:
    """The content of an ONNX file. Nothing of it is run.

    Args:
        path: the file.
        external: whether weights may lie in other files of its folder, as exporters write large ones.

    Raises:
        BadInput: if it is missing, damaged or too large, has no operators or one that loops, or refers to
            data where they are not allowed.
    """
    content = files.read_bounded(path, ONNX_BYTES)
    with reading(path, _FORM):
        model = onnx.load_model_from_string(content)
        if not model.graph.node or not model.graph.output:
            raise ValueError("no operators")
        nodes = [*_nodes(model.graph), *(one for part in model.functions for one in part.node)]
    _refuse_endless(path, nodes)
    outside = [tensor for tensor in _tensors(model, nodes) if _is_external(tensor)]
    for tensor in outside:
        _check_external(path, tensor, external=external)
    if outside:
        with reading(path, _FORM):
            load_external_data_for_model(model, str(path.parent))
    return model


def integer_operator(model: Any) -> str | None:
    """The type of the first operator of a model that belongs to computing in integers; None if there is none."""
    types = (node.op_type for node in _nodes(model.graph))
    return next((one for one in types if one in _INTEGER), None)


def _refuse_endless(path: Path, nodes: list[NodeProto]) -> None:
    looping = next((node.op_type for node in nodes if node.op_type in _ENDLESS), None)
    if looping:
        raise BadInput(
            f"Expected {path} to have no operator that can run without end; found {looping}: export "
            "the network with its loop unrolled."
        )


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All operators of a graph, also of the graphs inside them."""
    for node in graph.node:
        yield node
        for inner in _graphs(node):
            yield from _nodes(inner)


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _tensors(model: Any, nodes: list[NodeProto]) -> Iterator[TensorProto]:
    """All tensors that a file holds: its weights, and those in attributes."""
    yield from model.graph.initializer
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
        for inner in _graphs(node):
            yield from inner.initializer


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _check_external(path: Path, tensor: TensorProto, *, external: bool) -> None:
    """Refuse data outside the file, or outside its folder."""
    places = {one.key: one.value for one in tensor.external_data}
    place = places.get("location", "")
    if not external:
        raise BadInput(
            f"Expected {path} to contain its weights; found external data ({tensor.name[:100]}): merge "
            f"them with onnx.save(onnx.load({path.name!r}), 'whole.onnx'), or export with "
            "external_data=False."
        )
    target = Path(os.path.realpath(path.parent / place))
    if not place or not target.is_relative_to(os.path.realpath(path.parent)):
        raise BadInput(
            f"Expected the external data of {path} in its folder; found {place[:200]!r} for "
            f"{tensor.name[:100]}."
        )
    refuse_special(target, f"the external data of {path}")
