"""Data sets in tables: texts with labels, or rows of features with labels."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from espalier.bounded import bounded
from espalier.data.columns import LABELS, find_columns
from espalier.data.contents import readable_name, visible
from espalier.data.heads import label_columns, read_all_labels, required_columns
from espalier.data.json_lines import read_json_lines
from espalier.data.labels import (
    Labels,
    Names,
    are_separated,
    names_in_metadata,
    refuse_missing,
    with_empty_sets,
)
from espalier.data.separated import read_separated
from espalier.data.source import Chunk, frame
from espalier.data.split_names import read_splits, splits_of_rows
from espalier.decoders.parquet_files import read_table
from espalier.errors import BadInput
from espalier.inputs.table.columns import is_missing
from espalier.reading import reading_text
from espalier.settings.data import Columns, DataSettings
from espalier.settings.limits import decoding_memory
from espalier.settings.tasks import TaskName

ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl")
_AT_ONCE = 4096  # rows
_SEPARATED = (".csv", ".tsv")
_MISSING = ["", "NA", "NaN", "nan", "null"]  # cells of CSV files without a value
_USUAL = {  # names of columns that need no key
    "text": ("text", "sentence", "question", "review", "document", "content"),
    "label": (*LABELS, "y"),
    "split": ("split",),
}


@dataclass(frozen=True)
class _File:
    """A file.

    Attributes:
        path: its path.
        table: its rows.
        metadata: metadata of its schema; None if it has none.
    """

    path: Path
    table: pd.DataFrame
    metadata: Any


@dataclass(frozen=True)
class Tables:
    """The rows of all tables of a data set.

    Attributes:
        kind: `text` or `table`.
        examples: rows of `Source.examples`.
        labels: their labels.
        columns: names of the columns that are features; of texts the one with the text.
        content: cells of these columns.
    """

    kind: str
    examples: pd.DataFrame
    labels: Labels
    columns: tuple[str, ...]
    content: pd.DataFrame

    def contents(self) -> Iterator[Chunk]:
        """The text, or the cells, of every row, some at a time."""
        for start in range(0, len(self.content), _AT_ONCE):
            rows = self.content.iloc[start : start + _AT_ONCE]
            if self.kind == "text":
                yield rows[self.columns[0]].tolist()
            else:
                yield list(rows.itertuples(index=False, name=None))


def found(folder: Path) -> list[Path]:
    """The tables of a folder and its sub-folders, in a fixed order."""
    return [path for path in visible(folder) if path.suffix.lower() in ENDINGS]


def read(folder: Path, paths: list[Path], settings: DataSettings) -> Tables:
    """Read all tables of a data set.

    Raises:
        BadInput: if a file is damaged or empty, lacks a column, or labels or splits are not as they
            should be; it names the file and the first row.
    """
    parts = _same_types([_read(path, settings.decode_seconds) for path in paths])
    tables = [part.table for part in parts]
    columns = [str(name) for name in tables[0].columns]
    _refuse_other_columns(parts, columns)
    names = find_columns(
        paths[0],
        columns,
        settings.columns,
        _USUAL,
        required_columns(settings),
    )
    kind = settings.kind or ("text" if "text" in names else "table")
    labelled = label_columns(paths[0], columns, names, settings)
    labels = _labels(folder, parts, labelled[0], settings)
    files: list[str] = []
    rows: list[int] = []
    for part in parts:
        count = len(part.table)
        files += [readable_name(part.path.relative_to(folder))] * count
        rows += range(count)
    splits = _splits(folder, parts, names.get("split"))
    features = _features(
        paths[0],
        kind,
        columns,
        [*labelled, names.get("split", "")],
        settings.columns,
    )
    content = _as_cells(pd.concat(tables, ignore_index=True)[list(features)])
    _refuse_encoded(paths[0], content)
    return Tables(
        kind,
        frame(files, rows, labels.values, splits),
        labels,
        features,
        content,
    )


def _labels(folder: Path, parts: Sequence[_File], name: str, settings: DataSettings) -> Labels:
    place = parts[0].path if len(parts) == 1 else folder

    def read_column(column: str, task: TaskName | None) -> list[tuple[pd.Series, Names | None]]:
        filled = with_empty_sets([part.table[column] for part in parts], task)
        return [
            (_complete(part.path, values, column), names_in_metadata(part.metadata, column))
            for part, values in zip(parts, filled, strict=True)
        ]

    return read_all_labels(folder, str(place), read_column, name, settings)


def _read(path: Path, seconds: float) -> _File:
    """A table, and the metadata of its schema."""
    kind = path.suffix.lower()
    metadata = None
    content = read_table(path, None, seconds) if kind == ".parquet" else None
    memory = decoding_memory(path.stat().st_size)
    with bounded(path, memory), reading_text(path, "a sound table"):
        if content is None:
            table = _text(path, kind)
        else:
            table, metadata = content.to_pandas(), content.schema.metadata
    if not len(table):
        raise BadInput(f"Expected {path} to hold examples; found 0 rows.")
    return _File(path, table, metadata)


def _text(path: Path, kind: str) -> pd.DataFrame:
    return read_json_lines(path) if kind == ".jsonl" else _with_types(path, [])


def _with_types(path: Path, words: Sequence[str]) -> pd.DataFrame:
    """A table of CSV or TSV.

    Args:
        path: file.
        words: names of columns that hold words, also if all of them are numbers there.
    """
    return read_separated(
        path,
        dtype=dict.fromkeys(words, str),
        keep_default_na=False,
        na_values=_MISSING,
        low_memory=False,
    )


def _same_types(parts: Sequence[_File]) -> list[_File]:
    """The files, in which a column of numbers is one of words if another file has words in it.

    Example:
        A file has 1, 2 and an empty cell, read as 1.0, 2.0 and NaN, and another one 1 and x: the
        category 1 would be another one in each.
    """
    words = {
        str(name)
        for part in parts
        for name, column in part.table.items()
        if _is_separated(part) and not is_numeric_dtype(column)
    }
    return [_with_words(part, words) if _is_separated(part) else part for part in parts]


def _is_separated(part: _File) -> bool:
    """Whether the types of the columns of a file follow from its cells."""
    return part.path.suffix.lower() in _SEPARATED


def _with_words(part: _File, words: Collection[str]) -> _File:
    numbers = [
        str(name)
        for name, column in part.table.items()
        if str(name) in words and is_numeric_dtype(column)
    ]
    return replace(part, table=_with_types(part.path, numbers)) if numbers else part


def _refuse_other_columns(parts: Sequence[_File], columns: list[str]) -> None:
    for part in parts:
        others = set(columns) ^ {str(name) for name in part.table.columns}
        if others:
            raise BadInput(
                f"Expected {part.path} to have the columns of {parts[0].path.name}; found another: "
                f"{min(others)}."
            )


def _complete(path: Path, column: pd.Series, name: str) -> pd.Series:
    """The labels of a file.

    Raises:
        BadInput: if one is missing.
    """
    way_out = "give it one, or remove it"
    if are_separated(column):
        way_out += "; with `task: multilabel` it is the empty set"
    refuse_missing(f"the column `{name}` of {path}", column, way_out)
    return column.astype(object)


def _splits(folder: Path, parts: Sequence[_File], name: str | None) -> list[str]:
    """The split of each row, by the names of the files or by a column."""
    columns = [
        read_splits(part.path, name, part.table[name].tolist()) if name else None for part in parts
    ]
    counts = [len(part.table) for part in parts]
    return splits_of_rows(folder, [part.path for part in parts], columns, counts)


def _as_cells(content: pd.DataFrame) -> pd.DataFrame:
    """The cells of columns; whole numbers are integers, also where a missing cell makes floats of all.

    So a row has the same hash before and after another row with a missing cell is added.
    """
    cells = content.astype(object)
    for name, column in content.items():
        if is_float_dtype(column) and (column.dropna() % 1 == 0).all():
            whole = [None if is_missing(cell) else int(cell) for cell in column]
            cells[name] = pd.Series(whole, dtype=object)
    return cells


def _refuse_encoded(path: Path, content: pd.DataFrame) -> None:
    """Refuse columns of files, which are features of no table."""
    for name in content.columns:
        if isinstance(content[name].iloc[0], bytes | dict):
            raise BadInput(
                f"Expected the column {name!r} of {path} to hold numbers or words; found bytes. "
                f"`data.columns: {{image: {name}}}` (or audio) in params.yaml says what they are."
            )


def _features(
    path: Path, kind: str, columns: list[str], other: Sequence[str], given: Columns
) -> tuple[str, ...]:
    """The columns of the examples.

    Args:
        path: file, for messages.
        kind: kind of the examples.
        columns: names of all columns.
        other: names of those with labels and splits.
        given: names that the user gave.

    Raises:
        BadInput: if there is none.
    """
    if kind == "text":
        return (find_columns(path, columns, given, _USUAL, ["text"])["text"],)
    others = {*other, *given.ignore}
    features = tuple(column for column in columns if column not in others)
    unknown = [name for name in given.ignore if name not in columns]
    if unknown or not features:
        found = f"no column {unknown[0]!r} to ignore" if unknown else "no column beside the label"
        raise BadInput(f"Expected {path} to have columns of features; found {found}.")
    return features
