"""Data sets that a function of a trusted package gives as arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from espalier.data.labels import Labels, read_labels
from espalier.data.source import Chunk, frame, listed_classes
from espalier.data.split_names import SPELLINGS
from espalier.errors import BadInput, reason_of
from espalier.own_functions import own_function
from espalier.settings.data import DataSettings

_AT_ONCE = 1024  # arrays
_FORM = "(inputs, targets), or such pairs by split: {'train': ..., 'test': ...}"


@dataclass(frozen=True)
class Arrays:
    """The arrays of a function.

    Attributes:
        examples: rows of `Source.examples`.
        labels: their labels.
        inputs: an array (N, ...) for each split.
    """

    examples: pd.DataFrame
    labels: Labels
    inputs: tuple[Any, ...]

    def contents(self) -> Iterator[Chunk]:
        """The array of every example, some at a time."""
        for array in self.inputs:
            for start in range(0, len(array), _AT_ONCE):
                yield list(np.asarray(array[start : start + _AT_ONCE]))


def read(folder: Path, place: str, settings: DataSettings) -> Arrays:
    """The arrays that a function gives for a folder.

    Args:
        folder: folder of the data set, the only argument of the function.
        place: the function, `package.module:function`.
        settings: settings of the data.

    Raises:
        BadInput: if the function cannot be imported, or gives something else.
    """
    given = _called(place, folder)
    parts = dict(given) if isinstance(given, Mapping) else {"": given}
    splits = {name: _split(place, name) for name in parts}
    inputs, targets = zip(*(_pair(place, part) for part in parts.values()), strict=True)
    columns = [(pd.Series(list(part), dtype=object), None) for part in targets]
    labels = read_labels(
        f"the function {place}", columns, settings.task_settings, "value", listed_classes(folder)
    )
    counts = {name: len(part) for name, part in zip(parts, targets, strict=True)}
    files = [place] * sum(counts.values())
    rows = [row for count in counts.values() for row in range(count)]
    each = [splits[name] for name, count in counts.items() for _ in range(count)]
    return Arrays(frame(files, rows, labels.values, each), labels, inputs)


def _called(place: str, folder: Path) -> Any:
    """The arrays of the user's function.

    Raises:
        BadInput: if it raises an error; the message has the reason.
    """
    function = own_function(place)
    try:
        return function(folder)
    except Exception as error:  # whatever the user's own code raises
        raise BadInput(
            f"Expected {place} to give arrays for {folder}; found {reason_of(error)}."
        ) from error


def _split(place: str, name: str) -> str:
    if not name or name in SPELLINGS:
        return SPELLINGS.get(name, "")
    raise BadInput(f"Expected {place} to name splits train, validation or test; found {name!r}.")


def _pair(place: str, part: Any) -> tuple[Any, list[Any]]:
    """The inputs (N, ...) and the targets (N, ...) of a split."""
    pair = isinstance(part, tuple | list) and len(part) == len(("inputs", "targets"))
    if not pair or len(part[0]) != len(part[1]) or not len(part[0]):
        raise BadInput(f"Expected {place} to return {_FORM}, equally many; found something else.")
    return part[0], [np.asarray(target).tolist() for target in part[1]]
