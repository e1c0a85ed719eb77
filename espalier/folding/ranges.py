"""Scales of channels moved from a layer into the next one, so that the weights of both have equal ranges."""

import copy
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Node

from espalier.folding.codebooks import refuse_codebooks
from espalier.models.equivalence import check_equal_outputs, flush_denormals
from espalier.models.graph import Graph

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
# f(s x) = s f(x) for s > 0, channel by channel
_RECTIFIERS = {"relu", "relu_", "leaky_relu", "leaky_relu_"}
_POOLS = {f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg") for n in (1, 2, 3)}
_PASSING = {*_RECTIFIERS, *_POOLS, "flatten", "view", "reshape", "mean"}
_ROUNDS = 30  # a scale moves on by one layer a round; seven separable convolutions took 17
_SETTLED = 1e-3  # relative change of a scale that is worth no further round


class _Pair(NamedTuple):
    """A layer and the only one that reads it, with nothing between them but rectifiers, pools and means."""

    first: str
    second: str


def equalize_ranges(network: nn.Module, example: Tensor) -> nn.Module:
    """Give the weights of consecutive layers equal ranges, channel by channel (Nagel et al. 2019, section 4.1).

    A rectifier passes a positive factor on: `W2 relu(W1 x + b1)` is `W2 S relu(S^-1 W1 x + S^-1 b1)` for any
    diagonal S of positive numbers. With r1 and r2 the largest magnitudes of a channel in the rows of W1 and in the
    columns of W2, `s = sqrt(r1 / r2)` makes both `sqrt(r1 r2)` (eq. 11): of r1 = 8 and r2 = 2, both become 4. Where
    layers stand in a row, this is repeated until all scales have settled.

    Folded batch norms leave channels of very different ranges, most of all in depthwise convolutions. A weight with a
    single step or codebook has hardly any levels left for the small ones; one with a scale for each channel gains
    nothing.

    A pair stays as it is if anything else reads the first layer, or a sum, a norm or another activation stands between;
    and so does a channel whose row or column is zero.

    Args:
        network: network that `torch.export` can trace; it is left as it is. Fold its batch norms first.
        example: images (N, C, H, W) as the network sees them.

    Returns:
        A new network in evaluation mode with equal outputs.

    Raises:
        BadInput: if the network cannot be traced, has other outputs with the scales moved, or has shared weights that
            would be scaled.
    """
    pairs = list(_pairs(Graph(network, example)))
    scaled = [layer for pair in pairs for layer in pair]
    refuse_codebooks(network, scaled, "ranges to be made equal")
    equalized = copy.deepcopy(network).eval()
    for _ in range(_ROUNDS):
        moved = [_equalize(equalized, pair) for pair in pairs]
        if max(moved, default=0.0) < _SETTLED:
            break
    flush_denormals(equalized)
    check_equal_outputs(network, equalized, example)
    return equalized


def _pairs(graph: Graph) -> Iterator[_Pair]:
    """Layers and the layers that read them, in the order of the calls."""
    for node in graph.nodes:
        second = graph.layer_of(node, _LAYERS)
        if second is None:
            continue
        path = [node.args[0]]
        while graph.operator(path[-1]) in _PASSING:
            path.append(path[-1].args[0])
        first = graph.layer_of(path[-1], _LAYERS)
        if first is None or any(len(value.users) != 1 for value in path):
            continue
        if _keeps_channels(graph, path, first[1], second[1]):
            yield _Pair(first[0], second[0])


def _keeps_channels(graph: Graph, path: list[Any], first: nn.Module, second: nn.Module) -> bool:
    """Whether a layer reads channel by channel, in their order, what another writes.

    Args:
        graph: graph of the network.
        path: values between the layers, backwards: from what the second reads to what the first writes.
        first: layer that writes; channels are the last dimension of a linear one, otherwise the second.
        second: layer that reads.
    """
    between = {graph.operator(value) for value in path[:-1]}
    if isinstance(first, nn.Linear):
        return isinstance(second, nn.Linear) and between <= _RECTIFIERS
    if not isinstance(second, nn.Linear):
        return between <= _RECTIFIERS | _POOLS
    return len(graph.shape(path[0])) == 2 and all(
        _keeps_maps_apart(graph, one) for one in path[:-1]
    )


def _keeps_maps_apart(graph: Graph, node: Node) -> bool:
    """Whether maps (N, C, ...) stay apart: a mean of each, or all elements of one beside those of the next."""
    before, after = graph.shape(node.args[0]), graph.shape(node)
    if graph.operator(node) == "mean":
        axes: Any = node.args[1:2] and node.args[1]
        return bool(axes) and min(axis % len(before) for axis in axes) >= 2
    if graph.operator(node) in _RECTIFIERS | _POOLS:
        return True
    return after == (before[0], math.prod(before[1:]))


@torch.no_grad()
def _equalize(network: nn.Module, pair: _Pair) -> float:
    """Move the scales of one pair, in place and in double precision; returns the largest relative change."""
    first, second = (network.get_submodule(name) for name in pair)
    assert isinstance(first, _LAYERS)
    assert isinstance(second, _LAYERS)
    rows = first.weight.double().flatten(1)
    columns = _columns(second, len(rows))
    outgoing, incoming = rows.abs().amax(1), columns.abs().amax((0, 2))
    scale = torch.where(outgoing * incoming > 0, (outgoing / incoming).sqrt(), 1.0)
    first.weight.copy_((rows / scale[:, None]).view_as(first.weight))
    if first.bias is not None:
        first.bias.copy_(first.bias.double() / scale)
    second.weight.copy_(_weight(second, columns * scale[:, None]))
    return float((scale.log()).abs().max())


def _columns(layer: Layer, channels: int) -> Tensor:
    """(rows, channels, elements) of a weight: what it multiplies each of the channels before it with.

    The rows are those of one group: the rows of a group read its channels alone.
    """
    weight = layer.weight.double()
    if isinstance(layer, nn.Linear):
        return weight.view(len(weight), channels, -1)
    inside = weight.shape[1]
    grouped = weight.reshape(layer.groups, len(weight) // layer.groups, inside, -1)
    return grouped.transpose(0, 1).flatten(1, 2)


def _weight(layer: Layer, columns: Tensor) -> Tensor:
    """The weight of columns as `_columns` gives them."""
    if isinstance(layer, nn.Linear):
        return columns.reshape_as(layer.weight)
    rows = columns.shape[0]
    grouped = columns.view(rows, layer.groups, -1).transpose(0, 1)
    return grouped.reshape(layer.weight.shape)
