"""Data sets in parquet files: a column of images, one of labels, and a column or a file per split."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from espalier.data.columns import find_columns
from espalier.data.contents import readable_name, visible
from espalier.data.labels import names_in_metadata, read_labels
from espalier.data.source import Chunk, first, frame
from espalier.data.split_names import SPELLINGS, splits_of
from espalier.errors import BadInput, reason_of
from espalier.settings.data import Columns

ROWS_AT_ONCE = 2048
_USUAL = {  # names of columns that need no key
    "image": ("image", "img"),
    "label": ("label", "labels", "class", "category", "target"),
    "split": ("split",),
}


@dataclass(frozen=True)
class _Table:
    """A parquet file without its images.

    Attributes:
        path: file.
        columns: names of its columns by their meaning; `split` may be missing.
        content: its columns of labels and splits.
        classes: names of the classes in its metadata; None if there are none.
    """

    path: Path
    columns: dict[str, str]
    content: Any
    classes: tuple[str, ...] | None


def found(folder: Path) -> list[Path]:
    """The parquet files of a folder and its sub-folders, in a fixed order."""
    return [path for path in visible(folder) if path.suffix == ".parquet"]


def examples(
    folder: Path, paths: list[Path], columns: Columns
) -> tuple[pd.DataFrame, tuple[str, ...] | None]:
    """The examples of parquet files of one data set, and the names of their classes if they have any.

    Raises:
        BadInput: if a file is no parquet, has no rows or lacks a column, or a label or split is not
            as it should be; it names the file, the first row and how many.
    """
    tables = [_read(path, columns) for path in paths]
    inside = [path.relative_to(folder) for path in paths]
    splits = _splits(folder, tables, inside)
    place = str(paths[0] if len(paths) == 1 else folder)
    labels = read_labels(place, [(_label(table), table.classes) for table in tables])
    files = [
        readable_name(path)
        for path, table in zip(inside, tables, strict=True)
        for _ in range(len(table.content))
    ]
    rows = [row for table in tables for row in range(len(table.content))]
    return frame(files, rows, labels.values, splits), labels.classes


def images(paths: list[Path], columns: Columns) -> Iterator[Chunk]:
    """All images of parquet files, encoded, some at a time.

    Raises:
        BadInput: if a file is damaged or a row has no image.
    """
    for path in paths:
        row = 0
        with _naming(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            name = find_columns(path, file.schema_arrow.names, columns, _USUAL)["image"]
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name]):
                contents = _contents(path, batch.column(0))
                _refuse_no_image(path, contents, row)
                row += len(contents)
                yield contents


def _contents(path: Path, column: Any) -> list[bytes | None]:
    """The encoded images of a column; where a path is stored, they are read from there."""
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
    return file.read_bytes() if cell.get("path") and inside and file.is_file() else None


def _refuse_no_image(path: Path, contents: list[bytes | None], row: int) -> None:
    empty = [place for place, content in enumerate(contents) if content is None]
    if empty:
        raise BadInput(
            f"Expected every row to hold an image; found none in {path}, row {row + empty[0]} "
            f"(such rows among {row}..{row + len(contents) - 1}: {len(empty)})."
        )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise BadInput(
            f"Expected {path} to be a sound parquet file; found: {reason_of(error)}."
        ) from None


def _read(path: Path, columns: Columns) -> _Table:
    with _naming(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        names = find_columns(path, schema.names, columns, _USUAL)
        _refuse_type(path, names["image"], schema.field(names["image"]).type)
        if not file.metadata.num_rows:
            raise BadInput(f"Expected {path} to hold examples; found 0 rows.")
        wanted = [name for meaning, name in names.items() if meaning != "image"]
        classes = names_in_metadata(schema.metadata, names["label"])
        return _Table(path, names, file.read(columns=wanted), classes)


def _refuse_type(path: Path, name: str, kind: Any) -> None:
    plain = (
        kind.field("bytes").type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        else kind
    )
    if not (pa.types.is_binary(plain) or pa.types.is_large_binary(plain)):
        raise BadInput(
            f"Expected column `{name}` of {path} to hold encoded images, as bytes or {{bytes}}; "
            f"found {kind}."
        )


def _label(table: _Table) -> pd.Series:
    """The labels of a file, as numbers or words."""
    column = table.content.column(table.columns["label"])
    _refuse_absent(table.path, table.columns["label"], column)
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
    given = pd.Series(column.to_pylist(), dtype=object)
    splits = given.map(lambda value: SPELLINGS.get(str(value).lower()))
    if splits.isna().any():
        row = first(splits.isna())
        raise BadInput(
            f"Expected column `split` of {path} to hold "
            f"{', '.join(dict.fromkeys(SPELLINGS.values()))}; "
            f"found {given[row]!r} in row {row}, and {int(splits.isna().sum())} such rows."
        )
    return list(splits)


def _refuse_absent(path: Path, name: str, column: Any) -> None:
    if column.null_count:
        row = column.to_pylist().index(None)
        raise BadInput(
            f"Expected every row of {path} to have a {name}; found {column.null_count} of "
            f"{len(column)} without, "
            f"the first is row {row}."
        )
