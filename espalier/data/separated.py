"""Tables of cells that commas or tabs separate."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype
from pandas.errors import ParserWarning

from espalier.data.source import first
from espalier.errors import BadInput


def read_separated(path: Path, **keys: Any) -> pd.DataFrame:
    """A table of CSV or TSV, by its ending.

    Args:
        path: file; its first row has the names of the columns.
        keys: further arguments of `pandas.read_csv`.

    Raises:
        BadInput: if rows have more cells than the first one, or a cell of a TSV runs on over rows.
    """
    tabs = path.suffix.lower() == ".tsv"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ParserWarning)
        try:  # without an index, which longer rows would make of the first column
            table: pd.DataFrame = pd.read_csv(
                path, sep="\t" if tabs else ",", index_col=False, **keys
            )
        except ParserWarning:
            raise BadInput(
                f"Expected as many cells in each row of {path} as in its first; found more: name "
                "every column, and quote cells with a separator inside."
            ) from None
    if tabs:
        _refuse_cells_over_rows(path, table)
    return table


def _refuse_cells_over_rows(path: Path, table: pd.DataFrame) -> None:
    """Refuse a stray quotation mark, which makes one cell of all rows up to the next mark."""
    words = [column for _, column in table.items() if not is_numeric_dtype(column)]
    wrong = [first(holds) for holds in map(_hold_rows, words) if holds.any()]
    if wrong:
        raise BadInput(
            f"Expected each row of {path} to be one line; found a quotation mark that begins a cell "
            f"in row {min(wrong)} and runs on over tabs and lines: remove it, or double it in quotes."
        )


def _hold_rows(cells: pd.Series) -> pd.Series:
    return cells.map(lambda cell: isinstance(cell, str) and "\n" in cell and "\t" in cell)
