"""Operators that compute index by index, or over whole dimensions."""

from itertools import zip_longest

from torch.fx import Node

from espalier.pruning.coupling import Dim, Label
from espalier.pruning.rules.walk import Rule, Walk, argument, dimensions, number


def elementwise(walk: Walk, node: Node) -> Label:
    """All operands have the same indices; those of size one, or missing, are broadcast."""
    operands = [(walk.label(arg), walk.shape(arg)) for arg in node.all_input_nodes]
    operands = [(label, shape) for label, shape in operands if shape]
    result: list[Dim] = []
    for dims in zip_longest(
        *(tuple(zip(*one, strict=True))[::-1] for one in operands), fillvalue=(None, 1)
    ):
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


def pool(spatial: int) -> Rule:
    """Space shrinks or grows, channels stay. Some return the places of the largest values beside them."""

    def rule(walk: Walk, node: Node) -> Label:
        x = walk.label(node.args[0])
        for atoms in x[-spatial:]:
            walk.coupling.pin(atoms, f"pooled over in {node.name}")
        label = (*x[:-spatial], *(None for _ in range(spatial)))
        walk.labels(node)[:] = [label, label]
        return label

    return rule


def reduce(walk: Walk, node: Node) -> Label:
    """A mean or sum over some dimensions; what was summed over a labelled one must stay whole."""
    return _reduced(walk, node, argument(node, 1, "dim"), argument(node, 2, "keepdim"))


def vector_norm(walk: Walk, node: Node) -> Label:
    """The norm over some dimensions."""
    return _reduced(walk, node, argument(node, 2, "dim"), argument(node, 3, "keepdim"))


def extreme(walk: Walk, node: Node) -> Label:
    """The largest value along a dimension, and where it stands; or that of all; or the larger of two tensors."""
    if isinstance(argument(node, 1, "dim"), Node):
        return elementwise(walk, node)
    label = _reduced(walk, node, argument(node, 1, "dim"), argument(node, 2, "keepdim"))
    walk.labels(node)[:] = [label, label]
    return label


def _reduced(walk: Walk, node: Node, dims: object, keep: object) -> Label:
    x = walk.label(node.args[0])
    gone = dimensions(dims, len(x))
    for dim in gone:
        walk.coupling.pin(x[dim], f"summed over in {node.name}")
    if keep:
        return tuple(None if dim in gone else atoms for dim, atoms in enumerate(x))
    return tuple(atoms for dim, atoms in enumerate(x) if dim not in gone)


def softmax(walk: Walk, node: Node) -> Label:
    """Every index along its dimension counts in all of them."""
    x = walk.label(node.args[0])
    walk.coupling.pin(x[number(node, 1) % len(x)], f"normalised over in {node.name}")
    return x
