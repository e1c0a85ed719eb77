"""One rule per ATen operator: which dimensions of its operands must change together.

A rule takes (walk, node) and returns the label of the node's output. `walk.label(argument)` gives an operand's label,
`walk.shape(node)` its sizes. An operator without a rule fixes everything that flows into it: never wrong, only shy.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from math import prod
from typing import Any, Protocol

import numpy as np
from torch.fx import Node

from espalier.pruning.coupling import Atoms, Coupling, Label


class Walk(Protocol):
    """What a rule needs of the walk over the graph."""

    coupling: Coupling

    def label(self, argument: Any) -> Label:
        """The label of an operand; empty for a number or None."""

    def labels(self, node: Node) -> list[Label]:
        """The labels of a node with several outputs."""

    def shape(self, argument: Any) -> tuple[int, ...]:
        """The sizes of an operand."""


Rule = Callable[[Walk, Node], Label]


def convolution(walk: Walk, node: Node) -> Label:
    """Filters are the output's channels; each group reads its own part of the input's."""
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    bias = walk.label(argument(node, 2, "bias"))
    groups = argument(node, 6, "groups") or 1
    rows, columns = weight[0], weight[1]
    _join_grouped(walk.coupling, x[1], columns, groups)
    if groups > 1 and rows is not None:
        if x[1] is None and columns is not None and len(columns) == 1:
            walk.coupling.pin(rows, "depthwise filter of the input")
        elif x[1] is not None and len(x[1]) == groups:  # depthwise: a filter goes with the channel it filters
            for part in rows.reshape(groups, -1).T:
                walk.coupling.join(x[1], part, "depthwise convolution")
        else:
            walk.coupling.tie(rows.reshape(groups, -1))
    if bias:
        walk.coupling.join(rows, bias[0], "bias")
    for atoms in (*weight[2:], *x[2:]):
        walk.coupling.pin(atoms, "kernel")
    return (x[0], rows, *(None for _ in weight[2:]))


def _join_grouped(coupling: Coupling, channels: Atoms | None, columns: Atoms | None, groups: int) -> None:
    if channels is None or columns is None or len(columns) == 1:
        if channels is None or groups == 1:
            coupling.join(channels, columns, "input of the network")
        coupling.pin(columns if groups > 1 else None, "depthwise filter")
        return
    for part in channels.reshape(groups, -1):
        coupling.join(columns, part, "convolution")


def linear(walk: Walk, node: Node) -> Label:
    """The last dimension is read by the weight's columns and becomes its rows."""
    x, weight = walk.label(node.args[0]), walk.label(node.args[1])
    bias = walk.label(argument(node, 2, "bias"))
    walk.coupling.join(x[-1], weight[1], "input of the network")
    if bias:
        walk.coupling.join(weight[0], bias[0], "bias")
    return (*x[:-1], weight[0])


def channel_norm(walk: Walk, node: Node) -> Label:
    """Batch norm: one scale, shift, mean and variance per channel."""
    x = walk.label(node.args[0])
    for operand in node.args[1:5]:
        if label := walk.label(operand):
            walk.coupling.join(x[1], label[0], "batch norm")
    return x


def layer_norm(walk: Walk, node: Node) -> Label:
    """One scale and shift per index of the last dimensions."""
    x = walk.label(node.args[0])
    if not walk.label(argument(node, 2, "weight")):  # the layer's size is a number that no weight tells
        for atoms in x[-len(node.args[1]) :]:  # type: ignore[arg-type]
            walk.coupling.pin(atoms, "layer norm without weights")
    for position in (2, 3):
        if label := walk.label(argument(node, position, ("weight", "bias")[position - 2])):
            for mine, theirs in zip(x[-len(label) :], label, strict=True):
                walk.coupling.join(mine, theirs, "layer norm")
    return x


def elementwise(walk: Walk, node: Node) -> Label:
    """All operands have the same indices; those of size one, or missing, are broadcast."""
    operands = [(walk.label(arg), walk.shape(arg)) for arg in node.args if isinstance(arg, Node)]
    operands = [(label, shape) for label, shape in operands if shape]
    result: list[Atoms | None] = []
    for dims in zip_longest(*(tuple(zip(*one, strict=True))[::-1] for one in operands), fillvalue=(None, 1)):
        wide = [atoms for atoms, size in dims if size > 1]
        for atoms, size in dims:
            if size == 1 and wide:
                walk.coupling.pin(atoms, "broadcast")
        joint = wide[0] if wide else dims[0][0]
        for atoms in wide[1:]:
            joint = walk.coupling.join(joint, atoms, f"meets what is fixed in {node.name}")
        result.append(joint)
    return tuple(result[::-1])


