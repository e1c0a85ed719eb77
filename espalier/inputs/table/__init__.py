"""Tables: rows of numbers and categories.

A row is stored as float32, a column after the other: a number as it is, a category as its number in
the list of `dataset.json`. Missing numbers are NaN; missing and unknown categories are -1.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.errors import BadInput
from espalier.inputs.plain import PlainInput
from espalier.inputs.table.columns import (
    Cell,
    encode_categories,
    encode_numbers,
    is_number,
    plain,
)
from espalier.inputs.table.front import TableFront
from espalier.paths import COLUMNS
from espalier.quantity import number

_MOST_CATEGORIES = 1000
_SHOWN = 8  # columns of a row in a report


@dataclass(frozen=True)
class TableFacts:
    """Facts of tables in `dataset.json`.

    Attributes:
        columns: names of the columns.
        categories: categories of each column, sorted; empty for a column of numbers.
        mean: mean of each column of numbers over the train split; 0 for categories.
        std: their standard deviation; 1 for a constant column and for categories.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TableInput(PlainInput):
    """The kind `table`."""

    name = "table"
    plural = "rows"
    dtype = torch.float32
    facts_type = TableFacts

    def decode(self, content: Sequence[Cell]) -> tuple[Cell, ...]:
        """The cells of a row; None for a missing one.

        Raises:
            ValueError: if one is a number that float32 cannot hold.
        """
        return tuple(plain(cell) for cell in content)

    def digest(self, example: tuple[Cell, ...]) -> str:
        """SHA-256 of the cells."""
        return hashlib.sha256(json.dumps(example, default=str).encode()).hexdigest()

    def store(
        self, examples: Sequence[tuple[Cell, ...]], train: NDArray[np.int64], **options: Any
    ) -> tuple[NDArray[np.float32], TableFacts]:
        """The stored rows (N, columns), and their facts.

        A column is of numbers if all of its cells are.

        Args:
            examples: cells of all rows.
            train: rows of the train split; means and categories are theirs.
            options: `columns`, the names of the columns.

        Raises:
            BadInput: if a column has more than 1,000 categories, as names and numbers of rows have.
        """
        columns: tuple[str, ...] = options["columns"]
        stored = np.empty((len(examples), len(columns)), np.float32)
        facts: list[tuple[tuple[str, ...], float, float]] = []
        for place, name in enumerate(columns):
            cells = [row[place] for row in examples]
            if all(cell is None or is_number(cell) for cell in cells):
                stored[:, place], mean, std = encode_numbers(cells, train)
                facts.append(((), mean, std))
            else:
                stored[:, place], categories = encode_categories(cells, train)
                _refuse_many(name, categories)
                facts.append((categories, 0.0, 1.0))
        categories_of, means, stds = zip(*facts, strict=True)
        return stored, TableFacts(columns, categories_of, means, stds)

    def describe(self, shape: tuple[int, ...], facts: TableFacts) -> str:
        """The form of an example, such as `13 columns, 3 of them categories`."""
        count = sum(1 for categories in facts.categories if categories)
        return f"{shape[0]} columns" + (f", {count} of them categories" if count else "")

    def front(self, facts: TableFacts) -> TableFront:
        """The standardisation of numbers and the encoding of categories."""
        return TableFront(facts.categories, facts.mean, facts.std)

    def model_files(self, shape: tuple[int, ...], facts: TableFacts) -> dict[str, Any]:
        """The columns in their order, each with its categories, whose places are their numbers."""
        del shape
        return {COLUMNS: dict(zip(facts.columns, map(list, facts.categories), strict=True))}

    def parts(self, example: NDArray[np.float32], facts: TableFacts) -> list[str]:
        """The cells of a row, by the names of their columns."""
        cells = zip(facts.columns, facts.categories, example.tolist(), strict=True)
        return [f"{name} {_shown(categories, value)}" for name, categories, value in cells]

    def without(self, inputs: Tensor, part: int, facts: TableFacts) -> Tensor:
        """Rows in which a cell is missing: a number is NaN, a category unknown."""
        changed = inputs.clone()
        changed[:, part] = -1.0 if facts.categories[part] else float("nan")
        return changed

    def display(self, example: NDArray[np.float32], facts: TableFacts) -> str:
        """The first cells of a row, separated by commas."""
        return ", ".join(self.parts(example, facts)[:_SHOWN])


def _refuse_many(name: str, categories: tuple[str, ...]) -> None:
    if len(categories) > _MOST_CATEGORIES:
        raise BadInput(
            f"Expected the column {name!r} to have at most {_MOST_CATEGORIES:,} categories; found "
            f"{len(categories):,}, such as {categories[0]!r}. `data.columns.ignore: [{name}]` in "
            "params.yaml leaves it out."
        )


def _shown(categories: tuple[str, ...], value: float) -> str:
    if not categories:
        return "missing" if np.isnan(value) else number(float(value))
    return categories[int(value)] if value >= 0 else "unknown"


__all__ = ["TableFacts", "TableFront", "TableInput"]
