"""Data sets in parquet files: columns `image` and `label`, and a column `split` or a file per split."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from espalier.data.source import SPELLINGS, Chunk, first, frame
from espalier.errors import BadInput

ROWS_AT_ONCE = 2048
_SPLIT_FILE = re.compile(rf"({'|'.join(SPELLINGS)})(-\d+-of-\d+)?\.parquet")


def found(folder: Path) -> list[Path]:
    """The parquet files of a folder, in a fixed order."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def examples(paths: list[Path]) -> pd.DataFrame:
    """The examples of parquet files of one data set, by everything but their images.

    Raises:
        BadInput: If a file is no parquet, has no rows or lacks a column, or a label or split is not
            as it should be; it names the file, the first row and how many.
    """
    tables = {path: _read(path) for path in paths}
    with_column = [path for path, table in tables.items() if "split" in table.column_names]
    named = [path for path in paths if _SPLIT_FILE.fullmatch(path.name)]
    for kind, some in (
        ("a column `split`", with_column),
        ("the name of a split", [] if with_column else named),
    ):
        if some and len(some) < len(paths):
            other = next(path for path in paths if path not in some)
            raise BadInput(
                f"Expected all of {other.parent}/*.parquet to have {kind}, or none; found "
                f"{other.name} without."
            )
    return pd.concat([_examples(path, table) for path, table in tables.items()], ignore_index=True)


def images(paths: list[Path]) -> Iterator[Chunk]:
    """All images of parquet files, encoded, some at a time.

    Raises:
        BadInput: If a file is damaged or a row has no image.
    """
    for path in paths:
        row = 0
        with _naming(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=["image"]):
                column = batch.column(0)
                contents = (
                    pa.compute.struct_field(column, "bytes")
                    if pa.types.is_struct(column.type)
                    else column
                )
                if contents.null_count:
                    empty = row + contents.is_null().index(True).as_py()
                    raise BadInput(
                        f"Expected every row to hold an image; found none in {path}, row {empty} "
                        f"(such rows among {row}..{row + len(contents) - 1}: "
                        f"{contents.null_count})."
                    )
                row += len(contents)
                yield contents.to_pylist()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise BadInput(
            f"Expected {path} to be a sound parquet file; found: "
            f"{' '.join(str(error).split()).rstrip('.')}."
        ) from None


def _read(path: Path) -> Any:
    with _naming(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        absent = [name for name in ("image", "label") if name not in schema.names]
        if absent:
            raise BadInput(
                f"Expected {path} to have the columns `image` and `label`; found no `{absent[0]}` "
                "among "
                f"{', '.join(schema.names) or 'no columns'}."
            )
        _refuse_type(path, schema.field("image").type)
        if not file.metadata.num_rows:
            raise BadInput(f"Expected {path} to hold examples; found 0 rows.")
        return file.read(columns=[name for name in ("label", "split") if name in schema.names])


def _refuse_type(path: Path, kind: Any) -> None:
    plain = (
        kind.field("bytes").type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        else kind
    )
    if not (pa.types.is_binary(plain) or pa.types.is_large_binary(plain)):
        raise BadInput(
            f"Expected column `image` of {path} to hold encoded images, as bytes or {{bytes}}; "
            f"found {kind}."
        )


def _examples(path: Path, table: Any) -> pd.DataFrame:
    label = table.column("label")
    if not pa.types.is_integer(label.type):
        raise BadInput(
            f"Expected column `label` of {path} to hold whole numbers; found {label.type} in row "
            f"0: {label[0]}."
        )
    _refuse_absent(path, "label", label)
    names: str | list[str] = ""
    if "split" in table.column_names:
        names = _splits(path, table.column("split"))
    elif match := _SPLIT_FILE.fullmatch(path.name):
        names = SPELLINGS[match[1]]
    rows = table.num_rows
    return frame([path.name] * rows, range(rows), label.to_numpy(), names)


def _splits(path: Path, column: Any) -> list[str]:
    _refuse_absent(path, "split", column)
    given = pd.Series(column.to_pylist(), dtype=object)
    splits = given.map(SPELLINGS)
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
