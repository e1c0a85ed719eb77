"""The removable units of a network: channels, with everything that depends on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import Node

from espalier.errors import BadInput
from espalier.pruning.coupling import Atoms, Coupling, Label
from espalier.pruning.rules import RULES


@dataclass(frozen=True)
class Work:
    """The multiply-accumulates of one layer: `places` times its kernel, times kept rows, times kept columns."""

    weight: str
    places: int


@dataclass(frozen=True)
class Units:
    """What can be removed, and from where.

    Attributes:
        count: How many units there are.
        layer: (count,) the layer each belongs to: units of one layer are rivals, and aligned together.
        where: For each parameter or buffer and each of its dimensions: (size,) the unit of each index, or -1.
        works: The layers that multiply.
        fixed: Why indices must stay, and how many.
        flow: The values inside the network, in its order: each a name, and for each dimension its size where nothing
            of it can be removed, else (size,) the unit of each index, or -1.
    """

    count: int
    layer: NDArray[np.int64]
    where: dict[str, dict[int, NDArray[np.int64]]]
    works: list[Work]
    fixed: dict[str, int] = field(default_factory=dict)
    flow: list[tuple[str, list[int | NDArray[np.int64]]]] = field(default_factory=list)

    def shapes(self, kept: NDArray[np.bool_]) -> list[tuple[str, tuple[int, ...]]]:
        """The sizes of the values inside, by name, when only the units in `kept` (count,) are left."""

        def left(dim: int | NDArray[np.int64]) -> int:
            return dim if isinstance(dim, int) else int(np.sum((dim < 0) | kept[dim]))

        return [(name, tuple(left(dim) for dim in dims)) for name, dims in self.flow]

    def over_rows(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """For each unit the sum over what makes it: its rows of weights, its scales and shifts.

        Args:
            values: A number for each single weight of some parameters, by name.
        """
        return self._sum(values, rows=True)

    def over_columns(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """For each unit the sum over what reads it: its columns of weights."""
        return self._sum(values, rows=False)

    def makers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The unit that each row of a parameter helps to make, or -1, in as many dimensions as it has."""
        unit = self.where.get(name, {}).get(0)
        return None if unit is None else unit.reshape(-1, *(1 for _ in shape[1:]))

    def _sum(self, values: Mapping[str, Tensor], *, rows: bool) -> NDArray[np.float64]:
        total = np.zeros(self.count)
        for name, value in values.items():
            for dim, unit in self.where.get(name, {}).items():
                if (dim == 0) == rows:
                    others = [d for d in range(value.ndim) if d != dim]
                    each = (value.sum(others) if others else value).double().cpu().numpy()
                    np.add.at(total, unit[unit >= 0], each[unit >= 0])
        return total


def find_units(network: nn.Module, example: Tensor, keep: tuple[str, ...] = ()) -> Units:
    """Trace a network and find its removable units.

    Args:
        network: Any module that `torch.export` can trace.
        example: Images (N, C, H, W) of the shape it works on; N is at least 2.
        keep: Names of layers whose outputs stay.

    Raises:
        BadInput: If it cannot be traced.
    """
    walk = _Walk(network, example)
    walk.run()
    component, pinned = walk.coupling.components()
    for name, label in walk.parameters.items():
        if len(label) > 1 and label[0] is not None and name.rpartition(".")[0] in keep:
            pinned[component[label[0]]] = True
    made = np.zeros(len(pinned), bool)  # units are what some weight makes: a parameter that is only added makes none
    for work in walk.works:
        rows = walk.parameters[work.weight][0]
        made[component[rows]] = True
    free = made & ~pinned
    number = np.where(free, np.cumsum(free) - 1, -1)
    where = {
        name: {dim: number[component[atoms]] for dim, atoms in enumerate(label) if atoms is not None}
        for name, label in walk.parameters.items()
    }
    count = int(free.sum())
    flow = [
        (name, [size if atoms is None else number[component[atoms]] for size, atoms in zip(shape, label, strict=True)])
        for name, shape, label in walk.flow()
    ]
    return Units(count, _layers(count, where, walk.works), where, walk.works, walk.coupling.reasons(), flow)


def traced_shapes(network: nn.Module, example: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """The sizes of the values inside a network, by name, in its order."""
    return [(name, shape) for name, shape, _ in _Walk(network, example).flow()]


def _layers(count: int, where: Mapping[str, Mapping[int, Atoms]], works: list[Work]) -> NDArray[np.int64]:
    """Units made by the same weight belong to the same layer, and so do all that this joins."""
    coupling = Coupling()
    units = coupling.new(count)
    for work in works:
        made = where[work.weight][0]
        made = units[made[made >= 0]]
        coupling.join(made[:-1], made[1:], "layer")
    return coupling.components()[0]


class _Walk:
    """The labels of all values, in the order of the graph."""

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.coupling = Coupling()
        self.parameters: dict[str, Label] = {}
        self.works: list[Work] = []
        self._batch = len(example)
        self._state = network.state_dict(keep_vars=True)
        self._shared: dict[int, Label] = {}
        self._labels: dict[Node, Label] = {}
        self._several: dict[Node, list[Label]] = {}
        try:
            self._program = torch.export.export(network, (example,), strict=False)
        except Exception as error:  # whatever the user's network does while it is traced
            raise BadInput(f"A network to be pruned should be traceable by torch.export. Found: {error}") from error
        signature = self._program.graph_signature
        self._names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}

    def run(self) -> None:
        """Label every value, then fix what the network returns."""
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._labels[node] = self._enter(node)
            elif node.op == "call_function":
                self._labels[node] = self._apply(node)
            elif node.op == "output":
                for result in node.all_input_nodes:
                    for atoms in self._labels.get(result, ()):
                        self.coupling.pin(atoms, "output of the network")

    def flow(self) -> Iterator[tuple[str, tuple[int, ...], Label]]:
        """The values that the network computes: name, sizes, and label once there is one."""
        for node in self._program.graph.nodes:
            if node.op == "call_function" and (shape := self.shape(node)):
                yield node.name, shape, self._labels.get(node, ())

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

    def _enter(self, node: Node) -> Label:
        name = self._names.get(node.name)
        if name not in self._state:  # the images, or a buffer that is not saved: its factory makes it whole again
            return (None,) * len(self.shape(node))
        key = id(self._state[name])  # weights that two layers share enter under each of their names
        if key not in self._shared:
            self._shared[key] = tuple(self.coupling.new(size) for size in self.shape(node))
        self.parameters[name] = self._shared[key]
        return self.parameters[name]

    def _apply(self, node: Node) -> Label:
        operator: str = getattr(node.target, "_opname", "") or getattr(node.target, "__name__", str(node.target))
        rule = RULES.get(operator)
        if rule is None:
            for operand in node.all_input_nodes:
                for atoms in self._labels.get(operand, ()):
                    self.coupling.pin(atoms, f"enters {operator}, for which there is no rule")
            return (None,) * len(self.shape(node))
        if operator in ("conv1d", "conv2d", "conv3d", "linear"):
            self._note_work(node)
        return rule(self, node)

    def _note_work(self, node: Node) -> None:
        weight: Any = node.args[1]
        if weight.name in self._names:
            shape = self.shape(node)
            channels = shape[1] if len(shape) > 2 and "conv" in str(node.target) else shape[-1]
            places = int(np.prod(shape)) // self._batch // channels
            self.works.append(Work(self._names[weight.name], places))
