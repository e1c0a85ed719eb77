"""Standard data sets become parquet: a file per split, images as PNG, which loses nothing."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from espalier import files
from espalier.data.names import SPLITS
from espalier.data.source import CLASSES, Source
from espalier.errors import BadInput
from espalier.inputs.image import encode

_SCHEMA = pa.schema([("image", pa.struct([("bytes", pa.binary())])), ("label", pa.int64())])


def convert(source: Source, folder: Path, expected: str | None) -> None:
    """Write a standard data set into a folder as `train.parquet`, `test.parquet` and `classes.json`.

    Args:
        source: data set, whose splits are decoded one after the other.
        folder: folder to write to.
        expected: The known data set that it should be; None for any.

    Raises:
        BadInput: If it is recognised as another.
    """
    if expected and source.name not in (expected, "data"):
        raise BadInput(f"Expected {source.folder} to hold {expected}; found {source.name}.")
    labels = source.examples["label"].to_numpy()
    splits = source.examples["split"].to_numpy()
    writers = {
        name: pq.ParquetWriter(folder / f"{name}.parquet", _SCHEMA)
        for name in SPLITS
        if name in set(splits)
    }
    start = 0
    for chunk in source.contents():
        rows = slice(start, start + len(chunk))
        images = [{"bytes": encode(np.asarray(pixels))} for pixels in chunk]
        table = pa.table([images, labels[rows]], schema=_SCHEMA)
        writers[str(splits[start])].write_table(table)
        start = rows.stop
    for writer in writers.values():
        writer.close()
    if source.classes:
        files.write_json(folder / CLASSES, list(source.classes))
