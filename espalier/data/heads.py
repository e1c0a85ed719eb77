"""Labels of several heads: a column for each, stored together as the targets of one task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from espalier.data.labels import Labels, Names, as_targets, read_labels, refuse_missing
from espalier.data.source import LabelledHead, listed_classes
from espalier.errors import BadInput
from espalier.prediction import Heads, Regression
from espalier.settings.data import DataSettings
from espalier.settings.tasks import HeadSettings, TaskName

ReadColumn = Callable[[str, TaskName | None], list[tuple[pd.Series, Names | None]]]
"""The column of a name, for a task or an unknown one, in each file, with the names of its classes."""


def required_columns(settings: DataSettings) -> list[str]:
    """The meanings of the columns of labels that every table needs."""
    return [] if settings.heads else ["label"]


def label_columns(
    path: Path, present: Sequence[str], names: Mapping[str, str], settings: DataSettings
) -> list[str]:
    """The names of the columns of labels in a table.

    Args:
        path: file, for messages.
        present: names of its columns.
        names: names of its columns by their meaning.
        settings: settings of the data.

    Raises:
        BadInput: if the column of a head is missing.
    """
    if not settings.heads:
        return [names["label"]]
    found = []
    for name, head in settings.heads.items():
        column = head.label or name
        if column not in present:
            raise BadInput(
                f"Expected {path} to have the column `{column}`, the labels of the head {name}; "
                f"found {', '.join(present)}. `data.heads: {{{name}: {{label: ...}}}}` in "
                "params.yaml names another."
            )
        found.append(column)
    return found


def read_all_labels(
    folder: Path, place: str, read: ReadColumn, label: str, settings: DataSettings
) -> Labels:
    """The labels of the rows of tables, of a single task or of several heads.

    Args:
        folder: folder of the data set, whose `classes.json` names the classes of a single task.
        place: file or folder, for messages.
        read: reads a column of labels.
        label: name of the column of a single task.
        settings: settings of the data.

    Raises:
        BadInput: if labels are missing or not those of their task.
    """
    if not settings.heads:
        task = settings.task_settings
        return read_labels(place, read(label, task.name), task, label, listed_classes(folder))
    columns = {name: read(head.label or name, head.task) for name, head in settings.heads.items()}
    return read_heads(place, columns, settings.heads)


def read_heads(
    place: str,
    columns: Mapping[str, Sequence[tuple[pd.Series, Names | None]]],
    settings: Mapping[str, HeadSettings],
) -> Labels:
    """The labels of several heads: a row of numbers for each example.

    A classification has a column, the number of the class; a set of labels has a column of 0 and 1
    for each label; a regression has a column, the value.

    Args:
        place: file or folder, for messages.
        columns: column of each head in every file, and the names that the file gives to its numbers.
        settings: settings of the heads.

    Raises:
        BadInput: if labels are missing, not those of their task, or all equal.
    """
    heads: list[LabelledHead] = []
    blocks: list[NDArray[Any]] = []
    for name, head in settings.items():
        labels = _read_head(f"the head {name} of {place}", columns[name], head, name)
        classes = labels.classes or ()
        heads.append(LabelledHead(name, labels.task, classes, head.weight, head.tolerance))
        targets = as_targets(pd.Series(labels.values), labels.task, classes)
        blocks.append(targets.reshape(len(targets), -1).astype(float))
    rows = np.concatenate(blocks, axis=1).tolist()
    return Labels([tuple(row) for row in rows], _names(heads), "heads", tuple(heads))


def _read_head(
    place: str, columns: Sequence[tuple[pd.Series, Names | None]], head: HeadSettings, name: str
) -> Labels:
    if head.task != "multilabel":  # where a missing label is the empty set
        values = pd.concat([column for column, _ in columns], ignore_index=True)
        refuse_missing(place, values, "remove these rows, or leave out the head")
    labels = read_labels(place, columns, head.task_settings, name)
    if labels.task == "classification":
        labels = _with_classes(place, labels)
    if len(set(labels.values)) < 2:
        raise BadInput(f"Expected {place} to have different labels; found only one.")
    return labels


def _with_classes(place: str, labels: Labels) -> Labels:
    """Class numbers from 0; whole numbers without names are the names themselves, in their order."""
    if labels.classes is None:
        numbers = sorted(set(labels.values))
        place_of = {number: index for index, number in enumerate(numbers)}
        values = [place_of[value] for value in labels.values]
        return Labels(values, tuple(str(number) for number in numbers), labels.task)
    wrong = [value for value in labels.values if not 0 <= value < len(labels.classes)]
    if wrong:
        raise BadInput(
            f"Expected labels of {place} to lie in 0..{len(labels.classes) - 1}, a label per class; "
            f"found {wrong[0]}."
        )
    return labels


def _names(heads: Sequence[LabelledHead]) -> Names:
    """The names of the outputs of all heads: `colour: red`, and of a regression its own name."""
    names: list[str] = []
    for head in heads:
        if head.task == "regression":
            names.append(head.name)
        else:
            names += [f"{head.name}: {one}" for one in head.classes]
    return tuple(names)


def task_facts(heads: Sequence[LabelledHead], train: NDArray[Any]) -> dict[str, Any]:
    """The facts of the task `heads`.

    Args:
        heads: the heads.
        train: targets (N, columns) of the train split.
    """
    facts = [_facts(head) for head in heads]
    for own, head, laid_out in zip(facts, heads, Heads(facts).heads, strict=True):
        if head.task == "regression":
            values = asdict(Regression.of(laid_out.answers_of(train), head.tolerance))
            own["facts"] = {**values, "bounds": list(values["bounds"])}
    return {"heads": facts}


def _facts(head: LabelledHead) -> dict[str, Any]:
    return {
        "name": head.name,
        "task": head.task,
        "classes": list(head.classes),
        "weight": head.weight,
        "facts": {},
    }


def refuse_missing_classes(heads: Sequence[LabelledHead], train: NDArray[Any]) -> None:
    """Refuse classes of a head that no example of the train split has.

    Args:
        heads: the heads.
        train: targets (N, columns) of the train split.

    Raises:
        BadInput: if there is one.
    """
    for head in Heads([_facts(one) for one in heads]).heads:
        if head.task.name != "classification":
            continue
        present = set(head.answers_of(train).tolist())
        absent = [one for number, one in enumerate(head.classes) if number not in present]
        if absent:
            raise BadInput(
                f"Expected every class of the head {head.name} to have examples in train; found none "
                f"of {absent[0]}, {len(absent)} of {len(head.classes)} classes in all. Add examples, "
                "leave the class out, or give the splits yourself."
            )
