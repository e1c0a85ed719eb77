"""Rules of operators that join tensors, or take parts of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from espalier.pruning.coupling import AxisOf, Dim, Indices, Label, Walk, argument, integer


def concatenate(walk: Walk, node: Node) -> Label:
    """Indices follow one another along one dimension and meet along the others.

    Example:
        (a, b) and (c) along the channels: (a, b, c). Numbers carry the offset by themselves.
    """
    first: Any = node.args[0]
    # torch skips empty tensors of one dimension, with which loops begin
    operands = [operand for operand in first if walk.shape(operand) != (0,)]
    if not operands:
        return (None,) * len(walk.shape(node))
    labels = [walk.label(operand) for operand in operands]
    dim = _dim(node, 1, len(labels[0]))
    result: list[Dim] = []
    for position, dims in enumerate(zip(*labels, strict=True)):
        if position != dim:
            result.append(_joint(walk, node, dims))
        else:
            sizes = [walk.shape(operand)[dim] for operand in operands]
            result.append(_following(walk, dims, sizes))
    return tuple(result)


def _dim(node: Node, position: int, rank: int) -> int:
    """The dimension that an argument names, counted from the front; 0 by default."""
    dim: int = argument(node, position, "dim") or 0
    return dim % rank


def _following(walk: Walk, dims: Sequence[Dim], sizes: Sequence[int]) -> Indices | None:
    """Dimensions one after another; a fixed one gets numbers of its own, which are pinned."""
    if all(dim is None for dim in dims):
        return None
    resolved = [walk.coupling.resolve(dim) for dim in dims]
    parts = []
    for indices, size in zip(resolved, sizes, strict=True):
        if indices is None:
            indices = walk.coupling.new(size)
            walk.coupling.pin(indices, "fixed part of a concatenation")
        parts.append(indices)
    return np.concatenate(parts)


def stack(walk: Walk, node: Node) -> Label:
    """Tensors side by side along a new dimension; they meet along all others."""
    first: Any = node.args[0]
    # torch skips empty tensors of one dimension, with which loops begin
    operands = [operand for operand in first if walk.shape(operand) != (0,)]
    if not operands:
        return (None,) * len(walk.shape(node))
    labels = [walk.label(operand) for operand in operands]
    result = [_joint(walk, node, dims) for dims in zip(*labels, strict=True)]
    position = _dim(node, 1, len(result) + 1)
    result.insert(position, None)
    return tuple(result)


def _joint(walk: Walk, node: Node, dims: Sequence[Dim]) -> Dim:
    joint = dims[0]
    for dim in dims[1:]:
        joint = walk.coupling.join(joint, dim, f"meets what is fixed in {node.name}")
    return joint


def slices(walk: Walk, node: Node) -> Label:
    """A slice along one dimension, whose bounds are numbers in the graph: it must stay whole."""
    x, shape = walk.label(node.args[0]), walk.shape(node)
    dim = _dim(node, 1, len(x))
    if walk.shape(node.args[0])[dim] == shape[dim]:
        return x
    walk.coupling.pin(x[dim], f"cut at a fixed place in {node.name}")
    return _without(x, dim)


def chunk(walk: Walk, node: Node) -> Label:
    """Equal parts along one dimension, which keep the same positions.

    `torch.chunk` divides any width into equal parts, so its result follows the width.

    Example:
        6 channels in 2 chunks: channels 0 and 3 go together, 1 and 4, 2 and 5.
    """
    x = walk.label(node.args[0])
    parts = integer(node, 1)
    dim = _dim(node, 2, len(x))
    indices = walk.coupling.resolve(x[dim])
    rows: Sequence[Indices | None] = [None] * parts
    if indices is not None and len(indices) % parts == 0:
        table = indices.reshape(parts, -1)
        walk.coupling.merge(table)
        rows = list(table)
    else:
        walk.coupling.pin(indices, f"cut into unequal parts in {node.name}")
    walk.labels(node)[:] = [(*x[:dim], row, *x[dim + 1 :]) for row in rows]
    return x


def pieces(walk: Walk, node: Node) -> Label:
    """Parts of given sizes along one dimension, which must stay whole."""
    x = walk.label(node.args[0])
    dim = _dim(node, 2, len(x))
    walk.coupling.pin(x[dim], f"cut at a fixed place in {node.name}")
    walk.labels(node)[:] = [_without(x, dim)] * len(node.meta["val"])
    return x


def unbind(walk: Walk, node: Node) -> Label:
    """All indices along one dimension, which is dropped."""
    x, count = walk.label(node.args[0]), len(node.meta["val"])
    dim = _dim(node, 1, len(x))
    walk.labels(node)[:] = [_selected(walk, node, x, dim, index) for index in range(count)]
    return x


def select(walk: Walk, node: Node) -> Label:
    """One index along one dimension, which is dropped."""
    x = walk.label(node.args[0])
    dim = integer(node, 1) % len(x)
    index = integer(node, 2) % walk.shape(node.args[0])[dim]
    return _selected(walk, node, x, dim, index)


def _selected(walk: Walk, node: Node, x: Label, dim: int, index: int) -> Label:
    """The other dimensions; axes of the same split dimension remember the index."""
    dropped = x[dim]
    walk.coupling.pin(dropped, f"selected from in {node.name}")
    others = (*x[:dim], *x[dim + 1 :])
    if not isinstance(dropped, AxisOf):
        return others
    at = (*dropped.at, (dropped.axis, index))
    result: list[Dim] = []
    for other in others:
        if isinstance(other, AxisOf) and other.split is dropped.split:
            result.append(AxisOf(other.split, other.axis, at))
        else:
            result.append(other)
    return tuple(result)


def item(walk: Walk, node: Node) -> Label:
    """One of several outputs."""
    source: Any = node.args[0]
    labels = walk.labels(source)
    return labels[integer(node, 1)] if labels else (None,) * len(walk.shape(node))


def gather(walk: Walk, node: Node) -> Label:
    """Rows of a table by their numbers, along one dimension, which must stay whole."""
    x = walk.label(node.args[0])
    indices: Any = node.args[1]
    _pin_numbers(walk, indices)
    asked = [position for position, index in enumerate(indices) if index is not None]
    reason = f"looked up in {node.name}"
    for dim in asked:
        walk.coupling.pin(x[dim], reason)
    if len(asked) > 1:
        for own in x:
            walk.coupling.pin(own, reason)
        return (None,) * len(walk.shape(node))
    (dim,) = asked
    rows = (None for _ in walk.shape(indices[dim]))
    return (*x[:dim], *rows, *x[dim + 1 :])


def embedding(walk: Walk, node: Node) -> Label:
    """Rows of a table by their numbers; its columns produce the last dimension."""
    walk.add_table(node.args[0])
    table = walk.label(node.args[0])
    walk.coupling.pin(table[0] if table else None, "looked up")
    _pin_numbers(walk, [node.args[1]])
    rows = (None for _ in walk.shape(node.args[1]))
    return (*rows, table[1] if table else None)


def _pin_numbers(walk: Walk, indices: Sequence[Any]) -> None:
    for index in indices:
        for dim in walk.label(index):
            walk.coupling.pin(dim, "numbers of rows")


def _without(x: Label, dim: int) -> Label:
    return (*x[:dim], None, *x[dim + 1 :])
