"""Small integers, most of them zero, in a tensor: which are zero, their signs, how large they are."""

from math import prod

from espalier.coding.coder import Coder, natural

_UNARY = 14  # sizes up to this are told apart one by one (as CABAC does; Marpe et al. 2003)


def code_levels(coder: Coder, levels: list[int], shape: tuple[int, ...]) -> list[int]:
    """Write or read the integers of a tensor.

    What is known of the place of a number helps to predict it: its row (the output it belongs to), its column (the
    input that it weighs), its place in the filter, and its neighbours that are already known.

    Args:
        coder: Where they go or come from.
        levels: The integers in the tensor's order; a reader is given none.
        shape: Of the tensor; one of a single dimension counts as one row.

    Returns:
        The integers.
    """
    rows = shape[0] if len(shape) > 1 else 1
    columns = prod(shape) // rows if rows else 0
    kernel = prod(shape[2:]) if len(shape) > 2 else columns
    width = shape[-1] if len(shape) > 2 else columns
    found: list[int] = []
    above = [0] * columns
    for row in range(rows):
        current = [0] * columns
        for column in range(columns):
            inside = column % kernel
            left = current[column - 1] if inside % width else 0
            upper = current[column - width] if inside >= width else 0
            given = levels[row * columns + column] if levels else 0
            around = (left, upper, above[column])
            current[column] = _code(coder, given, (row, column, column // kernel, inside), around)
        found += current
        above = current
    return found


def _code(coder: Coder, level: int, where: tuple[int, int, int, int], around: tuple[int, int, int]) -> int:
    row, column, plane, inside = where
    left, upper, above = around
    near = (left != 0) + 2 * (upper != 0) + 4 * (above != 0)
    if not coder.bit("nonzero", (0, row, column, (row, plane), inside, near), int(level != 0)):
        return 0
    signs = (_sign(left), _sign(upper), _sign(above))
    negative = coder.bit("negative", (0, row, column, signs), int(level < 0))
    size = abs(level)
    most = max(map(abs, around))
    for step in range(1, _UNARY + 1):
        if not coder.bit(("larger", step), (0, row, column, min(most, 3)), int(size > step)):
            return -step if negative else step
    size = _UNARY + 1 + natural(coder, "rest", max(0, size - _UNARY - 1))
    return -size if negative else size


def _sign(level: int) -> int:
    return (level > 0) - (level < 0)
