"""Data sets in parquet files: a column of images or clips, one of labels, and a column or a file per split."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from espalier import files
from espalier.data.columns import LABELS, find_columns
from espalier.data.contents import readable_name, visible
from espalier.data.heads import label_columns, read_all_labels, required_columns
from espalier.data.labels import Labels, Names, names_in_metadata
from espalier.data.source import Chunk, frame
from espalier.data.split_names import read_splits, splits_of_rows
from espalier.decoders.parquet_files import read_batches, read_schema, read_table
from espalier.errors import BadInput
from espalier.inputs import INPUTS
from espalier.settings.data import DataSettings
from espalier.settings.limits import EXAMPLE_BYTES
from espalier.settings.tasks import TaskName

ROWS_AT_ONCE = 2048
_USUAL = {  # names of columns that need no key
    "image": ("image", "img"),
    "audio": ("audio",),
    "label": LABELS,
    "split": ("split",),
}


@dataclass(frozen=True)
class _Table:
    """A parquet file without its images or clips.

    Attributes:
        path: file.
        columns: names of its columns by their meaning; `split` may be missing.
        labels: names of its columns of labels.
        content: its columns of labels and splits.
        metadata: metadata of its schema; None if it has none.
    """

    path: Path
    columns: dict[str, str]
    labels: list[str]
    content: Any
    metadata: Any


def found(folder: Path) -> list[Path]:
    """The parquet files of a folder and its sub-folders, in a fixed order."""
    return [path for path in visible(folder) if path.suffix == ".parquet"]


def kind_of(path: Path, settings: DataSettings) -> str | None:
    """`image` or `audio`, by the columns of a file; None if it has neither.

    Raises:
        BadInput: if it is no parquet.
    """
    schema, _ = read_schema(path, settings.decode_seconds)
    names = find_columns(path, schema.names, settings.columns, _USUAL, [])
    for kind in ("image", "audio"):
        if kind in names or getattr(settings.columns, kind):
            return kind
    return None


def examples(
    folder: Path, paths: list[Path], kind: str, settings: DataSettings
) -> tuple[pd.DataFrame, Labels]:
    """The examples of parquet files of one data set, and their labels.

    Raises:
        BadInput: if a file is no parquet, has no rows or lacks a column, or a label or split is not
            as it should be; it names the file, the first row and how many.
    """
    tables = [_read(path, kind, settings) for path in paths]
    inside = [path.relative_to(folder) for path in paths]
    splits = _splits(folder, tables)
    place = str(paths[0] if len(paths) == 1 else folder)

    def read_column(column: str, task: TaskName | None) -> list[tuple[pd.Series, Names | None]]:
        del task  # a missing set of labels is a mistake here
        own = [column if settings.heads else table.labels[0] for table in tables]
        return [
            (_label(table, name), names_in_metadata(table.metadata, name))
            for table, name in zip(tables, own, strict=True)
        ]

    labels = read_all_labels(folder, place, read_column, tables[0].labels[0], settings)
    files = [
        readable_name(path)
        for path, table in zip(inside, tables, strict=True)
        for _ in range(len(table.content))
    ]
    rows = [row for table in tables for row in range(len(table.content))]
    return frame(files, rows, labels.values, splits), labels


def contents(paths: list[Path], kind: str, settings: DataSettings) -> Iterator[Chunk]:
    """All images or clips of parquet files, encoded, some at a time.

    Raises:
        BadInput: if a file is damaged or a row has none.
    """
    for path in paths:
        row = 0
        schema, _ = read_schema(path, settings.decode_seconds)
        name = find_columns(path, schema.names, settings.columns, _USUAL, [kind])[kind]
        for batch in read_batches(path, name, ROWS_AT_ONCE, settings.decode_seconds):
            found = _contents(path, batch.column(0))
            _refuse_empty(path, kind, found, row)
            row += len(found)
            yield found


def _contents(path: Path, column: Any) -> list[bytes | None]:
    """The encoded images or clips of a column; where a path is stored, they are read from there."""
    if not pa.types.is_struct(column.type):
        return list(column.to_pylist())
    if column.type.get_field_index("path") < 0:
        return list(pa.compute.struct_field(column, "bytes").to_pylist())
    return [_content(path.parent, cell or {}) for cell in column.to_pylist()]


def _content(folder: Path, cell: dict[str, Any]) -> bytes | None:
    if cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    file = folder / str(cell.get("path"))
    inside = file.resolve().is_relative_to(folder.resolve())
    if not cell.get("path") or not inside or not file.is_file():
        return None
    return files.read_bounded(file, EXAMPLE_BYTES)


def _refuse_empty(path: Path, kind: str, contents: list[bytes | None], row: int) -> None:
    empty = [place for place, content in enumerate(contents) if content is None]
    if empty:
        raise BadInput(
            f"Expected every row to hold an {kind}; found none in {path}, row {row + empty[0]} "
            f"(such rows among {row}..{row + len(contents) - 1}: {len(empty)})."
        )


def _read(path: Path, kind: str, settings: DataSettings) -> _Table:
    schema, count = read_schema(path, settings.decode_seconds)
    names = find_columns(
        path,
        schema.names,
        settings.columns,
        _USUAL,
        [kind, *required_columns(settings)],
    )
    _refuse_type(path, kind, names[kind], schema.field(names[kind]).type)
    if not count:
        raise BadInput(f"Expected {path} to hold examples; found 0 rows.")
    labels = label_columns(path, schema.names, names, settings)
    wanted = dict.fromkeys([*labels, *([names["split"]] if "split" in names else [])])
    content = read_table(path, list(wanted), settings.decode_seconds)
    return _Table(path, names, labels, content, schema.metadata)


def _refuse_type(path: Path, meaning: str, name: str, kind: Any) -> None:
    plain = (
        kind.field("bytes").type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        else kind
    )
    if not (pa.types.is_binary(plain) or pa.types.is_large_binary(plain)):
        raise BadInput(
            f"Expected column `{name}` of {path} to hold encoded {INPUTS[meaning].plural}, as bytes or {{bytes}}; "
            f"found {kind}."
        )


def _label(table: _Table, name: str) -> pd.Series:
    """The labels of a file in a column, as numbers or words."""
    column = table.content.column(name)
    _refuse_absent(table.path, name, column)
    return pd.Series(column.to_pylist(), dtype=object)


def _splits(folder: Path, tables: list[_Table]) -> list[str]:
    columns = [_split_column(table) for table in tables]
    counts = [len(table.content) for table in tables]
    return splits_of_rows(folder, [table.path for table in tables], columns, counts)


def _split_column(table: _Table) -> list[str] | None:
    if "split" not in table.columns:
        return None
    path, column = table.path, table.content.column(table.columns["split"])
    _refuse_absent(path, "split", column)
    return read_splits(path, "split", column.to_pylist())


def _refuse_absent(path: Path, name: str, column: Any) -> None:
    if column.null_count:
        row = column.to_pylist().index(None)
        raise BadInput(
            f"Expected every row of {path} to have a {name}; found {column.null_count} of "
            f"{len(column)} without, "
            f"the first is row {row}."
        )
