"""What a rule is, and what it may ask of the walk over the graph."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import nn
from torch.fx import Node

from espalier.pruning.coupling import Coupling, Dim, Label


class Walk(Protocol):
    """What a rule needs of the walk over the graph."""

    coupling: Coupling

    def label(self, argument: Any) -> Label:
        """The label of an operand; empty for a number or None."""

    def labels(self, node: Node) -> list[Label]:
        """The labels of a node with several outputs."""

    def shape(self, argument: Any) -> tuple[int, ...]:
        """The sizes of an operand."""

    def module(self, node: Node) -> nn.Module | None:
        """The layer in whose forward pass an operator stands."""

    def works(self, node: Node, *, rows: int = 0) -> None:
        """Note that an operator multiplies by a weight, whose dimension `rows` makes its output."""

    def heads(self, node: Node, dim: Dim) -> None:
        """Note that the indices of a dimension are attention heads."""

    def multiplies(self, sizes: Sequence[int], dims: Sequence[Dim]) -> None:
        """Note a product of activations: as many multiply-accumulates as the product of `sizes`, of these labels."""


Rule = Callable[[Walk, Node], Label]


def argument(node: Node, position: int, name: str) -> Any:
    """An argument by position or name; None if it was left out."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name)


def number(node: Node, position: int) -> int:
    """An argument that is a number."""
    value: Any = node.args[position]
    return int(value)


def dimensions(asked: Any, count: int) -> set[int]:
    """The dimensions that an argument names: one, some, or all of `count`."""
    if asked is None or asked == []:
        return set(range(count))
    return {dim % count for dim in ([asked] if isinstance(asked, int) else asked)}


def unlabelled(walk: Walk, node: Node) -> Label:
    """Nothing can be removed from the output, and nothing of the operands is in it."""
    return (None,) * len(walk.shape(node))
