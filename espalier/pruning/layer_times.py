"""What the layers of a network cost in the runtime, as a function of what is kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.pruning.costs import Cost, Price, Sizes, cost, rows_and_columns
from espalier.pruning.dependency_groups import DependencyGroups
from espalier.pruning.latency_table import Grid, Kind, Point, axis, milliseconds
from espalier.pruning.trace import Work


def layer_times(
    network: nn.Module,
    units: DependencyGroups,
    example: Tensor,
    align: int,
    cache: Path | None = None,
) -> Cost:
    """The milliseconds of all layers that multiply, for one image, from a table that is measured on this device.

    Args:
        network: In evaluation mode.
        units: What can be removed.
        example: Images (N, C, H, W).
        align: Widths are measured at multiples of this, or of a multiple of it where a layer is wide.
        cache: Where the table is kept; the user's cache by default.
    """
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    terms, grids = [], []
    for work, kind in kinds_of(network, units.works, example):
        term = rows_and_columns(units, work, shapes[work.weight])
        widths = [axis(size, align, fixed=not (unit >= 0).any()) for size, unit in term]
        terms.append(term)
        grids.append((kind, tuple(widths[0]), tuple(widths[1])))
    points = {grid: [Point(grid[0], *widths) for widths in product(*grid[1:])] for grid in grids}
    times = milliseconds([point for each in points.values() for point in each], cache)
    measured = {
        grid: Grid(
            np.array(grid[1]),
            np.array(grid[2]),
            np.array([times[point] for point in each]).reshape(len(grid[1]), len(grid[2])),
        )
        for grid, each in points.items()
    }
    members = {
        grid: [number for number, other in enumerate(grids) if other == grid] for grid in points
    }
    return cost(
        "milliseconds",
        units.count,
        terms,
        _price([(measured[grid], members[grid]) for grid in points]),
    )


def work_times(
    network: nn.Module, works: Sequence[Work], example: Tensor, cache: Path | None = None
) -> dict[str, float]:
    """The milliseconds of each layer as it is, by the name of its weight."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    points = {}
    for work, kind in kinds_of(network, works, example):
        shape = shapes[work.weight]
        points[work.weight] = Point(kind, shape[work.rows], shape[1 - work.rows])
    times = milliseconds(points.values(), cache)
    return {weight: times[point] for weight, point in points.items()}


def kinds_of(network: nn.Module, works: Sequence[Work], example: Tensor) -> list[tuple[Work, Kind]]:
    """What the runtime makes of the layers; those of which that is not known are left out."""
    read = _read_shapes(network, example[:1])
    found = [(work, _kind(network, work, read)) for work in works]
    return [(work, kind) for work, kind in found if kind is not None]


def _price(grids: Sequence[tuple[Grid, list[int]]]) -> Price:
    """The sum of the layers' times: grids, each with the numbers of the layers that it is of."""

    def price(left: Sizes) -> NDArray[np.float64]:
        total = np.zeros(left.shape[:-2])
        for grid, members in grids:
            total += grid.at(left[..., members, 0], left[..., members, 1]).sum(-1)
        return total

    return price


def _kind(network: nn.Module, work: Work, read: dict[str, tuple[int, ...]]) -> Kind | None:
    owner = work.weight.rpartition(".")[0]
    layer = network.get_submodule(owner)
    if not isinstance(layer, nn.Conv2d):
        return Kind((work.places,)) if network.get_parameter(work.weight).ndim == 2 else None
    if isinstance(layer.padding, str) or owner not in read:
        return None
    depthwise = (
        layer.groups > 1 and layer.weight.shape[1] == 1 and layer.groups == layer.in_channels
    )
    if depthwise and layer.out_channels != layer.in_channels:
        return None
    return Kind(
        read[owner][2:],
        tuple(layer.kernel_size),
        tuple(layer.stride),
        tuple(map(int, layer.padding)),
        tuple(layer.dilation),
        0 if depthwise else layer.groups,
    )


def _read_shapes(network: nn.Module, image: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape of what each convolution reads, by its name."""
    found: dict[str, tuple[int, ...]] = {}
    with _watched(network, found), torch.no_grad():
        network(image)
    return found


@contextmanager
def _watched(network: nn.Module, found: dict[str, tuple[int, ...]]) -> Iterator[None]:
    def note(name: str, args: tuple[Tensor, ...]) -> None:
        found[name] = tuple(args[0].shape)

    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: note(name, args))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