def passes(walk: Walk, node: Node) -> Label:
    """The output has the indices of the first operand."""
    return walk.label(node.args[0])


def pool(walk: Walk, node: Node) -> Label:
    """Space shrinks, channels stay."""
    x = walk.label(node.args[0])
    for atoms in x[-2:]:
        walk.coupling.pin(atoms, f"pooled over in {node.name}")
    return (*x[:-2], None, None)


def reduce(walk: Walk, node: Node) -> Label:
    """A mean or sum over some dimensions; what was summed over a labelled one must stay whole."""
    x = walk.label(node.args[0])
    dims = argument(node, 1, "dim")
    gone = {d % len(x) for d in ([dims] if isinstance(dims, int) else dims or range(len(x)))}
    for dim in gone:
        walk.coupling.pin(x[dim], f"summed over in {node.name}")
    if argument(node, 2, "keepdim"):
        return tuple(None if dim in gone else atoms for dim, atoms in enumerate(x))
    return tuple(atoms for dim, atoms in enumerate(x) if dim not in gone)


def concatenate(walk: Walk, node: Node) -> Label:
    """Indices follow one another along one dimension and meet along the others."""
    parts = [walk.label(arg) for arg in node.args[0]]  # type: ignore[union-attr]
    dim = (argument(node, 1, "dim") or 0) % len(parts[0])
    result: list[Atoms | None] = []
    for position, dims in enumerate(zip(*parts, strict=True)):
        if position != dim:
            joint = dims[0]
            for atoms in dims[1:]:
                joint = walk.coupling.join(joint, atoms, f"meets what is fixed in {node.name}")
            result.append(joint)
        elif all(atoms is None for atoms in dims):
            result.append(None)
        else:  # a fixed part gets atoms of its own, which stay
            sizes = [walk.shape(arg)[dim] for arg in node.args[0]]  # type: ignore[union-attr]
            result.append(np.concatenate([_fixed(walk, a, n) for a, n in zip(dims, sizes, strict=True)]))
    return tuple(result)


def _fixed(walk: Walk, atoms: Atoms | None, size: int) -> Atoms:
    if atoms is None:
        atoms = walk.coupling.new(size)
        walk.coupling.pin(atoms, "fixed part of a concatenation")
    return atoms


def cut(walk: Walk, node: Node) -> Label:
    """A slice along one dimension: equal parts are cut at places that move with the channels, others must stay."""
    x, shape = walk.label(node.args[0]), walk.shape(node)
    dim = (argument(node, 1, "dim") or 0) % len(x)
    atoms = x[dim]
    if atoms is None:
        return x
    if len(atoms) == shape[dim]:
        return x
    walk.coupling.pin(atoms, f"cut at a fixed place in {node.name}")
    return tuple(None if position == dim else other for position, other in enumerate(x))


def chunk(walk: Walk, node: Node) -> Label:
    """Equal parts along one dimension; they keep equal numbers, so they go together position by position.

    The label is that of one part: `torch.chunk` cuts what it is given into equal parts, whatever is left.
    """
    x = walk.label(node.args[0])
    parts, dim = int(node.args[1]), (argument(node, 2, "dim") or 0) % len(x)  # type: ignore[arg-type]
    atoms = x[dim]
    if atoms is not None and len(atoms) % parts == 0:
        walk.coupling.tie(atoms.reshape(parts, -1))
        rows: Sequence[Atoms | None] = list(atoms.reshape(parts, -1))
    else:
        walk.coupling.pin(atoms, f"cut into unequal parts in {node.name}")
        rows = [None] * parts
    walk.labels(node)[:] = [tuple(row if d == dim else other for d, other in enumerate(x)) for row in rows]
    return x


def item(walk: Walk, node: Node) -> Label:
    """One of several outputs."""
    labels = walk.labels(node.args[0])  # type: ignore[arg-type]
    number: Any = node.args[1]
    return labels[number] if labels else (None,) * len(walk.shape(node))


