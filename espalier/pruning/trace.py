"""The walk over a traced network, in which every value gets its label."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from espalier.errors import BadInput
from espalier.measures.macs import Shape
from espalier.pruning.coupling import Coupling, Dim, Indices, Label
from espalier.pruning.rules import RULES

Example = Tensor | tuple[Tensor, ...]
"""What a network is called with: images (N, C, H, W), or all of its inputs; N is the same in each."""


def sizes(example: Example) -> Shape:
    """The shape of one image, or of each input."""
    return (
        tuple(example.shape[1:])
        if isinstance(example, Tensor)
        else tuple(tuple(one.shape[1:]) for one in example)
    )


def several(example: Example) -> Example:
    """A batch of two at least: one of one would be traced as fixed."""
    if isinstance(example, Tensor):
        return example if len(example) > 1 else torch.cat([example, example])
    return tuple(one if len(one) > 1 else torch.cat([one, one]) for one in example)


@dataclass(frozen=True)
class Work:
    """The multiply-accumulates of one layer: `places` times its kernel, times kept rows, times kept columns.

    Attributes:
        weight: Name of the parameter.
        places: How often it is applied to an image.
        rows: Which of its first two dimensions makes the output; the other one reads the input.
    """

    weight: str
    places: int
    rows: int = 0


class Trace:
    """The labels of all values, in the order of the graph.

    Raises:
        BadInput: If the network cannot be traced.
    """

    def __init__(self, network: nn.Module, example: Example) -> None:
        inputs = example if isinstance(example, tuple) else (example,)
        self.coupling = Coupling()
        self.parameters: dict[str, tuple[Indices, ...]] = {}
        self.weights: list[Work] = []
        self._layers = dict(network.named_modules())
        self._batch = len(inputs[0])
        self._state = network.state_dict(keep_vars=True)
        self._shared: dict[int, tuple[Indices, ...]] = {}
        self._labels: dict[Node, Label] = {}
        self._several: dict[Node, list[Label]] = {}
        self._heads: list[tuple[list[str], Dim]] = []
        self._products: list[tuple[list[int], list[Dim]]] = []
        try:
            program = torch.export.export(network, inputs, strict=False)
        except Exception as error:  # whatever the user's network does while it is traced
            raise BadInput(
                f"A network to be pruned should be traceable by torch.export. Found: {error}"
            ) from error
        self._nodes = _needed(program.graph)
        signature = program.graph_signature
        self._names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}

    def run(self) -> None:
        """Label every value, then fix what the network returns."""
        for node in self._nodes:
            if node.op == "placeholder":
                self._labels[node] = self._enter(node)
            elif node.op == "call_function":
                self._labels[node] = self._apply(node)
            elif node.op == "output":
                for result in node.all_input_nodes:
                    for dim in self._labels.get(result, ()):
                        self.coupling.pin(dim, "output of the network")
        self.coupling.resolve()

    def flow(self) -> Iterator[tuple[str, tuple[int, ...], tuple[Indices | None, ...]]]:
        """The values that the network computes: name, sizes, and label once there is one."""
        for node in self._nodes:
            if node.op == "call_function" and (shape := self.shape(node)):
                yield (
                    node.name,
                    shape,
                    tuple(self.coupling.settle(dim) for dim in self._labels.get(node, ())),
                )

    def products(self) -> Iterator[tuple[float, list[Indices]]]:
        """The products of activations: how often for an image, times the indices of dimensions that have a label."""
        for sizes, dims in self._products:
            settled = [self.coupling.settle(dim) for dim in dims]
            fixed = math.prod(
                size for size, atoms in zip(sizes, settled, strict=True) if atoms is None
            )
            yield fixed / self._batch, [atoms for atoms in settled if atoms is not None]

    def attention(self) -> Iterator[tuple[list[str], Indices]]:
        """The heads of all products of activations that have some, and the layers around, the innermost first."""
        for layers, dim in self._heads:
            if (atoms := self.coupling.settle(dim)) is not None:
                yield layers, atoms

    def label(self, argument: Any) -> Label:
        """The label of an operand; empty for a number or None."""
        return self._labels.get(argument, ()) if isinstance(argument, Node) else ()

    def labels(self, node: Node) -> list[Label]:
        """The labels of a node with several outputs."""
        return self._several.setdefault(node, [])

    def shape(self, argument: Any) -> tuple[int, ...]:
        """The sizes of an operand; none for a number."""
        value = argument.meta.get("val") if isinstance(argument, Node) else None
        return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else ()

    def module(self, node: Node) -> nn.Module | None:
        """The layer in whose forward pass an operator stands."""
        around = _layers_around(node)
        return self._layers.get(around[0]) if around else None

    def works(self, node: Node, *, rows: int = 0) -> None:
        """Note that an operator multiplies by a weight, whose dimension `rows` makes its output."""
        weight: Any = node.args[1]
        if weight.name not in self._names:
            return
        shape = self.shape(node)  # a transposed convolution goes over the places of its input
        convolution = "conv" in str(node.target)
        channels = shape[1] if convolution else shape[-1]
        places = (
            math.prod(self.shape(node.args[0])[2:])
            if rows
            else math.prod(shape) // self._batch // channels
        )
        self.weights.append(Work(self._names[weight.name], places, rows))

    def heads(self, node: Node, dim: Dim) -> None:
        """Note that the indices of a dimension are attention heads."""
        self.coupling.head(dim)
        self._heads.append((_layers_around(node), dim))

    def multiplies(self, sizes: Sequence[int], dims: Sequence[Dim]) -> None:
        """Note a product of activations: as many multiply-accumulates as the product of `sizes`, of these labels."""
        self._products.append((list(sizes), list(dims)))

    def _enter(self, node: Node) -> Label:
        name = self._names.get(node.name)
        if (
            name not in self._state
        ):  # the images, or a buffer that is not saved: its factory makes it whole again
            return (None,) * len(self.shape(node))
        key = id(self._state[name])  # weights that two layers share enter under each of their names
        if key not in self._shared:
            self._shared[key] = tuple(self.coupling.new(size) for size in self.shape(node))
        self.parameters[name] = self._shared[key]
        return self.parameters[name]

    def _apply(self, node: Node) -> Label:
        operator = _operator(node)
        rule = RULES.get(operator)
        if rule is not None:
            return rule(self, node)
        for operand in node.all_input_nodes:
            for labels in (self._labels.get(operand, ()), *self._several.get(operand, ())):
                for dim in labels:
                    self.coupling.pin(dim, f"enters {operator}, for which there is no rule")
        return (None,) * len(self.shape(node))


def _needed(graph: Graph) -> list[Node]:
    """The nodes from which the outputs follow, in order; what is written in place is always one of them."""
    needed: set[Node] = set()
    for node in reversed(graph.nodes):
        if (
            node.op != "call_function"
            or _operator(node).endswith("_")
            or not needed.isdisjoint(node.users)
        ):
            needed.add(node)
    return [node for node in graph.nodes if node in needed]


def _operator(node: Node) -> str:
    name: str = getattr(node.target, "_opname", "") or getattr(
        node.target, "__name__", str(node.target)
    )
    return name


def _layers_around(node: Node) -> list[str]:
    """The names of the layers in whose forward passes an operator stands, the innermost first."""
    return [name for name, _ in reversed(node.meta.get("nn_module_stack", {}).values())]
