"""Dependency groups: channels, with all weights that depend on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from espalier.pruning.groups.groups import stay_with


@dataclass(frozen=True)
class ComputeLayer:
    """A layer that multiplies. Its work is `places` x kernel x kept rows x kept columns.

    Attributes:
        weight: name of the parameter.
        places: number of positions of one example at which it is applied.
        rows: dimension of the weight that produces the output, 0 or 1; the other one consumes.
    """

    weight: str
    places: int
    rows: int = 0

    @property
    def name(self) -> str:
        """The name of the layer that owns the weight."""
        return self.weight.rpartition(".")[0]


@dataclass(frozen=True)
class Product:
    """A product of activations. Its work is `places` times the kept sizes of `dims`.

    Attributes:
        places: multiply-accumulates for one example over all dimensions that cannot lose
            indices. It is a fraction where examples and heads share a dimension.
        dims: at most two other dimensions: (size,) the group of each index, or -1.
    """

    places: float
    dims: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class DependencyGroups:
    """The removable groups of a network, and their place in every parameter.

    Attributes:
        count: number of groups.
        layer: (count,) layer of each group; groups of one layer compete, and are aligned together.
        where: for each parameter or buffer and each of its dimensions: (size,) the group of each
            index, or -1.
        compute_layers: layers that multiply.
        fixed: number of indices that must stay, by reason.
        flow: values inside the network, in order: name, and for each dimension its size if nothing
            of it can be removed, else (size,) the group of each index, or -1.
        heads: (count,) whether a group is a whole attention head.
        products: products of activations in which something can be removed.
        reads: (name, dimension) of the parameters that consume groups; all others produce them.
        channels: (count,) smallest number of indices of a value that go with each group: above one
            in grouped convolutions and group norms, for example.
        attention: for each layer that spells its number of heads, by name: (heads,) the group of
            each head, or -1.
    """

    count: int
    layer: NDArray[np.int64]
    where: dict[str, dict[int, NDArray[np.int64]]]
    compute_layers: list[ComputeLayer]
    fixed: dict[str, int] = field(default_factory=dict)
    flow: list[tuple[str, list[int | NDArray[np.int64]]]] = field(default_factory=list)
    heads: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    products: list[Product] = field(default_factory=list)
    reads: frozenset[tuple[str, int]] = frozenset()
    attention: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    channels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def shapes(self, kept: NDArray[np.bool_]) -> list[tuple[str, tuple[int, ...]]]:
        """The sizes of the values inside, by name, if only the groups in `kept` (count,) stay."""

        def remaining(dim: int | NDArray[np.int64]) -> int:
            return dim if isinstance(dim, int) else int(stay_with(dim, kept).sum())

        return [(name, tuple(map(remaining, dims))) for name, dims in self.flow]

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) for each group the sum over its producers: rows of weights, scales, shifts.

        Args:
            values: a number for each element of some parameters, by name.
        """
        return self._sum(values, consumers=False)

    def sum_over_consumers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) for each group the sum over its consumers: columns of weights."""
        return self._sum(values, consumers=True)

    def producers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The group that each row of a parameter produces, or -1; one size-1 dimension per other."""
        for dim, group in self.where.get(name, {}).items():
            if (name, dim) not in self.reads and (group >= 0).any():
                return group.reshape([-1 if other == dim else 1 for other in range(len(shape))])
        return None

    def _sum(self, values: Mapping[str, Tensor], *, consumers: bool) -> NDArray[np.float64]:
        total = np.zeros(self.count)
        for name, value in values.items():
            for dim, group in self.where.get(name, {}).items():
                if ((name, dim) in self.reads) != consumers:
                    continue
                others = [other for other in range(value.ndim) if other != dim]
                summed = value.sum(others) if others else value
                each = summed.double().cpu().numpy()
                np.add.at(total, group[group >= 0], each[group >= 0])
        return total
