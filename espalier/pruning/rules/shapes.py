"""Rules of operators that lay a tensor out anew: permute, merge, split, insert dimensions."""

from math import prod
from typing import Any

import numpy as np
from torch.fx import Node

from espalier.models.reshapes import equal_runs
from espalier.pruning.coupling import (
    AxisOf,
    Dim,
    Indices,
    Label,
    Walk,
    argument,
    dimensions,
    integer,
)


def permute(walk: Walk, node: Node) -> Label:
    """Dimensions change their order."""
    x = walk.label(node.args[0])
    order: Any = node.args[1]
    return tuple(x[dim] for dim in order)


def transpose(walk: Walk, node: Node) -> Label:
    """Two dimensions change places."""
    x = list(walk.label(node.args[0]))
    one, other = (integer(node, position) % len(x) for position in (1, 2))
    x[one], x[other] = x[other], x[one]
    return tuple(x)


def matrix_transpose(walk: Walk, node: Node) -> Label:
    """The last two dimensions, or those of a matrix, change places."""
    x = walk.label(node.args[0])
    return (*x[:-2], *x[-2:][::-1])


def move(walk: Walk, node: Node) -> Label:
    """Some dimensions move, the others keep their order."""
    x = walk.label(node.args[0])
    sources, targets = (_listed(argument) for argument in node.args[1:3])
    source_of = {
        target % len(x): source % len(x) for source, target in zip(sources, targets, strict=True)
    }
    others = iter([dim for dim in range(len(x)) if dim not in source_of.values()])
    order = [source_of[dim] if dim in source_of else next(others) for dim in range(len(x))]
    return tuple(x[dim] for dim in order)


def _listed(dims: Any) -> list[int]:
    return [dims] if isinstance(dims, int) else list(dims)


def unsqueeze(walk: Walk, node: Node) -> Label:
    """A new dimension of size one."""
    x = list(walk.label(node.args[0]))
    x.insert(integer(node, 1) % (len(x) + 1), None)
    return tuple(x)


def squeeze(walk: Walk, node: Node) -> Label:
    """Some dimensions of size one are dropped."""
    x, shape = walk.label(node.args[0]), walk.shape(node.args[0])
    asked = dimensions(argument(node, 1, "dim"), len(x))
    return tuple(own for dim, own in enumerate(x) if dim not in asked or shape[dim] != 1)


def expand(walk: Walk, node: Node) -> Label:
    """Dimensions of size one are repeated, and new ones are inserted in front."""
    x = walk.label(node.args[0])
    old = walk.shape(node.args[0])
    new = walk.shape(node)
    result: list[Dim] = [None] * (len(new) - len(old))
    for dim, before, after in zip(x, old, new[len(result) :], strict=True):
        if before == after:
            result.append(dim)
        else:
            walk.coupling.pin(dim, "broadcast")
            result.append(None)
    return tuple(result)


def repeat(walk: Walk, node: Node) -> Label:
    """The tensor is repeated along some dimensions."""
    x = walk.label(node.args[0])
    times: Any = node.args[1]
    result: list[Dim] = [None] * (len(times) - len(x))
    for dim, count in zip(x, times[len(result) :], strict=True):
        if count == 1:
            result.append(dim)
            continue
        resolved = walk.coupling.resolve(dim)
        result.append(None if resolved is None else np.tile(resolved, count))
    return tuple(result)


