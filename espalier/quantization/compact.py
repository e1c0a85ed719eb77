"""A file of integers without the names that only its making needed."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, numpy_helper

from espalier.quantization.biases import store_biases_as_floats

_NOTES = ("onnx.infer", "onnx.quant.pre_process")
_QUANTIZERS = ("DequantizeLinear", "QuantizeLinear")
# attributes of a convolution, and the number that all their elements are if they are left out
_DEFAULTS = {"dilations": 1, "group": 1, "pads": 0, "strides": 1}


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation in fewer bytes, to the same bits.

    In a file of few weights, names take as much room as the weights: each quantizer names itself, its scale, its zero
    point and its output. Tensors inside the file get numbers instead, equal constants are kept once, and what runtimes
    know or infer is left out: shapes, attributes of convolutions that are those of the standard, and the integers of
    biases. Inputs and outputs keep their names, as do all nodes but the quantizers.

    Args:
        model: file of integers; it is changed in place.
    """
    graph = model.graph
    del graph.value_info[:]
    _drop_notes(model)
    _drop_domains(model)
    store_biases_as_floats(graph)
    for node in graph.node:
        if node.op_type in _QUANTIZERS:
            node.ClearField("name")
        elif node.op_type == "Conv":
            _drop_defaults(node)
    fixed = _fixed(graph)
    drop_unread_constants(graph, fixed)
    _rename(graph, _keep_equal_once(graph, fixed))
    _rename(graph, _numbers(graph, fixed))
    return model


def drop_unread_constants(graph: GraphProto, kept: Collection[str] = ()) -> None:
    """Remove constants that no node reads, except some that stay; the graph is changed in place."""
    read = {name for node in graph.node for name in node.input} | set(kept)
    for constant in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(constant)


def _drop_notes(model: onnx.ModelProto) -> None:
    """Remove what ONNX Runtime's tools note for each other, and keep the notes of others."""
    for one in [one for one in model.metadata_props if one.key in _NOTES]:
        model.metadata_props.remove(one)


def _drop_domains(model: onnx.ModelProto) -> None:
    """Remove the versions of sets of operators that the file does not use."""
    used = {"", "ai.onnx", *(node.domain for node in _nodes(model.graph))}
    used.update(one.domain for one in model.functions)
    for one in [one for one in model.opset_import if one.domain not in used]:
        model.opset_import.remove(one)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for part in _parts(node):
            yield from _nodes(part)


def _drop_defaults(convolution: NodeProto) -> None:
    special = [one for one in convolution.attribute if not _is_default(one)]
    del convolution.attribute[:]
    convolution.attribute.extend(special)


def _is_default(attribute: AttributeProto) -> bool:
    elements = set(attribute.ints) or {attribute.i}
    return elements == {_DEFAULTS.get(attribute.name)}


def _fixed(graph: GraphProto) -> set[str]:
    """The names that stay: those of inputs and outputs, and all that other parts of the file use."""
    ends = {one.name for one in (*graph.input, *graph.output)}
    sparse = {one.values.name for one in graph.sparse_initializer}
    noted = {one.tensor_name for one in graph.quantization_annotation}
    inner = {name for node in graph.node for part in _parts(node) for name in _names_within(part)}
    return {"", *ends, *sparse, *noted, *inner}


def _parts(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs of a node, such as the branches of an `If`."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _names_within(graph: GraphProto) -> Iterator[str]:
    yield from (one.name for one in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield from (*node.input, *node.output)
        for part in _parts(node):
            yield from _names_within(part)


def _keep_equal_once(graph: GraphProto, fixed: set[str]) -> dict[str, str]:
    """Remove constants that equal an earlier one, whose name is given for theirs.

    A constant that is an input is a default, and equals nothing else: a caller may replace it.
    """
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        name = tensor.name
        if name not in fixed:
            same[name] = first.setdefault(_value(tensor), name)
        if same.get(name, name) == name:
            kept.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return same


def _value(tensor: TensorProto) -> tuple[object, ...]:
    return tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()


def _numbers(graph: GraphProto, fixed: set[str]) -> dict[str, str]:
    """Numbers for the names of all other tensors, in the order of the nodes."""
    free = (name for name in map(str, itertools.count()) if name not in fixed)
    numbers: defaultdict[str, str] = defaultdict(lambda: next(free))
    for node in graph.node:
        for name in (*node.input, *node.output):
            if name not in fixed:
                numbers[name]
    return dict(numbers)


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
