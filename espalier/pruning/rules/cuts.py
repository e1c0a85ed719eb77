"""Operators that put tensors together or take parts of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from espalier.pruning.coupling import Dim, Indices, Label, Part
from espalier.pruning.rules.walk import Walk, argument, number


def concatenate(walk: Walk, node: Node) -> Label:
    """Indices follow one another along one dimension and meet along the others."""
    operands: Any = node.args[0]
    parts = [walk.label(arg) for arg in operands]
    dim = (argument(node, 1, "dim") or 0) % len(parts[0])
    result: list[Dim] = []
    for position, dims in enumerate(zip(*parts, strict=True)):
        if position != dim:
            result.append(_joint(walk, node, dims))
        elif all(atoms is None for atoms in dims):
            result.append(None)
        else:  # a fixed part gets atoms of its own, which stay
            sizes = [walk.shape(arg)[dim] for arg in operands]
            settled = [walk.coupling.settle(atoms) for atoms in dims]
            result.append(
                np.concatenate([_fixed(walk, a, n) for a, n in zip(settled, sizes, strict=True)])
            )
    return tuple(result)


def stack(walk: Walk, node: Node) -> Label:
    """Tensors side by side along a new dimension; they meet along all others."""
    operands: Any = node.args[0]
    result = [
        _joint(walk, node, dims)
        for dims in zip(*(walk.label(arg) for arg in operands), strict=True)
    ]
    result.insert((argument(node, 1, "dim") or 0) % (len(result) + 1), None)
    return tuple(result)


def _joint(walk: Walk, node: Node, dims: Sequence[Dim]) -> Dim:
    joint = dims[0]
    for atoms in dims[1:]:
        joint = walk.coupling.join(joint, atoms, f"meets what is fixed in {node.name}")
    return joint


def _fixed(walk: Walk, atoms: Indices | None, size: int) -> Indices:
    if atoms is None:
        atoms = walk.coupling.new(size)
        walk.coupling.pin(atoms, "fixed part of a concatenation")
    return atoms


def cut(walk: Walk, node: Node) -> Label:
    """A slice along one dimension. Where it starts and ends is a number here: nothing tells what it follows from."""
    x, shape = walk.label(node.args[0]), walk.shape(node)
    dim = (argument(node, 1, "dim") or 0) % len(x)
    if walk.shape(node.args[0])[dim] == shape[dim]:
        return x
    walk.coupling.pin(x[dim], f"cut at a fixed place in {node.name}")
    return _without(x, dim)


def chunk(walk: Walk, node: Node) -> Label:
    """Equal parts along one dimension; they keep equal numbers, so they go together position by position.

    `torch.chunk` cuts what it is given into equal parts, whatever is left.
    """
    x = walk.label(node.args[0])
    parts, dim = number(node, 1), (argument(node, 2, "dim") or 0) % len(x)
    atoms = walk.coupling.settle(x[dim])
    if atoms is not None and len(atoms) % parts == 0:
        walk.coupling.tie(atoms.reshape(parts, -1))
        rows: Sequence[Indices | None] = list(atoms.reshape(parts, -1))
    else:
        walk.coupling.pin(atoms, f"cut into unequal parts in {node.name}")
        rows = [None] * parts
    walk.labels(node)[:] = [(*x[:dim], row, *x[dim + 1 :]) for row in rows]
    return x


def pieces(walk: Walk, node: Node) -> Label:
    """Parts of given sizes along one dimension: it stays whole."""
    x = walk.label(node.args[0])
    dim = (argument(node, 2, "dim") or 0) % len(x)
    walk.coupling.pin(x[dim], f"cut at a fixed place in {node.name}")
    walk.labels(node)[:] = [_without(x, dim)] * len(node.meta["val"])
    return x


def unbind(walk: Walk, node: Node) -> Label:
    """All indices along one dimension, which goes."""
    x, count = walk.label(node.args[0]), len(node.meta["val"])
    dim = (argument(node, 1, "dim") or 0) % len(x)
    walk.labels(node)[:] = [_taken(walk, node, x, dim, index) for index in range(count)]
    return x


def select(walk: Walk, node: Node) -> Label:
    """One index along one dimension, which goes."""
    x = walk.label(node.args[0])
    dim = number(node, 1) % len(x)
    return _taken(walk, node, x, dim, number(node, 2) % walk.shape(node.args[0])[dim])


def _taken(walk: Walk, node: Node, x: Label, dim: int, index: int) -> Label:
    gone = x[dim]
    walk.coupling.pin(gone, f"selected from in {node.name}")
    rest = (*x[:dim], *x[dim + 1 :])
    if not isinstance(gone, Part):
        return rest
    at = (*gone.at, (gone.axis, index))
    return tuple(
        Part(one.split, one.axis, at) if isinstance(one, Part) and one.split is gone.split else one
        for one in rest
    )


def item(walk: Walk, node: Node) -> Label:
    """One of several outputs."""
    source: Any = node.args[0]
    labels = walk.labels(source)
    return labels[number(node, 1)] if labels else (None,) * len(walk.shape(node))


def gather(walk: Walk, node: Node) -> Label:
    """Rows of a table by their numbers, along one dimension; it stays whole."""
    x = walk.label(node.args[0])
    indices: Any = node.args[1]
    asked = [position for position, index in enumerate(indices) if index is not None]
    for index in indices:
        for atoms in walk.label(index):
            walk.coupling.pin(atoms, "numbers of rows")
    for dim in asked:
        walk.coupling.pin(x[dim], f"looked up in {node.name}")
    if len(asked) > 1:
        for atoms in x:
            walk.coupling.pin(atoms, f"looked up in {node.name}")
        return (None,) * len(walk.shape(node))
    (dim,) = asked
    return (*x[:dim], *(None for _ in walk.shape(indices[dim])), *x[dim + 1 :])


def embedding(walk: Walk, node: Node) -> Label:
    """Rows of a table by their numbers."""
    table = walk.label(node.args[0])
    walk.coupling.pin(table[0] if table else None, "looked up")
    for atoms in walk.label(node.args[1]):
        walk.coupling.pin(atoms, "numbers of rows")
    return (*(None for _ in walk.shape(node.args[1])), table[1] if table else None)


def _without(x: Label, dim: int) -> Label:
    return (*x[:dim], None, *x[dim + 1 :])
