"""What a network costs when some of what can be removed is gone: work, size, bytes or time.

A cost is a sum over terms (a layer's work, a parameter's numbers), each a price of the sizes that are left of it.
Budgets ask for it thousands of times, so what goes from which size with each unit is one sparse matrix.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from torch import nn

from espalier.pruning.dependency_groups import DependencyGroups
from espalier.pruning.trace import Work

Sizes = NDArray[np.int64]
Price = Callable[[Sizes], NDArray[np.float64]]
"""Maps sizes (..., terms, dims) to what they cost together (...)."""

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Cost:
    """A function of what is kept.

    Attributes:
        noun: What is counted.
        whole: (terms, dims) the sizes of the whole network.
        gone: (terms * dims, count) how much of each size goes with each unit.
        price: What sizes cost.
        rest: What is there whatever goes.
    """

    noun: str
    whole: Sizes
    gone: csc_array
    price: Price
    rest: float = 0.0

    def __call__(self, kept: NDArray[np.bool_]) -> float:
        """The cost when only the units in `kept` (count,) are left."""
        left = self.whole - (self.gone @ (~kept).astype(np.int64)).reshape(self.whole.shape)
        return float(self.of(left))

    def of(self, left: Sizes) -> NDArray[np.float64]:
        """The cost (...) of what is left of the sizes (..., terms, dims)."""
        return self.price(left) + self.rest

    def with_whole(self, cost: float) -> "Cost":
        """The same savings from a network that costs so much as a whole."""
        return replace(self, rest=self.rest + cost - float(self.of(self.whole)))


def products(factors: Sequence[float]) -> Price:
    """Each term costs its factor times the product of its sizes."""
    each = np.array(factors)
    return lambda left: left.prod(-1) @ each


def cost(
    noun: str, count: int, terms: Sequence[Sequence[tuple[int, NDArray[np.int64]]]], price: Price
) -> Cost:
    """A cost of terms, each with sizes of which some indices go with units.

    Args:
        noun: What is counted.
        count: How many units there are.
        terms: For each term its dimensions: (size, (size,) the unit of each index or -1; empty where nothing goes).
        price: What sizes cost.
    """
    dims = max((len(term) for term in terms), default=1)
    table = [dim for term in terms for dim in (*term, *[(1, _NONE)] * (dims - len(term)))]
    unit = np.concatenate([_NONE, *(units for _, units in table)])
    row = np.repeat(np.arange(len(table)), [len(units) for _, units in table])
    free = unit >= 0
    entries = (np.ones(int(free.sum()), np.int64), (row[free], unit[free]))
    gone = coo_array(entries, shape=(len(table), count)).tocsc()
    sizes = np.array([size for size, _ in table], np.int64).reshape(len(terms), dims)
    return Cost(noun, sizes, gone, price)


def macs(network: nn.Module, units: DependencyGroups) -> Cost:
    """Multiply-accumulates for one image, of all from which something can be removed."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    terms = [rows_and_columns(units, work, shapes[work.weight]) for work in units.works]
    factors = [work.places * math.prod(shapes[work.weight][2:]) for work in units.works]
    terms += [[(len(unit), unit) for unit in product.dims] for product in units.products]
    factors += [product.places for product in units.products]
    return cost("multiply-accumulates", units.count, terms, products(factors))


def parameters(network: nn.Module, units: DependencyGroups) -> Cost:
    """Numbers that are learned; shared ones count once."""
    terms, factors = [], []
    for name, parameter in network.named_parameters():
        dims = {dim: unit for dim, unit in units.where.get(name, {}).items() if (unit >= 0).any()}
        terms.append([(size, dims[dim]) for dim, size in enumerate(parameter.shape) if dim in dims])
        factors.append(
            math.prod(size for dim, size in enumerate(parameter.shape) if dim not in dims)
        )
    return cost("parameters", units.count, terms, products(factors))


def rows_and_columns(
    units: DependencyGroups, work: Work, shape: Sequence[int]
) -> list[tuple[int, NDArray[np.int64]]]:
    """What makes a layer's output and what reads its input: for both the size, and the unit of each index, or -1."""
    dims: Mapping[int, NDArray[np.int64]] = units.where[work.weight]
    return [(shape[dim], dims.get(dim, _NONE)) for dim in (work.rows, 1 - work.rows)]
