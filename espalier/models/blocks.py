"""Residual blocks: layers whose input can replace their output."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.fx import Node

from espalier.models.graph import Graph

_ADDS = ("add", "add_")
_KEEPS = ("relu", "relu_", "dropout", "dropout_", "contiguous", "clone", "detach", "alias")
_LAYS_OUT = (  # attention over windows lays its input out in another shape
    "view",
    "reshape",
    "permute",
    "transpose",
    "swapaxes",
    "flatten",
    "unflatten",
    "_unsafe_view",
)


def residual_blocks(network: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """The blocks that add something to their own input (He et al. 2016, eq. 1), in order.

    All shapes stay where such a block is removed. A block is the smallest layer of that kind: the
    parts of a stage, not the stage.

    Args:
        network: any network that `torch.export` can trace; it is not changed.
        example: inputs (N, C, H, W) as the network sees them.

    Returns:
        The sizes of each block's input and output, the batch first, by the block's name.

    Raises:
        BadInput: if the network cannot be traced.

    Example:
        `y = relu(x + f(x))` is a block, because y holds x and something was added to it;
        `y = relu(f(x) + g(x))` is none.
    """
    graph = Graph(network, example)
    layers = {name for name, _ in network.named_modules() if name}
    found = {}
    for name, nodes in graph.inside().items():
        ends = _ends(graph, nodes) if name in layers else None
        if ends and _adds_to_its_input(graph, nodes, *ends):
            found[name] = graph.shape(ends[0])
    return {name: shape for name, shape in found.items() if not _contains_another(name, found)}


def _contains_another(name: str, others: Iterable[str]) -> bool:
    return any(other.startswith(f"{name}.") for other in others)


def _ends(graph: Graph, nodes: list[Node]) -> tuple[Node, Node] | None:
    """The input and the output of a part of the graph, if it has one of each, of one shape."""
    inside = set(nodes)
    operands = {operand for node in nodes for operand in node.all_input_nodes}
    inputs = {one for one in operands if one not in inside and graph.name(one) is None}
    outputs = [node for node in nodes if any(user not in inside for user in node.users)]
    if len(inputs) != 1 or len(outputs) != 1 or not graph.alone(nodes):
        return None
    (entering,) = inputs
    shape = graph.shape(entering)
    same = bool(shape) and shape == graph.shape(outputs[0])
    return (entering, outputs[0]) if same else None


def _adds_to_its_input(graph: Graph, nodes: list[Node], entering: Node, leaving: Node) -> bool:
    """Whether the output is the input plus something else."""
    added = {entering: False}  # values that hold the input: whether something was added to them
    for node in nodes:
        holding = [operand for operand in node.all_input_nodes if operand in added]
        if not holding:
            continue
        operator = graph.operator(node)
        if operator in _ADDS and graph.shape(node) == graph.shape(holding[0]):
            added[node] = True
        elif operator in _KEEPS or operator in _LAYS_OUT:
            added[node] = added[holding[0]]
    return added.get(leaving, False)
