"""Rules of products of activations, as in attention.

An index that both operands and the result have is a head. An index that is summed over stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_letters
from typing import Any

from torch.fx import Node

from espalier.pruning.coupling import Dim, Label, Walk, argument


@dataclass
class _Letter:
    """A letter of an einsum: the dimensions of all operands that it names.

    Attributes:
        dims: label and size of the dimension in each operand that has it.
        joint: label of the joint dimension.
    """

    dims: list[tuple[Dim, int]] = field(default_factory=list)
    joint: Dim = None

    @property
    def size(self) -> int:
        """The size of the joint dimension: a size of one is broadcast."""
        return max(size for _, size in self.dims)


def matrix_product(walk: Walk, node: Node) -> Label:
    """(..., m, k) times (..., k, n), and vectors.

    Example:
        Scores of attention, (N, h, L, e) times (N, h, e, S): h is a head, e is summed over.
    """
    left, right = (len(walk.shape(arg)) for arg in node.args[:2])
    if min(left, right) < 2:
        return _unknown(walk, node)
    leading = ascii_letters[: max(left, right) - 2]
    one = leading[len(leading) - left + 2 :] + "XZ"
    other = leading[len(leading) - right + 2 :] + "ZY"
    return _product(walk, node, node.args[:2], [one, other], leading + "XY")


def added_product(walk: Walk, node: Node) -> Label:
    """A sum with the product of two batches of matrices: `baddbmm`, `addmm`."""
    batch = "A" if len(walk.shape(node)) == 3 else ""
    factors = node.args[1:3]
    product = _product(walk, node, factors, [batch + "XZ", batch + "ZY"], batch + "XY")
    return _sum(walk, node, product, node.args[0])


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
    """Scores of queries (..., l, e) and keys (..., s, e), and a mean of values (..., s, v)."""
    query, key, value = node.args[:3]
    ranks = {len(walk.shape(arg)) for arg in (query, key, value)}
    if len(ranks) > 1 or argument(node, 7, "enable_gqa"):
        return _unknown(walk, node)
    leading = ascii_letters[: ranks.pop() - 2]
    subscripts = [leading + "LE", leading + "SE"]
    scores = _product(walk, node, (query, key), subscripts, leading + "LS")
    mask = argument(node, 3, "attn_mask")
    if mask is not None:
        _sum(walk, node, scores, mask)
    subscripts = [leading + "LS", leading + "SV"]
    mean = _product(walk, node, (None, value), subscripts, leading + "LV")
    heads = [
        walk.coupling.join(one, other, "heads")
        for one, other in zip(scores[:-2], mean[:-2], strict=True)
    ]
    return (*heads, None, mean[-1])


def _product(
    walk: Walk, node: Node, operands: Sequence[Any], subscripts: Sequence[str], output: str
) -> tuple[Dim, ...]:
    """The rule of all products, in the letters of `einsum`.

    Args:
        walk: the walk over the graph.
        node: the product.
        operands: two operands; None for a result inside the node.
        subscripts: letters of the dimensions of each operand.
        output: letters of the dimensions of the result.
    """
    letters = _letters(walk, operands, subscripts)
    for name, letter in letters.items():
        _join_letter(walk, node, name, letter, output)
    sizes = {name: letter.size for name, letter in letters.items()}
    joint = {name: letter.joint for name, letter in letters.items()}
    for name in dict.fromkeys("".join(subscripts)):
        if name not in letters:  # a dimension of the operand without label
            sizes[name], joint[name] = walk.shape(node)[output.index(name)], None
    walk.add_product(list(sizes.values()), [joint[name] for name in sizes])
    return tuple(joint[name] for name in output)


def _letters(walk: Walk, operands: Sequence[Any], subscripts: Sequence[str]) -> dict[str, _Letter]:
    """The dimensions that each letter names, in the order of the operands."""
    letters: dict[str, _Letter] = {}
    for operand, names in zip(operands, subscripts, strict=True):
        if operand is None:
            continue
        dims = zip(walk.label(operand), walk.shape(operand), strict=True)
        for name, dim in zip(names, dims, strict=True):
            letters.setdefault(name, _Letter()).dims.append(dim)
    return letters


def _join_letter(walk: Walk, node: Node, name: str, letter: _Letter, output: str) -> None:
    """Join the dimensions of a letter; pin the summed and broadcast ones; record heads."""
    letter.joint = _joined(walk, [dim for dim, size in letter.dims if size == letter.size])
    for dim, size in letter.dims:
        if name not in output or size < letter.size:
            walk.coupling.pin(dim, f"summed over in {node.name}")
    if name in output and len(letter.dims) > 1 and letter.joint is not None:
        walk.add_heads(node, letter.joint)


def _joined(walk: Walk, dims: Sequence[Dim]) -> Dim:
    joint = dims[0]
    for other in dims[1:]:
        joint = walk.coupling.join(joint, other, "heads that meet what is fixed")
    return joint


def _sum(walk: Walk, node: Node, product: Label, added: Any) -> Label:
    """The sum of a product and an operand with the same indices, or one index for all of them."""
    sizes = walk.shape(added)
    result = list(product)
    offset = len(product) - len(sizes)
    for position, (dim, size) in enumerate(zip(walk.label(added), sizes, strict=True), offset):
        if size == 1:
            walk.coupling.pin(dim, "broadcast")
        else:
            reason = f"meets what is fixed in {node.name}"
            result[position] = walk.coupling.join(product[position], dim, reason)
    return tuple(result)


def _unknown(walk: Walk, node: Node) -> Label:
    """A product of an unknown kind: everything that enters it stays."""
    for operand in node.all_input_nodes:
        for dim in walk.label(operand):
            walk.coupling.pin(dim, f"enters {node.name}, of a kind for which there is no rule")
    return (None,) * len(walk.shape(node))
