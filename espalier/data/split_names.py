"""The splits that names of files and folders say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Self

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
    said = _said_by(path)
    if len(said) > 1:
        raise BadInput(
            f"Expected the name of {path} to say one split; found {' and '.join(sorted(said))}."
        )
    return said.pop() if said else ""


def _said_by(path: PurePath) -> set[str]:
    """The splits that the words of a path say."""
    words = re.split(r"[^a-z0-9]+", path.as_posix().lower())
    return {SPELLINGS[word] for word in words if word in SPELLINGS}


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


def outer_splits(paths: Sequence[PurePath]) -> list[str]:
    """The split of each file by its outermost folder; empty ones if these folders are no splits.

    They are splits if each is a word for one, such as `train`, or has the word in its name and a folder
    below, such as `train_images/cat`, and some are for train and others are not.
    """
    said = [_said_by(PurePath(path.parts[0])) for path in paths]
    splits = [min(one) if len(one) == 1 else "" for one in said]
    is_word = all(path.parts[0].lower() in SPELLINGS for path in paths)
    has_class = all(len(path.parts) > 2 for path in paths)  # split/class/file
    is_part = has_class and all(splits) and {TRAIN} < set(splits)
    return splits if is_word or is_part else [""] * len(paths)


@dataclass(frozen=True)
class ExampleFile:
    """An example that is a file.

    Attributes:
        path: the file, relative to the folder of the data set.
        folders: its folders, without the folder of its class.
        label: name of its class; empty if it has none.
    """

    path: PurePath
    folders: tuple[str, ...]
    label: str

    @classmethod
    def labelled(cls, path: PurePath, label: str) -> Self:
        """A file whose class something else says; a folder of the name of the class is no split."""
        return cls(path, tuple(part for part in path.parts[:-1] if part != label), label)

    @property
    def said_by_folders(self) -> set[str]:
        """The splits that its folders say."""
        return _said_by(PurePath(*self.folders))

    @property
    def said(self) -> set[str]:
        """The splits that its folders say, else its name without the words of its class."""
        by_name = _said_by(PurePath(self.path.name)) - _said_by(PurePath(self.label))
        return self.said_by_folders or by_name


def splits_of_examples(
    folder: PurePath, examples: Sequence[ExampleFile], given: list[str], remedy: str
) -> list[str]:
    """The splits of examples that are files of their own; empty ones if no name says any.

    The folders of a file say its split, else its own name does. Words may mean something else, as in
    `training_day.jpg`: where none is for test, they count if every file has one and some are for train.

    Args:
        folder: folder of the data set, for messages.
        examples: files.
        given: splits that are given otherwise; empty ones if none are.
        remedy: what to do, for the end of messages.

    Raises:
        BadInput: if a folder is for test whose files are given for another split, or some files have
            a name for test and others have none, or several.
    """
    if any(given):
        _refuse_test(folder, examples, given, remedy)
        return given
    said = [example.said for example in examples]
    is_clear = all(len(one) == 1 for one in said)
    every = set[str]().union(*said)
    if TEST not in every and not (is_clear and TRAIN in every):
        return given
    if not is_clear:
        raise _unclear(folder, examples, remedy)
    return [min(one) for one in said]


def _unclear(folder: PurePath, examples: Sequence[ExampleFile], remedy: str) -> BadInput:
    """The refusal of files without the name of one split beside others for test."""
    test = next(example.path for example in examples if TEST in example.said)
    wrong = [example for example in examples if len(example.said) != 1]
    found = " and ".join(sorted(wrong[0].said)) or "none"
    return BadInput(
        f"Expected every file in {folder} to have the name of one split, as {test} has one for test; "
        f"found {found} in {wrong[0].path}, and {len(wrong)} such files: {remedy}."
    )


def _refuse_test(
    folder: PurePath, examples: Sequence[ExampleFile], given: Sequence[str], remedy: str
) -> None:
    """Refuse files in a folder for test that are given for another split."""
    wrong = [
        (example.path, split)
        for example, split in zip(examples, given, strict=True)
        if split != TEST and TEST in example.said_by_folders
    ]
    if wrong:
        path, split = wrong[0]
        raise BadInput(
            f"Expected no file for {split} in {folder} to lie in a folder for test; found {path}, and "
            f"{len(wrong)} such files: {remedy}."
        )


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
