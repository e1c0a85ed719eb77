"""The splits that names of files and folders say."""

import re
from collections.abc import Sequence
from pathlib import PurePath

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
