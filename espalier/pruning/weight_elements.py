"""Single weights, each a group of its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import Node

from espalier.models.graph import Graph

_MULTIPLY = ("conv1d", "conv2d", "conv3d", "linear")


@dataclass(frozen=True)
class WeightElements:
    """Every number of some weights, one weight after another.

    Attributes:
        shapes: Of the weights, by name.
    """

    shapes: dict[str, tuple[int, ...]]

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def layer(self) -> NDArray[np.int64]:
        """(count,) the place of its weight among all."""
        return np.repeat(
            np.arange(len(self.shapes)), [math.prod(shape) for shape in self.shapes.values()]
        )

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) the numbers themselves; zero where none are given."""
        parts = [
            values[name].detach().double().cpu().numpy().ravel()
            if name in values
            else np.zeros(math.prod(shape))
            for name, shape in self.shapes.items()
        ]
        return np.concatenate([np.zeros(0), *parts])

    sum_over_consumers = sum_over_producers

    def makers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The number of each weight, in its shape."""
        del shape
        return self.split(np.arange(self.count)).get(name)

    def split(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What is known of each number (count,), by weight, in its shape."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])
        parts = (
            zip(self.shapes.items(), np.split(values, ends[:-1]), strict=True)
            if self.shapes
            else ()
        )
        return {name: part.reshape(shape) for (name, shape), part in parts}


def find_weight_elements(
    network: nn.Module, example: Tensor, keep: tuple[str, ...] = ()
) -> WeightElements:
    """The weights of all convolutions and linear layers, but for the classifiers and what is named.

    Args:
        network: Any module that `torch.export` can trace.
        example: Images (N, C, H, W) of the shape it works on.
        keep: Names of layers whose weights stay.

    Raises:
        BadInput: If it cannot be traced.
    """
    graph = Graph(network, example)
    state = network.state_dict(keep_vars=True)
    names = {
        id(parameter): name for name, parameter in network.named_parameters()
    }  # shared ones count once
    stay = {
        id(parameter)
        for layer in keep
        for parameter in network.get_submodule(layer).parameters(recurse=False)
    }
    found: dict[str, Tensor] = {}
    behind: set[Node] = set()  # values between a last layer and the output
    for node in reversed(graph.nodes):
        last = any(user.op == "output" or user in behind for user in node.users)
        name = graph.name(node.args[1]) if graph.operator(node) in _MULTIPLY else None
        if name is None or id(state[name]) not in names:
            behind |= {node} if last else set()
            continue
        found[names[id(state[name])]] = state[name]
        if last:
            stay.add(id(state[name]))
    return WeightElements(
        {
            name: tuple(weight.shape)
            for name, weight in reversed(found.items())
            if id(weight) not in stay
        }
    )
