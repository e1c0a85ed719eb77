"""The walk over the operators of a file that makes the steps of a network."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import helper, numpy_helper
from torch import Tensor

from espalier.errors import reason_of
from espalier.models.onnx_graph import OPERATORS, Step
from espalier.models.onnx_graph.network import CONSTANTS
from espalier.models.onnx_graph.operators import NUMBERS
from espalier.models.onnx_import.attention import free_heads, select_parts, transpose_keys
from espalier.models.onnx_import.call import Call
from espalier.models.onnx_import.folding import fold, shape_of
from espalier.models.onnx_import.graph import GraphInReading
from espalier.models.onnx_import.layers import LAYERS
from espalier.models.onnx_import.program import OnnxProgram
from espalier.models.onnx_import.rewriting import REWRITERS
from espalier.models.onnx_import.values import Activation, Known, Unsupported, Value

_DOMAINS = ("", "ai.onnx")


def lower(
    model: Any,
    shape: tuple[int, ...],
    *,
    batch: int | None,
    channels_last: bool,
    activation: str | None,
) -> OnnxProgram:
    """Make the steps of a network from a file.

    Args:
        model: content of the file.
        shape: shape of an input, channels first.
        batch: number of examples to which the file is fixed; None if it takes any.
        channels_last: whether the file takes images (N, H, W, C).
        activation: operator that is left out where the file ends in it; None for none.

    Raises:
        Unsupported: if an operator is unknown, or cannot be rebuilt.
    """
    graph = _started(model, shape, batch, channels_last)
    for node in model.graph.node:
        outputs = _explained(graph, node, model.opset_import)
        graph.values |= dict(zip(node.output, outputs, strict=False))
    output = graph.values.get(model.graph.output[0].name)
    if not isinstance(output, Activation) or len(output.shape) != 2 or not output.batch_first:
        shown = list(output.shape) if isinstance(output, Activation) else "a constant"
        raise Unsupported(f"an output of shape {shown} instead of (N, classes)")
    steps = _with_attention(graph, _needed(graph.steps, output.name))
    last = steps[-1].operator
    left_out = last if last == activation else ""
    if left_out:
        steps = _needed(steps[:-1], steps[-1].names[0])
    notes = _notes(batch, channels_last, left_out)
    return OnnxProgram(
        *_content(graph, steps),
        classes=output.shape[1],
        shape=tuple(graph.input.shape[1:]),
        batch=batch,
        channels_last=channels_last,
        left_out=left_out,
        notes=notes,
    )


def _started(
    model: Any, shape: tuple[int, ...], batch: int | None, channels_last: bool
) -> GraphInReading:
    """The graph with the input and the initialisers of a file."""
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(one.name for one in model.graph.output)
    versions = {one.domain: one.version for one in model.opset_import}
    graph = GraphInReading(shape, uses, versions.get("", 1), batch)
    for tensor in model.graph.initializer:
        graph.values[tensor.name] = Known.of(numpy_helper.to_array(tensor), tensor.name)
    (name,) = (one.name for one in model.graph.input if one.name not in graph.values)
    graph.values[name] = graph.input
    if channels_last:
        order = [0, *range(2, len(shape) + 1), 1]
        graph.values[name] = graph.add_function("Transpose", (graph.input,), {"perm": order})[0]
    return graph


def _explained(graph: GraphInReading, node: Any, opsets: Sequence[Any]) -> Sequence[Value]:
    """The outputs of a node; any error names it.

    Raises:
        Unsupported: if it cannot be rebuilt.
    """
    try:
        return _lowered(graph, node, opsets)
    except Exception as error:  # numpy and torch raise nearly anything at operands of a wrong shape
        name = f" {node.name}" if node.name else ""
        raise Unsupported(f"{reason_of(error)} at {node.op_type}{name}") from None


def _lowered(graph: GraphInReading, node: Any, opsets: Sequence[Any]) -> Sequence[Value]:
    operator = node.op_type
    if node.domain not in _DOMAINS:
        raise Unsupported(f"an operator of {node.domain}")
    attributes = _attributes(node)
    missing = [name for name in node.input if name not in graph.values]
    if missing:
        raise Unsupported(f"no value {missing[0]!r}")
    operands = [graph.values[name] for name in node.input]
    values = [one for one in operands if isinstance(one, Activation)]
    if not values:
        known = [one for one in operands if not isinstance(one, Activation)]
        return fold(node, known, opsets)
    if operator == "Shape":
        return [shape_of(node, values[0])]
    call = Call(graph, operator, node.name, operands, attributes, len(node.output))
    return _read(call)


def _read(call: Call) -> Sequence[Value]:
    """The outputs of an operator that depends on the input."""
    if call.operator in LAYERS:
        return [LAYERS[call.operator](call)]
    if call.operator in REWRITERS:
        return REWRITERS[call.operator](call)
    if call.operator not in OPERATORS:
        raise Unsupported("an operator without a counterpart in torch")
    given = [_as_number(call, place) for place in range(len(call.operands))]
    return call.add(given, call.attributes)


def _as_number(call: Call, place: int) -> Any:
    """An operand, as a number or list of them where the operator needs it."""
    if place not in NUMBERS.get(call.operator, ()):
        return call.operands[place]
    numbers = call.numbers(place)
    if call.operator == "Clip" and isinstance(numbers, list):
        (numbers,) = numbers
    return numbers


def _attributes(node: Any) -> dict[str, Any]:
    """The attributes of a node, as numbers, strings and lists of them."""
    found: dict[str, Any] = {}
    for one in node.attribute:
        value = helper.get_attribute_value(one)
        if node.op_type not in ("Constant", "ConstantOfShape"):
            found[one.name] = _plain(one.name, value)
    return found


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, int | float):
        return value
    if isinstance(value, Sequence) and all(isinstance(one, int | float) for one in value):
        return list(value)
    raise Unsupported(f"the attribute {name!r}, which is a graph or a tensor,")


def _with_attention(graph: GraphInReading, steps: Sequence[Step]) -> list[Step]:
    """The steps in the form in which pruning finds attention heads."""
    direct = transpose_keys(steps, graph.shapes)
    opened = free_heads(_needed(direct, steps[-1].outputs[0]), graph.shapes)
    return select_parts(opened)


def _needed(steps: Sequence[Step], output: str) -> list[Step]:
    """The steps from which the output follows; the last one computes it."""
    wanted, kept = {output}, []
    for step in reversed(steps):
        if wanted & set(step.outputs):
            wanted |= set(step.names)
            kept.append(step)
    return kept[::-1]


def _content(
    graph: GraphInReading, steps: Sequence[Step]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The arguments of `espalier:onnx`, and the tensors that the steps use."""
    layers = {step.layer for step in steps}
    read = {name for step in steps for name in step.names}
    tensors = {
        name: value
        for name, value in graph.tensors.items()
        if name in read or name.rpartition(".")[0] in layers
    }
    constants = {
        name.removeprefix(f"{CONSTANTS}."): _described(value)
        for name, value in tensors.items()
        if name in read
    }
    return {"steps": [step.as_json() for step in steps], "constants": constants}, tensors


def _described(value: Tensor) -> dict[str, Any]:
    return {"shape": list(value.shape), "type": str(value.dtype).removeprefix("torch.")}


def _notes(batch: int | None, channels_last: bool, left_out: str) -> tuple[str, ...]:
    notes: Mapping[str, bool] = {
        f"The file takes {batch} at a time; the network takes any number.": batch is not None,
        "The file takes images with channels last; the network takes them first.": channels_last,
        f"The {left_out} at the end of the file is left out: outputs are logits.": bool(left_out),
    }
    return tuple(sentence for sentence, applies in notes.items() if applies)
