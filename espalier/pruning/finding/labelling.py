"""The walk over a traced graph that gives every value its label."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from torch.fx import Node

from espalier.models.graph import Example, Graph
from espalier.pruning.coupling import Coupling, Dim, Indices, Label
from espalier.pruning.groups import ComputeLayer
from espalier.pruning.rules import RULES


class Labelling:
    """The labels of all values of a network, in the order of its graph.

    Attributes:
        graph: the traced graph.
        coupling: the numbers of all indices.
        parameters: label of each parameter and buffer, by name.
        compute_layers: layers that multiply, in order.
        tables: tables from which rows are looked up, as layers without work, in order.
    """

    def __init__(self, network: nn.Module, example: Example) -> None:
        """Trace a network and label every value.

        Raises:
            BadInput: if the network cannot be traced.
        """
        self.graph = Graph(network, example)
        self.coupling = Coupling()
        self.parameters: dict[str, tuple[Indices, ...]] = {}
        self.compute_layers: list[ComputeLayer] = []
        self.tables: list[ComputeLayer] = []
        self._shared: dict[int, tuple[Indices, ...]] = {}
        self._labels: dict[Node, Label] = {}
        self._several: dict[Node, list[Label]] = {}
        self._heads: list[tuple[list[str], Dim]] = []
        self._products: list[tuple[list[int], list[Dim]]] = []
        self._walk()

    @property
    def producers(self) -> list[ComputeLayer]:
        """The layers that multiply, then the tables."""
        return [*self.compute_layers, *self.tables]

    def flow(self) -> Iterator[tuple[str, tuple[int, ...], tuple[Indices | None, ...]]]:
        """The values that the network computes: name, sizes, and resolved label."""
        for node in self.graph.needed:
            shape = self.shape(node)
            if node.op == "call_function" and shape:
                label = self._labels.get(node, ())
                yield node.name, shape, tuple(self.coupling.resolve(dim) for dim in label)

    def products(self) -> Iterator[tuple[float, list[Indices]]]:
        """The products of activations: multiply-accumulates per example, and labelled dimensions."""
        for sizes, dims in self._products:
            resolved = [self.coupling.resolve(dim) for dim in dims]
            pairs = list(zip(sizes, resolved, strict=True))
            fixed = math.prod(size for size, indices in pairs if indices is None)
            labelled = [indices for indices in resolved if indices is not None]
            yield fixed / self.graph.batch, labelled

    def attention(self) -> Iterator[tuple[list[str], Indices]]:
        """The heads of each product of activations, and the layers around it, innermost first."""
        for layers, dim in self._heads:
            indices = self.coupling.resolve(dim)
            if indices is not None:
                yield layers, indices

    def label(self, argument: Any) -> Label:
        """The label of an operand; empty for a number or None."""
        return self._labels.get(argument, ()) if isinstance(argument, Node) else ()

    def relabel(self, node: Node, label: Label) -> None:
        """Replace the label of an operand, whose size follows from another's."""
        self._labels[node] = label

    def labels(self, node: Node) -> list[Label]:
        """The labels of a node with several outputs."""
        return self._several.setdefault(node, [])

    def shape(self, argument: Any) -> tuple[int, ...]:
        """The sizes of an operand; empty for a number."""
        return self.graph.shape(argument)

    def module(self, node: Node) -> nn.Module | None:
        """The layer in whose forward pass a node stands."""
        return self.graph.layer(node)

    def add_compute_layer(self, node: Node, *, rows: int = 0) -> None:
        """Record that a node multiplies by a weight whose dimension `rows` produces its output."""
        weight = self._weight(node.args[1])
        if weight is None:
            return
        if rows:  # a transposed convolution is applied at the positions of its input
            places = math.prod(self.shape(node.args[0])[2:])
        else:
            shape = self.shape(node)
            channels = shape[1] if "conv" in str(node.target) else shape[-1]
            places = math.prod(shape) // self.graph.batch // channels
        self.compute_layers.append(ComputeLayer(weight, places, rows))

    def add_steps(self, node: Node, weight: Node) -> None:
        """Record that a recurrent layer multiplies by a weight at each position of its input."""
        name = self._weight(weight)
        if name is not None:
            places = math.prod(self.shape(node.args[0])[:-1]) // self.graph.batch
            self.compute_layers.append(ComputeLayer(name, places))

    def add_table(self, table: Any) -> None:
        """Record that the columns of a table, from which rows are looked up, produce a value."""
        name = self._weight(table)
        if name is not None:
            self.tables.append(ComputeLayer(name, places=0, rows=1))

    def _weight(self, operand: Any, depth: int = 4) -> str | None:
        """The parameter that is a weight, or that a weight is computed from index by index."""
        name = self.graph.name(operand)
        if name is not None or not isinstance(operand, Node) or not depth:
            return name
        for source in operand.all_input_nodes:
            same = self.shape(source) == self.shape(operand)
            found = self._weight(source, depth - 1) if same else None
            if found is not None and isinstance(self.graph.state.get(found), nn.Parameter):
                return found
        return None

    def add_heads(self, node: Node, dim: Dim) -> None:
        """Record that the indices of a dimension are attention heads."""
        self.coupling.mark_heads(dim)
        self._heads.append((self.graph.layers_around(node), dim))

    def add_product(self, sizes: Sequence[int], dims: Sequence[Dim]) -> None:
        """Record a product of activations: its sizes, whose product is its work, and labels."""
        self._products.append((list(sizes), list(dims)))

    def _walk(self) -> None:
        """Label every value in order, then pin the values that the network returns."""
        for node in self.graph.needed:
            if node.op == "placeholder":
                self._labels[node] = self._entering(node)
            elif node.op == "call_function":
                self._labels[node] = self._applied(node)
            elif node.op == "output":
                self._pin_outputs(node)
        self.coupling.resolve_all()

    def _pin_outputs(self, node: Node) -> None:
        for result in node.all_input_nodes:
            for dim in self._labels.get(result, ()):
                self.coupling.pin(dim, "output of the network")

    def _entering(self, node: Node) -> Label:
        """The label of an input, parameter or buffer.

        Inputs have no numbers, and neither have buffers that are not saved: their factory builds
        them again. Parameters that layers share have one label under each of their names.
        """
        name = self.graph.name(node)
        if name not in self.graph.state:
            return (None,) * len(self.shape(node))
        key = id(self.graph.state[name])
        if key not in self._shared:
            self._shared[key] = tuple(self.coupling.new(size) for size in self.shape(node))
        self.parameters[name] = self._shared[key]
        return self.parameters[name]

    def _applied(self, node: Node) -> Label:
        """The label of an operator's output; without a rule everything that enters it stays."""
        operator = self.graph.operator(node)
        rule = RULES.get(operator)
        if rule is not None:
            return rule(self, node)
        for operand in node.all_input_nodes:
            labels = [self._labels.get(operand, ()), *self._several.get(operand, ())]
            for label in labels:
                for dim in label:
                    reason = f"enters {operator}, for which there is no rule"
                    self.coupling.pin(dim, reason)
        return (None,) * len(self.shape(node))
