"""Labels of any type: numbers, words, categories, sets of them, and numbers to be predicted.

The task follows from them, unless it is given: words and whole numbers are classes, lists are sets
of classes, and other numbers are values to be predicted.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from espalier.data.source import LabelledHead, first
from espalier.errors import BadInput
from espalier.inputs.table.columns import is_missing
from espalier.settings.tasks import TaskName, TaskSettings

Names = tuple[str, ...]
_SEPARATORS = r"[;|]"  # of the names of a set in a text


@dataclass(frozen=True)
class Labels:
    """The labels of the rows of one or several files.

    Attributes:
        values: numbers of classes from 0, sets of these as sorted tuples, values to be predicted, or
            of several heads the row of their targets.
        classes: names by number; None if the files have none.
        task: task that the labels are for.
        heads: the heads, in the order of their columns; empty for a single task.
    """

    values: list[Any]
    classes: Names | None
    task: str = "classification"
    heads: tuple[LabelledHead, ...] = ()

    @property
    def names(self) -> list[str]:
        """The name of the class of each row; empty where there is none."""
        if self.task != "classification" or not self.classes:
            return [""] * len(self.values)
        known = dict(enumerate(self.classes))
        return [known.get(value, "") for value in self.values]


def read_labels(
    place: str,
    columns: Sequence[tuple[pd.Series, Names | None]],
    settings: TaskSettings | None = None,
    name: str = "label",
    listed: Names | None = None,
) -> Labels:
    """Labels as numbers.

    Args:
        place: file or folder, for messages.
        columns: a column for each file, and the names that the file's metadata give to its numbers.
        settings: settings of the task; None lets it follow from the labels.
        name: name of the column, which is that of the value of a regression.
        listed: names by number that the user gave, instead of the metadata's: of words their order.

    Raises:
        BadInput: if a label is missing or not one of the task, or two files give other names.
    """
    names = listed or _named_alike(place, columns)
    values = pd.concat([column for column, _ in columns], ignore_index=True)
    task = (settings.name if settings else None) or _inferred(values)
    if task == "regression":
        return Labels(_numbers(place, values), (name,), task)
    if task == "multilabel":
        return _sets(place, values, names)
    refuse_missing(place, values, "name its class, or remove it")
    if values.map(lambda value: isinstance(value, str)).all():
        known = names or tuple(sorted(set(values)))
        return Labels(_numbered(place, values, known), known)
    return Labels(_whole_numbers(place, values), names)


def _named_alike(place: str, columns: Sequence[tuple[pd.Series, Names | None]]) -> Names | None:
    """The names that the metadata of all files give; None if they give none."""
    given = {names for _, names in columns if names}
    if len(given) > 1:
        raise BadInput(
            f"Expected all files of {place} to name the same classes; found others: "
            f"{', '.join(next(iter(given))[:5])} ..."
        )
    return given.pop() if given else None


def refuse_missing(place: str, values: pd.Series, way_out: str) -> None:
    """Refuse a column in which labels are missing.

    Args:
        place: file, folder or column, for the message.
        values: labels.
        way_out: what to do about the rows.

    Raises:
        BadInput: if some are.
    """
    missing = values.map(is_missing).astype(bool)
    if missing.any():
        raise BadInput(
            f"Expected every row of {place} to have a label; found {int(missing.sum())} of "
            f"{len(values)} without, the first is row {first(missing)}: {way_out}."
        )


def with_empty_sets(columns: Sequence[pd.Series], task: TaskName | None) -> list[pd.Series]:
    """The columns of labels; where labels are sets, a missing one is the empty set.

    Args:
        columns: a column for each file.
        task: task of the labels; None lets it follow from the labels of all files that are there.
    """
    values = pd.concat(columns, ignore_index=True).astype(object)
    present = values[~values.map(is_missing).astype(bool)]
    if (task or (_inferred(present) if len(present) else None)) != "multilabel":
        return list(columns)
    return [
        column.astype(object).map(lambda value: () if is_missing(value) else value)
        for column in columns
    ]


def are_separated(values: pd.Series) -> bool:
    """Whether some labels are texts of several names, which are sets if the task says so."""
    return any(isinstance(value, str) and re.search(_SEPARATORS, value) for value in values)


def _inferred(values: pd.Series) -> TaskName:
    """The task that labels are for; a single number that is not whole is more likely a mistake."""
    if values.map(_is_list).all():
        return "multilabel"
    numbers = values.map(lambda value: isinstance(value, float) and value != round(value, 0))
    return "regression" if numbers.mean() > 1 / 2 else "classification"


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _numbered(place: str, values: pd.Series, names: Names) -> list[int]:
    """The number of each name."""
    number = {name: index for index, name in enumerate(names)}
    unknown = values[~values.isin(names)]
    if len(unknown):
        raise BadInput(
            f"Expected labels of {place} to be {', '.join(names[:8])}, as classes.json or the "
            f"file's metadata name them; found {unknown.iloc[0]!r}: list it too, or remove the list."
        )
    return [number[value] for value in values]


def _sets(place: str, values: pd.Series, names: Names | None) -> Labels:
    """Sets of classes; a text holds names that `;` or `|` separates."""
    cells = [_members(value) for value in values]
    _refuse_twice(place, cells)
    members = pd.Series([member for cell in cells for member in cell], dtype=object)
    if not len(members):
        raise BadInput(f"Expected the rows of {place} to have labels; found none in any row.")
    if names and not members.isin(names).any() and members.map(_is_whole_in_text).all():
        members = members.map(int)  # a text of numbers, whose names are listed
    flat = read_labels(place, [(members, names)], TaskSettings(name="classification"))
    classes = flat.classes or tuple(str(number) for number in range(1 + max(flat.values)))
    _refuse_beyond(place, flat.values, len(classes))
    ends = np.cumsum([len(cell) for cell in cells])
    sets = [
        tuple(sorted(set(flat.values[end - len(cell) : end])))
        for end, cell in zip(ends, cells, strict=True)
    ]
    return Labels(sets, classes, "multilabel")


def _refuse_twice(place: str, cells: Sequence[list[Any]]) -> None:
    """Refuse rows of 0 and 1, whose digits would be the classes of the example."""
    for row, cell in enumerate(cells):
        numbers = [member for member in cell if isinstance(member, Number | np.bool_)]
        if len(set(numbers)) < len(numbers):
            raise BadInput(
                f"Expected each set of labels of {place} to list the numbers of its classes once, such "
                f"as [1, 3]; found {str(cell)[:80]} in row {row}: list them instead of 0 and 1 for all."
            )


def _refuse_beyond(place: str, numbers: Sequence[int], count: int) -> None:
    wrong = [number for number in numbers if not 0 <= number < count]
    if wrong:
        raise BadInput(
            f"Expected labels of {place} to lie in 0..{count - 1}, a label per class; found "
            f"{wrong[0]}, and {len(wrong)} such labels: number them from 0, or list all classes."
        )


def _is_whole_in_text(value: Any) -> bool:
    return isinstance(value, str) and value.isdecimal()


def _members(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in re.split(_SEPARATORS, value) if part.strip()]
    return list(value) if _is_list(value) else [value]


def _numbers(place: str, values: pd.Series) -> list[float]:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = numbers.isna() | (numbers.abs() == np.inf)
    if wrong.any():
        row = first(wrong)
        raise BadInput(
            f"Expected the labels of {place} to be finite numbers, for a regression; found "
            f"{values[row]!r} in row {row}, and {int(wrong.sum())} such rows."
        )
    return [float(number) for number in numbers]


def _whole_numbers(place: str, values: pd.Series) -> list[int]:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = numbers.isna() | (numbers != numbers.round()) | (numbers.abs() == np.inf)
    if wrong.any():
        row = first(wrong)
        raise BadInput(
            f"Expected the labels of {place} to be whole numbers, or words; found {values[row]!r} in "
            f"row {row}, and {int(wrong.sum())} such rows. `data.task: regression` in params.yaml "
            "predicts numbers."
        )
    return [int(value) for value in numbers]


def names_in_metadata(metadata: Any, column: str) -> Names | None:
    """The names of the classes in the metadata that Hugging Face's `datasets` writes; None if none."""
    try:
        content = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        feature = content["info"]["features"][column]
        names = feature.get("feature", feature)["names"]  # of a list of classes: of its members
        return tuple(str(name) for name in names)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def as_targets(labels: pd.Series, task: str, classes: Sequence[str]) -> np.ndarray:
    """The targets (N, ...) of a task, in their stored type.

    Args:
        labels: values of `Labels`.
        task: name of the task.
        classes: names of the classes.

    Example:
        Of the sets (0, 2) and () of three classes: [[1, 0, 1], [0, 0, 0]].
    """
    if task == "regression":
        return labels.to_numpy(np.float32)
    if task == "heads":
        return np.array(labels.tolist(), np.float32)
    if task != "multilabel":
        return labels.to_numpy()
    targets = np.zeros((len(labels), len(classes)), np.uint8)
    for row, members in enumerate(labels):
        targets[row, list(members)] = 1
    return targets
