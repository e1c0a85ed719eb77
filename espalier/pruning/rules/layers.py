"""Operators with weights: convolutions, linear layers, norms."""

import numpy as np
from torch import nn
from torch.fx import Node

from espalier.pruning.coupling import Coupling, Dim, Label
from espalier.pruning.rules.walk import Walk, argument, number


def convolution(walk: Walk, node: Node) -> Label:
    """Filters are the output's channels; each group reads its own part of the input's."""
    walk.works(node)
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    bias = walk.label(argument(node, 2, "bias"))
    groups = argument(node, 6, "groups") or 1
    rows, columns = weight[0], weight[1]
    channels = x[1] if groups == 1 else walk.coupling.settle(x[1])
    _join_grouped(walk.coupling, channels, columns, groups)
    if groups > 1 and isinstance(rows, np.ndarray):
        if channels is None and isinstance(columns, np.ndarray) and len(columns) == 1:
            walk.coupling.pin(rows, "depthwise filter of the input")
        elif (
            isinstance(channels, np.ndarray) and len(channels) == groups
        ):  # depthwise: a filter goes with its channel
            for part in rows.reshape(groups, -1).T:
                walk.coupling.join(channels, part, "depthwise convolution")
        else:
            walk.coupling.tie(rows.reshape(groups, -1))
    if bias:
        walk.coupling.join(rows, bias[0], "bias")
    for atoms in (*weight[2:], *x[2:]):
        walk.coupling.pin(atoms, "kernel")
    return (x[0], rows, *(None for _ in weight[2:]))


def _join_grouped(coupling: Coupling, channels: Dim, columns: Dim, groups: int) -> None:
    if groups == 1:
        coupling.join(channels, columns, "input of the network")
    elif (
        not isinstance(channels, np.ndarray)
        or not isinstance(columns, np.ndarray)
        or len(columns) == 1
    ):
        coupling.pin(columns, "depthwise filter")
    else:
        for part in channels.reshape(groups, -1):
            coupling.join(columns, part, "convolution")


def transposed_convolution(walk: Walk, node: Node) -> Label:
    """The weight's rows read the input's channels and its columns make the output's; groups of them stay."""
    walk.works(node, rows=1)
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    bias = walk.label(argument(node, 2, "bias"))
    if (argument(node, 6, "groups") or 1) > 1:
        for atoms in (x[1], *weight[:2], *bias):
            walk.coupling.pin(atoms, "groups of a transposed convolution")
        return (x[0], *(None for _ in weight[1:]))
    walk.coupling.join(x[1], weight[0], "input of the network")
    if bias:
        walk.coupling.join(weight[1], bias[0], "bias")
    for atoms in (*weight[2:], *x[2:]):
        walk.coupling.pin(atoms, "kernel")
    return (x[0], weight[1], *(None for _ in weight[2:]))


def linear(walk: Walk, node: Node) -> Label:
    """The last dimension is read by the weight's columns and becomes its rows."""
    walk.works(node)
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    bias = walk.label(argument(node, 2, "bias"))
    walk.coupling.join(x[-1], weight[1], "input of the network")
    if bias:
        walk.coupling.join(weight[0], bias[0], "bias")
    return (*x[:-1], weight[0])


def channel_norm(walk: Walk, node: Node) -> Label:
    """Batch and instance norm: one scale, shift, mean and variance per channel."""
    x = walk.label(node.args[0])
    for operand in node.args[1:5]:
        if label := walk.label(operand):
            walk.coupling.join(x[1], label[0], "batch norm")
    return x


def layer_norm(walk: Walk, node: Node) -> Label:
    """One scale and shift per index of the last dimensions."""
    x = walk.label(node.args[0])
    if not walk.label(
        argument(node, 2, "weight")
    ):  # the layer's size is a number that no weight tells
        for atoms in x[-len(node.args[1]) :]:  # type: ignore[arg-type]
            walk.coupling.pin(atoms, "layer norm without weights")
    for position in (2, 3):
        if label := walk.label(argument(node, position, ("weight", "bias")[position - 2])):
            for mine, theirs in zip(x[-len(label) :], label, strict=True):
                walk.coupling.join(mine, theirs, "layer norm")
    return x


def group_norm(walk: Walk, node: Node) -> Label:
    """Groups go as a whole, so that the statistics of the others stay; a single one shrinks."""
    x, groups = walk.label(node.args[0]), number(node, 1)
    channels = walk.coupling.settle(x[1])
    weight, bias = (
        walk.label(argument(node, position, name))
        for position, name in ((2, "weight"), (3, "bias"))
    )
    if not weight or not isinstance(walk.module(node), nn.GroupNorm):
        walk.coupling.pin(channels, "group norm that spells the number of its groups")
    elif channels is not None:
        walk.coupling.tie(channels.reshape(groups, -1).T if groups > 1 else channels[None])
    for label in (weight, bias):
        if label:
            walk.coupling.join(channels, label[0], "group norm")
    return (x[0], channels, *x[2:])


def rectifier(walk: Walk, node: Node) -> Label:
    """PReLU: a slope for each channel, or one for all."""
    x, slope = walk.label(node.args[0]), walk.label(node.args[1])
    if walk.shape(node.args[1]) == (1,):
        walk.coupling.pin(slope[0] if slope else None, "slope of all channels")
    elif slope:
        walk.coupling.join(x[1], slope[0], "prelu")
    return x
