"""Operators that lay a tensor out in another way: dimensions change their order, are merged, split, or come anew."""

from math import prod
from typing import Any

import numpy as np
from torch.fx import Node

from espalier.pruning.coupling import Dim, Indices, Label, Part
from espalier.pruning.rules.walk import Walk, argument, dimensions, number


def permute(walk: Walk, node: Node) -> Label:
    """Dimensions change their order."""
    x = walk.label(node.args[0])
    order: Any = node.args[1]
    return tuple(x[dim] for dim in order)


def transpose(walk: Walk, node: Node) -> Label:
    """Two dimensions change places."""
    x = list(walk.label(node.args[0]))
    one, other = (number(node, position) % len(x) for position in (1, 2))
    x[one], x[other] = x[other], x[one]
    return tuple(x)


def matrix_transpose(walk: Walk, node: Node) -> Label:
    """The last two dimensions change places; or all of a matrix."""
    x = walk.label(node.args[0])
    return (*x[:-2], *x[-2:][::-1])


def move(walk: Walk, node: Node) -> Label:
    """Some dimensions go elsewhere, the others keep their order."""
    x: list[Dim] = list(walk.label(node.args[0]))
    sources, targets = ([d] if isinstance(d, int) else list(d) for d in node.args[1:3])  # type: ignore[arg-type]
    moved = {
        target % len(x): source % len(x) for source, target in zip(sources, targets, strict=True)
    }
    rest = iter([dim for dim in range(len(x)) if dim not in moved.values()])
    return tuple(x[moved[dim] if dim in moved else next(rest)] for dim in range(len(x)))


def unsqueeze(walk: Walk, node: Node) -> Label:
    """A new dimension of size one."""
    x = list(walk.label(node.args[0]))
    x.insert(number(node, 1) % (len(x) + 1), None)
    return tuple(x)


def squeeze(walk: Walk, node: Node) -> Label:
    """Some dimensions of size one go."""
    x, shape = walk.label(node.args[0]), walk.shape(node.args[0])
    asked = dimensions(argument(node, 1, "dim"), len(x))
    return tuple(atoms for d, atoms in enumerate(x) if not (d in asked and shape[d] == 1))


def expand(walk: Walk, node: Node) -> Label:
    """Dimensions of size one are repeated, and others put in front."""
    x, old, new = walk.label(node.args[0]), walk.shape(node.args[0]), walk.shape(node)
    result: list[Dim] = [None] * (len(new) - len(old))
    for atoms, before, after in zip(x, old, new[len(result) :], strict=True):
        if before != after:
            walk.coupling.pin(atoms, "broadcast")
        result.append(atoms if before == after else None)
    return tuple(result)


def repeat(walk: Walk, node: Node) -> Label:
    """The whole is repeated along some dimensions."""
    x = walk.label(node.args[0])
    times: Any = node.args[1]
    result: list[Dim] = [None] * (len(times) - len(x))
    for atoms, count in zip(x, times[len(result) :], strict=True):
        settled = atoms if count == 1 else walk.coupling.settle(atoms)
        result.append(settled if count == 1 or settled is None else np.tile(settled, count))  # type: ignore[arg-type]
    return tuple(result)


def pad(walk: Walk, node: Node) -> Label:
    """Indices are put before and after those of some dimensions."""
    x = list(walk.label(node.args[0]))
    amounts: Any = node.args[1]
    for position in range(len(amounts) // 2):
        if amounts[2 * position] or amounts[2 * position + 1]:
            dim = len(x) - 1 - position
            walk.coupling.pin(x[dim], f"padded in {node.name}")
            x[dim] = None
    return tuple(x)


def reorder(walk: Walk, node: Node) -> Label:
    """Indices of some dimensions change their order: by how far, or to which, the operator says by itself."""
    x = walk.label(node.args[0])
    where = argument(node, 2, "dims") if "roll" in str(node.target) else node.args[1]
    for dim in dimensions(where, len(x)):
        walk.coupling.pin(x[dim], f"put in another order in {node.name}")
    return x


def reshape(walk: Walk, node: Node) -> Label:
    """Dimensions are merged and split in runs of equal volume; indices follow."""
    x, old, new = walk.label(node.args[0]), walk.shape(node.args[0]), walk.shape(node)
    result: list[Dim] = []
    for before, after in _runs(old, new):
        result += _reshape_run(walk, node, x[before], old[before], new[after])
    return tuple(result)


def _runs(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """The shortest runs of dimensions of equal volume on both sides."""
    runs, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        start_i, start_j = i, j
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        while (left := prod(old[start_i:i])) != (right := prod(new[start_j:j])):
            if left < right:
                i += 1
            else:
                j += 1
        runs.append((slice(start_i, i), slice(start_j, j)))
    return runs


def _reshape_run(
    walk: Walk, node: Node, dims: Label, old: tuple[int, ...], new: tuple[int, ...]
) -> list[Dim]:
    wide_old, wide_new = ([d for d, size in enumerate(sizes) if size > 1] for sizes in (old, new))
    result: list[Dim] = [None] * len(new)
    if all(dim is None for dim in dims):
        return result
    if len(wide_old) == len(wide_new) == 1 and all(
        dim is None for d, dim in enumerate(dims) if d not in wide_old
    ):
        result[wide_new[0]] = dims[wide_old[0]]
        return result
    whole = _merged(walk, node, dims, old)
    if whole is None or not wide_new:
        walk.coupling.pin(whole, f"merged with another in {node.name}")
    elif len(wide_new) == 1:
        result[wide_new[0]] = whole
    else:
        sizes = tuple(new[d] for d in wide_new)
        parts = walk.coupling.split(whole.reshape(sizes), f"split in {node.name}")
        for d, part in zip(wide_new, parts, strict=True):
            result[d] = part
    return result


def _merged(walk: Walk, node: Node, dims: Label, sizes: tuple[int, ...]) -> Indices | None:
    """Dimensions seen as one: the parts of one split find their places again, another goes through all the others."""
    labelled = [d for d, dim in enumerate(dims) if dim is not None]
    places = np.unravel_index(np.arange(prod(sizes)), sizes)
    parts = [(d, dim) for d, dim in enumerate(dims) if isinstance(dim, Part)]
    if len(parts) == len(labelled) and all(part.split is parts[0][1].split for _, part in parts):
        split = parts[0][1].split
        index: dict[int, Any] = {axis: at for _, part in parts for axis, at in part.at}
        index |= {part.axis: places[d] for d, part in parts}
        if len(index) == split.atoms.ndim and len({part.axis for _, part in parts}) == len(parts):
            joint: Indices = split.atoms[tuple(index[axis] for axis in range(split.atoms.ndim))]
            return joint
    settled = {d: atoms for d in labelled if (atoms := walk.coupling.settle(dims[d])) is not None}
    if len(settled) == 1:
        ((d, atoms),) = settled.items()
        return atoms[places[d]]
    for atoms in settled.values():
        walk.coupling.pin(atoms, f"merged with another in {node.name}")
    return None
