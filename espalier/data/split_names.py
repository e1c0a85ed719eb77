"""The splits that names of files and folders say."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from espalier.data.names import TEST, TRAIN, VALIDATION
from espalier.errors import BadInput

SPELLINGS = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "eval": VALIDATION,
    "evaluation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}


def split_of(path: PurePath) -> str:
    """The split that a path says; empty if it says none.

    A part of any name counts: `train-00000-of-00001-a09b74b3ef9c3b56.parquet`, `plain_text/test.csv`.

    Raises:
        BadInput: if it says several.

    Example:
        >>> split_of(PurePath("mnist_test-00000-of-00001.parquet"))
        'test'
    """
    words = re.split(r"[^a-z0-9]+", path.as_posix().lower())
    said = {SPELLINGS[word] for word in words if word in SPELLINGS}
    if len(said) > 1:
        raise BadInput(
            f"Expected the name of {path} to say one split; found {' and '.join(sorted(said))}."
        )
    return said.pop() if said else ""


def splits_of(folder: PurePath, paths: Sequence[PurePath]) -> list[str]:
    """The split of each file of a data set; empty ones if no name says any.

    Args:
        folder: folder of the data set, for messages.
        paths: files, relative to it.

    Raises:
        BadInput: if some names say a split and some do not, or a name says several.
    """
    splits = [split_of(path) for path in paths]
    if any(splits) and not all(splits):
        silent = paths[splits.index("")]
        named = paths[[bool(split) for split in splits].index(True)]
        raise BadInput(
            f"Expected every file in {folder} to have the name of a split, or none; found {silent} "
            f"without beside {named}."
        )
    return splits


def read_splits(path: PurePath, name: str, values: Sequence[object]) -> list[str]:
    """The splits in a column.

    Args:
        path: file, for messages.
        name: name of the column.
        values: its cells.

    Raises:
        BadInput: if a cell is no split; the message names the first row and the number.
    """
    splits = [SPELLINGS.get(str(value).lower()) for value in values]
    if None in splits:
        row = splits.index(None)
        raise BadInput(
            f"Expected column `{name}` of {path} to hold "
            f"{', '.join(dict.fromkeys(SPELLINGS.values()))}; "
            f"found {values[row]!r} in row {row}, and {splits.count(None)} such rows."
        )
    return [str(split) for split in splits]


def splits_of_rows(
    folder: Path, paths: Sequence[Path], columns: Sequence[list[str] | None], counts: Sequence[int]
) -> list[str]:
    """The splits of the rows of all files, by their columns or by the names of the files.

    Args:
        folder: folder of the data set.
        paths: files in it.
        columns: the splits in the column of each file; None of one without the column.
        counts: number of rows of each file.

    Raises:
        BadInput: if some files have the column and some do not, or names and columns disagree.
    """
    by_name = splits_of(folder, [path.relative_to(folder) for path in paths])
    without = [path for path, column in zip(paths, columns, strict=True) if column is None]
    if without and len(without) < len(paths):
        raise BadInput(
            f"Expected all tables in {folder} to have a column of splits, or none; found "
            f"{without[0].relative_to(folder)} without: add the column to it."
        )
    splits: list[str] = []
    for path, column, named, count in zip(paths, columns, by_name, counts, strict=True):
        splits += [named] * count if column is None else _agreed(path, named, column)
    return splits


def _agreed(path: Path, named: str, splits: list[str]) -> list[str]:
    """The splits in a column, which the name of the file must not contradict."""
    others = sorted(set(splits) - {named})
    if named and others:
        raise BadInput(
            f"Expected the rows of {path} to be of the split {named} that its name says; found "
            f"{', '.join(others)} in its column: correct either."
        )
    return splits
