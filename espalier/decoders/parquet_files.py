"""Parquet files from elsewhere, read by a process with limits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from espalier.decoders.each import explained, killed
from espalier.errors import BadInput
from espalier.limited import Limits, ProcessFailed, borrow, give_back
from espalier.limited.messages import Message
from espalier.settings.limits import PARQUET_EXPANSION, decoding_memory

_FUNCTION = f"{__package__}.parquet:read_parquet"
_ROWS = 2**16  # of a table, in one answer


def read_schema(path: Path, seconds: float) -> tuple[Any, int]:
    """The schema of a parquet file, and the number of its rows.

    Args:
        path: the file.
        seconds: largest time of an answer.

    Raises:
        BadInput: if it is damaged, or takes more memory or time than its limits.
        TryAgain: if the process is killed from elsewhere.
    """
    answers = _answers(path, seconds, rows=0)
    fields, content = next(answers)
    for _ in answers:
        pass
    return pa.ipc.read_schema(pa.py_buffer(content)), int(fields["count"])


def read_batches(path: Path, column: str, rows: int, seconds: float) -> Iterator[Any]:
    """Record batches of a column, of at most a number of rows each; errors as of `read_schema`."""
    answers = _answers(path, seconds, columns=[column], rows=rows)
    next(answers)  # the schema
    for _, content in answers:
        yield from _batches(content)


def read_table(path: Path, columns: Sequence[str] | None, seconds: float) -> Any:
    """A table of some columns, or of all if they are None; errors as of `read_schema`.

    Raises:
        BadInput: also if it has more bytes than a file of its size may have.
    """
    answers = _answers(path, seconds, columns=columns, rows=_ROWS, whole=True)
    schema = pa.ipc.read_schema(pa.py_buffer(next(answers)[1]))
    most, held, batches = decoding_memory(path.stat().st_size), 0, []
    for _, content in answers:
        held += content.nbytes
        if held > most:
            raise _refusal(path, explained(ProcessFailed("memory"), Limits(most, seconds)))
        batches += _batches(content)
    if not batches:
        empty = schema.empty_table()
        return empty if columns is None else empty.select(columns)
    return pa.Table.from_batches(batches)


def _batches(content: NDArray[np.uint8]) -> list[Any]:
    with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
        batches: list[Any] = list(stream)
    for batch in batches:
        batch.validate(full=True)  # of a process that a file may have taken over
    return batches


def _answers(
    path: Path,
    seconds: float,
    *,
    columns: Sequence[str] | None = None,
    rows: int,
    whole: bool = False,
) -> Iterator[Message]:
    """The answers of a process to one request, without the last, which is empty."""
    limits = Limits(decoding_memory(path.stat().st_size, PARQUET_EXPANSION), seconds)
    process = borrow(_FUNCTION)
    try:
        process.send(limits, path=str(path), columns=columns, rows=rows, whole=whole)
        while "end" not in (answer := process.receive())[0]:
            yield answer
    except ProcessFailed as failure:
        process.close()
        if failure.cause == "killed":
            raise killed() from None
        raise _refusal(path, explained(failure, limits)) from None
    except BaseException:  # answers are left, also if the rest is not wanted
        process.close()
        raise
    give_back(process)


def _refusal(path: Path, reason: str) -> BadInput:
    return BadInput(f"Expected {path} to be a sound parquet file; found: {reason}.")
