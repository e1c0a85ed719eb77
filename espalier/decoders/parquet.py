"""Parquet files, read in a process of `espalier.limited`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from espalier.errors import BadInput
from espalier.limited.messages import NOTHING, Answers, Fields, Message
from espalier.reading import reading
from espalier.settings.limits import largest_decoded

_CELL = 8  # bytes of a number, or of the place of a word


def read_parquet() -> Answers:
    """Requests have the fields `path`, `columns` (null for all), `rows` and `whole`.

    The first answer holds the schema, and the field `count` of all rows. Others hold at most `rows` rows,
    if that is not 0; the last one has the field `end`. Of a `whole` table the size that its metadata
    say is checked before.
    """
    # arrow's own pool keeps a gigabyte of addresses, which the kernel counts as used already
    pa.set_memory_pool(pa.system_memory_pool())
    return _answers


def _answers(
    fields: Fields, content: NDArray[Any], allow: Callable[[int], None]
) -> Iterator[Message]:
    del content, allow
    path = Path(fields["path"])
    form = "a sound parquet file"
    with reading(path, form), pq.ParquetFile(path, page_checksum_verification=True) as file:
        if fields["whole"]:
            _refuse_large(path, file.metadata)
        yield {"count": file.metadata.num_rows}, _as_numbers(file.schema_arrow.serialize())
        if fields["rows"]:
            for batch in file.iter_batches(fields["rows"], columns=fields["columns"]):
                yield {}, _stream(batch)
        yield {"end": True}, NOTHING


def _stream(batch: pa.RecordBatch) -> NDArray[np.uint8]:
    """Rows as a stream of arrow, with their schema and their dictionaries."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return _as_numbers(sink.getvalue())


def _as_numbers(buffer: pa.Buffer) -> NDArray[np.uint8]:
    return np.frombuffer(buffer, np.uint8)


def _refuse_large(path: Path, metadata: Any) -> None:
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