def pad(walk: Walk, node: Node) -> Label:
    """Indices are added before and after those of some dimensions, which must stay whole."""
    x = list(walk.label(node.args[0]))
    amounts: Any = node.args[1]
    for position in range(len(amounts) // 2):
        before, after = amounts[2 * position : 2 * position + 2]
        if before or after:
            dim = len(x) - 1 - position
            walk.coupling.pin(x[dim], f"padded in {node.name}")
            x[dim] = None
    return tuple(x)


def reorder(walk: Walk, node: Node) -> Label:
    """Indices of some dimensions change their order, by amounts that the operator spells."""
    x = walk.label(node.args[0])
    is_roll = "roll" in str(node.target)
    where = argument(node, 2, "dims") if is_roll else node.args[1]
    for dim in dimensions(where, len(x)):
        walk.coupling.pin(x[dim], f"put in another order in {node.name}")
    return x


def reshape(walk: Walk, node: Node) -> Label:
    """Dimensions are merged and split in runs of equal volume; indices follow.

    Example:
        (N, 4, 2, 2) to (N, 16) is two runs, N to N and 4 x 2 x 2 to 16: channel i becomes the
        indices 4 i to 4 i + 3. (N, 4) to (N, 2, 2) splits channels into two axes; one of them
        may lose indices.
    """
    x = walk.label(node.args[0])
    old = walk.shape(node.args[0])
    new = walk.shape(node)
    result: list[Dim] = []
    for before, after in equal_runs(old, new):
        result += _reshape_run(walk, node, x[before], old[before], new[after])
    return tuple(result)


def _reshape_run(
    walk: Walk, node: Node, dims: Label, old: tuple[int, ...], new: tuple[int, ...]
) -> list[Dim]:
    """The dimensions of one run after the reshape.

    Args:
        walk: the walk over the graph.
        node: the reshape.
        dims: label of the run before it.
        old: sizes of the run before it.
        new: sizes of the run after it.
    """
    result: list[Dim] = [None] * len(new)
    if all(dim is None for dim in dims):
        return result
    wide_old, wide_new = _wide(old), _wide(new)
    if len(wide_old) == len(wide_new) == 1 and _only(dims, wide_old[0]):
        result[wide_new[0]] = dims[wide_old[0]]
        return result
    merged = _merged(walk, node, dims, old)
    if merged is None or not wide_new:
        walk.coupling.pin(merged, f"merged with another in {node.name}")
    elif len(wide_new) == 1:
        result[wide_new[0]] = merged
    else:
        sizes = tuple(new[dim] for dim in wide_new)
        axes = walk.coupling.split(merged.reshape(sizes), f"split in {node.name}")
        for dim, axis in zip(wide_new, axes, strict=True):
            result[dim] = axis
    return result


def _wide(sizes: tuple[int, ...]) -> list[int]:
    """The dimensions of a size above one."""
    return [dim for dim, size in enumerate(sizes) if size > 1]


def _only(dims: Label, chosen: int) -> bool:
    """Whether no other dimension has a label."""
    return all(dim is None for position, dim in enumerate(dims) if position != chosen)


def _merged(walk: Walk, node: Node, dims: Label, sizes: tuple[int, ...]) -> Indices | None:
    """The indices of several dimensions as one; None if two of them lose indices independently.

    Axes of one split dimension find their places again. A single labelled dimension repeats its
    indices over all others.

    Example:
        Channels (a, b) before 2 positions: (a, a, b, b). After 2 positions: (a, b, a, b).
    """
    places = np.unravel_index(np.arange(prod(sizes)), sizes)
    rejoined = _rejoined(dims, places)
    if rejoined is not None:
        return rejoined
    resolved = {}
    for position, dim in enumerate(dims):
        indices = None if dim is None else walk.coupling.resolve(dim)
        if indices is not None:
            resolved[position] = indices
    if len(resolved) == 1:
        ((position, indices),) = resolved.items()
        return indices[places[position]]
    for indices in resolved.values():
        walk.coupling.pin(indices, f"merged with another in {node.name}")
    return None


def _rejoined(dims: Label, places: tuple[Indices, ...]) -> Indices | None:
    """The indices of a split dimension whose axes all come together again; None if they do not.

    Args:
        dims: label of the merged dimensions.
        places: for each of them, the position in it of each index of the result.
    """
    axes = [(position, dim) for position, dim in enumerate(dims) if isinstance(dim, AxisOf)]
    labelled = sum(dim is not None for dim in dims)
    if len(axes) != labelled:
        return None
    split = axes[0][1].split
    if any(axis.split is not split for _, axis in axes):
        return None
    index: dict[int, Any] = {axis: at for _, part in axes for axis, at in part.at}
    index |= {axis.axis: places[position] for position, axis in axes}
    distinct = {axis.axis for _, axis in axes}
    if len(index) != split.indices.ndim or len(distinct) != len(axes):
        return None
    joint: Indices = split.indices[tuple(index[axis] for axis in range(split.indices.ndim))]
    return joint
