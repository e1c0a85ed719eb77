"""Residual blocks: the layers whose input can take the place of their output."""

from torch import Tensor, nn
from torch.fx import Node

from espalier.models.graph import Graph

_ADDS = ("add", "add_")
_KEEPS = ("relu", "relu_", "dropout", "dropout_", "contiguous", "clone", "detach", "alias")
_MOVES = (
    "view",
    "reshape",
    "permute",
    "transpose",
    "swapaxes",
    "flatten",
    "unflatten",
    "_unsafe_view",
)  # into windows


def residual_blocks(network: nn.Module, example: Tensor) -> list[str]:
    """The names of the blocks that add something to their own input (He et al. 2016, eq. 1), in their order.

    Where such a block is removed (`espalier.models.structure.remove`), the shapes of all values stay. A block is the
    smallest layer of that kind: the parts of a stage, not the stage.

    Args:
        network: Any network that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.

    Raises:
        BadInput: If the network cannot be traced.
    """
    graph = Graph(network, example)
    calls, layers = graph.inside(), {name for name, _ in network.named_modules() if name}
    found = [
        name for name, nodes in calls.items() if name in layers and _adds_to_its_input(graph, nodes)
    ]
    return [name for name in found if not any(other.startswith(f"{name}.") for other in found)]


def _adds_to_its_input(graph: Graph, nodes: list[Node]) -> bool:
    """Whether a part of the graph maps one value to one of the same shape, by adding to it."""
    own = set(nodes)
    inputs = {
        one
        for node in nodes
        for one in node.all_input_nodes
        if one not in own and graph.name(one) is None
    }
    outputs = [node for node in nodes if any(user not in own for user in node.users)]
    if len(inputs) != 1 or len(outputs) != 1 or not graph.alone(nodes):
        return False
    (entering,) = inputs
    if not graph.shape(entering) or graph.shape(entering) != graph.shape(outputs[0]):
        return False
    trunk = {
        entering: False
    }  # the values that hold the input, and whether something was added to it
    for node in nodes:
        carried = [one for one in node.all_input_nodes if one in trunk]
        operator = graph.operator(node)
        if carried and operator in _ADDS and graph.shape(node) == graph.shape(carried[0]):
            trunk[node] = True
        elif carried and operator in (*_KEEPS, *_MOVES):
            trunk[node] = trunk[carried[0]]
    return trunk.get(outputs[0], False)
