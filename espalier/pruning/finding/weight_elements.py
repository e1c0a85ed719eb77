"""Finding the single weights that may become zero."""

from torch import Tensor, nn
from torch.fx import Node

from espalier.models.graph import Graph
from espalier.pruning.groups import WeightElements

_MULTIPLY = ("conv1d", "conv2d", "conv3d", "linear")


def find_weight_elements(
    network: nn.Module, example: Tensor, keep: tuple[str, ...] = ()
) -> WeightElements:
    """The weights of all convolutions and linear layers but the classifiers and some named layers.

    Args:
        network: any module that `torch.export` can trace.
        example: inputs (N, C, H, W) as the network sees them.
        keep: names of layers whose weights stay, with all layers inside.

    Raises:
        BadInput: if the network cannot be traced.
    """
    graph = Graph(network, example)
    # a weight that several layers share counts once, under its first name
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    multiplied, last = _multiplied(graph, names)
    for layer in keep:
        last |= {id(parameter) for parameter in network.get_submodule(layer).parameters()}
    shapes = {
        name: tuple(weight.shape)
        for name, weight in reversed(multiplied.items())
        if id(weight) not in last
    }
    return WeightElements(shapes)


def _multiplied(graph: Graph, names: dict[int, str]) -> tuple[dict[str, Tensor], set[int]]:
    """The weights that the network multiplies by, last first, and those of its last layers."""
    weights: dict[str, Tensor] = {}
    last: set[int] = set()
    behind: set[Node] = set()  # values between a last layer and the output
    for node in reversed(graph.nodes):
        leads_out = any(user.op == "output" or user in behind for user in node.users)
        weight = _weight(graph, node)
        if weight is None or id(weight) not in names:
            if leads_out:
                behind.add(node)
            continue
        weights[names[id(weight)]] = weight
        if leads_out:
            last.add(id(weight))
    return weights, last


def _weight(graph: Graph, node: Node) -> Tensor | None:
    """The weight by which a node multiplies; None if it is no convolution or linear layer."""
    if graph.operator(node) not in _MULTIPLY:
        return None
    name = graph.name(node.args[1])
    weight: Tensor | None = graph.state[name] if name else None
    return weight