def select(walk: Walk, node: Node) -> Label:
    """One index along one dimension, which goes."""
    x = walk.label(node.args[0])
    dim = int(node.args[1]) % len(x)  # type: ignore[arg-type]
    walk.coupling.pin(x[dim], f"selected from in {node.name}")
    return x[:dim] + x[dim + 1 :]


def permute(walk: Walk, node: Node) -> Label:
    """Dimensions change their order."""
    x = walk.label(node.args[0])
    order: Any = node.args[1]
    return tuple(x[dim] for dim in order)


def transpose(walk: Walk, node: Node) -> Label:
    """Two dimensions change places."""
    x = list(walk.label(node.args[0]))
    one, other = (int(arg) % len(x) for arg in node.args[1:3])  # type: ignore[arg-type]
    x[one], x[other] = x[other], x[one]
    return tuple(x)


def unsqueeze(walk: Walk, node: Node) -> Label:
    """A new dimension of size one."""
    x = list(walk.label(node.args[0]))
    x.insert(int(node.args[1]) % (len(x) + 1), None)  # type: ignore[arg-type]
    return tuple(x)


def squeeze(walk: Walk, node: Node) -> Label:
    """Some dimensions of size one go."""
    x, shape = walk.label(node.args[0]), walk.shape(node.args[0])
    dims: Any = argument(node, 1, "dim")
    asked = range(len(x)) if dims is None else [d % len(x) for d in ([dims] if isinstance(dims, int) else dims)]
    return tuple(atoms for d, atoms in enumerate(x) if not (d in asked and shape[d] == 1))


def reshape(walk: Walk, node: Node) -> Label:
    """Dimensions are merged and split in runs of equal volume; indices follow."""
    x, old, new = walk.label(node.args[0]), walk.shape(node.args[0]), walk.shape(node)
    result: list[Atoms | None] = []
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
    walk: Walk, node: Node, atoms: Label, old: tuple[int, ...], new: tuple[int, ...]
) -> list[Atoms | None]:
    labelled = [dim for dim, one in enumerate(atoms) if one is not None]
    wide_old, wide_new = [s for s in old if s > 1], [d for d, s in enumerate(new) if s > 1]
    result: list[Atoms | None] = [None] * len(new)
    if not labelled:
        return result
    own = atoms[labelled[0]]
    if len(labelled) > 1 or own is None:
        for one in atoms:
            walk.coupling.pin(one, f"merged with another in {node.name}")
    elif len(wide_new) == 1 and len(wide_old) >= 1:  # merged: the index of the labelled dimension, at each place
        place = np.unravel_index(np.arange(prod(old)), old)[labelled[0]]
        result[wide_new[0]] = own[place]
    elif len(wide_old) == 1 and len(wide_new) > 1:  # split: all but the last dimension keep what they have
        result[wide_new[-1]] = walk.coupling.tie(own.reshape(-1, new[wide_new[-1]]))
    else:
        walk.coupling.pin(own, f"merged with another in {node.name}")
    return result


def argument(node: Node, position: int, name: str) -> Any:
    """An argument by position or name; None if it was left out."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    "linear": linear,
    "batch_norm": channel_norm,
    "layer_norm": layer_norm,
    **dict.fromkeys(("add", "add_", "sub", "mul", "mul_", "div", "maximum", "minimum"), elementwise),
    **dict.fromkeys(("relu", "relu_", "relu6", "relu6_", "gelu", "silu", "silu_", "sigmoid", "hardswish"), passes),
    **dict.fromkeys(("hardswish_", "tanh", "hardsigmoid", "hardsigmoid_", "hardtanh", "hardtanh_"), passes),
    **dict.fromkeys(("leaky_relu", "leaky_relu_", "elu", "mish", "dropout", "dropout_", "feature_dropout"), passes),
    **dict.fromkeys(("clone", "contiguous", "detach", "alias", "to"), passes),
    **dict.fromkeys(("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), pool),
    **dict.fromkeys(("mean", "sum", "amax"), reduce),
    "cat": concatenate,
    "slice": cut,
    "chunk": chunk,
    "getitem": item,
    "select": select,
    "permute": permute,
    "transpose": transpose,
    "unsqueeze": unsqueeze,
    **dict.fromkeys(("squeeze", "squeeze_"), squeeze),
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "_unsafe_view"), reshape),
}
