"""Rules: their type, and the questions that they may ask of the walk over the graph."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import nn
from torch.fx import Node

from espalier.pruning.coupling.coupling import Coupling, Dim, Label


class Walk(Protocol):
    """The walk over a traced graph, as rules see it."""

    coupling: Coupling

    def label(self, argument: Any) -> Label:
        """The label of an operand; empty for a number or None."""

    def relabel(self, node: Node, label: Label) -> None:
        """Replace the label of an operand, whose size follows from another's."""

    def labels(self, node: Node) -> list[Label]:
        """The labels of a node with several outputs."""

    def shape(self, argument: Any) -> tuple[int, ...]:
        """The sizes of an operand."""

    def module(self, node: Node) -> nn.Module | None:
        """The layer in whose forward pass a node stands."""

    def add_compute_layer(self, node: Node, *, rows: int = 0) -> None:
        """Record that a node multiplies by a weight whose dimension `rows` produces its output."""

    def add_steps(self, node: Node, weight: Node) -> None:
        """Record that a recurrent layer multiplies by a weight at each position of its input."""

    def add_table(self, table: Any) -> None:
        """Record that the columns of a table, from which rows are looked up, produce a value."""

    def add_heads(self, node: Node, dim: Dim) -> None:
        """Record that the indices of a dimension are attention heads."""

    def add_product(self, sizes: Sequence[int], dims: Sequence[Dim]) -> None:
        """Record a product of activations: its sizes, whose product is its work, and labels."""


Rule = Callable[[Walk, Node], Label]
"""Maps a node to the label of its output, and joins or pins the labels of its operands."""


def argument(node: Node, position: int, name: str) -> Any:
    """An argument by position or name; None if it is absent."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name)


def integer(node: Node, position: int) -> int:
    """An argument that is an integer."""
    value: Any = node.args[position]
    return int(value)


def dimensions(asked: Any, count: int) -> set[int]:
    """The dimensions that an argument names: one, some, or all of `count`."""
    if asked is None or asked == []:
        return set(range(count))
    named = [asked] if isinstance(asked, int) else asked
    return {dim % count for dim in named}


def unlabelled(walk: Walk, node: Node) -> Label:
    """The label of an output that holds nothing of the operands: nothing can be removed."""
    return (None,) * len(walk.shape(node))
