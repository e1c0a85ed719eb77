"""Entropy coding of small integers in a tensor: zero or not, sign, magnitude."""

from math import prod

import numpy as np
from numpy.typing import NDArray

from espalier.coding.coder import Coder, code_natural

_UNARY = 14  # magnitudes up to this are coded in unary (as in CABAC; Marpe et al. 2003)
_LAYOUT_GAIN = 32  # bits that a layout of square maps has to save


def code_levels(
    coder: Coder, levels: list[int], shape: tuple[int, ...], tensor: int = 0
) -> list[int]:
    """Write or read the integers of a tensor.

    The contexts that predict an integer are its row (output of the layer), its column (input of the
    layer), its position in the filter, and its neighbours that are known already. The columns of a
    matrix may be the pixels of square maps: the writer decides it by the entropy and writes the
    side of the maps.

    Args:
        coder: Entropy coder that writes or reads.
        levels: Integers in the tensor's order; empty for a reader.
        shape: Shape of the tensor; a vector counts as one row.
        tensor: Number of the tensor: the statistics of rows and columns belong to one tensor.

    Returns:
        The integers.
    """
    rows = shape[0] if len(shape) > 1 else 1
    columns = prod(shape) // rows if rows else 0
    kernel, width = _layout(coder, levels, shape, columns)
    found: list[int] = []
    above = [0] * columns
    for row in range(rows):
        given = levels[row * columns : (row + 1) * columns]
        above = _code_row(coder, given, above, (tensor, row), (kernel, width))
        found += above
    return found


def _layout(
    coder: Coder, levels: list[int], shape: tuple[int, ...], columns: int
) -> tuple[int, int]:
    """The number of elements of a filter or map and its width; by default a whole row."""
    if len(shape) > 2:
        return prod(shape[2:]), shape[-1]
    side = 0
    if levels:
        side = _side_of_maps(np.array(levels, np.int64).reshape(-1, columns))
    side = code_natural(coder, "side", side)
    return (side * side, side) if side else (columns, columns)


def _code_row(
    coder: Coder,
    levels: list[int],
    above: list[int],
    place: tuple[int, int],
    layout: tuple[int, int],
) -> list[int]:
    """Write or read one row.

    Args:
        coder: Entropy coder that writes or reads.
        levels: Integers of the row; empty for a reader.
        above: Integers of the row before.
        place: Numbers of the tensor and of the row.
        layout: Number of elements of a filter, and its width.
    """
    tensor, row = place
    kernel, width = layout
    current = [0] * len(above)
    for column in range(len(above)):
        inside = column % kernel
        left = current[column - 1] if inside % width else 0
        upper = current[column - width] if inside >= width else 0
        level = levels[column] if levels else 0
        where = (tensor, row, column, column // kernel, inside)
        neighbours = (left, upper, above[column])
        current[column] = _code_level(coder, level, where, neighbours)
    return current


def _code_level(
    coder: Coder,
    level: int,
    where: tuple[int, int, int, int, int],
    neighbours: tuple[int, int, int],
) -> int:
    """Write or read one integer.

    Args:
        coder: Entropy coder that writes or reads.
        level: The integer; a reader ignores it.
        where: Numbers of the tensor, row, column and filter, and the position in the filter.
        neighbours: Integers to the left and above in the filter, and at the same position of the
            row before.
    """
    tensor, row, column, plane, inside = where
    left, upper, above = neighbours
    of_row = (tensor, row)
    of_column = (tensor, column)
    nonzero_neighbours = (left != 0) + 2 * (upper != 0) + 4 * (above != 0)
    contexts = (
        tensor,
        of_row,
        of_column,
        (tensor, row, plane),
        (tensor, inside),
        (tensor, nonzero_neighbours),
    )
    if not coder.bit("nonzero", contexts, int(level != 0)):
        return 0
    signs = (tensor, _sign(left), _sign(upper), _sign(above))
    is_negative = coder.bit("negative", (tensor, of_row, of_column, signs), int(level < 0))
    largest = min(3, max(abs(left), abs(upper), abs(above)))
    size = _code_magnitude(coder, abs(level), (tensor, of_row, of_column, (tensor, largest)))
    return -size if is_negative else size


def _code_magnitude(coder: Coder, size: int, contexts: tuple[object, ...]) -> int:
    """Write or read a magnitude of at least 1: in unary up to 14, the rest by an Elias code."""
    for step in range(1, _UNARY + 1):
        if not coder.bit(("larger", step), contexts, int(size > step)):
            return step
    rest = max(0, size - _UNARY - 1)
    return _UNARY + 1 + code_natural(coder, "rest", rest)


def _sign(level: int) -> int:
    return (level > 0) - (level < 0)


def _side_of_maps(levels: NDArray[np.int64]) -> int:
    """The side of the square maps that predict best which elements are zero; 0 without such maps.

    Args:
        levels: (rows, columns) integers.
    """
    nonzero = levels != 0
    rows, columns = nonzero.shape
    best = 0
    least = _conditional_entropy(nonzero.reshape(rows, 1, 1, columns)) - _LAYOUT_GAIN
    for side in range(2, int(columns**0.5) + 1):
        if columns % (side * side):
            continue
        entropy = _conditional_entropy(nonzero.reshape(rows, -1, side, side))
        if entropy < least:
            best, least = side, entropy
    return best


def _conditional_entropy(nonzero: NDArray[np.bool_]) -> float:
    """Entropy in bits of elements of maps (..., H, W) being zero, given the left and upper ones."""
    left = np.zeros_like(nonzero)
    left[..., 1:] = nonzero[..., :-1]
    upper = np.zeros_like(nonzero)
    upper[..., 1:, :] = nonzero[..., :-1, :]
    cases = 4 * nonzero + 2 * left + upper
    counts = np.bincount(cases.ravel(), minlength=8).reshape(2, 4)  # (zero or not, neighbours)
    probabilities = counts / np.maximum(counts.sum(0), 1)
    lengths = np.log2(np.where(probabilities > 0, probabilities, 1))
    return float(-(counts * lengths).sum())
