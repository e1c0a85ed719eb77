"""Data sets in parquet files: a column of images or clips, one of labels, and a column or a file per split."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from espalier import files
from espalier.bounded import bounded
from espalier.data.columns import LABELS, find_columns
from espalier.data.contents import readable_name, visible
from espalier.data.heads import label_columns, read_all_labels, required_columns
from espalier.data.labels import Labels, Names, names_in_metadata
from espalier.data.source import Chunk, frame
from espalier.data.split_names import read_splits, splits_of
from espalier.errors import BadInput, reason_of
from espalier.inputs import INPUTS
from espalier.settings.data import Columns, DataSettings
from espalier.settings.limits import EXAMPLE_BYTES, decoding_memory, largest_decoded
from espalier.settings.tasks import TaskName

ROWS_AT_ONCE = 2048
_CELL = 8  # bytes of a number, or of the place of a word
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


def kind_of(path: Path, columns: Columns) -> str | None:
    """`image` or `audio`, by the columns of a file; None if it has neither.

    Raises:
        BadInput: if it is no parquet.
    """
    with opened(path) as file:
        names = find_columns(
            path,
            file.schema_arrow.names,
            columns,
            _USUAL,
            [],
        )
        for kind in ("image", "audio"):
            if kind in names or getattr(columns, kind):
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
    splits = _splits(folder, tables, inside)
    place = str(paths[0] if len(paths) == 1 else folder)

    def read_column(column: str, task: TaskName | None) -> list[tuple[pd.Series, Names | None]]:
        del task  # a missing set of labels is a mistake here
        own = [column if settings.heads else table.labels[0] for table in tables]
        return [
            (_label(table, name), names_in_metadata(table.metadata, name))
            for table, name in zip(tables, own, strict=True)
        ]

    labels = read_all_labels(place, read_column, tables[0].labels[0], settings)
    files = [
        readable_name(path)
        for path, table in zip(inside, tables, strict=True)
        for _ in range(len(table.content))
    ]
    rows = [row for table in tables for row in range(len(table.content))]
    return frame(files, rows, labels.values, splits), labels


def contents(paths: list[Path], kind: str, columns: Columns) -> Iterator[Chunk]:
    """All images or clips of parquet files, encoded, some at a time.

    Raises:
        BadInput: if a file is damaged or a row has none.
    """
    for path in paths:
        row = 0
        with opened(path) as file:
            present = file.schema_arrow.names
            name = find_columns(path, present, columns, _USUAL, [kind])[kind]
            batches = file.iter_batches(ROWS_AT_ONCE, columns=[name])
            while (found := _next(path, batches)) is not None:
                _refuse_empty(path, kind, found, row)
                row += len(found)
                yield found


def _next(path: Path, batches: Iterator[Any]) -> list[bytes | None] | None:
    """The contents of the next batch, decoded in bounded memory; None at the end."""
    with decoding(path):
        batch = next(batches, None)
        return None if batch is None else _contents(path, batch.column(0))


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


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in errors of the library that reads it.

    Raises:
        BadInput: for any of these inside the block, but those of the disk.
    """
    try:
        yield
    except MemoryError:  # which arrow's is too
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise BadInput(
            f"Expected {path} to be a sound parquet file; found: {reason_of(error)}."
        ) from None


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Decode a file in bounded memory, whatever its pages say.

    Raises:
        BadInput: if it takes more.
    """
    with bounded(path, decoding_memory(path.stat().st_size)):
        yield


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A parquet file, whose errors name it, and whose memory the kernel counts.

    Raises:
        BadInput: if it is damaged.
    """
    former = pa.default_memory_pool()
    # arrow's own pool keeps a gigabyte of addresses, which the kernel counts as used already
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        with naming(path):
            file = pq.ParquetFile(path, page_checksum_verification=True)
    finally:
        pa.set_memory_pool(former)
    with naming(path), file:
        yield file


def refuse_large(path: Path, metadata: Any) -> None:
    """Refuse a table that decodes to more bytes than a file of its size may, by its metadata.

    A column of a repeated value takes some bytes for any number of rows, so a cell counts as eight.

    Raises:
        BadInput: if it does.
    """
    chunks = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    stored = sum(chunk.total_byte_size for chunk in chunks)
    decoded = max(stored, _CELL * metadata.num_rows * metadata.num_columns)
    largest = largest_decoded(path.stat().st_size)
    if decoded > largest:
        raise BadInput(
            f"Expected {path} to decode to at most {largest:,} bytes; found {metadata.num_rows:,} "
            f"rows of {metadata.num_columns} columns, {decoded:,} bytes."
        )


def _read(path: Path, kind: str, settings: DataSettings) -> _Table:
    with opened(path) as file:
        schema = file.schema_arrow
        names = find_columns(
            path,
            schema.names,
            settings.columns,
            _USUAL,
            [kind, *required_columns(settings)],
        )
        _refuse_type(path, kind, names[kind], schema.field(names[kind]).type)
        if not file.metadata.num_rows:
            raise BadInput(f"Expected {path} to hold examples; found 0 rows.")
        refuse_large(path, file.metadata)
        labels = label_columns(path, schema.names, names, settings)
        wanted = dict.fromkeys([*labels, *([names["split"]] if "split" in names else [])])
        with decoding(path):
            content = file.read(columns=list(wanted))
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


def _splits(folder: Path, tables: list[_Table], inside: list[Path]) -> list[str]:
    """The split of every row, by a column or by the names of the files.

    Raises:
        BadInput: if some files have the column and some do not, or names and columns disagree.
    """
    with_column = [table for table in tables if "split" in table.columns]
    if with_column and len(with_column) < len(tables):
        other = next(table for table in tables if table not in with_column)
        raise BadInput(
            f"Expected all of {folder}/*.parquet to have a column `split`, or none; found "
            f"{other.path.name} without."
        )
    by_name = splits_of(folder, inside)
    by_row = []
    for table, named in zip(tables, by_name, strict=True):
        rows = _split_column(table) if with_column else [named] * len(table.content)
        _refuse_disagreement(table.path, named, rows)
        by_row += rows
    return by_row


def _refuse_disagreement(path: Path, named: str, rows: list[str]) -> None:
    others = sorted(set(rows) - {named})
    if named and others:
        raise BadInput(
            f"Expected the rows of {path} to be of the split {named} that its name says; found "
            f"{', '.join(others)} in its column."
        )


def _split_column(table: _Table) -> list[str]:
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
