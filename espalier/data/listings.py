"""Data sets of files listed in a table: CSV or JSON lines of paths to images or clips, and labels."""

import os
from dataclasses import replace
from pathlib import Path, PurePath

import pandas as pd

from espalier.bounded import bounded
from espalier.data.columns import LABELS, find_columns
from espalier.data.folders import endings_of
from espalier.data.heads import label_columns, read_all_labels, required_columns
from espalier.data.json_lines import read_json_lines
from espalier.data.labels import Labels, Names, with_empty_sets
from espalier.data.separated import read_separated
from espalier.data.source import WHOLE, frame
from espalier.data.split_names import ExampleFile, read_splits, splits_of_examples, splits_of_rows
from espalier.errors import BadInput
from espalier.reading import reading_text
from espalier.settings.data import Columns, DataSettings
from espalier.settings.limits import decoding_memory
from espalier.settings.tasks import TaskName

ENDINGS = (".csv", ".jsonl")
_PATHS = ("file_name", "filename", "file", "path")
_USUAL = {  # names of columns that need no key
    "image": (*_PATHS, "image"),
    "audio": (*_PATHS, "audio"),
    "label": LABELS,
    "split": ("split",),
}


def found(folder: Path, kind: str, settings: DataSettings) -> list[Path]:
    """The listings in a folder itself, in a fixed order: the tables with paths and labels.

    Args:
        folder: folder of the data set.
        kind: kind of the files, `image` or `audio`.
        settings: settings of the data, with the names of columns that the user gave.
    """
    tables = [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS]
    return sorted(
        path
        for path in tables
        if path.is_file() and not path.name.startswith(".") and is_listing(path, kind, settings)
    )


def is_listing(path: Path, kind: str, settings: DataSettings) -> bool:
    """Whether a table lists files of a kind; one whose column the user names has to."""
    if getattr(settings.columns, kind):
        return True
    try:
        table = _read(path)
        # misspelled columns of splits and labels are refused later, and make no class folders of the files
        columns = replace(settings.columns, split=None, label=None)
        required = [kind] if settings.columns.label else [kind, *required_columns(settings)]
        names = _columns(path, table, columns, required)
    except BadInput:
        return False
    if not len(table):
        return False
    file = Path(str(table[names[kind]].iloc[0]))
    ending = file.suffix.lower()
    if ending in endings_of(kind):
        return True
    # images are recognised by their content: a listed file without a known ending is taken for one
    return kind == "image" and ending not in endings_of("audio") and (path.parent / file).is_file()


def _columns(
    path: Path, table: pd.DataFrame, columns: Columns, required: list[str]
) -> dict[str, str]:
    present = [str(name) for name in table.columns]
    return find_columns(path, present, columns, _USUAL, required)


def examples(
    folder: Path, listings: list[Path], kind: str, settings: DataSettings
) -> tuple[pd.DataFrame, Labels, list[Path]]:
    """The examples of listings, their labels, and the listed files.

    Raises:
        BadInput: if a listing cannot be read or lacks a column, or a file is not inside the folder.
    """
    tables = [_read(path) for path in listings]
    required = [kind, *required_columns(settings)]
    names = [
        _columns(path, table, settings.columns, required)
        for path, table in zip(listings, tables, strict=True)
    ]
    labels = _labels(folder, listings, tables, names, settings)
    files, paths = [], []
    for path, table, own in zip(listings, tables, names, strict=True):
        for row, file in enumerate(table[own[kind]]):
            paths.append(_inside(folder, path, kind, row, str(file)))
            files.append(str(file))
    inside = [PurePath(os.path.relpath(path, folder)) for path in paths]
    named = list(map(ExampleFile.labelled, inside, labels.names))
    splits = _splits(folder, listings, tables, names, named)
    rows = [WHOLE] * len(files)
    return frame(files, rows, labels.values, splits), labels, paths


def _labels(
    folder: Path,
    listings: list[Path],
    tables: list[pd.DataFrame],
    names: list[dict[str, str]],
    settings: DataSettings,
) -> Labels:
    """The labels of all listings; of a single task each listing may name the column otherwise."""
    each = [
        label_columns(path, [str(name) for name in table.columns], own, settings)
        for path, table, own in zip(listings, tables, names, strict=True)
    ]

    def read_column(column: str, task: TaskName | None) -> list[tuple[pd.Series, Names | None]]:
        own = [column if settings.heads else labels[0] for labels in each]
        columns = [table[name] for table, name in zip(tables, own, strict=True)]
        return [(values, None) for values in with_empty_sets(columns, task)]

    return read_all_labels(folder, str(folder), read_column, each[0][0], settings)


def _read(path: Path) -> pd.DataFrame:
    size = path.stat().st_size
    with bounded(path, decoding_memory(size)), reading_text(path, "a sound table"):
        if path.suffix.lower() == ".csv":
            return read_separated(path, keep_default_na=False)
        return read_json_lines(path)


def _inside(folder: Path, listing: Path, kind: str, row: int, file: str) -> Path:
    """The path of a listed file.

    Raises:
        BadInput: if there is none inside the folder.
    """
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()) and not path.is_symlink():
        found = "a path that leads out of it"
    elif not path.is_file():
        found = "no file there"
    else:
        return path
    raise BadInput(
        f"Expected {listing}, row {row}, to name an {kind} in {folder}; found {found}: {file}."
    )


def _splits(
    folder: Path,
    listings: list[Path],
    tables: list[pd.DataFrame],
    names: list[dict[str, str]],
    named: list[ExampleFile],
) -> list[str]:
    """The splits that a column says, else the names of the listings, else those of the listed files."""
    columns = [
        read_splits(path, own["split"], table[own["split"]].tolist()) if "split" in own else None
        for path, table, own in zip(listings, tables, names, strict=True)
    ]
    splits = splits_of_rows(folder, listings, columns, [len(table) for table in tables])
    if any(columns):
        return splits
    remedy = f"a column `split` in {listings[0].name} says the split of each row instead"
    return splits_of_examples(folder, named, splits, remedy)
