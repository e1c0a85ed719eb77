"""Embeddings in deployed files: tables from which rows are looked up."""

import onnx
from onnx import TensorProto


def other_lookups(model: onnx.ModelProto) -> list[str]:
    """The names of `Gather` nodes that are no embeddings.

    An embedding looks up rows of a stored table of numbers, at places that depend on the input.
    Other lookups take a fixed part of a tensor, and stay as they are.
    """
    tables = {one.name for one in model.graph.initializer if one.data_type == TensorProto.FLOAT}
    fixed = {one.name for one in model.graph.initializer}
    fixed |= {
        name for node in model.graph.node if node.op_type == "Constant" for name in node.output
    }
    lookups = [node for node in model.graph.node if node.op_type == "Gather"]
    return [node.name for node in lookups if node.input[0] not in tables or node.input[1] in fixed]
