"""The removable units of a network: channels, with everything that depends on them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.attention import Attention, declared_heads, with_prunable_attention
from espalier.pruning.coupling import Coupling, Indices
from espalier.pruning.surgery import cut
from espalier.pruning.trace import Example, Trace, Work


@dataclass(frozen=True)
class Product:
    """The multiply-accumulates of a product of activations: `places` times what is kept of each of its dimensions.

    Attributes:
        places: For one image, over all dimensions of which nothing can be removed. Where images and heads are one
            dimension, it is that of one image still: a fraction.
        dims: At most two others: (size,) the unit of each index, or -1.
    """

    places: float
    dims: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class DependencyGroups:
    """What can be removed, and from where.

    Attributes:
        count: How many units there are.
        layer: (count,) the layer each belongs to: units of one layer are rivals, and aligned together.
        where: For each parameter or buffer and each of its dimensions: (size,) the unit of each index, or -1.
        works: The layers that multiply.
        fixed: Why indices must stay, and how many.
        flow: The values inside the network, in its order: each a name, and for each dimension its size where nothing
            of it can be removed, else (size,) the unit of each index, or -1.
        heads: (count,) whether a unit is a whole attention head.
        products: The products of activations in which something can be removed.
        reads: The dimensions of parameters, by name, that read units: all others help to make them.
        channels: (count,) how many indices of a value go with each unit, in the value where they are the fewest: more
            than one in grouped convolutions and group norms, for example.
        attention: For each layer that spells its number of heads, by name: (heads,) the unit of each, or -1.
    """

    count: int
    layer: NDArray[np.int64]
    where: dict[str, dict[int, NDArray[np.int64]]]
    works: list[Work]
    fixed: dict[str, int] = field(default_factory=dict)
    flow: list[tuple[str, list[int | NDArray[np.int64]]]] = field(default_factory=list)
    heads: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    products: list[Product] = field(default_factory=list)
    reads: frozenset[tuple[str, int]] = frozenset()
    attention: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    channels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def shapes(self, kept: NDArray[np.bool_]) -> list[tuple[str, tuple[int, ...]]]:
        """The sizes of the values inside, by name, when only the units in `kept` (count,) are left."""

        def left(dim: int | NDArray[np.int64]) -> int:
            return dim if isinstance(dim, int) else int(np.sum((dim < 0) | kept[dim]))

        return [(name, tuple(left(dim) for dim in dims)) for name, dims in self.flow]

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """For each unit the sum over what makes it: its rows of weights, its scales and shifts.

        Args:
            values: A number for each single weight of some parameters, by name.
        """
        return self._sum(values, rows=True)

    def sum_over_consumers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """For each unit the sum over what reads it: its columns of weights."""
        return self._sum(values, rows=False)

    def makers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The unit that each row of a parameter helps to make, or -1, in as many dimensions as it has."""
        for dim, unit in self.where.get(name, {}).items():
            if (name, dim) not in self.reads and (unit >= 0).any():
                return unit.reshape([-1 if other == dim else 1 for other in range(len(shape))])
        return None

    def _sum(self, values: Mapping[str, Tensor], *, rows: bool) -> NDArray[np.float64]:
        total = np.zeros(self.count)
        for name, value in values.items():
            for dim, unit in self.where.get(name, {}).items():
                if ((name, dim) not in self.reads) == rows:
                    others = [d for d in range(value.ndim) if d != dim]
                    each = (value.sum(others) if others else value).double().cpu().numpy()
                    np.add.at(total, unit[unit >= 0], each[unit >= 0])
        return total


def find_dependency_groups(
    network: nn.Module, example: Example, keep: tuple[str, ...] = ()
) -> DependencyGroups:
    """Trace a network and find its removable units.

    Args:
        network: Any module that `torch.export` can trace.
        example: Images (N, C, H, W) of the shape it works on, or a tuple of its inputs; N is at least 2.
        keep: Names of layers whose outputs stay.

    Raises:
        BadInput: If it cannot be traced.
    """
    own = with_prunable_attention(network)
    walk = Trace(own, example)
    walk.run()
    component, pinned = walk.coupling.components()
    for work in walk.weights:
        if work.weight.rpartition(".")[0] in keep:
            pinned[component[walk.parameters[work.weight][work.rows]]] = True
    units, spelled = _units(own, walk, component, pinned), _spelled(own, walk)
    for stays in (_heads_of(walk, spelled), _weights_of(walk, spelled)) if spelled else ():
        if _runs(network, units, example):
            break
        pinned[component[stays]] = True
        units = _units(own, walk, component, pinned)
    return units


