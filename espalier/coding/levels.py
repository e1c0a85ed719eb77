"""Small integers, most of them zero, in a tensor: which are zero, their signs, how large they are."""

from math import prod

import numpy as np
from numpy.typing import NDArray

from espalier.coding.coder import Coder, natural

_UNARY = 14  # sizes up to this are told apart one by one (as CABAC does; Marpe et al. 2003)
_WORTH = 32  # bits that a layout should save


def code_levels(
    coder: Coder, levels: list[int], shape: tuple[int, ...], tensor: int = 0
) -> list[int]:
    """Write or read the integers of a tensor.

    What is known of the place of a number helps to predict it: its row (the output it belongs to), its column (the
    input that it weighs), its place in the filter, and its neighbours that are already known. The columns of a matrix
    may be the pixels of square maps; the writer looks whether they are.

    Args:
        coder: Where they go or come from.
        levels: The integers in the tensor's order; a reader is given none.
        shape: Of the tensor; one of a single dimension counts as one row.
        tensor: Its number: what is learned of rows and columns holds for one tensor.

    Returns:
        The integers.
    """
    rows = shape[0] if len(shape) > 1 else 1
    columns = prod(shape) // rows if rows else 0
    kernel, width = prod(shape[2:]), shape[-1] if shape else 1
    if len(shape) <= 2:
        side = natural(
            coder, "side", _side(np.array(levels, np.int64), rows, columns) if levels else 0
        )
        kernel, width = (side * side, side) if side else (columns, columns)
    found: list[int] = []
    above = [0] * columns
    for row in range(rows):
        current = [0] * columns
        for column in range(columns):
            inside = column % kernel
            left = current[column - 1] if inside % width else 0
            upper = current[column - width] if inside >= width else 0
            given = levels[row * columns + column] if levels else 0
            where = (tensor, row, column, column // kernel, inside)
            current[column] = _code(coder, given, where, (left, upper, above[column]))
        found += current
        above = current
    return found


def _code(
    coder: Coder, level: int, where: tuple[int, int, int, int, int], around: tuple[int, int, int]
) -> int:
    tensor, row, column, plane, inside = where
    left, upper, above = around
    rows, columns = (tensor, row), (tensor, column)
    near = (left != 0) + 2 * (upper != 0) + 4 * (above != 0)
    places = (tensor, rows, columns, (tensor, row, plane), (tensor, inside), (tensor, near))
    if not coder.bit("nonzero", places, int(level != 0)):
        return 0
    signs = (tensor, _sign(left), _sign(upper), _sign(above))
    negative = coder.bit("negative", (tensor, rows, columns, signs), int(level < 0))
    size, most = abs(level), (tensor, min(3, max(map(abs, around))))
    for step in range(1, _UNARY + 1):
        if not coder.bit(("larger", step), (tensor, rows, columns, most), int(size > step)):
            return -step if negative else step
    size = _UNARY + 1 + natural(coder, "rest", max(0, size - _UNARY - 1))
    return -size if negative else size


def _sign(level: int) -> int:
    return (level > 0) - (level < 0)


def _side(levels: NDArray[np.int64], rows: int, columns: int) -> int:
    """The side of the square maps in which neighbours tell most of whether a number is zero; 0 if none do."""
    used = (levels != 0).reshape(rows, columns)
    best, least = 0, _surprise(used.reshape(rows, 1, 1, columns)) - _WORTH
    for side in range(2, int(columns**0.5) + 1):
        if columns % (side * side) == 0:
            surprise = _surprise(used.reshape(rows, -1, side, side))
            if surprise < least:
                best, least = side, surprise
    return best


def _surprise(used: NDArray[np.bool_]) -> float:
    """The entropy in bits of numbers being zero, given their neighbours to the left and above in maps (..., H, W)."""
    left, upper = np.zeros_like(used), np.zeros_like(used)
    left[..., 1:], upper[..., 1:, :] = used[..., :-1], used[..., :-1, :]
    counts = np.bincount((4 * used + 2 * left + upper).ravel(), minlength=8).reshape(2, 4)
    chances = counts / np.maximum(counts.sum(0), 1)
    return float(-(counts * np.log2(np.where(chances > 0, chances, 1))).sum())
