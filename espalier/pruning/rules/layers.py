"""Rules of operators with weights: convolutions, linear layers, norms."""

from typing import Any, TypeGuard

import numpy as np
from torch import nn
from torch.fx import Node

from espalier.pruning.coupling import Coupling, Dim, Label, Walk, argument, integer

_INPUT = "input of the network"


def convolution(walk: Walk, node: Node) -> Label:
    """Filters produce the output's channels; each group consumes its own part of the input's.

    Example:
        A depthwise convolution of 8 channels (groups = 8): filter i goes with channel i. With 2
        groups, filters 0 to 3 consume channels 0 to 3, and both groups keep the same positions.
    """
    walk.add_compute_layer(node)
    coupling = walk.coupling
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    groups = argument(node, 6, "groups") or 1
    filters, columns = weight[0], weight[1]
    channels = x[1] if groups == 1 else coupling.resolve(x[1])
    if filters is None and groups > 1:
        return _fixed_filter(walk, node, channels)
    _join_columns(coupling, channels, columns, groups)
    if groups > 1 and isinstance(filters, np.ndarray):
        _join_filters(coupling, channels, filters, columns, groups)
    _join_bias(walk, node, filters)
    for dim in (*weight[2:], *x[2:]):
        coupling.pin(dim, "kernel")
    return (x[0], filters, *(None for _ in weight[2:]))


def _fixed_filter(walk: Walk, node: Node, channels: Dim) -> Label:
    """The same filter for every channel, repeated in the forward pass; any other keeps channels."""
    x, weight = node.args[0], node.args[1]
    spatial = (None for _ in walk.shape(weight)[2:])
    if _is_repeated(weight, walk) and walk.shape(node)[1] == walk.shape(x)[1]:
        walk.relabel(weight, (channels, *walk.label(weight)[1:]))
        return (walk.label(x)[0], channels, *spatial)
    walk.coupling.pin(channels, "filter that is computed in the forward pass")
    return (walk.label(x)[0], None, *spatial)


def _is_repeated(weight: Any, walk: Walk) -> TypeGuard[Node]:
    """Whether a filter is one filter, expanded over the channels."""
    if not isinstance(weight, Node) or "expand" not in str(weight.target):
        return False
    return walk.shape(weight.args[0])[:1] == (1,)


def _join_columns(coupling: Coupling, channels: Dim, columns: Dim, groups: int) -> None:
    """Join the input's channels with the columns of the weight that consume them."""
    if groups == 1:
        coupling.join(channels, columns, _INPUT)
        return
    if (
        not isinstance(channels, np.ndarray)
        or not isinstance(columns, np.ndarray)
        or len(columns) == 1
    ):
        coupling.pin(columns, "depthwise filter")
    else:
        for part in channels.reshape(groups, -1):
            coupling.join(columns, part, "convolution")


def _join_filters(
    coupling: Coupling, channels: Dim, filters: np.ndarray, columns: Dim, groups: int
) -> None:
    """Join the filters of a grouped convolution with its channels, or with each other."""
    single_column = isinstance(columns, np.ndarray) and len(columns) == 1
    if channels is None and single_column:
        coupling.pin(filters, "depthwise filter of the input")
    elif isinstance(channels, np.ndarray) and len(channels) == groups:
        for part in filters.reshape(groups, -1).T:  # depthwise: a filter goes with its channel
            coupling.join(channels, part, "depthwise convolution")
    else:
        coupling.merge(filters.reshape(groups, -1))


def _join_bias(walk: Walk, node: Node, produced: Dim) -> None:
    bias = walk.label(argument(node, 2, "bias"))
    if bias:
        walk.coupling.join(produced, bias[0], "bias")


def transposed_convolution(walk: Walk, node: Node) -> Label:
    """Rows consume the input's channels, columns produce the output's; groups of them stay."""
    walk.add_compute_layer(node, rows=1)
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    spatial = (None for _ in weight[2:])
    if (argument(node, 6, "groups") or 1) > 1:
        bias = walk.label(argument(node, 2, "bias"))
        for dim in (x[1], *weight[:2], *bias):
            walk.coupling.pin(dim, "groups of a transposed convolution")
        return (x[0], None, *spatial)
    walk.coupling.join(x[1], weight[0], _INPUT)
    _join_bias(walk, node, weight[1])
    for dim in (*weight[2:], *x[2:]):
        walk.coupling.pin(dim, "kernel")
    return (x[0], weight[1], *spatial)


def linear(walk: Walk, node: Node) -> Label:
    """The weight's columns consume the last dimension, and its rows produce the new one."""
    walk.add_compute_layer(node)
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    walk.coupling.join(x[-1], weight[1], _INPUT)
    _join_bias(walk, node, weight[0])
    return (*x[:-1], weight[0])


def channel_norm(walk: Walk, node: Node) -> Label:
    """Batch norm: one scale, shift, mean and variance per channel."""
    x = walk.label(node.args[0])
    for operand in node.args[1:5]:
        label = walk.label(operand)
        if label:
            walk.coupling.join(x[1], label[0], "batch norm")
    return x


def instance_norm(walk: Walk, node: Node) -> Label:
    """One scale and shift per channel, whose mean and variance are over all of its positions."""
    x = channel_norm(walk, node)
    for dim in x[2:]:
        walk.coupling.pin(dim, f"normalised over in {node.name}")
    return x


def layer_norm(walk: Walk, node: Node) -> Label:
    """One scale and shift per index of the last dimensions."""
    x = walk.label(node.args[0])
    weight, bias = (
        walk.label(argument(node, position, name))
        for position, name in ((2, "weight"), (3, "bias"))
    )
    if not weight:  # no weight tells the layer's size
        sizes: list[int] = node.args[1]  # type: ignore[assignment]
        for dim in x[-len(sizes) :]:
            walk.coupling.pin(dim, "layer norm without weights")
    for label in (weight, bias):
        normalised = x[-len(label) :] if label else ()
        for own, other in zip(normalised, label, strict=True):
            walk.coupling.join(own, other, "layer norm")
    return x


def group_norm(walk: Walk, node: Node) -> Label:
    """Groups go as a whole, so that the statistics of the others stay; a single one shrinks."""
    x, groups = walk.label(node.args[0]), integer(node, 1)
    channels = walk.coupling.resolve(x[1])
    weight, bias = (
        walk.label(argument(node, position, name))
        for position, name in ((2, "weight"), (3, "bias"))
    )
    if not weight or not isinstance(walk.module(node), nn.GroupNorm):
        walk.coupling.pin(channels, "group norm that spells the number of its groups")
    elif channels is not None:
        rows = channels.reshape(groups, -1).T if groups > 1 else channels[None]
        walk.coupling.merge(rows)
    for label in (weight, bias):
        if label:
            walk.coupling.join(channels, label[0], "group norm")
    return (x[0], channels, *x[2:])


def rectifier(walk: Walk, node: Node) -> Label:
    """PReLU: a slope for each channel, or one for all."""
    x, slope = walk.label(node.args[0]), walk.label(node.args[1])
    if not slope:
        return x
    if walk.shape(node.args[1]) == (1,):
        walk.coupling.pin(slope[0], "slope of all channels")
    else:
        walk.coupling.join(x[1], slope[0], "prelu")
    return x
