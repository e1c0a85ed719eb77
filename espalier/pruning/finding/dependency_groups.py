"""Finding the dependency groups of a network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.errors import BadInput
from espalier.models.attention import Attention, declared_heads, with_prunable_attention
from espalier.models.graph import Example, Graph, doubled
from espalier.models.layer_names import is_inside
from espalier.pruning.coupling import Coupling, Indices
from espalier.pruning.finding.labelling import Labelling
from espalier.pruning.groups import ComputeLayer, DependencyGroups, Product
from espalier.pruning.surgery import cut
from espalier.pruning.surgery.proof import check_numbers
from espalier.pruning.surgery.respelling import respell, spelling_calls

Where = dict[str, dict[int, NDArray[np.int64]]]


def find_dependency_groups(
    network: nn.Module, example: Example, keep: tuple[str, ...] = ()
) -> DependencyGroups:
    """Trace a network and find its removable groups.

    Layers that spell their number of heads are verified by a trial cut: where it fails, first the
    heads of these layers stay, then everything that they read and produce.

    Args:
        network: any module that `torch.export` can trace.
        example: inputs (N, C, H, W) of the shape that it works on, or a tuple of all its inputs.
        keep: names of layers whose outputs stay, with all layers inside.

    Raises:
        BadInput: if the network cannot be traced.

    Example:
        `Linear(3, 2)`, ReLU, `Linear(2, 1)` has two groups. Group i is row i of the first weight,
        element i of its bias, and column i of the second weight.
    """
    own = with_prunable_attention(network)
    labelling = Labelling(own, example)
    component, pinned = labelling.coupling.components()
    for layer in labelling.producers:
        if is_inside(layer.name, keep):
            pinned[component[_produced(labelling, layer)]] = True
    groups = _numbered(own, labelling, component, pinned)
    spelled = _spelled(own, labelling)
    for stays in _fallbacks(labelling, spelled):
        if _survives_trial_cut(network, groups, example):
            break
        pinned[component[stays]] = True
        groups = _numbered(own, labelling, component, pinned)
    return groups


def find_heads(
    network: nn.Module, example: Example, keep: tuple[str, ...] = ()
) -> DependencyGroups:
    """The dependency groups of a network, with whole attention heads as the only removable ones."""
    groups = find_dependency_groups(network, example, keep)
    is_head = np.append(groups.heads, False)  # indices without group have the number -1
    where = {
        name: {dim: np.where(is_head[group], group, -1) for dim, group in dims.items()}
        for name, dims in groups.where.items()
    }
    return replace(groups, where=where)


def traced_shapes(network: nn.Module, example: Example) -> list[tuple[str, tuple[int, ...]]]:
    """The sizes of the values inside a network, by name, in order."""
    return [(name, shape) for name, shape, _ in Labelling(network, example).flow()]


def line_of_value(network: nn.Module, example: Example, name: str) -> str:
    """The line of the forward pass that computes a value inside a network."""
    graph = Graph(network, doubled(example))
    found = [node for node in graph.nodes if node.name == name]
    return graph.line(found[0]) if found else name


def _produced(labelling: Labelling, layer: ComputeLayer) -> Indices:
    """The numbers of the outputs of a layer."""
    return labelling.parameters[layer.weight][layer.rows]


def _numbered(
    network: nn.Module, labelling: Labelling, component: Indices, pinned: NDArray[np.bool_]
) -> DependencyGroups:
    """The free components that a weight or a table produces, numbered in order.

    A parameter that is only added to values produces none.
    """
    produced = np.zeros(len(pinned), bool)
    for layer in labelling.producers:
        produced[component[_produced(labelling, layer)]] = True
    free = produced & ~pinned
    count = int(free.sum())
    number = np.where(free, np.cumsum(free) - 1, -1)[component]
    where = {
        name: {dim: number[indices] for dim, indices in enumerate(label)}
        for name, label in labelling.parameters.items()
    }
    flow = [
        (
            name,
            [size if dim is None else number[dim] for size, dim in zip(shape, label, strict=True)],
        )
        for name, shape, label in labelling.flow()
    ]
    labelled = [dim for _, dims in flow for dim in dims if not isinstance(dim, int)]
    products = [
        _product(places, [number[dim] for dim in dims]) for places, dims in labelling.products()
    ]
    spelled = {name: number[heads] for name, heads in _spelled(network, labelling)}
    return DependencyGroups(
        count=count,
        layer=_layers(count, where, labelling.producers),
        where=where,
        compute_layers=labelling.compute_layers,
        fixed=labelling.coupling.reasons(),
        flow=flow,
        heads=_heads(labelling, number, count),
        products=products,
        reads=_reads(labelling),
        attention=spelled,
        channels=_channels(count, labelled),
    )


def _heads(labelling: Labelling, number: Indices, count: int) -> NDArray[np.bool_]:
    """(count,) whether each group is an attention head."""
    heads = np.zeros(count + 1, bool)  # the last element is for the number -1
    for _, indices in labelling.attention():
        heads[number[indices]] = True
    return heads[:-1]


def _reads(labelling: Labelling) -> frozenset[tuple[str, int]]:
    """The dimensions of parameters that consume; a label that layers share counts for each name."""
    consuming = {
        (id(labelling.parameters[layer.weight]), 1 - layer.rows)
        for layer in labelling.compute_layers
    }
    return frozenset(
        (name, dim)
        for name, label in labelling.parameters.items()
        for dim in (0, 1)
        if (id(label), dim) in consuming
    )


def _spelled(network: nn.Module, labelling: Labelling) -> list[tuple[str, Indices]]:
    """The layers that spell their number of heads, and their heads.

    Attention modules of our own are left out: they compute the number from their weights.
    """
    layers = dict(network.named_modules())
    found = []
    for around, indices in labelling.attention():
        names = [name for name in around if name in layers]
        if names and not isinstance(layers[names[0]], Attention):
            matching = (name for name in names if declared_heads(layers[name]) == len(indices))
            found.append((next(matching, names[0]), indices))
    return found


def _fallbacks(labelling: Labelling, spelled: list[tuple[str, Indices]]) -> list[Indices]:
    """Indices to pin if a trial cut fails: first heads that are spelled, then whole layers."""
    if not spelled:
        return []
    heads = np.concatenate([indices for _, indices in spelled])
    labelling.coupling.pin(heads, "heads that a forward pass spells")
    names = tuple(f"{name}." if name else "" for name, _ in spelled)
    dims = [
        dim
        for parameter, label in labelling.parameters.items()
        if parameter.startswith(names)
        for dim in label
    ]
    weights = np.concatenate(dims)
    labelling.coupling.pin(weights, "widths that a forward pass spells")
    return [heads, weights]


def _survives_trial_cut(network: nn.Module, groups: DependencyGroups, example: Example) -> bool:
    """Whether a network without one group of each layer runs, with values of the expected shapes."""
    kept = np.ones(groups.count, bool)
    first = np.unique(groups.layer, return_index=True)[1]
    kept[first] = False
    alone = np.bincount(groups.layer)[groups.layer] == 1
    kept[alone] = True
    smaller = cut(network, groups, kept)
    respell(smaller, spelling_calls(network, example), groups, kept, example)
    try:
        shapes = traced_shapes(smaller, example)
        check_numbers(network, smaller, example)
    except (BadInput, RuntimeError):
        return False
    return shapes == groups.shapes(kept)


def _channels(count: int, dims: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(count,) the smallest number of indices of each group in a dimension; 1 if it has none."""
    unknown = np.iinfo(np.int64).max
    fewest = np.full(count, unknown)
    for dim in dims:
        group, times = np.unique(dim[dim >= 0], return_counts=True)
        fewest[group] = np.minimum(fewest[group], times)
    return np.where(fewest == unknown, 1, fewest)


def _product(places: float, dims: list[NDArray[np.int64]]) -> Product:
    """A product of activations; dimensions without group, and a third one, count as places."""
    by_groups = sorted(dims, key=lambda group: -int((group >= 0).sum()))
    free = [group for group in by_groups[:2] if (group >= 0).any()]
    others = math.prod(len(group) for group in by_groups[len(free) :])
    return Product(places * others, tuple(free))


def _layers(
    count: int, where: Mapping[str, Mapping[int, Indices]], layers: Sequence[ComputeLayer]
) -> NDArray[np.int64]:
    """(count,) the layer of each group: groups that the same weight produces, joined over weights."""
    coupling = Coupling()
    numbers = coupling.new(count)
    for layer in layers:
        produced = where[layer.weight][layer.rows]
        joined = numbers[produced[produced >= 0]]
        coupling.join(joined[:-1], joined[1:], "layer")
    return coupling.components()[0]
