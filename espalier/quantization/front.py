"""The front of a deployed file: it stays in floating point, and as it was exported."""

from collections.abc import Sequence

import onnx
from onnx import NodeProto, numpy_helper

from espalier.measures.products import NETWORK
from espalier.quantization.embeddings import other_lookups

_READOUT = "/readout/"  # prefix of the nodes of the readout in deployed files
_WEIGHTED = ("Conv", "Gemm", "MatMul", "Reshape", "Flatten")


def front_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes of the front: all before the first of the network.

    Files that were not exported here have no such names: there the front ends where weights begin.
    """
    return [node.name for node in _front(model)]


def float_nodes(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes that stay in floating point: the front, lookups of no embedding, a readout of heads."""
    return [*front_nodes(model), *other_lookups(model), *readout_of_heads(model)]


def readout_of_heads(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes of a readout that joins several heads; empty if there is none.

    Logits and values in the unit of the targets have no common range: with a single scale of 8 bits
    for both, a price in thousands would leave no step for a logit.
    """
    nodes = [node for node in model.graph.node if node.name.startswith(_READOUT)]
    joined = any(node.op_type == "Concat" for node in nodes)
    return [node.name for node in nodes] if joined else []


def with_exported_front(optimised: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """An optimised file with the front of its source, if that is smaller.

    The front of clips computes its cosines when a runtime opens the file: 2 kB of formula stand for
    170 kB of values, which optimisers write out.

    Args:
        optimised: file with folded constants; it is changed in place.
        source: file as it was exported.
    """
    if not _is_exported_here(optimised):
        return optimised
    graph = optimised.graph
    own = _front(optimised)
    exported = _front(source)
    network = list(graph.node)[len(own) :]
    boundary = _outputs(own) & _inputs(network)
    if not boundary <= _outputs(exported) or _stored(optimised, own) <= _stored(source, exported):
        return optimised
    needed = _inputs([*exported, *network]) - _outputs(exported)
    tensors = {one.name: one for one in (*graph.initializer, *source.graph.initializer)}
    kept = [one for name, one in tensors.items() if name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*exported, *network])
    graph.initializer.extend(kept)
    return optimised


def _inputs(nodes: Sequence[NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}


def _outputs(nodes: Sequence[NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.output}


def _stored(model: onnx.ModelProto, nodes: Sequence[NodeProto]) -> int:
    """Bytes of the constants that some nodes read."""
    read = _inputs(nodes)
    stored = [one for one in model.graph.initializer if one.name in read]
    return sum(numpy_helper.to_array(one).nbytes for one in stored)


def _front(model: onnx.ModelProto) -> list[NodeProto]:
    nodes = list(model.graph.node)
    if _is_exported_here(model):
        ends = [node.name.startswith(NETWORK) for node in nodes]
    else:
        ends = [node.op_type in _WEIGHTED for node in nodes]
    return nodes[: ends.index(True)] if True in ends else nodes


def _is_exported_here(model: onnx.ModelProto) -> bool:
    return any(node.name.startswith(NETWORK) for node in model.graph.node)
