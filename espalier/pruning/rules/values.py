"""Rules of operators that compute index by index, or over whole dimensions."""

from itertools import zip_longest

from torch.fx import Node

from espalier.pruning.coupling import Dim, Label, Rule, Walk, argument, dimensions, integer

_ABSENT: tuple[Dim, int] = (None, 1)  # a leading dimension that an operand lacks


def elementwise(walk: Walk, node: Node) -> Label:
    """All operands have the same indices; dimensions of size one, or absent, are broadcast.

    Example:
        (N, 8, 4, 4) plus (8, 1, 1): channel i of both is the same; the other dimensions are
        broadcast.
    """
    operands = []
    for operand in node.all_input_nodes:
        shape = walk.shape(operand)
        if shape:
            dims = list(zip(walk.label(operand), shape, strict=True))
            operands.append(dims[::-1])  # dimensions are aligned at the last one
    result = [_broadcast(walk, node, dims) for dims in zip_longest(*operands, fillvalue=_ABSENT)]
    return tuple(result[::-1])


def _broadcast(walk: Walk, node: Node, dims: tuple[tuple[Dim, int], ...]) -> Dim:
    """The joint dimension of one dimension of all operands."""
    wide = [dim for dim, size in dims if size > 1]
    for dim, size in dims:
        if size == 1 and wide:
            walk.coupling.pin(dim, "broadcast")
    if not wide:
        return dims[0][0]
    joint = wide[0]
    for dim in wide[1:]:
        joint = walk.coupling.join(joint, dim, f"meets what is fixed in {node.name}")
    return joint


def passes(walk: Walk, node: Node) -> Label:
    """The output has the indices of the first operand."""
    return walk.label(node.args[0])


def pool(spatial: int) -> Rule:
    """Positions shrink or grow, channels stay; some operators also return positions of maxima.

    Args:
        spatial: number of spatial dimensions.
    """

    def rule(walk: Walk, node: Node) -> Label:
        x = walk.label(node.args[0])
        for dim in x[-spatial:]:
            walk.coupling.pin(dim, f"pooled over in {node.name}")
        label = (*x[:-spatial], *(None for _ in range(spatial)))
        walk.labels(node)[:] = [label, label]
        return label

    return rule


def reduce(walk: Walk, node: Node) -> Label:
    """A mean or sum over some dimensions, which must stay whole."""
    return _reduced(walk, node, argument(node, 1, "dim"), argument(node, 2, "keepdim"))


def vector_norm(walk: Walk, node: Node) -> Label:
    """The norm over some dimensions."""
    return _reduced(walk, node, argument(node, 2, "dim"), argument(node, 3, "keepdim"))


def deviation(walk: Walk, node: Node) -> Label:
    """The standard deviation or variance over some dimensions."""
    keep = node.kwargs.get("keepdim", node.args[3] if len(node.args) > 3 else None)
    return _reduced(walk, node, argument(node, 1, "dim"), keep)


def extreme(walk: Walk, node: Node) -> Label:
    """The largest value along a dimension with its position, over all, or of two tensors."""
    if isinstance(argument(node, 1, "dim"), Node):
        return elementwise(walk, node)
    label = _reduced(walk, node, argument(node, 1, "dim"), argument(node, 2, "keepdim"))
    walk.labels(node)[:] = [label, label]
    return label


def _reduced(walk: Walk, node: Node, dims: object, keep: object) -> Label:
    x = walk.label(node.args[0])
    reduced = dimensions(dims, len(x))
    for dim in reduced:
        walk.coupling.pin(x[dim], f"summed over in {node.name}")
    if keep:
        return tuple(None if dim in reduced else own for dim, own in enumerate(x))
    return tuple(own for dim, own in enumerate(x) if dim not in reduced)


def softmax(walk: Walk, node: Node) -> Label:
    """Every index along the normalised dimension counts for all of them."""
    x = walk.label(node.args[0])
    walk.coupling.pin(x[integer(node, 1) % len(x)], f"normalised over in {node.name}")
    return x