def _units(
    network: nn.Module, walk: Trace, component: Indices, pinned: NDArray[np.bool_]
) -> DependencyGroups:
    """Number the components that some weight makes: a parameter that is only added makes none."""
    made = np.zeros(len(pinned), bool)
    for work in walk.weights:
        made[component[walk.parameters[work.weight][work.rows]]] = True
    free = made & ~pinned
    number = np.where(free, np.cumsum(free) - 1, -1)[component]
    where = {
        name: {dim: number[atoms] for dim, atoms in enumerate(label)}
        for name, label in walk.parameters.items()
    }
    count = int(free.sum())
    heads = np.zeros(count + 1, bool)  # the last place is for those that stay: their number is -1
    for _, atoms in walk.attention():
        heads[number[atoms]] = True
    read = {(id(walk.parameters[work.weight]), 1 - work.rows) for work in walk.weights}
    flow = [
        (
            name,
            [size if dim is None else number[dim] for size, dim in zip(shape, label, strict=True)],
        )
        for name, shape, label in walk.flow()
    ]
    return DependencyGroups(
        count=count,
        layer=_layers(count, where, walk.weights),
        where=where,
        works=walk.weights,
        fixed=walk.coupling.reasons(),
        flow=flow,
        heads=heads[:-1],
        products=[
            _product(places, [number[dim] for dim in dims]) for places, dims in walk.products()
        ],
        reads=frozenset(
            (name, dim)
            for name, label in walk.parameters.items()
            for dim in (0, 1)
            if (id(label), dim) in read
        ),
        attention={name: number[atoms] for name, atoms in _spelled(network, walk)},
        channels=_channels(
            count, [dim for _, dims in flow for dim in dims if not isinstance(dim, int)]
        ),
    )


def _spelled(network: nn.Module, walk: Trace) -> list[tuple[str, Indices]]:
    """The layers that know their number of heads, and the heads; not ours, which ask their weights."""
    layers = dict(network.named_modules())
    found = []
    for around, atoms in walk.attention():
        around = [name for name in around if name in layers]
        if around and not isinstance(layers[around[0]], Attention):
            name = next(
                (name for name in around if declared_heads(layers[name]) == len(atoms)), around[0]
            )
            found.append((name, atoms))
    return found


def _heads_of(walk: Trace, spelled: list[tuple[str, Indices]]) -> Indices:
    """The heads of attention that is not ours. To be pinned where a forward pass spells more than their number."""
    walk.coupling.pin(
        heads := np.concatenate([atoms for _, atoms in spelled]), "heads that a forward pass spells"
    )
    return heads


def _weights_of(walk: Trace, spelled: list[tuple[str, Indices]]) -> Indices:
    """All that such a layer reads and makes: its forward pass spells the width of its input, too."""
    layers = {name for name, _ in spelled}
    dims = [
        dim
        for parameter, label in walk.parameters.items()
        for dim in label
        if any(parameter.startswith(f"{name}.") for name in layers)
    ]
    walk.coupling.pin(atoms := np.concatenate(dims), "widths that a forward pass spells")
    return atoms


def _runs(network: nn.Module, units: DependencyGroups, example: Example) -> bool:
    """Whether a network without a unit of each layer runs, and computes values of the shapes that it should."""
    kept = np.ones(units.count, bool)
    kept[np.unique(units.layer, return_index=True)[1]] = False
    kept[np.bincount(units.layer)[units.layer] == 1] = True  # the only one of its layer
    try:
        return traced_shapes(cut(network, units, kept), example) == units.shapes(kept)
    except (BadInput, RuntimeError):
        return False


def traced_shapes(network: nn.Module, example: Example) -> list[tuple[str, tuple[int, ...]]]:
    """The sizes of the values inside a network, by name, in its order."""
    return [(name, shape) for name, shape, _ in Trace(network, example).flow()]


def _channels(count: int, dims: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """For each unit the fewest indices that it has in a dimension where it has some; 1 if it is nowhere."""
    fewest = np.full(count, np.iinfo(np.int64).max)
    for dim in dims:
        unit, times = np.unique(dim[dim >= 0], return_counts=True)
        fewest[unit] = np.minimum(fewest[unit], times)
    return np.where(fewest == np.iinfo(np.int64).max, 1, fewest)


def _product(places: float, dims: list[NDArray[np.int64]]) -> Product:
    """Dimensions of which nothing can be removed, and a third one, count as places."""
    dims = sorted(dims, key=lambda unit: -int((unit >= 0).sum()))
    free = [unit for unit in dims[:2] if (unit >= 0).any()]
    return Product(places * math.prod(len(unit) for unit in dims[len(free) :]), tuple(free))


def _layers(
    count: int, where: Mapping[str, Mapping[int, Indices]], works: list[Work]
) -> NDArray[np.int64]:
    """Units made by the same weight belong to the same layer, and so do all that this joins."""
    coupling = Coupling()
    units = coupling.new(count)
    for work in works:
        made = where[work.weight][work.rows]
        made = units[made[made >= 0]]
        coupling.join(made[:-1], made[1:], "layer")
    return coupling.components()[0]
