"""Latencies of layers in the runtime, as functions of the kept groups."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.models.graph import Graph
from espalier.pruning.costs.costs import Cost, Price, Sizes, cost, rows_and_columns
from espalier.pruning.costs.latency_table import Grid, Kind, Point, axis, milliseconds
from espalier.pruning.groups import ComputeLayer, DependencyGroups

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_OPERATORS = ("conv1d", "conv2d", "conv3d")
_Table = tuple[Kind, tuple[int, ...], tuple[int, ...]]
"""A kind of layer, and the numbers of rows and columns at which it is measured."""


def layer_times(
    network: nn.Module,
    groups: DependencyGroups,
    example: Tensor,
    align: int,
    cache: Path | None = None,
) -> Cost:
    """The milliseconds of all layers that multiply, for one example, from a measured table.

    Args:
        network: a network in evaluation mode.
        groups: its dependency groups.
        example: inputs (N, C, H, W) as the network sees them.
        align: step between measured widths; wide layers are measured at a multiple of it.
        cache: file of the measured table; a file in the user's cache by default.
    """
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    terms, tables = [], []
    for layer, kind in kinds_of(network, groups.compute_layers, example):
        term = rows_and_columns(groups, layer, shapes[layer.weight])
        rows, columns = (
            tuple(axis(size, align, fixed=not (group >= 0).any())) for size, group in term
        )
        terms.append(term)
        tables.append((kind, rows, columns))
    grids = _measured(tables, cache)
    members = {
        table: [number for number, other in enumerate(tables) if other == table] for table in grids
    }
    price = _price([(grid, members[table]) for table, grid in grids.items()])
    return cost("milliseconds", groups.count, terms, price)


def compute_layer_times(
    network: nn.Module,
    layers: Sequence[ComputeLayer],
    example: Tensor,
    cache: Path | None = None,
) -> dict[str, float]:
    """The milliseconds of each layer at its present widths, by the name of its weight."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    points = {}
    for layer, kind in kinds_of(network, layers, example):
        shape = shapes[layer.weight]
        points[layer.weight] = Point(kind, shape[layer.rows], shape[1 - layer.rows])
    times = milliseconds(points.values(), cache)
    return {weight: times[point] for weight, point in points.items()}


def kinds_of(
    network: nn.Module, layers: Sequence[ComputeLayer], example: Tensor
) -> list[tuple[ComputeLayer, Kind]]:
    """The kind of each layer in the runtime; layers of unknown kinds are left out."""
    sizes = _input_sizes(network, example)
    found = []
    for layer in layers:
        kind = _kind(network, layer, sizes)
        if kind is not None:
            found.append((layer, kind))
    return found


def _measured(tables: Sequence[_Table], cache: Path | None) -> dict[_Table, Grid]:
    """The grid of each distinct table."""
    points = {
        table: [Point(table[0], *widths) for widths in product(table[1], table[2])]
        for table in tables
    }
    times = milliseconds([point for each in points.values() for point in each], cache)
    grids = {}
    for table, each in points.items():
        _, rows, columns = table
        values = np.array([times[point] for point in each])
        grid = values.reshape(len(rows), len(columns))
        grids[table] = Grid(np.array(rows), np.array(columns), grid)
    return grids


def _price(grids: Sequence[tuple[Grid, list[int]]]) -> Price:
    """The sum of the latencies of layers.

    Args:
        grids: each grid with the numbers of the layers whose latency it holds.
    """

    def price(left: Sizes) -> NDArray[np.float64]:
        total = np.zeros(left.shape[:-2])
        for grid, members in grids:
            rows, columns = left[..., members, 0], left[..., members, 1]
            total += grid.at(rows, columns).sum(-1)
        return total

    return price


def _kind(
    network: nn.Module, layer: ComputeLayer, sizes: dict[str, tuple[int, ...]]
) -> Kind | None:
    """The kind of a layer; None if the table cannot measure it."""
    module = network.get_submodule(layer.name)
    if not isinstance(module, _CONVOLUTIONS):
        is_matrix = network.get_parameter(layer.weight).ndim == 2
        return Kind((layer.places,)) if is_matrix else None
    if isinstance(module.padding, str) or layer.name not in sizes:
        return None
    single = module.groups > 1 and module.weight.shape[1] == 1
    depthwise = single and module.groups == module.in_channels
    if depthwise and module.out_channels != module.in_channels:
        return None
    return Kind(
        sizes[layer.name],
        tuple(module.kernel_size),
        tuple(module.stride),
        tuple(map(int, module.padding)),
        tuple(module.dilation),
        0 if depthwise else module.groups,
    )


def _input_sizes(network: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """The sizes of the input of each convolution without its channels, by the layer's name."""
    graph = Graph(network, example)
    sizes = {}
    for node in graph.nodes:
        around = graph.layers_around(node)
        if graph.operator(node) in _OPERATORS and around:
            sizes[around[0]] = graph.shape(node.args[0])[2:]
    return sizes
