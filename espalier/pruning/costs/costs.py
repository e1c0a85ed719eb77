"""Costs as functions of the kept groups.

A cost is a sum over terms, such as the work of a layer or the elements of a parameter. Each term is
a price of the sizes that are left of it. Budgets compute costs thousands of times, so one sparse
matrix holds how much of each size goes with each group.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from torch import nn

from espalier.pruning.groups import ComputeLayer, DependencyGroups

Sizes = NDArray[np.int64]
Price = Callable[[Sizes], NDArray[np.float64]]
"""Maps sizes (..., terms, dims) to their cost (...)."""

Dimension = tuple[int, NDArray[np.int64]]
"""The size of a dimension, and (size,) the group of each index, or -1; empty where nothing goes."""

Term = tuple[Sequence[Dimension], float]
"""The dimensions of a term, and the factor of the product of their sizes."""

_NO_GROUPS = np.empty(0, np.int64)


@dataclass(frozen=True)
class Cost:
    """A cost as a function of the kept groups.

    Attributes:
        noun: noun of what is counted.
        whole: (terms, dims) sizes of the whole network.
        removed: (terms * dims, count) how much of each size goes with each group.
        price: price of sizes.
        rest: constant part.

    Example:
        A linear layer 3 -> 2 whose outputs are groups 0 and 1 has one term with the sizes (2, 3)
        and the price 2 * 3. Without group 1 the sizes are (1, 3), and the cost is 3.
    """

    noun: str
    whole: Sizes
    removed: csc_array
    price: Price
    rest: float = 0.0

    def __call__(self, kept: NDArray[np.bool_]) -> float:
        """The cost if only the groups in `kept` (count,) are left."""
        gone = (~kept).astype(np.int64)
        left = self.whole - (self.removed @ gone).reshape(self.whole.shape)
        return float(self.of(left))

    def of(self, left: Sizes) -> NDArray[np.float64]:
        """The cost (...) of the sizes (..., terms, dims) that are left."""
        return self.price(left) + self.rest

    def with_whole(self, cost: float) -> "Cost":
        """The same savings, from a whole network that costs `cost`."""
        constant = self.rest + cost - float(self.of(self.whole))
        return replace(self, rest=constant)


def products(factors: Sequence[float]) -> Price:
    """The price of terms that cost a factor times the product of their sizes."""
    each = np.array(factors)
    return lambda left: left.prod(-1) @ each


def cost(noun: str, count: int, terms: Sequence[Sequence[Dimension]], price: Price) -> Cost:
    """A cost of terms.

    Args:
        noun: noun of what is counted.
        count: number of groups.
        terms: dimensions of each term.
        price: price of sizes.
    """
    dims = max((len(term) for term in terms), default=1)
    table = [dim for term in terms for dim in _padded(term, dims)]
    group = np.concatenate([_NO_GROUPS, *(groups for _, groups in table)])
    row = np.repeat(np.arange(len(table)), [len(groups) for _, groups in table])
    free = group >= 0
    ones = np.ones(int(free.sum()), np.int64)
    entries = (ones, (row[free], group[free]))
    removed = coo_array(entries, shape=(len(table), count)).tocsc()
    sizes = np.array([size for size, _ in table], np.int64).reshape(len(terms), dims)
    return Cost(noun, sizes, removed, price)


def _padded(term: Sequence[Dimension], dims: int) -> list[Dimension]:
    missing = dims - len(term)
    return [*term, *[(1, _NO_GROUPS)] * missing]


def macs(network: nn.Module, groups: DependencyGroups) -> Cost:
    """Multiply-accumulates for one example, of everything from which something can be removed."""
    return _of_terms("multiply-accumulates", groups.count, work_terms(network, groups))


def parameters(network: nn.Module, groups: DependencyGroups) -> Cost:
    """The number of learned parameters; shared ones count once."""
    return _of_terms("parameters", groups.count, parameter_terms(network, groups))


def work_terms(network: nn.Module, groups: DependencyGroups) -> list[Term]:
    """The dimensions of each layer that multiplies, or product, and the work of one element."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    terms: list[Term] = []
    for layer in groups.compute_layers:
        shape = shapes[layer.weight]
        factor = float(layer.places * math.prod(shape[2:]))
        terms.append((rows_and_columns(groups, layer, shape), factor))
    products_ = [
        ([(len(group), group) for group in product.dims], product.places)
        for product in groups.products
    ]
    return [*terms, *products_]


def parameter_terms(network: nn.Module, groups: DependencyGroups) -> list[Term]:
    """The removable dimensions of each parameter, and the product of its other sizes."""
    terms: list[Term] = []
    for name, parameter in network.named_parameters():
        where = groups.where.get(name, {})
        dims = {dim: group for dim, group in where.items() if (group >= 0).any()}
        sizes = list(enumerate(parameter.shape))
        removable = [(size, dims[dim]) for dim, size in sizes if dim in dims]
        factor = float(math.prod(size for dim, size in sizes if dim not in dims))
        terms.append((removable, factor))
    return terms


def _of_terms(noun: str, count: int, terms: Sequence[Term]) -> Cost:
    """The sum of the products of the sizes of each term with its factor."""
    price = products([factor for _, factor in terms])
    return cost(noun, count, [dims for dims, _ in terms], price)


def rows_and_columns(
    groups: DependencyGroups, layer: ComputeLayer, shape: Sequence[int]
) -> list[Dimension]:
    """The dimension of a weight that produces the output, and the one that consumes the input."""
    dims = groups.where[layer.weight]
    order = (layer.rows, 1 - layer.rows)
    return [(shape[dim], dims.get(dim, _NO_GROUPS)) for dim in order]
