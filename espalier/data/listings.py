"""Data sets of image files listed in a table: CSV or JSON lines of paths and labels."""

import json
from pathlib import Path

import pandas as pd

from espalier.data.columns import find_columns
from espalier.data.labels import read_labels
from espalier.data.source import WHOLE, frame
from espalier.data.split_names import SPELLINGS, splits_of
from espalier.errors import BadInput, reason_of
from espalier.settings.data import Columns

_ENDINGS = (".csv", ".jsonl")
_USUAL = {  # names of columns that need no key
    "image": ("file_name", "filename", "file", "path", "image"),
    "label": ("label", "labels", "class", "category", "target"),
    "split": ("split",),
}


def found(folder: Path, columns: Columns) -> list[Path]:
    """The listings in a folder itself, in a fixed order: the tables with paths and labels."""
    tables = [path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS]
    return sorted(
        path
        for path in tables
        if path.is_file() and not path.name.startswith(".") and _is_listing(path, columns)
    )


def _is_listing(path: Path, columns: Columns) -> bool:
    try:
        _columns(path, _read(path), columns)
    except BadInput:
        return columns != Columns()  # with names of columns from the user, it should have been one
    return True


def _columns(path: Path, table: pd.DataFrame, columns: Columns) -> dict[str, str]:
    return find_columns(path, [str(name) for name in table.columns], columns, _USUAL)


def examples(
    folder: Path, listings: list[Path], columns: Columns
) -> tuple[pd.DataFrame, tuple[str, ...] | None, list[Path]]:
    """The examples of listings, the names of their classes if labels are words, and the image files.

    Raises:
        BadInput: if a listing cannot be read or lacks a column, or an image is not inside the folder.
    """
    tables = [_read(path) for path in listings]
    names = [_columns(path, table, columns) for path, table in zip(listings, tables, strict=True)]
    named = splits_of(folder, [path.relative_to(folder) for path in listings])
    labels = read_labels(
        str(folder),
        [(table[own["label"]], None) for table, own in zip(tables, names, strict=True)],
    )
    files, splits, paths = [], [], []
    for path, table, own, split in zip(listings, tables, names, named, strict=True):
        for row, file in enumerate(table[own["image"]]):
            paths.append(_inside(folder, path, row, str(file)))
            files.append(str(file))
        splits += _splits(path, table, own, split)
    rows = [WHOLE] * len(files)
    table = frame(files, rows, labels.values, splits)
    return table, labels.classes, paths


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, keep_default_na=False)
        lines = path.read_text("utf-8").splitlines()
        return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
    except (ValueError, pd.errors.ParserError) as error:
        reason = reason_of(error)
        raise BadInput(f"Expected {path} to be a sound table in UTF-8; found: {reason}.") from None


def _inside(folder: Path, listing: Path, row: int, file: str) -> Path:
    """The path of a listed image.

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
        f"Expected {listing}, row {row}, to name an image in {folder}; found {found}: {file}."
    )


def _splits(path: Path, table: pd.DataFrame, own: dict[str, str], named: str) -> list[str]:
    if "split" not in own:
        return [named] * len(table)
    splits = [SPELLINGS.get(str(value).lower()) for value in table[own["split"]]]
    if None in splits:
        row = splits.index(None)
        raise BadInput(
            f"Expected column `{own['split']}` of {path} to hold train, validation or test; found "
            f"{table[own['split']].iloc[row]!r} in row {row}."
        )
    return [str(split) for split in splits]
