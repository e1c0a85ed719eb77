"""Columns of tables as numbers."""

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

_LARGEST = float(np.finfo(np.float32).max)
_PRECISION = float(np.finfo(np.float32).eps)
# the types of pandas' missing values, by name: pandas is not needed here
_OF_PANDAS = ("NAType", "NaTType")

Cell = str | float | int | bool | None


def is_missing(cell: object) -> bool:
    """Whether a cell holds nothing: None, an empty text, NaN, or the missing value of a type of pandas."""
    if isinstance(cell, str):
        return not cell
    if isinstance(cell, float | np.floating):
        return math.isnan(cell)
    return cell is None or type(cell).__name__ in _OF_PANDAS


def plain(cell: object) -> Cell:
    """A cell as text or a number; None for a missing one.

    Raises:
        ValueError: if it is a number that float32 cannot hold.
    """
    if is_missing(cell):
        return None
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell)).lower()
    if isinstance(cell, np.generic):
        return plain(cell.item())
    if isinstance(cell, Decimal):
        return plain(float(cell))
    if isinstance(cell, int | float) and abs(cell) > _LARGEST:
        raise ValueError(f"a number beyond {_LARGEST:.3g}")
    return cell if isinstance(cell, str | int | float) else str(cell)


def is_number(cell: Cell) -> bool:
    """Whether a cell is a number."""
    return isinstance(cell, int | float)


def encode_numbers(
    cells: Sequence[Cell], train: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float, float]:
    """The numbers (N,), with NaN where one is missing, and mean and deviation over the train split."""
    values = np.array([np.nan if cell is None else float(cell) for cell in cells])
    known = values[train]
    known = known[~np.isnan(known)]
    mean = float(known.mean()) if len(known) else 0.0
    return values, mean, _spread(known)


def _spread(known: NDArray[np.float64]) -> float:
    """The standard deviation; 1 where float32 cannot tell the numbers apart, for which rounding leaves a rest."""
    if not len(known):
        return 1.0
    std = float(known.std())
    return std if std > _PRECISION * float(np.abs(known).max()) else 1.0


def encode_categories(
    cells: Sequence[Cell], train: NDArray[np.int64]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The number (N,) of each cell's category, -1 for none of them, and the categories of train."""
    names = [None if cell is None else str(cell) for cell in cells]
    known = tuple(sorted({names[row] for row in train} - {None}))
    number = {name: place for place, name in enumerate(known)}
    return np.array([number.get(name, -1) for name in names], float), known
