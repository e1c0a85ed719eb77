"""Products of activations, as in attention. What both operands and the result have are heads; what is summed stays."""

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

from torch.fx import Node

from espalier.pruning.coupling import Dim, Label
from espalier.pruning.rules.walk import Walk, argument


def matrix_product(walk: Walk, node: Node) -> Label:
    """(..., m, k) times (..., k, n), and vectors."""
    left, right = (len(walk.shape(arg)) for arg in node.args[:2])
    if min(left, right) < 2:
        return _unknown(walk, node)
    leading = ascii_letters[: max(left, right) - 2]
    one, other = (
        leading[len(leading) - left + 2 :] + "XZ",
        leading[len(leading) - right + 2 :] + "ZY",
    )
    return _product(walk, node, node.args[:2], [one, other], leading + "XY")


def added_product(walk: Walk, node: Node) -> Label:
    """A sum with the product of two batches of matrices: `baddbmm`, `addmm`."""
    product = node.args[1:3]
    letters = "A" if len(walk.shape(node)) == 3 else ""
    label = _product(walk, node, product, [letters + "XZ", letters + "ZY"], letters + "XY")
    added, sizes = walk.label(node.args[0]), walk.shape(node.args[0])
    return (
        *label[: len(label) - len(sizes)],
        *_met(walk, node, label[len(label) - len(sizes) :], added, sizes),
    )


def einsum(walk: Walk, node: Node) -> Label:
    """Two operands with a letter for each dimension."""
    equation: Any = node.args[0]
    operands: Any = node.args[1]
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    subscripts = inputs.split(",")
    plain = all(len(set(one)) == len(one) and one.isalpha() for one in (*subscripts, output))
    if len(operands) != 2 or not arrow or not plain:
        return _unknown(walk, node)
    return _product(walk, node, operands, subscripts, output)


def attention(walk: Walk, node: Node) -> Label:
    """Scores of queries (..., l, e) and keys (..., s, e), and with them a mean of values (..., s, v)."""
    query, key, value = node.args[:3]
    ranks = {len(walk.shape(arg)) for arg in (query, key, value)}
    if len(ranks) > 1 or argument(node, 7, "enable_gqa"):
        return _unknown(walk, node)
    leading = ascii_letters[: ranks.pop() - 2]
    scores = _product(walk, node, (query, key), [leading + "LE", leading + "SE"], leading + "LS")
    mask = argument(node, 3, "attn_mask")
    if mask is not None:
        sizes = walk.shape(mask)
        _met(walk, node, scores[len(scores) - len(sizes) :], walk.label(mask), sizes)
    mean = _product(walk, node, (None, value), [leading + "LS", leading + "SV"], leading + "LV")
    return (
        *(walk.coupling.join(*dims, "heads") for dims in zip(scores[:-2], mean[:-2], strict=True)),
        None,
        mean[-1],
    )


def _product(
    walk: Walk, node: Node, operands: Sequence[Any], subscripts: Sequence[str], output: str
) -> tuple[Dim, ...]:
    """The rule of all products, in the letters of `einsum`. An operand may be None: it is a result inside the node."""
    labels: dict[str, list[tuple[Dim, int]]] = {}
    for operand, letters in zip(operands, subscripts, strict=True):
        if operand is not None:
            for letter, dim, size in zip(
                letters, walk.label(operand), walk.shape(operand), strict=True
            ):
                labels.setdefault(letter, []).append((dim, size))
    joint: dict[str, Dim] = {}
    sizes: dict[str, int] = {}
    for letter, dims in labels.items():
        sizes[letter] = max(size for _, size in dims)
        joint[letter] = _shared(walk, [dim for dim, size in dims if size == sizes[letter]])
        for dim, size in dims:
            if letter not in output or size < sizes[letter]:
                walk.coupling.pin(dim, f"summed over in {node.name}")
        if letter in output and len(dims) > 1 and joint[letter] is not None:
            walk.heads(node, joint[letter])
    for letter in dict.fromkeys("".join(subscripts)):
        if letter not in sizes:  # of an operand without labels
            sizes[letter], joint[letter] = walk.shape(node)[output.index(letter)], None
    walk.multiplies(list(sizes.values()), [joint[letter] for letter in sizes])
    return tuple(joint[letter] for letter in output)


def _shared(walk: Walk, dims: Sequence[Dim]) -> Dim:
    first = dims[0]
    for other in dims[1:]:
        first = walk.coupling.join(first, other, "heads that meet what is fixed")
    return first


def _met(walk: Walk, node: Node, label: Label, added: Label, sizes: tuple[int, ...]) -> Label:
    """What is added to a product has its indices, or one for all of them."""
    result = list(label)
    for position, (dim, size) in enumerate(zip(added, sizes, strict=True)):
        if size == 1:
            walk.coupling.pin(dim, "broadcast")
        else:
            result[position] = walk.coupling.join(
                label[position], dim, f"meets what is fixed in {node.name}"
            )
    return tuple(result)


def _unknown(walk: Walk, node: Node) -> Label:
    """A product of a kind that is not followed."""
    for operand in node.all_input_nodes:
        for dim in walk.label(operand):
            walk.coupling.pin(dim, f"enters {node.name}, of a kind for which there is no rule")
    return (None,) * len(walk.shape(node))
