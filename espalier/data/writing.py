"""Writing of prepared data, split by split, without loading it; equal inputs give equal bytes."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from espalier import files
from espalier.data.prepared import Dataset
from espalier.errors import BadInput
from espalier.paths import DATASET, EXAMPLES

IMAGES_AT_ONCE = 4096
_ENCODED_HEADER = 512  # bytes; without spaces it is below 300
_DTYPES = {  # of NumPy: of safetensors
    "uint8": "U8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float32": "F32",
}


def write_split(
    path: Path, images: npt.NDArray[Any], rows: npt.NDArray[np.int64], labels: npt.NDArray[Any]
) -> None:
    """Write a split as safetensors (https://huggingface.co/docs/safetensors: a JSON header, then the bytes).

    Args:
        path: file to write.
        images: stored inputs (N, ...) of all splits, perhaps mapped from disk: the library's own writer wants them
            in memory.
        rows: rows of the inputs that belong to the split.
        labels: target of each of these rows.
    """
    shape = [len(rows), *images.shape[1:]]
    header = _header(
        {
            "labels": (labels.dtype.name, labels.shape),
            "images": (images.dtype.name, shape),
        }
    )
    with path.open("xb") as file:
        file.write(header)
        file.write(np.ascontiguousarray(labels).tobytes())
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            file.write(images[rows[start : start + IMAGES_AT_ONCE]].tobytes())


def write_encoded(path: Path, contents: Iterable[bytes], labels: npt.NDArray[Any]) -> None:
    """Write a split of encoded examples as safetensors, one after another.

    Args:
        path: file to write.
        contents: encoded examples, in the order of their targets.
        labels: target of each of them.

    Raises:
        BadInput: if there are not as many examples as targets.
    """
    offsets = [0]
    with path.open("xb") as file:
        start = len(_encoded_header(labels, 0)) + labels.nbytes + 8 * (len(labels) + 1)
        file.seek(start)
        for content in contents:
            file.write(content)
            offsets.append(offsets[-1] + len(content))
        if len(offsets) != len(labels) + 1:
            raise BadInput(
                f"Expected {len(labels)} examples for {path.name}; found {len(offsets) - 1}: the data "
                "were changed while they were read."
            )
        file.seek(0)
        file.write(_encoded_header(labels, offsets[-1]))
        file.write(np.ascontiguousarray(labels).tobytes())
        file.write(np.array(offsets, np.int64).tobytes())


def _encoded_header(labels: npt.NDArray[Any], size: int) -> bytes:
    """The header of a split with `size` bytes of encoded examples; it is as long for any size."""
    parts = {
        "labels": (labels.dtype.name, labels.shape),
        "offsets": ("int64", [len(labels) + 1]),
        "encoded": ("uint8", [size]),
    }
    return _header(parts, length=_ENCODED_HEADER)


def _header(parts: Mapping[str, tuple[str, Sequence[int]]], length: int = 0) -> bytes:
    """The length of the header, and the header: types, shapes and places of tensors in the file.

    Args:
        parts: type and shape of each tensor, in the order of the file.
        length: least length of the header in bytes.
    """
    content, start = {}, 0
    for name, (kind, shape) in parts.items():
        end = start + np.dtype(kind).itemsize * math.prod(shape)
        content[name] = {
            "dtype": _DTYPES[kind],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(content).encode()
    text = text.ljust(max(length, len(text) + -len(text) % 8))
    return len(text).to_bytes(8, "little") + text


def write_examples(folder: Path, examples: pd.DataFrame) -> None:
    """Write the manifest: a row per example, in the order of the splits' files."""
    names = ["file", "row", "label", "split", "sha256"]
    table = pa.table({name: pa.array(examples[name].to_numpy()) for name in names})
    pq.write_table(table, folder / EXAMPLES, compression="zstd")


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write the description of the data; last, because it holds the hashes of the rest."""
    files.write_json(folder / DATASET, dataset.to_json())
