"""Labels of any type: numbers, words, categories, and those whose names a file's metadata hold."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from espalier.data.source import first
from espalier.errors import BadInput


@dataclass(frozen=True)
class Labels:
    """The labels of the rows of one or several files.

    Attributes:
        values: numbers from 0.
        classes: names by number; None if the files have none.
    """

    values: list[int]
    classes: tuple[str, ...] | None


def read_labels(place: str, columns: Sequence[tuple[pd.Series, tuple[str, ...] | None]]) -> Labels:
    """Labels as numbers.

    Args:
        place: file or folder, for messages.
        columns: a column for each file, without missing values, and the names that the file's
            metadata give to its numbers.

    Raises:
        BadInput: if labels are neither whole numbers nor words, or two files give other names.
    """
    given = {names for _, names in columns if names}
    if len(given) > 1:
        raise BadInput(
            f"Expected all files of {place} to name the same classes; found others: "
            f"{', '.join(next(iter(given))[:5])} ..."
        )
    values = pd.concat([column for column, _ in columns], ignore_index=True)
    if values.map(lambda value: isinstance(value, str)).all():
        names = given.pop() if given else tuple(sorted(set(values)))
        number = {name: index for index, name in enumerate(names)}
        unknown = values[~values.isin(names)]
        if len(unknown):
            raise BadInput(
                f"Expected labels of {place} to be {', '.join(names[:8])}; found "
                f"{unknown.iloc[0]!r}."
            )
        return Labels([number[value] for value in values], names)
    return Labels(_whole_numbers(place, values), given.pop() if given else None)


def _whole_numbers(place: str, values: pd.Series) -> list[int]:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = numbers.isna() | (numbers != numbers.round()) | (numbers.abs() == np.inf)
    if wrong.any():
        row = first(wrong)
        raise BadInput(
            f"Expected the labels of {place} to be whole numbers, or words; found {values[row]!r} in "
            f"row {row}, and {int(wrong.sum())} such rows."
        )
    return [int(value) for value in numbers]


def names_in_metadata(metadata: Any, column: str) -> tuple[str, ...] | None:
    """The names of the classes in the metadata that Hugging Face's `datasets` writes; None if none."""
    try:
        content = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        names = content["info"]["features"][column]["names"]
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, ValueError):
        return None
